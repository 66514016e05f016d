//! What `rehearse` cannot know from the rest.

use super::super::decode::{Entries, Located, Text, Worded as _};
use super::super::file::{Command, Rehearse, RehearsedContainer};
use super::super::{RehearseConfig, syntax};
use super::{Check, loose, values};
use fargate_deploy_core::resolved::Resolved;
use fargate_deploy_core::validated_config;

impl Check<'_> {
    pub(super) fn rehearsal(&mut self, rehearse: Rehearse, terraform: Option<Located<Text>>) -> RehearseConfig {
        RehearseConfig {
            values: values(rehearse.values),
            terraform: values(rehearse.terraform),
            stacks: rehearse.stacks.0.into_iter().map(|(stack, outputs)| (stack.value, values(outputs))).collect(),
            parameters: values(rehearse.parameters),
            terraform_at: terraform.map(|at| at.value().to_owned()),
            containers: self.rehearsed_containers(rehearse.containers),
        }
    }

    fn rehearsed_containers(
        &mut self,
        containers: Entries<RehearsedContainer>,
    ) -> Vec<validated_config::RehearsedContainer> {
        let checked = containers.0.into_iter().map(|(name, container)| {
            self.rule("container", &name, syntax::key);
            if container.image.value().trim().is_empty() {
                self.error(container.image.place(), format!("container `{}`: `image` is empty", name.value));
            }
            validated_config::RehearsedContainer {
                image: container.image.value().to_owned(),
                command: container.command.map(argv).unwrap_or_default(),
                environment: loose(container.environment),
                ready: container.ready.map(argv).unwrap_or_default(),
                name: name.value,
            }
        });
        checked.collect()
    }
}

/// A text runs through a shell; an empty one is none.
pub(super) fn argv(command: Command) -> Vec<Resolved> {
    match command {
        Command::Shell(script) if script.value().trim().is_empty() => vec![],
        Command::Shell(script) => vec!["sh".into(), "-c".into(), script],
        Command::Argv(argv) => argv.into_iter().map(|argument| argument.0).collect(),
    }
}

//! A config that is read, and whose values are not all known yet: some are in AWS, which cannot be reached before the
//! config has said where and as whom.
//!
//! In two phases, then: a [`Draft`] tells what it [`Needs`]; with the [`Answers`] it becomes a [`Config`].

use super::decode::decode;
use super::error::{ConfigError, ConfigErrors, Place};
use super::file::Settings;
use super::interpolate::{Answer, Reference, of_env, references, resolve};
use super::request::Request;
use super::sources::{Answers, Rehearsed, Sources, TerraformAt, TerraformSource};
use super::tree::{Node, Value, shown};
use super::validate::{Surroundings, validate};
use super::{Config, shown_as, syntax};
use fargate_deploy_core::names::RoleArn;
use fargate_deploy_core::outcome;
use fargate_deploy_core::resolved::{self, Resolved};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything that can be found without AWS has been found: what is wrong in here is wrong in AWS.
#[derive(Clone, Debug)]
pub struct Draft {
    document: Node,
    context: LoadContext,
    terraform: Option<TerraformSource>,
    references: Vec<(Reference, Place)>,
}

/// What a document is read with.
#[derive(Clone, Debug)]
pub(super) struct LoadContext {
    pub file: Option<PathBuf>,
    pub root: PathBuf,
    pub environment: Option<String>,
    pub request: Request,
    pub env: BTreeMap<String, String>,
    /// Values come from `rehearse` and from this machine; AWS is not asked.
    pub is_rehearsal: bool,
}

/// What has to be asked of AWS, as whom and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    pub region: Option<String>,
    pub roles: Vec<RoleArn>,
    /// Bucket and key of the object with Terraform's outputs.
    pub terraform: Option<(String, String, Requester)>,
    pub stacks: BTreeMap<String, Requester>,
    pub parameters: BTreeMap<String, Requester>,
}

/// Who wants to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Requester {
    /// The reference as it is written.
    pub written: String,
    pub place: Option<outcome::Place>,
}

impl Draft {
    pub(super) fn new(mut document: Node, context: LoadContext) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let only_env = |what: &'static str| {
            let env = &context.env;
            move |reference: &Reference, place: Place| match reference {
                Reference::Env { name, default } => {
                    Ok(of_env(name, default.is_some(), place, env)?.map_or(Answer::Default, Answer::Value))
                }
                other => Err(ConfigError::at(place, format!("`{other}`: `{what}` can refer to `${{env:NAME}}` only"))),
            }
        };
        for key in ["rehearse", "terraform"] {
            if let Some(node) = document.get_mut(key) {
                resolve(node, &mut only_env(key), &mut errors);
            }
        }
        let mut rest = document.clone();
        let rehearsed = rest.take("rehearse").map(|(_, node)| node);
        let terraform = rest.take("terraform").and_then(|(_, node)| {
            let Value::Scalar(scalar) = &node.value else { return None };
            TerraformSource::read(scalar, node.place).map_err(|error| errors.push(error)).ok()
        });
        // One error is enough for a place of outputs that is not known.
        let is_lost = !errors.is_empty();
        let references = references(&rest, &context.env, &mut errors);
        let draft = Self { document, context, terraform, references };
        let rehearsed = draft.context.is_rehearsal.then(|| Rehearsed::of(rehearsed.as_ref()));
        let nothing = Answers::default();
        let mut sources = draft.sources(&nothing, rehearsed.as_ref());
        for (reference, place) in draft.references.iter().filter(|(reference, _)| !draft.is_remote(reference)) {
            if !(is_lost && matches!(reference, Reference::Terraform(_))) {
                errors.extend(sources.value_of(reference, *place).err());
            }
        }
        errors.extend(draft.needed_to_ask());
        if draft.references.iter().any(|(reference, _)| draft.is_remote(reference))
            && let Err(found) = decode::<Settings>(&draft.document)
        {
            errors.extend(found.into_iter().filter(|error| error.message.starts_with("unknown key")));
        }
        if errors.is_empty() { Ok(draft) } else { Err(draft.fail(errors)) }
    }

    /// Where relative paths start.
    pub fn root(&self) -> &Path {
        &self.context.root
    }

    pub fn environment(&self) -> Option<&str> {
        self.context.environment.as_deref()
    }

    /// `None`: nothing has to be asked of AWS.
    pub fn needs(&self) -> Option<Needs> {
        let remote = || self.references.iter().filter(|(reference, _)| self.is_remote(reference));
        remote().next()?;
        let mut needs = Needs {
            region: self
                .context
                .request
                .region
                .clone()
                .or_else(|| self.texts("region").pop().map(|region| region.value().to_owned())),
            roles: match self.context.request.roles.as_slice() {
                [] => resolved::values(&self.texts("role")),
                roles => roles.to_vec(),
            }
            .into_iter()
            .map(RoleArn::new)
            .collect(),
            terraform: None,
            stacks: BTreeMap::new(),
            parameters: BTreeMap::new(),
        };
        for (reference, place) in remote() {
            let requester = || Requester { written: reference.to_string(), place: self.place(*place) };
            match (reference, self.terraform.as_ref().map(|source| &source.at)) {
                (Reference::Stack { stack, .. }, _) => {
                    needs.stacks.entry(stack.clone()).or_insert_with(requester);
                }
                (Reference::Parameter(name), _) => {
                    needs.parameters.entry(name.clone()).or_insert_with(requester);
                }
                (Reference::Terraform(_), Some(TerraformAt::Object { bucket, key })) => {
                    needs.terraform.get_or_insert_with(|| (bucket.clone(), key.clone(), requester()));
                }
                _ => {}
            }
        }
        Some(needs)
    }

    /// The config, with what AWS answered.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file.
    pub fn finish(mut self, answers: &Answers) -> Result<Config, ConfigErrors> {
        let mut document = self.document.clone();
        // Resolved already, and what they hold is theirs.
        let kept = ["rehearse", "terraform"].map(|key| document.take(key));
        let mut from_env = Vec::new();
        let mut errors = Vec::new();
        {
            let rehearsed = self.context.is_rehearsal.then(|| Rehearsed::of(self.document.get("rehearse")));
            let mut sources = self.sources(answers, rehearsed.as_ref());
            let mut value_of = |reference: &Reference, place| {
                let answer = sources.value_of(reference, place);
                if let (Ok(Answer::Value(value)), Reference::Env { .. }) = (&answer, reference) {
                    from_env.push(Resolved::of(reference.to_string(), value));
                }
                answer
            };
            resolve(&mut document, &mut value_of, &mut errors);
        }
        if !errors.is_empty() {
            return Err(self.fail(errors));
        }
        for (key, node) in kept.into_iter().flatten() {
            document.put(key, node);
        }
        document.overlay(self.context.request.overlay());
        let mut names: Vec<String> =
            self.references.iter().filter_map(|(reference, _)| output_name(reference)).collect();
        names.sort();
        names.dedup();
        let hide = |errors| shown_as::hide(errors, &document);
        let settings: Settings = decode(&document).map_err(|errors| self.fail(hide(errors)))?;
        let request = std::mem::take(&mut self.context.request);
        let context = Surroundings {
            env: &self.context.env,
            file: self.context.file.clone(),
            root: self.context.root.clone(),
            environment: self.context.environment.clone(),
            request: &request,
            terraform_outputs: names,
            services: document.key("services").map(|key| key.place),
            shown_as: shown_as::values(&document, &self.document, &from_env),
        };
        validate(settings, context).map_err(|errors| self.fail(hide(errors)))
    }

    fn fail(&self, errors: Vec<ConfigError>) -> ConfigErrors {
        ConfigErrors::of(errors, self.context.file.as_ref())
    }

    fn sources<'a>(&'a self, answers: &'a Answers, rehearsal: Option<&'a Rehearsed>) -> Sources<'a> {
        Sources {
            env: &self.context.env,
            root: &self.context.root,
            terraform: self.terraform.as_ref(),
            answers,
            rehearsal,
            outputs: None,
        }
    }

    /// Whether only AWS knows.
    fn is_remote(&self, reference: &Reference) -> bool {
        let is_object = || matches!(self.terraform.as_ref().map(|s| &s.at), Some(TerraformAt::Object { .. }));
        match reference {
            _ if self.context.is_rehearsal => false,
            Reference::Env { .. } => false,
            Reference::Terraform(_) => is_object(),
            Reference::Stack { .. } | Reference::Parameter(_) => true,
        }
    }

    /// The region and the role cannot come from where they lead to.
    fn needed_to_ask(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let flags = &self.context.request;
        for (key, is_given) in [("region", flags.region.is_some()), ("role", !flags.roles.is_empty())] {
            let Some(node) = self.document.get(key).filter(|_| !is_given) else { continue };
            let found = references(node, &self.context.env, &mut Vec::new());
            for (reference, place) in found.iter().filter(|(reference, _)| self.is_remote(reference)) {
                let why = format!("`{reference}`: its value is in AWS, which is not reached without the {key}");
                errors.push(
                    ConfigError::at(*place, why)
                        .hint("take it from `${env:NAME}`, or from Terraform's outputs in a local file"),
                );
            }
        }
        let has_needs = self.references.iter().any(|(reference, _)| self.is_remote(reference));
        if has_needs && errors.is_empty() && flags.roles.is_empty() {
            let place = self.document.get("role").map_or(Place::default(), |node| node.place);
            for role in self.texts("role") {
                if let Err(why) = syntax::arn(role.value(), "iam", "role") {
                    let error = ConfigError::at(place, format!("role `{}`: {why}", shown(role.written())));
                    errors.extend(shown_as::hide_values(vec![error], &[role]));
                }
            }
        }
        errors
    }

    /// The text of a key, or the texts of its list, as far as they are known without AWS.
    fn texts(&self, key: &str) -> Vec<Resolved> {
        let Some(mut node) = self.document.get(key).cloned() else { return Vec::new() };
        let answers = Answers::default();
        let mut sources = self.sources(&answers, None);
        resolve(&mut node, &mut |reference, place| sources.value_of(reference, place), &mut Vec::new());
        match &node.value {
            Value::List(items) => items.iter().filter_map(Node::as_resolved).collect(),
            _ => node.as_resolved().into_iter().collect(),
        }
    }

    fn place(&self, place: Place) -> Option<outcome::Place> {
        let number = |n: u64| u32::try_from(n).unwrap_or_default();
        let file = self.context.file.clone().filter(|_| place.line > 0)?;
        Some(outcome::Place { file, line: number(place.line), column: number(place.column) })
    }
}

fn output_name(reference: &Reference) -> Option<String> {
    match reference {
        Reference::Terraform(path) => path.split('.').next().map(str::to_owned),
        _ => None,
    }
}

//! What the command line asks of the configuration, and how it is laid over the file, or stands in for one.

use super::error::{ConfigError, Place};
use super::syntax;
use super::tree::{Key, Kind, Node, Scalar, Value};
use fargate_deploy_core::names::short;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Flags (or the Action's inputs) that bear on the configuration. They win over the file and its environments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// `None`: `fargate-deploy.yml` or `.yaml`, here or above, up to the root of the git repository.
    pub file: Option<PathBuf>,
    pub environment: Option<String>,
    /// Deploy what the services of this other environment run.
    pub from: Option<String>,
    pub region: Option<String>,
    /// One role, or a chain.
    pub roles: Vec<String>,
    pub cluster: Option<String>,
    /// `KEY=REF`, or `REF` where there is only one image.
    pub images: Vec<String>,
    /// Keys of the services that move.
    pub only: Vec<String>,
    /// Take the images that a release which stopped has pushed.
    pub resume: bool,
    /// Nothing is deployed: a checkout without the sources will do.
    pub needs_no_sources: bool,
    pub skip_release_commands: bool,
    pub force_new_deployment: bool,
    pub wait: Option<Duration>,
    pub lock: Option<LockFlag>,
    /// The no-file form.
    pub service: Option<String>,
    pub container: Option<String>,
    pub context: Option<PathBuf>,
    pub repository: Option<String>,
    pub release_command: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LockFlag {
    Lease,
    None,
}

/// The key of the only image in the no-file form.
const ONLY_IMAGE: &str = "app";

impl Request {
    /// The same file for the environment that images are promoted from, and of it the services that are deployed here. Other
    /// flags are about the deploy, not about it; and nothing is built of it.
    #[must_use]
    pub fn source(&self) -> Self {
        Self {
            file: self.file.clone(),
            environment: self.from.clone(),
            only: self.only.clone(),
            needs_no_sources: true,
            skip_release_commands: true,
            ..Self::default()
        }
    }

    /// The flags that only mean something without a file, of those that were given.
    pub(super) fn file_less_flags(&self) -> Vec<&'static str> {
        [
            ("--service", self.service.is_some()),
            ("--container", self.container.is_some()),
            ("--context", self.context.is_some()),
            ("--repository", self.repository.is_some()),
            ("--release-command", self.release_command.is_some()),
        ]
        .into_iter()
        .filter_map(|(flag, is_given)| is_given.then_some(flag))
        .collect()
    }

    /// The document that the flags alone describe.
    pub(super) fn document(&self, directory: &Path) -> Result<Node, ConfigError> {
        let Some(service) = &self.service else {
            let found = format!("no `fargate-deploy.yml` in `{}` or above it", directory.display());
            return Err(ConfigError::new(found).hint(
                "write one, or say what to deploy: `--cluster`, `--service`, and `--image REF` or `--context DIR`",
            ));
        };
        if self.cluster.is_none() {
            return Err(ConfigError::new("`--cluster` is missing: without a config file it names the ECS cluster"));
        }
        let image = match (&self.context, self.images.is_empty()) {
            (Some(context), true) => map([
                ("context", text(context.to_string_lossy())),
                ("repository", text(self.repository.clone().unwrap_or_else(|| short(service).to_lowercase()))),
            ]),
            (None, false) if self.repository.is_some() => {
                return Err(ConfigError::new("`--repository` goes with `--context`: `--image` names its own"));
            }
            (None, false) => Node::empty(),
            (Some(_), false) => {
                return Err(ConfigError::new("`--image` and `--context` exclude each other")
                    .hint("`--image` deploys an image that exists, `--context` builds one"));
            }
            (None, true) => {
                return Err(ConfigError::new("`--image REF` or `--context DIR` is missing: what is to be deployed?"));
            }
        };
        let mut of_service = vec![("name", text(service))];
        if let Some(container) = &self.container {
            of_service.push(("containers", map([(container.as_str(), text(ONLY_IMAGE))])));
        }
        let key = Some(short(service)).filter(|name| syntax::key(name).is_ok()).unwrap_or("service");
        let mut document = map([("images", map([(ONLY_IMAGE, image)])), ("services", map([(key, map(of_service))]))]);
        if let Some(command) = &self.release_command {
            let release = Node {
                place: Place::default(),
                value: Value::List(vec![map([("name", text("release")), ("command", text(command))])]),
            };
            document.overlay(map([("release", release)]));
        }
        Ok(document)
    }

    /// The flags that replace a value of the document.
    pub(super) fn overlay(&self) -> Node {
        let mut over = Vec::new();
        if let Some(region) = &self.region {
            over.push(("region", text(region)));
        }
        if !self.roles.is_empty() {
            let roles = self.roles.iter().map(text).collect();
            over.push(("role", Node { place: Place::default(), value: Value::List(roles) }));
        }
        if let Some(cluster) = &self.cluster {
            over.push(("cluster", text(cluster)));
        }
        if self.force_new_deployment {
            let value = Value::Scalar(Scalar::new("true", Kind::Bool));
            over.push(("force-new-deployment", Node { place: Place::default(), value }));
        }
        if let Some(wait) = self.wait {
            over.push(("wait", text(format!("{}s", wait.as_secs()))));
        }
        match self.lock {
            Some(LockFlag::Lease) => over.push(("lock", text("lease"))),
            Some(LockFlag::None) => over.push(("lock", text("none"))),
            None => {}
        }
        map(over)
    }
}

fn text(value: impl ToString) -> Node {
    Node::text(Place::default(), value.to_string())
}

fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Node)>) -> Node {
    let entries =
        entries.into_iter().map(|(key, node)| (Key { place: Place::default(), text: key.to_owned() }, node)).collect();
    Node { place: Place::default(), value: Value::Map(entries) }
}

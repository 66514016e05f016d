//! `fargate-deploy.yml` as it is written. The parser and the published JSON Schema both come from these types, so the
//! descriptions below are what an editor shows.

use super::decode::{self, Entries, Located, Loose, Number, OneOrMany};
use super::syntax;
use fargate_deploy_core::resolved::Resolved;
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

type Text = Located<decode::Text>;

/// What a release consists of and where it goes.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Settings {
    /// The AWS region of the cluster. Without it the usual AWS settings decide (AWS_REGION, the profile).
    #[schemars(extend("pattern" = syntax::REGION))]
    pub region: Option<Text>,
    /// The IAM role to assume through GitHub OIDC, or a list: each role is assumed with the one before.
    pub role: Option<OneOrMany<Role>>,
    /// The ECS cluster, by name or ARN.
    #[schemars(extend("pattern" = syntax::CLUSTER))]
    pub cluster: Option<Text>,
    /// The images of the release, by a key that the services refer to.
    #[schemars(extend("propertyNames" = { "pattern": syntax::KEY }))]
    pub images: Entries<Option<Image>>,
    /// The BuildKit that builds the images, in place of the Docker Engine's: `tcp://HOST:PORT`, `unix://PATH` or
    /// `docker-container://NAME`, or a mapping with certificates.
    pub builder: Option<Located<Builder>>,
    /// One-off tasks that run to success, in order.
    pub release: Vec<Release>,
    /// The services of the release, by a key that outputs and messages use.
    #[schemars(extend("propertyNames" = { "pattern": syntax::KEY }))]
    pub services: Entries<Option<Service>>,
    /// `lease` (the default) lets one deploy at a time reach the services, from wherever it runs; `none` does not.
    pub lock: Option<LockChoice>,
    /// How long to wait for another deploy's lease (default 15m).
    pub lock_timeout: Option<Located<Span>>,
    /// How long to watch a rollout before giving up on it (default 30m). AWS goes on after that.
    pub wait: Option<Located<Span>>,
    /// Deploy only what a plan has shown on the pull request: `true` stops a deploy that would do something else.
    pub require_plan: Option<bool>,
    /// An RDS instance: a snapshot of it is taken, and waited for, before the first release command.
    #[schemars(extend("pattern" = syntax::DATABASE))]
    pub snapshot: Option<Text>,
    /// When one service of the release fails: `rollback-all` (the default) puts every service back that moved,
    /// `rollback-failed` only those that failed, `leave` none.
    pub on_failure: Option<OnFailureChoice>,
    /// Take a rollout back as soon as its tasks crash in a loop, before the circuit breaker does (default false).
    pub fail_fast: Option<bool>,
    /// When the run is cancelled: `leave` (the default) lets ECS go on with the rollouts, `rollback` takes them back.
    pub on_cancel: Option<OnCancelChoice>,
    /// Roll the services although nothing changed.
    pub force_new_deployment: Option<bool>,
    /// Where `${tf:NAME}` is looked up: a file of `terraform output -json` or a state, from the folder of this file, or
    /// `s3://BUCKET/KEY`.
    pub terraform: Option<Text>,
    /// What `rehearse` cannot know from the rest.
    pub rehearse: Option<Rehearse>,
}

/// `arn:aws:iam::ACCOUNT:role/NAME`, of any partition.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Role(#[schemars(extend("pattern" = syntax::ROLE))] pub Text);

/// An image that is built and pushed.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Image {
    /// An ECR repository of the deploying account (`team/app`), or a full name with its registry (`ghcr.io/org/app`).
    pub repository: Option<Text>,
    /// Create the ECR repository when it does not exist (default false).
    pub create_repository: Option<bool>,
    /// The build context, from the folder of this file (default `.`).
    pub context: Option<Text>,
    /// The Dockerfile, from the folder of this file (default: `Dockerfile` in the context).
    pub dockerfile: Option<Text>,
    /// The stage of the Dockerfile to build (default: the last).
    pub target: Option<Text>,
    /// Build arguments. Not for secrets: they stay in the image's history.
    pub build_args: Entries<Loose>,
    /// Labels of the image.
    pub labels: Entries<Loose>,
    /// Secrets for `RUN --mount=type=secret,id=KEY`.
    pub build_secrets: Entries<Secret>,
    /// `linux/amd64` or `linux/arm64` (default: what the task definition's runtimePlatform asks for).
    #[schemars(extend("pattern" = syntax::PLATFORM))]
    pub platform: Option<Text>,
    /// The tags to push, with the placeholders {sha}, {short-sha}, {branch}, {run} and {env} (default `["{sha}"]`).
    pub tags: Option<OneOrMany<Tag>>,
    /// What a later build on another machine finds of this one: `auto`, `inline` or `off` (default `auto`).
    pub cache: Option<CacheChoice>,
    /// When an image that is already in the repository is taken instead of being built again (default `auto`).
    pub reuse: Option<ReuseChoice>,
}

/// A BuildKit: its endpoint, alone or with certificates.
#[derive(Clone, Debug)]
pub(super) enum Builder {
    Endpoint(Resolved),
    With(Box<BuilderSettings>),
}

/// A BuildKit elsewhere.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(rename = "Builder")]
pub(super) struct BuilderSettings {
    /// `tcp://HOST:PORT`, `unix://PATH` or `docker-container://NAME`.
    #[schemars(extend("pattern" = syntax::BUILDER))]
    pub endpoint: Text,
    /// PEM file, from the folder of this file: who signed the builder's certificate. `tcp://` is not encrypted without it.
    pub ca: Option<Text>,
    /// PEM file: our certificate, for a builder that asks for one.
    pub cert: Option<Text>,
    /// PEM file: the key of `cert`.
    pub key: Option<Text>,
    /// The name in the builder's certificate (default: the host of `endpoint`).
    pub server_name: Option<Text>,
}

/// A tag, with placeholders.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Tag(#[schemars(extend("pattern" = syntax::TAG))] pub Located<Loose>);

/// Where the value of a build secret comes from: one of the two, or a text with references that is the value.
#[derive(Clone, Debug)]
pub(super) enum Secret {
    Value(Resolved),
    From(SecretSource),
}

/// Where the value of a build secret comes from: one of the two.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(rename = "Secret", extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct SecretSource {
    /// A file, from the folder of this file.
    pub file: Option<Text>,
    /// An environment variable.
    pub env: Option<Text>,
}

/// A one-off task of the release.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Release {
    /// What messages and outputs call it.
    #[schemars(extend("pattern" = syntax::KEY))]
    pub name: Text,
    /// The service whose network, roles, logs and task definition it borrows (default: the only service).
    pub service: Option<Text>,
    /// The container to run it in (default: the one that carries the release's image).
    pub container: Option<Text>,
    /// A text runs through `sh -c`; a list is the argv itself.
    pub command: Located<Command>,
    /// How long it may take (default 30m).
    pub timeout: Option<Located<Span>>,
    /// `before` (the default): before any service moves; `after`: when all of them serve.
    pub when: Option<WhenChoice>,
    /// A task definition of its own in git (default: the service's new revision). The container gets the service's image.
    pub task_definition: Option<Text>,
}

/// An ECS service.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Service {
    /// The ECS service, by name or ARN (default: the key).
    #[schemars(extend("pattern" = syntax::SERVICE))]
    pub name: Option<Text>,
    /// The cluster, when it is not the one above.
    #[schemars(extend("pattern" = syntax::CLUSTER))]
    pub cluster: Option<Text>,
    /// Container name: image key. May be left out when there is one image and one essential container.
    #[schemars(extend("propertyNames" = { "pattern": syntax::NAME }))]
    pub containers: Option<Entries<Text>>,
    /// The task definition in git (default: the revision that the service runs).
    pub task_definition: Option<Text>,
    /// Services that must be done before this one starts.
    pub after: Option<OneOrMany<Text>>,
    /// Requests that must succeed once the service is steady.
    pub smoke: Vec<Smoke>,
}

/// A request that shows that the release works.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Smoke {
    /// The address to ask.
    #[schemars(extend("pattern" = syntax::URL))]
    pub url: Text,
    /// The status to expect (default 200).
    #[schemars(extend("minimum" = 100, "maximum" = 599))]
    pub status: Option<Located<Number>>,
    /// How long to keep trying (default 60s).
    pub within: Option<Located<Span>>,
    /// A text that the body must contain.
    pub contains: Option<Text>,
}

/// What `rehearse` cannot know from the rest.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Rehearse {
    /// Secret or parameter, as `valueFrom` names it: the value it has in the rehearsal.
    pub values: Entries<Loose>,
    /// The value of `${tf:NAME}` in the rehearsal, by what follows `tf:`.
    pub terraform: Entries<Loose>,
    /// The values of `${cfn:STACK.OUTPUT}` in the rehearsal, by stack and output.
    pub stacks: Entries<Entries<Loose>>,
    /// The value of `${ssm:NAME}` in the rehearsal, by name.
    pub parameters: Entries<Loose>,
    /// What the application needs beside itself, by the name under which it reaches it: started before it, removed after it.
    #[schemars(extend("propertyNames" = {"pattern": syntax::KEY}))]
    pub containers: Entries<RehearsedContainer>,
}

/// A container of a rehearsal that is none of the release: its database, for one.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RehearsedContainer {
    /// The image, pulled where this machine does not have it.
    pub image: Text,
    /// Replaces the image's own command: a text runs through `sh -c`, a list is the argv.
    pub command: Option<Command>,
    /// Its environment.
    #[serde(default)]
    pub environment: Entries<Loose>,
    /// Exits with 0 inside of it once it is ready (default: its health check, else that its ports answer).
    pub ready: Option<Command>,
}

#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LockChoice {
    Lease,
    None,
}

#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnFailureChoice {
    RollbackAll,
    RollbackFailed,
    Leave,
}

#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnCancelChoice {
    Leave,
    Rollback,
}

#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WhenChoice {
    Before,
    After,
}

#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CacheChoice {
    Auto,
    Inline,
    Off,
}

#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ReuseChoice {
    Auto,
    Commit,
    Content,
    Never,
}

/// A whole number and a unit: `90s`, `15m`, `1h`. At most a day.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Span(#[schemars(with = "String", extend("pattern" = syntax::DURATION))] pub Loose);

#[derive(Clone, Debug)]
pub(super) enum Command {
    Shell(Resolved),
    Argv(Vec<Loose>),
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CommandVisitor;

        impl<'de> Visitor<'de> for CommandVisitor {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text (run through `sh -c`) or a list of arguments")
            }

            fn visit_map<A: MapAccess<'de>>(self, text: A) -> Result<Command, A::Error> {
                decode::resolved(text).map(Command::Shell)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Command, A::Error> {
                let mut argv = Vec::new();
                while let Some(item) = items.next_element()? {
                    argv.push(item);
                }
                Ok(Command::Argv(argv))
            }
        }

        deserializer.deserialize_any(CommandVisitor)
    }
}

impl<'de> Deserialize<'de> for Builder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BuilderVisitor;

        impl<'de> Visitor<'de> for BuilderVisitor {
            type Value = Builder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`tcp://HOST:PORT`, or a mapping with `endpoint`")
            }

            fn visit_map<A: MapAccess<'de>>(self, text: A) -> Result<Builder, A::Error> {
                decode::resolved(text).map(Builder::Endpoint)
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, settings: D) -> Result<Builder, D::Error> {
                BuilderSettings::deserialize(settings).map(Box::new).map(Builder::With)
            }
        }

        deserializer.deserialize_newtype_struct(decode::TEXT_OR_MAPPING, BuilderVisitor)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;

        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`${env:NAME}`, or a mapping with `env` or `file`")
            }

            fn visit_map<A: MapAccess<'de>>(self, text: A) -> Result<Secret, A::Error> {
                decode::resolved(text).map(Secret::Value)
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, source: D) -> Result<Secret, D::Error> {
                SecretSource::deserialize(source).map(Secret::From)
            }
        }

        deserializer.deserialize_newtype_struct(decode::TEXT_OR_MAPPING, SecretVisitor)
    }
}

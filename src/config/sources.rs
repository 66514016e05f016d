//! Where the values of references come from: the environment, files, what AWS answered, and in a rehearsal what the
//! config itself says.

use super::error::{ConfigError, Place};
use super::interpolate::{Answer, Reference, of_env};
use super::read::{Unread, read_file};
use super::suggestion::suggestion;
use super::tree::{Node, Scalar, Value, shown};
use crate::ports::Parameter;
use fargate_deploy_core::terraform::Outputs;
use fargate_deploy_core::terraform::outputs::OutputError;
use std::collections::BTreeMap;
use std::path::Path;

/// States of large systems are tens of megabytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What AWS answered to [`super::Needs`]. What is missing here was not asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// The object that `terraform: s3://...` names; the inner `None`: there is none.
    pub terraform: Option<Option<Vec<u8>>>,
    /// Outputs by the stack's name; `None`: there is no such stack.
    pub stacks: BTreeMap<String, Option<BTreeMap<String, String>>>,
    /// By name; `None`: there is no such parameter.
    pub parameters: BTreeMap<String, Option<Parameter>>,
}

/// Where Terraform's outputs are, from the config key `terraform`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TerraformSource {
    pub place: Place,
    /// What the file calls it, references and all.
    written: String,
    pub at: TerraformAt,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TerraformAt {
    /// As written, from the folder of the config.
    File(String),
    Object {
        bucket: String,
        key: String,
    },
}

impl TerraformSource {
    pub(super) fn read(scalar: &Scalar, place: Place) -> Result<Self, ConfigError> {
        let written = scalar.written().to_owned();
        let Some(rest) = scalar.text.strip_prefix("s3://") else {
            return Ok(Self { place, written, at: TerraformAt::File(scalar.text.clone()) });
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
        let is_bucket = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-');
        if !is_bucket || key.is_empty() {
            return Err(ConfigError::at(place, format!("terraform `{}`: not an object in S3", shown(&written)))
                .hint("write `s3://BUCKET/KEY`, as the `backend \"s3\"` block names them"));
        }
        Ok(Self { place, written, at: TerraformAt::Object { bucket: bucket.to_owned(), key: key.to_owned() } })
    }

    fn error(&self, why: &str) -> ConfigError {
        ConfigError::at(self.place, format!("terraform `{}`: {why}", shown(&self.written)))
    }

    fn parse(&self, bytes: &[u8]) -> Result<Outputs, ConfigError> {
        Outputs::parse(bytes).map_err(|why| self.error(&why))
    }

    fn read_file(&self, path: &str, root: &Path) -> Result<Outputs, ConfigError> {
        let bytes = read_file(&root.join(path), MAX_BYTES).map_err(|why| match why {
            Unread::Missing => self.error("there is no such file").missing().hint(
                "write it in a step before: `terraform output -json > FILE`; or name the state: `terraform: s3://BUCKET/KEY`",
            ),
            why => self.error(&why.to_string()),
        })?;
        self.parse(&bytes)
    }
}

/// Everything that a reference can be answered from.
pub(super) struct Sources<'a> {
    pub env: &'a BTreeMap<String, String>,
    pub root: &'a Path,
    pub terraform: Option<&'a TerraformSource>,
    pub answers: &'a Answers,
    /// In a rehearsal: what the config gives values to, before anything else is asked, and AWS is not.
    pub rehearsal: Option<&'a Rehearsed>,
    /// Terraform's outputs, once they have been read.
    pub outputs: Option<Result<Outputs, ConfigError>>,
}

impl Sources<'_> {
    pub(super) fn value_of(&mut self, reference: &Reference, place: Place) -> Result<Answer, ConfigError> {
        if let Some(value) = self.rehearsal.and_then(|values| values.value_of(reference)) {
            return Ok(Answer::Value(value));
        }
        if let Reference::Env { name, default } = reference {
            let set = of_env(name, default.is_some(), place, self.env)?;
            return Ok(set.map_or(Answer::Default, Answer::Value));
        }
        self.elsewhere(reference, place).map(Answer::Value)
    }

    fn elsewhere(&mut self, reference: &Reference, place: Place) -> Result<String, ConfigError> {
        let error = |why: &str| ConfigError::at(place, format!("`{reference}`: {why}"));
        match reference {
            Reference::Env { .. } => Ok(String::new()),
            Reference::Terraform(path) => self.of_terraform(path, &error),
            Reference::Stack { .. } | Reference::Parameter(_) if self.rehearsal.is_some() => {
                Err(not_rehearsed(&error, reference))
            }
            Reference::Stack { stack, output } => match self.answers.stacks.get(stack) {
                Some(Some(outputs)) => outputs.get(output).cloned().ok_or_else(|| {
                    let known = outputs.keys().map(String::as_str);
                    error(&format!("stack `{stack}` has no output `{output}`")).maybe_hint(near(output, known))
                }),
                Some(None) => Err(error(&format!("there is no stack `{stack}` in this account and region"))
                    .hint("`aws cloudformation list-stacks` shows what there is")),
                None => Err(not_asked(&error)),
            },
            Reference::Parameter(name) => match self.answers.parameters.get(name) {
                Some(Some(Parameter::Plain(value))) => Ok(value.clone()),
                Some(Some(Parameter::Secure)) => {
                    Err(error("the parameter is a SecureString: secret values are never read").hint(
                        "a config ends up in plans, logs and task definitions; hand it to the container instead: \
                    `secrets: [{ name: NAME, valueFrom: PARAMETER }]` in the task definition",
                    ))
                }
                Some(None) => Err(error("there is no such parameter in this account and region")
                    .hint("`aws ssm describe-parameters` shows what there is")),
                None => Err(not_asked(&error)),
            },
        }
    }

    fn of_terraform(&mut self, path: &str, error: &dyn Fn(&str) -> ConfigError) -> Result<String, ConfigError> {
        let Some(source) = self.terraform else {
            return Err(match self.rehearsal {
                Some(_) => not_rehearsed(error, &Reference::Terraform(path.to_owned())),
                None => error("where are Terraform's outputs?")
                    .hint("say it: `terraform: FILE` (of `terraform output -json`, or a state), or `terraform: s3://BUCKET/KEY`"),
            });
        };
        if self.outputs.is_none() {
            self.outputs = Some(match (&source.at, &self.answers.terraform) {
                (TerraformAt::File(path), _) => source.read_file(path, self.root),
                (TerraformAt::Object { .. }, _) if self.rehearsal.is_some() => {
                    return Err(not_rehearsed(error, &Reference::Terraform(path.to_owned())));
                }
                (TerraformAt::Object { .. }, Some(Some(bytes))) => source.parse(bytes),
                (TerraformAt::Object { .. }, Some(None)) => Err(source.error("there is no such object")),
                (TerraformAt::Object { .. }, None) => Err(not_asked(error)),
            });
        }
        let outputs = match &self.outputs {
            Some(Ok(outputs)) => outputs,
            Some(Err(error)) => return Err(error.clone()),
            None => return Err(not_asked(error)),
        };
        outputs.get(path).map_err(|why| {
            let said = error(&why.to_string());
            match &why {
                OutputError::Missing { part, known, .. } => said.maybe_hint(near(part, known.iter().map(String::as_str))),
                OutputError::Sensitive { .. } => said.hint(
                    "a config ends up in plans, logs and task definitions; hand secrets to containers by `secrets` of the task definition",
                ),
                OutputError::NotOne { kind: "null" } => said,
                OutputError::NotOne { .. } => said.hint(format!("name a member: `${{tf:{path}.MEMBER}}`, or `${{tf:{path}.0}}` of a list")),
            }
        })
    }
}

/// Nothing is near where there is nothing.
fn near<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    known.clone().next().map(|_| suggestion(word, known))
}

fn not_asked(error: &dyn Fn(&str) -> ConfigError) -> ConfigError {
    error("its value is in AWS, which is not asked here")
        .hint("pass it as `${env:NAME}` where there is no AWS identity")
}

fn not_rehearsed(error: &dyn Fn(&str) -> ConfigError, reference: &Reference) -> ConfigError {
    let give = match reference {
        Reference::Env { .. } | Reference::Terraform(_) => "terraform: { NAME: VALUE }",
        Reference::Stack { .. } => "stacks: { STACK: { OUTPUT: VALUE } }",
        Reference::Parameter(_) => "parameters: { NAME: VALUE }",
    };
    error("a rehearsal asks nobody for its value").hint(format!("give it one: `rehearse: {{ {give} }}`"))
}

/// The values that `rehearse` gives to references, by what they are written as.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rehearsed {
    terraform: BTreeMap<String, String>,
    stacks: BTreeMap<String, BTreeMap<String, String>>,
    parameters: BTreeMap<String, String>,
}

impl Rehearsed {
    /// Reads what can be read of the node under `rehearse`; what is wrong with it is said when it is decoded.
    pub(super) fn of(node: Option<&Node>) -> Self {
        let part = |name: &str| node.and_then(|node| node.get(name));
        let stacks = match part("stacks").map(|node| &node.value) {
            Some(Value::Map(stacks)) => {
                stacks.iter().map(|(name, outputs)| (name.text.clone(), texts(Some(outputs)))).collect()
            }
            _ => BTreeMap::new(),
        };
        Self { terraform: texts(part("terraform")), stacks, parameters: texts(part("parameters")) }
    }

    fn value_of(&self, reference: &Reference) -> Option<String> {
        match reference {
            Reference::Env { .. } => None,
            Reference::Terraform(path) => self.terraform.get(path),
            Reference::Stack { stack, output } => self.stacks.get(stack)?.get(output),
            Reference::Parameter(name) => self.parameters.get(name),
        }
        .cloned()
    }
}

fn texts(node: Option<&Node>) -> BTreeMap<String, String> {
    let Some(Value::Map(entries)) = node.map(|node| &node.value) else { return BTreeMap::new() };
    let text = |node: &Node| match &node.value {
        Value::Scalar(scalar) => Some(scalar.text.clone()),
        _ => None,
    };
    entries.iter().filter_map(|(key, node)| Some((key.text.clone(), text(node)?))).collect()
}

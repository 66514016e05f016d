//! References inside values: `${env:NAME}`, `${env:NAME:-default}`, `${tf:output}`, `${cfn:Stack.Output}` and
//! `${ssm:/path}`; a default can hold references itself. `$${` stands for a literal `${`. Any other `${...}` is left as it is, so that shell commands keep
//! their own variables.

use super::error::{ConfigError, Place};
use super::tree::{Kind, Node, Scalar, Value, shown};
use std::collections::BTreeMap;
use std::fmt;

/// What a value refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    Env {
        name: String,
        default: Option<String>,
    },
    /// An output, and the way to a member of it: `vpc.subnet_ids.0`.
    Terraform(String),
    Stack {
        stack: String,
        output: String,
    },
    /// A name or an ARN, with a version or a label where given.
    Parameter(String),
}

/// As it is written.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env { name, .. } => write!(f, "${{env:{name}}}"),
            Self::Terraform(path) => write!(f, "${{tf:{path}}}"),
            Self::Stack { stack, output } => write!(f, "${{cfn:{stack}.{output}}}"),
            Self::Parameter(name) => write!(f, "${{ssm:{name}}}"),
        }
    }
}

/// What a reference is answered with.
pub(super) enum Answer {
    Value(String),
    /// There is none, and the reference has a default: that stands for it.
    Default,
}

/// Replaces the references in every value of the tree by what `value_of` says; gathers all that cannot be.
pub(super) fn resolve(
    node: &mut Node,
    value_of: &mut dyn FnMut(&Reference, Place) -> Result<Answer, ConfigError>,
    errors: &mut Vec<ConfigError>,
) {
    let place = node.place;
    match &mut node.value {
        Value::Null => {}
        Value::List(items) => items.iter_mut().for_each(|item| resolve(item, value_of, errors)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| resolve(value, value_of, errors)),
        Value::Scalar(scalar) if scalar.kind == Kind::Text && scalar.text.contains("${") => {
            let mut text = Text { place, value_of, has_reference: false };
            match text.resolved(&scalar.text) {
                Ok(value) if text.has_reference => {
                    let written = std::mem::replace(&mut scalar.text, value);
                    *scalar = Scalar { kind: Kind::Resolved, written: Some(written), ..scalar.clone() };
                }
                Ok(value) => scalar.text = value,
                Err(error) => errors.push(error),
            }
        }
        Value::Scalar(_) => {}
    }
}

/// Every reference of the tree with its place, those of defaults too where the environment makes them count. What is
/// written wrong is gathered too.
pub(super) fn references(
    node: &Node,
    env: &BTreeMap<String, String>,
    errors: &mut Vec<ConfigError>,
) -> Vec<(Reference, Place)> {
    let mut found = Vec::new();
    let mut keep = |reference: &Reference, place| {
        found.push((reference.clone(), place));
        Ok(match reference {
            Reference::Env { name, default: Some(_) }
                if of_env(name, true, place, env).is_ok_and(|set| set.is_none()) =>
            {
                Answer::Default
            }
            _ => Answer::Value(String::new()),
        })
    };
    resolve(&mut node.clone(), &mut keep, errors);
    found
}

/// Whether a value below still holds a reference.
pub(super) fn has_reference(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::List(items) => items.iter().any(has_reference),
        Value::Map(entries) => entries.iter().any(|(_, value)| has_reference(value)),
        Value::Scalar(scalar) => scalar.text.contains("${"),
    }
}

/// The value of an environment variable; `None`: its default stands for it.
pub(super) fn of_env(
    name: &str,
    has_default: bool,
    place: Place,
    env: &BTreeMap<String, String>,
) -> Result<Option<String>, ConfigError> {
    match env.get(name).filter(|value| !has_default || !value.is_empty()) {
        None if !has_default => {
            Err(ConfigError::at(place, format!("`${{env:{name}}}`: the environment variable is not set"))
                .missing()
                .hint(format!("set `{name}`, or give a default: `${{env:{name}:-default}}`")))
        }
        set => Ok(set.cloned()),
    }
}

/// Whether a variable holds a credential of the run itself: the job's token, the identity that AWS is asked as. A config
/// has no use for one, and whoever can edit the config could have it shown.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>
/// <https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html#EVarSettings>
pub(crate) fn is_credential(name: &str) -> bool {
    const OF_RUNNERS: [&str; 5] =
        ["GH_TOKEN", "CI_JOB_TOKEN", "CI_JOB_JWT", "SYSTEM_ACCESSTOKEN", "DOCKER_AUTH_CONFIG"];
    let name = name.to_ascii_uppercase();
    let holds = |words: &[&str]| words.iter().any(|word| name.contains(word));
    name.starts_with("ACTIONS_")
        || OF_RUNNERS.contains(&name.as_str())
        || (["GITHUB_", "GH_", "INPUT_", "RUNNER_"].iter().any(|of| name.starts_with(of))
            && holds(&["TOKEN", "SECRET"]))
        || (name.starts_with("AWS_") && holds(&["KEY", "TOKEN", "SECRET", "CREDENTIAL", "CONFIG_FILE"]))
}

/// A text whose references are being resolved.
struct Text<'a> {
    place: Place,
    value_of: &'a mut dyn FnMut(&Reference, Place) -> Result<Answer, ConfigError>,
    /// `$${` alone is none.
    has_reference: bool,
}

impl Text<'_> {
    fn resolved(&mut self, source: &str) -> Result<String, ConfigError> {
        let mut resolved = String::with_capacity(source.len());
        let mut rest = source;
        while let Some(start) = rest.find("${") {
            if rest[..start].ends_with('$') {
                resolved.push_str(&rest[..start - 1]);
                resolved.push_str("${");
                rest = &rest[start + 2..];
                continue;
            }
            resolved.push_str(&rest[..start]);
            let body = &rest[start + 2..];
            let Some((kind, after)) = reference_kind(body) else {
                resolved.push_str("${");
                rest = body;
                continue;
            };
            let end = closing(after)
                .map_err(|(why, hint)| ConfigError::at(self.place, format!("`${{{kind}:` {why}")).hint(hint))?;
            self.has_reference = true;
            let reference = read(kind, &after[..end]).map_err(|(why, hint)| {
                ConfigError::at(self.place, format!("`${{{kind}:{}}}`: {why}", shown(&after[..end]))).hint(hint)
            })?;
            let value = match ((self.value_of)(&reference, self.place)?, &reference) {
                (Answer::Value(value), _) => value,
                (Answer::Default, Reference::Env { default: Some(default), .. }) => self.resolved(default)?,
                (Answer::Default, _) => String::new(),
            };
            resolved.push_str(&value);
            rest = &after[end + 1..];
        }
        resolved.push_str(rest);
        Ok(resolved)
    }
}

/// Where the reference that is open ends: those in its default are closed before. `Err`: why it does not, and what to do.
fn closing(text: &str) -> Result<usize, (&'static str, &'static str)> {
    let mut depth = 0_usize;
    let mut rest = 0;
    while let Some(at) = text[rest..].find(['}', '$']).map(|at| rest + at) {
        rest = at + 1;
        if text[at..].starts_with("${") {
            depth += 1;
            rest += 1;
            if depth > DEEPEST {
                return Err(("has defaults within defaults, more than 16 of them", "write fewer of them"));
            }
        } else if text[at..].starts_with('}') {
            match depth {
                0 => return Ok(at),
                _ => depth -= 1,
            }
        }
    }
    Err(("is not closed", "a reference ends with `}`; write `$${` for a literal `${`"))
}

/// So many references one in the other's default. Each is read once more for each one around it.
const DEEPEST: usize = 16;

/// `env:NAME...` -> (`env`, `NAME...`), for the prefixes that are ours.
fn reference_kind(body: &str) -> Option<(&str, &str)> {
    let kinds = ["env", "tf", "cfn", "ssm"].into_iter();
    kinds.filter_map(|kind| Some((kind, body.strip_prefix(kind)?.strip_prefix(':')?))).next()
}

/// `Err`: why it is no reference of that kind, and how one is written.
fn read(kind: &str, text: &str) -> Result<Reference, (&'static str, &'static str)> {
    let name = if kind == "env" { text.split(":-").next().unwrap_or_default() } else { text };
    if name.contains("${") {
        return Err((
            "a reference stands in the name of another one",
            "only a default can hold a reference: `${env:NAME:-${env:OTHER}}`",
        ));
    }
    match kind {
        "env" => {
            let (name, default) = match text.split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (text, None),
            };
            let is_name = starts_with(name, |b| b.is_ascii_alphabetic() || b == b'_')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            match is_name {
                true if is_credential(name) => Err((
                    "a credential of the run itself is not for the config",
                    "where a build needs such a token, give the step one under another name: `env: { NPM_TOKEN: ... }`",
                )),
                true => Ok(Reference::Env { name: name.to_owned(), default }),
                false => {
                    Err(("not the name of an environment variable", "write `${env:NAME}` or `${env:NAME:-default}`"))
                }
            }
        }
        "tf" => {
            let mut parts = text.split('.');
            let name = parts.next().unwrap_or_default();
            let is_name = starts_with(name, |b| b.is_ascii_alphabetic() || b == b'_')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            match is_name && parts.all(|part| !part.is_empty()) {
                true => Ok(Reference::Terraform(text.to_owned())),
                false => Err((
                    "not the name of a Terraform output",
                    "write `${tf:NAME}`, or `${tf:NAME.MEMBER}` for a part of a list or a map",
                )),
            }
        }
        "cfn" => {
            let (stack, output) = text.rsplit_once('.').unwrap_or_default();
            let is_stack = stack.starts_with("arn:")
                || (starts_with(stack, |b| b.is_ascii_alphabetic())
                    && stack.len() <= 128
                    && stack.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
            match is_stack && !output.is_empty() && output.bytes().all(|b| b.is_ascii_alphanumeric()) {
                true => Ok(Reference::Stack { stack: stack.to_owned(), output: output.to_owned() }),
                false => Err(("not an output of a stack", "write `${cfn:STACK.OUTPUT}`")),
            }
        }
        _ => {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-/".contains(&b);
            let (name, selector) = text.split_once(':').unwrap_or((text, "latest"));
            let is_name = !name.is_empty() && name.bytes().all(allowed) && !selector.is_empty();
            let is_whole = text.starts_with("arn:") || (is_name && selector.bytes().all(allowed));
            match is_whole && (!name.contains('/') || name.starts_with('/')) {
                true => Ok(Reference::Parameter(text.to_owned())),
                false => Err(("not the name of a parameter", "write `${ssm:/path/to/parameter}`")),
            }
        }
    }
}

fn starts_with(text: &str, is_good: impl Fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(is_good)
}

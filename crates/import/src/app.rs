//! What every source is read to: the application's services, what they need, and what became of each thing in the file.

use crate::settings::{holds_secret, names_host, rehearsed, why_secret};
use crate::size::Size;
use crate::tree::{Origin, Place};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// What became of something in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Kept,
    Translated,
    Dropped,
    /// Nobody but a person can.
    Decide,
}

impl Fate {
    /// As it stands in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Translated => "translated",
            Self::Dropped => "dropped",
            Self::Decide => "you decide",
        }
    }
}

/// One line of the table: what stood there, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub fate: Fate,
    /// The file; empty where it is about none.
    pub file: String,
    pub place: Place,
    pub what: String,
    pub why: String,
}

/// Why nothing is proposed: what a person has to decide first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub file: String,
    pub place: Place,
    pub what: String,
    pub next: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct App {
    /// The files that were read.
    pub files: Vec<String>,
    pub name: Option<String>,
    pub services: Vec<Service>,
    pub images: Vec<Image>,
    pub release: Vec<Release>,
    pub rows: Vec<Row>,
    /// Parameters by name, and what their value is like.
    pub parameters: BTreeMap<String, Parameter>,
    /// Databases, which are containers in a rehearsal alone.
    pub beside: Vec<Beside>,
}

/// A container of rehearsals, under the name that others reach it by.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    pub name: String,
    pub image: String,
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
}

/// A parameter that the containers take a value from.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// The variable that it fills.
    pub variable: String,
    /// Of the value in the file, so that two services with one value share the parameter. The value itself is not held.
    fingerprint: u64,
    /// What it is in a rehearsal, where it names a container of those: the value with another password.
    pub rehearsed: Option<String>,
}

/// An ECS service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub key: String,
    pub containers: Vec<Container>,
    pub size: Size,
    pub is_arm: bool,
    /// What a load balancer is to ask.
    pub health_path: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Container {
    pub name: String,
    pub image: Source,
    pub is_optional: bool,
    pub entry_point: Vec<String>,
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Variable, and where its value is.
    pub secrets: Vec<(String, String)>,
    pub ports: Vec<Port>,
    pub health: Option<Health>,
    /// Container, and `START`, `HEALTHY`, `SUCCESS` or `COMPLETE`.
    pub depends_on: Vec<(String, &'static str)>,
    /// Seconds.
    pub stop_timeout: Option<u64>,
    pub user: Option<String>,
    pub working_directory: Option<String>,
    pub is_read_only: bool,
    pub has_init: bool,
    /// Soft and hard limit of open files.
    pub open_files: Option<(u64, u64)>,
}

/// Where an image is from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// By the key of one that is built.
    Built(String),
    Reference(String),
}

impl Default for Source {
    fn default() -> Self {
        Self::Reference(String::new())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub number: u16,
    pub is_udp: bool,
}

/// A check in the container, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Health {
    /// With `CMD` or `CMD-SHELL`.
    pub command: Vec<String>,
    pub interval: Option<u64>,
    pub timeout: Option<u64>,
    pub retries: Option<u64>,
    pub start_period: Option<u64>,
}

/// An image that is built.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Image {
    pub key: String,
    /// With its registry, where it names one.
    pub repository: Option<String>,
    pub context: String,
    pub dockerfile: Option<String>,
    pub target: Option<String>,
    pub args: Vec<(String, String)>,
    pub build_secrets: Vec<String>,
    pub platform: Option<&'static str>,
}

/// Done once a release.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Release {
    pub name: String,
    pub service: String,
    pub container: Option<String>,
    pub command: ReleaseCommand,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ReleaseCommand {
    Shell(String),
    Argv(Vec<String>),
}

impl App {
    pub fn row(&mut self, fate: Fate, file: &str, place: Place, what: impl Into<String>, why: impl Into<String>) {
        let row = Row { fate, file: file.to_owned(), place, what: what.into(), why: why.into() };
        if !self.rows.contains(&row) {
            self.rows.push(row);
        }
    }

    /// The name that parameters, repositories and roles begin with. A role's name has 64 characters at most.
    pub fn name(&self) -> &str {
        let name = self.name.as_deref().unwrap_or("app");
        name.get(..40).unwrap_or(name).trim_end_matches(['-', '_'])
    }

    /// Takes in a variable, as a setting or as a secret; says what it did.
    pub fn variable(&mut self, service: &str, container: &mut Container, variable: Variable<'_>) {
        let Variable { file, place, name, value, origin } = variable;
        if name.is_empty() || name.contains('=') || name.trim() != name {
            self.row(Fate::Dropped, file, place, format!("{service}: a variable without a name"), "AWS takes none");
            return;
        }
        container.environment.retain(|(known, _)| known != name);
        container.secrets.retain(|(known, _)| known != name);
        if matches!(name, "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN") {
            let why = "a task has credentials of its own: what they may do is the policy of `taskRoleArn`";
            self.row(Fate::Dropped, file, place, format!("{service}: variable `{name}`"), why);
            return;
        }
        match why_secret(name, value, origin) {
            None => {
                container.environment.push((name.to_owned(), value.to_owned()));
                self.row(Fate::Kept, file, place, format!("{service}: variable `{name}`"), "");
            }
            Some(why) => self.secret(service, container, Variable { file, place, name, value, origin }, why),
        }
    }

    /// Takes in a variable whose value is put into a parameter by a person.
    pub fn secret(&mut self, service: &str, container: &mut Container, variable: Variable<'_>, why: &str) {
        let Variable { file, place, name, value, origin } = variable;
        container.environment.retain(|(known, _)| known != name);
        container.secrets.retain(|(known, _)| known != name);
        let parameter = self.parameter(service, name, value, origin);
        self.row(
            Fate::Translated,
            file,
            place,
            format!("{service}: variable `{name}`"),
            format!("{why}: read from the parameter `{parameter}`, which you put"),
        );
        container.secrets.push((name.to_owned(), parameter));
    }

    fn parameter(&mut self, service: &str, variable: &str, value: &str, origin: Origin) -> String {
        let clean = |text: &str| -> String {
            text.chars()
                .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' })
                .collect()
        };
        // Names that begin with these are AWS's own.
        // <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html>
        let app = match clean(self.name()).to_ascii_lowercase() {
            name if name.starts_with("aws") || name.starts_with("ssm") => format!("app-{name}"),
            _ => clean(self.name()),
        };
        let shared = format!("/{app}/{}", clean(variable));
        let name = match self.parameters.get(&shared) {
            Some(known) if known.fingerprint != fingerprint(value) => {
                format!("/{app}/{}/{}", clean(service), clean(variable))
            }
            _ => shared,
        };
        let names_one = origin == Origin::Document && self.beside.iter().any(|beside| names_host(value, &beside.name));
        let parameter = Parameter {
            variable: variable.to_owned(),
            fingerprint: fingerprint(value),
            rehearsed: names_one.then(|| rehearsed(variable, value)).flatten(),
        };
        self.parameters.entry(name.clone()).or_insert(parameter);
        name
    }

    /// Takes in a command, unless a password stands in it.
    pub fn command(&mut self, file: &str, place: Place, what: &str, argv: Vec<String>) -> Vec<String> {
        if holds_secret(&argv) {
            let why =
                "a credential stands in it: read it from a variable, and write the command into the task definition";
            self.row(Fate::Decide, file, place, what, why);
            return vec![];
        }
        argv
    }

    /// The key of an image that is built: the same build has one.
    pub fn image(&mut self, image: Image) -> String {
        let is_same = |known: &Image| {
            Image { key: String::new(), ..known.clone() } == Image { key: String::new(), ..image.clone() }
        };
        if let Some(known) = self.images.iter().find(|known| is_same(known)) {
            return known.key.clone();
        }
        let key = unused(&image.key, &self.images.iter().map(|image| image.key.clone()).collect::<Vec<_>>());
        self.images.push(Image { key: key.clone(), ..image });
        key
    }
}

fn fingerprint(value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A variable of a file.
#[derive(Clone, Copy)]
pub(crate) struct Variable<'a> {
    pub file: &'a str,
    pub place: Place,
    pub name: &'a str,
    pub value: &'a str,
    pub origin: Origin,
}

/// A name that none of these has: with a number, where it must be.
pub(crate) fn unused(name: &str, taken: &[String]) -> String {
    let name = key(name);
    let mut candidates = (2..).map(|n| format!("{}-{n}", name.chars().take(50).collect::<String>()));
    match taken.contains(&name) {
        true => candidates.find(|candidate| !taken.contains(candidate)).unwrap_or(name),
        false => name,
    }
}

/// A key of the config, an ECS name, a family: letters, digits, `-` and `_`, at most 60.
pub(crate) fn key(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
        .collect::<String>()
        .trim_matches(['-', '_'])
        .chars()
        .take(60)
        .collect();
    if clean.is_empty() { "app".to_owned() } else { clean }
}

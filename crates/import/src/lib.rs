//! What `init` makes of the files that other platforms deploy from. Text goes in, files and a table come out: nothing is
//! read, written or asked here.
//!
//! Each of [`sources`] reads one kind of file to an [`app::App`], and says in a [`Row`] what became of everything in it;
//! [`write`] turns that into the config, the task definitions and the workflow. A secret's value is in none of them.

mod app;
mod databases;
mod interpolate;
mod live;
mod settings;
mod shell;
mod size;
mod sources;
mod toml;
mod tree;
mod write;
mod yaml;

pub use app::{Fate, Refusal, Row};
pub use live::{Live, of_service};
pub use tree::Place;

use app::App;
use tree::Document;

/// The folder that is imported. Paths are relative to it, with `/`.
pub trait Folder {
    /// The text of a file, where there is one in UTF-8.
    fn text(&self, path: &str) -> Option<String>;
    /// The names of the folders in a folder.
    fn folders(&self, path: &str) -> Vec<String>;
}

/// Files by their path.
impl Folder for std::collections::BTreeMap<String, String> {
    fn text(&self, path: &str) -> Option<String> {
        self.get(normal(path).as_str()).cloned()
    }

    fn folders(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        let mut found: Vec<_> =
            self.keys().filter_map(|file| Some(file.strip_prefix(&prefix)?.split_once('/')?.0.to_owned())).collect();
        found.dedup();
        found
    }
}

/// The kind of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Compose,
    /// With `app.json`.
    Procfile,
    HerokuYml,
    Copilot,
    /// With the compose file beside it.
    EcsParams,
    Dockerrun,
    Render,
    Railway,
    Fly,
    Kamal,
    /// A Dockerfile alone.
    Dockerfile,
}

/// Names by which each kind is found, in the order in which it is looked for.
const NAMES: [(Kind, &[&str]); 10] = [
    (Kind::EcsParams, &["ecs-params.yml", "ecs-params.yaml"]),
    (Kind::Compose, &["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"]),
    (Kind::HerokuYml, &["heroku.yml"]),
    (Kind::Procfile, &["Procfile", "app.json"]),
    (Kind::Render, &["render.yaml", "render.yml"]),
    (Kind::Railway, &["railway.json", "railway.toml"]),
    (Kind::Fly, &["fly.toml"]),
    (Kind::Kamal, &["config/deploy.yml"]),
    (Kind::Dockerrun, &["Dockerrun.aws.json"]),
    (Kind::Dockerfile, &["Dockerfile"]),
];

impl Kind {
    /// The kind of a file, by its name.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let lower = name.to_ascii_lowercase();
        let is_yaml = lower.ends_with(".yml") || lower.ends_with(".yaml");
        let is_named =
            |known: &&str| path.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
        let known = NAMES.iter().find(|(_, names)| names.iter().any(is_named));
        match known {
            Some((kind, _)) => Some(*kind),
            None if lower.starts_with("procfile") => Some(Self::Procfile),
            None if lower == "manifest.yml" => Some(Self::Copilot),
            None if is_yaml && lower.starts_with("heroku") => Some(Self::HerokuYml),
            None if is_yaml && lower.starts_with("render") => Some(Self::Render),
            None if is_yaml && lower.contains("ecs-params") => Some(Self::EcsParams),
            None if is_yaml && lower.contains("compose") => Some(Self::Compose),
            None if is_yaml && lower.starts_with("deploy") => Some(Self::Kamal),
            None if lower.starts_with("railway") => Some(Self::Railway),
            None if lower.starts_with("fly") && lower.ends_with(".toml") => Some(Self::Fly),
            None if lower.starts_with("dockerrun") => Some(Self::Dockerrun),
            None if lower.starts_with("dockerfile") || lower.ends_with(".dockerfile") => Some(Self::Dockerfile),
            None => None,
        }
    }
}

/// What is known beside the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Used where no file names the application: the folder's name.
    pub name: String,
    pub region: Option<String>,
    /// Twelve digits.
    pub account: Option<String>,
    /// The ECS cluster.
    pub cluster: Option<String>,
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// What `init` would write, and what became of what it read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// What was read.
    pub read: Vec<String>,
    pub files: Vec<File>,
    pub rows: Vec<Row>,
    /// The lines that put each secret. They hold no value.
    pub put: Vec<String>,
    /// What a deploy cannot do without, and nothing here can make: a Dockerfile.
    pub missing: Vec<String>,
}

/// The sources in a folder, each with its kind, in the order in which they would be taken.
#[must_use]
pub fn sources(folder: &dyn Folder) -> Vec<(Kind, String)> {
    let mut found: Vec<_> = NAMES
        .iter()
        .flat_map(|(kind, names)| names.iter().map(|name| (*kind, (*name).to_owned())))
        .filter(|(_, name)| folder.text(name).is_some())
        .collect();
    let copilot = folder.folders("copilot").into_iter().map(|service| format!("copilot/{service}/manifest.yml"));
    let copilot = copilot.filter(|path| folder.text(path).is_some()).map(|path| (Kind::Copilot, path));
    let at = found.iter().position(|(kind, _)| !matches!(kind, Kind::EcsParams | Kind::Compose)).unwrap_or(found.len());
    found.splice(at..at, copilot);
    found.dedup_by_key(|(kind, _)| *kind);
    found
}

/// Reads a source, and proposes what to write.
///
/// # Errors
/// What a person has to decide before anything can be proposed.
pub fn propose(folder: &dyn Folder, kind: Kind, path: &str, options: &Options) -> Result<Proposal, Refusal> {
    let mut app = App { name: None, ..App::default() };
    let fallback = app::key(&options.name).to_ascii_lowercase();
    let input = Input { folder, path, name: &fallback };
    match kind {
        Kind::Compose => sources::compose::read(&input, &mut app)?,
        Kind::Procfile => sources::procfile::read(&input, &mut app)?,
        Kind::HerokuYml => sources::heroku::read(&input, &mut app)?,
        Kind::Copilot => sources::copilot::read(&input, &mut app)?,
        Kind::EcsParams => sources::ecs_params::read(&input, &mut app)?,
        Kind::Dockerrun => sources::dockerrun::read(&input, &mut app)?,
        Kind::Render => sources::render::read(&input, &mut app)?,
        Kind::Railway => sources::railway::read(&input, &mut app)?,
        Kind::Fly => sources::fly::read(&input, &mut app)?,
        Kind::Kamal => sources::kamal::read(&input, &mut app)?,
        Kind::Dockerfile => sources::dockerfile::read(&input, &mut app)?,
    }
    if app.services.is_empty() {
        // What became of its services says why.
        let why = |fate| app.rows.iter().find(move |row| row.fate == fate && row.what.contains("service"));
        return Err(Refusal {
            file: path.to_owned(),
            place: Place::default(),
            what: "it describes no service that this program could deploy".to_owned(),
            next: match why(Fate::Decide).or(why(Fate::Dropped)) {
                Some(row) => format!("{}: {}", row.what, row.why),
                None => "name another file with `--from`".to_owned(),
            },
        });
    }
    Ok(write::proposal(app, folder, options))
}

/// As [`propose`], with a Dockerfile for each that is missing, where the folder's own files say which language it is for. What
/// stays in [`Proposal::missing`] is for a language that is not known.
///
/// # Errors
/// As [`propose`].
pub fn propose_with_dockerfiles(
    folder: &dyn Folder,
    kind: Kind,
    path: &str,
    options: &Options,
) -> Result<Proposal, Refusal> {
    let missing = match kind {
        Kind::Dockerfile if folder.text(path).is_none() => vec![path.to_owned()],
        _ => propose(folder, kind, path, options)?.missing,
    };
    let made: Vec<_> = missing.iter().filter_map(|path| write::dockerfile::made(folder, path)).collect();
    let with = With { folder, files: made.iter().map(|made| &made.file).collect() };
    let mut proposal = propose(&with, kind, path, options)?;
    proposal.read.retain(|read| made.iter().all(|made| made.file.path != *read));
    for made in made {
        proposal.rows.push(Row {
            fate: Fate::Decide,
            file: made.from.clone(),
            place: Place::default(),
            what: format!("`{}`", made.file.path),
            why: format!("written for {}: look whether it does all that the build did until now", made.language),
        });
        proposal.read.push(made.from);
        let new = [Some(made.file), made.ignored].into_iter().flatten();
        proposal
            .files
            .extend(new.filter(|file| proposal.files.iter().all(|known| known.path != file.path)).collect::<Vec<_>>());
    }
    proposal.read.sort();
    proposal.read.dedup();
    Ok(proposal)
}

/// A folder, and files that are about to be in it.
struct With<'a> {
    folder: &'a dyn Folder,
    files: Vec<&'a File>,
}

impl Folder for With<'_> {
    fn text(&self, path: &str) -> Option<String> {
        let own = self.files.iter().find(|file| file.path == normal(path));
        own.map(|file| file.text.clone()).or_else(|| self.folder.text(path))
    }

    fn folders(&self, path: &str) -> Vec<String> {
        self.folder.folders(path)
    }
}

/// One source, and the folder around it.
pub(crate) struct Input<'a> {
    pub folder: &'a dyn Folder,
    pub path: &'a str,
    /// What the application is called where no file says it.
    pub name: &'a str,
}

impl Input<'_> {
    /// A file's path, by how it is written in the source: relative to the source's own folder.
    pub fn beside(&self, path: &str) -> String {
        match self.path.rsplit_once('/') {
            Some((folder, _)) if !path.starts_with('/') => normal(&format!("{folder}/{path}")),
            _ => normal(path),
        }
    }

    pub fn refusal(&self, place: Place, what: impl Into<String>, next: impl Into<String>) -> Refusal {
        Refusal { file: self.path.to_owned(), place, what: what.into(), next: next.into() }
    }

    pub fn source(&self) -> Result<String, Refusal> {
        self.folder.text(self.path).ok_or_else(|| {
            self.refusal(
                Place::default(),
                "there is no such file, or it is not UTF-8",
                "name another one with `--from`",
            )
        })
    }

    pub fn yaml(&self, app: &mut App) -> Result<Document, Refusal> {
        self.document(app, yaml::parse)
    }

    pub fn toml(&self, app: &mut App) -> Result<Document, Refusal> {
        self.document(app, toml::parse)
    }

    fn document(
        &self,
        app: &mut App,
        parse: fn(&str) -> Result<Document, (Place, String)>,
    ) -> Result<Document, Refusal> {
        let document = parse(&self.source()?)
            .map_err(|(place, why)| self.refusal(place, format!("it cannot be read: {why}"), "correct it first"))?;
        if !document.root.is_map() {
            return Err(self.refusal(
                Place { line: 1, column: 1 },
                "it is no mapping",
                "name another file with `--from`",
            ));
        }
        app.files.push(self.path.to_owned());
        for key in &document.twice {
            let what = format!("`{}` stands twice", tree::shown(&key.text));
            app.row(Fate::Dropped, self.path, key.place, what, "the last one counts");
        }
        Ok(document)
    }
}

/// A path without `./`, `x/..` and doubled slashes. What leads out of the folder keeps its `..`.
pub(crate) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = vec![];
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

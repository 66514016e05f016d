//! Finding the file, choosing the environment, and the order in which things are laid over each other.

use super::decode::decode_environment;
use super::draft::{Draft, LoadContext};
use super::error::{ConfigError, ConfigErrors, Place};
use super::file::Settings;
use super::interpolate::has_reference;
use super::read::{Unread, read_text};
use super::request::Request;
use super::sources::Answers;
use super::suggestion::suggestion;
use super::tree::{Key, Node, Value, shown};
use super::{Config, syntax};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const NAMES: [&str; 2] = ["fargate-deploy.yml", "fargate-deploy.yaml"];

/// A config is a page or two; anything above this is not one.
const MAX_BYTES: u64 = 1024 * 1024;

/// The configuration of a rehearsal: references take their values from `rehearse`, then from files of this machine.
pub fn load_rehearsal(
    request: &Request,
    env: &BTreeMap<String, String>,
    directory: &Path,
) -> Result<Config, ConfigErrors> {
    read_document(request, env, directory, true)?.finish(&Answers::default())
}

/// The configuration of this run before AWS is asked for values: from the file that `request` names or that is found
/// from `directory` upwards, or from the flags alone.
pub fn draft(request: &Request, env: &BTreeMap<String, String>, directory: &Path) -> Result<Draft, ConfigErrors> {
    read_document(request, env, directory, false)
}

fn read_document(
    request: &Request,
    env: &BTreeMap<String, String>,
    directory: &Path,
    is_rehearsal: bool,
) -> Result<Draft, ConfigErrors> {
    let found = match &request.file {
        Some(file) => Some(directory.join(file)),
        None => find(directory)?,
    };
    let Some(path) = found else {
        let document = request.document(directory)?;
        if request.from.is_some() {
            let error = ConfigError::new("`--from` names an environment of a config file, and there is none");
            return Err(error.hint("deploy the image itself: `--image REF`").into());
        }
        return build(document, None, directory, request, env, is_rehearsal);
    };
    let shown_path = path.strip_prefix(directory).unwrap_or(&path).to_owned();
    if let [first, ..] = request.file_less_flags().as_slice() {
        let error = ConfigError::new(format!(
            "`{first}` is for deploys without a config file, and there is one: `{}`",
            shown_path.display()
        ));
        return Err(error.hint("describe it in the file; `--only KEY` picks services of it").into());
    }
    let source = read_text(&path, MAX_BYTES).map_err(|why| unread(&why, &shown_path))?;
    let root = path.parent().unwrap_or(directory);
    build(document(&source, &shown_path)?, Some(shown_path), root, request, env, is_rehearsal)
}

/// The names of the environments of the file that [`draft`] would read; none where there is no file.
///
/// # Errors
/// The file cannot be read, or is no sound document.
pub fn environment_names(request: &Request, directory: &Path) -> Result<Vec<String>, ConfigErrors> {
    let Some(path) = path(request, directory) else { return Ok(vec![]) };
    let source = read_text(&path, MAX_BYTES).map_err(|why| unread(&why, &path))?;
    let named = environments(&mut document(&source, &path)?).map_err(|errors| ConfigErrors::of(errors, Some(&path)))?;
    Ok(named.into_iter().map(|(key, _)| key.text).collect())
}

/// The file that [`draft`] would read, whether it is there and sound or not.
pub fn path(request: &Request, directory: &Path) -> Option<PathBuf> {
    match &request.file {
        Some(file) => Some(directory.join(file)),
        None => find(directory).ok().flatten(),
    }
}

/// Is there a file that [`draft`] would read?
pub fn exists(request: &Request, directory: &Path) -> bool {
    request.file.is_some() || !matches!(find(directory), Ok(None))
}

fn document(source: &str, file: &Path) -> Result<Node, ConfigErrors> {
    let file = file.to_owned();
    let document = Node::parse(source).map_err(|error| ConfigErrors::of(vec![error], Some(&file)))?;
    if !matches!(document.value, Value::Map(_)) {
        let error =
            ConfigError::at(Place { line: 1, column: 1 }, format!("expected a mapping, found {}", document.describe()));
        return Err(ConfigErrors::of(
            vec![error.hint("a file starts with keys such as `cluster:` and `services:`")],
            Some(&file),
        ));
    }
    Ok(document)
}

fn build(
    mut document: Node,
    file: Option<PathBuf>,
    root: &Path,
    request: &Request,
    env: &BTreeMap<String, String>,
    is_rehearsal: bool,
) -> Result<Draft, ConfigErrors> {
    let fail = |errors| ConfigErrors::of(errors, file.as_ref());
    let environments = environments(&mut document).map_err(fail)?;
    let environment = choose(&environments, request, env).map_err(|error| fail(vec![error]))?;
    source_environment(&environments, environment.as_deref(), request).map_err(|error| fail(vec![error]))?;
    let mut errors = Vec::new();
    environments.iter().for_each(|(_, overlay)| document.not_there(overlay, &mut errors));
    if !errors.is_empty() {
        return Err(fail(errors));
    }
    for (key, overlay) in environments {
        if Some(&key.text) == environment.as_ref() {
            document.overlay(overlay);
        }
    }
    let context = LoadContext {
        file,
        root: root.to_owned(),
        environment,
        request: request.clone(),
        env: env.clone(),
        is_rehearsal,
    };
    Draft::new(document, context)
}

/// `--from` names another environment than the one that is deployed to.
fn source_environment(
    environments: &[(Key, Node)],
    chosen: Option<&str>,
    request: &Request,
) -> Result<(), ConfigError> {
    let Some(from) = &request.from else { return Ok(()) };
    let names = environments.iter().map(|(key, _)| key.text.as_str());
    let said = |why: &str| ConfigError::new(format!("--from `{}`: {why}", shown(from)));
    match chosen {
        _ if environments.is_empty() => Err(said("the config has no `environments`")),
        _ if !names.clone().any(|known| known == from) => {
            Err(said("there is no such environment").hint(suggestion(from, names)))
        }
        Some(chosen) if chosen == from => {
            Err(said("that is the environment that is deployed to").hint("choose the other one with `--environment`"))
        }
        _ => Ok(()),
    }
}

/// Takes the environments off the document. The shape of every one of them is checked, also of those that this run
/// does not use: a slip in production's part is found by the deploy to staging.
fn environments(document: &mut Node) -> Result<Vec<(Key, Node)>, Vec<ConfigError>> {
    let Some((_, node)) = document.take("environments") else { return Ok(Vec::new()) };
    let entries = match node.value {
        Value::Null => Vec::new(),
        Value::Map(entries) => entries,
        _ => {
            let message = format!("`environments`: expected a mapping, found {}", node.describe());
            return Err(vec![ConfigError::at(node.place, message)]);
        }
    };
    let mut errors = Vec::new();
    let mut checked = Vec::new();
    for (key, mut node) in entries {
        if let Err(why) = syntax::key(&key.text) {
            errors.push(ConfigError::at(key.place, format!("environment `{}`: {why}", shown(&key.text))));
        }
        if node.value == Value::Null {
            node.value = Value::Map(Vec::new());
        }
        if let Err(found) = decode_environment::<Settings>(&without_nulls(&node)) {
            let is_certain = !has_reference(&node);
            errors.extend(found.into_iter().filter(|error| is_certain || error.message.starts_with("unknown key")));
        }
        checked.push((key, node));
    }
    if errors.is_empty() { Ok(checked) } else { Err(errors) }
}

/// In an overlay `null` takes a key away, whatever type the key has.
fn without_nulls(node: &Node) -> Node {
    match &node.value {
        Value::Map(entries) => {
            let entries = entries
                .iter()
                .filter(|(_, value)| value.value != Value::Null)
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect();
            Node { place: node.place, value: Value::Map(entries) }
        }
        _ => node.clone(),
    }
}

fn choose(
    environments: &[(Key, Node)],
    request: &Request,
    env: &BTreeMap<String, String>,
) -> Result<Option<String>, ConfigError> {
    let names = environments.iter().map(|(key, _)| key.text.as_str());
    let from_env = env.get("FARGATE_DEPLOY_ENVIRONMENT").filter(|name| !name.is_empty());
    let (wanted, by) = match (&request.environment, from_env) {
        (Some(name), _) => (Some(name), "--environment"),
        (None, name) => (name, "FARGATE_DEPLOY_ENVIRONMENT"),
    };
    match (wanted, environments) {
        (Some(name), []) => match syntax::key(name) {
            Ok(()) => Ok(Some(name.clone())),
            Err(why) => Err(ConfigError::new(format!("{by} `{}`: {why}", shown(name)))),
        },
        (Some(name), _) if names.clone().any(|known| known == name) => Ok(Some(name.clone())),
        (Some(name), _) => Err(ConfigError::new(format!("{by} `{}`: there is no such environment", shown(name)))
            .hint(suggestion(name, names))),
        (None, []) => Ok(None),
        (None, [(only, _)]) => Ok(Some(only.text.clone())),
        (None, [(first, _), ..]) => {
            let all: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            Err(ConfigError::at(first.place, format!("which environment? There are {}", all.join(", ")))
                .hint(format!("choose one: `--environment {}`", first.text)))
        }
    }
}

/// The file in `directory`, or in a folder above it within the same git repository.
fn find(directory: &Path) -> Result<Option<PathBuf>, ConfigError> {
    let root = directory.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(directory);
    for folder in directory.ancestors() {
        let here: Vec<PathBuf> = NAMES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
        match here.as_slice() {
            [] if folder == root => break,
            [] => {}
            [one] => return Ok(Some(one.clone())),
            _ => {
                let both = format!("`{}` and `{}` are both in `{}`", NAMES[0], NAMES[1], folder.display());
                return Err(
                    ConfigError::new(format!("which config? {both}")).hint("remove one, or choose with `--config`")
                );
            }
        }
    }
    Ok(None)
}

/// A failure without a place in the file names the file in its words.
fn unread(why: &Unread, file: &Path) -> ConfigErrors {
    let error = ConfigError::new(format!("config `{}`: {why}", file.display()));
    match why {
        Unread::Missing => {
            error.hint("name another one with `--config`, or leave it out to look for `fargate-deploy.yml`")
        }
        Unread::TooLarge { .. } => error.hint("a config is a page or two: is it the file that was meant?"),
        Unread::NotText => error.hint("save it as UTF-8"),
        Unread::NotAFile | Unread::Failed(_) => error,
    }
    .into()
}

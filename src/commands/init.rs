//! `init`: from the files that are there to a config, task definitions and a workflow. What is made of them is decided in
//! `fargate_deploy_import`; here files are found, read and written.

use crate::adapters::aws::AwsClient;
use crate::cli::{Arguments, InitFlags};
use crate::commands::deploy::open_session;
use crate::config::read_text;
use crate::context::RunContext;
use crate::error::call_failed;
use crate::events::Sink;
use crate::render::log::clean;
use fargate_deploy_core::names::{ClusterName, RoleArn, ServiceName, ServiceRef, account_of, short};
use fargate_deploy_core::outcome::{Failure, Place, Reason};
use fargate_deploy_import::{
    File, Folder, Kind, Live, Options, Proposal, Refusal, Row, of_service, propose, propose_with_dockerfiles, sources,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that somebody wrote; anything larger is none.
const MAX_BYTES: u64 = 1024 * 1024;

/// What was read, what became of it, and what was written.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Done {
    pub read: Vec<String>,
    pub rows: Vec<TableRow>,
    /// The lines that put each secret; they hold no value.
    pub put: Vec<String>,
    pub files: Vec<ShownFile>,
    /// False with `--print`.
    pub is_written: bool,
    /// Sources that are here too, and were not read.
    pub not_read: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableRow {
    /// `kept`, `translated`, `dropped` or `you decide`.
    pub fate: &'static str,
    /// `FILE:LINE`, where there is one.
    pub place: String,
    pub what: String,
    pub why: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShownFile {
    pub path: String,
    pub text: String,
}

/// Reads, and writes unless `--print` says otherwise.
///
/// # Errors
/// `identity`, `permission`, `unavailable` with `--service`; `config`: there is nothing to read, a person has to decide something first, or a file is there already. Nothing was
/// written then.
pub async fn init(
    flags: &InitFlags,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    here: &Path,
    sink: &Arc<dyn Sink + Send + Sync>,
) -> Result<Done, Failure> {
    let directory = here.join(&flags.directory);
    let folder = Disk(directory.clone());
    let found = sources(&folder);
    let global = &arguments.global;
    let options = Options {
        name: name(&directory),
        region: global.region.clone(),
        account: flags.account.clone().or_else(|| account_of(global.role.first()?).map(str::to_owned)),
        cluster: global.cluster.clone(),
    };
    let proposal = match &flags.service {
        Some(service) => live(service, arguments, &folder, options, env, sink).await?,
        None => {
            let (kind, path) = source(flags, &folder, &found)?;
            let propose = if flags.dockerfile { propose_with_dockerfiles } else { propose };
            propose(&folder, kind, &path, &options).map_err(|refusal| refused(&refusal))?
        }
    };
    let not_read = found.into_iter().map(|(_, other)| other).filter(|other| !proposal.read.contains(other)).collect();
    if !flags.print {
        refuse_without_dockerfile(&proposal, flags.dockerfile)?;
        write(&directory, &proposal.files, flags.force)?;
    }
    Ok(Done {
        rows: table(&proposal.rows),
        read: proposal.read,
        put: proposal.put,
        files: proposal.files.into_iter().map(|File { path, text }| ShownFile { path, text }).collect(),
        is_written: !flags.print,
        not_read,
    })
}

/// What runs now, as the identity of this run may see it. Nothing is changed.
async fn live(
    service: &str,
    arguments: &Arguments,
    folder: &Disk,
    mut options: Options,
    env: &BTreeMap<String, String>,
    sink: &Arc<dyn Sink + Send + Sync>,
) -> Result<Proposal, Failure> {
    let Some((cluster, name)) =
        service.split_once('/').filter(|(cluster, name)| !cluster.is_empty() && !name.is_empty())
    else {
        let what = format!("--service `{service}`: expected CLUSTER/SERVICE");
        return Err(Failure::new(Reason::Config, what)
            .with_next("`aws ecs list-services --cluster CLUSTER` shows what there is"));
    };
    let global = &arguments.global;
    let roles = global.role.iter().map(RoleArn::new).collect();
    let context = RunContext::read(env, &folder.0);
    let session = open_session(global.region.clone(), roles, &context, env, Arc::clone(sink)).await?;
    let client = AwsClient::new(session);
    let aws = client.ports();
    let wanted = ServiceRef { cluster: ClusterName::new(cluster), name: ServiceName::new(name) };
    let found = aws.services.services(&[wanted]).await.map_err(|e| call_failed("describing the service", &e))?;
    let Some(found) = found.into_iter().next().flatten().filter(|found| found.status != "INACTIVE") else {
        let what = format!("service `{name}` does not exist in cluster `{cluster}` in {}", aws.identity.region());
        return Err(Failure::new(Reason::Config, what).with_next("check the two names and `--region`"));
    };
    let running = aws.task_definitions.task_definition(found.task_definition.as_str()).await;
    let running = running.map_err(|e| call_failed("reading the task definition that it runs", &e))?;
    options.region.get_or_insert_with(|| aws.identity.region().to_owned());
    options.account = options.account.or_else(|| account_of(&found.arn).map(str::to_owned));
    let definition = Value::Object(running.registrable().body);
    Ok(of_service(Live { cluster: short(cluster), service: short(name), definition: &definition }, folder, &options))
}

/// A folder of this machine. Links that lead out of it are not followed.
struct Disk(PathBuf);

impl Disk {
    fn within(&self, path: &str) -> Option<PathBuf> {
        let root = self.0.canonicalize().ok()?;
        let real = root.join(path).canonicalize().ok()?;
        real.starts_with(&root).then_some(real)
    }
}

impl Folder for Disk {
    fn text(&self, path: &str) -> Option<String> {
        read_text(&self.within(path)?, MAX_BYTES).ok()
    }

    fn folders(&self, path: &str) -> Vec<String> {
        let Some(entries) = self.within(path).and_then(|path| path.read_dir().ok()) else { return vec![] };
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

fn name(directory: &Path) -> String {
    let real = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    real.file_name().and_then(|name| name.to_str()).unwrap_or("app").to_owned()
}

fn source(flags: &InitFlags, folder: &Disk, found: &[(Kind, String)]) -> Result<(Kind, String), Failure> {
    let failed = |what: String, next: &str| Failure::new(Reason::Config, what).with_next(next);
    let Some(from) = &flags.from else {
        let none = || {
            let what = format!("`{}`: there is nothing here that a config could be made of", flags.directory.display());
            failed(
                what,
                "it reads compose files, Procfile, app.json, heroku.yml, Copilot's manifests, ecs-params.yml, render.yaml, \
                 railway.json, fly.toml, Kamal's config/deploy.yml, Dockerrun.aws.json and a Dockerfile; `--from FILE` names one",
            )
        };
        let nothing_but_code = flags.dockerfile.then(|| (Kind::Dockerfile, "Dockerfile".to_owned()));
        return found.first().cloned().or(nothing_but_code).ok_or_else(none);
    };
    let path = from.trim_start_matches("./").to_owned();
    if folder.within(&path).is_none() {
        let what = format!("--from `{from}`: there is no such file in `{}`", flags.directory.display());
        return Err(failed(what, "name a file of that folder, by its path in it"));
    }
    match Kind::of(&path) {
        Some(kind) => Ok((kind, path)),
        None => Err(failed(
            format!("--from `{from}`: its name is of no kind that is known"),
            "known are names such as compose.yaml, Procfile, app.json, heroku.yml, manifest.yml, ecs-params.yml, render.yaml, \
             railway.json, fly.toml, deploy.yml, Dockerrun.aws.json and Dockerfile",
        )),
    }
}

fn refused(refusal: &Refusal) -> Failure {
    let mut failure = Failure::new(Reason::Config, format!("`{}`: {}", refusal.file, refusal.what));
    failure.place = (refusal.place.line > 0).then(|| Place {
        file: refusal.file.clone().into(),
        line: u32::try_from(refusal.place.line).unwrap_or_default(),
        column: u32::try_from(refusal.place.column).unwrap_or_default(),
    });
    failure.with_next(refusal.next.clone())
}

fn refuse_without_dockerfile(proposal: &Proposal, is_language_unknown: bool) -> Result<(), Failure> {
    let Some(first) = proposal.missing.first() else { return Ok(()) };
    let what = format!("`{first}`: there is no such file, and the image is built from it");
    let others = proposal.missing.iter().skip(1).map(|file| format!("`{file}` is missing too")).collect();
    let next = match is_language_unknown {
        true => {
            "write it first: no `package.json`, `requirements.txt`, `pyproject.toml`, `Gemfile` or `go.mod` says what for"
        }
        false => {
            "write it first: it does what the platform's own build did; or begin with the one that `--dockerfile` writes"
        }
    };
    Err(Failure::new(Reason::Config, what).with_evidence(others).with_next(next))
}

/// Writes all files or none: what is in the way is found before the first is written.
fn write(directory: &Path, files: &[File], force: bool) -> Result<(), Failure> {
    let failed = |path: &str, why: String| Failure::new(Reason::Config, format!("`{path}`: {why}"));
    let there: Vec<_> =
        files.iter().map(|file| &file.path).filter(|path| directory.join(path).symlink_metadata().is_ok()).collect();
    if let ([first, others @ ..], false) = (there.as_slice(), force) {
        let others = others.iter().map(|path| format!("`{path}` is there too")).collect();
        let next = "`--print` shows what would be written; `--force` writes over what is there";
        return Err(failed(first, "it is there already, and nothing was written".to_owned())
            .with_evidence(others)
            .with_next(next));
    }
    for file in files {
        let path = directory.join(&file.path);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).create_new(!force);
            options.open(&path)?.write_all(file.text.as_bytes())
        });
        written.map_err(|error| failed(&file.path, format!("it cannot be written: {error}")))?;
    }
    Ok(())
}

/// What a person has to decide comes last, where it is seen.
fn table(rows: &[Row]) -> Vec<TableRow> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| row.fate);
    let shown = |row: &Row| TableRow {
        fate: row.fate.word(),
        place: match (row.file.as_str(), row.place.line) {
            (file, 0) => file.to_owned(),
            (file, line) => format!("{file}:{line}"),
        },
        what: row.what.clone(),
        why: row.why.clone(),
    };
    rows.into_iter().map(shown).collect()
}

impl Done {
    /// For a person: what was read, the table, the secrets to put, the files, the next step.
    pub fn text(&self) -> String {
        let mut lines = vec![format!("read: {}", self.read.join(", "))];
        if !self.not_read.is_empty() {
            lines.push(format!(
                "not read, and here too: {} (`--from FILE` takes another one)",
                self.not_read.join(", ")
            ));
        }
        lines.push(String::new());
        for row in &self.rows {
            let why = if row.why.is_empty() { String::new() } else { format!(": {}", row.why) };
            let place = if row.place.is_empty() { String::new() } else { format!(" ({})", row.place) };
            lines.push(format!("{:<11} {}{place}{why}", row.fate, row.what));
        }
        if !self.put.is_empty() {
            lines.push("\nsecrets to put, each from a variable of your shell:".to_owned());
            lines.extend(self.put.iter().map(|line| format!("  {line}")));
        }
        lines.push(String::new());
        match self.is_written {
            true => {
                lines.extend(self.files.iter().map(|file| format!("written: {}", file.path)));
                lines.push("next: fargate-deploy plan --offline, then fargate-deploy rehearse".to_owned());
            }
            false => {
                for file in &self.files {
                    lines.push(format!("--- {}", file.path));
                    lines.extend(file.text.lines().map(str::to_owned));
                }
                lines.push("nothing was written".to_owned());
            }
        }
        let lines = lines.iter().flat_map(|line| line.split('\n'));
        lines.map(|line| format!("{}\n", clean(line))).collect()
    }
}

//! `rehearse`: the same pipeline, the same binary, against the stage: no AWS account, no GitHub.
//!
//! The stage is given what the config names, and a previous release that serves; then `deploy` does what it always does.

mod fault;
mod seed;
mod setting;

use crate::adapters::builder::EngineBuilder;
use crate::cli::{Fault, Global, RehearseFlags};
use crate::commands::deploy::{self, Options, random};
use crate::config::{self, Config, ImageSource, Request};
use crate::context::RunContext;
use crate::events::Sink;
use crate::ports::Builder as _;
use crate::render::log::Log;
use aws_stage::{Stage, StageOptions};
use fargate_deploy_core::names::ServiceKey;
use fargate_deploy_core::outcome::{Failure, Outcome, Reason};
use setting::Setting;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Rehearses what the flags ask for. `None`: the stage was served, and is closed again.
pub async fn run<W: Write + Send + 'static>(
    flags: &RehearseFlags,
    global: &Global,
    here: &Path,
    env: &BTreeMap<String, String>,
    log: &Arc<Log<W>>,
    sink: &Arc<dyn Sink + Send + Sync>,
) -> Option<Outcome> {
    let directory = here.join(&flags.directory);
    let request =
        Request { file: global.config.clone(), environment: global.environment.clone(), ..Request::default() };
    let opening = open(&request, &directory, flags.port, env, sink.as_ref());
    let opened = tokio::select! {
        opened = opening => opened,
        () = crate::interrupted() => Err(Failure::new(Reason::Cancelled, "cancelled before the stage was open")),
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(failure) => return Some(failure.into()),
    };
    if flags.serve {
        for line in opened.exports() {
            let _ = writeln!(std::io::stdout(), "{line}");
        }
        let _ = writeln!(std::io::stdout(), "ready");
        let _ = std::io::stdout().flush();
        crate::interrupted().await;
        opened.close().await;
        return None;
    }
    let context = RunContext::read(&opened.env, &opened.config.root);
    let ending = opened.deploy(flags.fault, &context, Arc::clone(sink), crate::interrupted()).await;
    if flags.keep {
        log.finish(&opened.exports());
        log.finish(&["the stage stays open until this is interrupted".to_owned()]);
        crate::interrupted().await;
    }
    opened.close().await;
    Some(ending)
}

/// A stage that holds what a config names, with the previous release serving.
pub struct Opened {
    stage: Stage,
    config: Config,
    env: BTreeMap<String, String>,
    setting: Setting,
}

/// Opens the stage and brings the previous release up on it.
///
/// # Errors
/// `config`, or `build` when no Docker Engine answers: nothing was left running.
pub async fn open(
    request: &Request,
    directory: &Path,
    port: Option<u16>,
    env: &BTreeMap<String, String>,
    sink: &(dyn Sink + Send + Sync),
) -> Result<Opened, Failure> {
    // References take what is set around the rehearsal; the rehearsal itself has an environment of its own.
    let mut given = env.clone();
    let env = own_env(env);
    let config = load(request, &given, directory)?;
    super::configure::keep_secret(&config, &given, sink);
    let builder = EngineBuilder::new(env.clone());
    let platform =
        builder.platform().await.map_err(|e| crate::error::build_failed("rehearsing needs a Docker Engine", e))?;
    let setting = Setting::prepare(&config, &platform).await?;
    let region = config.region.clone().unwrap_or_else(|| "eu-central-1".to_owned());
    let options = StageOptions { port, account: account(&config), region, ..StageOptions::default() };
    let stage = Stage::start(options)
        .await
        .map_err(|e| Failure::new(Reason::Build, format!("the stage did not open: {e:#}")))?;
    let mut env = client_env(env, &stage);
    let seeded = Box::pin(seed::seed(&stage, &config, &setting, &builder, sink)).await;
    let urls = match seeded {
        Ok(urls) => urls,
        Err(failure) => {
            stage.shutdown().await;
            return Err(failure);
        }
    };
    for (key, url) in urls {
        given.insert(url_variable(&key), url.clone());
        env.insert(url_variable(&key), url);
    }
    // Read again, now that the load balancers' addresses are known.
    let reloaded = load(request, &given, directory).map(|config| setting.apply(config, &env));
    match reloaded {
        Ok(config) => Ok(Opened { stage, config, env, setting }),
        Err(failure) => {
            stage.shutdown().await;
            Err(failure)
        }
    }
}

impl Opened {
    /// `export KEY=VALUE` for another client, AWS's own CLI for one.
    pub fn exports(&self) -> Vec<String> {
        let shown = |name: &str| {
            ["AWS_", "ACTIONS_ID_", "FARGATE_DEPLOY_", "GITHUB_"].iter().any(|prefix| name.starts_with(prefix))
        };
        self.env
            .iter()
            .filter(|(name, _)| shown(name))
            .map(|(name, value)| format!("export {name}='{value}'"))
            .collect()
    }

    /// Deploys on the stage, with the fault if there is one.
    pub async fn deploy(
        &self,
        fault: Option<Fault>,
        context: &RunContext,
        sink: Arc<dyn Sink + Send + Sync>,
        interrupt: impl Future<Output = ()>,
    ) -> Outcome {
        if let Some(fault) = fault {
            fault::apply(fault, &self.stage);
        }
        let mut context = context.clone();
        // Every rehearsal is a run of its own.
        context.run_id.get_or_insert_with(random);
        context.sha.get_or_insert_with(|| "rehearsal".to_owned());
        Box::pin(deploy::deploy(self.config.clone(), Options::default(), &context, &self.env, sink, interrupt)).await
    }

    /// Removes every container and network that the stage made.
    pub async fn close(self) {
        self.stage.shutdown().await;
        self.setting.remove();
    }
}

fn load(request: &Request, env: &BTreeMap<String, String>, directory: &Path) -> Result<Config, Failure> {
    config::load_rehearsal(request, env, directory).map_err(|e| crate::commands::bad_config(&e))
}

/// A CI job's own identity and files must not leak into a rehearsal.
fn own_env(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let foreign = |name: &str| {
        ["AWS_", "ACTIONS_", "GITHUB_", "INPUT_GITHUB-TOKEN"].iter().any(|prefix| name.starts_with(prefix))
    };
    env.iter().filter(|(name, _)| !foreign(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn client_env(mut env: BTreeMap<String, String>, stage: &Stage) -> BTreeMap<String, String> {
    env.extend(stage.github_env());
    env.extend(stage.github_api_env());
    env.extend(stage.aws_env());
    env.extend(stage.root_env());
    env.insert("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned());
    env.insert("FARGATE_DEPLOY_STAGE_URL".to_owned(), stage.url());
    env
}

/// `FARGATE_DEPLOY_URL_WEB` for the service `web`: where its load balancer listens.
fn url_variable(key: &ServiceKey) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("FARGATE_DEPLOY_URL_{}", key.as_str().chars().map(clean).collect::<String>())
}

/// The account that the config speaks of.
fn account(config: &Config) -> String {
    let of_role = config.roles.first().and_then(|r| r.as_str().split(':').nth(4).map(str::to_owned));
    let of_image = config.images.iter().find_map(|i| match &i.source {
        ImageSource::Build(build) => {
            fargate_deploy_core::image::ImageRef::parse(&build.repository).ok()?.ecr().map(|e| e.account)
        }
        ImageSource::Existing(_) => None,
    });
    of_role.or(of_image).unwrap_or_else(|| "111122223333".to_owned())
}

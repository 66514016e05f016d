//! `rehearse`: the same pipeline, the same binary, against the stage: no AWS account, no GitHub.
//!
//! The stage is given what the config names, and a previous release that serves; then `deploy` does what it always does.

mod checkout;
mod fault;
mod images;
mod neutral;
mod platform;
mod previous;
mod seed;
mod setting;
mod why;

use crate::adapters::builder::EngineBuilder;
use crate::cli::{Fault, Global, Pace, RehearseFlags};
use crate::commands::deploy::{self, Options, random};
use crate::config::{self, BuildSecretSource, Config, ImageSource, Request};
use crate::context::RunContext;
use crate::events::{Event, Notice, Sink};
use crate::ports::Builder as _;
use crate::render::log::Log;
use aws_stage::behavior::Behavior;
use aws_stage::{Dependency, Stage, StageOptions, StartError, Swept};
use checkout::Checkout;
use fargate_deploy_core::names::{ServiceKey, account_of};
use fargate_deploy_core::outcome::{Failure, Outcome, Reason, Record, Success};
use fargate_deploy_core::resolved::{Resolved, by_key, values};
use futures_util::FutureExt as _;
use images::Images;
pub use previous::Wish;
use previous::{Chosen, Previous, Release};
use seed::{Seed, Urls};
use setting::Setting;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rehearses what the flags ask for. `None`: what was asked for is done, and there is no release to tell of.
pub async fn run<W: Write + Send + 'static>(
    flags: &RehearseFlags,
    global: &Global,
    here: &Path,
    env: &BTreeMap<String, String>,
    log: &Arc<Log<W>>,
    sink: &Arc<dyn Sink + Send + Sync>,
) -> Option<Outcome> {
    if flags.clean {
        return clean(sink.as_ref()).await.err().map(Outcome::from);
    }
    let directory = here.join(&flags.directory);
    let request =
        Request { file: global.config.clone(), environment: global.environment.clone(), ..Request::default() };
    let wish = match (flags.serve, &flags.previous) {
        (true, None) => Wish::Same,
        (_, previous) => Wish::of(previous.as_deref(), flags.fault.is_some()),
    };
    let interrupt = crate::signals::interrupted().shared();
    let wanted = Wanted {
        request: &request,
        directory: &directory,
        port: flags.port,
        pace: flags.pace,
        previous: &wish,
        is_served: flags.serve,
    };
    let opened = tokio::select! {
        opened = Box::pin(open(wanted, env, sink.as_ref())) => opened,
        () = interrupt.clone() => Err(Failure::new(Reason::Cancelled, "the rehearsal was cancelled before its stage was open")),
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
        interrupt.await;
        opened.close().await;
        return None;
    }
    let context = RunContext::read(&opened.env, &opened.config.root);
    let ending = opened.deploy(flags.fault, &context, Arc::clone(sink), interrupt.clone()).await;
    let ending = opened.as_rehearsed(ending);
    if flags.fault.is_none() && matches!(ending.result, Ok(Success::Deployed)) {
        opened.note_good();
    }
    if flags.keep && !ending.is_cancelled() {
        log.finish(&opened.exports());
        log.finish(&["the stage stays open until this is interrupted".to_owned()]);
        interrupt.await;
    }
    opened.close().await;
    Some(ending)
}

/// Removes what rehearsals left whose processes were killed, and says what that was.
async fn clean(sink: &(dyn Sink + Send + Sync)) -> Result<(), Failure> {
    let swept = aws_stage::sweep_leftovers().await.map_err(|e| no_stage(StartError::Engine(e)))?;
    sink.emit(told(swept));
    Ok(())
}

fn told(swept: Swept) -> Event {
    let Swept { containers, networks, volumes, images, folders } = swept;
    Event::StageSwept { containers, networks, volumes, images, folders }
}

/// A stage that holds what a config names, with the previous release serving.
pub struct Opened {
    stage: Stage,
    config: Config,
    env: BTreeMap<String, String>,
    /// The config's file, as it was found.
    file: Option<PathBuf>,
    checkout: Option<Checkout>,
}

/// What a stage is opened for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    pub request: &'a Request,
    pub directory: &'a Path,
    pub port: Option<u16>,
    pub pace: Pace,
    pub previous: &'a Wish,
    /// It is for other clients too.
    pub is_served: bool,
}

/// Opens the stage and brings the previous release up on it.
///
/// # Errors
/// `config`, or `build` when no Docker Engine answers: nothing was left running.
pub async fn open(
    wanted: Wanted<'_>,
    env: &BTreeMap<String, String>,
    sink: &(dyn Sink + Send + Sync),
) -> Result<Opened, Failure> {
    let Wanted { request, directory, pace, .. } = wanted;
    // References and build secrets take what is set around the rehearsal; the rehearsal itself has an environment of its own.
    let mut given = env.clone();
    let env = own_env(env);
    let mut config = load(request, &given, directory)?;
    // The stage's registry is this machine's: only its own Engine reaches it.
    config.builder = None;
    super::configure::keep_secret(&config, &given, sink);
    let file = config::path(request, directory);
    let checkout = file.as_deref().and_then(Path::parent).and_then(Checkout::of);
    let at = file.as_deref().unwrap_or(directory);
    let chosen = Chosen::of(wanted.previous, checkout.as_ref(), at, config.environment.as_deref())?;
    let builder = EngineBuilder::new(env.clone());
    let platform =
        builder.platform().await.map_err(|e| crate::error::build_failed("rehearsing needs a Docker Engine", e))?;
    if let Ok(swept) = aws_stage::sweep_leftovers().await
        && !swept.is_nothing()
    {
        sink.emit(told(swept));
    }
    let behavior = match pace {
        Pace::Short => Behavior::default(),
        Pace::Real => Behavior::real_pace(),
    };
    let options = StageOptions {
        port: wanted.port,
        account: account(&config),
        region: region(&config),
        behavior,
        ..StageOptions::default()
    };
    let stage = Stage::start(options).await.map_err(no_stage)?;
    let images = Images { stage: &stage, builder: &builder, platform: &platform, env: &given, sink };
    let furnished = Box::pin(furnish(wanted, &config, at, checkout.as_ref(), &chosen, &given, &images)).await;
    let (setting, urls) = match furnished {
        Ok(furnished) => furnished,
        Err(failure) => {
            let failure = without_space(&stage).unwrap_or(failure);
            stage.shutdown().await;
            return Err(failure);
        }
    };
    let mut env = client_env(env, &stage);
    for (key, url) in urls {
        given.insert(url_variable(&key), url.clone());
        env.insert(url_variable(&key), url);
    }
    // Read again, now that the load balancers' addresses are known.
    let reloaded = load(request, &given, directory).map(|config| with_secrets(config, &given));
    match reloaded {
        Ok(config) => {
            let unasked =
                config.services.iter().filter(|s| !s.smoke.is_empty() && !env.contains_key(&url_variable(&s.key)));
            for service in unasked {
                sink.emit(Event::Notice(Notice::SmokeNotRehearsed { service: service.key.clone() }));
            }
            let config = setting.apply(config, &env);
            Ok(Opened { stage, config, env, file, checkout })
        }
        Err(failure) => {
            stage.shutdown().await;
            Err(failure)
        }
    }
}

/// What the application needs, the services of the config, and what serves in them first.
async fn furnish(
    wanted: Wanted<'_>,
    config: &Config,
    file: &Path,
    checkout: Option<&Checkout>,
    chosen: &Chosen,
    given: &BTreeMap<String, String>,
    images: &Images<'_>,
) -> Result<(Setting, Urls), Failure> {
    let stage = images.stage;
    images.sink.emit(Event::StageOpened { url: stage.url() });
    images.sink.emit(Event::StagePrevious { previous: chosen.event() });
    let own = with_secrets(config.clone(), given);
    let ports = images.ports(&own).await?;
    let setting = Setting::prepare(config, images.platform, stage.folder().join("definitions"), &ports).await?;
    let previous = match (chosen, checkout) {
        (Chosen::None, _) | (Chosen::Commit { .. }, None) => Previous::None,
        (Chosen::Neutral, _) => Previous::Neutral,
        (Chosen::Same, _) => Previous::Release(Box::new(Release {
            what: "the same files".to_owned(),
            config: own,
            setting: setting.clone(),
        })),
        (Chosen::Commit { sha, .. }, Some(checkout)) => {
            let folder = stage.folder().join("previous");
            let release = previous::of_commit(sha, checkout, wanted.request, file, given, &folder, images).await?;
            Previous::Release(Box::new(release))
        }
    };
    for container in &config.rehearse.containers {
        let dependency = Dependency {
            name: container.name.clone(),
            image: container.image.clone(),
            command: Some(values(&container.command)).filter(|argv| !argv.is_empty()),
            environment: by_key(&container.environment).into_iter().map(|(n, v)| format!("{n}={v}")).collect(),
            ready: Some(values(&container.ready)).filter(|argv| !argv.is_empty()),
        };
        stage.start_dependency(&dependency).await.map_err(|not_ready| {
            let what = format!("container `{}` of `rehearse` did not come up: {}", container.name, not_ready.why);
            Failure::new(Reason::Config, what).with_log(not_ready.log)
        })?;
        let (name, image) = (container.name.clone(), container.image.clone());
        images.sink.emit(Event::StageContainerReady { name, image });
    }
    let seed = Seed {
        stage,
        config,
        setting: &setting,
        previous: &previous,
        images,
        account: &account(config),
        region: &region(config),
        is_real_pace: wanted.pace == Pace::Real,
        is_served: wanted.is_served,
    };
    let urls = seed.sow().await?;
    Ok((setting, urls))
}

/// Build secrets come from around the rehearsal, of which its own environment has a part.
fn with_secrets(mut config: Config, given: &BTreeMap<String, String>) -> Config {
    for image in &mut config.images {
        let ImageSource::Build(build) = &mut image.source else { continue };
        for secret in &mut build.secrets {
            if let BuildSecretSource::Env(name) = &secret.source
                && let Some(value) = given.get(name)
            {
                secret.source = BuildSecretSource::Value(Resolved::of(format!("${{env:{name}}}"), value));
            }
        }
    }
    config
}

/// Why there is no stage, as an ending.
fn no_stage(error: StartError) -> Failure {
    match error {
        StartError::Engine(_) => Failure::new(Reason::Build, format!("rehearsing needs a Docker Engine: {error}")),
        StartError::Port(..) => Failure::new(Reason::Config, format!("--port: {error}"))
            .with_next("choose another one, or leave `--port` out: any free one is taken then"),
        StartError::Folder(..) => no_space(&error.to_string()),
        StartError::Other(_) => Failure::new(Reason::Unavailable, format!("the stage did not open: {error}")),
    }
}

/// The disk does not take what a rehearsal keeps for its time.
fn no_space(why: &str) -> Failure {
    Failure::new(Reason::Unavailable, format!("the rehearsal has no room: {why}"))
        .with_next("make room there, or name another folder in `TMPDIR`")
}

/// That the stage itself could not go on, where that is why something failed.
fn without_space(stage: &Stage) -> Option<Failure> {
    stage.trouble().map(|why| no_space(&why))
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

    /// An ending of a stage that is about to go: nothing of it goes on, and nothing is kept.
    fn as_rehearsed(&self, ending: Outcome) -> Outcome {
        let Outcome { result, mut record } = ending;
        record.is_rehearsed = true;
        let result = result.map_err(|failure| {
            if failure.reason == Reason::Cancelled {
                record = Record { is_rehearsed: true, ..Record::default() };
                return Failure::new(Reason::Cancelled, "the rehearsal was cancelled");
            }
            if let Some(failure) = without_space(&self.stage) {
                return failure;
            }
            match failure.reason {
                Reason::Unsteady | Reason::Timeout | Reason::Unavailable => failure.with_next(LOOK),
                _ => failure,
            }
        });
        Outcome { result, record }
    }

    /// The commit that is checked out can be what serves first in the next rehearsal.
    fn note_good(&self) {
        if let (Some(checkout), Some(file)) = (&self.checkout, &self.file) {
            checkout.note_good(file, self.config.environment.as_deref());
        }
    }

    /// Removes everything that the stage made.
    pub async fn close(self) {
        self.stage.shutdown().await;
    }
}

const LOOK: &str = "look at it while it is there: `rehearse --keep` leaves the stage open";

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

fn region(config: &Config) -> String {
    config.region.clone().unwrap_or_else(|| "eu-central-1".to_owned())
}

/// The account that the config speaks of.
fn account(config: &Config) -> String {
    let of_role = config.roles.first().and_then(|r| account_of(r.as_str()).map(str::to_owned));
    let of_image = config.images.iter().find_map(|i| match &i.source {
        ImageSource::Build(build) => {
            fargate_deploy_core::image::ImageRef::parse(&build.repository).ok()?.ecr().map(|e| e.account)
        }
        ImageSource::Existing(_) => None,
    });
    of_role.or(of_image).unwrap_or_else(|| "111122223333".to_owned())
}

//! `rollback`: an earlier release again, all services or none. What it goes back to is chosen and looked at here, and nothing
//! is touched where a part of it is gone; then it is a release like any other, of the definitions that ran then.

use crate::adapters::aws::AwsClient;
use crate::cli::{Arguments, RollbackFlags};
use crate::clock;
use crate::commands::configure::configure;
use crate::commands::deploy::{Options, deploy, open_session, run_of};
use crate::commands::lock::manual_lock;
use crate::commands::refuse_foreign;
use crate::commands::scope::of_config;
use crate::config::{Config, ImageSource, Request, ServiceConfig};
use crate::context::RunContext;
use crate::error::call_failed;
use crate::events::{Event, Notice, Sink, Warning};
use crate::history::{self, Depth, History};
use crate::in_progress::is_in_progress;
use crate::lease::ManualLock;
use crate::ports::{Aws, Call, CallErrorKind, Repository};
use crate::release::{GoesBack, Rollback};
use crate::render::screen::age;
use fargate_deploy_core::history::{Choice, Chosen, Now, Part, Refusal, Release, ServicePast, Unfinished, choose};
use fargate_deploy_core::image::ImageRef;
use fargate_deploy_core::names::{PinnedImage, ServiceKey, ServiceRef, TaskDefinitionArn, short};
use fargate_deploy_core::outcome::{Failure, ImageRecord, Outcome, Reason, WentBack};
use fargate_deploy_core::task_definition::TaskDefinition;
use futures_util::FutureExt as _;
use futures_util::future::{join_all, try_join_all};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Releases that are read to find the last good one.
const NEAR: usize = 15;
/// To find one that is named.
const FAR: usize = 60;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `None`: the last good one.
    pub to: Option<u64>,
    /// Only these services; all where none is named.
    pub only: Vec<String>,
    /// A person's lock that is to be set afterwards.
    pub hold: Option<ManualLock>,
    /// The URL of this run, where an attempt of it came before this one.
    pub earlier_attempt: Option<String>,
}

/// A rollback that can be carried out.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Of it the services that move, and nothing to build or to run.
    pub config: Config,
    pub rollback: Rollback,
    /// The commit that serves again.
    pub sha: Option<String>,
    /// When it was registered first: seconds since the epoch.
    pub registered_at: Option<f64>,
}

pub async fn rollback(
    flags: &RollbackFlags,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Outcome {
    let interrupt = interrupt.shared();
    let beginning = Box::pin(begin(flags, arguments, env, directory, Arc::clone(&sink)));
    let begun = tokio::select! {
        biased;
        begun = beginning => begun,
        () = interrupt.clone() => Err(crate::release::cancelled()),
    };
    let (prepared, context) = match begun {
        Ok(begun) => begun,
        Err(failure) => return failure.into(),
    };
    let options = Options {
        is_dry_run: flags.dry_run,
        rollback: Some((prepared.rollback, prepared.sha)),
        reason: flags.reason.clone(),
        ..Options::default()
    };
    Box::pin(deploy(prepared.config, options, &context, env, sink, interrupt)).await
}

async fn begin(
    flags: &RollbackFlags,
    arguments: &Arguments,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: Arc<dyn Sink + Send + Sync>,
) -> Result<(Prepared, RunContext), Failure> {
    refuse_foreign(&RunContext::read(env, directory), "rollback")?;
    let config =
        configure(&request(flags, arguments), env, directory, Arc::clone(&sink), std::future::pending()).await?;
    let context = RunContext::read(env, &config.root);
    let session = open_session(config.region.clone(), config.roles.clone(), &context, env, Arc::clone(&sink)).await?;
    let cloud = AwsClient::new(session);
    let hold = flags.hold.clone().map(|reason| manual_lock(reason, &context));
    let asked = Asked {
        to: flags.to,
        only: flags.only.clone(),
        hold,
        earlier_attempt: context.run_url.clone().filter(|_| !run_of(&context).is_first_attempt()),
    };
    let prepared = prepare(&asked, config, cloud.ports(), sink.as_ref()).await?;
    if !flags.dry_run && !flags.yes && !context.is_in_actions {
        confirm(&prepared).await?;
    }
    Ok((prepared, context))
}

/// Nothing is built of the config: whoever is on call goes back from any checkout.
fn request(flags: &RollbackFlags, arguments: &Arguments) -> Request {
    Request { lock: flags.lock, wait: flags.wait, needs_no_sources: true, ..arguments.request() }
}

/// Chooses what to go back to, and sees that it is all there.
///
/// # Errors
/// `config`: there is nothing to go back to, or a part of it is gone. `locked`: a rollout is under way. Nothing was touched.
pub async fn prepare(asked: &Asked, config: Config, aws: Aws<'_>, sink: &dyn Sink) -> Result<Prepared, Failure> {
    let after = config.commands_after();
    let services = of_config(&config, &asked.only)?;
    // A release that is named may have left these services alone.
    let read = if asked.to.is_some() { config.services.clone() } else { services.clone() };
    let depth = Depth { releases: if asked.to.is_some() { FAR } else { NEAR }, until: asked.to };
    let history = history::read(&read, depth, &after, aws).await?;
    for missing in history.missing.clone() {
        let history::Missing { what, action } = missing;
        sink.emit(Event::Notice(Notice::NotReadable { what, action }));
    }
    let is_meant = |past: &&ServicePast| services.iter().any(|service| service.key == past.key);
    let pasts: Vec<ServicePast> = history.pasts.iter().filter(is_meant).cloned().collect();
    let earlier_attempt = asked.earlier_attempt.as_deref();
    let choice = Choice { pasts: &pasts, releases: &history.releases, earlier_attempt };
    let (known, denied) = repositories(&config, aws).await?;
    let parts = Parts { known, denied, aws, sink, not_seen: RefCell::default() };
    let chosen = match choose(choice, asked.to) {
        Ok(chosen) => chosen,
        Err(Refusal::NeverServed(to, outcome)) => {
            let what = never_served(to, outcome);
            return Err(parts.naming_next(Failure::new(Reason::Config, what), to, choice).await);
        }
        Err(refusal) => return Err(refused(&refusal, &history)),
    };
    nothing_else_moves(&pasts, choice.unfinished(), chosen.unfinished.as_ref(), aws).await?;
    if let Some(gone) = parts.missing(&chosen).await? {
        let what = format!("r{} cannot be gone back to: {gone}", chosen.to);
        return Err(parts.naming_next(Failure::new(Reason::Config, what), chosen.to, choice).await);
    }
    Ok(prepared(asked, config, &services.iter().map(ServiceConfig::reference).collect::<Vec<_>>(), chosen, &history))
}

/// A deployment that makes progress is not gone back from: ECS has to be told to stop it. That of an unfinished rollback is
/// followed by one to the same release.
async fn nothing_else_moves(
    pasts: &[ServicePast],
    unfinished: Option<Unfinished>,
    followed: Option<&Unfinished>,
    aws: Aws<'_>,
) -> Result<(), Failure> {
    let is_of = |rollback: Option<&Unfinished>, runs| rollback.is_some_and(|of| of.revisions.contains(runs));
    for past in pasts {
        if let Now::Known(now) = &past.now
            && !is_of(followed, &now.task_definition)
            && is_in_progress(&past.service, now, aws).await
        {
            let what = format!("{}: a rollout of {} is under way", past.service, now.task_definition.short());
            let next = match unfinished.filter(|unfinished| is_of(Some(unfinished), &now.task_definition)) {
                Some(rollback) => {
                    format!("it is a rollback: fargate-deploy rollback --to r{} finishes it", rollback.to)
                }
                None => {
                    let key = &past.key;
                    format!("wait until it has ended, or stop it, and ECS goes back: fargate-deploy abort -s {key}")
                }
            };
            return Err(Failure::new(Reason::Locked, what).with_next(next));
        }
    }
    Ok(())
}

fn never_served(to: u64, outcome: fargate_deploy_core::history::Outcome) -> String {
    format!("r{to} has never served here: {}", outcome.word())
}

fn refused(refusal: &Refusal, history: &History) -> Failure {
    let see = "`fargate-deploy releases` shows what is known of each";
    let (what, next) = match refusal {
        Refusal::NoSuchRelease(to) => (format!("there is no release r{to}"), see.to_owned()),
        Refusal::Several(to, keys) => {
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            let what = format!("r{to} is the number of several releases, of {}", keys.join(", "));
            (what, "name the service that is meant with `--only`".to_owned())
        }
        Refusal::Serves(to) => {
            let what = format!("r{to} is what every service runs");
            (what, "nothing, or name another one with `--to`".to_owned())
        }
        Refusal::NeverServed(to, outcome) => (never_served(*to, *outcome), see.to_owned()),
        Refusal::NothingBefore(from) => {
            let before = from.map_or_else(String::new, |from| format!(" before r{from}"));
            let what = format!("no release{before} is known to have served");
            (what, format!("{see}; name one with `--to`"))
        }
        Refusal::NoPart(to, service) => {
            let what = format!("what {service} ran when r{to} served is not known");
            (what, format!("name the services that r{to} has with `--only`"))
        }
        Refusal::Gone(service) => {
            (format!("{service}: there is no such service"), "check `name`, `cluster` and `region`".to_owned())
        }
        Refusal::Unreadable(service) => {
            let what = format!("what {service} runs may not be read");
            (what, "allow `ecs:DescribeServices` in the policy of the role (docs/iam.md)".to_owned())
        }
    };
    let unknown = history.missing.iter().map(history::Missing::sentence).collect();
    Failure::new(Reason::Config, what).with_next(next).with_evidence(unknown)
}

/// The repositories of ECR that the config builds for, whatever their hosts are called, and the names of those that may not be
/// described.
async fn repositories(config: &Config, aws: Aws<'_>) -> Result<(Vec<Repository>, Vec<String>), Failure> {
    let mut denied = vec![];
    let names = config.images.iter().filter_map(|image| match &image.source {
        ImageSource::Build(build) => Some(build.repository.as_str()),
        ImageSource::Existing(_) => None,
    });
    let is_of_ecr = |name: &&str| ImageRef::parse(name).is_ok_and(|reference| reference.repository == *name);
    let names: Vec<_> = names.filter(is_of_ecr).collect();
    let looks = names.iter().map(|name| aws.repositories.repository(None, name));
    let mut known = vec![];
    for (name, found) in names.iter().zip(join_all(looks).await) {
        match found {
            Ok(found) => known.extend(found),
            Err(e) if e.kind == CallErrorKind::Denied => denied.push((*name).to_owned()),
            Err(e) => return Err(call_failed(&format!("describing the repository `{name}`"), &e)),
        }
    }
    Ok((known, denied))
}

/// The parts that releases are made of, as far as the role may look for them.
struct Parts<'a> {
    known: Vec<Repository>,
    /// Repositories that may not be described.
    denied: Vec<String>,
    aws: Aws<'a>,
    sink: &'a dyn Sink,
    /// The actions that are missing, each of which is said once.
    not_seen: RefCell<BTreeSet<String>>,
}

impl Parts<'_> {
    /// What of a release is not there any more; `None`: all is.
    async fn missing(&self, chosen: &Chosen) -> Result<Option<String>, Failure> {
        for (part, _) in &chosen.services {
            if !part.is_active() {
                return Ok(Some(format!("{}: {} was deregistered", part.service, part.revision.short())));
            }
        }
        if let Some(image) = self.missing_image(chosen).await? {
            return Ok(Some(image));
        }
        let all = || chosen.services.iter().map(|(part, _)| &part.definition);
        let roles: BTreeSet<&str> = all().flat_map(TaskDefinition::roles).collect();
        for role in roles {
            let found = self.aws.surroundings.has_role(short(role)).await;
            if !self.is_there(found, "whether the roles of an earlier release are there", role)? {
                return Ok(Some(format!("role `{}` does not exist any more", short(role))));
            }
        }
        let secrets: BTreeSet<(&str, &TaskDefinitionArn)> =
            chosen.services.iter().flat_map(|(p, _)| p.definition.secrets().map(|name| (name, &p.revision))).collect();
        let logins: BTreeSet<&str> = all().flat_map(TaskDefinition::registry_logins).collect();
        for name in logins {
            let found = self.aws.surroundings.has_secret(name).await;
            if !self.is_there(found, "whether the logins of an earlier release are there", name)? {
                return Ok(Some(format!("secret `{name}` does not exist any more")));
            }
        }
        for (name, revision) in secrets {
            let (found, what) = match secret_of(name) {
                Some(arn) => (self.aws.surroundings.has_secret(&arn).await, "secret"),
                None => match parameter_of(name, revision) {
                    Some(name) => (self.aws.surroundings.has_parameter(&name).await, "parameter"),
                    None => continue,
                },
            };
            if !self.is_there(found, "whether the secrets of an earlier release are there", name)? {
                return Ok(Some(format!("{what} `{name}` does not exist any more")));
            }
        }
        Ok(None)
    }

    /// Also where the role may not look: that is one line.
    fn is_there(&self, found: Call<bool>, what: &str, name: &str) -> Result<bool, Failure> {
        match found {
            Err(e) if e.kind == CallErrorKind::Denied => {
                self.not_seen(what, &e.action);
                Ok(true)
            }
            found => found.map_err(|e| call_failed(&format!("looking for `{name}`"), &e)),
        }
    }

    fn not_seen(&self, what: &str, action: &str) {
        let (what, action) = (what.to_owned(), action.to_owned());
        if self.not_seen.borrow_mut().insert(action.clone()) {
            self.sink.emit(Event::Notice(Notice::NotReadable { what, action }));
        }
    }

    async fn missing_image(&self, chosen: &Chosen) -> Result<Option<String>, Failure> {
        let mut images: Vec<&str> =
            chosen.services.iter().flat_map(|(part, _)| part.images.iter().map(|(_, image)| image.as_str())).collect();
        images.sort_unstable();
        images.dedup();
        let looks = images.into_iter().map(async |image| match self.why_gone(image).await {
            Ok(gone) => Ok(gone.map(|why| format!("image `{image}` {why}"))),
            Err(e) if e.kind == CallErrorKind::Denied => {
                let (image, error) = (image.to_owned(), e.to_string());
                self.sink.emit(Event::Warning(Warning::ImageNotChecked { image, error }));
                Ok(None)
            }
            Err(e) => Err(call_failed(&format!("looking up `{image}`"), &e)),
        });
        Ok(try_join_all(looks).await?.into_iter().flatten().next())
    }

    /// Why an image of ECR cannot be pulled. Another registry cannot be asked without its own login.
    async fn why_gone(&self, image: &str) -> Call<Option<&'static str>> {
        let Ok(reference) = ImageRef::parse(image) else { return Ok(None) };
        let Some(repository) = self.repository(&reference) else {
            if self.denied.contains(&reference.repository) {
                self.not_seen("whether the images of an earlier release are there", "ecr:DescribeRepositories");
            }
            return Ok(None);
        };
        let repositories = self.aws.repositories;
        let mut wanted = reference.tag.as_deref().unwrap_or("latest");
        if let Some(digest) = &reference.digest {
            if !repositories.is_pullable(&repository, digest).await? {
                return Ok(Some("is gone from its repository"));
            }
            wanted = digest.as_str();
        }
        match repositories.image(&repository, wanted).await? {
            Some(found) if !found.is_active => Ok(Some("is archived: ECS cannot pull it until it is restored")),
            None if reference.digest.is_none() => Ok(Some("is gone from its repository")),
            _ => Ok(None),
        }
    }

    fn repository(&self, reference: &ImageRef) -> Option<Repository> {
        if let Some(known) = self.known.iter().find(|known| known.uri == reference.name()) {
            return Some(known.clone());
        }
        let host = reference.ecr()?;
        Some(Repository {
            registry_id: host.account,
            region: Some(host.region),
            name: reference.repository.clone(),
            uri: reference.name(),
            is_immutable: false,
        })
    }

    /// Names the next release whose parts are all there, other than the one that is refused.
    async fn naming_next(&self, failure: Failure, refused: u64, choice: Choice<'_>) -> Failure {
        for number in choice.numbers().unwrap_or_default().into_iter().filter(|number| *number != refused) {
            let Ok(other) = choose(choice, Some(number)) else { continue };
            if matches!(self.missing(&other).await, Ok(None)) {
                return failure.with_next(format!("the next one that can: fargate-deploy rollback --to r{number}"));
            }
        }
        failure.with_next("no earlier release can either: deploy the commit again (`fargate-deploy releases` names it)")
    }
}

/// The ARN of a secret of Secrets Manager, without the member of it that a container reads; anything else is a parameter.
fn secret_of(value_from: &str) -> Option<String> {
    let fields: Vec<&str> = value_from.split(':').take(7).collect();
    (fields.get(2) == Some(&"secretsmanager")).then(|| fields.join(":"))
}

/// The name of a parameter, without a version or a label. `None`: it is in another account or Region than the revision.
fn parameter_of(value_from: &str, revision: &TaskDefinitionArn) -> Option<String> {
    let place = |arn: &str| arn.split(':').skip(3).take(2).map(str::to_owned).collect::<Vec<_>>();
    let name = match value_from.split_once(":parameter/") {
        None => value_from.to_owned(),
        Some((arn, name)) if place(arn) == place(revision.as_str()) => {
            if name.contains('/') {
                format!("/{name}")
            } else {
                name.to_owned()
            }
        }
        Some(_) => return None,
    };
    Some(name.split(':').next().unwrap_or_default().to_owned())
}

fn prepared(asked: &Asked, config: Config, scope: &[ServiceRef], chosen: Chosen, history: &History) -> Prepared {
    let moving: Vec<ServiceKey> = chosen.services.iter().map(|(part, _)| part.key.clone()).collect();
    let mut images: Vec<ImageRecord> = vec![];
    for (name, image) in chosen.services.iter().flat_map(|(part, _)| &part.images) {
        let digest = ImageRef::parse(image).ok().and_then(|reference| reference.digest);
        if let Some(digest) = digest.filter(|digest| !images.iter().any(|known| known.digest == *digest)) {
            let image = PinnedImage::new(image.as_str());
            images.push(ImageRecord { key: name.as_str().into(), image, digest, is_new: false });
        }
    }
    let mut services: Vec<_> =
        config.services.iter().filter(|service| moving.contains(&service.key)).cloned().collect();
    for service in &mut services {
        service.after.retain(|key| moving.contains(key));
        // Nothing of the release is put into it: its definition is whole.
        service.containers.clear();
        service.task_definition = None;
    }
    let goes_back = |(part, runs): &(Part, _)| GoesBack {
        key: part.key.clone(),
        service: part.service.clone(),
        to: part.revision.clone(),
        runs: Clone::clone(runs),
    };
    // What an earlier attempt of this run has put back has the number that this one has.
    let is_ours = |release: &&Release| asked.earlier_attempt.is_some() && release.run == asked.earlier_attempt;
    let newest = history.releases.iter().filter(|release| !is_ours(release)).filter_map(|release| release.number).max();
    let (sha, registered_at) = (chosen.sha, chosen.registered_at);
    let rollback = Rollback {
        newest: newest.unwrap_or_default(),
        services: chosen.services.iter().map(goes_back).collect(),
        bases: chosen.services.iter().map(|(part, _)| (part.key.clone(), part.definition.clone())).collect(),
        images,
        hold: asked.hold.clone().map(|lock| (lock, scope.to_vec())),
        went_back: WentBack {
            to: chosen.to,
            from: chosen.from,
            stays_applied: chosen.commands,
            is_held: false,
            is_to_be_held: asked.hold.is_some(),
        },
    };
    let config = Config {
        services,
        images: vec![],
        release: vec![],
        snapshot: None,
        require_plan: false,
        force: false,
        ..config
    };
    Prepared { config, rollback, sha, registered_at }
}

/// Asks whoever sits at a terminal. Where nobody does, whoever wrote the command has decided. Nothing of a signal waits for
/// the answer: it is read beside.
async fn confirm(prepared: &Prepared) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(());
    }
    let _ = std::io::stderr().write_all(question(&prepared.rollback, prepared.registered_at, clock::now()).as_bytes());
    let (answers, answered) = oneshot::channel();
    std::thread::spawn(move || {
        let mut answer = String::new();
        let _ = std::io::stdin().read_line(&mut answer);
        let _ = answers.send(answer);
    });
    match answered.await.unwrap_or_default().trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Reason::Cancelled, "not gone back: the answer was no")
            .with_next("nothing was changed; `--dry-run` shows the plan")),
    }
}

/// What is about to be done, and whether it shall be.
fn question(rollback: &Rollback, registered_at: Option<f64>, now: f64) -> String {
    let Rollback { went_back, services, images, .. } = rollback;
    let mut text = String::new();
    for s in services {
        text.push_str(&format!("{}: {} in place of {}\n", s.service, s.to.short(), s.runs.short()));
    }
    for image in images {
        text.push_str(&format!("{} {}\n", image.key, image.digest.short()));
    }
    for (release, name, _) in &went_back.stays_applied {
        text.push_str(&format!("`{name}` of r{release} stays applied\n"));
    }
    let from = went_back.from.map(|from| format!(" from r{from}")).unwrap_or_default();
    let is_old = registered_at.map(|at| format!(" ({} old)", age(now - at))).unwrap_or_default();
    text.push_str(&format!("go back to r{}{is_old}{from}? [y/N] ", went_back.to));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn a_rollback_needs_no_sources_in_the_checkout() {
        let arguments = Arguments::try_parse_from(["fargate-deploy", "rollback"]).unwrap();
        assert!(request(&RollbackFlags::default(), &arguments).needs_no_sources);
    }

    #[test]
    fn what_it_asks_says_what_is_about_to_be_done() {
        let moved = GoesBack {
            key: "web".into(),
            service: ServiceRef { cluster: "shop".into(), name: "web".into() },
            to: "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:1".into(),
            runs: "arn:aws:ecs:eu-central-1:111122223333:task-definition/web:2".into(),
        };
        let went_back = WentBack {
            to: 1,
            from: Some(2),
            stays_applied: vec![(2, "migrate".to_owned(), true)],
            ..WentBack::default()
        };
        let rollback =
            Rollback { services: vec![moved], bases: vec![], newest: 2, went_back, images: vec![], hold: None };
        assert_eq!(
            question(&rollback, Some(0.0), 7200.0),
            "shop/web: web:1 in place of web:2\n`migrate` of r2 stays applied\ngo back to r1 (2h old) from r2? [y/N] "
        );
    }
}

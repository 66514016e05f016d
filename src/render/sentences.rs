//! Every sentence of the log: what an [`Event`] says to a person.

use crate::events::{BuildStepState, Event, Running, StagePrevious, Step, StopReason, Took, Wait};
use crate::lease::Owner;
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::names::ServiceRef;
use fargate_deploy_core::plan::LookUp;
use fargate_deploy_core::rollout::{RolloutEvent, Verdict};
use fargate_deploy_core::task::TaskVerdict;
use fargate_deploy_core::wording::counted;

/// What a line is, shown by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Started,
    Progress,
    /// Progress that is only wanted when looked for.
    Detail,
    Done,
    Skipped,
    Failed,
    /// Printed only when nothing else was for a while.
    Heartbeat,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub mark: Mark,
    pub step: Step,
    pub text: String,
    pub took: Option<Took>,
}

impl Line {
    fn new(mark: Mark, step: Step, text: impl Into<String>) -> Option<Self> {
        Some(Self { mark, step, text: text.into(), took: None })
    }

    fn done(step: Step, text: impl Into<String>, took: Took) -> Option<Self> {
        Some(Self { mark: Mark::Done, step, text: text.into(), took: Some(took) })
    }
}

/// The line of an event; `None` where it has none of its own, as what is not said twice, a warning or output.
pub fn line(event: &Event) -> Option<Line> {
    use Mark::{Detail, Failed, Progress, Skipped, Started};
    match event {
        Event::Mask(_) | Event::ShowAs { .. } | Event::Output { .. } | Event::Warning(_) | Event::Notice(_) => None,
        Event::LeaseReleased { .. } | Event::RunEnded { .. } => None,

        Event::IdentityRequested { region } => Line::new(Started, Step::Identity, region),
        Event::IdentityFound { arn, region, took } => Line::done(Step::Identity, format!("{arn} in {region}"), *took),

        Event::GoingBack { to, from, services, digests } => {
            let runs = |r: &Running| format!("{} to {}", r.service.name, r.revision.short());
            let from = from.map(|from| format!(" from r{from}")).unwrap_or_default();
            let services: Vec<_> = services.iter().map(runs).collect();
            let digests: Vec<_> = digests.iter().map(Digest::short).collect();
            let of = if digests.is_empty() { String::new() } else { format!(" ({})", digests.join(", ")) };
            Line::new(Started, Step::RollBack, format!("to r{to}{from}: {}{of}", services.join(", ")))
        }
        Event::ReferencesRequested { environment } => {
            let of = environment.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
            Line::new(Started, Step::Preflight, format!("values of the config that are in AWS{of}"))
        }
        Event::ReferencesRead { places } => {
            Line::new(Mark::Done, Step::Preflight, format!("read from {}", counted(*places, "place")))
        }
        Event::PromotionRequested { environment } => {
            Line::new(Started, Step::Preflight, format!("what {environment} runs"))
        }
        Event::ImagePromoted { image, reference, environment, seen_in } => {
            Line::new(Progress, Step::Preflight, format!("image {image}: {reference} of {environment} ({seen_in})"))
        }
        Event::ImagesPromoted { images, environment } => {
            Line::new(Mark::Done, Step::Preflight, format!("{} of {environment}, by digest", counted(*images, "image")))
        }
        Event::ResumeRequested => Line::new(Started, Step::Preflight, "what the release that stopped has left"),
        Event::ImageResumed { image, seen_in } => {
            Line::new(Mark::Done, Step::Preflight, format!("resumed: image {image} of {seen_in}"))
        }

        Event::PreflightStarted { services, images, again } => {
            let mut parts = vec![counted(*services, "service")];
            parts.extend(images.map(|images| counted(images, "image")));
            parts.extend(again.then(|| "again".to_owned()));
            Line::new(Started, Step::Preflight, parts.join(", "))
        }
        Event::ServicesRead { running, took } => {
            let runs = |r: &Running| format!("{} runs {}", r.service.name, r.revision.short());
            Line::done(Step::Preflight, running.iter().map(runs).collect::<Vec<_>>().join(", "), *took)
        }

        Event::BuildStarted { image, platform } => Line::new(Started, Step::Build, format!("{image} for {platform}")),
        Event::BuildStep { image, name, state } => {
            let text = match state {
                BuildStepState::Completed => name.clone(),
                BuildStepState::Cached => format!("{name} (cached)"),
                BuildStepState::Failed { error } => format!("{name}: {error}"),
            };
            Line::new(Progress, Step::Build, format!("{image}: {text}"))
        }
        Event::BuildWarned { image, text } => Line::new(Progress, Step::Build, format!("{image}: warning: {text}")),
        Event::ContextSent { image, bytes } => {
            Line::new(Progress, Step::Build, format!("{image}: {} of the context sent to the Engine", size(*bytes)))
        }
        Event::ImageBuilt { image, id, took } => {
            Line::done(Step::Build, format!("{image} is {}", id.get(..19).unwrap_or(id)), *took)
        }
        Event::ImageReused { image, digest, looked_up } => {
            let by = match looked_up {
                Some(LookUp::Content) => ", with the same content",
                Some(LookUp::Commit | LookUp::CommitAlone { .. }) => ", of this commit",
                None => "",
            };
            Line::new(Skipped, Step::Build, format!("{image}: {} is in the repository already{by}", digest.short()))
        }
        Event::ReuseLimited { image, why } => {
            Line::new(Progress, Step::Build, format!("{image}: not looked for among other commits' images: {why}"))
        }
        Event::StageKeeping { image, stage } => {
            Line::new(Started, Step::Push, format!("{image}: stage {stage}, for the next build"))
        }
        Event::StageKept { image, stage, tag, took } => {
            Line::done(Step::Push, format!("{image}: stage {stage} is kept as {tag}"), *took)
        }
        Event::ContentExceeded { image, path } => {
            let why = format!(
                "a base image reads `{path}` of the context by itself, so this image is kept for its commit alone"
            );
            Line::new(Progress, Step::Build, format!("{image}: {why}"))
        }
        Event::BuildUnneeded { image } => Line::new(Skipped, Step::Build, format!("{image}: nothing has to be built")),

        Event::RepositoryRequested { repository } => {
            Line::new(Started, Step::Push, format!("creating the repository `{repository}`"))
        }
        Event::RepositoryCreated { repository, took } => {
            Line::done(Step::Push, format!("created {repository} with scan on push"), *took)
        }
        Event::PushStarted { image, repository } => Line::new(Started, Step::Push, format!("{image} to {repository}")),
        Event::LayerPushed { image, layer, status, bytes, total } => {
            let of = if *total > 0 { format!(" {}/{} KiB", bytes / 1024, total / 1024) } else { String::new() };
            Line::new(Detail, Step::Push, format!("{image}: layer {layer}: {status}{of}"))
        }
        Event::LoginRenewed { image, error } => {
            Line::new(Detail, Step::Push, format!("{image}: logging in again: {error}"))
        }
        Event::PushRetried { image, attempt, error } => {
            Line::new(Detail, Step::Push, format!("{image}: attempt {attempt}: {error}"))
        }
        Event::ImagePushed { image, digest, tags, took } => {
            Line::done(Step::Push, format!("{image} is {} under {}", digest.short(), tags.join(", ")), *took)
        }
        Event::TaggingStarted { image, digest } => {
            Line::new(Started, Step::Push, format!("{image}: tagging {}", digest.short()))
        }
        Event::TagsPushed { image, digest, tags, took } => {
            Line::done(Step::Push, format!("{image}: {} is also {}", digest.short(), tags.join(", ")), *took)
        }

        Event::RegistrationStarted { family, .. } => Line::new(Started, Step::Register, family),
        Event::RevisionRegistered { revision, release, took, .. } => {
            Line::done(Step::Register, format!("{} for r{release}", revision.short()), *took)
        }
        Event::RevisionFound { revision, .. } => {
            let text = format!("this release has registered {} already", revision.short());
            Line::new(Skipped, Step::Register, text)
        }
        Event::RevisionUnchanged { service, revision } => {
            Line::new(Skipped, Step::Register, format!("{}: nothing differs from {}", service.name, revision.short()))
        }

        Event::LeaseRequested { service } => Line::new(Started, Step::Lease, service.to_string()),
        Event::LeaseWaiting { service, run, actor } => {
            Line::new(Progress, Step::Lease, waiting_for(service, run, actor))
        }
        Event::LeaseAcquired { service, generation, took, .. } => {
            Line::done(Step::Lease, format!("{service}, generation {generation}"), *took)
        }

        Event::SnapshotRequested { instance } => Line::new(Started, Step::Release, format!("snapshot of {instance}")),
        Event::SnapshotStarted { snapshot } => {
            Line::new(Progress, Step::Release, format!("snapshot: {snapshot} was ordered"))
        }
        Event::SnapshotFound { snapshot } => {
            Line::new(Progress, Step::Release, format!("snapshot: {snapshot} of an earlier attempt is there"))
        }
        Event::SnapshotAvailable { snapshot, instance, took } => {
            Line::done(Step::Release, format!("{snapshot} of {instance} is available"), *took)
        }

        Event::CommandStarting { command, line } => Line::new(Started, Step::Release, format!("{command}: {line}")),
        Event::CommandTaskStarted { command, task, revision } => Line::new(
            Progress,
            Step::Release,
            format!("{command}: task {} started from {}", task.id(), revision.short()),
        ),
        Event::CommandAttached { command, task } => Line::new(
            Progress,
            Step::Release,
            format!("{command}: an earlier attempt of this run started task {}: waiting for that one", task.id()),
        ),
        Event::CommandSucceededEarlier { command, task } => Line::new(
            Mark::Done,
            Step::Release,
            format!("{command}: an earlier attempt of this run has run it to a good end (task {})", task.id()),
        ),
        Event::CommandWithoutCapacity { command, reason } => {
            Line::new(Progress, Step::Release, format!("{command}: no capacity ({reason}): trying again"))
        }
        Event::CommandRetried { command, verdict } => Line::new(
            Progress,
            Step::Release,
            format!("{command}: release command `{command}` {verdict}: nothing of it ran, trying again"),
        ),
        Event::CommandEnded { command, task, verdict: TaskVerdict::Succeeded, took } => {
            Line::done(Step::Release, format!("{command} exited with 0 (task {})", task.id()), *took)
        }
        Event::CommandEnded { command, verdict, .. } => {
            Line::new(Failed, Step::Release, format!("release command `{command}` {verdict}"))
        }
        Event::OneOffPrepared { service, release, container, image, revision } => {
            let release = release.map(|number| format!("r{number} ")).unwrap_or_default();
            let text = format!("{service} {release}({}) · container {container} · {image}", revision.short());
            Line::new(Started, Step::Run, text)
        }
        Event::OneOffStarted { task } => Line::new(Progress, Step::Run, format!("task {} is starting", task.id())),
        Event::OneOffAttached { task } => Line::new(Progress, Step::Run, format!("following task {}", task.id())),
        Event::OneOffStopping { task, why } => {
            let why = match why {
                StopReason::Interrupted => "interrupted",
                StopReason::Timeout => "its time is over",
            };
            Line::new(
                Progress,
                Step::Run,
                format!("{why}: task {} is told to stop; a second signal leaves it", task.id()),
            )
        }
        Event::OneOffDetached { task, attach } => {
            Line::new(Progress, Step::Run, format!("task {} goes on; to follow it again: {attach}", task.id()))
        }
        Event::OneOffEnded {
            verdict: verdict @ (TaskVerdict::Succeeded | TaskVerdict::ExitedWith { .. }),
            exit_code,
            took,
            ran,
            group,
            stream,
            ..
        } => {
            let ran = ran.map(|ran| format!(", ran {:.0} s", ran.0.as_secs_f64())).unwrap_or_default();
            let log = group
                .as_ref()
                .zip(stream.as_ref())
                .map(|(group, stream)| format!(" · log {group} {stream}"))
                .unwrap_or_default();
            let code = match verdict {
                TaskVerdict::ExitedWith { code, .. } if *code != i64::from(*exit_code) => {
                    format!("{exit_code} ({code})")
                }
                _ => exit_code.to_string(),
            };
            let why = match verdict {
                TaskVerdict::ExitedWith { reason: Some(reason), .. } => format!(": {reason}"),
                _ => String::new(),
            };
            let text = format!("exit {code}{why} · {:.0} s{ran}{log}", took.0.as_secs_f64());
            Line::new(if *exit_code == 0 { Mark::Done } else { Failed }, Step::Run, text)
        }
        Event::OneOffEnded { verdict, .. } => Line::new(Failed, Step::Run, format!("the task {verdict}")),
        Event::TaskEnded { service, task, ending } => {
            Line::new(Progress, Step::Logs, format!("{service}/{} stopped: {ending}", task.id()))
        }
        Event::CommandsSkipped => Line::new(Skipped, Step::Release, "--skip-release-commands"),

        Event::AgentAwaited { task, container } => Line::new(
            Progress,
            Step::Exec,
            format!("container {container} of task {} takes no session yet: waiting for its agent", task.id()),
        ),
        Event::SessionRequested { task, container, is_through_plugin } => {
            let through = if *is_through_plugin { ", through session-manager-plugin" } else { "" };
            Line::new(Started, Step::Exec, format!("container {container} of task {}{through}", task.id()))
        }

        Event::SessionEnded { task } => {
            Line::new(Mark::Done, Step::Run, format!("the session is over: task {} is told to stop", task.id()))
        }
        Event::RolloutRequested { service, revision } => {
            Line::new(Started, Step::RollOut, format!("{service} to {}", revision.short()))
        }
        Event::RolloutStarted { service, deployment, revision } => Line::new(
            Progress,
            Step::RollOut,
            format!("{}: deployment {deployment} of {}", service.name, revision.short()),
        ),
        Event::RolloutUnneeded { service, revision, took } => Line::done(
            Step::RollOut,
            format!("{service} runs {} already: ECS made no new deployment", revision.short()),
            *took,
        ),
        Event::RolloutRefused { service, error } => {
            Line::new(Failed, Step::RollOut, format!("updating {service}: {error}"))
        }
        Event::RolloutTakenOver { service } => Line::new(
            Failed,
            Step::RollOut,
            format!("{service}: another run has taken its lease over: what serves is that run's to say"),
        ),
        Event::NothingToRollOut => {
            Line::new(Skipped, Step::RollOut, "nothing differs from what the services should run")
        }
        Event::RolloutWatched { service, .. } => Line::new(Started, Step::RollOut, format!("watching {service}")),
        Event::RolloutNews { service, news } => {
            Line::new(Progress, Step::RollOut, format!("{}: {}", service.name, news_of(news)))
        }
        Event::RolloutEvidence { service, text } => {
            Line::new(Progress, Step::RollOut, format!("{}: {text}", service.name))
        }
        Event::RolloutExplained { service, cause } => {
            let likely = cause.alternatives().map(|likely| format!(" ({likely})")).unwrap_or_default();
            Line::new(Progress, Step::RollOut, format!("{}: cause: {}{likely}", service.name, cause.sentence))
        }
        Event::RolloutEnded { service, revision, verdict: Verdict::Stable(counts), took } => Line::done(
            Step::RollOut,
            format!("{service} serves {}: {}/{} running", revision.short(), counts.running, counts.desired),
            *took,
        ),
        Event::RolloutEnded { service, revision, verdict, .. } => {
            Line::new(Failed, Step::RollOut, format!("{service}: {} {verdict}", revision.short()))
        }

        Event::SmokeStarted { url } => Line::new(Started, Step::Smoke, url),
        Event::SmokePassed { url, status, took } => Line::done(Step::Smoke, format!("{url} answered {status}"), *took),
        Event::SmokeFailed(failure) => Line::new(Failed, Step::Smoke, failure.to_string()),

        Event::RollbackStarted { service, revision } => {
            Line::new(Started, Step::RollBack, format!("{service} to {}", revision.short()))
        }
        Event::RollbackRequested { service } => {
            Line::new(Progress, Step::RollBack, format!("{}: ECS was told to roll its deployment back", service.name))
        }
        Event::RollbackByUpdate { service, revision, error } => Line::new(
            Progress,
            Step::RollBack,
            format!("{}: {error}: putting {} back by UpdateService", service.name, revision.short()),
        ),
        Event::RollbackRolloutStarted { service, deployment, revision } => Line::new(
            Progress,
            Step::RollBack,
            format!("{}: deployment {deployment} of {}", service.name, revision.short()),
        ),
        Event::RollbackSuperseded { service, by } => Line::new(
            Progress,
            Step::RollBack,
            format!("{}: a newer deployment of {} owns it: nothing is put back", service.name, by.short()),
        ),
        Event::RollbackUnderWay { service } => {
            Line::new(Progress, Step::RollBack, format!("{}: ECS goes back by itself", service.name))
        }
        Event::RollbackRefused { service, error } => Line::new(Failed, Step::RollBack, format!("{service}: {error}")),

        Event::Waiting(wait) => waiting(wait),

        Event::StageSwept { containers, networks, volumes, images, folders } => {
            let all = [
                (*containers, "container"),
                (*networks, "network"),
                (*volumes, "volume"),
                (*images, "image"),
                (*folders, "folder"),
            ];
            let parts: Vec<_> =
                all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(*count, what)).collect();
            let text = match parts.as_slice() {
                [] => "no rehearsal left anything behind".to_owned(),
                parts => format!("removed what earlier rehearsals left: {}", parts.join(", ")),
            };
            Line::new(Mark::Done, Step::Preflight, text)
        }
        Event::StagePrevious { previous } => Line::new(Progress, Step::Preflight, previous_release(previous)),
        Event::StageContainerReady { name, image } => {
            Line::new(Progress, Step::Preflight, format!("container `{name}` is ready ({image})"))
        }
        Event::StageOpened { url } => Line::new(Started, Step::Preflight, format!("opening the stage at {url}")),
        Event::StageImagesPushed => {
            Line::new(Progress, Step::Preflight, "the previous release's images are in the stage's registry")
        }
        Event::StageCommandSucceeded { command } => {
            Line::new(Progress, Step::Preflight, format!("the previous release's command `{command}` exited with 0"))
        }
        Event::StageReady { serves: true } => {
            Line::new(Mark::Done, Step::Preflight, "the previous release serves on the stage")
        }
        Event::StageReady { serves: false } => {
            Line::new(Mark::Done, Step::Preflight, "the stage is ready for a first release")
        }
    }
}

fn previous_release(previous: &StagePrevious) -> String {
    match previous {
        StagePrevious::None => "there is no previous release: this is rehearsed as the first one".to_owned(),
        StagePrevious::Neutral => "the previous release is a server that is not yours".to_owned(),
        StagePrevious::Same => "the previous release is built from the same files".to_owned(),
        StagePrevious::Commit { sha, is_last_good } => {
            let why = if *is_last_good { ", the last one whose rehearsal was good" } else { "" };
            format!("the previous release is commit {}{why}", sha.get(..7).unwrap_or(sha))
        }
    }
}

fn waiting(wait: &Wait) -> Option<Line> {
    let (step, text) = match wait {
        Wait::OtherDeployment { service } => {
            (Step::Preflight, format!("waiting for another deployment of {service} to end"))
        }
        Wait::Lease { service, run, actor } => (Step::Lease, waiting_for(service, run, actor)),
        Wait::EarlierOrder { service } => {
            (Step::Lease, format!("waiting until what an earlier run told {service} must have arrived"))
        }
        Wait::EarlierTask { service, .. } => {
            (Step::Lease, format!("{}: waiting for the task of an earlier run", service.name))
        }
        Wait::Snapshot { snapshot, state } => (Step::Release, format!("snapshot {snapshot} is {state}")),
        Wait::OneOff { task, status } => (Step::Run, format!("task {} is {}", task.id(), status.to_lowercase())),
        Wait::Command { command, status, .. } => (Step::Release, format!("{command} is {}", status.to_lowercase())),
        // [`super::log::Log`] knows of which step it is.
        Wait::Answer { error, .. } => (Step::Identity, format!("{error}: asking again")),
        Wait::Order { action, error } => {
            let step = if action == "ecs:RunTask" { Step::Release } else { Step::RollOut };
            (step, format!("{error}: trying again"))
        }
        Wait::CommandUnreadable { task, error, .. } => {
            (Step::Release, format!("task {} could not be read: {error}", task.id()))
        }
        Wait::Rollout { service, running, desired } => {
            (Step::RollOut, format!("{service}: {running}/{desired} running"))
        }
        Wait::Smoke { last, .. } => (Step::Smoke, last.to_string()),
        Wait::StageBuild { name } => (Step::Build, name.clone()),
    };
    Line::new(Mark::Heartbeat, step, text)
}

fn waiting_for(service: &ServiceRef, run: &str, actor: &str) -> String {
    let holder = Owner { run: run.to_owned(), actor: actor.to_owned() };
    format!("{}: waiting for {holder}", service.name)
}

fn news_of(news: &RolloutEvent) -> String {
    match news {
        RolloutEvent::Tasks { running, desired, pending } => format!("{running}/{desired} running, {pending} pending"),
        RolloutEvent::TaskFailures { failures, threshold: Some(threshold) } => {
            format!("{failures} of {threshold} task failures that trip the circuit breaker")
        }
        RolloutEvent::TaskFailures { failures, threshold: None } => format!("{} failed", counted(*failures, "task")),
        RolloutEvent::RollingBack { reason } => format!("ECS rolls back: {reason}"),
        RolloutEvent::LifecycleStage { stage } => format!("stage {stage}"),
        RolloutEvent::PausedByHook { hook } => format!(
            "paused by hook {hook}: it waits for a person: fargate-deploy continue --hook {hook}, or fargate-deploy abort"
        ),
        RolloutEvent::AlarmTriggered { alarm } => format!("alarm {alarm} went off"),
        RolloutEvent::CompletedShort { running, desired } => {
            format!("ECS says completed, and {running} of {desired} tasks run")
        }
        RolloutEvent::ServiceEvent { message } => message.clone(),
    }
}

/// `12.3 MB`, `4 kB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_at_a_glance() {
        assert_eq!((size(812), size(2_040_000)), ("1 kB".to_owned(), "2.0 MB".to_owned()));
    }
}

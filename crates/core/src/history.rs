//! What became of each release, by what AWS and the leases still show of it. What neither shows is unknown, and never
//! guessed: who goes back by this goes back to what is proved to have served.
//!
//! AWS keeps service deployments for 90 days, and of services whose last deployment began after 2024-10-25.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html>

mod choice;
#[cfg(test)]
mod tests;

pub use choice::{Choice, Chosen, Refusal, Unfinished, choose};

use crate::names::{ContainerName, ImageKey, ServiceKey, ServiceRef, TaskDefinitionArn};
use crate::plan::COMMANDS_TAG;
use crate::plan::release_tags::{BACK_TO_TAG, REASON_TAG};
use crate::service::{Role, Service, ServiceDeployment, ServiceDeploymentStatus, State};
use crate::task_definition::{TaskDefinition, container_name};
use serde::Serialize;
use serde_json::Value;
use std::cmp::Ordering;

/// What was read of one service.
#[derive(Clone, Debug)]
pub struct ServicePast {
    pub key: ServiceKey,
    pub service: ServiceRef,
    /// What the config calls the image of each container.
    pub images: Vec<(ContainerName, ImageKey)>,
    pub now: Now,
    /// Revisions of its families with their tags, the newest first.
    pub revisions: Vec<TaskDefinition>,
    /// `None`: they may not be read.
    pub deployments: Option<Deployments>,
    /// What its leases say, the newest first.
    pub notes: Vec<Note>,
}

/// The service as it is.
#[derive(Clone, Debug)]
pub enum Now {
    Known(Box<Service>),
    /// There is no such service.
    Gone,
    /// It may not be read.
    Unknown,
}

#[derive(Clone, Debug, Default)]
pub struct Deployments {
    /// The newest first, each with the revision that it deploys.
    pub all: Vec<(ServiceDeployment, Option<TaskDefinitionArn>)>,
    /// Every one since then is among them: seconds since the epoch.
    pub complete_since: f64,
}

/// What a lease says of a release of its service.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub revision: TaskDefinitionArn,
    /// What the service ran before it.
    pub previous: TaskDefinitionArn,
    /// It was seen to serve and to answer.
    pub is_verified: bool,
    /// The commands with `when: after` that have not ended well.
    pub owes_commands: Vec<String>,
    /// The commands that ran before it, each with the id of its task.
    pub ran: Vec<(String, String)>,
}

/// What became of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    RollingOut,
    RollingBack,
    Serving,
    /// What served before it was put back.
    RolledBack,
    /// It failed, and nothing was put back.
    Failed,
    /// It served, and a later one has replaced it.
    Superseded,
    /// A later one replaced it before it had come to serve.
    NeverServed,
    /// Registered, and no service was told to run it.
    NotDeployed,
    Unknown,
}

impl Outcome {
    /// As people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::RollingOut => "rolling out",
            Self::RollingBack => "rolling back",
            Self::Serving => "serving",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::NeverServed => "superseded, never served",
            Self::NotDeployed => "not deployed",
            Self::Unknown => "?",
        }
    }

    /// It is proved to have served, and nobody has taken it back.
    pub fn has_served(self) -> bool {
        matches!(self, Self::Serving | Self::Superseded)
    }

    /// It is proved that no task of it has ever served here.
    pub fn is_never(self) -> bool {
        matches!(self, Self::NotDeployed | Self::NeverServed)
    }
}

/// When a release was registered, in seconds since the epoch, and its number where that does not tell two apart. Numbers
/// alone do not: they begin again where tags are lost.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rank(f64, u64);

impl Rank {
    /// Newer than all.
    pub const MAX: Self = Self(f64::MAX, u64::MAX);

    pub fn total_cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

/// What has a place among the releases.
trait Ranked: Sized {
    /// When it began, where it is of a release.
    fn began(&self) -> Option<Rank>;

    /// The release that it went back to.
    fn back_to(&self) -> Option<u64>;

    /// How new its code is: a rollback is as old as what it went back to, and older than all of them where that is not known
    /// any more. `all`: the newest first.
    fn rank(&self, all: &[Self]) -> Option<Rank> {
        let own = self.began()?;
        let Some(to) = self.back_to() else { return Some(own) };
        let is_origin = |other: &&Self| other.began().is_some_and(|began| began.1 == to && began < own);
        all.iter().find(is_origin).map_or(Some(Rank(0.0, to)), |origin| origin.rank(all))
    }
}

impl Ranked for Release {
    fn began(&self) -> Option<Rank> {
        self.number.map(|_| self.place())
    }

    fn back_to(&self) -> Option<u64> {
        self.back_to
    }
}

impl Ranked for TaskDefinition {
    fn began(&self) -> Option<Rank> {
        Some(Rank(registered_at(self).unwrap_or_default(), self.release()?))
    }

    fn back_to(&self) -> Option<u64> {
        back_to(self)
    }
}

/// A release as far as it is known, or a revision that is of none.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// `None`: its revision has none of our tags; somebody else registered it.
    pub number: Option<u64>,
    pub sha: Option<String>,
    pub actor: Option<String>,
    pub run: Option<String>,
    /// It is a rollback, to this release.
    pub back_to: Option<u64>,
    /// Why, as whoever went back said.
    pub reason: Option<String>,
    /// Seconds since the epoch.
    pub registered_at: Option<f64>,
    /// One a service.
    pub parts: Vec<Part>,
    pub commands: Vec<Command>,
}

/// What a release is to one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub key: ServiceKey,
    pub service: ServiceRef,
    pub revision: TaskDefinitionArn,
    pub definition: TaskDefinition,
    pub outcome: Outcome,
    /// Container or image key, and the image as the definition names it.
    pub images: Vec<(String, String)>,
}

impl Part {
    /// It can be deployed: AWS takes no `INACTIVE` revision.
    pub fn is_active(&self) -> bool {
        self.definition.body.get("status").and_then(Value::as_str).is_none_or(|status| status == "ACTIVE")
    }
}

/// A release command of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    pub name: String,
    /// It ended well: no service moves before that. `None`: that is not known.
    pub ended_well: Option<bool>,
}

impl Release {
    /// `r41`, or `-`.
    pub fn name(&self) -> String {
        self.number.map_or_else(|| "-".to_owned(), |number| format!("r{number}"))
    }

    /// Of all its services together: what goes on comes before what is over, and what serves before what does not.
    pub fn outcome(&self) -> Outcome {
        self.parts.iter().map(|part| part.outcome).min().unwrap_or(Outcome::Unknown)
    }

    /// Where it stands among the others.
    pub fn place(&self) -> Rank {
        Rank(self.registered_at.unwrap_or_default(), self.number.unwrap_or_default())
    }

    pub fn part(&self, key: &ServiceKey) -> Option<&Part> {
        self.parts.iter().find(|part| part.key == *key)
    }
}

/// The releases of all services together, the newest first, and the revisions among them that are of none. `after`: the
/// release commands that run when the services serve already.
#[must_use]
pub fn releases(pasts: &[ServicePast], after: &[String]) -> Vec<Release> {
    let mut all: Vec<Release> = vec![];
    for past in pasts {
        for definition in &past.revisions {
            let Some(part) = part(past, definition) else { continue };
            let number = definition.release();
            let tag = |name: &str| definition.tag(name).map(str::to_owned);
            let (sha, run) = (tag("fargate-deploy:sha"), tag("fargate-deploy:run"));
            let is_same = |r: &&mut Release| number.is_some() && r.number == number && r.sha == sha && r.run == run;
            let at = registered_at(definition);
            match all.iter_mut().find(is_same) {
                Some(known) => {
                    if at > known.registered_at {
                        known.registered_at = at;
                    }
                    known.commands.extend(commands(past, definition, part.outcome, after));
                    known.add(part);
                }
                None => all.push(Release {
                    number,
                    sha,
                    run,
                    actor: tag("fargate-deploy:actor"),
                    back_to: back_to(definition),
                    reason: tag(REASON_TAG),
                    registered_at: at,
                    commands: commands(past, definition, part.outcome, after),
                    parts: vec![part],
                }),
            }
        }
    }
    for release in &mut all {
        let mut seen: Vec<Command> = vec![];
        for command in std::mem::take(&mut release.commands) {
            match seen.iter_mut().find(|known| known.name == command.name) {
                Some(known) => known.ended_well = known.ended_well.or(command.ended_well),
                None => seen.push(command),
            }
        }
        release.commands = seen;
    }
    all.sort_by(|a, b| b.place().total_cmp(&a.place()));
    all
}

impl Release {
    /// Of several attempts of one release at one service the one counts that went furthest.
    fn add(&mut self, part: Part) {
        match self.parts.iter_mut().find(|known| known.key == part.key) {
            Some(known) if part.outcome < known.outcome => *known = part,
            Some(_) => {}
            None => self.parts.push(part),
        }
    }
}

fn part(past: &ServicePast, definition: &TaskDefinition) -> Option<Part> {
    let revision = definition.arn()?;
    let name_of = |container: &str| {
        let key = past.images.iter().find(|(of, _)| of.as_str() == container).map(|(_, key)| key.to_string());
        key.unwrap_or_else(|| container.to_owned())
    };
    let images = definition.containers().filter_map(|container| {
        let image = container.get("image").and_then(Value::as_str)?;
        Some((name_of(container_name(container)), image.to_owned()))
    });
    Some(Part {
        key: past.key.clone(),
        service: past.service.clone(),
        outcome: past.outcome(&revision, definition),
        images: images.collect(),
        definition: definition.clone(),
        revision,
    })
}

/// The commands that its tag names. A service is not told to move before those that come first have ended well.
fn commands(past: &ServicePast, definition: &TaskDefinition, outcome: Outcome, after: &[String]) -> Vec<Command> {
    let tag = definition.tag(COMMANDS_TAG).unwrap_or_default();
    let note = past.notes.iter().find(|note| Some(&note.revision) == definition.arn().as_ref());
    let has_moved = !matches!(outcome, Outcome::NotDeployed | Outcome::Unknown);
    let names = tag.split_whitespace().filter_map(|id| id.split('=').next());
    let ended_well = |name: &str| match after.iter().any(|other| other == name) {
        true => note.is_some_and(|note| note.is_verified && !note.owes_commands.iter().any(|owed| owed == name)),
        false => has_moved,
    };
    names.map(|name| Command { name: name.to_owned(), ended_well: ended_well(name).then_some(true) }).collect()
}

fn back_to(definition: &TaskDefinition) -> Option<u64> {
    definition.tag(BACK_TO_TAG)?.trim_start_matches('r').parse().ok()
}

fn registered_at(definition: &TaskDefinition) -> Option<f64> {
    definition.body.get("registeredAt").and_then(Value::as_f64)
}

impl ServicePast {
    /// What became of a revision at this service.
    fn outcome(&self, revision: &TaskDefinitionArn, definition: &TaskDefinition) -> Outcome {
        match &self.deployments {
            Some(deployments) => self.by_deployments(revision, definition, deployments),
            None => self.by_service(revision).unwrap_or_else(|| self.by_notes(revision)),
        }
    }

    fn by_deployments(
        &self,
        revision: &TaskDefinitionArn,
        definition: &TaskDefinition,
        deployments: &Deployments,
    ) -> Outcome {
        use ServiceDeploymentStatus as Status;
        let all = &deployments.all;
        let is_of = |to: &Option<TaskDefinitionArn>| to.as_ref() == Some(revision);
        let is_there = !matches!(self.now, Now::Gone);
        if let Some((newest, to)) = all.first().filter(|(newest, _)| newest.status.is_ongoing() && is_there) {
            let is_back = matches!(newest.status, Status::RollbackRequested | Status::RollbackInProgress);
            if is_of(to) {
                return if is_back { Outcome::RollingBack } else { Outcome::RollingOut };
            }
            let last_good = all.iter().find(|(other, _)| other.status == Status::Successful);
            if last_good.is_some_and(|(_, to)| is_of(to)) {
                return Outcome::Serving;
            }
        } else if let Some(serves) = self.by_service(revision) {
            return serves;
        }
        let Some(at) = all.iter().position(|(_, to)| is_of(to)) else {
            let is_known = registered_at(definition).is_some_and(|at| at > deployments.complete_since);
            let is_noted = self.notes.iter().any(|note| note.revision == *revision);
            return if is_known && !is_noted { Outcome::NotDeployed } else { self.by_notes(revision) };
        };
        let next = all[..at].iter().rev().find(|(_, to)| to.is_some() && !is_of(to)).and_then(|(_, to)| to.as_ref());
        let went_back = next.is_some_and(|next| self.is_older(next, revision));
        let has_succeeded = all.iter().any(|(d, to)| is_of(to) && d.status == Status::Successful);
        match &all[at].0.status {
            _ if went_back => Outcome::RolledBack,
            Status::RollbackSuccessful => Outcome::RolledBack,
            Status::RollbackFailed => Outcome::Failed,
            _ if has_succeeded => Outcome::Superseded,
            _ if next.is_some() => Outcome::NeverServed,
            _ => Outcome::Unknown,
        }
    }

    /// By what the service says of itself, where it runs the revision.
    fn by_service(&self, revision: &TaskDefinitionArn) -> Option<Outcome> {
        let Now::Known(now) = &self.now else { return None };
        let of = now.deployments.iter().find(|d| d.task_definition == *revision)?;
        let has_other = now.deployments.iter().any(|d| d.task_definition != *revision && d.counts.running > 0);
        match (&of.role, of.state) {
            (Role::Primary, State::Failed) => Some(Outcome::Failed),
            // ECS goes back to it, or nothing else has run.
            (Role::Primary, State::InProgress) if is_going_back(of.reason.as_deref()) => Some(Outcome::Serving),
            (Role::Primary, State::InProgress) => Some(Outcome::RollingOut),
            (Role::Primary, _) => Some(Outcome::Serving),
            (Role::Active, State::Failed) => Some(Outcome::RollingBack),
            (Role::Active, _) if of.counts.running > 0 && !has_other => Some(Outcome::Serving),
            _ => None,
        }
    }

    /// By what its leases say.
    fn by_notes(&self, revision: &TaskDefinitionArn) -> Outcome {
        let Some(at) = self.notes.iter().position(|note| note.revision == *revision) else { return Outcome::Unknown };
        let Now::Known(now) = &self.now else { return Outcome::Unknown };
        let note = &self.notes[at];
        let is_replaced = self.notes[..at].iter().any(|later| later.previous == *revision);
        match note.is_verified {
            true if is_replaced || now.task_definition != *revision => Outcome::Superseded,
            false if at == 0 && now.task_definition == note.previous => Outcome::RolledBack,
            _ => Outcome::Unknown,
        }
    }

    /// What the service ran before it was told to run a revision.
    fn before(&self, revision: &TaskDefinitionArn) -> Option<&TaskDefinitionArn> {
        if let Some(note) = self.notes.iter().find(|note| note.revision == *revision) {
            return Some(&note.previous);
        }
        let all = &self.deployments.as_ref()?.all;
        let at = all.iter().position(|(_, to)| to.as_ref() == Some(revision))?;
        let known = all[at..].iter().filter(|(d, _)| d.status == ServiceDeploymentStatus::Successful);
        known.filter_map(|(_, to)| to.as_ref()).find(|to| *to != revision)
    }

    /// Whether the code of `one` is older than that of `other`.
    fn is_older(&self, one: &TaskDefinitionArn, other: &TaskDefinitionArn) -> bool {
        let read = |arn: &TaskDefinitionArn| self.revisions.iter().find(|d| d.arn().as_ref() == Some(arn));
        let rank = |arn| read(arn).and_then(|definition| definition.rank(&self.revisions));
        match (rank(one), rank(other)) {
            (Some(one), Some(other)) => one < other,
            // Somebody else's, or too old to have been read.
            _ if one.family() == other.family() => one.revision() < other.revision(),
            _ => false,
        }
    }
}

fn is_going_back(reason: Option<&str>) -> bool {
    reason.is_some_and(|reason| reason.contains("rolling back"))
}

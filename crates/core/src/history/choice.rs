//! What a rollback goes back to, service by service.

use super::{Now, Outcome, Part, Rank, Ranked as _, Release, ServicePast};
use crate::names::{ServiceKey, ServiceRef, TaskDefinitionArn};
use std::collections::BTreeSet;

/// Whose history it is, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Of the services that are to go back.
    pub pasts: &'a [ServicePast],
    /// The newest first, those of other services among them: what these services ran when one of those served.
    pub releases: &'a [Release],
    /// The URL of this run, where an attempt of it came before this one.
    pub earlier_attempt: Option<&'a str>,
}

/// An earlier release, and what it means for each service.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub to: u64,
    /// Its commit.
    pub sha: Option<String>,
    /// Seconds since the epoch.
    pub registered_at: Option<f64>,
    /// The newest release that serves now, or before an unfinished rollback to the same release. `None`: it is what serves, or
    /// no release.
    pub from: Option<u64>,
    /// A rollback to the same release has begun, and has not come to its end.
    pub unfinished: Option<Unfinished>,
    /// What each service is to run that does not run it, and what it runs.
    pub services: Vec<(Part, TaskDefinitionArn)>,
    /// Release commands of later releases: the release, the command, and whether it is known to have ended well.
    pub commands: Vec<(u64, String, bool)>,
}

/// A rollback that has moved a service and was not seen to its end: its run was interrupted, killed, or stopped waiting.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfinished {
    pub number: u64,
    pub to: u64,
    pub revisions: Vec<TaskDefinitionArn>,
}

/// Why there is nothing to go back to.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// No revision is of this release.
    NoSuchRelease(u64),
    /// Releases of different runs have this number, and these services.
    Several(u64, Vec<ServiceKey>),
    /// Every service runs it.
    Serves(u64),
    /// It is proved that none of these services has ever run it: what became of it instead.
    NeverServed(u64, Outcome),
    /// No earlier release is proved to have served.
    NothingBefore(Option<u64>),
    /// What this service ran when the release served is not known.
    NoPart(u64, ServiceRef),
    Gone(ServiceRef),
    Unreadable(ServiceRef),
}

/// What is chosen: the release that is named; or what an unfinished rollback goes back to; or the newest that has served.
pub fn choose(choice: Choice<'_>, to: Option<u64>) -> Result<Chosen, Refusal> {
    let running = choice.running()?;
    let release = match to.or_else(|| choice.unfinished().map(|unfinished| unfinished.to)) {
        Some(to) => choice.named(to, &running)?,
        None => choice.candidates(&running).into_iter().next().ok_or_else(|| {
            let from = choice.from(&running, None).and_then(|release| release.number);
            Refusal::NothingBefore(from)
        })?,
    };
    choice.chosen(release, &running)
}

impl<'a> Choice<'a> {
    /// The releases that can be gone back to without naming one: those that served before what serves, the newest first.
    ///
    /// # Errors
    /// A service is gone, or may not be read.
    pub fn numbers(self) -> Result<Vec<u64>, Refusal> {
        Ok(self.candidates(&self.running()?).into_iter().filter_map(|release| release.number).collect())
    }

    /// The rollback that an earlier attempt of this run has begun, or the one that the services run of what they run newest,
    /// where something shows that it has not come to its end.
    pub fn unfinished(&self) -> Option<Unfinished> {
        let numbered = |release: &&Release| release.number.is_some() && release.back_to.is_some();
        let is_of_attempt =
            |release: &&Release| self.earlier_attempt.is_some() && release.run.as_deref() == self.earlier_attempt;
        let ours = self.releases.iter().filter(numbered).find(is_of_attempt);
        let release = match ours {
            Some(ours) => ours,
            None => {
                let running = self.running().ok()?;
                let newest = running
                    .iter()
                    .filter_map(|runs| self.release_of(runs))
                    .max_by(|a, b| a.place().total_cmp(&b.place()))?;
                Some(newest).filter(numbered).filter(|release| !self.is_done(release))?
            }
        };
        let parts = release.parts.iter().map(|part| part.revision.clone());
        Some(Unfinished { number: release.number?, to: release.back_to?, revisions: parts.collect() })
    }

    /// Whether a rollback that serves somewhere has come to its end, good or bad, as far as it is known.
    fn is_done(&self, release: &Release) -> bool {
        use Outcome::{NotDeployed, RollingOut, Unknown};
        let is_owed = |part: &Part| {
            let past = self.pasts.iter().find(|past| past.key == part.key);
            let note = past.and_then(|past| past.notes.iter().find(|note| note.revision == part.revision));
            note.is_some_and(|note| !note.is_verified)
        };
        let is_open = |part: &Part| match part.outcome {
            RollingOut | NotDeployed | Unknown => true,
            Outcome::Serving => is_owed(part),
            _ => false,
        };
        let has_failed =
            |part: &Part| matches!(part.outcome, Outcome::RolledBack | Outcome::RollingBack | Outcome::Failed);
        let parts = || release.parts.iter().filter(|part| self.pasts.iter().any(|past| past.key == part.key));
        parts().any(has_failed) || !parts().any(is_open)
    }

    fn running(&self) -> Result<Vec<&'a TaskDefinitionArn>, Refusal> {
        let runs = self.pasts.iter().map(|past| match &past.now {
            Now::Known(now) => Ok(&now.task_definition),
            Now::Gone => Err(Refusal::Gone(past.service.clone())),
            Now::Unknown => Err(Refusal::Unreadable(past.service.clone())),
        });
        runs.collect()
    }

    /// The release of a revision.
    fn release_of(&self, revision: &TaskDefinitionArn) -> Option<&'a Release> {
        let is_of = |release: &&Release| release.parts.iter().any(|part| part.revision == *revision);
        self.releases.iter().filter(|release| release.number.is_some()).find(is_of)
    }

    /// The newest release that serves; of a service that an unfinished rollback has moved, the one before it.
    fn from(&self, running: &[&TaskDefinitionArn], unfinished: Option<&Unfinished>) -> Option<&'a Release> {
        let is_moved = |runs: &TaskDefinitionArn| unfinished.is_some_and(|u| u.revisions.contains(runs));
        let served = self.pasts.iter().zip(running).filter_map(|(past, runs)| match is_moved(runs) {
            true => self.release_of(past.before(runs)?),
            false => self.release_of(runs),
        });
        served.max_by(|a, b| a.place().total_cmp(&b.place()))
    }

    fn candidates(&self, running: &[&TaskDefinitionArn]) -> Vec<&'a Release> {
        // Whatever else a service runs, each release is older than that.
        let ranks = running.iter().map(|runs| self.release_of(runs)?.rank(self.releases));
        let bound = ranks.map(|rank| rank.unwrap_or(Rank::MAX)).max_by(Rank::total_cmp).unwrap_or(Rank::MAX);
        let is_older = |release: &&Release| release.rank(self.releases).is_some_and(|rank| rank < bound);
        let has_served = |release: &&Release| {
            let mut parts = release.parts.iter().filter(|part| self.is_meant(part)).peekable();
            parts.peek().is_some() && parts.all(|part| part.outcome.has_served())
        };
        let serves_whole = |release: &&Release| self.chosen(release, running).is_ok();
        self.releases.iter().filter(is_older).filter(has_served).filter(serves_whole).collect()
    }

    fn is_meant(&self, part: &Part) -> bool {
        self.pasts.iter().any(|past| past.key == part.key)
    }

    /// The release of this number. Where numbers have begun again, the newest that has served and is not what serves.
    fn named(&self, to: u64, running: &[&TaskDefinitionArn]) -> Result<&'a Release, Refusal> {
        let all: Vec<&Release> = self.releases.iter().filter(|release| release.number == Some(to)).collect();
        let meant = all.iter().copied().filter(|release| release.parts.iter().any(|part| self.is_meant(part)));
        let meant: Vec<&Release> = meant.collect();
        let Some(newest) = meant.first().or(all.first()) else { return Err(Refusal::NoSuchRelease(to)) };
        let keys = || meant.iter().flat_map(|release| release.parts.iter().map(|part| part.key.clone()));
        if meant.len() > 1 && keys().collect::<BTreeSet<_>>().len() == keys().count() {
            return Err(Refusal::Several(to, keys().collect()));
        }
        let is_past = |release: &&&Release| {
            let runs = release.parts.iter().any(|part| running.contains(&&part.revision));
            !runs && release.parts.iter().any(|part| part.outcome.has_served())
        };
        Ok(meant.iter().find(is_past).unwrap_or(newest))
    }

    fn chosen(&self, release: &'a Release, running: &[&TaskDefinitionArn]) -> Result<Chosen, Refusal> {
        let to = release.number.unwrap_or_default();
        if let Some(never) = release.parts.iter().find(|part| part.outcome.is_never())
            && release.parts.iter().all(|part| part.outcome.is_never())
        {
            return Err(Refusal::NeverServed(to, never.outcome));
        }
        let mut services = vec![];
        for (past, runs) in self.pasts.iter().zip(running) {
            let part = match release.part(&past.key).filter(|part| !part.outcome.is_never()) {
                Some(part) => part,
                None => match self.part_when(release, past, runs) {
                    WhenServed::Stays => continue,
                    WhenServed::Ran(part) => part,
                    WhenServed::Unknown => return Err(Refusal::NoPart(to, past.service.clone())),
                },
            };
            if part.revision != **runs {
                services.push((part.clone(), (*runs).clone()));
            }
        }
        if services.is_empty() {
            return Err(Refusal::Serves(to));
        }
        let later = self.releases.iter().filter(|other| other.number.is_some() && other.place() > release.place());
        let mut commands: Vec<(u64, String, bool)> = later
            .flat_map(|r| {
                r.commands.iter().map(|c| (r.number.unwrap_or_default(), c.name.clone(), c.ended_well == Some(true)))
            })
            .collect();
        commands.sort();
        let unfinished = self.unfinished().filter(|unfinished| unfinished.to == to);
        let is_other = |from: &&Release| from.rank(self.releases) != release.rank(self.releases);
        let from = self.from(running, unfinished.as_ref()).filter(is_other).and_then(|from| from.number);
        Ok(Chosen {
            to,
            sha: release.sha.clone(),
            registered_at: release.registered_at,
            from,
            unfinished,
            services,
            commands,
        })
    }

    /// What a service ran when a release served that left it alone.
    fn part_when(&self, release: &Release, past: &ServicePast, runs: &TaskDefinitionArn) -> WhenServed<'a> {
        if self.release_of(runs).is_some_and(|serving| serving.place() <= release.place()) {
            return WhenServed::Stays;
        }
        let earlier = self.releases.iter().filter(|other| other.number.is_some() && other.place() < release.place());
        let served = earlier.filter_map(|other| other.part(&past.key)).find(|part| part.outcome.has_served());
        served.map_or(WhenServed::Unknown, WhenServed::Ran)
    }
}

enum WhenServed<'a> {
    /// It runs that still.
    Stays,
    Ran(&'a Part),
    Unknown,
}

//! What a rollback goes back to, service by service.

use super::{Now, Part, Release, ServicePast};
use crate::names::{ServiceKey, ServiceRef, TaskDefinitionArn};

/// Whose history it is, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    pub pasts: &'a [ServicePast],
    /// The newest first.
    pub releases: &'a [Release],
}

/// An earlier release, and what it means for each service.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub to: u64,
    /// The newest release that serves now, where one does.
    pub from: Option<u64>,
    /// What each service is to run that does not run it, and what it runs.
    pub services: Vec<(Part, TaskDefinitionArn)>,
    /// Release commands of later releases: the release, the command, and whether it is known to have ended well.
    pub commands: Vec<(u64, String, bool)>,
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
    /// No earlier release is proved to have served.
    NothingBefore(Option<u64>),
    /// What this service ran when the release served is not known.
    NoPart(u64, ServiceRef),
    Gone(ServiceRef),
    Unreadable(ServiceRef),
}

/// What is chosen for the newest release, or for one that is named.
pub fn choose(choice: Choice<'_>, to: Option<u64>) -> Result<Chosen, Refusal> {
    let running = choice.running()?;
    let to = match to {
        Some(to) => to,
        None => *choice.candidates(&running).first().ok_or_else(|| Refusal::NothingBefore(choice.from(&running)))?,
    };
    choice.chosen(to, &running)
}

impl Choice<'_> {
    /// The releases that can be gone back to without naming one: those that served before what serves, the newest first.
    ///
    /// # Errors
    /// A service is gone, or may not be read.
    pub fn numbers(self) -> Result<Vec<u64>, Refusal> {
        Ok(self.candidates(&self.running()?))
    }

    fn running(&self) -> Result<Vec<&TaskDefinitionArn>, Refusal> {
        let runs = self.pasts.iter().map(|past| match &past.now {
            Now::Known(now) => Ok(&now.task_definition),
            Now::Gone => Err(Refusal::Gone(past.service.clone())),
            Now::Unknown => Err(Refusal::Unreadable(past.service.clone())),
        });
        runs.collect()
    }

    /// The release of a revision.
    fn release_of(&self, revision: &TaskDefinitionArn) -> Option<&Release> {
        let is_of = |release: &&Release| release.parts.iter().any(|part| part.revision == *revision);
        self.releases.iter().filter(|release| release.number.is_some()).find(is_of)
    }

    fn from(&self, running: &[&TaskDefinitionArn]) -> Option<u64> {
        running.iter().filter_map(|revision| self.release_of(revision)?.number).max()
    }

    fn candidates(&self, running: &[&TaskDefinitionArn]) -> Vec<u64> {
        // Whatever else a service runs, each release is older than that.
        let ranks = running.iter().map(|revision| self.release_of(revision).and_then(Release::rank));
        let bound = ranks.map(|rank| rank.unwrap_or(u64::MAX)).max().unwrap_or(u64::MAX);
        let is_older = |release: &&Release| release.rank().is_some_and(|rank| rank < bound);
        let has_served =
            |release: &&Release| !release.parts.is_empty() && release.parts.iter().all(|p| p.outcome.has_served());
        let serves_whole = |number: &u64| self.chosen(*number, running).is_ok();
        let older = self.releases.iter().filter(is_older).filter(has_served).filter_map(|release| release.number);
        let mut numbers: Vec<u64> = older.filter(serves_whole).collect();
        numbers.dedup();
        numbers
    }

    fn chosen(&self, to: u64, running: &[&TaskDefinitionArn]) -> Result<Chosen, Refusal> {
        let named: Vec<&Release> = self.releases.iter().filter(|release| release.number == Some(to)).collect();
        if named.is_empty() {
            return Err(Refusal::NoSuchRelease(to));
        }
        if named.len() > 1 {
            let keys = named.iter().flat_map(|release| release.parts.iter().map(|part| part.key.clone()));
            return Err(Refusal::Several(to, keys.collect()));
        }
        let mut services = vec![];
        for (past, runs) in self.pasts.iter().zip(running) {
            let part = match named[0].part(&past.key) {
                Some(part) => part,
                None => match self.part_when(to, past, runs) {
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
        let later = self.releases.iter().filter(|r| r.number.is_some_and(|number| number > to));
        let mut commands: Vec<(u64, String, bool)> = later
            .flat_map(|r| {
                r.commands.iter().map(|c| (r.number.unwrap_or_default(), c.name.clone(), c.ended_well == Some(true)))
            })
            .collect();
        commands.sort();
        Ok(Chosen { to, from: self.from(running), services, commands })
    }

    /// What a service ran when a release served that left it alone.
    fn part_when(&self, to: u64, past: &ServicePast, runs: &TaskDefinitionArn) -> WhenServed<'_> {
        let number = self.release_of(runs).and_then(|release| release.number);
        if number.is_some_and(|number| number <= to) {
            return WhenServed::Stays;
        }
        let earlier = self.releases.iter().filter(|release| release.number.is_some_and(|number| number < to));
        let served = earlier.filter_map(|release| release.part(&past.key)).find(|part| part.outcome.has_served());
        served.map_or(WhenServed::Unknown, WhenServed::Ran)
    }
}

enum WhenServed<'a> {
    /// It runs that still.
    Stays,
    Ran(&'a Part),
    Unknown,
}

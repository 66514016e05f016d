//! A row of the table of causes, and what it is held against.

use super::pattern::{Values, captured};
use super::seen::Seen;
use super::values;

/// A cause.
pub struct Row {
    /// Stable: it is in the JSON, and has a section in the docs.
    pub code: &'static str,
    /// One sentence for the docs, without the values of a case.
    pub title: &'static str,
    /// Each of these proves it; a proof needs every sign of it.
    pub(super) proofs: &'static [&'static [Sign]],
    /// The sentence, with places for values.
    pub cause: &'static str,
    pub next: &'static str,
    /// What is most likely where the signs fit more than one cause: then none of them is called the cause.
    pub likely: &'static [&'static str],
    /// What a person should know about it, for the docs and `explain`.
    pub more: &'static str,
}

/// One thing that is seen.
pub(super) enum Sign {
    /// A text of AWS or a registry: a stopped reason, a container's reason, a refusal, an event.
    Said(&'static str),
    /// One text that has one of each.
    SaidBoth(&'static [&'static str], &'static [&'static str]),
    /// A line of the failed container's log.
    Line(&'static str),
    /// What a load balancer says of a target: code and description.
    Target(&'static str),
    StopCode(&'static str),
    /// How the failed container ended.
    Exit(&'static [i64]),
    /// What is no text.
    Is(fn(&Case<'_>, &mut Values) -> bool),
}

/// What rows are held against.
pub(super) struct Case<'s> {
    pub(super) seen: &'s Seen,
    pub(super) said: Vec<&'s str>,
    pub(super) lines: Vec<&'s str>,
    pub(super) targets: Vec<String>,
    /// The lines before the one that is looked at.
    pub(super) before: &'s [&'s str],
}

/// A row that holds, with its values and the texts that prove it.
pub(super) struct Held {
    pub(super) row: &'static Row,
    pub(super) values: Values,
    pub(super) proof: Vec<Proof>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Proof {
    Said(String),
    Line(String),
    Target(String),
}

/// One part of the table, and what it can explain.
pub(super) struct Part {
    pub(super) rows: &'static [&'static [Row]],
    pub(super) is_about: fn(&Seen) -> bool,
    pub(super) read: Read,
    /// Effects and settings: only where no event of the service says more.
    pub(super) is_last: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// The first row that holds.
    Rows,
    /// The first line of the log that a row holds for: what follows an error is its consequence.
    Lines,
}

impl Part {
    pub(super) fn all(&self) -> impl Iterator<Item = &'static Row> + use<> {
        self.rows.iter().flat_map(|rows| rows.iter())
    }
}

impl<'s> Case<'s> {
    pub(super) fn of(seen: &'s Seen, with_events: bool) -> Self {
        let own = [seen.refusal.as_deref(), seen.stopped_reason.as_deref(), seen.deployment_reason.as_deref()];
        let reasons = seen.containers.iter().filter_map(|c| c.reason.as_deref());
        let events = seen.events.iter().map(String::as_str).filter(|_| with_events);
        let log = seen.failed_container().map(|c| super::log::telling(&c.log)).unwrap_or_default();
        Self {
            seen,
            said: own.into_iter().flatten().chain(reasons).chain(events).filter(|s| !s.is_empty()).collect(),
            lines: log,
            targets: values::targets(seen),
            before: &[],
        }
    }

    pub(super) fn held(&self, part: &Part) -> Option<Held> {
        if !(part.is_about)(self.seen) {
            return None;
        }
        match part.read {
            Read::Rows => part.all().find_map(|row| self.holds(row)),
            Read::Lines => self.lines.iter().enumerate().find_map(|(at, line)| {
                let announced = super::log::announced(&self.lines[at..]);
                let held = |line: &str| {
                    let before = &self.lines[..at];
                    let alone = Case { seen: self.seen, said: vec![line], lines: vec![line], targets: vec![], before };
                    let mut held = part.all().find_map(|row| alone.holds(row))?;
                    held.proof = vec![Proof::Line(line.trim().to_owned())];
                    Some(held)
                };
                held(line).or_else(|| held(announced.as_deref()?))
            }),
        }
    }

    fn holds(&self, row: &'static Row) -> Option<Held> {
        row.proofs.iter().find_map(|signs| {
            let (mut values, mut proof) = (Values::default(), vec![]);
            signs.iter().all(|sign| self.has(sign, &mut values, &mut proof)).then_some(Held { row, values, proof })
        })
    }

    fn has(&self, sign: &Sign, values: &mut Values, proof: &mut Vec<Proof>) -> bool {
        match sign {
            Sign::Said(pattern) => self.has_said(&[pattern], &[""], values, proof),
            Sign::SaidBoth(some, others) => self.has_said(some, others, values, proof),
            Sign::Line(pattern) => {
                let found = self.lines.iter().find_map(|line| Some((line, captured(pattern, line)?)));
                found.is_some_and(|(line, found)| {
                    values.extend(found);
                    proof.push(Proof::Line(line.trim().to_owned()));
                    true
                })
            }
            Sign::Target(pattern) => {
                let found = self.targets.iter().find_map(|target| Some((target, captured(pattern, target)?)));
                found.is_some_and(|(target, found)| {
                    values.extend(found);
                    proof.push(Proof::Target(target.clone()));
                    true
                })
            }
            Sign::StopCode(code) => self.seen.stop_code.as_deref() == Some(code),
            Sign::Exit(codes) => {
                self.seen.failed_container().and_then(|c| c.exit_code).is_some_and(|code| codes.contains(&code))
            }
            Sign::Is(is) => is(self, values),
        }
    }

    fn has_said(
        &self,
        some: &[&'static str],
        others: &[&'static str],
        values: &mut Values,
        proof: &mut Vec<Proof>,
    ) -> bool {
        let found = self.said.iter().find_map(|text| {
            let plain = text.replace('\u{2019}', "'");
            let mut found = some.iter().find_map(|pattern| captured(pattern, &plain))?;
            found.extend(others.iter().find_map(|pattern| captured(pattern, &plain))?);
            values::of_text(&plain, &mut found);
            Some((text, found))
        });
        found.is_some_and(|(text, found)| {
            values.extend(found);
            proof.push(Proof::Said((*text).to_owned()));
            true
        })
    }
}

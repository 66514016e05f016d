//! A plan as it is shown, kept and compared: everything that `deploy` will do, and no secret.

use super::digest::{self, Parts};
pub use super::infrastructure::Infrastructure;
pub use super::planned::{PlannedCommand, PlannedSettings, PlannedSmoke, RunOptions};
use super::risk::{self, Risk, RiskKind};
use super::{CommandPlan, ImageAction, ImagePlan, LookUp, Plan, ServicePlan};
use crate::names::{ImageKey, ServiceKey, ServiceRef};
use crate::task_definition::change::Change;
use crate::task_definition::compare::Difference;
use crate::validated_config::{Config, ImageSource, Lock, Reuse, When};
use serde::Serialize;
use std::collections::BTreeMap;

/// Computed from the very [`Plan`] that `deploy` carries out. The JSON form of `plan`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanDocument {
    pub environment: Option<String>,
    /// The number that the release gets.
    pub release: u64,
    pub decision: Decision,
    /// Before everything else: what can hurt.
    pub risks: Vec<Risk>,
    pub images: Vec<PlannedImage>,
    /// In the order of the config.
    pub services: Vec<PlannedService>,
    /// How it is carried out.
    pub settings: PlannedSettings,
    /// Those that will run, in their order.
    pub release_commands: Vec<PlannedCommand>,
    /// What this release leaves as it is, one sentence each.
    pub untouched: Vec<String>,
    /// Every call that changes something, in order.
    pub calls: Vec<PlannedCall>,
    /// `sha256:...` over what the plan means: not over times, runs, commits or release numbers.
    pub digest: String,
    /// The same for each part, so that two plans can be told apart without their texts.
    pub parts: Parts,
    /// A Terraform plan that was given beside the config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<Infrastructure>,
}

/// The form of plans for programs: a member that is taken away or changes its meaning is a new major version.
pub const FORMAT_VERSION: &str = "1.0";

/// A plan for programs: [`PlanDocument`], or without AWS [`super::offline::OfflineDocument`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Published<'a, D> {
    format_version: &'static str,
    /// Made from the files alone: a document with other members.
    is_offline: bool,
    #[serde(flatten)]
    document: &'a D,
}

impl<'a> Published<'a, PlanDocument> {
    pub fn plan(document: &'a PlanDocument) -> Self {
        Self { format_version: FORMAT_VERSION, is_offline: false, document }
    }
}

impl<'a> Published<'a, super::offline::OfflineDocument> {
    pub fn offline(document: &'a super::offline::OfflineDocument) -> Self {
        Self { format_version: FORMAT_VERSION, is_offline: true, document }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// What runs is what the config describes.
    Nothing,
    /// New images in unchanged task definitions.
    ImageOnly,
    Changes,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedImage {
    pub key: ImageKey,
    /// `HOST/NAME`.
    pub name: String,
    pub action: PlannedAction,
    pub platform: Option<String>,
    /// When one that is in the repository already is taken instead of a build. `null`: none is built here.
    pub reuse: Option<Reuse>,
    /// By what it was looked for there; `null`: it was not.
    pub looked_up: Option<LookUp>,
    /// The tags that are pushed, or put on what is there.
    pub tags: Vec<String>,
    /// Unknown until it is built.
    pub digest: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlannedAction {
    Build,
    /// The same content is in the repository already.
    Reuse,
    /// Given by reference.
    Existing,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedService {
    pub key: ServiceKey,
    #[serde(flatten)]
    pub service: ServiceRef,
    /// `web:41`, the revision that it runs.
    pub running: String,
    /// The release of that revision, where its tags tell.
    pub running_release: Option<u64>,
    /// The file that the new revision starts from; `null`: the running revision.
    pub base: Option<String>,
    /// Keys of the services that must serve and answer before it moves.
    pub after: Vec<ServiceKey>,
    /// What must answer once it serves.
    pub smoke: Vec<PlannedSmoke>,
    pub moves: bool,
    /// Old to new, with AWS's defaults filled in on both sides.
    pub changes: Vec<Change>,
}

/// One call that changes something: `ecs:UpdateService` on `shop/web`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedCall {
    pub action: String,
    pub on: String,
}

impl PlanDocument {
    pub fn of(plan: &Plan, config: &Config, run: RunOptions) -> Self {
        let known = plan.known_images();
        let differences: Vec<(&ServicePlan, Vec<Difference>)> =
            plan.services.iter().map(|s| (s, s.differences(plan.number, &known))).collect();
        let services: Vec<_> = differences.iter().map(|(s, found)| planned_service(s, found, config)).collect();
        let is_moving = services.iter().any(|s| s.moves);
        let runs_commands = is_moving && !run.skips_commands;
        let mut risks = plan.warnings.clone();
        for (service, found) in &differences {
            let name = format!("service `{}`", service.service.name);
            let new = service.definition(plan.number, &known, &super::Provenance::default());
            risks.extend(risk::of_differences(&name, found, &new));
        }
        risks.extend(risk::of_tags(&plan.images, &plan.services));
        if runs_commands {
            risks.extend(risk::of_commands(&plan.commands, &plan.services));
        }
        risks.sort_by_key(|risk| risk.level);
        let is_run = |c: &&CommandPlan| runs_commands && !(run.is_unwatched && c.command.when == When::After);
        let commands = plan.commands.iter().filter(is_run).map(|c| PlannedCommand {
            name: c.command.name.clone(),
            service: c.service.clone(),
            container: c.container.clone(),
            command: c.command.command.clone(),
            timeout_seconds: c.command.timeout.as_secs(),
            runs_after: c.command.when == When::After,
            family: c.own.as_ref().map(|own| own.family().to_owned()),
        });
        let release_commands: Vec<_> = commands.collect();
        let settings = PlannedSettings::of(&plan.settings, run);
        let parts = digest::parts(plan, config, &differences, &release_commands, &settings);
        Self {
            environment: config.environment.clone(),
            release: plan.number,
            decision: decision(&services),
            risks,
            images: plan.images.iter().map(|image| planned_image(image, config)).collect(),
            untouched: untouched(plan, config, &services, run),
            calls: calls(plan, config, &services, &release_commands),
            services,
            settings,
            release_commands,
            digest: digest::whole(config.environment.as_deref(), &parts),
            parts,
            infrastructure: None,
        }
    }

    /// Services that change, as the output `plan-changes` counts them.
    pub fn changed_services(&self) -> usize {
        self.services.iter().filter(|s| !s.changes.is_empty()).count()
    }

    /// Notes that the revision below a service is another one than when this plan was last shown.
    pub fn compare_bases(&mut self, shown: &Parts) {
        for service in &self.services {
            let part = format!("base.{}", service.key);
            if let (Some(then), Some(now)) = (shown.get(&part), self.parts.get(&part))
                && then != now
            {
                self.risks.insert(
                    0,
                    Risk {
                        level: risk::Level::Caution,
                        kind: RiskKind::BaseMoved,
                        text: format!(
                            "service `{}`: the revision below this plan moved since it was last shown; it is {} now",
                            service.service.name, service.running
                        ),
                    },
                );
            }
        }
    }
}

fn decision(services: &[PlannedService]) -> Decision {
    let is_image = |change: &Change| change.path.ends_with(".image");
    match services.iter().all(|s| !s.moves) {
        true => Decision::Nothing,
        false if services.iter().all(|s| s.changes.iter().all(is_image)) => Decision::ImageOnly,
        false => Decision::Changes,
    }
}

fn planned_image(image: &ImagePlan, config: &Config) -> PlannedImage {
    let (action, tags) = match &image.action {
        ImageAction::Build { tags, .. } => (PlannedAction::Build, tags.clone()),
        ImageAction::Reuse { missing_tags, .. } => (PlannedAction::Reuse, missing_tags.clone()),
        ImageAction::Existing { .. } => (PlannedAction::Existing, vec![]),
    };
    let build = config.images.iter().find(|i| i.key == image.key).and_then(|i| match &i.source {
        ImageSource::Build(build) => Some(build),
        ImageSource::Existing(_) => None,
    });
    let platform = match &image.action {
        ImageAction::Build { platform, .. } => Some(platform.clone()),
        _ => build.and_then(|build| build.platform.clone()),
    };
    PlannedImage {
        key: image.key.clone(),
        name: image.name.clone(),
        action,
        platform,
        reuse: build.map(|build| build.reuse),
        looked_up: image.looked_up.clone(),
        tags,
        digest: image.digest().map(ToString::to_string),
    }
}

fn planned_service(service: &ServicePlan, differences: &[Difference], config: &Config) -> PlannedService {
    let file = config.services.iter().find(|s| s.key == service.key).and_then(|s| s.task_definition.as_deref());
    let base = file.map(|file| file.strip_prefix(&config.root).unwrap_or(file).display().to_string());
    PlannedService {
        key: service.key.clone(),
        service: service.service.clone(),
        running: service.before.task_definition.short().to_owned(),
        running_release: service.running.release(),
        base,
        after: service.after.clone(),
        smoke: service.smoke.iter().map(PlannedSmoke::of).collect(),
        moves: !differences.is_empty() || config.force,
        changes: differences.iter().map(Change::of).collect(),
    }
}

fn untouched(plan: &Plan, config: &Config, services: &[PlannedService], run: RunOptions) -> Vec<String> {
    let mut lines = vec![];
    for service in &config.left_out.services {
        lines.push(format!("service `{service}`: left out by `--only`"));
    }
    for command in &config.left_out.commands {
        lines.push(format!("release command `{command}`: left out by `--only`, with its service"));
    }
    for (service, after) in &config.left_out.after {
        lines.push(format!("service `{service}`: does not wait for `{after}`, which `--only` leaves out"));
    }
    for service in services {
        let Some(before) = plan.service(&service.key).map(|s| &s.before) else { continue };
        if service.moves {
            let behind = match before.target_groups.len() {
                0 => "load balancers".to_owned(),
                1 => "load balancer (1 target group)".to_owned(),
                many => format!("load balancers ({many} target groups)"),
            };
            lines.push(format!(
                "service `{}`: desired count ({}), autoscaling, {behind} and deployment settings stay",
                service.service.name, before.counts.desired
            ));
        } else {
            lines.push(format!("service `{}`: nothing differs from {}", service.service.name, service.running));
        }
    }
    if !config.release.is_empty() {
        if run.skips_commands {
            lines.push("release commands: left out by `--skip-release-commands`".to_owned());
        } else if services.iter().all(|s| !s.moves) {
            lines.push("release commands: no service moves, so none runs".to_owned());
        } else if run.is_unwatched {
            for command in plan.commands.iter().filter(|c| c.command.when == When::After) {
                let name = &command.command.name;
                lines.push(format!("release command `{name}`: left out by `--no-wait`: the next run owes it"));
            }
        }
    }
    lines
}

/// In the order in which they are made: images, leases, revisions, commands, services after those that they wait for.
fn calls(plan: &Plan, config: &Config, services: &[PlannedService], commands: &[PlannedCommand]) -> Vec<PlannedCall> {
    let call = |action: &str, on: String| PlannedCall { action: action.to_owned(), on };
    let mut calls = vec![];
    for image in &plan.images {
        let (pushed, kept, written) = match &image.action {
            ImageAction::Build { tags, kept_stages, written_cache, .. } => {
                (tags, kept_stages.as_slice(), written_cache.as_ref())
            }
            ImageAction::Reuse { missing_tags, .. } => (missing_tags, &[][..], None),
            ImageAction::Existing { .. } => continue,
        };
        if image.is_to_be_created && !pushed.is_empty() {
            calls.push(call("ecr:CreateRepository", image.name.clone()));
        }
        let tags = pushed.iter().chain(kept.iter().map(|kept| &kept.tag)).chain(written);
        calls.extend(tags.map(|tag| call("ecr:PutImage", format!("{}:{tag}", image.name))));
    }
    if services.iter().all(|s| !s.moves) {
        return calls;
    }
    if let Lock::Lease { .. } = config.lock {
        let mut leased: Vec<_> = services.iter().map(|s| &s.service).collect();
        leased.sort();
        calls.extend(leased.into_iter().map(|s| call("ssm:PutParameter", format!("lease of {s}"))));
    }
    let changed = |key: &ServiceKey| services.iter().any(|s| s.key == *key && !s.changes.is_empty());
    let revisions = plan.services.iter().filter(|s| changed(&s.key));
    calls.extend(revisions.map(|s| call("ecs:RegisterTaskDefinition", s.base.family().to_owned())));
    if let Some(instance) = config.snapshot.as_ref().filter(|_| commands.iter().any(|c| !c.runs_after)) {
        calls.push(call("rds:CreateDBSnapshot", instance.clone()));
    }
    let run = |runs_after: bool, calls: &mut Vec<PlannedCall>| {
        for planned in commands.iter().filter(|c| c.runs_after == runs_after) {
            let command = plan.commands.iter().find(|c| c.command.name == planned.name);
            let Some((command, service)) = command.zip(plan.service(&planned.service)) else { continue };
            // An equal definition of an earlier release is taken again.
            let definition = command.definition(plan.number, &service.base, &[], &super::Provenance::default());
            if let Some(definition) = definition.filter(|_| changed(&planned.service)) {
                calls.push(call("ecs:RegisterTaskDefinition", definition.family().to_owned()));
            }
            calls.push(call("ecs:RunTask", planned.name.clone()));
        }
    };
    run(false, &mut calls);
    calls.extend(in_order(services).filter(|s| s.moves).map(|s| call("ecs:UpdateService", s.service.to_string())));
    run(true, &mut calls);
    calls
}

/// Each after those that it waits for, else in the order of the config. Circles are refused when the config is read.
fn in_order(services: &[PlannedService]) -> impl Iterator<Item = &PlannedService> {
    let mut ordered: Vec<&PlannedService> = vec![];
    let mut left: Vec<&PlannedService> = services.iter().collect();
    while !left.is_empty() {
        let waits = |s: &PlannedService| s.after.iter().any(|key| left.iter().any(|other| other.key == *key));
        let (later, now): (Vec<_>, Vec<_>) = left.iter().copied().partition(|s| waits(s));
        if now.is_empty() {
            ordered.extend(later);
            break;
        }
        ordered.extend(now);
        left = later;
    }
    ordered.into_iter()
}

/// What was shown to a reviewer: the digest, and its parts where they are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    pub digest: String,
    pub parts: BTreeMap<String, String>,
}

impl PlanDocument {
    /// Whether this is what was shown; if not, in what it differs, one sentence each.
    ///
    /// # Errors
    /// The plan is stale.
    pub fn is_still(&self, shown: &Shown) -> Result<(), Vec<String>> {
        if self.digest == shown.digest {
            return Ok(());
        }
        let spoken = |part: &str| match part.split_once('.') {
            Some(("base", key)) => format!("the revision that service `{key}` runs"),
            Some(("service", key)) => format!("the changes of service `{key}`"),
            Some(("command", key)) => format!("release command `{key}`"),
            Some(("image", key)) => format!("image `{key}`"),
            _ if part == "settings" => {
                "how the release is carried out (on-failure, on-cancel, wait and the like)".to_owned()
            }
            _ => part.to_owned(),
        };
        let mut lines = vec![];
        if !shown.parts.is_empty() {
            for part in shown.parts.keys().filter(|part| !self.parts.contains_key(*part)) {
                lines.push(format!("{} was in the reviewed plan and is not in this one", spoken(part)));
            }
            for (part, hash) in &self.parts {
                match shown.parts.get(part) {
                    None => lines.push(format!("{} was not in the reviewed plan", spoken(part))),
                    Some(then) if then != hash => lines.push(format!("{} is not what was reviewed", spoken(part))),
                    Some(_) => {}
                }
            }
        }
        lines.push(format!("reviewed {}, now {}", shown.digest, self.digest));
        Err(lines)
    }
}

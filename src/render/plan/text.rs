//! For terminals and logs: the decision, the risks, then what is done in its order.

use crate::render::log::clean;
use fargate_deploy_core::names::ServiceKey;
use fargate_deploy_core::plan::LookUp;
use fargate_deploy_core::plan::document::{
    Decision, Infrastructure, PlanDocument, PlannedAction, PlannedImage, PlannedService, PlannedSettings, PlannedSmoke,
};
use fargate_deploy_core::plan::offline::OfflineDocument;
use fargate_deploy_core::plan::risk::Level;
use fargate_deploy_core::task_definition::change::Change;
use fargate_deploy_core::validated_config::{OnCancel, OnFailure, Reuse};
use fargate_deploy_core::wording::counted;
use serde_json::Value;

pub fn lines(plan: &PlanDocument) -> Vec<String> {
    let of = plan.environment.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
    let mut lines = vec![String::new(), format!("plan{of}: {}", headline(plan))];
    for risk in &plan.risks {
        let level = match risk.level {
            Level::Caution => "CAUTION",
            Level::Warning => "warning",
        };
        lines.push(format!("  {level:<8} {}", risk.text));
    }
    lines.extend(plan.infrastructure.iter().flat_map(of_terraform));
    lines.extend(plan.images.iter().map(|i| format!("  image    {}: {}", i.key, image(i))));
    for command in &plan.release_commands {
        lines.push(format!(
            "  command  {}: {} (container {} of {}, up to {} s{})",
            command.name,
            fargate_deploy_core::resolved::joined(&command.command),
            command.container,
            command.family.as_deref().unwrap_or(command.service.as_str()),
            command.timeout_seconds,
            if command.runs_after { ", when the services serve" } else { "" }
        ));
    }
    for service in &plan.services {
        lines.extend(service_lines(service, plan.release));
    }
    if plan.decision != Decision::Nothing {
        lines.push(format!("  settings {}", settings(&plan.settings)));
    }
    lines.extend(plan.untouched.iter().map(|line| format!("  stays    {line}")));
    lines.push(format!("  digest   {}", plan.digest));
    lines.iter().map(|line| clean(line)).collect()
}

/// `r42, 2 of 3 services change, 1 release command`.
pub fn headline(plan: &PlanDocument) -> String {
    if plan.decision == Decision::Nothing {
        return match plan.calls.is_empty() {
            true => "nothing to do: what runs is what this commit describes".to_owned(),
            false => "no service changes; images are pushed or tagged".to_owned(),
        };
    }
    let moving = plan.services.iter().filter(|s| s.moves).count();
    let mut parts = vec![format!("r{}", plan.release)];
    parts.push(match (plan.decision, plan.services.len()) {
        (Decision::ImageOnly, 1) => "image only".to_owned(),
        (_, 1) => "the service changes".to_owned(),
        (Decision::ImageOnly, all) => format!("{moving} of {all} services, image only"),
        (_, all) => format!("{moving} of {all} services change"),
    });
    if !plan.release_commands.is_empty() {
        parts.push(counted(plan.release_commands.len(), "release command"));
    }
    parts.join(", ")
}

/// What is done about an image, in one clause.
pub fn image(image: &PlannedImage) -> String {
    let digest = image.digest.as_deref().and_then(|digest| digest.get(..19)).unwrap_or_default();
    match image.action {
        PlannedAction::Build => format!(
            "build for {}, push to {} as {}{}",
            image.platform.as_deref().unwrap_or("its platform"),
            image.name,
            image.tags.join(", "),
            reuse(image)
        ),
        PlannedAction::Reuse if image.tags.is_empty() => {
            format!("{digest} is in {} already{}", image.name, same(image))
        }
        PlannedAction::Reuse => format!("tag {digest} in {} as {}{}", image.name, image.tags.join(", "), same(image)),
        PlannedAction::Existing => format!("{}@{digest}", image.name),
    }
}

/// Why it is built although one may be there.
pub(super) fn reuse(image: &PlannedImage) -> String {
    match (image.reuse, &image.looked_up) {
        (Some(Reuse::Never), _) => ", whatever is there already".to_owned(),
        (Some(Reuse::Content), _) => ", unless any commit with the same content is there by then".to_owned(),
        (_, Some(LookUp::Content)) => ": no image of any commit has this content".to_owned(),
        (_, Some(LookUp::CommitAlone { why })) => format!(", for this commit alone: {why}"),
        _ => String::new(),
    }
}

/// Why it is not built.
pub(super) fn same(image: &PlannedImage) -> &'static str {
    match &image.looked_up {
        Some(LookUp::Content) => ", reused: it has the same content",
        Some(LookUp::Commit | LookUp::CommitAlone { .. }) => ", reused: it is of this commit",
        None => "",
    }
}

fn service_lines(service: &PlannedService, release: u64) -> Vec<String> {
    if !service.moves {
        return vec![];
    }
    let running = match service.running_release {
        Some(number) => format!("{} (r{number})", service.running),
        None => service.running.clone(),
    };
    let after = match service.after.as_slice() {
        [] => String::new(),
        keys => format!(", after {}", keys.iter().map(ServiceKey::as_str).collect::<Vec<_>>().join(" and ")),
    };
    let forced = if service.changes.is_empty() { ", although nothing differs" } else { "" };
    let mut lines = vec![format!("  service  {}: {running} to r{release}{after}{forced}", service.service)];
    lines.extend(service.changes.iter().map(|change| format!("           {}", change_line(change))));
    lines.extend(service.smoke.iter().map(|check| format!("           then {}", smoke(check))));
    lines
}

/// What must answer, in one clause.
pub fn smoke(check: &PlannedSmoke) -> String {
    let contains = check.contains.as_ref().map(|text| format!(" with `{text}` in its body")).unwrap_or_default();
    format!("{} must answer {}{contains} within {} s", check.url, check.status, check.within_seconds)
}

/// How the release is carried out, in one line.
pub fn settings(settings: &PlannedSettings) -> String {
    let mut parts = vec![
        match settings.on_failure {
            OnFailure::RollbackAll => "on failure every service goes back".to_owned(),
            OnFailure::RollbackFailed => "on failure only the service that failed goes back".to_owned(),
            OnFailure::Leave => "on failure nothing is put back".to_owned(),
        },
        match settings.on_cancel {
            OnCancel::Leave => "on cancel ECS goes on".to_owned(),
            OnCancel::Rollback => "on cancel what is rolling out goes back".to_owned(),
        },
    ];
    if settings.fail_fast {
        parts.push("a crash loop ends a rollout".to_owned());
    }
    parts.push(match settings.no_wait {
        true => "no rollout is watched (`--no-wait`)".to_owned(),
        false => format!("a rollout is watched for {} s", settings.wait_seconds),
    });
    parts.extend(settings.snapshot.iter().map(|instance| format!("a snapshot of {instance} before the first command")));
    if settings.lock_timeout_seconds.is_none() {
        parts.push("no lease is taken (`lock: none`)".to_owned());
    }
    parts.join("; ")
}

fn change_line(change: &Change) -> String {
    let path = &change.path;
    match (&change.before, &change.after) {
        _ if change.is_hidden() => match (&change.before, &change.after) {
            (None, _) => format!("+ {path} is added"),
            (_, None) => format!("- {path} is removed"),
            _ => format!("~ {path} changes"),
        },
        (None, Some(new)) => format!("+ {path}: {}", value(new)),
        (Some(old), None) => format!("- {path}: {}", value(old)),
        (old, new) => {
            let spoken = |side: &Option<Value>| side.as_ref().map(value).unwrap_or_default();
            format!("~ {path}: {} -> {}", spoken(old), spoken(new))
        }
    }
}

/// Text as it is, anything else as JSON.
pub fn value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn of_terraform(infrastructure: &Infrastructure) -> Vec<String> {
    let mut lines: Vec<String> =
        infrastructure.cautions.iter().map(|line| format!("  CAUTION  Terraform: {line}")).collect();
    lines.push(format!("  infra    Terraform: {}", infrastructure.headline));
    lines.extend(infrastructure.lines.iter().map(|line| format!("           {line}")));
    lines
}

/// Of a plan without AWS.
pub fn offline_lines(plan: &OfflineDocument) -> Vec<String> {
    let of = plan.environment.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
    let mut lines = vec![String::new(), format!("offline plan{of}: {}", plan.why)];
    lines.extend(plan.problems.iter().map(|p| format!("  PROBLEM  {p}")));
    lines.extend(plan.warnings.iter().map(|w| format!("  warning  {w}")));
    lines.extend(plan.infrastructure.iter().flat_map(of_terraform));
    for image in &plan.images {
        let context = match &image.context {
            Some(facts) => {
                format!("{}, {} KiB to build from", counted(facts.files, "file"), facts.bytes.div_ceil(1024))
            }
            None => "nothing to build".to_owned(),
        };
        lines.push(format!("  image    {}: {}, {context}", image.key, image.name));
    }
    lines.extend(plan.release_commands.iter().map(|c| format!("  command  {c}")));
    for service in &plan.services {
        let base = service.task_definition.as_deref().unwrap_or("the revision that it runs, not looked at");
        lines.push(format!("  service  {}: {base}", service.name));
    }
    lines.push("  The difference to what runs needs AWS and is not in this plan".to_owned());
    lines.iter().map(|line| clean(line)).collect()
}

//! For a reviewer on GitHub: the decision in the headline, what can hurt as alerts before any detail, the changed rows, and
//! everything else folded away. Whatever comes from outside stays text.
//! <https://docs.github.com/en/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github/basic-writing-and-formatting-syntax#alerts>

use super::text;
use fargate_deploy_core::markdown::{advice, code, fence, fit, one_line, plain, prose};
use fargate_deploy_core::names::short;
use fargate_deploy_core::outcome::Failure;
use fargate_deploy_core::plan::document::{
    Decision, Infrastructure, PlanDocument, PlannedAction, PlannedImage, PlannedService,
};
use fargate_deploy_core::plan::offline::OfflineDocument;
use fargate_deploy_core::plan::risk::{Level, Risk};
use fargate_deploy_core::task_definition::change::Change;
use fargate_deploy_core::wording::counted;
use serde_json::Value;

/// Of the 65,536 characters that GitHub takes in a comment, with room for what it counts differently.
pub const COMMENT: usize = 60_000;
/// Below the 1 MiB beyond which GitHub drops the whole step summary.
pub const SUMMARY: usize = 900 * 1024;
/// Rows of the table; the others are in the full difference.
const ROWS: usize = 40;

/// Where a plan was made, and for whom.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommentContext<'a> {
    /// What tells several plans of one config apart.
    pub label: Option<&'a str>,
    pub head: Option<&'a str>,
    pub run_url: Option<&'a str>,
    /// What makes the plan come true.
    pub next: &'a str,
}

/// As a comment, within `budget` bytes. The rest is in the step summary.
pub fn comment(plan: &PlanDocument, context: CommentContext<'_>, budget: usize) -> String {
    fit(&summary(plan, context), budget, &note(context))
}

/// What stands where a comment was cut.
pub fn note(context: CommentContext<'_>) -> String {
    match context.run_url {
        Some(url) => format!("The rest did not fit here: it is in the step summary of [the run]({url})."),
        None => "The rest did not fit here: it is in the step summary of the run.".to_owned(),
    }
}

/// As a step summary: all of it.
pub fn summary(plan: &PlanDocument, context: CommentContext<'_>) -> String {
    let mut out = format!(
        "### fargate-deploy plan{} · {}{}\n",
        environment(plan.environment.as_deref(), context.label),
        headline(plan),
        services(plan.services.iter().map(|service| short(service.service.name.as_str())))
    );
    let of = |level: Level| plan.risks.iter().filter(move |risk| risk.level == level);
    let cautions = infrastructure_cautions(plan.infrastructure.as_ref());
    alert(&mut out, "CAUTION", of(Level::Caution).map(risk_line).chain(cautions));
    alert(&mut out, "WARNING", of(Level::Warning).map(risk_line));
    images(&mut out, &plan.images);
    table(&mut out, plan);
    commands(&mut out, plan);
    infrastructure(&mut out, plan.infrastructure.as_ref());
    for service in plan.services.iter().filter(|s| !s.changes.is_empty()) {
        let title = format!("Full difference of {}: {} to r{}", service.service, service.running, plan.release);
        folded(&mut out, &title, &fence("diff", &difference(service)));
    }
    let mut rest = String::new();
    if plan.decision != Decision::Nothing {
        rest.push_str(&format!("- {}\n", prose(&text::settings(&plan.settings))));
    }
    for service in plan.services.iter().filter(|s| s.moves) {
        let then = |check| format!("- service {}: {}\n", code(service.key.as_str()), plain(&text::smoke(check)));
        rest.extend(service.smoke.iter().map(then));
    }
    rest.extend(plan.untouched.iter().map(|line| format!("- {}\n", prose(line))));
    if !plan.calls.is_empty() {
        let calls: Vec<_> = plan.calls.iter().map(|call| format!("{:<27} {}", call.action, call.on)).collect();
        rest.push_str(&format!("\nEvery call that changes something, in order:\n\n{}", fence("", &calls.join("\n"))));
    }
    folded(&mut out, "How it is carried out, what stays, and what is called", &rest);
    out.push_str(&format!("\n{}\n", footer(plan, context)));
    out
}

/// ` — production, canary`: the environment, and the label of the plan.
pub(super) fn environment(name: Option<&str>, label: Option<&str>) -> String {
    let named: Vec<_> = name.into_iter().chain(label).map(plain).collect();
    if named.is_empty() { String::new() } else { format!(" — {}", named.join(", ")) }
}

/// The services, the first ones by name: ` · web, worker`.
pub(super) fn services<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const NAMED: usize = 4;
    let names: Vec<_> = names.collect();
    let mut named: Vec<_> = names.iter().take(NAMED).map(|name| plain(name)).collect();
    if names.len() > NAMED {
        named.push(format!("{} more", names.len() - NAMED));
    }
    if named.is_empty() { String::new() } else { format!(" · {}", named.join(", ")) }
}

fn headline(plan: &PlanDocument) -> String {
    let hurts = plan.risks.iter().any(|risk| risk.level == Level::Caution)
        || plan.infrastructure.as_ref().is_some_and(|i| !i.cautions.is_empty());
    let mark = match (plan.decision, hurts) {
        (_, true) => "🔴",
        (Decision::Nothing | Decision::ImageOnly, _) => "⚪",
        (Decision::Changes, _) => "🟡",
    };
    format!("{mark} {}", plain(&text::headline(plan)))
}

fn risk_line(risk: &Risk) -> String {
    prose(&risk.text)
}

fn infrastructure(out: &mut String, infrastructure: Option<&Infrastructure>) {
    let Some(infrastructure) = infrastructure else { return };
    out.push_str(&format!("\n**Terraform:** {}\n", plain(&infrastructure.headline)));
    if !infrastructure.lines.is_empty() {
        folded(out, "Terraform, resource by resource", &fence("", &infrastructure.lines.join("\n")));
    }
}

fn infrastructure_cautions(infrastructure: Option<&Infrastructure>) -> Vec<String> {
    let cautions = infrastructure.into_iter().flat_map(|i| &i.cautions);
    cautions.map(|line| format!("Terraform: {}", prose(line))).collect()
}

fn alert(out: &mut String, kind: &str, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<_> = lines.into_iter().collect();
    if !lines.is_empty() {
        out.push_str(&format!("\n> [!{kind}]\n"));
        lines.iter().for_each(|line| out.push_str(&format!("> - {line}\n")));
    }
}

fn images(out: &mut String, images: &[PlannedImage]) {
    if !images.is_empty() {
        out.push('\n');
    }
    for image in images {
        let name = code(&image.name);
        let tags = || image.tags.iter().map(|tag| code(tag)).collect::<Vec<_>>().join(", ");
        let digest = code(image.digest.as_deref().and_then(|d| d.get(..19)).unwrap_or("unknown"));
        let what = match image.action {
            PlannedAction::Build => {
                let platform = code(image.platform.as_deref().unwrap_or("?"));
                format!("build for {platform}, push to {name} as {}{}", tags(), prose(&super::text::reuse(image)))
            }
            PlannedAction::Reuse if image.tags.is_empty() => {
                format!("{digest} is in {name} already{}", super::text::same(image))
            }
            PlannedAction::Reuse => format!("tag {digest} in {name} as {}{}", tags(), super::text::same(image)),
            PlannedAction::Existing => format!("{digest} of {name}, as given"),
        };
        out.push_str(&format!("- image {}: {what}\n", code(image.key.as_str())));
    }
}

fn table(out: &mut String, plan: &PlanDocument) {
    let rows: Vec<_> = plan.services.iter().flat_map(|s| s.changes.iter().map(move |change| (s, change))).collect();
    if rows.is_empty() {
        return;
    }
    out.push_str("\n| service | what | before | after |\n|---|---|---|---|\n");
    for (service, change) in rows.iter().take(ROWS) {
        out.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            plain(&service.service.to_string()),
            code(path(change)),
            side(&change.before, change),
            side(&change.after, change)
        ));
    }
    if rows.len() > ROWS {
        out.push_str(&format!("\n{} more are in the full difference.\n", rows.len() - ROWS));
    }
}

/// Whose the row is stands in it already.
fn path(change: &Change) -> &str {
    change.path.strip_prefix("containerDefinitions.").unwrap_or(&change.path)
}

fn side(value: &Option<Value>, change: &Change) -> String {
    match value {
        None => "—".to_owned(),
        Some(_) if change.is_hidden() => "_not shown_".to_owned(),
        Some(value) => {
            let text = text::value(value);
            let text = if change.path.ends_with(".image") { image_name(&text) } else { text };
            let short: String = text.chars().take(100).collect();
            let rest = if short.len() < text.len() { "…" } else { "" };
            code(&format!("{short}{rest}"))
        }
    }
}

/// `app@sha256:0123456789ab`: the registry is the same on both sides of most rows.
fn image_name(text: &str) -> String {
    match text.split_once("@sha256:") {
        Some((name, digest)) => {
            format!("{}@sha256:{}", name.rsplit('/').next().unwrap_or(name), digest.get(..12).unwrap_or(digest))
        }
        None => text.to_owned(),
    }
}

fn commands(out: &mut String, plan: &PlanDocument) {
    for (title, runs_after) in
        [("Before any service moves, in this order:", false), ("When every service serves, in this order:", true)]
    {
        let mut chosen = plan.release_commands.iter().filter(|c| c.runs_after == runs_after).peekable();
        if chosen.peek().is_some() {
            out.push_str(&format!("\n**{title}**\n\n"));
        }
        for (at, command) in chosen.enumerate() {
            out.push_str(&format!(
                "{}. {} in container {} of {}, up to {} s: {}\n",
                at + 1,
                code(&command.name),
                code(command.container.as_str()),
                code(command.family.as_deref().unwrap_or(command.service.as_str())),
                command.timeout_seconds,
                code(&fargate_deploy_core::resolved::joined(&command.command))
            ));
        }
    }
}

fn difference(service: &PlannedService) -> String {
    let mut lines = vec![];
    for change in &service.changes {
        // A variable can be called anything.
        let path = one_line(&change.path);
        if change.is_hidden() && change.before.is_some() && change.after.is_some() {
            lines.push(format!("! {path}: its value changes and is not shown"));
            continue;
        }
        for (sign, side) in [("-", &change.before), ("+", &change.after)] {
            let Some(side) = side else { continue };
            let shown = match side {
                Value::Object(_) | Value::Array(_) => serde_json::to_string_pretty(side).unwrap_or_default(),
                other => text::value(other),
            };
            let mut of = format!("{path}: {shown}").lines().map(str::to_owned).collect::<Vec<_>>();
            of.iter_mut().for_each(|line| *line = format!("{sign} {line}"));
            lines.extend(of);
        }
    }
    lines.join("\n")
}

fn folded(out: &mut String, title: &str, inner: &str) {
    out.push_str(&format!("\n<details><summary>{}</summary>\n\n{inner}\n</details>\n", plain(title)));
}

fn footer(plan: &PlanDocument, context: CommentContext<'_>) -> String {
    let digest = format!("plan {}", code(plan.digest.get(..19).unwrap_or(&plan.digest)));
    where_it_was_made(context, Some(digest))
}

fn where_it_was_made(context: CommentContext<'_>, digest: Option<String>) -> String {
    let mut parts = vec![];
    if let Some(url) = context.run_url {
        parts.push(format!("[run]({url})"));
    }
    if let Some(head) = context.head {
        parts.push(format!("commit {}", code(head.get(..7).unwrap_or(head))));
    }
    parts.extend(digest);
    if !context.next.is_empty() {
        parts.push(prose(context.next));
    }
    parts.join(" · ")
}

/// For a comment, instead of the plan of an earlier commit: this one has none. All of it, as the other texts here.
pub fn without_plan(environment_name: Option<&str>, failure: &Failure, context: CommentContext<'_>) -> String {
    let mut out = format!(
        "### fargate-deploy plan{} · 🔴 no plan: {}\n\n{}\n",
        environment(environment_name, context.label),
        failure.reason.word(),
        prose(&failure.what)
    );
    if !failure.evidence.is_empty() {
        out.push_str(&format!("\n{}", fence("", &failure.evidence.join("\n"))));
    }
    if let Some(next) = &failure.next {
        out.push_str(&format!("\n**Next:** {}", advice(next)));
    }
    out.push_str(&format!("\n{}\n", where_it_was_made(context, None)));
    out
}

/// For a comment, instead of the plan of an earlier commit: what the files of this one say.
pub fn offline_comment(plan: &OfflineDocument, context: CommentContext<'_>) -> String {
    format!("{}\n{}\n", offline(plan, context.label), where_it_was_made(context, None))
}

/// Of an offline plan.
pub fn offline(plan: &OfflineDocument, label: Option<&str>) -> String {
    let verdict = if plan.problems.is_empty() { "⚪ the files are sound" } else { "🔴 a deploy would refuse this" };
    let environment = environment(plan.environment.as_deref(), label);
    let mut out = format!("### fargate-deploy offline plan{environment} · {verdict}\n");
    out.push_str(&format!("\nFrom the files alone: {}.\n", prose(&plan.why)));
    if let Some(next) = &plan.next {
        out.push_str(&format!("\n**Next:** {}", advice(next)));
    }
    let cautions = infrastructure_cautions(plan.infrastructure.as_ref());
    alert(&mut out, "CAUTION", plan.problems.iter().map(|p| prose(p)).chain(cautions));
    alert(&mut out, "WARNING", plan.warnings.iter().map(|w| prose(w)));
    infrastructure(&mut out, plan.infrastructure.as_ref());
    out.push('\n');
    for image in &plan.images {
        let context = match &image.context {
            Some(facts) => {
                format!(", {} of {} KiB to build from", counted(facts.files, "file"), facts.bytes.div_ceil(1024))
            }
            None => String::new(),
        };
        out.push_str(&format!("- image {}: {}{context}\n", code(image.key.as_str()), code(&image.name)));
    }
    for service in &plan.services {
        let base = service.task_definition.as_deref().map_or("the revision that it runs".to_owned(), code);
        out.push_str(&format!("- service {}: from {base}\n", code(&service.name)));
    }
    out.extend(plan.release_commands.iter().map(|command| format!("- release command {}\n", code(command))));
    out
}

//! Terraform's plan beside ours: what it destroys and replaces first, then the rest, then what it does to our values.

use fargate_deploy_core::terraform::{Action, OutputAction, OutputConcern, ResourceChange, TerraformSummary};
use std::fmt::Write as _;

/// The first line, such as `1 to destroy, 2 to create`; `no changes` where there are none.
pub fn headline(summary: &TerraformSummary) -> String {
    let c = summary.counts;
    let counts = [
        (c.destroy, "destroy"),
        (c.replace, "replace"),
        (c.forget, "forget"),
        (c.update, "update"),
        (c.create, "create"),
        (c.moved, "move"),
        (c.import, "import"),
    ];
    let mut parts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} to {word}")).collect();
    match summary.outputs.len() {
        0 => {}
        1 => parts.push("1 output changes".to_owned()),
        count => parts.push(format!("{count} outputs change")),
    }
    if parts.is_empty() { "no changes".to_owned() } else { parts.join(", ") }
}

/// For a terminal and a log: what needs a look begins with `!`.
pub fn lines(summary: &TerraformSummary, concerns: &[OutputConcern]) -> Vec<String> {
    let mut lines = vec![headline(summary)];
    lines.extend(alerts(summary, concerns).into_iter().map(|alert| format!("! {}", alert.replace('`', ""))));
    lines.extend(rows(summary).into_iter().map(|row| format!("  {}", row.replace('`', ""))));
    lines
}

/// For a comment or a summary: a list, the alerts in bold. Names are code, so that nothing in them is markup.
pub fn markdown(summary: &TerraformSummary, concerns: &[OutputConcern]) -> Vec<String> {
    let mut lines = vec![headline(summary), String::new()];
    lines.extend(alerts(summary, concerns).into_iter().map(|alert| format!("- :warning: **{alert}**")));
    lines.extend(rows(summary).into_iter().map(|row| format!("- {row}")));
    lines
}

fn alerts(summary: &TerraformSummary, concerns: &[OutputConcern]) -> Vec<String> {
    let mut alerts: Vec<String> = summary.destroyed().chain(summary.replaced()).map(row).collect();
    alerts.extend(concerns.iter().map(|concern| {
        let text = concern.to_string();
        let (name, why) = text.split_once(": ").unwrap_or((&text, ""));
        format!("{}: {why}", code(name.trim_matches('`')))
    }));
    if summary.is_errored {
        alerts.push("planning ended with an error: this is what was found until then".to_owned());
    }
    if summary.is_incomplete && !summary.is_errored {
        alerts.push("the plan is of a part only: another one is needed after it".to_owned());
    }
    alerts
}

fn rows(summary: &TerraformSummary) -> Vec<String> {
    let is_alert = |change: &&ResourceChange| matches!(change.action, Action::Destroy | Action::Replace);
    let mut rows: Vec<String> = summary.changes.iter().filter(|change| !is_alert(change)).map(row).collect();
    rows.extend(summary.outputs.iter().map(|output| {
        let does = match output.action {
            OutputAction::Create => "is new",
            OutputAction::Update => "changes",
            OutputAction::Destroy => "goes away",
        };
        let unknown = if output.is_known { "" } else { ", to what is known after the apply" };
        format!("output {} {does}{unknown}", code(&output.name))
    }));
    rows.extend(summary.drift.iter().map(|address| format!("changed outside of Terraform: {}", code(address))));
    let deferred = |(address, reason): &(String, String)| format!("put off: {} ({})", code(address), code(reason));
    rows.extend(summary.deferred.iter().map(deferred));
    rows
}

fn row(change: &ResourceChange) -> String {
    let does = match change.action {
        Action::Destroy => "destroys",
        Action::Replace => "replaces",
        Action::Forget => "forgets, and leaves alone,",
        Action::Update => "updates",
        Action::Create => "creates",
        Action::Keep if change.is_imported => "imports",
        Action::Keep => "moves",
    };
    let mut row = format!("{does} {}", code(&change.address));
    if change.is_deposed {
        row.push_str(" (a leftover object)");
    }
    if let Some(from) = &change.moved_from {
        let _ = write!(row, " (was {})", code(from));
    }
    if change.is_imported && change.action != Action::Keep {
        row.push_str(" (and imports it)");
    }
    if !change.attributes.is_empty() {
        let because = if change.action == Action::Replace { "because of " } else { "" };
        let names: Vec<String> = change.attributes.iter().map(|name| code(name)).collect();
        let _ = write!(row, ": {because}{}", names.join(", "));
    } else if let Some(why) = change.why.as_ref().filter(|_| change.action != Action::Keep) {
        let _ = write!(row, ": {}", plain(why));
    }
    row
}

/// In a code span, which nothing in the text can end.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace(char::is_control, " "))
}

/// Words of Terraform's own, letters and spaces only.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || " _-'".contains(*c)).collect()
}

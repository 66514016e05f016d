//! Terraform beside the release: what its plan takes away comes first.

use crate::terraform::{Action, Counts, OutputAction, ResourceChange, TerraformSummary};
use serde::Serialize;

/// What a Terraform plan beside this one would do, by names alone: no value is in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Infrastructure {
    /// `1 to create, 2 to destroy`.
    pub headline: String,
    /// Destroys, replacements, and outputs that the config takes and the plan touches.
    pub cautions: Vec<String>,
    pub lines: Vec<String>,
    /// The same as data.
    pub summary: TerraformSummary,
}

impl Infrastructure {
    /// `taken`: the names of the outputs that the config takes values from.
    pub fn of(summary: &TerraformSummary, taken: &[String]) -> Self {
        let mut cautions = vec![];
        if summary.is_errored {
            cautions.push("planning ended with an error: this is only what was found until then".to_owned());
        }
        let why = |change: &ResourceChange| change.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        cautions.extend(summary.destroyed().map(|c| format!("`{}` is destroyed{}", c.address, why(c))));
        cautions.extend(summary.replaced().map(|c| format!("`{}` is replaced{}", c.address, why(c))));
        cautions.extend(summary.concerns(taken.iter().map(String::as_str)).iter().map(ToString::to_string));
        let mut lines: Vec<String> = summary.changes.iter().map(line).collect();
        lines.extend(summary.outputs.iter().map(|output| {
            let sign = match output.action {
                OutputAction::Create => "+",
                OutputAction::Update => "~",
                OutputAction::Destroy => "-",
            };
            format!("{sign} output {}", output.name)
        }));
        lines.extend(summary.actions.iter().map(|address| format!("> {address}: is run")));
        lines.extend(summary.deferred.iter().map(|(address, why)| format!("? {address}: put off: {why}")));
        lines.extend(summary.drift.iter().map(|address| format!("! {address}: changed outside of Terraform")));
        Self { headline: headline(summary), cautions, lines, summary: summary.clone() }
    }
}

fn headline(summary: &TerraformSummary) -> String {
    let Counts { create, update, replace, destroy, import, forget, moved } = summary.counts;
    let counts = [
        (destroy, "to destroy"),
        (replace, "to replace"),
        (forget, "to forget"),
        (update, "to update"),
        (create, "to create"),
        (import, "to import"),
        (moved, "moved"),
    ];
    let parts: Vec<_> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let mut parts = parts;
    let beside = [
        (summary.actions.len(), "action is run", "actions are run"),
        (summary.deferred.len(), "change is put off", "changes are put off"),
    ];
    parts.extend(beside.into_iter().filter(|(count, ..)| *count > 0).map(|(count, one, many)| match count {
        1 => format!("1 {one}"),
        many_of => format!("{many_of} {many}"),
    }));
    if parts.is_empty() && !summary.outputs.is_empty() {
        parts.push(format!("{} outputs change", summary.outputs.len()));
    }
    let found = match parts.is_empty() {
        true if summary.is_errored => "nothing".to_owned(),
        true => "nothing to apply".to_owned(),
        false => parts.join(", "),
    };
    match (summary.is_errored, summary.is_incomplete) {
        (true, _) => format!("planning failed; until then: {found}"),
        (false, true) => format!("{found}; more plans are needed after this one"),
        (false, false) => found,
    }
}

fn line(change: &ResourceChange) -> String {
    let sign = match change.action {
        Action::Destroy => "-",
        Action::Replace => "-/+",
        Action::Forget => "x",
        Action::Update => "~",
        Action::Create => "+",
        Action::Keep => " ",
    };
    let attributes = match change.attributes.is_empty() {
        true => String::new(),
        false => format!(": {}", change.attributes.join(", ")),
    };
    let moved = change.moved_from.as_ref().map(|from| format!(" (was {from})")).unwrap_or_default();
    format!("{sign} {}{moved}{attributes}", change.address)
}

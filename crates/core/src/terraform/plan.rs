//! `terraform show -json PLANFILE`, format 1.x: unknown members are ignored, as the format asks for.

use super::{Action, Counts, OutputAction, OutputChange, ResourceChange, TerraformSummary};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Plan {
    terraform_version: Option<String>,
    #[serde(default)]
    resource_changes: Vec<Resource>,
    #[serde(default)]
    resource_drift: Vec<Resource>,
    #[serde(default)]
    deferred_changes: Vec<Deferred>,
    /// Since Terraform 1.14: what is run beside the changes.
    #[serde(default)]
    action_invocations: Vec<Invocation>,
    #[serde(default)]
    deferred_action_invocations: Vec<Value>,
    #[serde(default)]
    output_changes: BTreeMap<String, Change>,
    #[serde(default)]
    planned_values: Value,
    #[serde(default)]
    prior_state: Value,
    #[serde(default)]
    errored: bool,
    /// Since format 1.2.
    complete: Option<bool>,
}

#[derive(Deserialize)]
struct Resource {
    address: String,
    previous_address: Option<String>,
    #[serde(default)]
    mode: String,
    deposed: Option<String>,
    action_reason: Option<String>,
    change: Change,
}

#[derive(Deserialize)]
struct Deferred {
    reason: Option<String>,
    resource_change: Resource,
}

#[derive(Deserialize)]
struct Invocation {
    address: String,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    before: Value,
    #[serde(default)]
    after: Value,
    #[serde(default)]
    after_unknown: Value,
    #[serde(default)]
    before_sensitive: Value,
    #[serde(default)]
    after_sensitive: Value,
    #[serde(default)]
    replace_paths: Vec<Vec<Value>>,
    importing: Option<Value>,
}

pub(super) fn summarize(bytes: &[u8]) -> Result<TerraformSummary, String> {
    let document = document(bytes)?;
    let plan: Plan = serde_json::from_value(document).map_err(|e| format!("not a plan of Terraform: {e}"))?;
    // Ephemeral resources are opened for a plan and closed after it: nothing of them stays.
    let managed = |resource: &&Resource| !["data", "ephemeral"].contains(&resource.mode.as_str());
    let mut changes: Vec<_> = plan.resource_changes.iter().filter(managed).filter_map(Resource::summary).collect();
    changes.sort_by(|a, b| (a.action, &a.address).cmp(&(b.action, &b.address)));
    let is_gone = |name: &String| {
        plan.output_changes.get(name).is_some_and(|change| change.output_action() == Some(OutputAction::Destroy))
    };
    // A plan of a part does not list the outputs that it leaves alone.
    let outputs = [plan.planned_values.get("outputs"), plan.prior_state.pointer("/values/outputs")];
    let mut output_names: Vec<String> = outputs
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flat_map(|outputs| outputs.keys().cloned())
        .collect();
    output_names.retain(|name| !is_gone(name));
    output_names.sort();
    output_names.dedup();
    let drifted = plan.resource_drift.iter().filter(managed).filter(|r| r.change.action().is_some());
    Ok(TerraformSummary {
        counts: count(&changes),
        changes,
        outputs: plan.output_changes.iter().filter_map(output).collect(),
        output_names,
        drift: drifted.map(|resource| resource.address.clone()).collect(),
        deferred: plan.deferred_changes.iter().map(Deferred::summary).collect(),
        actions: plan.action_invocations.into_iter().map(|invocation| invocation.address).collect(),
        is_errored: plan.errored,
        is_incomplete: plan.complete == Some(false) || !plan.deferred_action_invocations.is_empty(),
        terraform_version: plan.terraform_version,
    })
}

/// The things that people hand over instead are named.
fn document(bytes: &[u8]) -> Result<Value, String> {
    const HOW: &str = "write it with `terraform show -json PLANFILE`";
    if bytes.starts_with(b"PK") {
        return Err(format!("it is the binary plan: {HOW}"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| format!("it is not UTF-8 text: {HOW}"))?;
    if text.trim_start().starts_with("[command]") {
        return Err(
            "its first line is not Terraform's: set `terraform_wrapper: false` in hashicorp/setup-terraform".to_owned()
        );
    }
    let is_stream = || {
        let first = serde_json::from_str::<Value>(text.lines().next().unwrap_or_default()).ok();
        first.is_some_and(|line| line.get("@level").is_some())
    };
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(_) if is_stream() => return Err(format!("it is the log of `terraform plan -json`: {HOW}")),
        Err(e) => return Err(format!("not JSON: {e}").replace(" at line ", ", line ")),
    };
    let version = document.get("format_version").and_then(Value::as_str);
    let Some(version) = version else {
        return Err(if document.get("@level").is_some() {
            format!("it is the log of `terraform plan -json`: {HOW}")
        } else {
            format!("not a plan of Terraform: it has no `format_version`: {HOW}")
        });
    };
    if version.split('.').next() != Some("1") {
        return Err(format!("plans of format {version} are not known: expected 1.x"));
    }
    if document.get("values").is_some() && document.get("planned_values").is_none() {
        return Err(format!("it shows a state, not a plan: {HOW}"));
    }
    if !["planned_values", "resource_changes", "output_changes", "errored"].iter().any(|m| document.get(m).is_some()) {
        return Err(format!("not a plan of Terraform: it has neither `resource_changes` nor `planned_values`: {HOW}"));
    }
    Ok(document)
}

fn count(changes: &[ResourceChange]) -> Counts {
    let of = |action| changes.iter().filter(|change| change.action == action).count();
    Counts {
        create: of(Action::Create),
        update: of(Action::Update),
        replace: of(Action::Replace),
        destroy: of(Action::Destroy),
        forget: of(Action::Forget),
        import: changes.iter().filter(|change| change.is_imported).count(),
        moved: changes.iter().filter(|change| change.moved_from.is_some()).count(),
    }
}

fn output((name, change): (&String, &Change)) -> Option<OutputChange> {
    Some(OutputChange {
        name: name.clone(),
        action: change.output_action()?,
        is_known: !holds_true(&change.after_unknown),
        is_sensitive: may_hide(&change.after_sensitive) || may_hide(&change.before_sensitive),
    })
}

impl Resource {
    /// `None` when nothing happens to it.
    fn summary(&self) -> Option<ResourceChange> {
        let change = &self.change;
        let moved_from = self.previous_address.clone().filter(|previous| *previous != self.address);
        let is_imported = change.importing.as_ref().is_some_and(|importing| !importing.is_null());
        let action = match change.action() {
            Some(action) => action,
            None if moved_from.is_some() || is_imported => Action::Keep,
            None => return None,
        };
        let attributes = match action {
            Action::Replace if !change.replace_paths.is_empty() => change.forcing(),
            Action::Update | Action::Replace => change.differing(),
            _ => vec![],
        };
        Some(ResourceChange {
            address: self.address.clone(),
            action,
            moved_from,
            is_imported,
            is_deposed: self.deposed.is_some(),
            why: self.action_reason.as_deref().map(why),
            attributes,
        })
    }
}

impl Deferred {
    fn summary(&self) -> (String, String) {
        (self.resource_change.address.clone(), self.reason.as_deref().unwrap_or("unknown").replace('_', " "))
    }
}

impl Change {
    /// A new action of a later format is taken for an update: never for nothing.
    fn action(&self) -> Option<Action> {
        let actions: Vec<&str> = self.actions.iter().map(String::as_str).collect();
        match actions.as_slice() {
            [] | ["no-op" | "read" | "open" | "renew" | "close"] => None,
            ["create"] => Some(Action::Create),
            ["delete"] => Some(Action::Destroy),
            ["delete", "create"] | ["create", "delete"] => Some(Action::Replace),
            // The old object stays without an owner, a new one is made.
            ["create", "forget"] | ["forget", "create"] => Some(Action::Replace),
            ["forget"] => Some(Action::Forget),
            _ => Some(Action::Update),
        }
    }

    fn output_action(&self) -> Option<OutputAction> {
        Some(match self.action()? {
            Action::Create => OutputAction::Create,
            Action::Destroy | Action::Forget => OutputAction::Destroy,
            _ => OutputAction::Update,
        })
    }

    fn forcing(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.replace_paths.iter().map(|path| self.shown(path)).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// The path up to where it enters a sensitive value: the keys of one may be secrets too.
    fn shown(&self, path: &[Value]) -> String {
        let mut marks = [Some(&self.before_sensitive), Some(&self.after_sensitive)];
        let mut shown = String::new();
        for step in path {
            if marks.iter().flatten().any(|mark| !is_open(mark)) {
                break;
            }
            match step {
                Value::String(name) if shown.is_empty() => shown.push_str(name),
                Value::String(name) => shown.push_str(&format!(".{name}")),
                other => shown.push_str(&format!("[{other}]")),
            }
            for mark in &mut marks {
                *mark = mark.and_then(|mark| match step {
                    Value::String(name) => mark.get(name.as_str()),
                    other => mark.get(usize::try_from(other.as_u64()?).ok()?),
                });
            }
        }
        shown
    }

    /// The names of the attributes whose value, or whether it is known, differs.
    fn differing(&self) -> Vec<String> {
        let none = Map::new();
        let members = |value: &'_ Value| value.as_object().unwrap_or(&none).clone();
        let (before, after, unknown) = (members(&self.before), members(&self.after), members(&self.after_unknown));
        let mut names: Vec<String> = before.keys().chain(after.keys()).chain(unknown.keys()).cloned().collect();
        names.sort();
        names.dedup();
        let at = |members: &Map<String, Value>, name: &str| members.get(name).cloned().unwrap_or(Value::Null);
        names.retain(|name| at(&before, name) != at(&after, name) || holds_true(&at(&unknown, name)));
        names
    }
}

/// Marks of unknown or sensitive parts: `true`, or `true` somewhere below.
fn holds_true(mark: &Value) -> bool {
    match mark {
        Value::Bool(is_marked) => *is_marked,
        Value::Array(items) => items.iter().any(holds_true),
        Value::Object(members) => members.values().any(holds_true),
        _ => false,
    }
}

/// A mark of sensitive parts: what is neither `false` nor a list or map of marks is taken for `true`.
fn may_hide(mark: &Value) -> bool {
    match mark {
        Value::Array(items) => items.iter().any(may_hide),
        Value::Object(members) => members.values().any(may_hide),
        mark => !is_open(mark),
    }
}

/// The mark says that nothing is hidden at this very place.
fn is_open(mark: &Value) -> bool {
    matches!(mark, Value::Null | Value::Bool(false) | Value::Array(_) | Value::Object(_))
}

/// `action_reason` in words; one of a later version as it is.
fn why(reason: &str) -> String {
    match reason {
        "replace_because_tainted" => "it is tainted",
        "replace_because_cannot_update" => "it cannot be updated in place",
        "replace_by_request" => "asked for with -replace",
        "replace_by_triggers" => "asked for by replace_triggered_by",
        "delete_because_no_resource_config" => "it is not in the configuration",
        "delete_because_no_module" => "its module is not in the configuration",
        "delete_because_wrong_repetition" => "its count or for_each was added or removed",
        "delete_because_count_index" => "its index is out of range of count",
        "delete_because_each_key" => "its key is not in for_each",
        "delete_because_no_move_target" => "it was moved to an address that is not in the configuration",
        other => return other.replace('_', " "),
    }
    .to_owned()
}

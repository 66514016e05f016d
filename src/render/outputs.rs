//! The outputs of a run: the Action's, and the one object of `--json`. Set on failure too.

use fargate_deploy_core::outcome::{CommandState, Failure, Outcome, ServiceState, Success};
use fargate_deploy_core::plan::document::Published;
use serde_json::{Value, json};

/// The Action's outputs, in the order of `action.yml`. A value that is not known is empty.
pub fn outputs(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let Outcome { result, record } = outcome;
    let service = record.services.first();
    let image = record.images.first();
    let command = record.commands.last();
    let is_rolled_back = record.services.iter().any(|s| s.state == ServiceState::RolledBack);
    let exit_code = command.and_then(|c| match c.state {
        CommandState::Succeeded => Some(0),
        CommandState::Failed { exit_code } | CommandState::Killed { exit_code } => exit_code,
        _ => None,
    });
    let text = |value: Option<String>| value.unwrap_or_default();
    vec![
        ("outcome", word(result).to_owned()),
        ("failure-reason", result.as_ref().err().map(|f| f.reason.word()).unwrap_or_default().to_owned()),
        ("release", text(record.release.map(|n| format!("r{n}")))),
        ("image", text(image.map(|i| i.image.to_string()))),
        ("digest", text(image.map(|i| i.digest.to_string()))),
        ("task-definition-arn", text(service.and_then(|s| s.target.as_ref()).map(ToString::to_string))),
        ("previous-task-definition-arn", text(service.map(|s| s.previous.to_string()))),
        ("migration-task-arn", text(command.and_then(|c| c.task.as_ref()).map(ToString::to_string))),
        ("migration-exit-code", text(exit_code.map(|c| c.to_string()))),
        ("rolled-back", is_rolled_back.to_string()),
        ("url", text(service.and_then(|s| s.url.clone()))),
        ("plan-changes", text(record.planned_changes.map(|n| n.to_string()))),
        ("task-arn", text(record.one_off.as_ref().and_then(|one_off| one_off.task.as_ref()).map(ToString::to_string))),
        ("exit-code", outcome.exit_code().to_string()),
    ]
}

/// One final object with everything: the outputs, and per image, command and service what became of it.
pub fn json(outcome: &Outcome) -> Value {
    let Outcome { result, record } = outcome;
    let mut object: serde_json::Map<String, Value> =
        outputs(outcome).into_iter().map(|(name, value)| (name.to_owned(), typed(name, value))).collect();
    if let Err(failure) = result {
        object.insert(
            "failure".to_owned(),
            json!({
                "reason": failure.reason, "what": failure.what, "evidence": failure.evidence,
                "log": failure.log, "next": failure.next, "place": failure.place, "cause": failure.cause,
            }),
        );
    }
    if let Some(plan) = &record.plan {
        object.insert("plan".to_owned(), json!(Published::plan(plan)));
    }
    if let Some(plan) = &record.offline_plan {
        object.insert("plan".to_owned(), json!(Published::offline(plan)));
    }
    if let Some(back) = &record.went_back {
        let stays = back.stays_applied.iter().map(|(release, command, is_certain)| {
            json!({"release": format!("r{release}"), "command": command, "is-certain": is_certain})
        });
        let name = |number: u64| format!("r{number}");
        object.insert(
            "rollback".to_owned(),
            json!({
                "to": name(back.to), "from": back.from.map(name), "stays-applied": stays.collect::<Vec<_>>(),
                "is-held": back.is_held, "undo": back.undo(),
            }),
        );
    }
    object.insert("state".to_owned(), json!(record.state()));
    object.insert("images".to_owned(), json!(record.images));
    let commands =
        record.commands.iter().map(|c| json!({"name": c.name, "task": c.task, "state": command_state(&c.state)}));
    object.insert("release-commands".to_owned(), commands.collect());
    let services = record.services.iter().map(|s| {
        json!({
            "key": s.key, "cluster": s.service.cluster, "service": s.service.name, "previous": s.previous,
            "target": s.target, "state": service_state(s.state),
        })
    });
    object.insert("services".to_owned(), services.collect());
    Value::Object(object)
}

fn word(result: &Result<Success, Failure>) -> &'static str {
    match result {
        Ok(success) => success.word(),
        Err(_) => "failed",
    }
}

fn typed(name: &str, value: String) -> Value {
    match name {
        "rolled-back" => json!(value == "true"),
        "exit-code" | "migration-exit-code" | "plan-changes" => value.parse::<i64>().map_or(Value::Null, Value::from),
        _ if value.is_empty() => Value::Null,
        _ => json!(value),
    }
}

fn command_state(state: &CommandState) -> &'static str {
    match state {
        CommandState::Starting | CommandState::Unknown => "unknown",
        CommandState::Running => "running",
        CommandState::Succeeded => "succeeded",
        CommandState::Failed { .. } | CommandState::Killed { .. } => "failed",
        CommandState::NeverStarted => "never-started",
    }
}

pub fn service_state(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Untouched => "untouched",
        ServiceState::Updating | ServiceState::Unknown => "unknown",
        ServiceState::RollingOut | ServiceState::ShiftingTraffic | ServiceState::Baking => "rolling-out",
        ServiceState::Serving | ServiceState::Short { .. } => "serving",
        ServiceState::RollingBack => "rolling-back",
        ServiceState::RolledBack => "rolled-back",
        ServiceState::Superseded => "superseded",
        ServiceState::Gone => "deleted",
        ServiceState::Unsteady => "unsteady",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fargate_deploy_core::image::Digest;
    use fargate_deploy_core::names::PinnedImage;
    use fargate_deploy_core::outcome::{ImageRecord, Reason, Record};

    #[test]
    fn outputs_are_set_on_failure_too() {
        let result = Err(Failure::new(Reason::Locked, "somebody else"));
        let outputs = outputs(&Outcome { result, record: Record { release: Some(7), ..Record::default() } });
        assert!(outputs.contains(&("outcome", "failed".to_owned())));
        assert!(outputs.contains(&("failure-reason", "locked".to_owned())));
        assert!(outputs.contains(&("release", "r7".to_owned())));
        assert!(outputs.contains(&("rolled-back", "false".to_owned())));
    }

    #[test]
    fn the_json_object_has_every_output_and_typed_values() {
        let value = json(&Outcome { result: Ok(Success::Deployed), record: Record::default() });
        assert_eq!(value["outcome"], "deployed");
        assert_eq!(value["exit-code"], 0);
        assert_eq!(value["rolled-back"], false);
        assert_eq!(value["digest"], Value::Null);
    }

    #[test]
    fn members_are_written_alike_wherever_they_are() {
        let digest = Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap();
        let image = ImageRecord { key: "app".into(), image: PinnedImage::of("shop", &digest), digest, is_new: true };
        let record = Record { images: vec![image], ..Record::default() };
        let value = json(&Outcome { result: Ok(Success::Deployed), record });
        assert_eq!(value["images"][0]["is-new"], true);
    }
}

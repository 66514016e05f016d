//! Terraform's plans and outputs as Terraform itself writes them: `tests/fast/spec/terraform/make` made the files with 1.11.

use fargate_deploy_core::plan::document::Infrastructure;
use fargate_deploy_core::terraform::{Outputs, TerraformSummary, Trouble};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::path::Path;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fast/spec/terraform").join(name)).unwrap()
}

fn summary(name: &str) -> TerraformSummary {
    TerraformSummary::parse(&file(name)).unwrap()
}

/// As text shows it, what needs a look first.
fn shown(plan: &TerraformSummary, taken: &[&str]) -> String {
    let taken: Vec<String> = taken.iter().map(|name| (*name).to_owned()).collect();
    let Infrastructure { headline, cautions, lines, .. } = Infrastructure::of(plan, &taken);
    let cautions = cautions.into_iter().map(|caution| format!("CAUTION {caution}"));
    std::iter::once(headline).chain(cautions).chain(lines).collect::<Vec<_>>().join("\n")
}

#[test]
fn destroys_and_replacements_come_first_with_their_reasons() {
    assert_snapshot!(shown(&summary("changed.json"), &[]));
}

#[test]
fn what_the_config_takes_is_called_out() {
    let taken = ["vpc", "queue_url", "cluster_size", "cluster", "cache", "clsuter"];
    assert_snapshot!(shown(&summary("changed.json"), &taken));
}

#[test]
fn no_value_is_kept_of_a_plan() {
    for name in ["first.json", "changed.json", "destroyed.json", "unchanged.json"] {
        let plan = summary(name);
        let told = format!("{plan:?}{}{}", json!(plan), shown(&plan, &[]));
        for value in ["hunter", "subnet-", "shop", "jobs", "made-by-hand"] {
            assert!(!told.contains(value), "{name} tells {value}: {told}");
        }
    }
}

#[test]
fn the_first_plan_creates_everything() {
    let plan = summary("first.json");
    assert_eq!(shown(&plan, &[]).lines().next(), Some("7 to create"));
    assert_eq!(plan.concerns(["cluster"])[0].trouble, Trouble::NotYet);
}

#[test]
fn an_unchanged_plan_is_empty_and_concerns_nobody() {
    let plan = summary("unchanged.json");
    assert!(plan.is_empty());
    assert_eq!(shown(&plan, &[]), "nothing to apply");
    assert_eq!(plan.concerns(["cluster", "vpc"]), []);
    assert_eq!(plan.concerns(["nope"])[0].trouble, Trouble::Missing);
}

#[test]
fn destroying_everything_takes_the_outputs_away() {
    let plan = summary("destroyed.json");
    assert_eq!(plan.counts.destroy, 7);
    assert_eq!(plan.concerns(["vpc"])[0].trouble, Trouble::Destroyed);
}

#[test]
fn a_tainted_resource_is_replaced_and_its_output_known_only_later() {
    let plan = summary("tainted.json");
    let replaced: Vec<_> = plan.replaced().map(|c| (c.address.as_str(), c.why.as_deref())).collect();
    assert_eq!(replaced, [("terraform_data.queue", Some("it is tainted"))]);
    assert_eq!(plan.concerns(["queue_url"])[0].trouble, Trouble::ChangesToUnknown);
}

#[test]
fn a_plan_of_a_part_and_one_that_failed_say_so_and_call_no_output_missing() {
    let (targeted, errored) = (summary("targeted.json"), summary("errored.json"));
    assert!(targeted.is_incomplete && !targeted.is_errored);
    assert!(errored.is_errored);
    assert_eq!(targeted.concerns(["vpc"]), []);
    assert_eq!(errored.concerns(["vpc"]), []);
    assert!(shown(&targeted, &[]).contains("more plans are needed after this one"));
    assert!(shown(&errored, &[]).contains("ended with an error"));
}

#[test]
fn a_sensitive_output_that_changes_is_called_out() {
    let plan = summary("changed.json");
    assert_eq!(plan.concerns(["database_password"])[0].trouble, Trouble::Sensitive);
}

/// What the built-in provider cannot be brought to do, after the documented format.
fn by_hand(resource: Value) -> TerraformSummary {
    let plan = json!({"format_version": "1.2", "planned_values": {}, "resource_changes": [resource]});
    TerraformSummary::parse(plan.to_string().as_bytes()).unwrap()
}

#[test]
fn a_replacing_path_is_told_up_to_where_it_becomes_sensitive() {
    let plan = by_hand(json!({
        "address": "aws_x.a", "mode": "managed", "action_reason": "replace_because_cannot_update",
        "change": {
            "actions": ["create", "delete"], "before": {}, "after": {},
            "before_sensitive": {"tags": true}, "after_sensitive": {"network": [{"keys": true}]},
            "replace_paths": [["tags", "hush"], ["network", 0, "subnet_id"], ["network", 0, "keys", "hush"]],
        },
    }));
    assert_eq!(plan.changes[0].attributes, ["network[0].keys", "network[0].subnet_id", "tags"]);
}

#[test]
fn drift_deferred_changes_and_actions_of_a_later_format_are_told() {
    let plan = json!({
        "format_version": "1.9", "planned_values": {}, "something_new": {},
        "resource_changes": [
            {"address": "a.b", "mode": "managed", "change": {"actions": ["transmogrify"]}},
            {"address": "data.a.c", "mode": "data", "change": {"actions": ["read"]}},
            {"address": "a.old", "mode": "managed", "deposed": "1a2b", "change": {"actions": ["delete"]}},
        ],
        "resource_drift": [{"address": "a.drifted", "mode": "managed", "change": {"actions": ["update"]}}],
        "deferred_changes": [{"reason": "resource_config_unknown",
            "resource_change": {"address": "a.later", "mode": "managed", "change": {"actions": ["create"]}}}],
    });
    let plan = TerraformSummary::parse(plan.to_string().as_bytes()).unwrap();
    assert_snapshot!(shown(&plan, &[]));
}

fn with(members: Value) -> TerraformSummary {
    let mut plan = json!({"format_version": "1.2", "planned_values": {}, "resource_changes": []});
    plan.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    TerraformSummary::parse(plan.to_string().as_bytes()).unwrap()
}

#[test]
fn no_headline_of_a_good_plan_is_given_to_one_that_is_not() {
    let deferred = json!([{"reason": "x", "resource_change": {"address": "a.b", "change": {"actions": ["create"]}}}]);
    let cases = [
        (json!({}), "nothing to apply"),
        (json!({"action_invocations": [{"address": "action.aws_lambda_invoke.warm"}]}), "1 action is run"),
        (json!({"deferred_changes": deferred}), "1 change is put off"),
        (json!({"complete": false}), "nothing to apply; more plans are needed after this one"),
        (json!({"errored": true}), "planning failed; until then: nothing"),
    ];
    for (members, expected) in cases {
        let plan = with(members);
        assert_eq!(shown(&plan, &[]).lines().next(), Some(expected));
        assert_eq!(plan.is_empty() && !plan.is_errored && !plan.is_incomplete, expected == "nothing to apply");
    }
}

#[test]
fn an_ephemeral_resource_that_a_plan_opens_is_no_change() {
    let open = json!({"address": "ephemeral.a.b", "mode": "managed", "change": {"actions": ["open"]}});
    let of_mode = json!({"address": "ephemeral.a.c", "mode": "ephemeral", "change": {"actions": ["create"]}});
    assert!(with(json!({"resource_changes": [open, of_mode]})).is_empty());
}

#[test]
fn what_is_no_clear_no_is_sensitive() {
    for mark in [json!(true), json!("false"), json!(1), json!({"a": "x"})] {
        let change = json!({"actions": ["update"], "before": "a", "after": "b", "after_sensitive": mark});
        assert!(with(json!({"output_changes": {"url": change}})).outputs[0].is_sensitive, "{mark}");
    }
    for mark in [json!("true"), json!(1), json!({})] {
        let outputs = json!({"url": {"sensitive": mark, "type": "string", "value": "hunter2"}});
        let outputs = Outputs::parse(outputs.to_string().as_bytes()).unwrap();
        assert!(outputs.get("url").unwrap_err().to_string().contains("is sensitive"), "{mark}");
    }
}

#[test]
fn what_is_no_plan_is_one_clear_error() {
    let cases: [(&[u8], &str); 9] = [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"PK\x03\x04binary", "it is the binary plan: write it with `terraform show -json PLANFILE`"),
        (b"[]", "no `format_version`"),
        (b"{\"format_version\": \"2.0\"}", "plans of format 2.0 are not known"),
        (b"{\"format_version\": \"1.0\", \"values\": {}}", "it shows a state, not a plan"),
        (b"{\"format_version\": \"1.0\"}", "not a plan of Terraform"),
        (b"{\"@level\": \"info\"}\n{\"@level\": \"info\"}", "it is the log of `terraform plan -json`"),
        (b"[command]/opt/terraform show -json\n{}", "set `terraform_wrapper: false`"),
    ];
    for (bytes, expected) in cases {
        let error = TerraformSummary::parse(bytes).unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{expected}: {error}");
    }
    assert!(TerraformSummary::parse(&file("state.json")).unwrap_err().contains("no `format_version`"));
}

#[test]
fn outputs_are_read_from_terraforms_own_files() {
    for name in ["outputs.json", "state.json"] {
        let outputs = Outputs::parse(&file(name)).unwrap();
        assert_eq!(outputs.get("cluster").as_deref(), Ok("shop"), "{name}");
        assert_eq!(outputs.get("vpc.subnet_ids.1").as_deref(), Ok("subnet-2"), "{name}");
        assert!(outputs.get("database_password").unwrap_err().to_string().contains("is sensitive"), "{name}");
    }
}

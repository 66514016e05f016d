//! A role's policies against what a config needs: what is missing, and what nobody asks for.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html>

use crate::iam_policy::Statement;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// What was found, each in the order of the policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    pub missing: Vec<Missing>,
    pub unneeded: Vec<Unneeded>,
}

/// Something that the config needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub action: String,
    pub resources: Vec<String>,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// No policy allows it.
    NotAllowed,
    /// A policy denies it, and no `Allow` outweighs that.
    Denied,
    /// It is allowed under a condition that the config's own policy does not have.
    OnlyUnderCondition,
}

/// Something that is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unneeded {
    pub policy: String,
    /// As the policy has it: `ecs:*`.
    pub action: String,
    pub resources: Vec<String>,
    /// What of it the config needs; empty: nothing.
    pub needed: Vec<String>,
}

/// One statement of a live policy.
struct Live<'a> {
    policy: &'a str,
    is_deny: bool,
    actions: Vec<String>,
    is_all_but_actions: bool,
    resources: Vec<String>,
    is_all_but_resources: bool,
    condition: Option<&'a Value>,
}

/// `live`: the documents of a role's policies, with their names.
#[must_use]
pub fn compare(needed: &[Statement], live: &[(String, Value)]) -> Comparison {
    let live: Vec<Live<'_>> = live.iter().flat_map(|(name, document)| read(name, document)).collect();
    Comparison { missing: missing(needed, &live), unneeded: unneeded(needed, &live) }
}

fn read<'a>(policy: &'a str, document: &'a Value) -> Vec<Live<'a>> {
    let statements = match document.get("Statement") {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
        None => vec![],
    };
    let texts = |statement: &Value, member: &str| -> Option<Vec<String>> {
        match statement.get(member)? {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(list) => Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            _ => None,
        }
    };
    let of = |statement: &'a Value| Live {
        policy,
        is_deny: statement.get("Effect").and_then(Value::as_str) == Some("Deny"),
        is_all_but_actions: statement.get("NotAction").is_some(),
        actions: texts(statement, "Action").or_else(|| texts(statement, "NotAction")).unwrap_or_default(),
        is_all_but_resources: statement.get("NotResource").is_some(),
        resources: texts(statement, "Resource").or_else(|| texts(statement, "NotResource")).unwrap_or_default(),
        condition: statement.get("Condition"),
    };
    statements.into_iter().map(of).collect()
}

impl Live<'_> {
    fn is_about(&self, action: &str, resource: &str) -> bool {
        let has_action =
            self.actions.iter().any(|pattern| is_like(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase()));
        let has_resource = self.resources.iter().any(|pattern| is_like(pattern, resource));
        has_action != self.is_all_but_actions && has_resource != self.is_all_but_resources
    }
}

fn missing(needed: &[Statement], live: &[Live<'_>]) -> Vec<Missing> {
    let mut found: Vec<Missing> = vec![];
    let needs = needed.iter().flat_map(|statement| {
        let each = statement.actions.iter().flat_map(|action| statement.resources.iter().map(move |of| (*action, of)));
        each.map(move |(action, resource)| (action, resource, statement.condition.as_ref()))
    });
    for (action, resource, condition) in needs {
        let about = || live.iter().filter(|statement| statement.is_about(action, resource));
        let allows = || about().filter(|statement| !statement.is_deny);
        let why = match () {
            () if about().any(|statement| statement.is_deny && statement.condition.is_none()) => Why::Denied,
            () if allows().any(|s| s.condition.is_none() || s.condition == condition) => continue,
            () if allows().next().is_some() => Why::OnlyUnderCondition,
            () => Why::NotAllowed,
        };
        match found.iter_mut().find(|known| known.action == action && known.why == why) {
            Some(known) => known.resources.push(resource.clone()),
            None => found.push(Missing { action: action.to_owned(), resources: vec![resource.clone()], why }),
        }
    }
    found
}

fn unneeded(needed: &[Statement], live: &[Live<'_>]) -> Vec<Unneeded> {
    let mut found = vec![];
    for statement in live.iter().filter(|statement| !statement.is_deny) {
        if statement.is_all_but_actions || statement.is_all_but_resources {
            let action = format!("everything but {}", statement.actions.join(", "));
            let (policy, resources) = (statement.policy.to_owned(), statement.resources.clone());
            found.push(Unneeded { policy, action, resources, needed: vec![] });
            continue;
        }
        for pattern in &statement.actions {
            let is_meant = |action: &str| is_like(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase());
            let mut actions = BTreeSet::new();
            let mut wanted = BTreeSet::new();
            for need in needed {
                for action in need.actions.iter().filter(|action| is_meant(action)) {
                    let covered = need.resources.iter().filter(|of| statement.resources.iter().any(|p| is_like(p, of)));
                    let covered: Vec<_> = covered.cloned().collect();
                    if !covered.is_empty() {
                        actions.insert((*action).to_owned());
                        wanted.extend(covered);
                    }
                }
            }
            let is_wider =
                statement.resources.iter().any(|resource| resource.contains('*') && !wanted.contains(resource));
            let needs = match () {
                () if actions.is_empty() => vec![],
                () if pattern.contains(['*', '?']) => actions.into_iter().collect(),
                () if is_wider => wanted.into_iter().collect(),
                () => continue,
            };
            found.push(Unneeded {
                policy: statement.policy.to_owned(),
                action: pattern.clone(),
                resources: statement.resources.clone(),
                needed: needs,
            });
        }
    }
    found
}

/// `*` stands for any text, `?` for one character.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((before, taken)) => {
                    star = Some((before, taken + 1));
                    at = before + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam_policy::document;
    use serde_json::json;

    const WEB: &str = "arn:aws:ecs:eu-central-1:111122223333:service/shop/web";
    const ROLE: &str = "arn:aws:iam::111122223333:role/app";

    fn needed() -> Vec<Statement> {
        let statement = |sid, actions: &[&'static str], resource: &str, condition| Statement {
            sid,
            actions: actions.to_vec(),
            resources: BTreeSet::from([resource.to_owned()]),
            condition,
        };
        let to_tasks = json!({"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}});
        vec![
            statement("RollOut", &["ecs:UpdateService", "ecs:DescribeServices"], WEB, None),
            statement("WithoutResource", &["ecr:GetAuthorizationToken"], "*", None),
            statement("HandRolesToTasks", &["iam:PassRole"], ROLE, Some(to_tasks)),
        ]
    }

    fn against(live: Value) -> Comparison {
        compare(&needed(), &[("deploy".to_owned(), live)])
    }

    fn own() -> Value {
        document(&needed())
    }

    fn plus(statement: Value) -> Value {
        let mut document = own();
        document["Statement"].as_array_mut().unwrap().push(statement);
        document
    }

    fn allow(action: &str, resource: &str) -> Value {
        json!({"Effect": "Allow", "Action": action, "Resource": resource})
    }

    #[test]
    fn the_policy_that_we_print_lacks_nothing_and_has_nothing_to_spare() {
        assert_eq!(against(own()), Comparison::default());
        let lower = own().to_string().replace("ecs:UpdateService", "ECS:updateservice");
        assert_eq!(against(serde_json::from_str(&lower).unwrap()), Comparison::default());
    }

    #[test]
    fn each_action_that_is_taken_away_is_missing_with_its_resource() {
        for statement in 0..3 {
            let mut live = own();
            let gone = live["Statement"][statement]["Action"].as_array_mut().unwrap().remove(0);
            let found = against(live);
            assert_eq!(found.missing.len(), 1, "{found:?}");
            assert_eq!(
                (&found.missing[0].action, found.missing[0].why),
                (&gone.as_str().unwrap().to_owned(), Why::NotAllowed)
            );
        }
        let other = own().to_string().replace("service/shop/web", "service/shop/api");
        let found = against(serde_json::from_str(&other).unwrap());
        assert_eq!(found.missing.iter().map(|m| m.resources.join("")).collect::<Vec<_>>(), [WEB, WEB]);
    }

    #[test]
    fn what_is_denied_or_allowed_under_another_condition_only_is_missing_as_such() {
        let mut denied = allow("ecs:*", "*");
        denied["Effect"] = json!("Deny");
        let found = against(plus(denied.clone()));
        assert!(found.missing.iter().all(|m| m.why == Why::Denied) && found.missing.len() == 2, "{found:?}");
        denied["Condition"] = json!({"Bool": {"aws:MultiFactorAuthPresent": "false"}});
        assert_eq!(against(plus(denied)).missing, []);
        let mut live = own();
        live["Statement"][2]["Condition"] = json!({"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}});
        let found = against(live);
        assert_eq!((found.missing[0].action.as_str(), found.missing[0].why), ("iam:PassRole", Why::OnlyUnderCondition));
    }

    #[test]
    fn a_star_is_named_with_what_of_it_is_needed() {
        let spare = |statement: Value| {
            let found = against(plus(statement));
            assert_eq!(found.missing, []);
            found.unneeded.into_iter().map(|one| (one.action, one.needed.join(" "))).collect::<Vec<_>>()
        };
        let told = |action: &str, needed: &str| vec![(action.to_owned(), needed.to_owned())];
        assert_eq!(spare(allow("s3:*", "*")), told("s3:*", ""));
        assert_eq!(spare(allow("s3:GetObject", "arn:aws:s3:::state/x")), told("s3:GetObject", ""));
        assert_eq!(spare(allow("ecs:*", WEB)), told("ecs:*", "ecs:DescribeServices ecs:UpdateService"));
        assert_eq!(spare(allow("ecs:UpdateService", "*")), told("ecs:UpdateService", WEB));
        assert_eq!(spare(allow("ecr:GetAuthorizationToken", "*")), vec![]);
        assert_eq!(spare(allow("*", "*")).len(), 1);
        let rest = json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"});
        assert_eq!(spare(rest), told("everything but iam:*", ""));
    }

    #[test]
    fn patterns_are_matched_as_iam_does() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("task/shop/*", "task/shop/*", true),
            ("", "a", false),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }
}

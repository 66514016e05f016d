//! What RegisterTaskDefinition, or the first start of a task, would refuse: found before anything changes.
//!
//! What AWS surely refuses is a problem; what it may refuse, or takes and nobody means, is a warning. The revision that a
//! service runs was taken by AWS: no table of ours knows better, and only what this program cannot deploy is said of it.

mod containers;
mod fargate;
mod references;
pub(crate) mod size;
#[cfg(test)]
mod table;
mod types;

use super::{TaskDefinition, placeholders, tags};
use crate::names::ContainerName;
use serde_json::{Map, Value};

/// What is wrong with a definition, each with its path and what to do. The same thing is said once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// AWS surely refuses it.
    pub problems: Vec<String>,
    /// It may be refused, or is taken and does not do what it says.
    pub warnings: Vec<String>,
}

/// A container that gets an image of the release: what the file says of its image does not count.
#[derive(Clone, Debug)]
pub struct Released {
    pub container: ContainerName,
    /// Pulled from ECR, by the execution role.
    pub is_from_ecr: bool,
}

/// AWS's limit for the whole definition, in bytes.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html>
const LARGEST: usize = 64 * 1024;
const MOST_CONTAINERS: usize = 10;

/// Everything that can be told of a file that is meant for Fargate.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>
#[must_use]
pub fn findings(definition: &TaskDefinition, released: &[Released]) -> Findings {
    let mut found = Findings::default();
    types::check(definition, &mut found);
    if definition.family().is_empty() {
        if !is_present(definition.body.get("family")) || text(&definition.body, "family").is_some() {
            found.problem("`family` is missing".to_owned());
        }
    } else if !is_family(definition.family()) {
        found.problem(format!(
            "`family` is `{}`: up to 255 letters, digits, `-` and `_` are allowed",
            definition.family()
        ));
    }
    size::check(definition, &mut found);
    found.problems.extend(of_running(definition));
    for member in ["taskRoleArn", "executionRoleArn"] {
        if let Some(role) = filled(&definition.body, member).filter(|role| !may_be_a_role(role)) {
            found.problem(format!(
                "`{member}` is `{role}`: no role, which is written `arn:aws:iam::111122223333:role/NAME`"
            ));
        }
    }
    fargate::check(definition, &mut found);
    containers::check(definition, released, &mut found);
    references::check(definition, &mut found);
    tags::check(definition, &mut found.problems, &mut found.warnings);
    let is_released = |name: &ContainerName| released.iter().any(|r| r.container == *name);
    found.warnings.extend(placeholders::found(definition, is_released));
    let bytes = Value::Object(definition.registrable().body).to_string().len();
    if bytes > LARGEST {
        found.warning(format!("it has {bytes} bytes: AWS takes 64 KiB"));
    }
    if definition.containers().count() > MOST_CONTAINERS {
        found.problem(format!(
            "`containerDefinitions` has {} containers: AWS takes {MOST_CONTAINERS} in a task",
            definition.containers().count()
        ));
    }
    found
}

/// The same beside what runs. What AWS took with the running revision it does not refuse now, whatever is known here: a
/// warning. What this program cannot deploy stays a problem.
#[must_use]
pub fn of_file(definition: &TaskDefinition, running: &TaskDefinition, released: &[Released]) -> Findings {
    let mut found = findings(definition, released);
    let (taken, ours) = (findings(running, released).problems, of_running(running));
    let (doubtful, problems): (Vec<_>, _) =
        found.problems.into_iter().partition(|problem| taken.contains(problem) && !ours.contains(problem));
    found.problems = problems;
    for doubt in doubtful {
        found.warning(format!("{doubt}; the running revision has it too"));
    }
    found
}

/// The problems alone, whatever images the containers get.
#[must_use]
pub fn problems(definition: &TaskDefinition) -> Vec<String> {
    let all = definition.container_names().into_iter();
    let all: Vec<_> = all.map(|name| Released { container: name.into(), is_from_ecr: false }).collect();
    findings(definition, &all).problems
}

/// What keeps this program from deploying a revision that AWS runs: it is none of Fargate's.
#[must_use]
pub fn of_running(definition: &TaskDefinition) -> Vec<String> {
    let mut found = vec![];
    match (definition.body.get("networkMode"), text(&definition.body, "networkMode")) {
        // Another spelling of it is told by its type.
        (_, Some(mode)) if mode.eq_ignore_ascii_case("awsvpc") => {}
        (_, Some(other)) => found.push(format!("`networkMode` is `{other}`: Fargate needs `awsvpc`")),
        (None | Some(Value::Null), _) => found.push("`networkMode` is missing: Fargate needs `awsvpc`".to_owned()),
        // Of another type, which is said elsewhere.
        _ => {}
    }
    if let Some(list) = definition.body.get("requiresCompatibilities").and_then(Value::as_array)
        && list.iter().any(|v| !v.is_null())
        && !list.iter().any(|v| v == "FARGATE")
    {
        found.push("`requiresCompatibilities` does not name `FARGATE`".to_owned());
    }
    found
}

impl Findings {
    fn problem(&mut self, text: String) {
        if !self.problems.contains(&text) {
            self.problems.push(text);
        }
    }

    fn warning(&mut self, text: String) {
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }
}

/// An ARN of a role or the name of one. What a placeholder stands in is told by that.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
fn may_be_a_role(text: &str) -> bool {
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&b));
    let is_role = match text.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, "iam", "", account, resource] => {
            let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
            let name = resource.strip_prefix("role/").unwrap_or_default();
            partition.starts_with("aws") && is_account && is_name(name) && !name.is_empty() && !name.ends_with('/')
        }
        [name] => is_name(name),
        _ => false,
    };
    is_role || !placeholders::placeholders(text, false).is_empty()
}

/// Null is absent, everywhere.
fn is_present(value: Option<&Value>) -> bool {
    value.is_some_and(|value| !value.is_null())
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

fn filled<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    text(members, name).filter(|text| !text.is_empty())
}

fn is_true(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name) == Some(&Value::Bool(true))
}

/// The objects of a list, each with its path.
fn items<'a>(members: &'a Map<String, Value>, list: &str, path: &str) -> Vec<(String, &'a Map<String, Value>)> {
    let at = if path.is_empty() { list.to_owned() } else { format!("{path}.{list}") };
    let items = members.get(list).and_then(Value::as_array).into_iter().flatten().enumerate();
    items.filter_map(|(index, item)| Some((format!("{at}[{index}]"), item.as_object()?))).collect()
}

/// A list that holds anything.
fn has_items(members: &Map<String, Value>, list: &str) -> bool {
    members.get(list).and_then(Value::as_array).is_some_and(|items| items.iter().any(|item| !item.is_null()))
}

/// A family's or container's name.
fn is_family(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sound() -> Value {
        json!({
            "family": "web", "cpu": "512", "memory": "1024", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
            "executionRoleArn": "arn:aws:iam::111122223333:role/exec",
            "containerDefinitions": [{
                "name": "app", "image": "i", "portMappings": [{"containerPort": 3000}],
                "logConfiguration": {"logDriver": "awslogs", "options": {
                    "awslogs-group": "g", "awslogs-region": "eu-central-1", "awslogs-stream-prefix": "web"}}
            }]
        })
    }

    fn found(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut value = sound();
        change(&mut value);
        problems(&TaskDefinition::from_json(&value.to_string()).unwrap())
    }

    #[test]
    fn a_sound_definition_has_no_problems() {
        assert_eq!(found(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn every_fargate_size_is_accepted_and_its_neighbours_are_not() {
        let cases = [
            ("256", "512", true),
            ("256", "2048", true),
            ("256", "3072", false),
            ("512", "512", false),
            ("512", "4096", true),
            ("1024", "1024", false),
            ("1 vCPU", "2GB", true),
            ("4096", "30720", true),
            ("4096", "31744", false),
            ("8192", "20480", true),
            ("8192", "17408", false),
            ("16384", "122880", true),
            ("16384", "36864", false),
            ("300", "512", false),
        ];
        for (cpu, memory, is_sound) in cases {
            let found = found(|d| {
                d["cpu"] = json!(cpu);
                d["memory"] = json!(memory);
            });
            assert_eq!(found.is_empty(), is_sound, "{cpu}/{memory}: {found:?}");
        }
    }

    #[test]
    fn what_the_running_revision_has_too_is_a_warning_unless_this_program_cannot_deploy_it() {
        let sized = |cpu: &str, mode: &str| {
            let mut value = sound();
            (value["cpu"], value["memory"], value["networkMode"]) = (json!(cpu), json!("12288"), json!(mode));
            TaskDefinition::from_json(&value.to_string()).unwrap()
        };
        let found = |file: &TaskDefinition, running: &TaskDefinition| of_file(file, running, &[]);
        let file = sized("6144", "awsvpc");
        assert_eq!(findings(&file, &[]).problems.len(), 1, "a size that is not known");
        let taken = found(&file, &file);
        assert_eq!(taken.problems, [""; 0]);
        assert!(taken.warnings[0].starts_with("`cpu` is 6144: Fargate has 256"), "{taken:?}");
        assert!(taken.warnings[0].ends_with("; the running revision has it too"), "{taken:?}");
        assert_eq!(found(&file, &sized("2048", "awsvpc")), findings(&file, &[]), "another size runs");
        let bridged = sized("2048", "bridge");
        assert_eq!(found(&bridged, &bridged), findings(&bridged, &[]));
    }

    #[test]
    fn each_problem_is_named_in_its_own_words() {
        let app = |d: &mut Value, member: &str, value: Value| d["containerDefinitions"][0][member] = value;
        let cases: Vec<(Vec<String>, &str)> = vec![
            (found(|d| d["family"] = json!("two words")), "`family` is `two words`"),
            (found(|d| d["memory"] = Value::Null), "`memory` is missing"),
            (found(|d| d["cpu"] = json!("some")), "not a size"),
            (found(|d| d["networkMode"] = json!("bridge")), "needs `awsvpc`"),
            (found(|d| d["requiresCompatibilities"] = json!(["EC2"])), "does not name `FARGATE`"),
            (found(|d| d["runtimePlatform"] = json!({"cpuArchitecture": "arm"})), "`X86_64` or `ARM64`"),
            (found(|d| app(d, "essential", json!(false))), "no container is essential"),
            (found(|d| app(d, "name", json!(""))), "has no `name`"),
            (
                found(|d| app(d, "portMappings", json!([{"containerPort": 3000, "hostPort": 80}]))),
                "left out or the same",
            ),
            (found(|d| app(d, "portMappings", json!([{"containerPort": 80}, {"containerPort": 80}]))), "mapped twice"),
            (found(|d| app(d, "portMappings", json!([{"containerPort": 70000}]))), "does not exist"),
            (found(|d| app(d, "logConfiguration", json!({"logDriver": "journald"}))), "Fargate has awslogs"),
            (
                found(|d| app(d, "logConfiguration", json!({"logDriver": "awslogs", "options": {}}))),
                "awslogs-stream-prefix",
            ),
            (found(|d| d["executionRoleArn"] = json!("")), "`executionRoleArn`"),
            (found(|d| app(d, "dependsOn", json!([{"containerName": "db"}]))), "not in this task"),
            (found(|d| app(d, "memory", json!(4096))), "more than the task's"),
            (found(|d| d["containerDefinitions"] = json!([])), "is empty"),
            (
                found(|d| {
                    let c = d["containerDefinitions"][0].clone();
                    d["containerDefinitions"] = json!([c, {"name": "app"}]);
                }),
                "defined twice",
            ),
        ];
        for (found, expected) in cases {
            assert!(found.iter().any(|p| p.contains(expected)), "{expected}: {found:?}");
        }
    }
}

//! Signs that are no texts.

use super::pattern::Values;
use super::row::Case;
use super::values::{beside, role_name, shortened, spoken};
use crate::names::account_of;

/// Nothing but the container's own VPC has such an address.
pub(super) fn has_private_address(_: &Case<'_>, values: &mut Values) -> bool {
    let parts: Vec<u8> =
        values.get("ip").into_iter().flat_map(|ip| ip.split('.')).filter_map(|n| n.parse().ok()).collect();
    matches!(parts.as_slice(), [10, _, _, _] | [172, 16..=31, _, _] | [192, 168, _, _] | [100, 64..=127, _, _])
}

pub(super) fn is_by_digest(case: &Case<'_>, values: &mut Values) -> bool {
    let image = case.seen.failed_container().and_then(|c| c.image.as_deref());
    let is_digest = values.get("wanted").is_some_and(|wanted| wanted.starts_with("sha256:"));
    let reference = values.get("reference").or(image);
    is_digest || reference.is_some_and(|reference| reference.contains("@sha256:"))
}

/// The image's registry is of another account than the task's role.
pub(super) fn is_of_other_account(case: &Case<'_>, values: &mut Values) -> bool {
    let ours = case.seen.execution_role.as_deref().and_then(account_of);
    let host = values
        .get("registry")
        .or_else(|| case.seen.failed_container()?.image.as_deref())
        .and_then(|r| r.split('.').next());
    match (host.map(str::to_owned), ours) {
        (Some(host), Some(ours)) if host.len() == 12 && host.bytes().all(|b| b.is_ascii_digit()) && host != ours => {
            values.set("other-account", host);
            values.set("account", ours);
            true
        }
        _ => false,
    }
}

/// The image is for another architecture than the task definition.
pub(super) fn is_for_other_platform(case: &Case<'_>, _: &mut Values) -> bool {
    let image = case.seen.failed_container().and_then(|c| c.image_platform.as_ref());
    image.zip(case.seen.task_platform.as_ref()).is_some_and(|(image, task)| image != task)
}

pub(super) fn is_for_this_platform(case: &Case<'_>, _: &mut Values) -> bool {
    let image = case.seen.failed_container().and_then(|c| c.image_platform.as_ref());
    image.zip(case.seen.task_platform.as_ref()).is_some_and(|(image, task)| image == task)
}

pub(super) fn has_subnet_without_addresses(case: &Case<'_>, values: &mut Values) -> bool {
    let subnets = case.seen.network.iter().flat_map(|n| &n.subnets);
    let full = subnets.filter(|s| s.free_addresses == Some(0)).map(|s| s.id.as_str());
    values.set("subnet", spoken(full));
    values.get("subnet").is_some()
}

/// One of several containers: it ended, and the others had to.
pub(super) fn is_beside(case: &Case<'_>, values: &mut Values) -> bool {
    let found = case.seen.failed_container().and_then(|failed_container| beside(case.seen, failed_container));
    values.set("main", found.map(|main| main.name.clone()).unwrap_or_default());
    found.is_some()
}

pub(super) fn is_alone(case: &Case<'_>, values: &mut Values) -> bool {
    !is_beside(case, values)
}

pub(super) fn has_own_words(case: &Case<'_>, values: &mut Values) -> bool {
    values.set("words", super::log::own_words(&case.lines).map(shortened).unwrap_or_default());
    values.get("words").is_some()
}

/// `${'{'}` is no name of a variable, an identifier of a program is none, and one whose value is refused is set.
pub(super) fn is_variable(case: &Case<'_>, values: &mut Values) -> bool {
    let line = case.lines.first().copied().unwrap_or_default();
    is_name(values) && !has(line, &["ReferenceError", "NameError", "uninitialized constant"]) && !refuses_value(line)
}

fn is_name(values: &Values) -> bool {
    values.get("variable").is_some_and(|name| {
        name.len() > 2
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            && name.starts_with(|c: char| c.is_ascii_uppercase())
    })
}

/// Nothing but its capitals says that it is a variable, so it must look like one: `SSL is required` is about none.
pub(super) fn is_plain_variable(case: &Case<'_>, values: &mut Values) -> bool {
    let line = case.lines.first().copied().unwrap_or_default();
    let name = values.get("variable").unwrap_or_default();
    let looks_like_one = name.contains('_') || ["PORT", "HOST", "DSN", "TOKEN"].contains(&name) || has(line, &["env"]);
    looks_like_one && is_variable(case, values)
}

/// A key of the environment and not of another dictionary: by the frames before it, where there are some.
pub(super) fn is_environment_key(case: &Case<'_>, values: &mut Values) -> bool {
    let is_frame = |line: &&str| line.starts_with([' ', '\t']);
    let frames: Vec<&str> = case.before.iter().rev().copied().take_while(is_frame).take(6).collect();
    let is_of_environment = match frames.is_empty() {
        true => values.get("variable").is_some_and(|name| name.contains('_')),
        false => frames.iter().any(|frame| has(frame, &["environ", "os.py", "<frozen os>", "getenv", "env("])),
    };
    is_of_environment && is_variable(case, values)
}

/// The line is about a variable that is set, and says what its value has to be.
pub(super) fn has_refused_value(case: &Case<'_>, values: &mut Values) -> bool {
    is_name(values) && refuses_value(case.lines.first().copied().unwrap_or_default())
}

fn refuses_value(line: &str) -> bool {
    let about_value = [
        "must be a ",
        "must be an ",
        "must be one of",
        "invalid value",
        "is invalid",
        "not a valid",
        "is not valid",
        "parse",
        "parsing",
        "convert",
        ", got ",
        "invalid syntax",
    ];
    let is_absent = ["undefined", "missing", "not set", "unset", "must be set", "required", "not found", "empty"];
    has(line, &about_value) && !has(line, &is_absent)
}

fn has(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(&word.to_ascii_lowercase()))
}

/// A name of a file, and no sentence about one.
pub(super) fn is_path(_: &Case<'_>, values: &mut Values) -> bool {
    values.get("file").is_some_and(|file| file.contains(['/', '.']))
}

/// Some tools say that none are.
pub(super) fn says_some_are_pending(case: &Case<'_>, _: &mut Values) -> bool {
    case.lines.first().is_some_and(|line| !has(line, &["no pending", "no unapplied", "any pending", " 0 "]))
}

/// No runtime says that an exception of the program ended it: .NET ends with the same exit codes as a crash.
pub(super) fn is_no_exception(case: &Case<'_>, _: &mut Values) -> bool {
    !case.lines.iter().any(|line| has(line, &["unhandled exception"]))
}

/// The image is of a registry that is neither ECR nor Docker's.
pub(super) fn is_of_other_registry(case: &Case<'_>, values: &mut Values) -> bool {
    let image = case.seen.failed_container().and_then(|c| c.image.as_deref());
    let reference = values.get("reference").or(image).unwrap_or_default();
    let host =
        reference.split_once('/').map(|(host, _)| host).filter(|host| host.contains(['.', ':'])).map(str::to_owned);
    let host = host.filter(|host| !host.ends_with("docker.io") && !host.contains(".dkr"));
    values.set("host", host.clone().unwrap_or_default());
    host.is_some()
}

/// A field of pydantic's settings, which is read from the variable of the same name whatever its capitals.
pub(super) fn is_setting(_: &Case<'_>, values: &mut Values) -> bool {
    values.set("variable", values.get("setting").unwrap_or_default().to_ascii_uppercase());
    is_name(values)
}

pub(super) fn is_local_address(_: &Case<'_>, values: &mut Values) -> bool {
    let address = values.get("address").unwrap_or_default().to_ascii_lowercase();
    ["127.0.0.1", "localhost", "::1", "0.0.0.0"].iter().any(|local| address.contains(local))
}

/// What is at the other end of a connection, by its port or by who speaks of it.
fn peer(line: &str, address: &str) -> &'static str {
    let line = line.to_ascii_lowercase();
    let ends = |port: &str| address.ends_with(port);
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    match () {
        () if ends(":5432") || has(&["psycopg", "postgres", "pg::", "connection to server at", "port 5432"]) => {
            "the PostgreSQL database"
        }
        () if ends(":3306") || has(&["mysql", "mariadb"]) => "the MySQL database",
        () if ends(":27017") || has(&["mongo"]) => "the MongoDB database",
        () if ends(":6379") || has(&["redis"]) => "Redis",
        () if ends(":5672") || has(&["amqp", "rabbitmq"]) => "RabbitMQ",
        () if has(&["database"]) => "the database",
        () => "what it connects to",
    }
}

/// Always so: it names the other end of the connection.
pub(super) fn names_peer(case: &Case<'_>, values: &mut Values) -> bool {
    let address = values.get("address").unwrap_or_default().to_owned();
    let line = case.lines.first().copied().unwrap_or_default();
    values.set("peer", peer(line, &address));
    true
}

pub(super) fn passed_its_deadline(case: &Case<'_>, _: &mut Values) -> bool {
    case.seen.passed_deadline.is_some()
}

pub(super) fn is_of_command(case: &Case<'_>, _: &mut Values) -> bool {
    case.seen.command.is_some()
}

/// Percentages that allow neither to start a task nor to stop one.
pub(super) fn cannot_progress(case: &Case<'_>, _: &mut Values) -> bool {
    let (Some(desired), Some(min), Some(max)) =
        (case.seen.desired, case.seen.minimum_percent, case.seen.maximum_percent)
    else {
        return false;
    };
    // The lower bound is rounded up, the upper one down.
    let lowest = desired.saturating_mul(min).saturating_add(99) / 100;
    let highest = desired.saturating_mul(max) / 100;
    desired > 0 && highest <= desired && lowest >= desired
}

pub(super) fn has_exit_code(case: &Case<'_>, _: &mut Values) -> bool {
    case.seen.failed_container().is_some_and(|c| c.exit_code.is_some())
}

/// Whose permission it is, by who told of it; and the statement that allows it.
pub(super) fn who(case: &Case<'_>, values: &mut Values) -> bool {
    let role = values.get("role").map(|role| format!(" `{role}`")).unwrap_or_default();
    let is_refusal = case.seen.refusal.as_deref().is_some_and(|refusal| case.said.contains(&refusal));
    let is_line = case.lines.len() == 1 && case.said == case.lines;
    let (who, own) = match (is_refusal, is_line) {
        (true, _) => ("the role that deploys,", ""),
        (_, true) => ("the task role", case.seen.task_role.as_deref().unwrap_or_default()),
        _ => ("the execution role", case.seen.execution_role.as_deref().unwrap_or_default()),
    };
    let role = if role.is_empty() && !own.is_empty() { format!(" `{}`", role_name(own)) } else { role };
    let who = format!("{who}{role}");
    let who = match who.strip_suffix(',') {
        Some(alone) => alone.to_owned(),
        None => format!("{who}{}", if is_refusal { "," } else { "" }),
    };
    values.set("who", who);
    let clean = |text: &str| text.trim_end_matches(['.', ',', ';', ')']).to_owned();
    if let Some(action) = values.get("action").map(clean).filter(|action| action.contains(':')) {
        let resource = values.get("resource").map_or_else(|| "*".to_owned(), clean);
        values.set("statement", statement(&action, &resource));
    } else if let Some(role) = values.get("resource").map(clean) {
        values.set("statement", statement("iam:PassRole", &role));
    }
    true
}

fn statement(action: &str, resource: &str) -> String {
    // Not every action can be narrowed to a resource.
    let all = [
        "ecr:GetAuthorizationToken",
        "ecs:DescribeTaskDefinition",
        "ecs:ListTaskDefinitions",
        "ecs:DeregisterTaskDefinition",
    ];
    let resource = if all.contains(&action) { "*" } else { resource };
    let mut statement = serde_json::json!({ "Effect": "Allow", "Action": action, "Resource": resource });
    if action == "iam:PassRole" {
        statement["Condition"] =
            serde_json::json!({ "StringEquals": { "iam:PassedToService": "ecs-tasks.amazonaws.com" } });
    }
    statement.to_string()
}

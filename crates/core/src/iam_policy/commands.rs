//! What the commands beside `deploy` call, and several commands together.

use super::{Granted, LEASE, Statement, anything, created_by, for_tasks, of_exec, of_task_role, roles, statements};
use crate::iam_role::Purpose;
use crate::task_definition::one_off::one_off;
use crate::task_definition::{TaskDefinition, container_name};
use crate::validated_config::Config;
use std::collections::BTreeSet;

/// What a role needs for all of these, each action once for a resource and a condition.
#[must_use]
pub fn of_purposes(granted: &Granted<'_>, purposes: &[Purpose]) -> Vec<Statement> {
    let mut purposes = purposes.to_vec();
    // What has the most comes first, so that what the others have of it is not said again.
    purposes.sort_unstable();
    let mut all: Vec<Statement> = vec![];
    for mut statement in purposes.iter().flat_map(|purpose| of_purpose(granted, *purpose)) {
        let Statement { actions, resources, condition, .. } = &mut statement;
        let is_known = |action: &str| {
            all.iter().any(|known| {
                known.actions.contains(&action)
                    && known.condition == *condition
                    && resources.is_subset(&known.resources)
            })
        };
        actions.retain(|action| !is_known(action));
        let is_alike =
            |known: &&mut Statement| known.resources == statement.resources && known.condition == statement.condition;
        match all.iter_mut().find(is_alike) {
            Some(known) => known.actions.extend(statement.actions),
            None => all.push(statement),
        }
    }
    all.retain(|statement| !statement.actions.is_empty() && !statement.resources.is_empty());
    all
}

/// What a role that only plans is allowed.
const PLANS: &[&str] = &[
    "ecs:DescribeTaskDefinition",
    "ecs:DescribeServices",
    "ecr:GetAuthorizationToken",
    "ecr:DescribeRepositories",
    "ecr:DescribeImages",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
];

fn of_purpose(granted: &Granted<'_>, purpose: Purpose) -> Vec<Statement> {
    match purpose {
        Purpose::Deploy => statements(granted),
        Purpose::Plan => of_plan(granted),
        Purpose::Run => of_run(granted),
        Purpose::Exec => of_exec(granted),
        Purpose::Rollback => of_rollback(granted),
        Purpose::Releases => vec![
            sees_definitions(),
            sees_services(granted),
            sees_deployments(granted),
            reads_leases(granted),
            reads_logs(granted),
        ],
        Purpose::Status => vec![
            sees_definitions(),
            sees_services(granted),
            sees_deployments(granted),
            sees_tasks(granted),
            lists_tasks(granted),
            reads_leases(granted),
            reads_logs(granted),
            Statement::new("SeeTargets", &["elasticloadbalancing:DescribeTargetHealth"], anything()),
        ],
        Purpose::Logs => {
            let groups = granted.log_groups();
            // What FilterLogEvents is asked of is a group, which IAM knows by this ending.
            let groups = groups.iter().map(|group| granted.arn("logs", &format!("log-group:{group}:*")));
            vec![
                sees_definitions(),
                sees_tasks(granted),
                lists_tasks(granted),
                reads_logs(granted),
                Statement::new("SearchLogs", &["logs:FilterLogEvents"], groups),
            ]
        }
        Purpose::Continue => vec![sees_deployments(granted), decides(granted, &["ecs:ContinueServiceDeployment"])],
        Purpose::Abort => vec![
            sees_deployments(granted),
            decides(granted, &["ecs:ContinueServiceDeployment", "ecs:StopServiceDeployment"]),
        ],
        Purpose::Lock => vec![Statement::new("Lease", LEASE, granted.leases())],
        Purpose::Task => of_task_role(),
    }
}

fn of_plan(granted: &Granted<'_>) -> Vec<Statement> {
    let reads = |mut statement: Statement| {
        statement.actions.retain(|action| PLANS.contains(action));
        // A plan looks at services, and not at their history.
        if statement.actions == ["ecs:DescribeServices"] {
            statement.resources.retain(|resource| resource.contains(":service/"));
        }
        statement
    };
    statements(granted).into_iter().map(reads).collect()
}

/// A task of its own from each service. `run -i` also opens a session in it, as `exec` does.
fn of_run(granted: &Granted<'_>) -> Vec<Statement> {
    let definitions = || granted.services.iter().map(|(_, definition)| *definition);
    let arns = |families: &BTreeSet<String>| -> Vec<String> {
        families.iter().map(|family| granted.arn("ecs", &format!("task-definition/{family}:*"))).collect()
    };
    // Another image runs from the derived family, also where the definition could be run as it is.
    let derived: BTreeSet<String> = definitions().map(|definition| format!("{}-run", definition.family())).collect();
    let as_they_are = definitions().filter(|definition| can_be_run_as_it_is(definition));
    let mut run = derived.clone();
    run.extend(as_they_are.map(|definition| definition.family().to_owned()));
    vec![
        sees_definitions(),
        sees_services(granted),
        Statement::new("RegisterRuns", &["ecs:RegisterTaskDefinition"], arns(&derived)),
        Statement::new("Run", &["ecs:RunTask"], arns(&run)).only_where(granted.in_clusters()),
        Statement::new("TagRuns", &["ecs:TagResource"], anything())
            .only_where(created_by(&["RegisterTaskDefinition", "RunTask"])),
        Statement::new("HandRolesToRuns", &["iam:PassRole"], roles(definitions())).only_where(for_tasks()),
        Statement::new("FollowRuns", &["ecs:DescribeTasks", "ecs:StopTask"], granted.tasks()),
        reads_logs(granted),
        reads_leases(granted),
        sees_images(granted),
    ]
}

fn can_be_run_as_it_is(definition: &TaskDefinition) -> bool {
    definition.containers().any(|container| one_off(definition, &container_name(container).into(), "run").is_none())
}

/// A deploy that builds nothing and runs no command.
fn of_rollback(granted: &Granted<'_>) -> Vec<Statement> {
    let config = Config { release: vec![], snapshot: None, images: vec![], ..granted.config.clone() };
    let mut goes_back = statements(&Granted { config: &config, commands: &[], ..*granted });
    // A deploy with release commands has another condition for it, and IAM takes each Sid once.
    for statement in goes_back.iter_mut().filter(|statement| statement.sid == "TagWhatWeCreate") {
        statement.sid = "TagRevisions";
    }
    let definitions = || granted.services.iter().map(|(_, definition)| *definition);
    let (secrets, parameters): (Vec<&str>, Vec<&str>) =
        definitions().flat_map(TaskDefinition::secrets).partition(|name| name.contains(":secretsmanager:"));
    let logins = definitions().flat_map(TaskDefinition::registry_logins);
    // A name, or an ARN without the six characters that AWS adds, is any secret of that name.
    let secret = |name: &str| {
        let arn = match name.starts_with("arn:") {
            true => name.split(':').take(7).collect::<Vec<_>>().join(":"),
            false => granted.arn("secretsmanager", &format!("secret:{name}")),
        };
        let any = format!("{arn}-??????");
        [arn, any]
    };
    let parameter = |name: &str| match name.starts_with("arn:") {
        true => name.split(':').take(6).collect::<Vec<_>>().join(":"),
        false => {
            let plain = name.split(':').next().unwrap_or(name);
            granted.arn("ssm", &format!("parameter/{}", plain.trim_start_matches('/')))
        }
    };
    // None of the three reads a value.
    let looks = [
        sees_images(granted),
        Statement::new("SeeRoles", &["iam:GetRole"], roles(definitions())),
        Statement::new(
            "SeeSecrets",
            &["secretsmanager:DescribeSecret"],
            secrets.into_iter().chain(logins).flat_map(secret),
        ),
        Statement::new("SeeParameters", &["ssm:ListTagsForResource"], parameters.into_iter().map(parameter)),
    ];
    goes_back.into_iter().chain(looks).collect()
}

fn sees_definitions() -> Statement {
    Statement::new("WithoutResource", &["ecs:DescribeTaskDefinition"], anything())
}

fn sees_services(granted: &Granted<'_>) -> Statement {
    let services = granted.services_and_their_history().into_iter().filter(|arn| arn.contains(":service/"));
    Statement::new("SeeServices", &["ecs:DescribeServices"], services)
}

fn sees_deployments(granted: &Granted<'_>) -> Statement {
    let actions = &["ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions"];
    Statement::new("SeeDeployments", actions, granted.services_and_their_history())
}

fn decides(granted: &Granted<'_>, actions: &[&'static str]) -> Statement {
    Statement::new("Decide", actions, granted.services_and_their_history())
}

fn sees_tasks(granted: &Granted<'_>) -> Statement {
    Statement::new("SeeTasks", &["ecs:DescribeTasks"], granted.tasks())
}

fn lists_tasks(granted: &Granted<'_>) -> Statement {
    Statement::new("ListTasks", &["ecs:ListTasks"], anything()).only_where(granted.in_clusters())
}

fn reads_logs(granted: &Granted<'_>) -> Statement {
    Statement::new("ReadLogs", &["logs:GetLogEvents"], granted.streams())
}

/// Also where the config takes none: another run may.
fn reads_leases(granted: &Granted<'_>) -> Statement {
    Statement::new("ReadLeases", &["ssm:GetParametersByPath"], granted.leases())
}

fn sees_images(granted: &Granted<'_>) -> Statement {
    let actions = &["ecr:DescribeRepositories", "ecr:DescribeImages", "ecr:BatchGetImage"];
    Statement::new("SeeImages", actions, granted.repositories().into_iter().map(|(arn, _)| arn))
}

//! What stands around a policy: why each action is in it, who may assume its role, and how large one may be.

use crate::iam_policy::{Statement, document};
use serde_json::{Value, json};

/// What a role is for: a command, or that somebody gets into the tasks whose role it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    Deploy,
    /// Reads, and can run nothing: for pull requests.
    Plan,
    Run,
    Exec,
    Rollback,
    Releases,
    Status,
    Logs,
    Continue,
    Abort,
    Lock,
    /// Of the tasks themselves, so that somebody can get into their containers.
    Task,
}

impl Purpose {
    /// Every command of a role that deploys, and of the people who live with it.
    pub const COMMANDS: [Self; 10] = [
        Self::Deploy,
        Self::Run,
        Self::Exec,
        Self::Rollback,
        Self::Releases,
        Self::Status,
        Self::Logs,
        Self::Continue,
        Self::Abort,
        Self::Lock,
    ];
}

/// Why an action is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Why {
    pub action: &'static str,
    /// The step that calls it.
    pub step: &'static str,
    /// What is not possible without.
    pub without: &'static str,
}

const fn why(action: &'static str, step: &'static str, without: &'static str) -> Why {
    Why { action, step, without }
}

/// Every action that a policy of ours can have.
pub const WHY: [Why; 48] = [
    why(
        "ecr:GetAuthorizationToken",
        "push",
        "nothing is pushed to ECR; a build goes without its cache and without private base images",
    ),
    why(
        "ecs:DescribeTaskDefinition",
        "preflight, and every look",
        "nothing is deployed, run or gone back to: the revision that runs cannot be read",
    ),
    why("ecr:BatchCheckLayerAvailability", "push", "nothing is pushed"),
    why(
        "ecr:BatchGetImage",
        "push, promotion",
        "no tag is put on an image that is there, and none is deployed by its digest",
    ),
    why("ecr:CompleteLayerUpload", "push", "nothing is pushed"),
    why("ecr:DescribeImages", "preflight", "an image that is there is not found"),
    why("ecr:DescribeRepositories", "preflight", "the repository is not found"),
    why(
        "ecr:GetDownloadUrlForLayer",
        "build, evidence",
        "a build goes without its cache; for which architecture an image is built is not known",
    ),
    why("ecr:InitiateLayerUpload", "push", "nothing is pushed"),
    why("ecr:PutImage", "push", "nothing is pushed"),
    why("ecr:UploadLayerPart", "push", "nothing is pushed"),
    why("ecr:CreateRepository", "push", "a repository that is missing stays missing"),
    why("ecs:RegisterTaskDefinition", "register", "no revision is made"),
    why(
        "ecs:TagResource",
        "register, release commands",
        "revisions and tasks cannot carry the release that they are of",
    ),
    why("iam:PassRole", "register, release commands, rollout", "a task definition with a role is refused"),
    why("ecs:RunTask", "release commands, run", "no release command and no `run` starts"),
    why("ecs:StopTask", "run", "Ctrl-C and `--timeout` leave the task running"),
    why("ecs:DescribeTasks", "release commands, watch", "a release command's end, and why tasks stopped, is not seen"),
    why(
        "ecs:ListTasks",
        "lease, watch, logs, exec",
        "a command that still runs, and the tasks of a service, are not found",
    ),
    why("ecs:DescribeServices", "preflight, watch", "nothing is deployed: the services cannot be read"),
    why("ecs:UpdateService", "rollout, rollback", "no service moves"),
    why("ecs:ListServiceDeployments", "watch", "a rollout is followed by the service alone"),
    why("ecs:DescribeServiceDeployments", "watch", "a rollout is followed by the service alone"),
    why("ecs:DescribeServiceRevisions", "watch", "what a deployment runs is not confirmed by its digest"),
    why("ecs:StopServiceDeployment", "rollback, abort", "a rollout that goes on cannot be stopped"),
    why("ecs:ContinueServiceDeployment", "continue, abort", "a deployment that waits for a person goes on waiting"),
    why(
        "logs:GetLogEvents",
        "release commands, watch, run, logs",
        "a failure comes without the container's last lines, `run` and `logs` without any",
    ),
    why("logs:FilterLogEvents", "logs", "nothing is followed, and no period or text is looked for"),
    why(
        "elasticloadbalancing:DescribeTargetHealth",
        "status",
        "what the load balancer says of the targets is not shown",
    ),
    why("ssm:GetParametersByPath", "lease", "no lease: the deploy stops, unless the config says `lock: none`"),
    why("ssm:PutParameter", "lease", "no lease: the deploy stops, unless the config says `lock: none`"),
    why("ssm:DeleteParameter", "lease", "the lease is not given back: the next deploy waits until it is old"),
    why("iam:GetRole", "rollback", "that a role of the earlier release is gone is not said before a service moves"),
    why(
        "secretsmanager:DescribeSecret",
        "rollback",
        "that a secret of the earlier release is gone is not said before a service moves",
    ),
    why(
        "ssm:ListTagsForResource",
        "rollback",
        "that a parameter of the earlier release is gone is not said before a service moves",
    ),
    why("rds:CreateDBSnapshot", "snapshot", "the deploy stops before the first release command"),
    why("rds:DescribeDBSnapshots", "snapshot", "the deploy stops before the first release command"),
    why("cloudformation:DescribeStacks", "values from elsewhere", "`${cfn:...}` has no value"),
    why("ssm:GetParameter", "values from elsewhere", "`${ssm:...}` has no value"),
    why("s3:GetObject", "values from elsewhere", "`${tf:...}` has no value"),
    why("s3:ListBucket", "values from elsewhere", "a state that is missing is called denied"),
    why("ecs:ExecuteCommand", "exec", "no session is opened in a container"),
    why("iam:SimulatePrincipalPolicy", "exec", "what the task role lacks is not said before a session fails"),
    why("ssm:ResumeSession", "exec", "a connection that is lost is not had again"),
    why("ssmmessages:CreateControlChannel", "exec, in the container", "no session is opened in its containers"),
    why("ssmmessages:CreateDataChannel", "exec, in the container", "no session is opened in its containers"),
    why("ssmmessages:OpenControlChannel", "exec, in the container", "no session is opened in its containers"),
    why("ssmmessages:OpenDataChannel", "exec, in the container", "no session is opened in its containers"),
];

/// IAM's limit for a managed policy, in characters without white space.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
pub const LARGEST: usize = 6144;

/// As many documents as the limit asks for, each statement whole.
#[must_use]
pub fn documents(statements: &[Statement]) -> Vec<Value> {
    let mut groups: Vec<Vec<Statement>> = vec![vec![]];
    for statement in statements {
        let fits = |group: &[Statement]| {
            let with = [group, std::slice::from_ref(statement)].concat();
            document(&with).to_string().len() <= LARGEST
        };
        match groups.last_mut() {
            Some(group) if group.is_empty() || fits(group) => group.push(statement.clone()),
            _ => groups.push(vec![statement.clone()]),
        }
    }
    groups.iter().map(|group| document(group)).collect()
}

/// Who may assume the role: a job of this repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// `OWNER/REPO`.
    pub repository: String,
    /// The two numbers of the form of `sub` that names them; placeholders where they are not known.
    pub owner_id: String,
    pub repository_id: String,
    /// The job's `environment`; without one, its branch `main`.
    pub environment: Option<String>,
}

impl Job {
    /// Both forms of `sub`: repositories that were created or renamed since 2026-07-15 have the second.
    /// <https://docs.github.com/en/actions/reference/security/oidc>
    #[must_use]
    pub fn subjects(&self, purposes: &[Purpose]) -> [String; 2] {
        let of = match (purposes, &self.environment) {
            ([Purpose::Plan], _) => "pull_request".to_owned(),
            (_, Some(name)) => format!("environment:{}", name.replace(':', "%3A")),
            (_, None) => "ref:refs/heads/main".to_owned(),
        };
        let (owner, name) = self.repository.split_once('/').unwrap_or((self.repository.as_str(), ""));
        [
            format!("repo:{owner}/{name}:{of}"),
            format!("repo:{owner}@{}/{name}@{}:{of}", self.owner_id, self.repository_id),
        ]
    }
}

const ISSUER: &str = "token.actions.githubusercontent.com";

/// The trust policy of the role.
#[must_use]
pub fn trust(job: &Job, purposes: &[Purpose], partition: &str, account: &str) -> Value {
    if purposes == [Purpose::Task] {
        return json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }],
        });
    }
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Federated": format!("arn:{partition}:iam::{account}:oidc-provider/{ISSUER}")},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {
                format!("{ISSUER}:aud"): "sts.amazonaws.com",
                format!("{ISSUER}:sub"): job.subjects(purposes),
            }},
        }],
    })
}

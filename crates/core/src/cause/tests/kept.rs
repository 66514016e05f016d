//! Whole failures as AWS and the programs of the field tell them, each with the noise of a real log around it.

mod logs;
mod other_things;
mod places;
mod programs;
mod reported;
mod words;

use super::decoys::{Decoy, check, noisy};
use super::{ROLE, denied, ended, event, task, unhealthy, unstarted, with};
use crate::cause::{Seen, SeenLine, SeenNetwork, SeenSubnet, SeenTarget, TargetCheck, WayOut};

const ECR: &str = "111122223333.dkr.ecr.eu-central-1.amazonaws.com";

/// It ends by itself after these lines.
fn exits(code: i64, log: &str) -> Seen {
    with(ended(code, &[]), |s| s.container_mut("app").log = log.trim().lines().map(SeenLine::from).collect())
}

fn migrates(code: i64, log: &str) -> Seen {
    with(exits(code, log), |s| s.command = Some("migrate".to_owned()))
}

fn says(code: i64, lines: &[&str]) -> Seen {
    with(ended(code, &[]), |s| s.container_mut("app").log = noisy(lines))
}

/// Before any container: what the agent could not get.
fn of_start() -> Vec<Decoy> {
    vec![
        (
            "no-route-to-ecr",
            unstarted(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve ecr registry auth: service call has been retried 3 time(s): RequestError: send request failed caused by: Post \"https://api.ecr.eu-central-1.amazonaws.com/\": dial tcp 18.196.3.4:443: i/o timeout. Please check your task network configuration.",
            ),
            &["Amazon ECR", "NAT"],
            &["Secrets Manager", "execution role", "permission"],
        ),
        (
            "no-route-to-secrets-manager",
            with(
                unstarted(
                    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 5 time(s): failed to fetch secret arn:aws:secretsmanager:eu-central-1:111122223333:secret:prod/db-AbCdEf from secrets manager: RequestCanceled: request context canceled caused by: context deadline exceeded. Please check your task network configuration.",
                ),
                |s| {
                    s.network = Some(SeenNetwork {
                        has_public_ip: Some(false),
                        subnets: vec![SeenSubnet {
                            id: "subnet-1".to_owned(),
                            way_out: Some(WayOut::InternetGateway),
                            free_addresses: None,
                        }],
                    });
                },
            ),
            &["Secrets Manager", "subnet-1", "public IP"],
            &["execution role", "no such secret", "is not in Secrets Manager in this Region"],
        ),
        (
            "no-route-to-logs",
            unstarted("ResourceInitializationError: failed to validate logger args: : signal: killed"),
            &["CloudWatch Logs", "/ecs/web"],
            &["does not exist", "registry login", "secrets or", "memory"],
        ),
        (
            "no-route-from-task",
            unstarted(
                "ResourceInitializationError: unable to pull secrets or registry auth: pull command failed: : signal: killed",
            ),
            &["route"],
            &["memory", "execution role", "SIGKILL"],
        ),
        (
            "execution-role-denied",
            unstarted(&format!(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: AccessDeniedException: {} status code: 400, request id: 7 : exit status 1",
                denied(
                    "logs:CreateLogStream",
                    "arn:aws:logs:eu-central-1:111122223333:log-group:/ecs/web:log-stream:web/app/9c1e",
                    "no identity-based policy allows the logs:CreateLogStream action"
                )
            )),
            &["logs:CreateLogStream", "execution role"],
            &["route", "task role", "create-log-group"],
        ),
        (
            "log-group-missing",
            unstarted(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. : exit status 1",
            ),
            &["/ecs/web"],
            &["route", "NAT", "secret"],
        ),
        (
            "execution-role-denied",
            unstarted(&format!(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve ecr registry auth: service call has been retried 1 time(s): AccessDeniedException: {}",
                denied(
                    "ecr:GetAuthorizationToken",
                    "*",
                    "no identity-based policy allows the ecr:GetAuthorizationToken action"
                )
            )),
            &["ecr:GetAuthorizationToken"],
            &["route", "NAT", "secret"],
        ),
        (
            "denied-by-boundary",
            unstarted(&format!(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 1 time(s): AccessDeniedException: {}",
                denied(
                    "ssm:GetParameters",
                    "arn:aws:ssm:eu-central-1:111122223333:parameter/prod/DB",
                    "no permissions boundary allows the ssm:GetParameters action"
                )
            )),
            &["boundary", "ssm:GetParameters"],
            &["add this statement", "route"],
        ),
        (
            "ssm-parameter-missing",
            unstarted(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid parameters: /prod/DATABASE_URL. Check your task network configuration.",
            ),
            &["/prod/DATABASE_URL"],
            &["route", "NAT", "may not"],
        ),
        (
            "secret-key-missing",
            unstarted(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 1 time(s): retrieved secret from Secrets Manager did not contain json key DB_PASS",
            ),
            &["DB_PASS"],
            &["route", "is not in Secrets Manager"],
        ),
        (
            "registry-rate-limit",
            unstarted(
                "CannotPullContainerError: ref pull has been retried 1 time(s): failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/library/node/manifests/sha256:ab12: 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit",
            ),
            &["rate limit"],
            &["403", "execution role", "digest"],
        ),
        (
            "image-digest-missing",
            with(
                unstarted(&format!(
                    "CannotPullContainerError: ref pull has been retried 1 time(s): failed to copy: httpReaderSeeker: failed open: could not fetch content descriptor sha256:9f86d081884c (application/vnd.docker.distribution.manifest.v2+json) from remote: {ECR}/shop@sha256:9f86d081884c: not found"
                )),
                |s| s.container_mut("app").image = Some(format!("{ECR}/shop@sha256:9f86d081884c")),
            ),
            &["digest"],
            &["role", "route", "no such tag"],
        ),
        (
            "image-layers-unreachable",
            unstarted(
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to copy: httpReadSeeker: failed open: failed to do request: Get \"https://prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com/1a2b/3c\": dial tcp 52.219.170.2:443: i/o timeout",
            ),
            &["S3", "gateway endpoint"],
            &["role", "`ecr.api`", "tag"],
        ),
        (
            "subnet-addresses-used-up",
            unstarted(
                "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment enabled in subnet 'subnet-0a1b': InsufficientFreeAddressesInSubnet",
            ),
            &["subnet-0a1b"],
            &["route", "permission"],
        ),
        (
            "file-system-unreachable",
            unstarted(
                "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: b'mount.nfs4: Connection timed out' : unsuccessful EFS utils command execution; code: 32",
            ),
            &["2049"],
            &["NAT", "secret"],
        ),
        (
            "command-not-found",
            unstarted(
                "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"npm start\": executable file not found in $PATH: unknown",
            ),
            &["npm start"],
            &["secret", "route", "permission"],
        ),
        (
            "file-not-executable",
            unstarted(
                "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: \"/docker-entrypoint.sh\": permission denied: unknown",
            ),
            &["/docker-entrypoint.sh", "chmod"],
            &["IAM", "role", "secret"],
        ),
        (
            "vcpu-limit",
            event(
                "(service web) was unable to place a task. Reason: You've reached the limit on the number of vCPUs you can run concurrently.",
            ),
            &["quota"],
            &["memory", "subnet"],
        ),
    ]
}

/// The task runs, and something says no.
fn of_health() -> Vec<Decoy> {
    vec![
        (
            "health-path-needs-login",
            unhealthy("Health checks failed with these codes: [401]", &["listening on 127.0.0.1:9229 (debugger)"]),
            &["401", "/health"],
            &["127.0.0.1", "execution role"],
        ),
        (
            "health-path-redirects",
            unhealthy(
                "Health checks failed with these codes: [301]",
                &["Error: connect ECONNREFUSED 10.0.3.17:6379, retrying"],
            ),
            &["301"],
            &["6379", "404"],
        ),
        (
            "listens-on-localhost",
            unhealthy(
                "Health checks failed",
                &[" * Running on http://127.0.0.1:8080", "WARNING: This is a development server."],
            ),
            &["127.0.0.1", "0.0.0.0"],
            &["security group", "grace"],
        ),
        (
            "wrong-port",
            unhealthy("Request timed out", &["Tomcat started on port 8081 (http) with context path '/'"]),
            &["8080", "8081"],
            &["127.0.0.1"],
        ),
        (
            "slow-start",
            with(unhealthy("Health checks failed", &[]), |s| {
                s.started_at = Some(1000.0);
                s.grace_seconds = Some(30);
                s.container_mut("app").log = vec![
                    SeenLine { at: Some(1002.0), text: "INFO starting".to_owned() },
                    SeenLine { at: Some(1095.0), text: "Listening on 0.0.0.0:8080".to_owned() },
                ];
            }),
            &["95 s", "30 s"],
            &["127.0.0.1", "another port"],
        ),
        (
            "health-check-timeout",
            with(unhealthy("Request timed out", &["Listening on 0.0.0.0:8080"]), |s| {
                s.target_check = Some(TargetCheck { timeout: Some(5), ..TargetCheck::default() });
                s.targets = vec![SeenTarget {
                    state: "unhealthy".to_owned(),
                    code: "Target.Timeout".to_owned(),
                    description: "Request timed out".to_owned(),
                    port: Some(8080),
                }];
            }),
            &["security group", "within 5 s"],
            &["127.0.0.1", "404"],
        ),
        (
            "container-unhealthy",
            with(task("ServiceSchedulerInitiated", "Task failed container health checks"), |s| {
                let app = s.container_mut("app");
                (app.exit_code, app.health) = (Some(137), Some("UNHEALTHY".to_owned()));
                app.check = Some("curl -f http://localhost:8080/health || exit 1".to_owned());
                app.log = noisy(&["listening on 0.0.0.0:8080"]);
            }),
            &["curl"],
            &["memory", "SIGKILL", "load balancer", "security group"],
        ),
        (
            "alarm",
            Seen {
                deployment_reason: Some("Service deployment rolled back because of alarm detected.".to_owned()),
                alarms: vec!["web-5xx".to_owned(), "web-latency".to_owned()],
                ..says(1, &["Error: connect ECONNREFUSED 10.0.3.17:5432"])
            },
            &["web-5xx", "web-latency"],
            &["refuse"],
        ),
        (
            "alarm",
            Seen {
                deployment_reason: Some(
                    "Service deployment rolled back because alarms were detected. (alarms that went off: web-latency)"
                        .to_owned(),
                ),
                alarms: vec!["web-5xx".to_owned(), "web-latency".to_owned(), "queue".to_owned()],
                ..Seen::default()
            },
            &["web-latency"],
            &["web-5xx", "queue"],
        ),
        (
            "target-registration-failed",
            event(
                "(service web) failed to register targets in (target-group arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/web/1) with (error The IP address '10.1.0.4' is not within the VPC 'vpc-1')",
            ),
            &["not within the VPC"],
            &["404"],
        ),
        (
            "target-not-in-use",
            with(unhealthy("x", &["Listening on 0.0.0.0:8080"]), |s| {
                s.events.clear();
                s.targets = vec![SeenTarget {
                    state: "unused".to_owned(),
                    code: "Target.NotInUse".to_owned(),
                    description: "Target group is not configured to receive traffic from the load balancer".to_owned(),
                    port: Some(8080),
                }];
            }),
            &["listener"],
            &["127.0.0.1", "security group"],
        ),
        (
            "spot-interrupted",
            with(task("SpotInterruption", "Your Spot Task was interrupted."), |s| {
                s.container_mut("app").exit_code = Some(137);
                s.container_mut("app").log = noisy(&["FATAL: password authentication failed for user \"app\""]);
            }),
            &["Spot"],
            &["password", "memory"],
        ),
    ]
}

/// What a call was refused with.
fn of_calls() -> Vec<Decoy> {
    vec![
        (
            "pass-role-denied",
            Seen::refused(format!(
                "AccessDeniedException: User: arn:aws:sts::111122223333:assumed-role/deploy/GitHubActions is not authorized to perform: iam:PassRole on resource: {ROLE} because no identity-based policy allows the iam:PassRole action"
            )),
            &["iam:PassRole", ROLE, "ecs-tasks.amazonaws.com"],
            &["execution role`", "task role"],
        ),
        (
            "denied-by-scp",
            Seen::refused(
                "AccessDeniedException: User: arn:aws:sts::111122223333:assumed-role/deploy/GitHubActions is not authorized to perform: ecs:UpdateService on resource: arn:aws:ecs:eu-central-1:111122223333:service/shop/web with an explicit deny in a service control policy: arn:aws:organizations::444455556666:policy/o-1/service_control_policy/p-1",
            ),
            &["organization", "ecs:UpdateService"],
            &["add this statement"],
        ),
        (
            "tag-immutable",
            Seen::refused(
                "tag invalid: The image tag 'latest' already exists in the 'shop' repository and cannot be overwritten because the tag is immutable.",
            ),
            &["`latest`", "`shop`"],
            &["login", "permission"],
        ),
        (
            "permission-missing",
            Seen::refused(
                "denied: User: arn:aws:sts::111122223333:assumed-role/deploy/GitHubActions is not authorized to perform: ecr:InitiateLayerUpload on resource: arn:aws:ecr:eu-central-1:111122223333:repository/shop because no identity-based policy allows the ecr:InitiateLayerUpload action",
            ),
            &["ecr:InitiateLayerUpload", "the role that deploys"],
            &["execution role"],
        ),
        (
            "cpu-memory-pair",
            Seen::refused("ClientException: No Fargate configuration exists for given values: 512 CPU, 512 memory."),
            &["512"],
            &["permission"],
        ),
        (
            "capacity-unavailable",
            Seen::refused(
                "Capacity is unavailable at this time. Please try again later or in a different availability zone",
            ),
            &["capacity"],
            &["quota", "role"],
        ),
        (
            "oidc-provider-missing",
            Seen::refused(
                "InvalidIdentityToken: No OpenIDConnect provider found in your account for https://token.actions.githubusercontent.com",
            ),
            &["create-open-id-connect-provider"],
            &["trust policy", "id-token"],
        ),
    ]
}

#[test]
fn whole_failures_of_the_field_have_their_cause_first_and_nothing_false_beside_it() {
    let all = [of_start(), programs::of_programs(), programs::of_migrations(), of_health(), of_calls()];
    check(all.into_iter().flatten().collect());
}

#[test]
fn frameworks_registries_and_servers_have_their_cause_said_and_no_other_word_is_taken_for_one() {
    let all = [
        logs::of_frameworks(),
        other_things::of_other_things(),
        places::of_places(),
        words::of_words(),
        reported::of_reports(),
    ];
    check(all.into_iter().flatten().collect());
}

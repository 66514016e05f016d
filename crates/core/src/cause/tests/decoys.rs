//! Logs and events full of words of other causes: the true one is said, and none of the others.

use super::{IMAGE, denied, ended, event, task, unhealthy, unstarted, with};
use crate::cause::{Seen, SeenLine, SeenTarget, TargetCheck, find};

/// The code, what is seen, words that have to be said, and words that must not be.
pub(super) type Decoy = (&'static str, Seen, &'static [&'static str], &'static [&'static str]);

const NOISE: [&str; 8] = [
    "{\"level\":\"info\",\"msg\":\"GET /health 404 127.0.0.1\"}",
    "2026-11-30T10:00:00Z WARN permission denied reading /proc/1/environ, continuing",
    "INFO memory limit 512 MiB, out of memory guard enabled",
    "[notice] using port 8080",
    "DEBUG connection refused by 10.0.0.9:8125 (statsd), metrics disabled",
    "npm warn deprecated request@2.88.2: no longer supported",
    "{\"level\":40,\"msg\":\"KeyError swallowed: 'FEATURE_FLAGS'\"}",
    "info: timeout of 30 s set, i/o timeout handled",
];

pub(super) fn noisy(lines: &[&str]) -> Vec<SeenLine> {
    NOISE.iter().copied().chain(lines.iter().copied()).map(SeenLine::from).collect()
}

pub(super) fn crashed(lines: &[&str]) -> Seen {
    with(ended(1, &[]), |s| s.container_mut("app").log = noisy(lines))
}

fn decoys() -> Vec<Decoy> {
    let secret = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:prod/db-AbCdEf";
    vec![
        (
            "missing-variable",
            crashed(&["Error: Missing required environment variable: STRIPE_KEY", "    at boot (/app/x.js:1:1)"]),
            &["STRIPE_KEY"],
            &["permission", "memory", "refused", "FEATURE_FLAGS", "404"],
        ),
        (
            "missing-variable",
            crashed(&[
                "Traceback (most recent call last):",
                "KeyError: 'DATABASE_URL'",
                "",
                "During handling of the above exception, another exception occurred:",
                "",
                "Traceback (most recent call last):",
                "django.core.exceptions.ImproperlyConfigured: Error loading psycopg2 module: No module named 'psycopg2'",
                "[2026-11-30 10:00:01 +0000] [7] [INFO] Worker exiting (pid: 7)",
                "[2026-11-30 10:00:01 +0000] [1] [ERROR] Reason: Worker failed to boot.",
            ]),
            &["DATABASE_URL"],
            &["psycopg2", "memory"],
        ),
        (
            "connection-timeout",
            crashed(&[
                "Error: connect ETIMEDOUT 10.0.12.7:5432",
                "    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16)",
            ]),
            &["10.0.12.7:5432", "security group"],
            &["nothing listens", "permission"],
        ),
        (
            "host-unknown",
            crashed(&[
                "sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) could not translate host name \"postgres\" to address: Temporary failure in name resolution",
            ]),
            &["`postgres`"],
            &["security group", "refuse"],
        ),
        (
            "database-login-failed",
            crashed(&[
                "connection to server at \"db.prod\" (10.0.3.4), port 5432 failed: FATAL:  password authentication failed for user \"app\"",
                "connection to server at \"db.prod\" (10.0.3.4), port 5432 failed: FATAL:  no pg_hba.conf entry for host \"10.0.1.5\", user \"app\", database \"app\", no encryption",
            ]),
            &["`app`"],
            &["security group", "not answer"],
        ),
        (
            "table-missing",
            crashed(&["error: relation \"orders\" does not exist", "error: connect ECONNREFUSED 127.0.0.1:6379"]),
            &["`orders`"],
            &["refuse", "6379"],
        ),
        (
            "out-of-memory",
            with(ended(137, &[]), |s| {
                s.container_mut("app").reason =
                    Some("OutOfMemoryError: Container killed due to memory usage".to_owned());
                s.container_mut("app").log = noisy(&["Error: connect ECONNREFUSED 10.0.3.17:5432"]);
            }),
            &["1024 MiB", "2048"],
            &["ECONNREFUSED", "refuse", "5432"],
        ),
        (
            "killed",
            with(ended(137, &[]), |s| {
                s.container_mut("app").log = noisy(&["Error: connect ECONNREFUSED 10.0.3.17:5432"])
            }),
            &["SIGKILL"],
            &["refuse", "5432", "health check"],
        ),
        (
            "health-path-not-found",
            with(unhealthy("Health checks failed with these codes: [404]", &[]), |s| {
                s.container_mut("app").log = noisy(&["listening on 127.0.0.1:9000", "KeyError: 'STRIPE_KEY'"]);
                s.container_mut("app").exit_code = Some(137);
            }),
            &["404", "/health"],
            &["127.0.0.1", "STRIPE_KEY", "memory", "SIGKILL"],
        ),
        (
            "listens-on-localhost",
            with(unhealthy("Health checks failed", &[]), |s| {
                s.container_mut("app").log = noisy(&[
                    "[2026-11-30] [1] [INFO] Listening at: http://127.0.0.1:8080 (1)",
                    "metrics listening on 0.0.0.0:9090",
                ]);
            }),
            &["127.0.0.1", "0.0.0.0"],
            &["9090", "security group"],
        ),
        (
            "wrong-port",
            with(unhealthy("Health checks failed", &[]), |s| {
                s.container_mut("app").log = noisy(&[
                    "Debugger listening on ws://127.0.0.1:9229/x",
                    "ready - started server on 0.0.0.0:3000, url: http://localhost:3000",
                ]);
            }),
            &["8080", "3000"],
            &["9229", "127.0.0.1"],
        ),
        (
            "health-check-timeout",
            with(unhealthy("Request timed out", &["Server listening on 0.0.0.0:8080"]), |s| {
                s.events.push("(service web) has reached a steady state.".to_owned());
            }),
            &["security group", "8080"],
            &["404", "127.0.0.1"],
        ),
        (
            "no-route-to-ecr",
            unstarted(
                "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref 111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop:v1: failed to do request: Head \"https://111122223333.dkr.ecr.eu-central-1.amazonaws.com/v2/shop/manifests/v1\": dial tcp 3.120.181.40:443: i/o timeout. Check that the role has the permissions to pull images from the registry.",
            ),
            &["route", "NAT"],
            &["execution role", "tag", "permission"],
        ),
        (
            "execution-role-denied",
            unstarted(&format!(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret {secret} from secrets manager: AccessDeniedException: {} status code: 400, request id: 7",
                denied(
                    "secretsmanager:GetSecretValue",
                    secret,
                    "no identity-based policy allows the secretsmanager:GetSecretValue action"
                )
            )),
            &["execution role", "secretsmanager:GetSecretValue", "\"Effect\":\"Allow\""],
            &["route", "NAT", "task role", "kms"],
        ),
        (
            "image-tag-missing",
            unstarted(&format!(
                "CannotPullContainerError: The task can\u{2019}t pull the image. Check whether the image exists. pull image manifest has been retried 7 time(s): failed to resolve ref {IMAGE}: {IMAGE}: not found"
            )),
            &["v41"],
            &["role", "route", "403"],
        ),
        (
            "role-not-assumable",
            event(
                "(service web) failed to launch a task with (error ECS was unable to assume the role 'arn:aws:iam::111122223333:role/app' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.).",
            ),
            &["trust", "ecs-tasks.amazonaws.com"],
            &["PassRole"],
        ),
        (
            "task-stopped-by-person",
            with(task("UserInitiated", "Task stopped by user"), |s| {
                s.container_mut("app").exit_code = Some(137);
                s.container_mut("app").log = noisy(&["Error: connect ECONNREFUSED 10.0.3.17:5432"]);
            }),
            &["StopTask"],
            &["memory", "refuse"],
        ),
        (
            "spot-interrupted",
            with(task("SpotInterruption", "Your Spot Task was interrupted."), |s| {
                s.container_mut("app").exit_code = Some(143);
                s.container_mut("app").log = noisy(&["ERROR lost connection to database"]);
            }),
            &["Spot"],
            &["database", "memory"],
        ),
        (
            "application-error",
            crashed(&[
                "Error: connect ECONNREFUSED 10.0.3.17:6379, retrying in 2 s",
                "Connected to redis",
                "Server started on port 8080",
                "TypeError: Cannot read properties of undefined (reading 'id')",
            ]),
            &["TypeError"],
            &["6379", "refuse"],
        ),
        (
            "port-in-use",
            crashed(&["Error: listen EADDRINUSE: address already in use 0.0.0.0:8080", "npm error code ELIFECYCLE"]),
            &["8080"],
            &["permission", "security group"],
        ),
        (
            "file-access-denied",
            crashed(&["Error: EACCES: permission denied, mkdir '/var/cache/app'"]),
            &["/var/cache/app"],
            &["IAM", "role", "policy", "port"],
        ),
        (
            "permission-missing",
            crashed(&[
                "AccessDenied: User: arn:aws:sts::111122223333:assumed-role/shop-app/abc is not authorized to perform: sqs:ReceiveMessage on resource: arn:aws:sqs:eu-central-1:111122223333:jobs because no identity-based policy allows the sqs:ReceiveMessage action",
            ]),
            &["task role", "sqs:ReceiveMessage"],
            &["execution role"],
        ),
        (
            "health-path-fails",
            with(unhealthy("x", &["Error: connect ECONNREFUSED 10.0.3.17:5432"]), |s| {
                s.events.clear();
                s.targets = vec![
                    SeenTarget { state: "healthy".to_owned(), ..SeenTarget::default() },
                    SeenTarget {
                        state: "unhealthy".to_owned(),
                        code: "Target.ResponseCodeMismatch".to_owned(),
                        description: "Health checks failed with these codes: [503]".to_owned(),
                        port: Some(8080),
                    },
                ];
                s.target_check = Some(TargetCheck { path: Some("/ready".to_owned()), ..TargetCheck::default() });
            }),
            &["503", "/ready"],
            &["127.0.0.1", "security group"],
        ),
    ]
}

#[test]
fn the_true_cause_is_said_among_the_words_of_others_and_none_of_those() {
    check(decoys());
}

pub(super) fn check(decoys: Vec<Decoy>) {
    let mut wrong = vec![];
    for (code, seen, needed, forbidden) in decoys {
        let Some(cause) = find(&seen) else {
            wrong.push(format!("{code}: nothing"));
            continue;
        };
        let said = format!("{} {} {}", cause.sentence, cause.likely.join(" "), cause.next).to_lowercase();
        let lacks: Vec<_> = needed.iter().filter(|word| !said.contains(&word.to_lowercase())).collect();
        let has: Vec<_> = forbidden.iter().filter(|word| said.contains(&word.to_lowercase())).collect();
        if cause.code != code || !lacks.is_empty() || !has.is_empty() {
            wrong.push(format!("{code}: lacks {lacks:?}, has {has:?}: {cause:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

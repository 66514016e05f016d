//! Health checks of load balancers and of containers.

use super::{Case, event, task, unhealthy, with};
use crate::cause::{SeenLine, SeenTarget, TargetCheck};

pub(super) fn cases() -> Vec<Case> {
    let codes = |code: &str| format!("Health checks failed with these codes: [{code}]");
    let at = |at: f64, text: &str| SeenLine { at: Some(at), text: text.to_owned() };
    let check = |command: &str, start_period: u64, log: Vec<SeenLine>| {
        with(task("ServiceSchedulerInitiated", "Task failed container health checks"), |s| {
            s.started_at = Some(1000.0);
            let app = s.container_mut("app");
            (app.health, app.exit_code) = (Some("UNHEALTHY".to_owned()), Some(143));
            app.check = Some(command.to_owned());
            (app.check_start_period, app.check_takes) = (Some(start_period), Some(90));
            app.log = log;
        })
    };
    vec![
        ("health-path-not-found", "404", unhealthy(&codes("404"), &["listening on 127.0.0.1:9229"])),
        ("health-path-redirects", "301", unhealthy(&codes("301"), &[])),
        ("health-path-needs-login", "401", unhealthy(&codes("401"), &[])),
        ("health-host-refused", "400", unhealthy(&codes("400"), &[])),
        ("health-path-fails", "503", unhealthy(&codes("503"), &[])),
        ("health-path-status", "204", unhealthy(&codes("204"), &[])),
        (
            "listens-on-localhost",
            "its log says so",
            unhealthy(
                "Health checks failed",
                &["INFO:     Uvicorn running on http://127.0.0.1:8080 (Press CTRL+C to quit)"],
            ),
        ),
        ("wrong-port", "its log says so", unhealthy("Health checks failed", &["Server listening on port 3000"])),
        (
            "health-check-refused",
            "another program of it is local only",
            unhealthy("Health checks failed", &["Debugger listening on ws://127.0.0.1:9229/x"]),
        ),
        (
            "health-check-refused",
            "it says nothing",
            unhealthy("Health checks failed", &["INFO starting", "connected to 127.0.0.1:6379"]),
        ),
        (
            "slow-start",
            "it listens where it is asked, too late",
            with(unhealthy("Health checks failed", &[]), |s| {
                (s.started_at, s.grace_seconds) = (Some(1000.0), Some(30));
                s.container_mut("app").log = vec![at(1095.0, "Server listening on port 8080")];
            }),
        ),
        (
            "health-connection-broken",
            "it listens where it is asked, in time",
            with(unhealthy("Health checks failed", &[]), |s| {
                (s.started_at, s.grace_seconds) = (Some(1000.0), Some(120));
                s.container_mut("app").log = vec![at(1005.0, "Server listening on port 8080")];
            }),
        ),
        (
            "health-port-differs",
            "the check's own port",
            with(unhealthy("Health checks failed", &["listening on 0.0.0.0:8080"]), |s| {
                s.target_check = Some(TargetCheck { port: Some(9000), ..TargetCheck::default() });
            }),
        ),
        (
            "health-check-timeout",
            "no answer: two causes",
            unhealthy("Request timed out", &["listening on 0.0.0.0:8080"]),
        ),
        (
            "target-not-in-use",
            "no listener",
            unhealthy("Target group is not configured to receive traffic from the load balancer", &[]),
        ),
        (
            "target-zone-not-enabled",
            "the zone",
            unhealthy("Target is in an Availability Zone that is not enabled for the load balancer", &[]),
        ),
        (
            "target-address-unusable",
            "the address",
            unhealthy("The IP address cannot be used as a target, because it is in use by a load balancer", &[]),
        ),
        ("load-balancer-internal", "AWS", unhealthy("Health checks failed due to an internal error", &[])),
        ("load-balancer-check-failed", "nobody says why", with(unhealthy("x", &[]), |s| s.events.clear())),
        (
            "health-path-not-found",
            "DescribeTargetHealth says it where no event does",
            with(unhealthy("x", &[]), |s| {
                s.events.clear();
                s.targets = vec![SeenTarget {
                    state: "unhealthy".to_owned(),
                    code: "Target.ResponseCodeMismatch".to_owned(),
                    description: "Health checks failed with these codes: [404]".to_owned(),
                    port: Some(8080),
                }];
            }),
        ),
        (
            "container-unhealthy",
            "its own check: two causes",
            check("curl -f http://localhost:8080/health || exit 1", 0, vec![]),
        ),
        (
            "container-check-port",
            "its own check asks another port",
            check("curl -f http://localhost:3000/health", 0, vec!["listening on 0.0.0.0:8080".into()]),
        ),
        (
            "container-slow-start",
            "its own check, too early",
            check("curl -f http://localhost:8080/", 0, vec![at(1140.0, "listening on 0.0.0.0:8080")]),
        ),
        (
            "container-unhealthy",
            "an event, and no task any more",
            with(event("(service web) (task 9c1e) failed container health checks."), |s| {
                s.container_mut("app").check = Some("true".to_owned());
            }),
        ),
    ]
}

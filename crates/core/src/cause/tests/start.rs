//! Placement, starts, and stops from outside.

use super::{Case, ended, event, task, unstarted, with};
use crate::cause::{Seen, SeenNetwork, SeenSubnet};

pub(super) fn cases() -> Vec<Case> {
    let create = "CannotStartContainerError: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: ";
    let start = |rest: &str| {
        with(unstarted("CannotStartContainerError"), |s| {
            s.container_mut("app").reason = Some(format!("{create}{rest}: unknown"));
        })
    };
    let eni = "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment enabled in subnet 'subnet-0a1'";
    vec![
        ("subnet-addresses-used-up", "EC2 says it", unstarted(&format!("{eni}: InsufficientFreeAddressesInSubnet"))),
        (
            "subnet-addresses-used-up",
            "a look at the subnet says it",
            with(unstarted(eni), |s| {
                let subnet =
                    SeenSubnet { id: "subnet-0a1".to_owned(), free_addresses: Some(0), ..SeenSubnet::default() };
                s.network = Some(SeenNetwork { subnets: vec![subnet], ..SeenNetwork::default() });
            }),
        ),
        ("network-interface-failed", "nothing says it", unstarted(eni)),
        (
            "tag-policy",
            "an organization's tags",
            unstarted(&format!("{eni}: TagPolicyViolation: The tag policy does not allow the specified value")),
        ),
        ("network-interface-limit", "the quota", unstarted(&format!("{eni}: NetworkInterfaceLimitExceeded"))),
        ("aws-not-ready", "AWS's own", unstarted("Timeout waiting for network interface provisioning to complete.")),
        (
            "capacity-unavailable",
            "no task at all: only the event knows",
            event(
                "(service web) was unable to place a task. Reason: Capacity is unavailable at this time. Please try again later or in a different availability zone.",
            ),
        ),
        (
            "vcpu-limit",
            "the quota of tasks",
            event(
                "(service web) was unable to place a task. Reason: You've reached the limit on the number of tasks you can run concurrently.",
            ),
        ),
        (
            "vcpu-limit",
            "the quota",
            event(
                "(service web) was unable to place a task. Reason: You\u{2019}ve reached the limit on the number of vCPUs you can run concurrently.",
            ),
        ),
        (
            "capacity-unavailable",
            "of RunTask",
            Seen::refused(
                "Capacity is unavailable at this time. Please try again later or in a different availability zone",
            ),
        ),
        (
            "command-not-found",
            "a list that is one string",
            start("exec: \"npm start\": executable file not found in $PATH"),
        ),
        (
            "missing-variable",
            "of an essential helper",
            with(ended(143, &[]), |s| {
                s.load_balanced = Some(("app".to_owned(), 8080));
                let agent = s.container_mut("datadog-agent");
                agent.exit_code = Some(1);
                agent.log = vec!["You must set the DD_API_KEY environment variable".into()];
            }),
        ),
        ("command-not-found", "runc", start("exec: \"gunicorn\": executable file not found in $PATH")),
        (
            "start-file-missing",
            "runc",
            start("exec: \"/entrypoint.sh\": stat /entrypoint.sh: no such file or directory"),
        ),
        ("file-not-executable", "a mode, not IAM", start("exec: \"/entrypoint.sh\": permission denied")),
        ("file-not-executable", "the shell's words", ended(126, &["/bin/sh: 1: /app/start.sh: Permission denied"])),
        ("not-executable-126", "no words", ended(126, &["Starting"])),
        ("command-not-found", "the shell's words", ended(127, &["Starting", "/bin/sh: 1: bundle: not found"])),
        ("command-not-found-127", "no words", ended(127, &[])),
        ("interpreter-missing", "the file is there", ended(1, &["exec /entrypoint.sh: no such file or directory"])),
        ("crlf-in-entrypoint", "CRLF, said", ended(127, &["env: 'bash\\r': No such file or directory"])),
        (
            "crlf-in-entrypoint",
            "CRLF, said otherwise",
            ended(2, &["/entrypoint.sh: line 2: $'\\r': command not found"]),
        ),
        (
            "access-point-owner",
            "EFS",
            unstarted(
                "CannotCreateContainerError: Error response from daemon: failed to chown /var/lib/x: operation not permitted",
            ),
        ),
        (
            "container-runtime",
            "the runtime",
            unstarted("ContainerRuntimeTimeoutError: Could not transition to started; timed out after waiting 3m0s"),
        ),
        (
            "container-not-started",
            "in words that nobody knows",
            unstarted("CannotStartContainerError: Error response from daemon: gremlins"),
        ),
        (
            "dependency-timed-out",
            "the other one is to blame",
            with(unstarted("Task failed to start"), |s| {
                s.container_mut("app").reason =
                    Some("container ordering dependency [envoy] for target [app] has timed out".to_owned());
            }),
        ),
        (
            "dependency-failed",
            "the other one ended badly",
            with(unstarted("Task failed to start"), |s| {
                s.container_mut("app").reason = Some(
                    "dependency error: container ordering dependency [init] for target [app] did not exit successfully"
                        .to_owned(),
                );
            }),
        ),
        ("spot-interrupted", "Spot", task("SpotInterruption", "Your Spot Task was interrupted.")),
        (
            "aws-maintenance",
            "the host",
            task(
                "TerminationNotice",
                "ECS is performing maintenance on the underlying infrastructure hosting the task.",
            ),
        ),
        ("task-stopped-by-person", "a person", task("UserInitiated", "Task stopped by user")),
        (
            "cpu-memory-pair",
            "Fargate has no such size",
            Seen::refused("ClientException: No Fargate configuration exists for given values: 256 CPU, 4096 memory"),
        ),
    ]
}

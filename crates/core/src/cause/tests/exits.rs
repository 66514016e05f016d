//! How containers end.

use super::{Case, ended, with};
use crate::cause::Seen;

pub(super) fn cases() -> Vec<Case> {
    let oom = "OutOfMemoryError: Container killed due to memory usage";
    vec![
        (
            "out-of-memory",
            "ECS says so",
            with(ended(137, &["INFO 127.0.0.1 GET /"]), |s| s.container_mut("app").reason = Some(oom.to_owned())),
        ),
        (
            "out-of-memory",
            "the container's own limit",
            with(ended(137, &[]), |s| {
                s.container_mut("app").reason = Some(oom.to_owned());
                s.container_mut("app").memory = Some(256);
            }),
        ),
        ("killed", "ECS does not say so", ended(137, &[])),
        ("terminated", "SIGTERM, and not of ECS", ended(143, &[])),
        (
            "node-heap-used-up",
            "the runtime's own limit",
            ended(134, &["FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"]),
        ),
        ("aborted", "no words", ended(134, &[])),
        (
            "java-heap-used-up",
            "Java",
            ended(1, &["Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space"]),
        ),
        ("segmentation-fault", "native code", ended(139, &[])),
        ("bus-error", "native code", ended(135, &[])),
        ("container-finished", "it ended well, and a service goes on", ended(0, &["done"])),
        (
            "essential-sidecar-ended",
            "the helper ended, not the application",
            with(ended(143, &[]), |s| {
                s.load_balanced = Some(("app".to_owned(), 8080));
                let init = s.container_mut("config-init");
                (init.exit_code, init.is_essential) = (Some(0), true);
            }),
        ),
        (
            "application-error",
            "the application failed, the helper was stopped after it",
            with(ended(1, &["fatal: licence expired"]), |s| {
                s.load_balanced = Some(("app".to_owned(), 8080));
                s.container_mut("envoy").exit_code = Some(143);
            }),
        ),
        ("ended-without-words", "it said nothing", ended(1, &["INFO hello"])),
        (
            "application-error",
            "in its own words",
            ended(1, &["INFO start", "Error: the licence has expired", "    at main (/app/x.js:1:1)"]),
        ),
        (
            "deadline-passed",
            "it still runs",
            Seen { command: Some("migrate".to_owned()), passed_deadline: Some(900), ..Seen::default() },
        ),
    ]
}

//! How containers ended that had started.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html>

use crate::cause::row::Row;
use crate::cause::row::Sign::{Exit, Is, Said};
use crate::cause::signs::{has_exit_code, has_own_words, is_alone, is_beside, is_no_exception, passed_its_deadline};

/// What the system says, before what the program says.
pub(super) const SIGNALS: &[Row] = &[
    Row {
        code: "out-of-memory",
        title: "The container used up its memory",
        proofs: &[&[Said("OutOfMemoryError: Container killed due to memory usage")], &[Said("OutOfMemory")]],
        cause: "container `{container}` used up its memory[ of {limit} MiB] and was killed",
        next: "[{larger}; ]or let the program use less",
        likely: &[],
        more: "The kernel kills what exceeds the limit of the container, or of the task. Container Insights shows `MemoryUtilized`. Runtimes with a heap of their own (Java, Node.js) need a limit below the container's.",
    },
    Row {
        code: "deadline-passed",
        title: "The release command did not end in time",
        proofs: &[&[Is(passed_its_deadline)]],
        cause: "{subject} is still running after {deadline} s, which is its `timeout`: it was not stopped",
        next: "wait for it to end and deploy again, or raise its `timeout`; until it ends no other release starts",
        likely: &[],
        more: "A migration that waits for a lock of a long transaction looks like this: see what the database waits for. Nothing is stopped by us, since it may be half-way.",
    },
];

pub(super) const CODES: &[Row] = &[
    Row {
        code: "essential-sidecar-ended",
        title: "An essential container beside the application ended, and ECS stopped the task",
        proofs: &[&[Is(is_beside), Exit(&[0])], &[Is(is_beside), Exit(&[1, 2, 3, 255, 126, 127, 134, 139])]],
        cause: "container `{container}` ended with {exit}, and as it is essential ECS stopped the whole task with `{main}`[; it said: {words}]",
        next: "set `essential: false` for `{container}` if the task can go on without it, or see in its log why it ended",
        likely: &[],
        more: "Every container is essential unless the task definition says otherwise. `dependsOn` with COMPLETE or SUCCESS needs one that is not.",
    },
    Row {
        code: "container-finished",
        title: "The container's program ended well, and a service must go on",
        proofs: &[&[Is(is_alone), Exit(&[0])]],
        cause: "the program of container `{container}` came to its end (exit code 0)[ after it said: {words}], and a service has to go on running",
        next: "start the server itself, in the foreground, as the container's command",
        likely: &[],
        more: "A program that goes into the background, a script without `exec`, or a command that only prints something.",
    },
    Row {
        code: "segmentation-fault",
        title: "The program accessed memory that is not its own",
        proofs: &[&[Exit(&[139]), Is(is_no_exception)]],
        cause: "the program of container `{container}` crashed with a segmentation fault (exit code 139)",
        next: "run the image on your machine; look for native libraries that are built for another libc or CPU",
        likely: &[],
        more: "SIGSEGV: a bug in native code.",
    },
    Row {
        code: "bus-error",
        title: "The program crashed with a bus error",
        proofs: &[&[Exit(&[135])]],
        cause: "the program of container `{container}` crashed with a bus error (exit code 135)",
        next: "look for shared memory that is too small (/dev/shm) or a file that shrank while it was mapped",
        likely: &[],
        more: "SIGBUS.",
    },
    Row {
        code: "killed",
        title: "The program was killed, and AWS does not tell why",
        proofs: &[&[Exit(&[137])]],
        cause: "container `{container}` was killed (SIGKILL, exit code 137), and AWS does not say by what",
        next: "look at `MemoryUtilized` of the task in Container Insights[; its limit is {limit} MiB]; see whether something in the container kills processes",
        likely: &[
            "the task as a whole used up its memory[ of {task-memory} MiB]",
            "something else sent SIGKILL: a supervisor in the container, or a stop that took longer than `stopTimeout`[ ({stop-timeout} s)]",
        ],
        more: "Where ECS knows that it was the memory, the container's reason is OutOfMemoryError.",
    },
    Row {
        code: "terminated",
        title: "The program ended at a SIGTERM that ECS did not send",
        proofs: &[&[Exit(&[143])]],
        cause: "container `{container}` ended at SIGTERM (exit code 143), and ECS did not stop the task",
        next: "see in the log what ended it: a supervisor or a script in the container",
        likely: &["a process in the container sent it", "the task was stopped by another container's end"],
        more: "ECS's own reasons are told in the stopped reason.",
    },
    Row {
        code: "application-error",
        title: "The program ended with an error of its own",
        proofs: &[&[Is(has_own_words)]],
        cause: "{subject} ended with exit code {exit}; it said: {words}",
        next: "fix what it says; the same image with the same variables shows it on your machine: `docker run`",
        likely: &[],
        more: "The line is the first error in the log that nothing took back. It is the program's own word, and no known cause fits it.",
    },
    Row {
        code: "aborted",
        title: "The program aborted itself",
        proofs: &[&[Exit(&[134])]],
        cause: "the program of container `{container}` aborted itself (exit code 134)",
        next: "look at the last lines of the log for an assertion or a heap that is used up",
        likely: &[],
        more: "SIGABRT: Node.js ends like this when its heap is full.",
    },
    Row {
        code: "ended-without-words",
        title: "The program ended with an error and said nothing",
        proofs: &[&[Is(has_exit_code)]],
        cause: "{subject} ended with exit code {exit}, and its log does not say why",
        next: "run the image with the same command and variables on your machine: `docker run`; see that errors go to standard error and that the log driver does not drop lines (`mode: blocking`)",
        likely: &[
            "a setting or a variable that the program needs at its start",
            "an error that goes elsewhere than to standard output or standard error",
        ],
        more: "The awslogs driver is non-blocking by default since June 2025 and may lose the last lines.",
    },
];

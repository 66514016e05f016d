//! From a call that failed to a failure that a person can act on.

use crate::ports::{BuildFailure, BuildFailureKind, CallError, CallErrorKind};
use fargate_deploy_core::cause::{self, Seen};
use fargate_deploy_core::outcome::Place;
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_core::permission::{Permission, advice};

/// What a failed call means to the user, `while_doing` being a gerund: `describing service shop/web`.
pub fn call_failed(while_doing: &str, error: &CallError) -> Failure {
    let what = format!("{while_doing}: {}", sentence(error));
    let failure = match error.kind {
        CallErrorKind::Denied => Failure::new(Reason::Permission, what).with_next(format!(
            "allow `{}` in the policy of the role that deploys (docs/iam.md lists every action with its resource)",
            error.action
        )),
        CallErrorKind::Identity => Failure::new(Reason::Identity, what).with_next(
            "check that the credentials of this run are still valid; with `role` they are renewed as needed",
        ),
        CallErrorKind::Invalid | CallErrorKind::NotFound => Failure::new(Reason::Config, what),
        CallErrorKind::Throttled => Failure::new(Reason::Unavailable, what)
            .with_next("AWS kept throttling after every retry: run it again later"),
        CallErrorKind::Conflict => Failure::new(Reason::Unavailable, what)
            .with_next("AWS does not take it as things are now: when what it names has passed, run it again"),
        CallErrorKind::Unreachable if error.is_answered() => Failure::new(Reason::Unavailable, what)
            .with_next("AWS answered, and could not do it however often it was asked: run it again later"),
        CallErrorKind::Unreachable => Failure::new(Reason::Unavailable, what).with_next(match error.out_of_reach() {
            Some(out_of_reach) => format!("AWS could not be reached: {}, then run it again", out_of_reach.advice()),
            None => {
                "AWS could not be reached: check the network, `HTTPS_PROXY`, `AWS_CA_BUNDLE` and `AWS_ENDPOINT_URL`, \
                then run it again"
                    .to_owned()
            }
        }),
    };
    let failure = match error.kind {
        // It passes by itself, or nothing is known.
        CallErrorKind::Throttled | CallErrorKind::Unreachable => failure,
        _ => failure.because(while_doing, cause::find(&Seen::refused(format!("{}: {}", error.code, error.message)))),
    };
    match &error.request_id {
        Some(id) => failure.with_evidence(vec![format!("AWS request id {id}")]),
        None => failure,
    }
}

/// What a failed call to GitHub means to the user; `wanted` is what the job's token needs for it.
pub fn github_failed(while_doing: &str, error: &CallError, wanted: &[Permission]) -> Failure {
    let what = format!("{while_doing}: {}", sentence(error));
    let failure = match error.kind {
        CallErrorKind::Denied => Failure::new(Reason::Permission, what).with_next(advice(wanted)),
        CallErrorKind::Identity => Failure::new(Reason::Identity, what)
            .with_next("give the step the job's token: `github-token: ${{ github.token }}`, or `GITHUB_TOKEN`"),
        CallErrorKind::Throttled => Failure::new(Reason::Unavailable, what)
            .with_next("GitHub kept limiting the rate of calls: run it again later"),
        CallErrorKind::Unreachable if error.is_answered() => Failure::new(Reason::Unavailable, what)
            .with_next("GitHub answered, and could not do it: run it again later"),
        CallErrorKind::Unreachable => Failure::new(Reason::Unavailable, what).with_next(
            "GitHub could not be reached: check the network, HTTPS_PROXY and GITHUB_API_URL, then run it again",
        ),
        // What a token may not read is not there for it.
        CallErrorKind::NotFound => Failure::new(Reason::Permission, what).with_next(advice(wanted)),
        CallErrorKind::Conflict | CallErrorKind::Invalid => Failure::new(Reason::Unavailable, what).with_next(
            "GitHub says why it does not take it; nothing on AWS was changed by this: run it again when it does",
        ),
    };
    match &error.request_id {
        Some(id) => failure.with_evidence(vec![format!("GitHub request id {id}")]),
        None => failure,
    }
}

/// `ACTION answered CODE: MESSAGE`.
pub fn sentence(error: &CallError) -> String {
    match error.code.as_str() {
        "" => format!("`{}` gave no answer: {}", error.action, error.message),
        code => format!("`{}` answered {code}: {}", error.action, error.message),
    }
}

/// What a failed build or push means to the user.
pub fn build_failed(what: &str, failure: BuildFailure) -> Failure {
    let reason = match failure.kind {
        BuildFailureKind::Engine | BuildFailureKind::Build => Reason::Build,
        BuildFailureKind::Push | BuildFailureKind::Login => Reason::Push,
    };
    let refused = matches!(failure.kind, BuildFailureKind::Push | BuildFailureKind::Login);
    let cause = cause::find(&Seen::refused(failure.message.as_str())).filter(|_| refused);
    let mut told = Failure::new(reason, format!("{what}: {}", failure.message)).with_log(failure.log);
    told.next = failure.hint;
    told = told.because(what, cause);
    told.place = failure.at.map(|(file, line)| Place { file, line, column: 1 });
    told
}

//! A deploy in the process of the test.

use fargate_deploy::commands::deploy::{Options, deploy};
use fargate_deploy::config::{Answers, Request, draft};
use fargate_deploy::context::RunContext;
use fargate_deploy::render::log::{Detail, Log, Style};
use fargate_deploy_core::outcome::Outcome;
use std::path::Path;
use std::sync::Arc;
use test_support::{Env, Lines};

/// Runs `deploy` in this process, as the program would.
pub async fn deploy_from(directory: &Path, env: &Env, options: Options) -> (Outcome, String) {
    let lines = Lines::default();
    let log = Arc::new(Log::new(lines.clone(), Style { detail: Detail::Verbose, fence: None }));
    let config = draft(&Request::default(), env, directory).and_then(|draft| draft.finish(&Answers::default()));
    let config = config.unwrap_or_else(|e| panic!("{e}"));
    let context =
        RunContext { sha: Some("0123456789abcdef0123456789abcdef01234567".to_owned()), ..RunContext::default() };
    let outcome = deploy(config, options, &context, env, log, std::future::pending()).await;
    (outcome, lines.text())
}

//! `verify`: everything that can be seen before a deploy, each thing with what was found. Nothing is changed, no secret is
//! read: with `--offline` of the files alone, else what AWS shows to the identity of this run too.

mod aws;

use crate::adapters::builder::EngineBuilder;
use crate::commands::bad_config;
use crate::commands::configure::configure;
use crate::config::{self, Answers, Config, ImageSource, Request};
use crate::definition_checks::{definitions, own};
use crate::events::Sink;
use crate::ports::{Build, Builder as _};
use fargate_deploy_core::outcome::Failure;
use fargate_deploy_core::verify::{Check, Files, Topic, Verdict, of_files};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub is_offline: bool,
    /// `--only`; empty: all of it.
    pub only: Vec<Topic>,
    /// Also what takes longer, and what no deploy has a permission for.
    pub is_deep: bool,
}

impl Scope {
    fn has(&self, topic: Topic) -> bool {
        self.only.is_empty() || self.only.contains(&topic)
    }
}

/// Looks at everything, and goes on after what failed.
///
/// # Errors
/// `config`: the config itself cannot be read. What else is wrong is in the checks.
pub async fn verify(
    request: &Request,
    scope: &Scope,
    env: &BTreeMap<String, String>,
    directory: &Path,
    sink: &Arc<dyn Sink + Send + Sync>,
    interrupt: impl Future<Output = ()>,
) -> Result<Vec<Check>, Failure> {
    let config = match scope.is_offline {
        true => {
            let draft = config::draft(request, env, directory).map_err(|e| bad_config(&e))?;
            if draft.needs().is_some() {
                let why = "the config takes values from AWS: only its shape was checked";
                return Ok(vec![Check::ok("config"), Check::skipped("everything else", why)]);
            }
            draft.finish(&Answers::default()).map_err(|e| bad_config(&e))?
        }
        false => configure(request, env, directory, Arc::clone(sink), interrupt).await?,
    };
    let files = async {
        if !scope.has(Topic::Files) {
            return vec![];
        }
        let (services, commands, contexts) =
            futures_util::join!(definitions(&config), own(&config), contexts(&config, env));
        of_files(Files { config: &config, services: &services, commands: &commands, contexts: &contexts })
    };
    let (mut checks, of_aws) = futures_util::join!(files, async {
        match scope.is_offline {
            true => vec![],
            false => aws::on_aws(&config, scope, env, sink).await,
        }
    });
    checks.extend(of_aws);
    Ok(checks)
}

type Read<K, T> = Vec<(K, Result<T, String>)>;

async fn contexts(
    config: &Config,
    env: &BTreeMap<String, String>,
) -> Read<fargate_deploy_core::names::ImageKey, fargate_deploy_core::plan::offline::ContextFacts> {
    let builder = EngineBuilder::new(env.clone());
    let builds = config.images.iter().filter_map(|image| match &image.source {
        ImageSource::Build(build) => Some((image.key.clone(), Build::of(build, build.platform.clone()))),
        ImageSource::Existing(_) => None,
    });
    join_all(builds.map(async |(key, build)| (key, builder.context(&build).await.map_err(|e| e.message)))).await
}

/// A line each, and how many of which.
#[must_use]
pub fn text(checks: &[Check]) -> String {
    let mut lines = vec![];
    let mut counts = [0_usize; 4];
    for check in checks {
        let (index, word, why, fix) = match &check.verdict {
            Verdict::Ok => (0, "ok", None, None),
            Verdict::Warning { why } => (1, "warning", Some(why), None),
            Verdict::Failed { why, fix, .. } => (2, "FAILED", Some(why), fix.as_ref()),
            Verdict::Skipped { why } => (3, "skipped", Some(why), None),
        };
        counts[index] += 1;
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        lines.push(format!("{word:<8} {}{why}", check.what));
        lines.extend(fix.map(|fix| format!("         fix: {fix}")));
    }
    let [ok, warnings, failed, skipped] = counts;
    lines.push(format!("{ok} ok, {warnings} warnings, {failed} failed, {skipped} skipped"));
    lines.iter().map(|line| format!("{}\n", crate::render::log::clean(line))).collect()
}

/// SARIF 2.1.0: what failed, and what was warned of, for GitHub's code scanning.
/// <https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning>
#[must_use]
pub fn sarif(checks: &[Check], config_file: &str) -> Value {
    let results: Vec<_> = checks
        .iter()
        .filter_map(|check| {
            let (level, rule, why) = match &check.verdict {
                Verdict::Failed { why, .. } => ("error", "verify/failed", why),
                Verdict::Warning { why } => ("warning", "verify/warning", why),
                Verdict::Ok | Verdict::Skipped { .. } => return None,
            };
            let file = check.file.as_deref().unwrap_or(config_file);
            Some(json!({
                "ruleId": rule, "level": level, "message": {"text": format!("{}: {why}", check.what)},
                "locations": [{"physicalLocation": {"artifactLocation": {"uri": file}, "region": {"startLine": 1}}}],
            }))
        })
        .collect();
    json!({
        "version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{
            "tool": {"driver": {
                "name": "fargate-deploy", "version": env!("CARGO_PKG_VERSION"),
                "rules": [{"id": "verify/failed"}, {"id": "verify/warning"}],
            }},
            "results": results,
        }],
    })
}

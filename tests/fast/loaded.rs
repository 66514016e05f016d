//! A config as a run reads it, of which nothing is in AWS.

use fargate_deploy::config::{Answers, Config, ConfigErrors, Request, draft};
use std::collections::BTreeMap;
use std::path::Path;

pub fn load(request: &Request, env: &BTreeMap<String, String>, directory: &Path) -> Result<Config, ConfigErrors> {
    draft(request, env, directory)?.finish(&Answers::default())
}

/// The document `source`, as the config file of `directory`.
pub fn parse(
    source: &str,
    request: &Request,
    env: &BTreeMap<String, String>,
    directory: &Path,
) -> Result<Config, ConfigErrors> {
    std::fs::write(directory.join("fargate-deploy.yml"), source).unwrap();
    load(request, env, directory)
}

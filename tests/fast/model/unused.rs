//! The ports that a watch has no use for.

use async_trait::async_trait;
use fargate_deploy::ports::*;
use fargate_deploy_core::cause::{SeenTarget, TargetCheck};
use fargate_deploy_core::image::Digest;
use fargate_deploy_core::names::TaskDefinitionArn;
use fargate_deploy_core::plan::offline::ContextFacts;
use fargate_deploy_core::task_definition::TaskDefinition;
use std::collections::BTreeMap;
use std::time::Duration;

/// Whoever calls it asks for something that has nothing to do with a rollout.
pub struct Unused;

#[async_trait(?Send)]
impl Identity for Unused {
    async fn caller(&self) -> Call<Caller> {
        unreachable!()
    }

    fn region(&self) -> &str {
        "eu-central-1"
    }
}

#[async_trait(?Send)]
impl TaskDefinitions for Unused {
    async fn task_definition(&self, _: &str) -> Call<TaskDefinition> {
        unreachable!()
    }

    async fn register(&self, _: &TaskDefinition) -> Call<TaskDefinitionArn> {
        unreachable!()
    }

    async fn deregister(&self, _: &TaskDefinitionArn) -> Call<()> {
        unreachable!()
    }
}

#[async_trait(?Send)]
impl Logs for Unused {
    async fn log_events(&self, _: &LogStream, _: Option<&str>) -> Call<LogPage> {
        unreachable!()
    }

    async fn find_log_events(&self, _: &LogQuery, _: Option<&str>) -> Call<FoundEvents> {
        unreachable!()
    }

    async fn log_tail(&self, _: &LogStream, _: usize, _: Option<i64>) -> Call<Vec<LogEvent>> {
        unreachable!()
    }
}

#[async_trait(?Send)]
impl Repositories for Unused {
    async fn repository(&self, _: Option<&EcrAddress>, _: &str) -> Call<Option<Repository>> {
        unreachable!()
    }

    async fn create_repository(&self, _: Option<&EcrAddress>, _: &str) -> Call<Repository> {
        unreachable!()
    }

    async fn registry_login(&self, _: Option<&EcrAddress>) -> Call<RegistryLogin> {
        unreachable!()
    }

    async fn image(&self, _: &Repository, _: &str) -> Call<Option<RegistryImage>> {
        unreachable!()
    }

    async fn is_pullable(&self, _: &Repository, _: &Digest) -> Call<bool> {
        unreachable!()
    }

    async fn only_platform(&self, _: &Repository, _: &Digest) -> Call<Option<String>> {
        unreachable!()
    }

    async fn tag_image(&self, _: &Repository, _: &Digest, _: &str) -> Call<()> {
        unreachable!()
    }
}

#[async_trait(?Send)]
impl Parameters for Unused {
    async fn create_parameter(&self, _: &str, _: &str) -> Call<()> {
        unreachable!()
    }

    async fn put_parameter(&self, _: &str, _: &str) -> Call<()> {
        unreachable!()
    }

    async fn parameters_under(&self, _: &str) -> Call<Vec<(String, String)>> {
        unreachable!()
    }

    async fn delete_parameter(&self, _: &str) -> Call<()> {
        unreachable!()
    }

    async fn parameter(&self, _: &str) -> Call<Option<Parameter>> {
        unreachable!()
    }
}

#[async_trait(?Send)]
impl Snapshots for Unused {
    async fn create_snapshot(&self, _: &str, _: &str) -> Call<()> {
        unreachable!()
    }

    async fn snapshot(&self, _: &str) -> Call<Option<DatabaseSnapshot>> {
        unreachable!()
    }
}

#[async_trait(?Send)]
impl Outputs for Unused {
    async fn stack_outputs(&self, _: &str) -> Call<Option<BTreeMap<String, String>>> {
        unreachable!()
    }

    async fn object(&self, _: &str, _: &str) -> Call<Option<Vec<u8>>> {
        unreachable!()
    }
}

#[async_trait(?Send)]
impl Builder for Unused {
    async fn platform(&self) -> Result<String, BuildFailure> {
        unreachable!()
    }

    async fn build(&self, _: &Build, _: &dyn Fn(BuildProgress)) -> Result<LocalImage, BuildFailure> {
        unreachable!()
    }

    async fn push(
        &self,
        _: &LocalImage,
        _: &str,
        _: Option<&RegistryLogin>,
        _: &dyn Fn(PushProgress),
    ) -> Result<Digest, BuildFailure> {
        unreachable!()
    }

    async fn content_digest(&self, _: &Build) -> Result<String, BuildFailure> {
        unreachable!()
    }

    async fn content(&self, _: &Build) -> Result<Content, BuildFailure> {
        unreachable!()
    }

    async fn stages_beside(&self, _: &Build) -> Result<Vec<String>, BuildFailure> {
        unreachable!()
    }

    async fn context(&self, _: &Build) -> Result<ContextFacts, BuildFailure> {
        unreachable!()
    }

    async fn resolve(&self, _: &str) -> Result<Digest, BuildFailure> {
        unreachable!()
    }
}

#[async_trait(?Send)]
impl Web for Unused {
    async fn get(&self, _: &str, _: Duration) -> Result<(u16, String), String> {
        unreachable!()
    }
}

/// Nothing is known, as for a role that may not look.
#[async_trait(?Send)]
impl Surroundings for Unused {
    async fn target_health(&self, _: &str) -> Call<Vec<SeenTarget>> {
        Ok(vec![])
    }

    async fn target_check(&self, _: &str) -> Call<Option<TargetCheck>> {
        Ok(None)
    }

    async fn subnets(&self, _: &[String]) -> Call<Vec<Subnet>> {
        Ok(vec![])
    }

    async fn route_tables(&self, _: &str) -> Call<Vec<RouteTable>> {
        Ok(vec![])
    }

    async fn has_role(&self, _: &str) -> Call<bool> {
        unreachable!()
    }

    async fn has_secret(&self, _: &str) -> Call<bool> {
        unreachable!()
    }

    async fn has_parameter(&self, _: &str) -> Call<bool> {
        unreachable!()
    }
}

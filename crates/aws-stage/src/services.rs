//! Every service of one stage, and the dispatch to them.

use std::sync::Arc;

use serde_json::Value;

use super::api::Caller;
use super::call_log::CallLog;
use super::cloudformation::Stacks;
use super::credentials::Credentials;
use super::ecr::Ecr;
use super::ecs::Ecs;
use super::elb::Elb;
use super::error::{AwsError, Reply};
use super::faults::Faults;
use super::github::GitHub;
use super::iam::Iam;
use super::logs::Logs;
use super::oidc::Oidc;
use super::rds::Databases;
use super::registry::Registry;
use super::s3::Objects;
use super::secrets::Secrets;
use super::ssm::Parameters;
use super::sts::Sts;
use super::validation;

/// The services, and what stands before them.
pub(crate) struct Services {
    /// Elastic Container Service.
    pub ecs: Ecs,
    /// Elastic Container Registry.
    pub ecr: Ecr,
    /// CloudWatch Logs.
    pub logs: Arc<Logs>,
    /// Elastic Load Balancing v2.
    pub elb: Arc<Elb>,
    /// Parameter Store.
    pub parameters: Arc<Parameters>,
    /// Secrets Manager.
    pub secrets: Arc<Secrets>,
    /// CloudFormation.
    pub stacks: Stacks,
    /// RDS.
    pub databases: Databases,
    /// S3.
    pub objects: Arc<Objects>,
    /// Identity and Access Management.
    pub iam: Arc<Iam>,
    /// Security Token Service.
    pub sts: Sts,
    /// GitHub's token service.
    pub oidc: Arc<Oidc>,
    /// GitHub's REST API.
    pub github: GitHub,
    /// The images.
    pub registry: Arc<Registry>,
    /// Who is who.
    pub credentials: Arc<Credentials>,
    /// What goes wrong.
    pub faults: Faults,
    /// What was asked.
    pub call_log: CallLog,
}

impl Services {
    /// One call, after identity and policies were dealt with.
    pub(crate) async fn call(&self, caller: &Caller, service: &str, operation: &str, body: Value) -> Reply {
        validation::check(service, operation, &body)?;
        match service {
            "ecs" => self.ecs.call(caller, operation, body).await,
            "ecr" => self.ecr.call(caller, operation, body).await,
            "logs" => self.logs.call(caller, operation, body).await,
            "ssm" => match self.ecs.sessions().call(operation, &body) {
                Some(reply) => reply,
                None => self.parameters.call(caller, operation, body).await,
            },
            "secretsmanager" => self.secrets.call(caller, operation, body).await,
            "cloudformation" => self.stacks.call(caller, operation, body).await,
            "rds" => self.databases.call(caller, operation, body).await,
            "sts" => self.sts.call(caller, operation, body).await,
            "iam" => self.iam.call(caller, operation, body).await,
            "elasticloadbalancing" | "elbv2" => self.elb.call(caller, operation, body).await,
            other => Err(AwsError::unknown_operation(other)),
        }
    }
}

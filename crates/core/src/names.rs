//! A type for every identifier, so that a cluster is never passed where a service is meant.

use crate::image::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(value: impl Into<String>) -> Self {
                Self(value.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value)
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.to_owned())
            }
        }
    )+};
}

names! {
    /// What the config and the outputs call an image.
    ImageKey,
    /// What the config and the outputs call a service.
    ServiceKey,
    /// `HOST/NAME@DIGEST`: what a task definition names, and nothing can move.
    PinnedImage,
    /// An ECS cluster, by short name or ARN, as the user wrote it.
    ClusterName,
    /// An ECS service, by short name or ARN, as the user wrote it.
    ServiceName,
    /// A container's name inside a task definition.
    ContainerName,
    /// `arn:aws:ecs:REGION:ACCOUNT:task-definition/FAMILY:REVISION`.
    TaskDefinitionArn,
    /// `ecs-svc/DIGITS`: one entry of a service's `deployments`, and the `startedBy` of its tasks.
    DeploymentId,
    /// `arn:aws:ecs:REGION:ACCOUNT:service-deployment/CLUSTER/SERVICE/ID`.
    ServiceDeploymentArn,
    /// `arn:aws:ecs:REGION:ACCOUNT:service-revision/CLUSTER/SERVICE/ID`.
    ServiceRevisionArn,
    /// `arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/ID`.
    TaskArn,
    /// `arn:aws:iam::ACCOUNT:role/NAME`.
    RoleArn,
}

/// One service in one cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServiceRef {
    pub cluster: ClusterName,
    pub name: ServiceName,
}

impl fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", short(self.cluster.as_str()), short(self.name.as_str()))
    }
}

impl PinnedImage {
    /// `name`: `HOST/NAME`.
    pub fn of(name: &str, digest: &Digest) -> Self {
        Self(format!("{name}@{digest}"))
    }
}

impl TaskDefinitionArn {
    /// `FAMILY:REVISION`, what people call a revision.
    pub fn short(&self) -> &str {
        short(self.as_str())
    }

    /// The family without the revision.
    pub fn family(&self) -> &str {
        self.short().split(':').next().unwrap_or_default()
    }

    /// The number within its family.
    pub fn revision(&self) -> Option<u64> {
        self.short().rsplit(':').next()?.parse().ok()
    }
}

impl TaskArn {
    /// The 32 hex digits that name the task, also the last part of its log streams.
    pub fn id(&self) -> &str {
        short(self.as_str())
    }
}

/// The account that an ARN names; empty for what belongs to none.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
pub fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}

/// What follows the last `/`: the short name inside an ARN or a path.
pub fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_of_an_arn_loses_revision_and_prefix() {
        let arn = TaskDefinitionArn::from("arn:aws:ecs:eu-central-1:111122223333:task-definition/gengar:41");
        assert_eq!(arn.short(), "gengar:41");
        assert_eq!(arn.family(), "gengar");
    }

    #[test]
    fn a_service_is_shown_by_short_names_even_when_given_by_arn() {
        let service = ServiceRef {
            cluster: "arn:aws:ecs:eu-central-1:111122223333:cluster/shop".into(),
            name: "arn:aws:ecs:eu-central-1:111122223333:service/shop/web".into(),
        };
        assert_eq!(service.to_string(), "shop/web");
    }
}

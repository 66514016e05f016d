//! Clusters: names that everything else is looked up in.

use crate::api::partition;
use crate::error::{AwsError, Reply};
use crate::request::{lock, text, texts};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub name: String,
    pub arn: String,
}

pub(crate) struct Clusters {
    account: String,
    region: String,
    known: Mutex<BTreeMap<String, Cluster>>,
}

impl Clusters {
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), known: Mutex::default() }
    }

    /// By name or ARN; none given means `default`.
    pub(crate) fn find(&self, name_or_arn: Option<&str>) -> Result<Cluster, AwsError> {
        let wanted = name_or_arn.unwrap_or("default");
        let name = wanted.rsplit('/').next().unwrap_or(wanted);
        let found = lock(&self.known).get(name).cloned().filter(|c| !wanted.starts_with("arn:") || c.arn == wanted);
        found.ok_or_else(|| AwsError::client("ClusterNotFoundException", "Cluster not found."))
    }

    pub(crate) fn call(&self, operation: &str, body: &Value) -> Option<Reply> {
        Some(match operation {
            "CreateCluster" => {
                let name = text(body, "clusterName").unwrap_or("default");
                let arn =
                    format!("arn:{}:ecs:{}:{}:cluster/{name}", partition(&self.region), self.region, self.account);
                let made =
                    lock(&self.known).entry(name.to_owned()).or_insert(Cluster { name: name.to_owned(), arn }).clone();
                Ok(json!({"cluster": shape(&made)}))
            }
            "DescribeClusters" => {
                let wanted = texts(body, "clusters");
                let wanted = if wanted.is_empty() { vec!["default"] } else { wanted };
                let (mut found, mut failures) = (vec![], vec![]);
                for name in wanted {
                    match self.find(Some(name)) {
                        Ok(cluster) => found.push(shape(&cluster)),
                        Err(_) => failures.push(json!({"arn": name, "reason": "MISSING"})),
                    }
                }
                Ok(json!({"clusters": found, "failures": failures}))
            }
            "ListClusters" => {
                Ok(json!({"clusterArns": lock(&self.known).values().map(|c| c.arn.clone()).collect::<Vec<_>>()}))
            }
            "DeleteCluster" => self.find(text(body, "cluster")).map(|cluster| {
                lock(&self.known).remove(&cluster.name);
                json!({"cluster": shape(&cluster)})
            }),
            _ => return None,
        })
    }
}

fn shape(cluster: &Cluster) -> Value {
    json!({"clusterArn": cluster.arn, "clusterName": cluster.name, "status": "ACTIVE", "capacityProviders": [], "defaultCapacityProviderStrategy": []})
}

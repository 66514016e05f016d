//! Whether tasks can reach what they need before their first container runs.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/networking-outbound.html>

use super::{Check, listed};
use crate::cause::WayOut;
use crate::image::ImageRef;
use crate::task_definition::TaskDefinition;
use serde_json::Value;
use std::collections::BTreeSet;

/// Where the tasks of a service run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskNetwork {
    /// `assignPublicIp: ENABLED`.
    pub has_public_ip: bool,
    pub subnets: Vec<TaskSubnet>,
    /// `None`: they could not be read.
    pub endpoints: Option<Vec<VpcEndpoint>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskSubnet {
    pub id: String,
    pub vpc: String,
    /// `None`: its route table could not be read.
    pub way_out: Option<WayOut>,
    pub route_table: Option<String>,
    pub free_addresses: Option<u64>,
}

/// An endpoint of the VPC for a service of AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VpcEndpoint {
    /// `com.amazonaws.eu-central-1.ecr.api`.
    pub service: String,
    /// Of a gateway: what routes to it. Interfaces have none.
    pub route_tables: Vec<String>,
    pub is_gateway: bool,
    pub is_available: bool,
    /// The service's own name leads to it.
    pub has_private_dns: bool,
}

/// What an endpoint can be for: its name, and what AWS calls the service.
const SERVICES: [(&str, &str); 6] = [
    ("ecr.api", "Amazon ECR"),
    ("ecr.dkr", "Amazon ECR"),
    ("s3", "Amazon S3, where layers and environment files are"),
    ("logs", "CloudWatch Logs"),
    ("secretsmanager", "Secrets Manager"),
    ("ssm", "Parameter Store"),
];

/// What a task needs: endpoints by their names, and registries that no endpoint leads to.
#[derive(Debug, Default)]
struct Needs {
    endpoints: BTreeSet<&'static str>,
    registries: BTreeSet<String>,
}

/// `images` are those of its containers, as they will be.
fn needs(definition: &TaskDefinition, images: &[String]) -> Needs {
    let mut needs = Needs::default();
    for image in images {
        let Ok(reference) = ImageRef::parse(image) else { continue };
        match reference.ecr() {
            Some(_) => needs.endpoints.extend(["ecr.api", "ecr.dkr", "s3"]),
            None => drop(needs.registries.insert(reference.registry)),
        }
    }
    let list = |container: &serde_json::Map<String, Value>, member: &str| -> Vec<Value> {
        container.get(member).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    for container in definition.containers() {
        for secret in list(container, "secrets") {
            let from = secret.get("valueFrom").and_then(Value::as_str).unwrap_or_default();
            needs.endpoints.insert(if from.contains(":secretsmanager:") { "secretsmanager" } else { "ssm" });
        }
        if !list(container, "environmentFiles").is_empty() {
            needs.endpoints.insert("s3");
        }
        if container.get("logConfiguration").and_then(|logs| logs.get("logDriver")?.as_str()) == Some("awslogs") {
            needs.endpoints.insert("logs");
        }
    }
    needs
}

/// The way from each subnet to what the tasks need, and whether there is an address for them.
#[must_use]
pub fn of_network(
    key: &str,
    definition: &TaskDefinition,
    images: &[String],
    network: &TaskNetwork,
    desired: i64,
) -> Vec<Check> {
    let what = format!("service `{key}`: network");
    let needs = needs(definition, images);
    let mut checks = vec![];
    for subnet in &network.subnets {
        checks.extend(route(&what, subnet, network, &needs));
        checks.extend(addresses(&what, subnet, desired));
    }
    let vpcs: BTreeSet<_> = network.subnets.iter().map(|subnet| subnet.vpc.as_str()).collect();
    if vpcs.len() > 1 {
        let why = format!("its subnets are of several VPCs: {}", listed(vpcs));
        checks.push(Check::failed(what.clone(), why, Some("name subnets of one VPC in the service's network")));
    }
    if checks.is_empty() { vec![Check::ok(what)] } else { checks }
}

fn route(what: &str, subnet: &TaskSubnet, network: &TaskNetwork, needs: &Needs) -> Option<Check> {
    let id = &subnet.id;
    let without = match subnet.way_out? {
        WayOut::Nat | WayOut::Other => return None,
        WayOut::InternetGateway if network.has_public_ip => return None,
        WayOut::InternetGateway => {
            format!(
                "subnet {id} routes to an internet gateway, and its tasks get no public IP (`assignPublicIp` is `DISABLED`)"
            )
        }
        WayOut::None => format!("subnet {id} has no route to the internet"),
    };
    let ways = "give the subnets a NAT gateway, or `assignPublicIp: ENABLED` where they route to an internet gateway";
    if !needs.registries.is_empty() {
        let why = format!(
            "{without}: no task can pull its image from {}",
            listed(needs.registries.iter().map(String::as_str))
        );
        return Some(Check::failed(what, why, Some(ways)));
    }
    let Some(endpoints) = &network.endpoints else {
        let named = listed(needs.endpoints.iter().copied());
        let why =
            format!("{without}: its tasks start only with VPC endpoints for {named}, which could not be looked at");
        return (!needs.endpoints.is_empty()).then(|| Check::warning(what, why));
    };
    let leads = |name: &str| {
        endpoints
            .iter()
            .filter(|endpoint| endpoint.is_available && endpoint.service.ends_with(&format!(".{name}")))
            .any(|endpoint| match endpoint.is_gateway {
                true => subnet.route_table.as_ref().is_some_and(|table| endpoint.route_tables.contains(table)),
                false => endpoint.has_private_dns,
            })
    };
    let missing: Vec<_> = SERVICES.iter().filter(|(name, _)| needs.endpoints.contains(name) && !leads(name)).collect();
    if missing.is_empty() {
        return None;
    }
    let mut services: Vec<&str> = missing.iter().map(|(_, service)| *service).collect();
    services.dedup();
    let names = listed(missing.iter().map(|(name, _)| *name));
    let unnamed = |(name, _): &&&(&str, &str)| {
        endpoints.iter().any(|e| !e.is_gateway && !e.has_private_dns && e.service.ends_with(&format!(".{name}")))
    };
    let private = match missing.iter().find(unnamed) {
        Some((name, _)) => format!(" (the one for `{name}` has no private DNS name)"),
        None => String::new(),
    };
    let why = format!("{without}, and no VPC endpoint leads to {}{private}: no task can start there", listed(services));
    Some(Check::failed(what, why, Some(&format!("{ways}, or VPC endpoints for {names}"))))
}

fn addresses(what: &str, subnet: &TaskSubnet, desired: i64) -> Option<Check> {
    let free = subnet.free_addresses?;
    let id = &subnet.id;
    match i64::try_from(free).unwrap_or(i64::MAX) {
        0 => {
            let why = format!("subnet {id} has no free address: no task can start in it");
            Some(Check::failed(what, why, Some("add a subnet with free addresses to the service's network")))
        }
        few if few < desired => {
            let why = format!(
                "subnet {id} has {free} free addresses, and a rollout starts {desired} tasks beside those that run"
            );
            Some(Check::warning(what, why))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Verdict;
    use serde_json::json;

    const IMAGE: &str = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop:v1";

    fn definition() -> TaskDefinition {
        let body = json!({
            "family": "web",
            "containerDefinitions": [{
                "name": "app", "image": IMAGE,
                "secrets": [
                    {"name": "A", "valueFrom": "/prod/A"},
                    {"name": "B", "valueFrom": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:b"},
                ],
                "logConfiguration": {"logDriver": "awslogs"},
            }],
        });
        TaskDefinition::from_json(&body.to_string()).unwrap()
    }

    fn subnet(way_out: WayOut) -> TaskSubnet {
        let (id, vpc) = ("subnet-1".to_owned(), "vpc-1".to_owned());
        TaskSubnet { id, vpc, way_out: Some(way_out), route_table: Some("rtb-1".to_owned()), free_addresses: Some(100) }
    }

    fn interface(name: &str) -> VpcEndpoint {
        VpcEndpoint {
            service: format!("com.amazonaws.eu-central-1.{name}"),
            is_available: true,
            has_private_dns: true,
            ..VpcEndpoint::default()
        }
    }

    fn endpoints() -> Vec<VpcEndpoint> {
        let mut all: Vec<_> = ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "ssm"].map(interface).to_vec();
        let route_tables = vec!["rtb-1".to_owned()];
        all.push(VpcEndpoint { is_gateway: true, has_private_dns: false, route_tables, ..interface("s3") });
        all
    }

    fn found(network: &TaskNetwork, images: &[&str]) -> Vec<String> {
        let images: Vec<String> = images.iter().map(|image| (*image).to_owned()).collect();
        let checks = of_network("web", &definition(), &images, network, 4);
        let told = |check: Check| match check.verdict {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Warning { why } => format!("warning: {why}"),
            Verdict::Failed { why, fix, .. } => format!("failed: {why} -> {}", fix.unwrap_or_default()),
            Verdict::Skipped { why } => format!("skipped: {why}"),
        };
        checks.into_iter().map(told).collect()
    }

    fn in_a(way_out: WayOut, has_public_ip: bool, endpoints: Option<Vec<VpcEndpoint>>) -> TaskNetwork {
        TaskNetwork { has_public_ip, subnets: vec![subnet(way_out)], endpoints }
    }

    #[test]
    fn a_nat_gateway_a_public_ip_and_all_endpoints_are_each_a_way() {
        for network in [
            in_a(WayOut::Nat, false, None),
            in_a(WayOut::Other, false, None),
            in_a(WayOut::InternetGateway, true, None),
            in_a(WayOut::None, false, Some(endpoints())),
        ] {
            assert_eq!(found(&network, &[IMAGE]), ["ok"], "{network:?}");
        }
    }

    #[test]
    fn each_endpoint_that_is_missing_is_named_with_what_it_is_for() {
        for (name, service) in SERVICES {
            let some = endpoints().into_iter().filter(|e| !e.service.ends_with(name)).collect();
            let told = found(&in_a(WayOut::None, false, Some(some)), &[IMAGE]).join("\n");
            assert!(told.starts_with("failed: subnet subnet-1 has no route"), "{name}: {told}");
            assert!(told.contains(service) && told.ends_with(&format!("VPC endpoints for {name}")), "{name}: {told}");
        }
    }

    #[test]
    fn an_endpoint_counts_only_where_it_leads() {
        let changed = |change: fn(&mut VpcEndpoint)| {
            let mut all = endpoints();
            all.iter_mut().for_each(change);
            found(&in_a(WayOut::None, false, Some(all)), &[IMAGE]).join("\n")
        };
        let elsewhere = changed(|e| e.route_tables = e.route_tables.iter().map(|_| "rtb-2".to_owned()).collect());
        assert!(elsewhere.contains("Amazon S3") && !elsewhere.contains("Amazon ECR"), "{elsewhere}");
        let unnamed = changed(|e| e.has_private_dns = e.has_private_dns && !e.service.ends_with("logs"));
        assert!(unnamed.contains("the one for `logs` has no private DNS name"), "{unnamed}");
        let gone = changed(|e| e.is_available = !e.service.ends_with("ssm"));
        assert!(gone.contains("Parameter Store"), "{gone}");
    }

    #[test]
    fn an_internet_gateway_without_a_public_ip_and_another_registry_are_told_as_such() {
        let network = in_a(WayOut::InternetGateway, false, Some(endpoints()));
        assert_eq!(found(&network, &[IMAGE]), ["ok"], "the endpoints do");
        let told = found(&network, &["ghcr.io/org/app:v1"]).join("\n");
        assert!(told.contains("`assignPublicIp` is `DISABLED`") && told.contains("ghcr.io"), "{told}");
        let unknown = found(&in_a(WayOut::None, false, None), &[IMAGE]).join("\n");
        assert!(unknown.starts_with("warning:") && unknown.contains("ecr.api"), "{unknown}");
    }

    #[test]
    fn addresses_and_the_vpcs_of_the_subnets_are_looked_at() {
        let mut network = in_a(WayOut::Nat, false, None);
        network.subnets[0].free_addresses = Some(0);
        assert!(found(&network, &[])[0].starts_with("failed: subnet subnet-1 has no free address"));
        network.subnets[0].free_addresses = Some(3);
        assert!(found(&network, &[])[0].starts_with("warning: subnet subnet-1 has 3 free addresses"));
        network.subnets[0].free_addresses = None;
        network.subnets.push(TaskSubnet { vpc: "vpc-2".to_owned(), ..network.subnets[0].clone() });
        assert!(found(&network, &[])[0].starts_with("failed: its subnets are of several VPCs"));
    }
}

//! What a deploy needs and does not ask for itself: alarms, endpoints, lifecycle policies, log groups and roles.

use super::client::AwsClient;
use super::failure::{call_error, unreadable};
use super::query::Query;
use super::sigv4::{each, every, text_of};
use super::surroundings::{EC2, each_in, is_absent};
use crate::ports::{Call, Preconditions, Repository};
use async_trait::async_trait;
use aws_smithy_xml::decode::{ScopedDecoder, XmlDecodeError};
use fargate_deploy_core::verify::network::VpcEndpoint;
use percent_encoding::percent_decode_str;
use serde_json::Value;

const MOST_BYTES: usize = 4 * 1024 * 1024;
const CLOUDWATCH: Query =
    Query { service: "monitoring", endpoint: "CLOUDWATCH", version: "2010-08-01", most_bytes: MOST_BYTES };
const IAM: Query = Query { service: "iam", endpoint: "IAM", version: "2010-05-08", most_bytes: MOST_BYTES };

#[async_trait(?Send)]
impl Preconditions for AwsClient {
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>
    async fn alarms(&self, names: &[String]) -> Call<Vec<(String, String)>> {
        const ACTION: &str = "cloudwatch:DescribeAlarms";
        let kinds = ["MetricAlarm", "CompositeAlarm"].into_iter().enumerate();
        let kinds = kinds.map(|(at, kind)| (format!("AlarmTypes.member.{}", at + 1), kind.to_owned()));
        let members =
            names.iter().enumerate().map(|(at, name)| (format!("AlarmNames.member.{}", at + 1), name.clone()));
        let answer = self.query(&CLOUDWATCH, self.session.region(), ACTION, members.chain(kinds)).await?;
        alarms_in(&answer).map_err(|why| unreadable(ACTION, &why.to_string()))
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcEndpoints.html>
    async fn vpc_endpoints(&self, vpc: &str) -> Call<Vec<VpcEndpoint>> {
        const ACTION: &str = "ec2:DescribeVpcEndpoints";
        let members = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc)];
        let answer = self.query(&EC2, self.session.region(), ACTION, members).await?;
        endpoints_in(&answer).map_err(|why| unreadable(ACTION, &why.to_string()))
    }

    async fn lifecycle_policy(&self, repository: &Repository) -> Call<Option<String>> {
        const ACTION: &str = "ecr:GetLifecyclePolicy";
        let ecr = self.ecr(repository.region.as_deref());
        let answer = self
            .call(ACTION, async || {
                ecr.get_lifecycle_policy()
                    .registry_id(&repository.registry_id)
                    .repository_name(&repository.name)
                    .send()
                    .await
                    .map_err(call_error(ACTION))
            })
            .await;
        match answer {
            Ok(answer) => Ok(answer.lifecycle_policy_text().map(str::to_owned)),
            Err(error) if error.code == "LifecyclePolicyNotFoundException" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The call takes a prefix.
    async fn has_log_group(&self, name: &str, region: Option<&str>) -> Call<bool> {
        const ACTION: &str = "logs:DescribeLogGroups";
        let logs = self.logs(region);
        let answer = self
            .call(ACTION, async || {
                logs.describe_log_groups().log_group_name_prefix(name).send().await.map_err(call_error(ACTION))
            })
            .await?;
        Ok(answer.log_groups().iter().any(|group| group.log_group_name() == Some(name)))
    }

    async fn trust_of_role(&self, name: &str) -> Call<Option<Value>> {
        const ACTION: &str = "iam:GetRole";
        match self.iam(ACTION, &[("RoleName", name)]).await {
            Ok(answer) => document_in(&answer, &["GetRoleResult", "Role", "AssumeRolePolicyDocument"])
                .map(Some)
                .ok_or_else(|| unreadable(ACTION, "there is no trust policy in it")),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn policies_of_role(&self, name: &str) -> Call<Vec<(String, Value)>> {
        let mut policies = vec![];
        for policy in self.iam_pages("iam:ListRolePolicies", name, &["PolicyNames", "member"], text_of).await? {
            let members = [("RoleName", name), ("PolicyName", policy.as_str())];
            let answer = self.iam("iam:GetRolePolicy", &members).await?;
            let document = document_in(&answer, &["GetRolePolicyResult", "PolicyDocument"]);
            policies.extend(document.map(|document| (policy, document)));
        }
        let arn = |member: &mut ScopedDecoder<'_, '_>| {
            let mut arn = String::new();
            each(member, &["PolicyArn"], &mut |part| arn = text_of(part));
            arn
        };
        let attached =
            self.iam_pages("iam:ListAttachedRolePolicies", name, &["AttachedPolicies", "member"], arn).await?;
        for arn in attached {
            let answer = self.iam("iam:GetPolicy", &[("PolicyArn", &arn)]).await?;
            let version = text_in(&answer, &["GetPolicyResult", "Policy", "DefaultVersionId"]).unwrap_or_default();
            let answer = self.iam("iam:GetPolicyVersion", &[("PolicyArn", &arn), ("VersionId", &version)]).await?;
            let document = document_in(&answer, &["GetPolicyVersionResult", "PolicyVersion", "Document"]);
            policies.extend(document.map(|document| (arn, document)));
        }
        Ok(policies)
    }
}

impl AwsClient {
    pub(super) async fn iam(&self, action: &'static str, members: &[(&str, &str)]) -> Call<Vec<u8>> {
        self.query(&IAM, self.session.region(), action, members.iter().copied()).await
    }

    /// All pages of a list of a role.
    async fn iam_pages(
        &self,
        action: &'static str,
        role: &str,
        path: &[&str],
        read: fn(&mut ScopedDecoder<'_, '_>) -> String,
    ) -> Call<Vec<String>> {
        let result = format!("{}Result", action.trim_start_matches("iam:"));
        let (mut all, mut marker) = (vec![], None::<String>);
        loop {
            let mut members = vec![("RoleName", role)];
            members.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let answer = self.iam(action, &members).await?;
            let within = [&[result.as_str()], path].concat();
            each_in(&answer, &within, &mut |member| all.push(read(member)))
                .map_err(|why| unreadable(action, &why.to_string()))?;
            marker = text_in(&answer, &[&result, "Marker"]).filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }
}

fn text_in(body: &[u8], path: &[&str]) -> Option<String> {
    let mut found = None;
    each_in(body, path, &mut |element| found = Some(text_of(element))).ok()?;
    found
}

/// IAM's documents are URL-encoded JSON.
fn document_in(body: &[u8], path: &[&str]) -> Option<Value> {
    let text = text_in(body, path)?;
    serde_json::from_str(&percent_decode_str(&text).decode_utf8().ok()?).ok()
}

fn alarms_in(body: &[u8]) -> Result<Vec<(String, String)>, XmlDecodeError> {
    let mut alarms = vec![];
    for kind in ["MetricAlarms", "CompositeAlarms"] {
        each_in(body, &["DescribeAlarmsResult", kind, "member"], &mut |member| {
            let (mut name, mut state) = (String::new(), String::new());
            every(member, &mut |part, inner| match part {
                "AlarmName" => name = text_of(inner),
                "StateValue" => state = text_of(inner),
                _ => {}
            });
            alarms.push((name, state));
        })?;
    }
    Ok(alarms)
}

fn endpoints_in(body: &[u8]) -> Result<Vec<VpcEndpoint>, XmlDecodeError> {
    let mut endpoints = vec![];
    each_in(body, &["vpcEndpointSet", "item"], &mut |item| {
        let mut endpoint = VpcEndpoint::default();
        every(item, &mut |part, inner| match part {
            "serviceName" => endpoint.service = text_of(inner),
            "vpcEndpointType" => endpoint.is_gateway = text_of(inner).eq_ignore_ascii_case("gateway"),
            "state" => endpoint.is_available = text_of(inner).eq_ignore_ascii_case("available"),
            "privateDnsEnabled" => endpoint.has_private_dns = text_of(inner) == "true",
            "routeTableIdSet" => each(inner, &["item"], &mut |table| endpoint.route_tables.push(text_of(table))),
            _ => {}
        });
        endpoints.push(endpoint);
    })?;
    Ok(endpoints)
}

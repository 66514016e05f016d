//! What is around a task: its load balancer's targets, its subnets and their routes, its roles and secrets. Asked for an
//! explanation, and before an earlier release runs again.

use super::client::AwsClient;
use super::failure::{call_error, unreadable};
use super::query::{Query, dns_suffix};
use super::sigv4::{SignedRequest, each, every, fields, text_of};
use crate::ports::{Call, CallError, CallErrorKind, RouteTable, Subnet, Surroundings};
use async_trait::async_trait;
use aws_sdk_ssm::types::ResourceTypeForTagging;
use aws_smithy_xml::decode::{Document, ScopedDecoder, XmlDecodeError};
use fargate_deploy_core::cause::{SeenTarget, TargetCheck, WayOut};
use serde_json::{Value, json};

const MOST_BYTES: usize = 4 * 1024 * 1024;
const LOAD_BALANCING: Query = Query {
    service: "elasticloadbalancing",
    endpoint: "ELASTIC_LOAD_BALANCING_V2",
    version: "2015-12-01",
    most_bytes: MOST_BYTES,
};
pub(super) const EC2: Query = Query { service: "ec2", endpoint: "EC2", version: "2016-11-15", most_bytes: MOST_BYTES };

/// IAM has nothing of that name.
pub(super) fn is_absent(error: &CallError) -> bool {
    error.kind == CallErrorKind::NotFound || error.code == "NoSuchEntity"
}

#[async_trait(?Send)]
impl Surroundings for AwsClient {
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetHealth.html>
    async fn target_health(&self, target_group: &str) -> Call<Vec<SeenTarget>> {
        const ACTION: &str = "elasticloadbalancing:DescribeTargetHealth";
        let members = [("TargetGroupArn", target_group)];
        let answer = self.query(&LOAD_BALANCING, self.session.region(), ACTION, members).await?;
        targets_in(&answer).map_err(|why| unreadable(ACTION, &why.to_string()))
    }

    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetGroups.html>
    async fn target_check(&self, target_group: &str) -> Call<Option<TargetCheck>> {
        const ACTION: &str = "elasticloadbalancing:DescribeTargetGroups";
        let members = [("TargetGroupArns.member.1", target_group)];
        match self.query(&LOAD_BALANCING, self.session.region(), ACTION, members).await {
            Ok(answer) => check_in(&answer).map_err(|why| unreadable(ACTION, &why.to_string())),
            Err(error) if error.code == "TargetGroupNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSubnets.html>
    async fn subnets(&self, ids: &[String]) -> Call<Vec<Subnet>> {
        const ACTION: &str = "ec2:DescribeSubnets";
        let members = ids.iter().enumerate().map(|(at, id)| (format!("SubnetId.{}", at + 1), id));
        let answer = self.query(&EC2, self.session.region(), ACTION, members).await?;
        subnets_in(&answer).map_err(|why| unreadable(ACTION, &why.to_string()))
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeRouteTables.html>
    async fn route_tables(&self, vpc: &str) -> Call<Vec<RouteTable>> {
        const ACTION: &str = "ec2:DescribeRouteTables";
        let members = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc)];
        let answer = self.query(&EC2, self.session.region(), ACTION, members).await?;
        route_tables_in(&answer).map_err(|why| unreadable(ACTION, &why.to_string()))
    }

    async fn has_role(&self, name: &str) -> Call<bool> {
        match self.iam("iam:GetRole", &[("RoleName", name)]).await {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html>
    async fn has_secret(&self, arn: &str) -> Call<bool> {
        const ACTION: &str = "secretsmanager:DescribeSecret";
        let region = arn.split(':').nth(3).filter(|region| !region.is_empty()).unwrap_or(self.session.region());
        let url = match self.session.endpoint("SECRETS_MANAGER") {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => format!("https://secretsmanager.{region}.{}/", dns_suffix(region)),
        };
        let body = json!({ "SecretId": arn }).to_string();
        let ask = SignedRequest {
            action: ACTION,
            service: "secretsmanager",
            region,
            method: "POST",
            url: &url,
            content_type: Some("application/x-amz-json-1.1"),
            target: Some("secretsmanager.DescribeSecret"),
            body: &body,
            most_bytes: 1024 * 1024,
        };
        match self.call(ACTION, async || self.ask(&ask).await.map_err(|refusal| refusal.error)).await {
            Ok(answer) => {
                let answer: Value = serde_json::from_slice(&answer).map_err(|e| unreadable(ACTION, &e.to_string()))?;
                // It is kept for a while after its deletion, and its value may not be read then.
                Ok(answer["DeletedDate"].is_null())
            }
            Err(error) if error.code == "ResourceNotFoundException" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ListTagsForResource.html>
    async fn has_parameter(&self, name: &str) -> Call<bool> {
        const ACTION: &str = "ssm:ListTagsForResource";
        let read = self.call(ACTION, async || {
            let request = self.ssm.list_tags_for_resource().resource_type(ResourceTypeForTagging::Parameter);
            request.resource_id(name).send().await.map_err(call_error(ACTION))
        });
        match read.await {
            Ok(_) => Ok(true),
            Err(error) if error.code == "InvalidResourceId" => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Every element that the path leads to in an answer.
pub(super) fn each_in(
    body: &[u8],
    path: &[&str],
    found: &mut dyn FnMut(&mut ScopedDecoder<'_, '_>),
) -> Result<(), XmlDecodeError> {
    let mut document = Document::try_from(body)?;
    each(&mut document.root_element()?, path, found);
    Ok(())
}

fn targets_in(body: &[u8]) -> Result<Vec<SeenTarget>, XmlDecodeError> {
    let mut targets = vec![];
    let path = ["DescribeTargetHealthResult", "TargetHealthDescriptions", "member"];
    each_in(body, &path, &mut |member| {
        let mut target = SeenTarget::default();
        every(member, &mut |part, inner| match part {
            "Target" => target.port = field(&fields(inner), "Port").and_then(|port| port.parse().ok()),
            "TargetHealth" => {
                let health = fields(inner);
                let text = |name: &str| field(&health, name).unwrap_or_default();
                (target.state, target.code, target.description) = (text("State"), text("Reason"), text("Description"));
            }
            _ => {}
        });
        targets.push(target);
    })?;
    Ok(targets)
}

fn check_in(body: &[u8]) -> Result<Option<TargetCheck>, XmlDecodeError> {
    let mut found = None;
    each_in(body, &["DescribeTargetGroupsResult", "TargetGroups", "member"], &mut |group| {
        let mut check = TargetCheck::default();
        every(group, &mut |part, inner| {
            // An answer has either.
            if part == "Matcher" {
                let matcher = fields(inner);
                check.matcher = field(&matcher, "HttpCode").or_else(|| field(&matcher, "GrpcCode"));
                return;
            }
            let text = text_of(inner);
            match part {
                "HealthCheckPath" => check.path = Some(text),
                // `traffic-port` is no number.
                "HealthCheckPort" => check.port = text.parse().ok(),
                "HealthCheckTimeoutSeconds" => check.timeout = text.parse().ok(),
                "TargetType" => check.target_type = Some(text),
                "VpcId" => check.vpc = Some(text),
                _ => {}
            }
        });
        found = Some(check);
    })?;
    Ok(found)
}

fn subnets_in(body: &[u8]) -> Result<Vec<Subnet>, XmlDecodeError> {
    let mut subnets = vec![];
    each_in(body, &["subnetSet", "item"], &mut |item| {
        let mut subnet = Subnet::default();
        every(item, &mut |part, inner| match part {
            "subnetId" => subnet.id = text_of(inner),
            "vpcId" => subnet.vpc = text_of(inner),
            "availableIpAddressCount" => subnet.free_addresses = text_of(inner).parse().ok(),
            _ => {}
        });
        subnets.push(subnet);
    })?;
    Ok(subnets)
}

fn route_tables_in(body: &[u8]) -> Result<Vec<RouteTable>, XmlDecodeError> {
    let mut tables = vec![];
    each_in(body, &["routeTableSet", "item"], &mut |item| {
        let mut table = RouteTable { id: String::new(), is_main: false, subnets: vec![], way_out: WayOut::None };
        every(item, &mut |part, inner| match part {
            "routeSet" => each(inner, &["item"], &mut |route| {
                let route = fields(route);
                // A route whose target is gone leads nowhere.
                let is_there = field(&route, "state").is_none_or(|state| state == "active");
                if is_there && field(&route, "destinationCidrBlock").as_deref() == Some("0.0.0.0/0") {
                    let gateway = field(&route, "gatewayId").unwrap_or_default();
                    table.way_out = match () {
                        () if gateway.starts_with("igw-") => WayOut::InternetGateway,
                        () if field(&route, "natGatewayId").is_some() => WayOut::Nat,
                        () => WayOut::Other,
                    };
                }
            }),
            "routeTableId" => table.id = text_of(inner),
            "associationSet" => each(inner, &["item"], &mut |association| {
                let association = fields(association);
                table.is_main |= field(&association, "main").as_deref() == Some("true");
                table.subnets.extend(field(&association, "subnetId"));
            }),
            _ => {}
        });
        tables.push(table);
    })?;
    Ok(tables)
}

pub(super) fn field(fields: &[(String, String)], name: &str) -> Option<String> {
    fields
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, text)| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_health_is_read_from_awss_own_answer() {
        let answer = b"<DescribeTargetHealthResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">\
            <DescribeTargetHealthResult><TargetHealthDescriptions><member><HealthCheckPort>8080</HealthCheckPort><TargetHealth>\
            <State>unhealthy</State><Reason>Target.ResponseCodeMismatch</Reason><Description>Health checks failed with these \
            codes: [404]</Description></TargetHealth><Target><Id>10.0.1.5</Id><Port>8080</Port></Target></member></TargetHealthDescriptions>\
            </DescribeTargetHealthResult></DescribeTargetHealthResponse>";
        let expected = SeenTarget {
            state: "unhealthy".to_owned(),
            code: "Target.ResponseCodeMismatch".to_owned(),
            description: "Health checks failed with these codes: [404]".to_owned(),
            port: Some(8080),
        };
        assert_eq!(targets_in(answer).unwrap(), [expected]);
        assert!(targets_in(b"oops").is_err());
    }

    #[test]
    fn a_target_groups_check_is_read_and_the_traffics_port_is_none_of_its_own() {
        let answer = b"<r><DescribeTargetGroupsResult><TargetGroups><member><TargetGroupArn>arn:tg</TargetGroupArn>\
            <HealthCheckTimeoutSeconds>5</HealthCheckTimeoutSeconds><HealthCheckPort>traffic-port</HealthCheckPort>\
            <Matcher><HttpCode>200-399</HttpCode></Matcher><HealthCheckProtocol>HTTP</HealthCheckProtocol>\
            <HealthCheckPath>/health</HealthCheckPath><UnhealthyThresholdCount>2</UnhealthyThresholdCount>\
            <HealthCheckIntervalSeconds>30</HealthCheckIntervalSeconds><TargetType>ip</TargetType><VpcId>vpc-1</VpcId></member></TargetGroups></DescribeTargetGroupsResult></r>";
        let expected = TargetCheck {
            path: Some("/health".to_owned()),
            port: None,
            matcher: Some("200-399".to_owned()),
            timeout: Some(5),
            target_type: Some("ip".to_owned()),
            vpc: Some("vpc-1".to_owned()),
        };
        assert_eq!(check_in(answer).unwrap(), Some(expected));
    }

    #[test]
    fn a_route_tables_way_out_is_that_of_its_default_route() {
        let table = |routes: &str, associations: &str| {
            format!("<item><routeSet>{routes}</routeSet><associationSet>{associations}</associationSet></item>")
        };
        let to = |target: &str, state: &str| {
            format!("<item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>{target}<state>{state}</state></item>")
        };
        let local = "<item><destinationCidrBlock>10.0.0.0/16</destinationCidrBlock><gatewayId>local</gatewayId><state>active</state></item>";
        let answer = format!(
            "<DescribeRouteTablesResponse><routeTableSet>{}{}{}{}</routeTableSet></DescribeRouteTablesResponse>",
            table(local, "<item><main>true</main></item>"),
            table(
                &to("<gatewayId>igw-1</gatewayId>", "active"),
                "<item><subnetId>subnet-1</subnetId><main>false</main></item>"
            ),
            table(&to("<natGatewayId>nat-1</natGatewayId>", "active"), "<item><subnetId>subnet-2</subnetId></item>"),
            table(&to("<natGatewayId>nat-2</natGatewayId>", "blackhole"), "<item><subnetId>subnet-3</subnetId></item>"),
        );
        let read = route_tables_in(answer.as_bytes()).unwrap();
        let read: Vec<_> = read.into_iter().map(|t| (t.is_main, t.subnets.join(","), t.way_out)).collect();
        assert_eq!(
            read,
            [
                (true, String::new(), WayOut::None),
                (false, "subnet-1".to_owned(), WayOut::InternetGateway),
                (false, "subnet-2".to_owned(), WayOut::Nat),
                (false, "subnet-3".to_owned(), WayOut::None),
            ]
        );
    }

    #[test]
    fn free_addresses_are_read_of_each_subnet() {
        let answer = b"<DescribeSubnetsResponse><subnetSet><item><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId>\
            <availableIpAddressCount>0</availableIpAddressCount></item></subnetSet></DescribeSubnetsResponse>";
        let expected = Subnet { id: "subnet-1".to_owned(), vpc: "vpc-1".to_owned(), free_addresses: Some(0) };
        assert_eq!(subnets_in(answer).unwrap(), [expected]);
    }
}

//! The settings of a target group: its protocol, and how the health of its targets is found out.

use serde_json::{Value, json};

use crate::error::AwsError;
use crate::request::{number, required, text};

/// CreateTargetGroup's members, with the defaults that AWS fills in.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html>
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub name: String,
    pub is_http: bool,
    pub port: i64,
    vpc: Option<String>,
    target_type: String,
    pub check: Check,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    pub is_http: bool,
    port: String,
    pub path: String,
    pub interval: u32,
    pub timeout: u32,
    pub healthy: u32,
    pub unhealthy: u32,
    pub matcher: String,
}

impl Settings {
    pub(super) fn read(body: &Value) -> Result<Self, AwsError> {
        let name = required(body, "Name")?;
        let is_word = name.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-');
        if name.is_empty() || name.len() > 32 || !is_word || name.starts_with('-') || name.ends_with('-') {
            return Err(invalid(format!(
                "Target group name '{name}' must be 32 characters or fewer, only contain letters, numbers and hyphens, and not begin or end with a hyphen"
            )));
        }
        let target_type = text(body, "TargetType").unwrap_or("instance");
        let is_http = match text(body, "Protocol") {
            Some("HTTP") => true,
            Some("TCP") => false,
            Some(other @ ("HTTPS" | "TLS" | "UDP" | "TCP_UDP" | "GENEVE" | "QUIC" | "TCP_QUIC")) => {
                return Err(unplayed(&format!("target groups of protocol {other}")));
            }
            _ => return Err(invalid("A protocol must be specified")),
        };
        match text(body, "ProtocolVersion") {
            None | Some("HTTP1") => {}
            Some(other) => return Err(unplayed(&format!("target groups of protocol version {other}"))),
        }
        let port = number(body, "Port").ok_or_else(|| invalid("A port must be specified"))?;
        if !(1..=65535).contains(&port) {
            return Err(invalid("Port must be between 1 and 65535"));
        }
        let vpc = text(body, "VpcId").ok_or_else(|| invalid("A VPC ID must be specified"))?;
        let is_http_checked = is_http || text(body, "HealthCheckProtocol") == Some("HTTP");
        let mut check = Check {
            is_http: is_http_checked,
            port: "traffic-port".to_owned(),
            path: "/".to_owned(),
            interval: 30,
            timeout: match (is_http, is_http_checked) {
                (true, _) => 5,
                (false, true) => 6,
                (false, false) => 10,
            },
            healthy: 5,
            unhealthy: 2,
            // Application Load Balancers take 200 alone, Network Load Balancers 200 to 399.
            matcher: if is_http { "200" } else { "200-399" }.to_owned(),
        };
        check.change(body, port)?;
        Ok(Self {
            name: name.to_owned(),
            is_http,
            port,
            vpc: Some(vpc.to_owned()),
            target_type: target_type.to_owned(),
            check,
        })
    }

    pub(super) fn shape(&self, arn: &str) -> Value {
        let mut shown = json!({
            "TargetGroupArn": arn,
            "TargetGroupName": self.name,
            "Protocol": if self.is_http { "HTTP" } else { "TCP" },
            "Port": self.port,
            "VpcId": self.vpc,
            "HealthCheckProtocol": if self.check.is_http { "HTTP" } else { "TCP" },
            "HealthCheckPort": self.check.port,
            "HealthCheckEnabled": true,
            "HealthCheckIntervalSeconds": self.check.interval,
            "HealthCheckTimeoutSeconds": self.check.timeout,
            "HealthyThresholdCount": self.check.healthy,
            "UnhealthyThresholdCount": self.check.unhealthy,
            "LoadBalancerArns": [],
            "TargetType": self.target_type,
            "IpAddressType": "ipv4",
        });
        if self.is_http {
            shown["ProtocolVersion"] = json!("HTTP1");
        }
        if self.check.is_http {
            shown["HealthCheckPath"] = json!(self.check.path);
            shown["Matcher"] = json!({ "HttpCode": self.check.matcher });
        }
        shown
    }
}

impl Check {
    /// The members that CreateTargetGroup and ModifyTargetGroup share. Nothing is changed where one of them is refused.
    pub(super) fn change(&mut self, body: &Value, traffic_port: i64) -> Result<(), AwsError> {
        let mut changed = self.clone();
        match text(body, "HealthCheckProtocol") {
            None => {}
            Some("HTTP") => changed.is_http = true,
            Some("TCP") if !self.is_http => {}
            Some(other) => return Err(unplayed(&format!("health checks by {other} here"))),
        }
        if let Some(port) = body.get("HealthCheckPort").filter(|port| !port.is_null()) {
            let port = port.as_str().map_or_else(|| port.to_string(), str::to_owned);
            // A task is reached through one published port.
            if port != "traffic-port" && port != traffic_port.to_string() {
                return Err(unplayed("health checks on another port than the traffic's"));
            }
            changed.port = port;
        }
        if let Some(path) = text(body, "HealthCheckPath") {
            if !path.starts_with('/') || path.len() > 1024 {
                return Err(invalid(format!("Health check path '{path}' must begin with a '/' character")));
            }
            changed.path = path.to_owned();
        }
        if let Some(codes) = body.get("Matcher").and_then(|matcher| text(matcher, "HttpCode")) {
            if !ranges(codes).all(|range| range.is_some()) {
                return Err(invalid(format!("Health check matcher HTTP code '{codes}' is not valid")));
            }
            changed.matcher = codes.to_owned();
        }
        let bounded = [
            ("HealthCheckIntervalSeconds", "Health check interval", 5..=300, &mut changed.interval),
            ("HealthCheckTimeoutSeconds", "Health check timeout", 2..=120, &mut changed.timeout),
            ("HealthyThresholdCount", "Healthy threshold count", 2..=10, &mut changed.healthy),
            ("UnhealthyThresholdCount", "Unhealthy threshold count", 2..=10, &mut changed.unhealthy),
        ];
        for (member, what, bounds, held) in bounded {
            let Some(value) = number(body, member) else { continue };
            *held = u32::try_from(value).ok().filter(|value| bounds.contains(value)).ok_or_else(|| {
                invalid(format!("{what} '{value}' must be between {} and {}", bounds.start(), bounds.end()))
            })?;
        }
        if changed.timeout >= changed.interval {
            return Err(invalid("Health check timeout must be smaller than the interval"));
        }
        *self = changed;
        Ok(())
    }

    pub(super) fn accepts(&self, status: u16) -> bool {
        ranges(&self.matcher).flatten().any(|(from, to)| (from..=to).contains(&status))
    }
}

/// `200`, `200,202` or `200-299`.
fn ranges(codes: &str) -> impl Iterator<Item = Option<(u16, u16)>> {
    codes.split(',').map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let range = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        (200 <= range.0 && range.0 <= range.1 && range.1 <= 599).then_some(range)
    })
}

/// The word for a refused member in the Query protocol.
pub(super) fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::client("ValidationError", message)
}

fn unplayed(what: &str) -> AwsError {
    AwsError::client("InvalidConfigurationRequest", format!("the stage does not play {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(more: Value) -> Result<Settings, AwsError> {
        let mut body = json!({ "Name": "web", "Protocol": "HTTP", "Port": 80, "VpcId": "vpc-1", "TargetType": "ip" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Settings::read(&body)
    }

    #[test]
    fn matchers_are_codes_lists_and_ranges() {
        for (codes, status, expected) in
            [("200", 200, true), ("200-399", 302, true), ("200,404", 404, true), ("200-299", 404, false)]
        {
            let group = group(json!({ "Matcher": { "HttpCode": codes } })).unwrap();
            assert_eq!(group.check.accepts(status), expected, "{codes} {status}");
        }
        for codes in ["ok", "", "300-200", "99"] {
            assert!(group(json!({ "Matcher": { "HttpCode": codes } })).is_err(), "{codes}");
        }
    }

    #[test]
    fn what_is_not_said_is_filled_in_by_protocol() {
        let http = group(json!({})).unwrap().shape("arn");
        assert_eq!(http["HealthCheckTimeoutSeconds"], 5);
        assert_eq!(http["Matcher"]["HttpCode"], "200");
        let tcp = group(json!({ "Protocol": "TCP" })).unwrap().shape("arn");
        assert_eq!((&tcp["HealthCheckProtocol"], &tcp["HealthCheckTimeoutSeconds"]), (&json!("TCP"), &json!(10)));
        assert!(tcp.get("HealthCheckPath").is_none());
        let mixed = group(json!({ "Protocol": "TCP", "HealthCheckProtocol": "HTTP" })).unwrap().shape("arn");
        assert_eq!(mixed["Matcher"]["HttpCode"], "200-399");
    }

    #[test]
    fn numbers_out_of_bounds_are_refused_and_change_nothing() {
        let mut check = group(json!({})).unwrap().check;
        let before = check.clone();
        for body in [
            json!({ "HealthCheckPath": "/new", "HealthyThresholdCount": 1 }),
            json!({ "HealthCheckIntervalSeconds": "4" }),
            json!({ "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 5 }),
            json!({ "HealthCheckPath": "health" }),
        ] {
            assert!(check.change(&body, 80).is_err(), "{body}");
            assert_eq!(check, before);
        }
        check.change(&json!({ "HealthCheckIntervalSeconds": "10", "HealthCheckPort": "80" }), 80).unwrap();
        assert_eq!(check.interval, 10);
    }

    #[test]
    fn a_name_is_of_letters_digits_and_inner_hyphens() {
        for name in ["", "-web", "web-", "we_b", &"a".repeat(33)] {
            assert!(group(json!({ "Name": name })).is_err(), "{name}");
        }
    }
}

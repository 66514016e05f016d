//! AWS's wire protocols: JSON 1.1 in and out, Query in and XML out, and the errors of both.
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>,
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::error::{AwsError, Reply};
use super::request::random_hex;

/// One API call, read from a request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The signing name of the service.
    pub service: &'static str,
    /// E.g. `UpdateService`.
    pub operation: String,
    /// The members of the input.
    pub body: Value,
    /// How it was asked, hence how it is answered.
    pub protocol: Protocol,
}

/// A wire protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `X-Amz-Target` and a JSON document; the minor version, 1.0 or 1.1, is echoed.
    Json {
        /// 0 or 1.
        minor: u8,
    },
    /// A form with `Action` and `Version`.
    Query {
        /// The XML namespace of the answer.
        namespace: &'static str,
    },
}

const TARGETS: [(&str, &str); 5] = [
    ("AmazonEC2ContainerServiceV20141113", "ecs"),
    ("AmazonEC2ContainerRegistry_V20150921", "ecr"),
    ("Logs_20140328", "logs"),
    ("AmazonSSM", "ssm"),
    ("secretsmanager", "secretsmanager"),
];

const VERSIONS: [(&str, &str, &str); 5] = [
    ("2011-06-15", "sts", "https://sts.amazonaws.com/doc/2011-06-15/"),
    ("2010-05-08", "iam", "https://iam.amazonaws.com/doc/2010-05-08/"),
    ("2010-05-15", "cloudformation", "http://cloudformation.amazonaws.com/doc/2010-05-15/"),
    ("2014-10-31", "rds", "http://rds.amazonaws.com/doc/2014-10-31/"),
    ("2015-12-01", "elasticloadbalancing", "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"),
];

/// Members of the Query services that are numbers in the JSON form of a call.
const NUMBERS: [&str; 8] = [
    "Port",
    "HealthCheckIntervalSeconds",
    "HealthCheckTimeoutSeconds",
    "HealthyThresholdCount",
    "UnhealthyThresholdCount",
    "PageSize",
    "DurationSeconds",
    "MaxSessionDuration",
];

impl Call {
    /// Reads a request; `Err` is AWS's answer to one that is no call.
    pub(crate) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Box<Response>> {
        match headers.get("x-amz-target").and_then(|target| target.to_str().ok()) {
            Some(target) => Self::json(target, headers, body),
            None => Self::query(body),
        }
    }

    fn json(target: &str, headers: &HeaderMap, body: &[u8]) -> Result<Self, Box<Response>> {
        let media_type = headers.get("content-type").map_or(&b""[..], |value| value.as_bytes());
        let protocol = Protocol::Json { minor: u8::from(!media_type.starts_with(b"application/x-amz-json-1.0")) };
        let refuse = |error: AwsError| Box::new(protocol.respond("", &Err(error), &request_id()));
        let (prefix, operation) = target.rsplit_once('.').unwrap_or((target, ""));
        let service = TARGETS
            .iter()
            .find(|(name, _)| *name == prefix)
            .map(|(_, service)| *service)
            .ok_or_else(|| refuse(AwsError::unknown_operation(target)))?;
        let body = if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(body) };
        let body = body.map_err(|_| refuse(AwsError::client("SerializationException", "")))?;
        Ok(Self { service, operation: operation.to_owned(), body, protocol })
    }

    fn query(body: &[u8]) -> Result<Self, Box<Response>> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
        let find = |name: &str| pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let (action, version) = (find("Action"), find("Version"));
        let known = VERSIONS.iter().find(|(number, ..)| *number == version);
        let Some((_, service, namespace)) = known else {
            let protocol = Protocol::Query { namespace: VERSIONS[0].2 };
            let message = format!("Could not find operation {action} for version {version}");
            let error = Err(AwsError::client("InvalidAction", message));
            return Err(Box::new(protocol.respond("", &error, &request_id())));
        };
        let members = pairs.iter().filter(|(key, _)| key != "Action" && key != "Version");
        let protocol = Protocol::Query { namespace };
        Ok(Self { service, operation: action.to_owned(), body: nest(members), protocol })
    }
}

impl Protocol {
    /// Writes an answer.
    #[must_use]
    pub(crate) fn respond(self, operation: &str, reply: &Reply, request_id: &str) -> Response {
        let status = reply.as_ref().err().map_or(200, |error| error.status);
        let (media_type, body) = match self {
            Self::Json { minor } => (format!("application/x-amz-json-1.{minor}"), json_body(reply).to_string()),
            Self::Query { namespace } => ("text/xml".to_owned(), xml_body(operation, namespace, reply, request_id)),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        };
        set("content-type", &media_type);
        set("x-amzn-requestid", request_id);
        if let (Self::Json { .. }, Err(error)) = (self, reply) {
            set("x-amzn-errortype", &error.code);
        }
        response
    }

    /// The name that this protocol's services give to an error that all services share.
    #[must_use]
    pub(crate) fn localized(self, error: AwsError) -> AwsError {
        let Self::Query { .. } = self else { return error };
        let (code, status) = match error.code.as_str() {
            "ThrottlingException" => ("Throttling", 400),
            "AccessDeniedException" => ("AccessDenied", 403),
            "UnrecognizedClientException" => ("InvalidClientTokenId", 403),
            "MissingAuthenticationTokenException" => ("MissingAuthenticationToken", 403),
            "InternalServerException" => ("InternalFailure", error.status),
            "ServiceUnavailableException" => ("ServiceUnavailable", error.status),
            "ValidationException" => ("ValidationError", 400),
            _ => return error,
        };
        AwsError { code: code.to_owned(), status, ..error }
    }
}

/// What `x-amzn-requestid` carries.
#[must_use]
pub(crate) fn request_id() -> String {
    let hex = random_hex(16);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn json_body(reply: &Reply) -> Value {
    match reply {
        Ok(members) => members.clone(),
        Err(error) => {
            let mut document = json!({ "__type": error.code, "message": error.message });
            if let (Some(document), Some(members)) = (document.as_object_mut(), error.members.as_object()) {
                document.extend(members.clone());
            }
            document
        }
    }
}

fn xml_body(operation: &str, namespace: &str, reply: &Reply, request_id: &str) -> String {
    match reply {
        Ok(members) => {
            let mut result = String::new();
            element(&mut result, &format!("{operation}Result"), members);
            format!(
                "<{operation}Response xmlns=\"{namespace}\">{result}<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
            )
        }
        Err(error) => {
            let side = if error.status < 500 { "Sender" } else { "Receiver" };
            format!(
                "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{side}</Type><Code>{}</Code><Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
                escaped(&error.code),
                escaped(&error.message)
            )
        }
    }
}

fn element(out: &mut String, name: &str, value: &Value) {
    let mut content = String::new();
    match value {
        Value::Null => return,
        Value::Object(members) => members.iter().for_each(|(name, value)| element(&mut content, name, value)),
        Value::Array(items) => items.iter().for_each(|item| element(&mut content, "member", item)),
        Value::String(text) => content = escaped(text),
        Value::Bool(_) | Value::Number(_) => content = value.to_string(),
    }
    out.push_str(&format!("<{name}>{content}</{name}>"));
}

/// As the content of an element. Of the control characters XML has three; a client cannot read an answer with another.
#[must_use]
pub(crate) fn escaped(text: &str) -> String {
    let is_of_xml = |c: &char| *c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}') || matches!(c, '\t' | '\n' | '\r');
    let text: String = text.chars().filter(is_of_xml).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `Targets.member.1.Id=a` becomes `{"Targets": [{"Id": "a"}]}`.
fn nest<'a>(pairs: impl Iterator<Item = &'a (String, String)>) -> Value {
    let mut root = Map::new();
    for (key, value) in pairs {
        let mut at = &mut root;
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                at.insert(part.to_owned(), scalar(part, value));
                break;
            }
            let next = at.entry(part).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(next) = next else { break };
            at = next;
        }
    }
    lists(Value::Object(root))
}

fn scalar(name: &str, text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if NUMBERS.contains(&name) => json!(number),
        _ => json!(text),
    }
}

fn lists(value: Value) -> Value {
    let Value::Object(mut members) = value else { return value };
    match members.remove("member") {
        Some(Value::Object(items)) if members.is_empty() => {
            let mut items: Vec<(usize, Value)> =
                items.into_iter().filter_map(|(index, item)| Some((index.parse().ok()?, lists(item)))).collect();
            items.sort_by_key(|(index, _)| *index);
            Value::Array(items.into_iter().map(|(_, item)| item).collect())
        }
        Some(other) => {
            members.insert("member".to_owned(), other);
            Value::Object(members)
        }
        None => Value::Object(members.into_iter().map(|(name, value)| (name, lists(value))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_members_nest_into_lists_and_structures() {
        let body = b"Action=RegisterTargets&Version=2015-12-01&TargetGroupArn=arn&Targets.member.2.Id=b&Targets.member.1.Id=a&Targets.member.1.Port=80&Names.member.1=x%20y";
        let call = Call::parse(&HeaderMap::new(), body).unwrap();
        assert_eq!((call.service, call.operation.as_str()), ("elasticloadbalancing", "RegisterTargets"));
        assert_eq!(
            call.body,
            json!({ "TargetGroupArn": "arn", "Targets": [{ "Id": "a", "Port": 80 }, { "Id": "b" }], "Names": ["x y"] })
        );
    }

    #[test]
    fn lists_become_members_and_text_is_escaped() {
        assert_eq!(escaped("a\u{1}<\n\u{ffff}b"), "a&lt;\nb");
        let reply = Ok(json!({ "Names": ["a<b", "c"], "Role": { "Arn": "x&y" }, "Truncated": false, "Absent": null }));
        assert_eq!(
            xml_body("ListThings", "urn:n", &reply, "r"),
            "<ListThingsResponse xmlns=\"urn:n\"><ListThingsResult><Names><member>a&lt;b</member><member>c</member></Names><Role><Arn>x&amp;y</Arn></Role><Truncated>false</Truncated></ListThingsResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></ListThingsResponse>"
        );
    }

    #[test]
    fn the_members_of_an_exception_stand_beside_its_message() {
        let error =
            AwsError { members: json!({ "resourceIds": ["t"] }), ..AwsError::client("ConflictException", "no") };
        let document = json!({ "__type": "ConflictException", "message": "no", "resourceIds": ["t"] });
        assert_eq!(json_body(&Err(error)), document);
    }
}

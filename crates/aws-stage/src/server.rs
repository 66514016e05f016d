//! The HTTP server on the loopback interface. It distinguishes AWS calls, registry requests and GitHub's token endpoint, and applies
//! faults, identity and policies before they are answered.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::api::{Caller, partition};
use super::authorization::{ResolvedDefinition, definition_lookup, needs, roles_of};
use super::call_log::{CallRecord, is_mutating};
use super::credentials::{SigningScope, Unauthenticated};
use super::ecs::exec;
use super::error::{AwsError, Reply};
use super::faults::{ConnectionDropped, FaultAction, FaultPlan, FaultRule, Ruling};
use super::protocol::{Call, Protocol, request_id};
use super::registry::Scope;
use super::registry::wire::{self, Route, Visit};
use super::request::text;
use super::s3;
use super::services::Services;
use super::sts::Sts;

/// Larger than any request of the API; image layers do not come this way.
const LARGEST_CALL: usize = 32 * 1024 * 1024;

/// Serves until the task is aborted; the connections end with it.
pub(crate) async fn serve(services: Arc<Services>, listener: TcpListener) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(converse(services.clone(), stream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(services: Arc<Services>, stream: TcpStream) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let services = services.clone();
        async move { handle(&services, request.map(Body::new)).await }
    });
    // A client that hangs up, or a fault that does, is not the stage's concern.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn handle(services: &Services, request: Request<Body>) -> Result<Response, ConnectionDropped> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if SigningScope::parse(&head.headers).is_some_and(|scope| scope.service == "s3") {
        return object(services, &head).await;
    }
    if path.starts_with("/v1/data-channel/") {
        return Ok(exec::respond(services.ecs.sessions(), &services.credentials, head));
    }
    if path == "/v2" || path.starts_with("/v2/") {
        return registry(services, head, body).await;
    }
    if path == "/_github/oidc" || path.starts_with("/_github/.well-known/") {
        return github(services, &head).await;
    }
    let Ok(body) = axum::body::to_bytes(body, LARGEST_CALL).await else {
        return Ok(document(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "message": "Request body is too large" })));
    };
    if path.starts_with("/_github/") {
        return services.github.respond("/_github", &head, &body, &services.faults, &services.call_log).await;
    }
    if path.starts_with("/_stage/") { Ok(control(services, &head, &body)) } else { api(services, &head, &body).await }
}

async fn api(services: &Services, head: &Parts, body: &[u8]) -> Result<Response, ConnectionDropped> {
    let call = match Call::parse(&head.headers, body) {
        Ok(call) => call,
        Err(response) => return Ok(*response),
    };
    let caller = match services.credentials.caller(&head.headers) {
        Err(Unauthenticated::Unsigned) if call.service == "sts" && Sts::is_anonymous(&call.operation) => {
            Ok(Caller { arn: String::new(), ..services.credentials.root() })
        }
        other => other.map_err(|unauthenticated| identity_error(unauthenticated, call.protocol)),
    };
    let arn = caller.as_ref().map_or(String::new(), |caller| caller.arn.clone());
    let Ruling { delay, action } = services.faults.rule(call.service, &call.operation);
    tokio::time::sleep(delay).await;
    if action == Some(FaultAction::ExpireSession) {
        services.credentials.expire(&arn);
    }
    let injected = action.as_ref().and_then(|action| injected(action, &call, &arn));
    let outcome = match (caller, injected) {
        _ if action == Some(FaultAction::DropBefore) => None,
        (Err(error), _) | (Ok(_), Some(error)) => Some(Err(error)),
        (Ok(caller), None) => Some(authorized(services, &caller, &call).await),
    };
    let outcome = outcome
        .filter(|_| action != Some(FaultAction::DropAfterEffect))
        .map(|reply| reply.map_err(|error| call.protocol.localized(error)));
    let error = outcome.as_ref().and_then(|reply| reply.as_ref().err());
    services.call_log.record(CallRecord {
        time: jiff::Timestamp::now(),
        service: call.service.to_owned(),
        operation: call.operation.clone(),
        mutating: is_mutating(&call.operation),
        caller: arn,
        status: outcome.as_ref().map_or(0, |_| error.map_or(200, |error| error.status)),
        error: error.map(|error| error.code.clone()),
    });
    let reply = outcome.ok_or(ConnectionDropped)?;
    Ok(call.protocol.respond(&call.operation, &reply, &request_id()))
}

async fn authorized(services: &Services, caller: &Caller, call: &Call) -> Reply {
    let Call { service, operation, body, .. } = call;
    if services.iam.is_restricted(caller) {
        let definition = match definition_lookup(service, operation, body) {
            Some(lookup) => resolve(services, caller, lookup).await,
            None => ResolvedDefinition::default(),
        };
        for need in needs(caller, service, operation, body, &definition) {
            services.iam.authorize(caller, &need.action, &need.resource, &need.context)?;
        }
    }
    services.call(caller, service, operation, body.clone()).await
}

async fn resolve(services: &Services, caller: &Caller, lookup: Value) -> ResolvedDefinition {
    let found = services.call(caller, "ecs", "DescribeTaskDefinition", lookup).await;
    found.map_or_else(
        |_| ResolvedDefinition::default(),
        |found| {
            let definition = &found["taskDefinition"];
            ResolvedDefinition {
                arn: text(definition, "taskDefinitionArn").map(str::to_owned),
                roles: roles_of(definition),
            }
        },
    )
}

fn identity_error(unauthenticated: Unauthenticated, protocol: Protocol) -> AwsError {
    let (code, message) = match unauthenticated {
        Unauthenticated::Unsigned => ("MissingAuthenticationTokenException", "Missing Authentication Token"),
        Unauthenticated::Unknown => {
            ("UnrecognizedClientException", "The security token included in the request is invalid.")
        }
        Unauthenticated::Expired => ("ExpiredTokenException", "The security token included in the request is expired"),
    };
    match (unauthenticated, protocol) {
        // The Query services call the end of a session otherwise than the JSON services, and STS has a modelled
        // ExpiredTokenException that is about the web identity token.
        (Unauthenticated::Expired, Protocol::Query { .. }) => {
            AwsError { status: 403, ..AwsError::client("ExpiredToken", message) }
        }
        _ => AwsError::client(code, message),
    }
}

/// The error that a fault answers with, if it is one that answers.
fn injected(action: &FaultAction, call: &Call, arn: &str) -> Option<AwsError> {
    Some(match action {
        FaultAction::Throttle => AwsError::client("ThrottlingException", "Rate exceeded"),
        FaultAction::Status(status) => {
            let (code, message) = match (status, call.service) {
                (503, _) => ("ServiceUnavailableException", "Service is unable to handle request."),
                (_, "ecs") => ("ServerException", "Service Unavailable. Please try again later."),
                _ => ("InternalServerException", "An internal error has occurred"),
            };
            AwsError { status: *status, ..AwsError::client(code, message) }
        }
        FaultAction::AccessDenied => {
            let action = format!("{}:{}", call.service, call.operation);
            AwsError::client("AccessDeniedException", not_authorized(arn, &action))
        }
        FaultAction::ExpireSession => identity_error(Unauthenticated::Expired, call.protocol),
        FaultAction::Error { code, message, status } => AwsError { status: *status, ..AwsError::client(code, message) },
        FaultAction::Delay { .. } | FaultAction::DropAfterEffect | FaultAction::DropBefore => return None,
    })
}

fn not_authorized(arn: &str, action: &str) -> String {
    format!(
        "User: {arn} is not authorized to perform: {action} on resource: * because no identity-based policy allows the {action} action"
    )
}

/// S3 has a protocol of its own, of which one operation is played.
async fn object(services: &Services, head: &Parts) -> Result<Response, ConnectionDropped> {
    let operation = if head.method == Method::GET { "GetObject" } else { "Other" };
    let (bucket, key) = s3::address(head.uri.path());
    let caller = services.credentials.caller(&head.headers);
    let arn = caller.as_ref().map_or(String::new(), |caller| caller.arn.clone());
    let protocol = Protocol::Json { minor: 1 };
    let call = Call { service: "s3", operation: operation.to_owned(), body: Value::Null, protocol };
    let Ruling { delay, action } = services.faults.rule("s3", operation);
    tokio::time::sleep(delay).await;
    let reply = match (caller, action.as_ref().and_then(|action| injected(action, &call, &arn))) {
        (Err(unauthenticated), _) => Err(AwsError { status: 403, ..identity_error(unauthenticated, protocol) }),
        (_, Some(error)) => Err(error),
        (Ok(_), None) if operation == "Other" => {
            Err(AwsError { status: 501, ..AwsError::client("NotImplemented", "the stage plays GetObject of S3 only") })
        }
        (Ok(caller), None) => {
            let resource = s3::resource(&caller, &bucket, &key);
            let allowed = services.iam.authorize(&caller, "s3:GetObject", &resource, &Vec::new());
            allowed.and_then(|()| services.objects.get(&bucket, &key))
        }
    };
    let is_dropped = matches!(action, Some(FaultAction::DropBefore | FaultAction::DropAfterEffect));
    services.call_log.record(CallRecord {
        time: jiff::Timestamp::now(),
        service: "s3".to_owned(),
        operation: operation.to_owned(),
        mutating: operation != "GetObject",
        caller: arn,
        status: if is_dropped { 0 } else { reply.as_ref().map_or_else(|error| error.status, |_| 200) },
        error: reply.as_ref().err().map(|error| error.code.clone()),
    });
    if is_dropped { Err(ConnectionDropped) } else { Ok(s3::respond(reply)) }
}

async fn registry(services: &Services, head: Parts, body: Body) -> Result<Response, ConnectionDropped> {
    let Some(route) = Route::parse(head.uri.path()) else {
        return Ok(wire::error(StatusCode::NOT_FOUND, "NAME_INVALID", "invalid repository name"));
    };
    let visitor = match wire::visitor(&services.registry, &head.headers) {
        Ok(visitor) => visitor,
        Err(challenge) => return Ok(*challenge),
    };
    let caller = &visitor.caller;
    let query = query(head.uri.query());
    let (operation, repository) = route.action(&head.method).unzip();
    let operation = operation.unwrap_or("Ping");
    let visit = Visit {
        registry: &services.registry,
        scope: Scope::of(caller),
        method: &head.method,
        query: &query,
        headers: &head.headers,
    };
    // The stage's own pulls are nobody's calls: no fault, no policy, no record.
    if visitor.internal {
        return Ok(visit.answer(route, body).await);
    }
    let resource = repository.map(|name| {
        format!("arn:{}:ecr:{}:{}:repository/{name}", partition(&caller.region), caller.region, caller.account)
    });
    let Ruling { delay, action } = services.faults.rule("registry", operation);
    tokio::time::sleep(delay).await;
    let response = match registry_fault(action.as_ref(), caller, operation) {
        _ if action == Some(FaultAction::DropBefore) => None,
        Some(refusal) => Some(refusal),
        None => {
            let allowed = resource.map_or(Ok(()), |resource| {
                services.iam.authorize(caller, &format!("ecr:{operation}"), &resource, &Vec::new())
            });
            Some(match allowed {
                Ok(()) => visit.answer(route, body).await,
                Err(error) => wire::denied(&error.message),
            })
        }
    };
    let response = response.filter(|_| action != Some(FaultAction::DropAfterEffect));
    services.call_log.record(CallRecord {
        time: jiff::Timestamp::now(),
        service: "registry".to_owned(),
        operation: operation.to_owned(),
        mutating: !matches!(head.method, Method::GET | Method::HEAD),
        caller: caller.arn.clone(),
        status: response.as_ref().map_or(0, |response| response.status().as_u16()),
        error: None,
    });
    response.ok_or(ConnectionDropped)
}

fn registry_fault(action: Option<&FaultAction>, caller: &Caller, operation: &str) -> Option<Response> {
    Some(match action? {
        FaultAction::Throttle => wire::error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "Rate exceeded"),
        FaultAction::Status(status) => wire::error(code(*status), "UNKNOWN", "unknown error"),
        FaultAction::AccessDenied => wire::denied(&not_authorized(&caller.arn, &format!("ecr:{operation}"))),
        FaultAction::ExpireSession => {
            wire::denied("Your authorization token has expired. Reauthenticate and try again.")
        }
        FaultAction::Error { code: name, message, status } => wire::error(code(*status), name, message),
        FaultAction::Delay { .. } | FaultAction::DropAfterEffect | FaultAction::DropBefore => return None,
    })
}

/// GitHub's tokens: `GET /_github/oidc?audience=X` with the job's bearer token, and the issuer's published keys.
async fn github(services: &Services, head: &Parts) -> Result<Response, ConnectionDropped> {
    match head.uri.path() {
        "/_github/oidc" => {}
        "/_github/.well-known/jwks" => return Ok(document(StatusCode::OK, &services.oidc.jwks())),
        "/_github/.well-known/openid-configuration" => {
            let configuration = json!({
                "issuer": services.oidc.job().issuer,
                "jwks_uri": format!("http://{}/_github/.well-known/jwks", services.registry.address()),
                "subject_types_supported": ["public", "pairwise"],
                "response_types_supported": ["id_token"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid"],
            });
            return Ok(document(StatusCode::OK, &configuration));
        }
        _ => return Ok(document(StatusCode::NOT_FOUND, &json!({ "message": "Not Found" }))),
    }
    let Ruling { delay, action } = services.faults.rule("github", "GetIdToken");
    tokio::time::sleep(delay).await;
    let (status, body) = match action {
        Some(FaultAction::DropBefore | FaultAction::DropAfterEffect) => (0, Value::Null),
        Some(FaultAction::Status(status) | FaultAction::Error { status, .. }) => {
            (status, json!({ "message": "Something went wrong" }))
        }
        Some(FaultAction::Throttle) => (429, json!({ "message": "Too many requests" })),
        Some(FaultAction::AccessDenied | FaultAction::ExpireSession) => (401, json!({ "message": "Unauthorized" })),
        Some(FaultAction::Delay { .. }) | None => id_token(services, head),
    };
    services.call_log.record(CallRecord {
        time: jiff::Timestamp::now(),
        service: "github".to_owned(),
        operation: "GetIdToken".to_owned(),
        mutating: false,
        caller: String::new(),
        status,
        error: None,
    });
    if status == 0 { Err(ConnectionDropped) } else { Ok(document(code(status), &body)) }
}

fn id_token(services: &Services, head: &Parts) -> (u16, Value) {
    let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let known = bearer
        .and_then(|value| value.split_once(' '))
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token == services.oidc.request_token());
    if !known {
        return (401, json!({ "message": "Unauthorized" }));
    }
    let query = query(head.uri.query());
    let audience = query.iter().find(|(name, _)| name == "audience").map(|(_, value)| value.as_str());
    match services.oidc.token(audience) {
        Ok(token) => (200, json!({ "count": token.len(), "value": token })),
        Err(error) => (500, json!({ "message": error.to_string() })),
    }
}

/// For other processes: `/_stage/health`, `/_stage/calls`, `/_stage/faults`.
fn control(services: &Services, head: &Parts, body: &[u8]) -> Response {
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/_stage/health") => {
            let root = services.credentials.root();
            document(StatusCode::OK, &json!({ "status": "ok", "account": root.account, "region": root.region }))
        }
        (&Method::GET, "/_stage/calls") => {
            let calls: Vec<_> = services.call_log.calls().iter().map(CallRecord::json).collect();
            document(StatusCode::OK, &json!({ "calls": calls }))
        }
        (&Method::POST, "/_stage/faults") => match fault_plan(body) {
            Ok(plan) => {
                let rules = plan.rules.len();
                services.faults.set(plan);
                document(StatusCode::OK, &json!({ "rules": rules }))
            }
            Err(error) => document(StatusCode::BAD_REQUEST, &json!({ "message": format!("fault rules: {error}") })),
        },
        _ => document(StatusCode::NOT_FOUND, &json!({ "message": "Not Found" })),
    }
}

/// A whole plan, or just its list of rules.
fn fault_plan(body: &[u8]) -> serde_json::Result<FaultPlan> {
    match serde_json::from_slice(body)? {
        rules @ Value::Array(_) => {
            let rules: Vec<FaultRule> = serde_json::from_value(rules)?;
            Ok(FaultPlan { seed: 0, rules })
        }
        plan => serde_json::from_value(plan),
    }
}

fn query(text: Option<&str>) -> Vec<(String, String)> {
    form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned().collect()
}

fn document(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

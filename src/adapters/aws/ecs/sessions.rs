//! ECS Exec.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html>

use super::wire::{self, list, maybe, text};
use crate::adapters::aws::client::AwsClient;
use crate::adapters::aws::failure::{call_error, no_session, unreadable};
use crate::adapters::aws::query::{Query, dns_suffix};
use crate::adapters::aws::session::is_loopback;
use crate::adapters::aws::sigv4::{SignedRequest, each, fields};
use crate::adapters::network::deepest;
use crate::ports::{Call, CallError, CallErrorKind, ExecSession, ExecuteCommand, Sessions};
use async_trait::async_trait;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_smithy_xml::decode::Document;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fargate_deploy_core::exec::{ExecContainer, ExecTask};
use fargate_deploy_core::names::{ClusterName, TaskArn};
use fargate_deploy_core::redact::Secret;
use fargate_deploy_session::Stream;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// The WebSocket protocol's own word, which a server's answer is made of.
/// <https://datatracker.ietf.org/doc/html/rfc6455#section-1.3>
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const OPEN_DATA_CHANNEL: &str = "ssmmessages:OpenDataChannel";
/// For the upgrade, its TLS and proxy included.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(15);
/// IAM has one place in each partition.
const IAM: Query = Query { service: "iam", endpoint: "IAM", version: "2010-05-08", most_bytes: 1024 * 1024 };

#[async_trait(?Send)]
impl Sessions for AwsClient {
    async fn exec_tasks(&self, cluster: &ClusterName, tasks: &[TaskArn]) -> Call<Vec<ExecTask>> {
        let mut found = vec![];
        for tasks in tasks.chunks(100) {
            let body = json!({ "cluster": cluster, "tasks": tasks });
            let answer = ask!(self, "ecs:DescribeTasks", describe_tasks, body)?;
            found.extend(list(&answer, "tasks").iter().map(exec_task));
        }
        Ok(found)
    }

    /// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommand.html>
    async fn execute_command(&self, command: &ExecuteCommand) -> Call<ExecSession> {
        let body = json!({
            "cluster": command.cluster, "task": command.task, "container": command.container,
            "command": command.command, "interactive": true,
        });
        let answer = ask!(once self, "ecs:ExecuteCommand", execute_command, body)?;
        let session = &answer["session"];
        let opened = ExecSession {
            id: text(session, "sessionId"),
            stream_url: text(session, "streamUrl"),
            token: Secret::new(text(session, "tokenValue")),
        };
        self.session.mask(&opened.token);
        Ok(opened)
    }

    /// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ResumeSession.html>
    async fn resume_session(&self, session: &str) -> Call<Option<Secret>> {
        const ACTION: &str = "ssm:ResumeSession";
        let answer = self
            .call(ACTION, async || {
                self.ssm.resume_session().session_id(session).send().await.map_err(call_error(ACTION))
            })
            .await?;
        let token = answer.token_value.filter(|token| !token.is_empty()).map(Secret::new);
        if let Some(token) = &token {
            self.session.mask(token);
        }
        Ok(token)
    }

    /// Over our one HTTP client: its certificates, its proxies.
    async fn data_channel(&self, url: &str) -> Call<Box<dyn Stream>> {
        let failed = |kind, message: String| CallError {
            action: OPEN_DATA_CHANNEL.to_owned(),
            kind,
            code: String::new(),
            message,
            request_id: None,
        };
        let url = upgradable(url).map_err(|why| failed(CallErrorKind::Invalid, why))?;
        let credentials = self.session.credentials().credentials().await;
        let credentials = credentials.map_err(|why| no_session(OPEN_DATA_CHANNEL, &why))?;
        let ask = SignedRequest {
            action: OPEN_DATA_CHANNEL,
            service: "ssmmessages",
            region: self.session.region(),
            method: "GET",
            url: &url,
            content_type: None,
            target: None,
            body: "",
            most_bytes: 0,
        };
        let signed = ask.signature(&credentials.into()).map_err(|why| failed(CallErrorKind::Invalid, why))?;
        let mut nonce = [0; 16];
        let _ = aws_lc_rs::rand::fill(&mut nonce);
        let key = STANDARD.encode(nonce);
        let mut request = self.session.network().http().get(&url).version(reqwest::Version::HTTP_11);
        for (name, value) in &signed {
            request = request.header(name, value);
        }
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", &key),
        ] {
            request = request.header(name, value);
        }
        let opening = async {
            let response = request.send().await.map_err(|error| failed(CallErrorKind::Unreachable, deepest(&error)))?;
            let status = response.status();
            if status != reqwest::StatusCode::SWITCHING_PROTOCOLS {
                let kind = match status.as_u16() {
                    401 | 403 => CallErrorKind::Denied,
                    404 | 410 => CallErrorKind::NotFound,
                    _ => CallErrorKind::Unreachable,
                };
                let message = format!("the data channel is not opened: HTTP {}", status.as_u16());
                return Err(CallError { code: format!("HTTP {}", status.as_u16()), ..failed(kind, message) });
            }
            let expected = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()));
            if response.headers().get("sec-websocket-accept").and_then(|a| a.to_str().ok()) != Some(&expected) {
                let message = "what answered is no WebSocket: a proxy on the way?".to_owned();
                return Err(failed(CallErrorKind::Unreachable, message));
            }
            response.upgrade().await.map_err(|error| failed(CallErrorKind::Unreachable, deepest(&error)))
        };
        match timeout(UPGRADE_TIMEOUT, opening).await {
            Ok(opened) => Ok(Box::new(opened?)),
            Err(_) => Err(failed(CallErrorKind::Unreachable, "the data channel is not opened in time".to_owned())),
        }
    }

    /// <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html>
    async fn data_key(&self, key: &str, context: &BTreeMap<String, String>) -> Call<(String, Secret<Vec<u8>>)> {
        const ACTION: &str = "kms:GenerateDataKey";
        let region = key.split(':').nth(3).filter(|region| !region.is_empty()).unwrap_or(self.session.region());
        let url = match self.session.endpoint("KMS") {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => format!("https://kms.{region}.{}/", dns_suffix(region)),
        };
        let body = json!({ "KeyId": key, "NumberOfBytes": 64, "EncryptionContext": context }).to_string();
        let ask = SignedRequest {
            action: ACTION,
            service: "kms",
            region,
            method: "POST",
            url: &url,
            content_type: Some("application/x-amz-json-1.1"),
            target: Some("TrentService.GenerateDataKey"),
            body: &body,
            most_bytes: 1024 * 1024,
        };
        let answer = self.call(ACTION, async || self.ask(&ask).await.map_err(|refusal| refusal.error)).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|e| unreadable(ACTION, &e.to_string()))?;
        let plain = STANDARD.decode(text(&answer, "Plaintext")).map_err(|e| unreadable(ACTION, &e.to_string()))?;
        Ok((text(&answer, "CiphertextBlob"), Secret::new(plain)))
    }

    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>
    async fn denied_actions(&self, role: &str, actions: &[&str]) -> Call<Vec<String>> {
        const ACTION: &str = "iam:SimulatePrincipalPolicy";
        let mut members = vec![("PolicySourceArn".to_owned(), role.to_owned())];
        members.extend(
            actions
                .iter()
                .enumerate()
                .map(|(at, action)| (format!("ActionNames.member.{}", at + 1), (*action).to_owned())),
        );
        let answer = self.query(&IAM, self.session.region(), ACTION, members).await?;
        denied_in(&answer).ok_or_else(|| unreadable(ACTION, "no evaluation results"))
    }

    async fn environment(&self) -> Call<Vec<(String, Secret)>> {
        let credentials = self.session.credentials().credentials().await;
        let credentials = credentials.map_err(|why| no_session("sts:GetCallerIdentity", &why))?;
        let mut variables = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), Secret::new(credentials.access_key_id())),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), Secret::new(credentials.secret_access_key())),
            ("AWS_REGION".to_owned(), Secret::new(self.session.region())),
        ];
        let token = credentials.session_token().map(Secret::new);
        variables.extend(token.map(|token| ("AWS_SESSION_TOKEN".to_owned(), token)));
        Ok(variables)
    }

    fn ssm_endpoint(&self) -> String {
        let region = self.session.region();
        let own = || format!("https://ssm.{region}.{}", dns_suffix(region));
        self.session.endpoint("SSM").unwrap_or_else(own)
    }
}

/// The same address for an HTTP client. The token goes there: in the clear to this machine only.
fn upgradable(url: &str) -> Result<String, String> {
    match url.split_once("://") {
        Some(("wss", rest)) => Ok(format!("https://{rest}")),
        Some(("ws", rest)) if is_loopback(url) => Ok(format!("http://{rest}")),
        _ => Err(format!("`{url}` is no address of an encrypted WebSocket")),
    }
}

fn exec_task(task: &Value) -> ExecTask {
    let shown = wire::task(task);
    ExecTask {
        arn: shown.arn,
        task_definition: shown.task_definition,
        last_status: shown.last_status,
        stopped_reason: shown.stopped_reason,
        started_at: shown.started_at,
        is_enabled: task["enableExecuteCommand"].as_bool() == Some(true),
        containers: list(task, "containers").iter().map(exec_container).collect(),
    }
}

fn exec_container(container: &Value) -> ExecContainer {
    let agent = list(container, "managedAgents").iter().find(|agent| agent["name"] == "ExecuteCommandAgent");
    ExecContainer {
        name: text(container, "name").as_str().into(),
        last_status: maybe(container, "lastStatus"),
        runtime_id: maybe(container, "runtimeId"),
        agent: agent.and_then(|agent| maybe(agent, "lastStatus")),
        agent_reason: agent.and_then(|agent| maybe(agent, "reason")),
    }
}

/// The actions whose decision is not `allowed`.
fn denied_in(answer: &[u8]) -> Option<Vec<String>> {
    let mut denied = vec![];
    let mut seen = 0;
    let mut document = Document::try_from(answer).ok()?;
    let mut root = document.root_element().ok()?;
    each(&mut root, &["SimulatePrincipalPolicyResult", "EvaluationResults", "member"], &mut |member| {
        let fields: BTreeMap<String, String> = fields(member).into_iter().collect();
        seen += 1;
        if fields.get("EvalDecision").map(String::as_str) != Some("allowed") {
            denied.extend(fields.get("EvalActionName").cloned());
        }
    });
    (seen > 0).then_some(denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_nowhere_in_the_clear() {
        let aws = "ssmmessages.eu-central-1.amazonaws.com/v1/data-channel/x?role=publish_subscribe";
        assert_eq!(upgradable(&format!("wss://{aws}")), Ok(format!("https://{aws}")));
        assert_eq!(upgradable("ws://127.0.0.1:1/x").as_deref(), Ok("http://127.0.0.1:1/x"));
        for bad in
            [format!("ws://{aws}"), format!("https://{aws}"), "ws://127.0.0.1.evil.test/".to_owned(), String::new()]
        {
            assert!(upgradable(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_role_may_not_do_is_read_from_a_simulation() {
        let member = |action: &str, decision: &str| {
            format!(
                "<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision>\
                 <MatchedStatements><member><SourcePolicyId>p</SourcePolicyId></member></MatchedStatements></member>"
            )
        };
        let answer = format!(
            "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults>{}{}{}</EvaluationResults>\
             </SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>",
            member("a:One", "allowed"),
            member("a:Two", "implicitDeny"),
            member("a:Three", "explicitDeny")
        );
        assert_eq!(denied_in(answer.as_bytes()), Some(vec!["a:Two".to_owned(), "a:Three".to_owned()]));
        for broken in [&b""[..], b"<r/>", b"<SimulatePrincipalPolicyResponse>"] {
            assert_eq!(denied_in(broken), None);
        }
    }
}

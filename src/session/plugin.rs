//! AWS's own Session Manager plugin, where it is installed.
//! <https://github.com/aws/session-manager-plugin>

use crate::error::call_failed;
use crate::ports::{ExecSession, Sessions};
use fargate_deploy_core::outcome::{Failure, Reason};
use fargate_deploy_session::{Ended, Leave};
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

const NAME: &str = "session-manager-plugin";
/// Where newer plugins look for what older ones take as an argument, which every user of the machine can read.
const RESPONSE: &str = "AWS_SSM_START_SESSION_RESPONSE";
/// The last that does not.
const LAST_WITHOUT: [u64; 4] = [1, 2, 497, 0];

pub(crate) struct Plugin<'a> {
    path: PathBuf,
    region: &'a str,
    env: &'a BTreeMap<String, String>,
}

impl<'a> Plugin<'a> {
    /// Where it is on `PATH`.
    pub(crate) fn find(env: &'a BTreeMap<String, String>, region: &'a str) -> Option<Self> {
        let path =
            std::env::split_paths(env.get("PATH")?).map(|folder| folder.join(NAME)).find(|path| path.is_file())?;
        Some(Self { path, region, env })
    }

    /// A shell on this terminal, which the plugin sees to itself.
    ///
    /// # Errors
    /// It could not be started, or says that it failed.
    pub(crate) async fn shell(
        &self,
        session: &ExecSession,
        target: &str,
        sessions: &dyn Sessions,
    ) -> Result<u8, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        // A key that interrupts is for what runs in the container.
        let _interrupts = signal(SignalKind::interrupt()).ok();
        let mut child = self.start(session, target, sessions, false).await?;
        let status = tokio::select! {
            status = child.wait() => status.map_err(|error| self.failed(&error.to_string()))?,
            () = terminated() => {
                let _ = child.start_kill();
                return Err(Failure::new(Reason::Cancelled, "cancelled: the session was left"));
            }
        };
        match status.code() {
            Some(0) => Ok(0),
            Some(code) => Err(self.failed(&format!("it ended with {code}"))),
            None => Err(self.failed("it was killed")),
        }
    }

    /// A command without a terminal: all that the plugin prints.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) async fn command(
        &self,
        session: &ExecSession,
        target: &str,
        sessions: &dyn Sessions,
        out: &mut dyn FnMut(&[u8]) -> ControlFlow<Leave>,
    ) -> Result<Ended, Failure> {
        let mut child = self.start(session, target, sessions, true).await?;
        // It takes the end of its input for the end of the session.
        let _input = child.stdin.take();
        let (Some(mut printed), Some(mut said)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(self.failed("it has no output"));
        };
        let complaining = tokio::spawn(async move {
            let mut text = vec![];
            let _ = (&mut said).take(64 * 1024).read_to_end(&mut text).await;
            text
        });
        let mut buffer = vec![0; 16 * 1024];
        let reading = async {
            loop {
                match printed.read(&mut buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(read) => {
                        if let ControlFlow::Break(leave) = out(&buffer[..read]) {
                            return Some(leave);
                        }
                    }
                }
            }
        };
        let left = tokio::select! {
            left = reading => left.is_some(),
            // The first one reaches the plugin, too, and by it the command.
            () = crate::signals::interrupted_twice() => true,
        };
        if left {
            let _ = child.start_kill();
            return Ok(Ended::Left);
        }
        let _ = child.wait().await;
        let text = complaining.await.unwrap_or_default();
        Ok(Ended::Closed(String::from_utf8_lossy(&text).trim().to_owned()))
    }

    async fn start(
        &self,
        session: &ExecSession,
        target: &str,
        sessions: &dyn Sessions,
        is_piped: bool,
    ) -> Result<Child, Failure> {
        let identity = sessions.environment().await.map_err(|error| call_failed("renewing the credentials", &error))?;
        let response = json!({
            "sessionId": session.id, "streamUrl": session.stream_url, "tokenValue": session.token.expose(),
        });
        let mut command = Command::new(&self.path);
        command.env_clear().envs(self.env).envs(identity.iter().map(|(name, value)| (name, value.expose())));
        let response = response.to_string();
        let by = match self.takes_a_variable().await {
            true => {
                command.env(RESPONSE, &response);
                RESPONSE
            }
            false => &response,
        };
        // Response, region, operation, profile, parameters, endpoint: as the AWS CLI starts it.
        let parameters = json!({ "Target": target }).to_string();
        command.args([by, self.region, "StartSession", "", &parameters, &sessions.ssm_endpoint()]);
        if is_piped {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        command.kill_on_drop(true).spawn().map_err(|error| self.failed(&error.to_string()))
    }

    async fn takes_a_variable(&self) -> bool {
        let output =
            Command::new(&self.path).arg("--version").env_clear().envs(self.env).stdin(Stdio::null()).output().await;
        output.is_ok_and(|output| takes_a_variable(&String::from_utf8_lossy(&output.stdout)))
    }

    fn failed(&self, why: &str) -> Failure {
        Failure::new(Reason::Unavailable, format!("`{}`: {why}", self.path.display()))
            .with_next("`--no-plugin` does without it")
    }
}

fn takes_a_variable(version: &str) -> bool {
    let numbers: Option<Vec<u64>> = version.trim().split('.').map(|part| part.parse().ok()).collect();
    numbers.is_some_and(|numbers| numbers.as_slice() > LAST_WITHOUT.as_slice())
}

/// SIGTERM, or the terminal is closed.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hang_up)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_can_is_not_given_the_token_as_an_argument() {
        for (version, takes) in [
            ("1.2.497.0\n", false),
            ("1.2.553.0\n", true),
            ("1.10.0.0", true),
            ("2.0", true),
            ("", false),
            ("v1", false),
        ] {
            assert_eq!(takes_a_variable(version), takes, "{version}");
        }
    }
}

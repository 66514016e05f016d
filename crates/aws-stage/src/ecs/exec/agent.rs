//! The SSM agent in a container: a command on a terminal of its own, and one end of the data channel.
//! <https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/session/shell/shell.go>

use super::order::Order;
use super::wire::Frame;
use super::words;
use crate::behavior::Behavior;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::InspectContainerOptions;
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep, timeout};

/// The largest piece of output in a message.
const PIECE: usize = 1024;
/// More unacknowledged output than this, and the terminal is not read.
const MOST_WAITING: usize = 1000;
/// What is given to the last acknowledgements.
const LAST_ACKNOWLEDGEMENTS: Duration = Duration::from_secs(2);

const OUTPUT: u32 = 1;
const SIZE: u32 = 3;
const HANDSHAKE_REQUEST: u32 = 5;
const HANDSHAKE_RESPONSE: u32 = 6;
const HANDSHAKE_COMPLETE: u32 = 7;

type ToClient = watch::Receiver<Option<mpsc::Sender<Vec<u8>>>>;

pub(super) struct Agent {
    engine: Docker,
    behavior: Behavior,
    container: String,
    session: String,
    order: Order,
    to_client: Option<ToClient>,
}

/// A terminal with the command on it.
struct Terminal {
    exec: String,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Agent {
    pub(super) fn new(engine: Docker, behavior: Behavior, container: String, session: &str) -> Self {
        Self { engine, behavior, container, session: session.to_owned(), order: Order::default(), to_client: None }
    }

    pub(super) async fn live(mut self, command: &str, mut from_client: mpsc::Receiver<Vec<u8>>, to_client: ToClient) {
        self.to_client = Some(to_client);
        if self.behavior.exec.get().has_handshake && !self.handshake(&mut from_client).await {
            let why = "Encountered error while initiating handshake. Handshake timed out. Please ensure that you have the \
                       latest version of the session manager plugin.";
            return self.close(why).await;
        }
        let mut terminal = match self.start(command).await {
            Ok(terminal) => terminal,
            Err(why) => return self.close(&why).await,
        };
        // The agent reads for the first time after a second.
        sleep(self.behavior.waiting(1.0)).await;
        self.converse(&mut terminal, &mut from_client).await;
        if self.was_killed(&terminal.exec).await {
            return self.is_away().await;
        }
        let until = Instant::now() + LAST_ACKNOWLEDGEMENTS;
        while self.order.waiting() > 0 && Instant::now() < until {
            let _ = timeout(Duration::from_millis(50), async {
                if let Some(bytes) = from_client.recv().await {
                    self.take(&bytes, &mut None).await;
                }
            })
            .await;
            if let Some(again) = self.order.again() {
                self.publish(again).await;
            }
        }
        let said = if self.order.waiting() > 0 { "The client did not acknowledge everything." } else { "" };
        self.close(said).await;
    }

    /// For session types other than a shell's, and where a key of KMS is set.
    async fn handshake(&mut self, from_client: &mut mpsc::Receiver<Vec<u8>>) -> bool {
        let request = json!({ "AgentVersion": "3.3.1611.0", "RequestedClientActions": [
            { "ActionType": "SessionType", "ActionParameters": { "SessionType": "InteractiveCommands", "Properties": null } }] });
        let request = self.order.send(HANDSHAKE_REQUEST, request.to_string().into_bytes());
        self.publish(request).await;
        let answered = async {
            loop {
                tokio::select! {
                    Some(bytes) = from_client.recv() => {
                        for frame in self.take(&bytes, &mut None).await {
                            // What is typed before the handshake is over is acknowledged, and lost.
                            if frame.payload_type == HANDSHAKE_RESPONSE {
                                let answer: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
                                return answer["ProcessedClientActions"][0]["ActionStatus"].as_u64() == Some(1);
                            }
                        }
                    }
                    () = sleep(Duration::from_millis(100)) => {
                        if let Some(again) = self.order.again() {
                            self.publish(again).await;
                        }
                    }
                }
            }
        };
        if timeout(Duration::from_secs(15), answered).await != Ok(true) {
            return false;
        }
        let complete = json!({ "HandshakeTimeToComplete": 1_000_000, "CustomerMessage": "" });
        let complete = self.order.send(HANDSHAKE_COMPLETE, complete.to_string().into_bytes());
        self.publish(complete).await;
        true
    }

    /// As root, whoever the container runs as.
    async fn start(&self, command: &str) -> Result<Terminal, String> {
        let failed =
            |why: String| format!("\n----------ERROR-------\nUnable to start command: Failed to start pty: {why}");
        let words = words::split(command).map_err(failed)?;
        let config = ExecConfig {
            cmd: Some(words),
            env: Some(vec!["TERM=xterm-256color".to_owned()]),
            user: Some("0".to_owned()),
            tty: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec =
            self.engine.create_exec(&self.container, config).await.map_err(|error| failed(error.to_string()))?.id;
        let options = StartExecOptions { tty: true, ..StartExecOptions::default() };
        match self.engine.start_exec(&exec, Some(options)).await {
            Ok(StartExecResults::Attached { output, input }) => Ok(Terminal { exec, output, input }),
            Ok(StartExecResults::Detached) => Err(failed("detached".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Until the last process has left the terminal.
    async fn converse(&mut self, terminal: &mut Terminal, from_client: &mut mpsc::Receiver<Vec<u8>>) {
        let mut repeats = interval(Duration::from_millis(100));
        let mut partial = vec![];
        loop {
            tokio::select! {
                read = terminal.output.next(), if self.order.waiting() < MOST_WAITING => {
                    let Some(Ok(chunk)) = read else { break };
                    partial.extend_from_slice(&chunk.into_bytes());
                    for piece in pieces(&mut partial) {
                        let message = self.order.send(OUTPUT, piece);
                        self.publish(message).await;
                    }
                }
                Some(bytes) = from_client.recv() => {
                    let mut at = Some(&mut *terminal);
                    self.take(&bytes, &mut at).await;
                }
                _ = repeats.tick() => {
                    if let Some(again) = self.order.again() {
                        self.publish(again).await;
                    }
                }
            }
        }
        if !partial.is_empty() {
            let message = self.order.send(OUTPUT, String::from_utf8_lossy(&partial).into_owned().into_bytes());
            self.publish(message).await;
        }
    }

    /// One message of the client. What had its turn, as far as no terminal has taken it.
    async fn take(&mut self, bytes: &[u8], terminal: &mut Option<&mut Terminal>) -> Vec<Frame> {
        let taken = Frame::read(bytes).and_then(|frame| match frame.kind.as_str() {
            "acknowledge" => self.order.acknowledged(&frame).map(|()| None),
            "input_stream_data" => self.order.receive(frame).map(Some),
            other => Err(format!("`{other}` from a client")),
        });
        let (acknowledgement, due) = match taken {
            Ok(Some(taken)) => taken,
            Ok(None) => return vec![],
            Err(why) => {
                self.close(&format!("the client is wrong: {why}")).await;
                return vec![];
            }
        };
        self.publish(acknowledgement).await;
        let Some(terminal) = terminal else { return due };
        for frame in due {
            match frame.payload_type {
                OUTPUT => {
                    let _ = terminal.input.write_all(&frame.payload).await;
                    let _ = terminal.input.flush().await;
                }
                SIZE => {
                    let size: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
                    let of = |name: &str| size[name].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
                    let options = ResizeExecOptions { height: of("rows"), width: of("cols") };
                    let _ = self.engine.resize_exec(&terminal.exec, options).await;
                }
                _ => {}
            }
        }
        vec![]
    }

    /// Hands a message to the service, which drops it while no client is connected.
    async fn publish(&self, message: Vec<u8>) {
        let client = self.to_client.as_ref().and_then(|client| client.borrow().clone());
        if let Some(client) = client {
            let _ = client.send(message).await;
        }
    }

    async fn close(&self, output: &str) {
        let content = json!({
            "MessageType": "channel_closed", "MessageId": Frame::new("", 0, 0, vec![]).id, "DestinationId": "client",
            "CreatedDate": "2026-01-01T00:00:00.000Z", "SessionId": self.session, "SchemaVersion": 1, "Output": output,
        });
        self.publish(Frame::new("channel_closed", 0, 0, content.to_string().into_bytes()).bytes()).await;
    }

    /// Whether the container went, and the command and this agent with it. The Engine ends the one before it says so of the other.
    async fn was_killed(&self, exec: &str) -> bool {
        let code = self.engine.inspect_exec(exec).await.ok().and_then(|found| found.exit_code);
        if code.is_some_and(|code| code != 137) {
            return false;
        }
        for _ in 0..20 {
            let found = self.engine.inspect_container(&self.container, None::<InspectContainerOptions>).await.ok();
            if found.and_then(|found| found.state?.running) != Some(true) {
                return true;
            }
            sleep(Duration::from_millis(100)).await;
        }
        false
    }

    /// Of an agent that was killed with its task the service says so, and nothing ever closes the channel.
    async fn is_away(&self) {
        for _ in 0..600 {
            self.publish(Frame::new("pause_publication", 0, 0, vec![]).bytes()).await;
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Whole characters, at most so many bytes at once; what no text holds becomes U+FFFD. The beginning of a character stays.
fn pieces(partial: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let whole = match std::str::from_utf8(partial) {
        Ok(_) => partial.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => partial.len() - incomplete(partial),
    };
    let text = String::from_utf8_lossy(&partial.drain(..whole).collect::<Vec<u8>>()).into_owned();
    let mut pieces = vec![];
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let mut end = rest.len().min(PIECE);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece.as_bytes().to_vec());
        rest = after;
    }
    pieces
}

/// How many bytes at the end are the beginning of a character.
fn incomplete(bytes: &[u8]) -> usize {
    let is_incomplete = |length: &usize| {
        let tail = &bytes[bytes.len() - length..];
        std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none() && error.valid_up_to() == 0)
    };
    (1..=3.min(bytes.len())).find(is_incomplete).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn a_character_is_never_cut_and_what_is_none_is_replaced() {
        let mut partial = "ü".repeat(600).into_bytes();
        partial.extend_from_slice(&[0xff, 0xe2, 0x82]);
        let made = pieces(&mut partial);
        assert!(made.iter().all(|piece| piece.len() <= 1024 && std::str::from_utf8(piece).is_ok()));
        assert_eq!(made.concat(), format!("{}\u{fffd}", "ü".repeat(600)).into_bytes());
        assert_eq!(partial, [0xe2, 0x82]);
    }
}

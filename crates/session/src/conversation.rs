//! A session over WebSockets: from the first message to its end, over as many connections as it takes.

use crate::channel::{Channel, Event, Size};
use crate::encryption::{DataKeys, KeyRequest};
use futures_util::{SinkExt as _, StreamExt as _};
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_websockets::{ClientBuilder, Limits, Message, WebSocketStream};

/// A connection whose HTTP upgrade is done.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What a session needs of AWS.
pub trait Connect {
    /// The first connection, or one more of a session whose connection was lost, with the token for its first message.
    fn connect(&self, is_again: bool) -> impl Future<Output = Result<(Box<dyn Stream>, String), ConnectError>>;
    /// A data key, where the cluster encrypts its sessions.
    fn keys(&self, request: &KeyRequest) -> impl Future<Output = Result<DataKeys, String>>;
    /// Why nothing more can come, asked while the agent is away. `None`: it may come back.
    fn over(&self) -> impl Future<Output = Option<String>>;
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The session is over, or this caller may not have it.
    Refused(String),
    /// The next time it may be well.
    Failed(String),
}

/// What goes to the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Bytes(Vec<u8>),
    Size(Size),
}

/// Why this side breaks a session off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// What was wanted has ended.
    Done,
    /// Nobody reads on: what runs is interrupted.
    Interrupt,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By the agent: nothing runs in it any more. The reason, where it is no usual end.
    Closed(String),
    /// The connection is gone, and could not be had again; what ran may run on.
    Lost(String),
    /// By this side.
    Left,
}

/// How long a lost connection is tried again.
const LONGEST_AWAY: Duration = Duration::from_secs(60);
const BETWEEN_REPEATS: Duration = Duration::from_millis(100);
/// The plugin's five minutes are longer than what some NAT gateways and proxies keep a silent connection.
const BETWEEN_PINGS: Duration = Duration::from_secs(30);
/// Three pings without so much as a pong.
const LONGEST_SILENCE: Duration = Duration::from_secs(95);
/// A command that prints nothing by then is told its window all the same.
const SIZE_AT_THE_LATEST: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);
/// What a session that is left is given to end by itself.
const FAREWELL: Duration = Duration::from_secs(1);
/// No message of the agent is near it.
const LARGEST_MESSAGE: usize = 1024 * 1024;
/// An interrupt from the keyboard, and the end of input.
const HANG_UP: &[u8] = &[3, 4];

type Socket = WebSocketStream<Box<dyn Stream>>;

enum Cut {
    /// Another connection may go on.
    Connection(String),
    Session(Ended),
    Left(Leave),
}

pub struct Conversation<'a, C> {
    connect: &'a C,
    input: mpsc::Receiver<Input>,
    channel: Channel,
    size: Option<Size>,
    began: Instant,
}

impl<'a, C: Connect> Conversation<'a, C> {
    pub fn new(connect: &'a C, input: mpsc::Receiver<Input>, size: Option<Size>) -> Self {
        Self { connect, input, channel: Channel::default(), size, began: Instant::now() }
    }

    /// Until the session ends, until `out` breaks it off, or until `hang_up` resolves: then what runs is interrupted first.
    pub async fn run(
        mut self,
        mut out: impl FnMut(Event) -> ControlFlow<Leave>,
        hang_up: impl Future<Output = ()>,
    ) -> Ended {
        let mut hang_up = pin!(hang_up);
        let mut lost: Option<String> = None;
        loop {
            let mut socket = tokio::select! {
                connected = self.connected(lost.is_some()) => match connected {
                    Ok(socket) => socket,
                    Err(why) => return Ended::Lost(lost.into_iter().chain([why]).collect::<Vec<_>>().join("; ")),
                },
                () = &mut hang_up => return Ended::Left,
            };
            let cut = tokio::select! {
                cut = self.talk(&mut socket, &mut out) => cut,
                () = &mut hang_up => Cut::Left(Leave::Interrupt),
            };
            let ended = match cut {
                Cut::Connection(why) => {
                    lost = Some(why);
                    continue;
                }
                Cut::Session(ended) => ended,
                Cut::Left(leave) => {
                    if leave == Leave::Interrupt {
                        self.channel.send_input(HANG_UP, self.began.elapsed());
                        let _ = timeout(FAREWELL, self.talk(&mut socket, &mut |_| ControlFlow::Continue(()))).await;
                    }
                    Ended::Left
                }
            };
            let _ = timeout(FAREWELL, self.flush(&mut socket)).await;
            let _ = timeout(FAREWELL, socket.close()).await;
            return ended;
        }
    }

    async fn connected(&self, is_again: bool) -> Result<Socket, String> {
        let began = Instant::now();
        let mut wait = Duration::from_millis(200);
        loop {
            let why = match self.connect.connect(is_again).await {
                Ok((stream, token)) => {
                    let limits = Limits::default().max_payload_len(Some(LARGEST_MESSAGE));
                    let mut socket = ClientBuilder::new().limits(limits).take_over(stream);
                    match socket.send(Message::text(Channel::opening(&token))).await {
                        Ok(()) => return Ok(socket),
                        Err(error) => error.to_string(),
                    }
                }
                Err(ConnectError::Refused(why)) => return Err(why),
                Err(ConnectError::Failed(why)) => why,
            };
            if began.elapsed() + wait > LONGEST_AWAY {
                return Err(why);
            }
            sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(8));
        }
    }

    /// One connection, to its end or to that of the session.
    async fn talk(&mut self, socket: &mut Socket, out: &mut impl FnMut(Event) -> ControlFlow<Leave>) -> Cut {
        let ticking = |every| {
            let mut interval = interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        let (mut repeats, mut pings, mut looks) =
            (ticking(BETWEEN_REPEATS), ticking(BETWEEN_PINGS), ticking(BETWEEN_LOOKS));
        let connected = Instant::now();
        let mut heard = connected;
        let mut is_paused = false;
        let mut has_sized = self.channel.is_ready();
        loop {
            if let Err(error) = self.flush(socket).await {
                return Cut::Connection(error.to_string());
            }
            tokio::select! {
                received = socket.next() => {
                    let message = match received {
                        Some(Ok(message)) => message,
                        Some(Err(error)) => return Cut::Connection(error.to_string()),
                        None => return Cut::Connection("the connection was closed".to_owned()),
                    };
                    heard = Instant::now();
                    if let Some((code, reason)) = message.as_close() {
                        return Cut::Connection(format!("closed with {}: {reason}", u16::from(code)));
                    }
                    if !message.is_binary() {
                        continue;
                    }
                    // What is no message is as one that was lost: the agent sends it again.
                    let bytes: &[u8] = message.as_payload();
                    let events = self.channel.receive(bytes, self.began.elapsed()).unwrap_or_default();
                    for event in events {
                        match &event {
                            Event::Closed(why) => return Cut::Session(Ended::Closed(why.clone())),
                            Event::KeyWanted(request) => {
                                let keys = self.connect.keys(request).await;
                                self.channel.give_keys(keys, self.began.elapsed());
                            }
                            Event::Ready | Event::Resumed => {
                                is_paused = false;
                                has_sized |= self.channel.is_ready();
                                self.tell_size();
                            }
                            Event::Paused => is_paused = true,
                            Event::Output(_) => is_paused = false,
                            Event::Notice(_) => {}
                        }
                        if let ControlFlow::Break(leave) = out(event) {
                            return Cut::Left(leave);
                        }
                    }
                }
                Some(input) = self.input.recv(), if self.channel.is_ready() => match input {
                    Input::Bytes(bytes) => self.channel.send_input(&bytes, self.began.elapsed()),
                    Input::Size(size) => {
                        self.size = Some(size);
                        self.tell_size();
                    }
                },
                _ = repeats.tick() => {
                    if let Err(unanswered) = self.channel.repeat(self.began.elapsed()) {
                        return Cut::Session(Ended::Lost(unanswered.to_string()));
                    }
                    if !has_sized && connected.elapsed() > SIZE_AT_THE_LATEST {
                        has_sized = true;
                        self.tell_size();
                    }
                }
                _ = pings.tick() => {
                    if heard.elapsed() > LONGEST_SILENCE {
                        return Cut::Connection("nothing comes any more".to_owned());
                    }
                    if let Err(error) = socket.send(Message::ping("keepalive")).await {
                        return Cut::Connection(error.to_string());
                    }
                }
                _ = looks.tick(), if is_paused => {
                    if let Some(why) = self.connect.over().await {
                        return Cut::Session(Ended::Lost(why));
                    }
                }
            }
        }
    }

    fn tell_size(&mut self) {
        if let Some(size) = self.size {
            self.channel.send_size(size, self.began.elapsed());
        }
    }

    async fn flush(&mut self, socket: &mut Socket) -> Result<(), tokio_websockets::Error> {
        for message in self.channel.take_outbox() {
            socket.feed(Message::binary(message)).await?;
        }
        socket.flush().await
    }
}

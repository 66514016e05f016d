//! The order of messages: each direction counts from zero, each message is acknowledged, and what is not is sent again.
//!
//! Pure: time is handed in, as what has passed since some moment, and what is to be sent is handed out.
//! <https://github.com/aws/session-manager-plugin/blob/mainline/src/datachannel/streaming.go>

use crate::encryption::{DataKeys, KeyRequest};
use crate::message::{FIN, Id, Malformed, Message, MessageType, SYN, payload};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The largest payload that the agent takes.
pub const LARGEST_INPUT: usize = 1024;
/// As the plugin has it: with an unacknowledged message sent this often there is nobody left to acknowledge it.
const MOST_SENDINGS: u32 = 3000;
/// Messages that came too early, kept until their turn.
const MOST_EARLY: usize = 10_000;
const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(1);
/// A round trip is not measured more finely than this.
const CLOCK: Duration = Duration::from_millis(10);
/// What the agent compares with its own to know what this client can do.
pub const CLIENT_VERSION: &str = "1.2.764.0";

/// The window of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// What a message was, to whoever talks through the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The agent reads what is typed from now on: what it gets before is lost.
    Ready,
    Output(Vec<u8>),
    /// A key of KMS is asked for, within 15 seconds: [`Channel::give_keys`].
    KeyWanted(KeyRequest),
    /// What the agent shows a person, about the session itself.
    Notice(String),
    /// The agent is away: it does not come back if its task was killed.
    Paused,
    /// The agent is there.
    Resumed,
    /// The end, and why, where it is no usual one.
    Closed(String),
}

/// Nobody acknowledges what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody answers what is sent")]
pub struct Unanswered;

struct Sent {
    sequence: i64,
    bytes: Vec<u8>,
    at: Duration,
    sendings: u32,
}

pub struct Channel {
    next: i64,
    unacknowledged: VecDeque<Sent>,
    expected: i64,
    early: BTreeMap<i64, Message>,
    round_trip: Duration,
    variation: Duration,
    timeout: Duration,
    outbox: Vec<Vec<u8>>,
    keys: Option<DataKeys>,
    /// What was answered to the actions of a handshake that waits for its key.
    waiting_for_keys: Option<Vec<Value>>,
    is_encrypted: bool,
    is_ready: bool,
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            next: 0,
            unacknowledged: VecDeque::new(),
            expected: 0,
            early: BTreeMap::new(),
            round_trip: Duration::ZERO,
            variation: Duration::from_millis(100),
            timeout: FIRST_TIMEOUT,
            outbox: vec![],
            keys: None,
            waiting_for_keys: None,
            is_encrypted: false,
            is_ready: false,
        }
    }
}

impl Channel {
    /// The first message of a connection: text, and the only one with the token.
    pub fn opening(token: &str) -> String {
        json!({
            "MessageSchemaVersion": "1.0",
            "RequestId": Id::random().to_string(),
            "TokenValue": token,
            "ClientId": Id::random().to_string(),
            "ClientVersion": CLIENT_VERSION,
        })
        .to_string()
    }

    /// What is to be sent, oldest first.
    pub fn take_outbox(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.outbox)
    }

    /// Whether everything that was sent has been acknowledged.
    pub fn is_settled(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    /// Whether what is typed now is read.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// What a person types: it goes in pieces that the agent takes.
    pub fn send_input(&mut self, bytes: &[u8], now: Duration) {
        for piece in bytes.chunks(LARGEST_INPUT) {
            let sealed = self.keys.as_ref().filter(|_| self.is_encrypted).and_then(|keys| keys.encrypt(piece));
            self.send(payload::OUTPUT, sealed.unwrap_or_else(|| piece.to_vec()), now);
        }
    }

    pub fn send_size(&mut self, size: Size, now: Duration) {
        let size = json!({ "cols": size.columns, "rows": size.rows });
        self.send(payload::SIZE, size.to_string().into_bytes(), now);
    }

    /// The key that was asked for, or why there is none; then the session ends.
    pub fn give_keys(&mut self, keys: Result<DataKeys, String>, now: Duration) {
        let Some(mut actions) = self.waiting_for_keys.take() else { return };
        actions.push(match &keys {
            Ok(keys) => action("KMSEncryption", 1, keys.action_result(), ""),
            Err(why) => action("KMSEncryption", 2, Value::Null, why),
        });
        self.keys = keys.ok();
        self.respond(&actions, now);
    }

    fn send(&mut self, payload_type: u32, payload: Vec<u8>, now: Duration) {
        let message = Message {
            kind: MessageType::Input,
            created: created(now),
            sequence: self.next,
            flags: 0,
            id: Id::random(),
            payload_type,
            payload,
        };
        let bytes = message.encode();
        self.outbox.push(bytes.clone());
        self.unacknowledged.push_back(Sent { sequence: self.next, bytes, at: now, sendings: 1 });
        self.next += 1;
    }

    /// Sends the oldest again that was not acknowledged in time. To be asked every 100 milliseconds.
    ///
    /// # Errors
    /// It was sent for five minutes, and nobody has acknowledged it.
    pub fn repeat(&mut self, now: Duration) -> Result<(), Unanswered> {
        let Some(oldest) = self.unacknowledged.front_mut() else { return Ok(()) };
        if now.saturating_sub(oldest.at) < self.timeout {
            return Ok(());
        }
        if oldest.sendings >= MOST_SENDINGS {
            return Err(Unanswered);
        }
        (oldest.at, oldest.sendings) = (now, oldest.sendings + 1);
        self.outbox.push(oldest.bytes.clone());
        Ok(())
    }

    /// One binary message of the connection.
    ///
    /// # Errors
    /// It is none. It is as if it had never come: the agent sends it again.
    pub fn receive(&mut self, bytes: &[u8], now: Duration) -> Result<Vec<Event>, Malformed> {
        let message = Message::decode(bytes)?;
        let mut events = vec![];
        match message.kind {
            MessageType::Acknowledge => self.acknowledged(&message, now),
            MessageType::ChannelClosed => {
                let closed: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
                events.push(Event::Closed(closed["Output"].as_str().unwrap_or_default().trim().to_owned()));
            }
            MessageType::PausePublication => events.push(Event::Paused),
            MessageType::StartPublication => events.push(Event::Resumed),
            MessageType::Output => self.in_order(message, now, &mut events),
            MessageType::Input | MessageType::Other(_) => {}
        }
        Ok(events)
    }

    fn in_order(&mut self, message: Message, now: Duration, events: &mut Vec<Event>) {
        // Also what is behind: the agent sends its oldest again and again until that is acknowledged.
        let is_kept = message.sequence <= self.expected || self.early.len() < MOST_EARLY;
        if is_kept {
            self.acknowledge(&message, now);
        }
        if message.sequence > self.expected && is_kept {
            self.early.insert(message.sequence, message);
            return;
        }
        if message.sequence != self.expected {
            return;
        }
        let mut next = Some(message);
        while let Some(message) = next {
            self.expected += 1;
            self.handle(message, now, events);
            next = self.early.remove(&self.expected);
        }
    }

    fn handle(&mut self, message: Message, now: Duration, events: &mut Vec<Event>) {
        match message.payload_type {
            payload::OUTPUT | payload::STDERR => {
                self.become_ready(events);
                let clear = match self.keys.as_ref().filter(|_| self.is_encrypted) {
                    // What another key encrypted is nothing that the agent has printed.
                    Some(keys) => keys.decrypt(&message.payload),
                    None => Some(message.payload),
                };
                events.extend(clear.map(Event::Output));
            }
            payload::HANDSHAKE_REQUEST => self.handshake(&message.payload, now, events),
            payload::CHALLENGE_REQUEST => {
                if let Some(answer) = self.keys.as_ref().and_then(|keys| keys.answer(&message.payload)) {
                    self.send(payload::CHALLENGE_RESPONSE, answer, now);
                    self.is_encrypted = true;
                }
            }
            payload::HANDSHAKE_COMPLETE => {
                let complete: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
                let said = complete["CustomerMessage"].as_str().filter(|said| !said.is_empty());
                events.extend(said.map(|said| Event::Notice(said.to_owned())));
                self.become_ready(events);
            }
            _ => {}
        }
    }

    fn become_ready(&mut self, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.is_ready, true) {
            events.push(Event::Ready);
        }
    }

    /// Answers at once, unless a key is asked for.
    fn handshake(&mut self, request: &[u8], now: Duration, events: &mut Vec<Event>) {
        let request: Value = serde_json::from_slice(request).unwrap_or_default();
        let mut answered = vec![];
        let mut wanted = None;
        for asked in request["RequestedClientActions"].as_array().into_iter().flatten() {
            match asked["ActionType"].as_str().unwrap_or_default() {
                "SessionType" => answered.push(action("SessionType", 1, Value::Null, "")),
                "KMSEncryption" => wanted = Some(KeyRequest::of(&asked["ActionParameters"])),
                other => answered.push(action(other, 3, Value::Null, "not supported")),
            }
        }
        match wanted {
            None => self.respond(&answered, now),
            Some(request) => {
                self.waiting_for_keys = Some(answered);
                events.push(Event::KeyWanted(request));
            }
        }
    }

    fn respond(&mut self, actions: &[Value], now: Duration) {
        let response = json!({ "ClientVersion": CLIENT_VERSION, "ProcessedClientActions": actions, "Errors": [] });
        self.send(payload::HANDSHAKE_RESPONSE, response.to_string().into_bytes(), now);
    }

    fn acknowledge(&mut self, message: &Message, now: Duration) {
        let content = json!({
            "AcknowledgedMessageType": message.kind.name(),
            "AcknowledgedMessageId": message.id.to_string(),
            "AcknowledgedMessageSequenceNumber": message.sequence,
            "IsSequentialMessage": true,
        });
        let acknowledgement = Message {
            kind: MessageType::Acknowledge,
            created: created(now),
            sequence: 0,
            flags: SYN | FIN,
            id: Id::random(),
            payload_type: 0,
            payload: content.to_string().into_bytes(),
        };
        self.outbox.push(acknowledgement.encode());
    }

    fn acknowledged(&mut self, message: &Message, now: Duration) {
        let content: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let Some(sequence) = content["AcknowledgedMessageSequenceNumber"].as_i64() else { return };
        let Some(at) = self.unacknowledged.iter().position(|sent| sent.sequence == sequence) else { return };
        let Some(sent) = self.unacknowledged.remove(at) else { return };
        if sent.sendings == 1 {
            self.measure(now.saturating_sub(sent.at));
        }
    }

    fn measure(&mut self, sample: Duration) {
        self.variation = self.variation * 3 / 4 + self.round_trip.abs_diff(sample) / 4;
        self.round_trip = self.round_trip * 7 / 8 + sample / 8;
        self.timeout = LONGEST_TIMEOUT.min(self.round_trip + CLOCK.max(self.variation * 4));
    }
}

fn action(name: &str, status: u32, result: Value, error: &str) -> Value {
    json!({ "ActionType": name, "ActionStatus": status, "ActionResult": result, "Error": error })
}

/// The agent asks that it is not zero, and compares it with nothing.
fn created(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from_agent(sequence: i64, payload_type: u32, payload: &[u8]) -> Message {
        Message {
            kind: MessageType::Output,
            created: 1,
            sequence,
            flags: 0,
            id: Id::random(),
            payload_type,
            payload: payload.to_vec(),
        }
    }

    fn output(sequence: i64, text: &str) -> Vec<u8> {
        from_agent(sequence, payload::OUTPUT, text.as_bytes()).encode()
    }

    fn of_kind(kind: MessageType, content: Value) -> Vec<u8> {
        Message { kind, ..from_agent(0, 0, content.to_string().as_bytes()) }.encode()
    }

    fn acknowledge(sequence: i64) -> Vec<u8> {
        of_kind(MessageType::Acknowledge, json!({"AcknowledgedMessageSequenceNumber": sequence}))
    }

    fn sent(channel: &mut Channel) -> Vec<Message> {
        channel.take_outbox().iter().map(|bytes| Message::decode(bytes).unwrap()).collect()
    }

    fn printed(events: Vec<Event>) -> String {
        let of = |event| if let Event::Output(bytes) = event { bytes } else { vec![] };
        String::from_utf8(events.into_iter().flat_map(of).collect()).unwrap()
    }

    const NOW: Duration = Duration::from_secs(5);

    #[test]
    fn each_message_is_acknowledged_once_more_when_it_comes_once_more_and_handled_once() {
        let mut channel = Channel::default();
        let message = output(0, "a");
        assert_eq!(printed(channel.receive(&message, NOW).unwrap()), "a");
        assert_eq!(printed(channel.receive(&message, NOW).unwrap()), "");
        let acks = sent(&mut channel);
        assert_eq!(acks.len(), 2);
        let id = Message::decode(&message).unwrap().id.to_string();
        for ack in acks {
            assert_eq!((ack.kind, ack.sequence, ack.flags, ack.payload_type), (MessageType::Acknowledge, 0, 3, 0));
            let content: Value = serde_json::from_slice(&ack.payload).unwrap();
            assert_eq!(content["AcknowledgedMessageType"], "output_stream_data");
            assert_eq!(content["AcknowledgedMessageId"], id);
            assert_eq!(content["AcknowledgedMessageSequenceNumber"].as_i64(), Some(0));
            assert_eq!(content["IsSequentialMessage"], true);
        }
    }

    #[test]
    fn what_is_not_acknowledged_in_time_is_sent_again_as_the_same_bytes_oldest_first() {
        let mut channel = Channel::default();
        channel.send_input(b"one", NOW);
        channel.send_input(b"two", NOW);
        let first = channel.take_outbox();
        let later = NOW + Duration::from_millis(199);
        channel.repeat(later).unwrap();
        assert!(channel.take_outbox().is_empty());
        let later = NOW + Duration::from_millis(200);
        channel.repeat(later).unwrap();
        assert_eq!(channel.take_outbox(), first[..1]);
        channel.receive(&acknowledge(0), later).unwrap();
        channel.repeat(later + Duration::from_secs(1)).unwrap();
        assert_eq!(channel.take_outbox(), first[1..]);
        channel.receive(&acknowledge(1), later).unwrap();
        assert!(channel.is_settled());
    }

    #[test]
    fn after_five_minutes_without_an_acknowledgement_nobody_is_there() {
        let mut channel = Channel::default();
        channel.send_input(b"hello?", NOW);
        let mut now = NOW;
        let sendings = std::iter::from_fn(|| {
            now += Duration::from_millis(200);
            channel.repeat(now).ok()
        });
        assert_eq!(sendings.count() as u32 + 1, MOST_SENDINGS);
    }

    #[test]
    fn a_round_trip_that_takes_long_is_given_longer_up_to_a_second() {
        let mut channel = Channel::default();
        channel.send_input(b"x", NOW);
        channel.receive(&acknowledge(0), NOW + Duration::from_millis(100)).unwrap();
        assert_eq!(channel.timeout, Duration::from_micros(412_500));
        channel.send_input(b"y", NOW);
        channel.receive(&acknowledge(1), NOW + Duration::from_secs(9)).unwrap();
        assert_eq!(channel.timeout, LONGEST_TIMEOUT);
    }

    #[test]
    fn a_handshake_is_answered_and_what_is_typed_waits_for_its_end() {
        let mut channel = Channel::default();
        let request = json!({"AgentVersion": "3.3.0", "RequestedClientActions": [
            {"ActionType": "SessionType", "ActionParameters": {"SessionType": "InteractiveCommands"}},
            {"ActionType": "Teleport", "ActionParameters": {}}]});
        let request = from_agent(0, payload::HANDSHAKE_REQUEST, request.to_string().as_bytes());
        assert_eq!(channel.receive(&request.encode(), NOW).unwrap(), []);
        assert!(!channel.is_ready());
        let answer = sent(&mut channel).pop().unwrap();
        assert_eq!((answer.kind, answer.payload_type), (MessageType::Input, payload::HANDSHAKE_RESPONSE));
        let content: Value = serde_json::from_slice(&answer.payload).unwrap();
        let status = |at: usize| content["ProcessedClientActions"][at]["ActionStatus"].as_u64();
        assert_eq!((status(0), status(1)), (Some(1), Some(3)));
        let complete = from_agent(1, payload::HANDSHAKE_COMPLETE, br#"{"CustomerMessage":"be good"}"#);
        let events = channel.receive(&complete.encode(), NOW).unwrap();
        assert_eq!(events, [Event::Notice("be good".to_owned()), Event::Ready]);
    }

    #[test]
    fn with_a_key_everything_but_the_size_is_encrypted() {
        let mut channel = Channel::default();
        let request = json!({"RequestedClientActions": [
            {"ActionType": "KMSEncryption", "ActionParameters": {"KMSKeyId": "arn:aws:kms:k", "Challenge": "c"}}]});
        let request = from_agent(0, payload::HANDSHAKE_REQUEST, request.to_string().as_bytes());
        let wanted = KeyRequest { kms_key: "arn:aws:kms:k".to_owned(), challenge: None };
        assert_eq!(channel.receive(&request.encode(), NOW).unwrap(), [Event::KeyWanted(wanted)]);
        let mut whole = [1; 64];
        whole[32..].fill(2);
        channel.give_keys(Ok(DataKeys::new("blob".to_owned(), &whole).unwrap()), NOW);
        let answer: Value = serde_json::from_slice(&sent(&mut channel).pop().unwrap().payload).unwrap();
        assert_eq!(answer["ProcessedClientActions"][0]["ActionResult"]["KMSCipherTextKey"], "blob");

        whole.rotate_left(32);
        let agent = DataKeys::new(String::new(), &whole).unwrap();
        use base64::Engine as _;
        let challenge = base64::engine::general_purpose::STANDARD.encode(agent.encrypt(b"c").unwrap());
        let challenge = json!({ "Challenge": challenge }).to_string();
        channel.receive(&from_agent(1, payload::CHALLENGE_REQUEST, challenge.as_bytes()).encode(), NOW).unwrap();
        assert_eq!(sent(&mut channel).pop().unwrap().payload_type, payload::CHALLENGE_RESPONSE);
        let sealed = from_agent(2, payload::OUTPUT, &agent.encrypt(b"secret").unwrap());
        assert_eq!(printed(channel.receive(&sealed.encode(), NOW).unwrap()), "secret");
        channel.take_outbox();
        channel.send_input(b"typed", NOW);
        channel.send_size(Size { columns: 80, rows: 24 }, NOW);
        let [typed, size] = &sent(&mut channel)[..] else { panic!("two messages") };
        assert_eq!(agent.decrypt(&typed.payload).unwrap(), b"typed");
        assert_eq!(serde_json::from_slice::<Value>(&size.payload).unwrap()["cols"].as_u64(), Some(80));
    }

    #[test]
    fn the_end_says_why_where_it_is_no_usual_one() {
        let mut channel = Channel::default();
        let closed = |output: &str| of_kind(MessageType::ChannelClosed, json!({ "Output": output }));
        assert_eq!(channel.receive(&closed(""), NOW).unwrap(), [Event::Closed(String::new())]);
        let why = "\n----------ERROR-------\nUnable to start command";
        assert!(matches!(&channel.receive(&closed(why), NOW).unwrap()[..], [Event::Closed(w)] if w.contains("Unable")));
    }

    #[test]
    fn input_goes_in_pieces_that_the_agent_takes() {
        let mut channel = Channel::default();
        channel.send_input(&[b'x'; 2500], NOW);
        let lengths: Vec<_> = sent(&mut channel).iter().map(|message| message.payload.len()).collect();
        assert_eq!(lengths, [1024, 1024, 452]);
    }

    proptest! {
        #[test]
        fn output_that_comes_in_any_order_and_more_than_once_is_printed_once_and_in_order(
            order in Just((0..12_i64).collect::<Vec<_>>()).prop_shuffle(), again in prop::collection::vec(0..12_i64, 0..12)
        ) {
            let mut channel = Channel::default();
            let mut text = String::new();
            for sequence in order.iter().chain(&again) {
                text += &printed(channel.receive(&output(*sequence, &format!("{sequence};")), NOW).unwrap());
            }
            prop_assert_eq!(text, (0..12).map(|n| format!("{n};")).collect::<String>());
            prop_assert_eq!(sent(&mut channel).len(), order.len() + again.len());
        }

        #[test]
        fn whatever_an_agent_sends_is_survived(messages in prop::collection::vec(
            (0_usize..6, -2_i64..6, 0_u32..14, prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "\\{\"(Output|Challenge|RequestedClientActions|AcknowledgedMessageSequenceNumber)\":(1|\"x\"|\\[\\{\\}\\]|null)\\}"
                    .prop_map(String::into_bytes),
            ]), 0..20)
        ) {
            let kinds = [MessageType::Input, MessageType::Output, MessageType::Acknowledge, MessageType::ChannelClosed,
                MessageType::PausePublication, MessageType::Other("x".to_owned())];
            let mut channel = Channel::default();
            channel.send_input(b"typed", NOW);
            for (kind, sequence, payload_type, payload) in messages {
                let message = Message { kind: kinds[kind].clone(), ..from_agent(sequence, payload_type, &payload) };
                let _ = channel.receive(&message.encode(), NOW);
                let _ = channel.repeat(NOW);
            }
        }
    }
}

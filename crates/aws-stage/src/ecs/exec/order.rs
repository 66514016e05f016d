//! The agent's side of the order of messages: what it has sent and what it waits for.
//! <https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/session/datachannel/datachannel.go>

use super::wire::Frame;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// The agent's own first time-out; it adapts, and the stage's loopback needs no adapting.
const AGAIN: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(super) struct Order {
    next: i64,
    unacknowledged: VecDeque<(i64, Vec<u8>, Instant)>,
    expected: i64,
    early: BTreeMap<i64, Frame>,
    /// Bytes of each input message, to see that one that is sent again is the same.
    seen: BTreeMap<i64, String>,
}

impl Order {
    pub(super) fn send(&mut self, payload_type: u32, payload: Vec<u8>) -> Vec<u8> {
        let bytes = Frame::new("output_stream_data", self.next, payload_type, payload).bytes();
        self.unacknowledged.push_back((self.next, bytes.clone(), Instant::now()));
        self.next += 1;
        bytes
    }

    /// The oldest that was not acknowledged, once it is time to send it again. Without a limit.
    pub(super) fn again(&mut self) -> Option<Vec<u8>> {
        let (_, bytes, at) = self.unacknowledged.front_mut()?;
        (at.elapsed() >= AGAIN).then(|| {
            *at = Instant::now();
            bytes.clone()
        })
    }

    pub(super) fn waiting(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Acknowledgements of what is not known are ignored.
    pub(super) fn acknowledged(&mut self, frame: &Frame) -> Result<(), String> {
        let content: Value = serde_json::from_slice(&frame.payload).map_err(|error| error.to_string())?;
        if frame.flags != 3
            || content["IsSequentialMessage"] != true
            || content["AcknowledgedMessageId"].as_str().is_none()
        {
            return Err(format!("an acknowledgement with flags {} and {content}", frame.flags));
        }
        if content["AcknowledgedMessageType"] == "output_stream_data" {
            let sequence = content["AcknowledgedMessageSequenceNumber"].as_i64();
            self.unacknowledged.retain(|(sent, ..)| Some(*sent) != sequence);
        }
        Ok(())
    }

    /// What is to be acknowledged, and what has its turn.
    pub(super) fn receive(&mut self, frame: Frame) -> Result<(Vec<u8>, Vec<Frame>), String> {
        if frame.flags != 0 {
            return Err(format!("input with flags {}", frame.flags));
        }
        if self.seen.insert(frame.sequence, frame.id.clone()).is_some_and(|known| known != frame.id) {
            return Err(format!("message {} was sent again as another one", frame.sequence));
        }
        let acknowledgement = acknowledgement(&frame).bytes();
        let mut due = vec![];
        if frame.sequence >= self.expected {
            self.early.insert(frame.sequence, frame);
            while let Some(next) = self.early.remove(&self.expected) {
                self.expected += 1;
                due.push(next);
            }
        }
        Ok((acknowledgement, due))
    }
}

fn acknowledgement(of: &Frame) -> Frame {
    let content = json!({
        "AcknowledgedMessageType": of.kind, "AcknowledgedMessageId": of.id,
        "AcknowledgedMessageSequenceNumber": of.sequence, "IsSequentialMessage": true,
    });
    Frame { flags: 3, ..Frame::new("acknowledge", 0, 0, content.to_string().into_bytes()) }
}

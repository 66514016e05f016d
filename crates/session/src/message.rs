//! One message: a binary header of 116 bytes, the length of the payload, the payload. Numbers are big-endian.
//! <https://github.com/aws/session-manager-plugin/blob/mainline/src/message/clientmessage.go>

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;

/// Up to the payload's length, which is not counted.
const HEADER: usize = 116;
/// A header without a payload type.
const SHORTEST_HEADER: usize = 112;
const LENGTH: usize = 4;

/// The first message of each direction.
pub const SYN: u64 = 1;
/// The last one.
pub const FIN: u64 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// From the client.
    Input,
    /// From the agent.
    Output,
    Acknowledge,
    ChannelClosed,
    /// The agent is there (again).
    StartPublication,
    /// The agent is away.
    PausePublication,
    Other(String),
}

impl MessageType {
    pub fn name(&self) -> &str {
        match self {
            Self::Input => "input_stream_data",
            Self::Output => "output_stream_data",
            Self::Acknowledge => "acknowledge",
            Self::ChannelClosed => "channel_closed",
            Self::StartPublication => "start_publication",
            Self::PausePublication => "pause_publication",
            Self::Other(name) => name,
        }
    }

    fn of(name: &str) -> Self {
        [
            Self::Input,
            Self::Output,
            Self::Acknowledge,
            Self::ChannelClosed,
            Self::StartPublication,
            Self::PausePublication,
        ]
        .into_iter()
        .find(|known| known.name() == name)
        .unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

/// What a payload is. Only its own type of message gives it a meaning.
pub mod payload {
    pub const OUTPUT: u32 = 1;
    pub const SIZE: u32 = 3;
    pub const HANDSHAKE_REQUEST: u32 = 5;
    pub const HANDSHAKE_RESPONSE: u32 = 6;
    pub const HANDSHAKE_COMPLETE: u32 = 7;
    pub const CHALLENGE_REQUEST: u32 = 8;
    pub const CHALLENGE_RESPONSE: u32 = 9;
    pub const STDERR: u32 = 11;
}

/// A UUID of version 4.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Id([u8; 16]);

impl Id {
    /// Without a source of randomness it is of no use to anybody else either: then all are the same.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    pub const fn of(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The second half goes first.
    fn to_wire(self) -> [u8; 16] {
        let mut wire = self.0;
        wire.rotate_left(8);
        wire
    }

    fn from_wire(mut wire: [u8; 16]) -> Self {
        wire.rotate_left(8);
        Self(wire)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = hex::encode(self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: MessageType,
    /// Milliseconds since the epoch.
    pub created: u64,
    pub sequence: i64,
    pub flags: u64,
    pub id: Id,
    /// See [`payload`].
    pub payload_type: u32,
    pub payload: Vec<u8>,
}

/// Bytes that are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a message of {0} bytes is too short")]
    Short(usize),
    #[error("a header of {0} bytes is no header")]
    Header(u32),
    #[error("the digest of a payload is wrong")]
    Digest,
}

impl Message {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + LENGTH + self.payload.len());
        bytes.extend((HEADER as u32).to_be_bytes());
        let mut name = [b' '; 32];
        for (place, byte) in name.iter_mut().zip(self.kind.name().bytes()) {
            *place = byte;
        }
        bytes.extend(name);
        bytes.extend(1_u32.to_be_bytes());
        bytes.extend(self.created.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.id.to_wire());
        bytes.extend(digest(&SHA256, &self.payload).as_ref());
        bytes.extend(self.payload_type.to_be_bytes());
        bytes.extend((self.payload.len() as u32).to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// # Errors
    /// Bytes that are no message. A digest that is wrong is one of them, except where there is no payload: the service's own
    /// messages come without one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let short = || Malformed::Short(bytes.len());
        let header = u32::from_be_bytes(take(bytes, 0).ok_or_else(short)?);
        let length_at = header as usize;
        if length_at < SHORTEST_HEADER {
            return Err(Malformed::Header(header));
        }
        let name: [u8; 32] = take(bytes, 4).ok_or_else(short)?;
        let name = String::from_utf8_lossy(&name);
        let kind = MessageType::of(name.trim_matches(['\0', ' ']));
        let recorded: [u8; 32] = take(bytes, 80).ok_or_else(short)?;
        let payload_type = match length_at < HEADER {
            true => 0,
            false => u32::from_be_bytes(take(bytes, SHORTEST_HEADER).ok_or_else(short)?),
        };
        let length = u32::from_be_bytes(take(bytes, length_at).ok_or_else(short)?) as usize;
        let rest = bytes.get(length_at + LENGTH..).ok_or_else(short)?;
        let payload = rest.get(..length).ok_or_else(short)?.to_vec();
        if !payload.is_empty() && digest(&SHA256, &payload).as_ref() != recorded {
            return Err(Malformed::Digest);
        }
        Ok(Self {
            kind,
            created: u64::from_be_bytes(take(bytes, 40).ok_or_else(short)?),
            sequence: i64::from_be_bytes(take(bytes, 48).ok_or_else(short)?),
            flags: u64::from_be_bytes(take(bytes, 56).ok_or_else(short)?),
            id: Id::from_wire(take(bytes, 64).ok_or_else(short)?),
            payload_type,
            payload,
        })
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `ls` and Enter, as the agent's own library reads it.
    const EXAMPLE: &str = "00000074696e7075745f73747265616d5f646174612020202020202020202020\
        20202020000000010000018bcfe5680000000000000000010000000000000000\
        8f0123456789abcd0123456789ab4cde\
        1d887ce0f8672e4914d9000e801cd74ecd805dd9366c0bc42dc16adc0197dc2f\
        00000001000000036c730d";

    fn example() -> Message {
        Message {
            kind: MessageType::Input,
            created: 1_700_000_000_000,
            sequence: 1,
            flags: 0,
            id: Id(hex::decode("0123456789ab4cde8f0123456789abcd").unwrap().try_into().unwrap()),
            payload_type: payload::OUTPUT,
            payload: b"ls\r".to_vec(),
        }
    }

    #[test]
    fn a_message_is_what_the_agent_reads_byte_for_byte() {
        assert_eq!(hex::encode(example().encode()), EXAMPLE);
        assert_eq!(Message::decode(&hex::decode(EXAMPLE).unwrap()), Ok(example()));
        assert_eq!(example().id.to_string(), "01234567-89ab-4cde-8f01-23456789abcd");
    }

    #[test]
    fn a_payload_that_was_changed_on_its_way_is_no_message() {
        let mut bytes = example().encode();
        *bytes.last_mut().unwrap() = b'!';
        assert_eq!(Message::decode(&bytes), Err(Malformed::Digest));
    }

    #[test]
    fn names_are_padded_by_spaces_or_by_zeros() {
        let mut bytes = example().encode();
        bytes[21..36].fill(0);
        assert_eq!(Message::decode(&bytes).unwrap().kind, MessageType::Input);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            sequence: i64, flags: u64, created: u64, payload_type: u32, payload: Vec<u8>, id: [u8; 16]
        ) {
            let message = Message { kind: MessageType::Output, created, sequence, flags, id: Id(id), payload_type, payload };
            prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn no_bytes_are_too_bad_to_be_read(bytes: Vec<u8>) {
            let _ = Message::decode(&bytes);
        }

        #[test]
        fn a_good_message_that_is_cut_or_changed_anywhere_is_read_or_refused(
            cut in 0_usize..200, at in 0_usize..140, byte: u8
        ) {
            let mut bytes = example().encode();
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            bytes.truncate(cut);
            let _ = Message::decode(&bytes);
        }
    }
}

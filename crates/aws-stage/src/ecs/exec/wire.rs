//! The bytes of a message, as the agent's own library writes and reads them.
//! <https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/session/contracts/agentmessage.go>

use crate::request::random_hex;
use sha2::{Digest as _, Sha256};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub kind: String,
    pub sequence: i64,
    pub flags: u64,
    pub payload_type: u32,
    pub payload: Vec<u8>,
    /// As text.
    pub id: String,
}

impl Frame {
    pub(super) fn new(kind: &str, sequence: i64, payload_type: u32, payload: Vec<u8>) -> Self {
        let hex = random_hex(16);
        let id = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        Self { kind: kind.to_owned(), sequence, flags: u64::from(sequence == 0), payload_type, payload, id }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = 116_u32.to_be_bytes().to_vec();
        out.extend(format!("{:<32}", self.kind).into_bytes());
        out.extend(1_u32.to_be_bytes());
        out.extend((crate::request::epoch_seconds() as u64 * 1000).to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.flags.to_be_bytes());
        let id = hex::decode(self.id.replace('-', "")).unwrap_or_else(|_| vec![0; 16]);
        out.extend(&id[8..]);
        out.extend(&id[..8]);
        out.extend(Sha256::digest(&self.payload));
        out.extend(self.payload_type.to_be_bytes());
        out.extend((self.payload.len() as u32).to_be_bytes());
        out.extend(&self.payload);
        out
    }

    /// Reads what a client sent. Stricter than the agent, which looks at neither digest nor date: a client that gets them wrong
    /// would be refused by another agent.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < 120 {
            return Err(format!("{} bytes are no message", bytes.len()));
        }
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| (u64::from(number(at)) << 32) | u64::from(number(at + 4));
        let payload = bytes[120..].to_vec();
        let checks = [
            (number(0) == 116, "the header's length"),
            (number(36) == 1, "the schema's version"),
            (long(40) > 0, "the date"),
            (number(116) as usize == payload.len(), "the payload's length"),
            (Sha256::digest(&payload).as_slice() == &bytes[80..112], "the payload's digest"),
        ];
        if let Some((_, what)) = checks.iter().find(|(is_right, _)| !is_right) {
            return Err(format!("{what} is wrong"));
        }
        let id = hex::encode([&bytes[72..80], &bytes[64..72]].concat());
        Ok(Self {
            kind: String::from_utf8_lossy(&bytes[4..36]).trim_end_matches(['\0', ' ']).to_owned(),
            sequence: long(48) as i64,
            flags: long(56),
            payload_type: number(112),
            payload,
            id: [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_plugin_is_read() {
        let bytes = hex::decode(
            concat!(
                "00000074696e7075745f73747265616d5f646174612020202020202020202020202020202020202020",
                "00000001",
                "0000018bcfe56800",
                "0000000000000001",
                "0000000000000000",
                "8f0123456789abcd0123456789ab4cde",
                "1d887ce0f8672e4914d9000e801cd74ecd805dd9366c0bc42dc16adc0197dc2f",
                "00000001",
                "00000003",
                "6c730d"
            )
            .replacen("2020202020202020202020202020202020202020", "202020202020202020202020202020", 1),
        );
        let read = Frame::read(&bytes.unwrap()).unwrap();
        assert_eq!((read.kind.as_str(), read.sequence, read.payload_type), ("input_stream_data", 1, 1));
        assert_eq!((read.id.as_str(), read.payload.as_slice()), ("01234567-89ab-4cde-8f01-23456789abcd", &b"ls\r"[..]));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let frame = Frame::new("output_stream_data", 3, 1, b"hello".to_vec());
        assert_eq!(Frame::read(&frame.bytes()), Ok(frame));
    }
}

//! Sessions of a cluster whose `executeCommandConfiguration` names a KMS key: what is typed and printed is encrypted with a
//! data key that the caller makes and the agent asks KMS to decrypt. The window's size stays clear.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html>

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fmt;

/// What the agent asks for: a data key of 64 bytes under this key, with the session and its target as encryption context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    pub kms_key: String,
    /// With `ChallengeAcknowledgement`, the context has this challenge too.
    pub challenge: Option<String>,
}

impl KeyRequest {
    /// Of the parameters of an action `KMSEncryption`.
    pub(crate) fn of(parameters: &Value) -> Self {
        let text = |name: &str| parameters[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let wants_challenge = parameters["ChallengeAcknowledgement"].as_bool() == Some(true);
        Self { kms_key: text("KMSKeyId").unwrap_or_default(), challenge: text("Challenge").filter(|_| wants_challenge) }
    }
}

/// The two halves of a data key, and the whole as KMS encrypted it.
#[derive(Clone)]
pub struct DataKeys {
    encrypted: String,
    /// For what comes from the agent.
    incoming: [u8; 32],
    outgoing: [u8; 32],
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKeys(***)")
    }
}

impl DataKeys {
    /// `encrypted` is KMS's `CiphertextBlob` in base64. `None`: a key of another length than 64 bytes.
    pub fn new(encrypted: String, plaintext: &[u8]) -> Option<Self> {
        let whole: &[u8; 64] = plaintext.try_into().ok()?;
        let (incoming, outgoing) = whole.split_at(32);
        Some(Self { encrypted, incoming: incoming.try_into().ok()?, outgoing: outgoing.try_into().ok()? })
    }

    pub(crate) fn action_result(&self) -> Value {
        json!({ "KMSCipherTextKey": self.encrypted })
    }

    pub(crate) fn encrypt(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.outgoing).ok()?);
        let mut sealed = text.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// `None`: it was not encrypted with this key.
    pub(crate) fn decrypt(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.incoming).ok()?);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = sealed.to_vec();
        Some(key.open_in_place(nonce, Aad::empty(), &mut text).ok()?.to_vec())
    }

    /// The agent's challenge, decrypted with one half and encrypted with the other.
    pub(crate) fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let request: Value = serde_json::from_slice(request).ok()?;
        let challenge = self.decrypt(&STANDARD.decode(request["Challenge"].as_str()?).ok()?)?;
        let answer = STANDARD.encode(self.encrypt(&challenge)?);
        Some(json!({ "Challenge": answer }).to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_comes_back_under_the_other_half_of_the_key() {
        let mut whole = [7; 64];
        whole[32..].fill(9);
        let ours = DataKeys::new("cipher".to_owned(), &whole).unwrap();
        whole.rotate_left(32);
        let agent = DataKeys::new("cipher".to_owned(), &whole).unwrap();
        let challenge = STANDARD.encode(agent.encrypt(b"random").unwrap());
        let answer: Value =
            serde_json::from_slice(&ours.answer(json!({"Challenge": challenge}).to_string().as_bytes()).unwrap())
                .unwrap();
        let sealed = STANDARD.decode(answer["Challenge"].as_str().unwrap()).unwrap();
        assert_eq!(agent.decrypt(&sealed).unwrap(), b"random");
        assert_eq!(ours.decrypt(&sealed), None);
    }

    #[test]
    fn a_challenge_that_cannot_be_read_has_no_answer() {
        let keys = DataKeys::new(String::new(), &[0; 64]).unwrap();
        for request in [&b""[..], b"{}", b"{\"Challenge\":\"*\"}", b"{\"Challenge\":\"AAAA\"}"] {
            assert_eq!(keys.answer(request), None);
        }
        assert!(DataKeys::new(String::new(), &[0; 32]).is_none());
        assert_eq!(format!("{keys:?}"), "DataKeys(***)");
    }
}

//! API keys: what one is made of, and what is kept of it.
//!
//! A key is `cw_<id>_<secret>`. The secret is 256 random bits, so a fast hash of it is as good as a slow one: nobody can go
//! through them, whatever they spend on each guess. A slow hash protects what people choose, and would cost each request what it
//! costs an attacker.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Known, Role};
use crate::values::{Text, Username};

/// What the text of every key begins with, so that it can be found where it should not be.
const PREFIX: &str = "cw_";
/// Bytes of a secret.
pub(super) const SECRET_BYTES: usize = 32;

/// What a key is called.
pub type KeyName = Text<1, 100>;

/// An API key, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// Its id; the first part of the key, and no secret.
    pub id: String,
    /// What it is called.
    pub name: KeyName,
    /// What whoever has it may do.
    pub role: Role,
    /// The customer they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ceases to be good, if ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// BLAKE3 of the secret, in hexadecimal digits.
    pub(super) secret_hash: String,
}

/// A secret.
pub(super) struct Secret([u8; SECRET_BYTES]);

impl Secret {
    pub(super) fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Secret(bytes)
    }

    /// The whole key, as its holder sends it.
    pub(super) fn key(&self, id: &str) -> String {
        format!("{PREFIX}{id}_{}", blake3::Hash::from_bytes(self.0).to_hex())
    }

    pub(super) fn hash(&self) -> blake3::Hash {
        blake3::hash(&self.0)
    }
}

/// The parts of the text of a key; none of a text that is no key.
pub(super) fn parse(text: &str) -> Option<(&str, Secret)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let secret = blake3::Hash::from_hex(secret).ok()?;
    is_id.then_some((id, Secret(*secret.as_bytes())))
}

/// Whether a text claims to be a key.
pub(super) fn is_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

impl ApiKey {
    /// Whom the key proves, if this is its secret and it is still good. The comparison takes the same time whatever is sent.
    pub(super) fn prove(&self, secret: &Secret, now: Timestamp) -> Option<Known> {
        let kept = blake3::Hash::from_hex(&self.secret_hash).ok()?;
        let is_good = kept == secret.hash() && self.expires_at.is_none_or(|end| now < end);
        let known = || Known::new(format!("key:{}", self.id), self.name.as_str(), self.role, self.username.clone());
        is_good.then(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(expires_at: Option<&str>) -> (ApiKey, Secret) {
        let secret = Secret::new([7; SECRET_BYTES]);
        let key = ApiKey {
            id: "0".repeat(32),
            name: "till".try_into().unwrap(),
            role: Role::Staff,
            username: None,
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: expires_at.map(|at| at.parse().unwrap()),
            secret_hash: secret.hash().to_hex().to_string(),
        };
        (key, secret)
    }

    #[test]
    fn a_key_is_read_back_and_nothing_else_is_one() {
        let (kept, secret) = key(None);
        let text = secret.key(&kept.id);
        assert_eq!(text.len(), 3 + 32 + 1 + 64);
        let (id, read) = parse(&text).unwrap();
        assert_eq!((id, read.0), (kept.id.as_str(), secret.0));
        for none in ["", "cw_", "cw__", &text[1..], &text[..99], &format!("{text}0"), &text.replace("cw_0", "cw_A")] {
            assert!(parse(none).is_none(), "{none:?}");
        }
    }

    #[test]
    fn a_key_proves_its_holder_until_it_expires_and_the_secret_is_not_kept() {
        let (kept, secret) = key(Some("2026-01-01T00:00:00Z"));
        let proved = |secret: &Secret, now: &str| kept.prove(secret, now.parse().unwrap()).is_some();
        assert!(proved(&secret, "2025-12-31T23:59:59Z"));
        assert!(!proved(&secret, "2026-01-01T00:00:00Z"), "from that moment on");
        assert!(!proved(&Secret::new([8; SECRET_BYTES]), "2025-01-01T00:00:00Z"));
        let json = serde_json::to_string(&kept).unwrap();
        assert!(!json.contains(&"07".repeat(SECRET_BYTES)), "{json}");
    }
}

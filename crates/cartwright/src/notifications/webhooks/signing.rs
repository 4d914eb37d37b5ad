//! Signatures of webhooks, as [Standard Webhooks](https://www.standardwebhooks.com) has them.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret.
pub(super) const SECRET_BYTES: usize = 32;

/// A secret that signs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// `whsec_` and the key in base64.
    key: String,
    /// When it stops signing, if there is one after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
}

/// Never shows the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Secret {
    /// A secret of these bytes, which nobody can guess.
    pub(super) fn new(bytes: [u8; SECRET_BYTES]) -> Secret {
        Secret { key: format!("{PREFIX}{}", BASE64_STANDARD.encode(bytes)), expires_at: None }
    }

    /// The secret, for whoever is to check signatures.
    pub(super) fn text(&self) -> &str {
        &self.key
    }

    /// A signature with the version of the scheme: `v1,…`.
    pub(super) fn sign(&self, id: &str, timestamp_s: i64, body: &str) -> String {
        let key = BASE64_STANDARD.decode(self.key.trim_start_matches(PREFIX)).unwrap_or_default();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp_s}.{body}").as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_has_its_signature() {
        let secret = Secret { key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(), expires_at: None };
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(!format!("{secret:?}").contains("MfKQ"), "{secret:?}");
    }
}

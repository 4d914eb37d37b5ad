//! Tokens of an OpenID Connect issuer: JSON Web Tokens (RFC 7519), signed, and what they must say.
//!
//! The algorithm is decided by the key, never by the token alone: a key of the issuer is good for the algorithms of its kind, and all
//! of those are asymmetric. So neither `none` nor an HMAC with the public key as its secret gets anywhere (RFC 8725, 3.1 and 3.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How far the clocks of issuer and shop may be apart.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);
/// Longest token. What an issuer puts into one is a few kilobytes at most, and it travels with each request.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Why a token is refused. It is told to whoever sent it, so it says nothing that they could not find out themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is not a signed JSON Web Token")]
    NoToken,
    #[error("its algorithm is not one that this shop takes")]
    Algorithm,
    #[error("it is signed with a key that the issuer does not have")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is meant for another audience")]
    Audience,
    #[error("it has expired, or does not say when it does")]
    Expired,
    #[error("it is not good yet")]
    NotYet,
}

/// The algorithms there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Algorithm::Rs256),
            "PS256" => Some(Algorithm::Ps256),
            "ES256" => Some(Algorithm::Es256),
            "EdDSA" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }
}

/// A public key of an issuer.
#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Point(Vec<u8>),
}

/// A key as issuers publish it (RFC 7517).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys in a set of an issuer, as far as they are good for signatures that are taken here.
///
/// # Errors
/// Why that is no set of keys, or one with none in it that is of use.
pub(super) fn read_keys(json: &[u8]) -> Result<Vec<PublicKey>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(json).map_err(|error| format!("it is no set of keys: {error}"))?;
    let known = |key: Value| PublicKey::of(serde_json::from_value(key).ok()?);
    let keys: Vec<PublicKey> = set.keys.into_iter().filter_map(known).collect();
    if keys.is_empty() { Err("the set has no key for RS256, PS256, ES256 or EdDSA".to_owned()) } else { Ok(keys) }
}

impl PublicKey {
    fn of(jwk: Jwk) -> Option<Self> {
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let (mut algorithms, material) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                (vec![Algorithm::Rs256, Algorithm::Ps256], Material::Rsa { n: bytes(jwk.n)?, e: bytes(jwk.e)? })
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(jwk.x)?, bytes(jwk.y)?);
                let is_point = x.len() == 32 && y.len() == 32;
                (vec![Algorithm::Es256], Material::Point(is_point.then(|| [&[4], &x[..], &y[..]].concat())?))
            }
            ("OKP", Some("Ed25519")) => (vec![Algorithm::EdDsa], Material::Point(bytes(jwk.x)?)),
            _ => return None,
        };
        if let Some(only) = jwk.alg {
            algorithms.retain(|algorithm| Some(*algorithm) == Algorithm::named(&only));
        }
        let is_for_signatures = jwk.purpose.is_none_or(|purpose| purpose == "sig") && !algorithms.is_empty();
        is_for_signatures.then_some(PublicKey { id: jwk.kid, algorithms, material })
    }

    fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let outcome = match (&self.material, algorithm) {
            (Material::Rsa { n, e }, Algorithm::Rs256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Material::Rsa { n, e }, Algorithm::Ps256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Material::Point(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Material::Point(point), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => Err(ring::error::Unspecified),
        };
        outcome.is_ok()
    }
}

/// A token that was taken apart. Nothing it says is to be believed yet.
#[derive(Debug)]
pub(super) struct Token<'a> {
    key_id: Option<String>,
    algorithm: Algorithm,
    /// What is signed: header and claims, as they came.
    message: &'a [u8],
    claims: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood. We understand none.
    crit: Option<Value>,
    typ: Option<String>,
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let (message, signature) = text.rsplit_once('.').ok_or(Refusal::NoToken)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::NoToken)?;
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::NoToken);
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::NoToken);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refusal::NoToken)?;
        // A token that ends a session (OpenID Connect Back-Channel Logout) proves nothing else.
        if header.crit.is_some() || header.typ.is_some_and(|typ| typ.eq_ignore_ascii_case("logout+jwt")) {
            return Err(Refusal::NoToken);
        }
        Ok(Token {
            key_id: header.kid,
            algorithm: Algorithm::named(&header.alg).ok_or(Refusal::Algorithm)?,
            message: message.as_bytes(),
            claims: decode(claims)?,
            signature: decode(signature)?,
        })
    }

    /// What it says, once its signature was found to be of one of `keys`.
    pub(super) fn claims(&self, keys: &[PublicKey]) -> Result<Map<String, Value>, Refusal> {
        // Where an issuer names its keys, the token has to name one of them.
        let is_named = |key: &&PublicKey| match &self.key_id {
            Some(id) => key.id.as_ref() == Some(id),
            None => keys.len() == 1,
        };
        let mut named = keys.iter().filter(is_named).peekable();
        named.peek().ok_or(Refusal::UnknownKey)?;
        let mut usable = named.filter(|key| key.algorithms.contains(&self.algorithm)).peekable();
        usable.peek().ok_or(Refusal::Algorithm)?;
        if !usable.any(|key| key.has_signed(self.algorithm, self.message, &self.signature)) {
            return Err(Refusal::Signature);
        }
        serde_json::from_slice(&self.claims).map_err(|_| Refusal::NoToken)
    }
}

/// Whether a token's claims are of `issuer`, for one of `audiences`, at the time `now`. Access tokens of Cognito have no `aud`, and
/// name their client instead.
pub(super) fn check(
    claims: &Map<String, Value>,
    issuer: &str,
    audiences: &[String],
    now: Timestamp,
) -> Result<(), Refusal> {
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(Refusal::Issuer);
    }
    let is_ours = |audience: &Value| audience.as_str().is_some_and(|name| audiences.iter().any(|ours| ours == name));
    let is_for_us = match (claims.get("aud"), claims.get("client_id")) {
        (Some(Value::Array(several)), _) => several.iter().any(is_ours),
        (Some(one), _) => is_ours(one),
        (None, Some(client)) => is_ours(client),
        (None, None) => false,
    };
    if !is_for_us {
        return Err(Refusal::Audience);
    }
    let expires_at = claims.get("exp").and_then(time_of).ok_or(Refusal::Expired)?;
    if now.duration_since(expires_at) >= LEEWAY {
        return Err(Refusal::Expired);
    }
    match claims.get("nbf").map(time_of) {
        Some(None) => Err(Refusal::NotYet),
        Some(Some(from)) if from.duration_since(now) > LEEWAY => Err(Refusal::NotYet),
        _ => Ok(()),
    }
}

/// A time in seconds since 1970, with or without a fraction, which is cut off.
fn time_of(value: &Value) -> Option<Timestamp> {
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))?;
    Timestamp::from_second(seconds).ok()
}

/// The claim called `name`, or on the way that its dots describe, as in `realm_access.roles`.
pub(super) fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, part| value.get(part))
    })
}

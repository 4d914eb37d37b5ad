//! An issuer of tokens in a test's hands: its keys, what it publishes, and tokens of every sort.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cartwright::access::{Access, Issuer, IssuerSettings, Published};
use cartwright::local::delivery::Settings;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::shop::TestShop;

pub const ISSUER: &str = "https://id.example/realms/shop";
pub const KEYS_URL: &str = "https://id.example/keys";
const CONFIGURATION_URL: &str = "https://id.example/realms/shop/.well-known/openid-configuration";

/// A private key of the issuer.
pub enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Ed25519KeyPair),
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl SigningKey {
    /// The one RSA key: making another takes too long.
    pub fn rsa() -> Self {
        let pem = include_bytes!("issuer-key.pem");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        SigningKey::Rsa(Box::new(RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap()))
    }

    pub fn ec() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        SigningKey::Ec(Box::new(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()))
    }

    pub fn ed() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        SigningKey::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    /// The public key as the issuer publishes it, under this id.
    pub fn public(&self, id: &str) -> Value {
        match self {
            SigningKey::Rsa(pair) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "kid": id, "use": "sig", "n": base64(&public.n), "e": base64(&public.e)})
            }
            SigningKey::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                json!({"kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256", "x": base64(&point[..32]), "y": base64(&point[32..])})
            }
            SigningKey::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": base64(pair.public_key().as_ref())})
            }
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            SigningKey::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding: &dyn ring::signature::RsaEncoding =
                    if algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            SigningKey::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            SigningKey::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let algorithm = header["alg"].as_str().unwrap_or_default();
        signed(header, claims, |message| self.sign(algorithm, message))
    }
}

/// A token, signed in any way.
pub fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
    let signature = base64(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// What the issuer publishes at the moment, and how often its keys were fetched.
#[derive(Default)]
pub struct World {
    pages: Mutex<BTreeMap<String, String>>,
    fetches: Mutex<u32>,
}

#[async_trait]
impl Published for World {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        *self.fetches.lock().unwrap() += u32::from(url == KEYS_URL);
        let page = self.pages.lock().unwrap().get(url).cloned();
        page.map(String::into_bytes).ok_or_else(|| "the status 503".to_owned())
    }
}

impl World {
    /// Publishes these keys.
    pub fn publish(&self, keys: &[Value]) {
        let mut pages = self.pages.lock().unwrap();
        pages.insert(KEYS_URL.to_owned(), json!({"keys": keys}).to_string());
        let configuration = json!({"issuer": ISSUER, "jwks_uri": KEYS_URL, "other": true});
        pages.insert(CONFIGURATION_URL.to_owned(), configuration.to_string());
    }

    /// Publishes something in place of the configuration.
    pub fn configure(&self, configuration: &Value) {
        self.pages.lock().unwrap().insert(CONFIGURATION_URL.to_owned(), configuration.to_string());
    }

    /// Goes down.
    pub fn vanish(&self) {
        self.pages.lock().unwrap().clear();
    }

    pub fn fetches(&self) -> u32 {
        *self.fetches.lock().unwrap()
    }
}

/// A shop that takes tokens of an issuer with nothing published yet.
pub async fn shop_of_issuer() -> (TestShop, Arc<World>) {
    let settings = IssuerSettings {
        url: ISSUER.to_owned(),
        audiences: vec!["shop".to_owned(), "desk".to_owned()],
        keys_url: None,
        username_claims: vec!["username".to_owned(), "profile.name".to_owned()],
        roles_claim: "cognito:groups".to_owned(),
    };
    let world = Arc::new(World::default());
    let access = Access::required().trusting(Issuer::new(settings, world.clone()).unwrap());
    (TestShop::with_access(Settings::default(), access).await, world)
}

//! Tokens: which are good, for whom, and which are refused; keys that change, and an issuer that is down.

use std::time::Duration;

use cartwright::access::{Issuer, IssuerSettings, authenticate};
use ring::hmac;
use serde_json::{Value, json};

use super::issuer::{ISSUER, SigningKey, World, shop_of_issuer, signed};
use crate::shop::{Answer, TestShop};

/// The test clock begins here: 2026-01-02T03:04:05Z.
const START: i64 = 1_767_323_045;

fn header(algorithm: &str, key: &str) -> Value {
    json!({"alg": algorithm, "kid": key, "typ": "JWT"})
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "shop", "sub": "u-1", "username": "ann", "exp": START + 600, "iat": START})
}

fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

async fn me(shop: &TestShop, token: &str) -> Answer {
    shop.send_as(Some(token), "GET", "/v1/me", &json!({})).await
}

async fn refused(shop: &TestShop, token: &str) -> String {
    let answer = me(shop, token).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (401, "unauthenticated"), "{token}");
    answer.body["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn tokens_of_each_algorithm_are_taken_and_say_who_it_is() {
    let (shop, world) = shop_of_issuer().await;
    let (rsa, ec, ed) = (SigningKey::rsa(), SigningKey::ec(), SigningKey::ed());
    let other = json!({"kty": "EC", "crv": "P-521", "kid": "x", "x": "AA", "y": "AA"});
    world.publish(&[other, rsa.public("a"), ec.public("b"), ed.public("c")]);
    for (key, algorithm, id) in [(&rsa, "RS256", "a"), (&rsa, "PS256", "a"), (&ec, "ES256", "b"), (&ed, "EdDSA", "c")] {
        let told = me(&shop, &key.token(&header(algorithm, id), &claims())).await.expect(200);
        let expected = json!({"accessControl": true, "role": "customer", "username": "ann", "name": "ann"});
        assert_eq!(told, expected, "{algorithm}");
    }
    assert_eq!(world.fetches(), 1);
    let token = |changes| ec.token(&header("ES256", "b"), &with(changes));
    let staff = me(&shop, &token(json!({"cognito:groups": ["staff"], "username": null}))).await.expect(200);
    assert_eq!(staff, json!({"accessControl": true, "role": "staff", "name": "u-1"}));
    let nested = me(&shop, &token(json!({"username": null, "profile": {"name": "Bob"}}))).await.expect(200);
    assert_eq!(nested["username"], "Bob");
    let nobody = me(&shop, &token(json!({"username": "no name of ours!"}))).await.expect(200);
    assert_eq!((&nobody["role"], &nobody["username"]), (&json!("customer"), &Value::Null));
    for good in
        [json!({"aud": ["x", "desk"]}), json!({"aud": null, "client_id": "shop"}), json!({"exp": START as f64 + 9.5})]
    {
        assert_eq!(me(&shop, &token(good.clone())).await.status, 200, "{good}");
    }
    let principal = authenticate(&shop.app, &token(json!({}))).await.unwrap();
    assert!(principal.may_act_for(&"ann".try_into().unwrap()), "outside a request too");
}

#[tokio::test]
async fn a_customer_by_token_has_what_is_theirs() {
    let (shop, world) = shop_of_issuer().await;
    let key = SigningKey::ec();
    world.publish(&[key.public("b")]);
    let token = key.token(&header("ES256", "b"), &claims());
    let profile = json!({"username": "ann", "name": "Ann", "email": "ann@x.example"});
    shop.send_as(Some(&token), "POST", "/v1/customers", &profile).await.expect(201);
    shop.send_as(Some(&token), "GET", "/v1/customers/ann", &json!({})).await.expect(200);
    assert_eq!(shop.send_as(Some(&token), "GET", "/v1/customers/bob", &json!({})).await.code(), "forbidden");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_it_is_refused() {
    let (shop, world) = shop_of_issuer().await;
    let (key, forger) = (SigningKey::ec(), SigningKey::ec());
    world.publish(&[key.public("b")]);
    let token = |changes| key.token(&header("ES256", "b"), &with(changes));
    for (changes, reason) in [
        (json!({"iss": "https://id.example/realms/other"}), "another issuer"),
        (json!({"iss": null}), "another issuer"),
        (json!({"iss": [ISSUER]}), "another issuer"),
        (json!({"iss": format!("{ISSUER}/")}), "another issuer"),
        (json!({"aud": "bank"}), "another audience"),
        (json!({"aud": ["bank"], "client_id": "shop"}), "another audience"),
        (json!({"aud": []}), "another audience"),
        (json!({"aud": null}), "another audience"),
        (json!({"aud": null, "client_id": "bank"}), "another audience"),
        (json!({"exp": START - 31}), "expired"),
        (json!({"exp": null}), "expired"),
        (json!({"exp": "tomorrow"}), "expired"),
        (json!({"nbf": START + 60}), "not good yet"),
        (json!({"nbf": "soon"}), "not good yet"),
        (json!({"sub": null}), "no subject"),
        (json!({"sub": ""}), "no subject"),
    ] {
        let told = refused(&shop, &token(changes.clone())).await;
        assert!(told.contains(reason), "{changes}: {told}");
    }
    assert_eq!(
        me(&shop, &token(json!({"exp": START - 20, "nbf": START + 20}))).await.status,
        200,
        "clocks differ a little"
    );
    let good = token(json!({}));
    assert_eq!(me(&shop, &good).await.status, 200);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let forged = forger.token(&header("ES256", "b"), &claims());
    let (forged_message, _) = forged.rsplit_once('.').unwrap();
    let changed = key.token(&header("ES256", "b"), &with(json!({"cognito:groups": ["admin"]})));
    let (changed_message, _) = changed.rsplit_once('.').unwrap();
    assert_eq!(forged_message, message, "the same claims, signed by another");
    for (bad, reason) in [
        (forged, "signature is wrong"),
        (format!("{changed_message}.{signature}"), "signature is wrong"),
        (format!("{message}."), "signature is wrong"),
        (format!("{message}.{}", "A".repeat(86)), "signature is wrong"),
        (message.to_owned(), "not a signed"),
        (format!("{good}.x"), "not a signed"),
        ("a.b.c".to_owned(), "not a signed"),
        ("x".repeat(20_000), "not a signed"),
        (String::new(), "not a signed"),
    ] {
        let told = refused(&shop, &bad).await;
        assert!(told.contains(reason), "{bad}: {told}");
    }
}

#[tokio::test]
async fn the_algorithm_is_the_keys_and_not_the_tokens() {
    let (shop, world) = shop_of_issuer().await;
    let (rsa, ec) = (SigningKey::rsa(), SigningKey::ec());
    let mut only_pss = rsa.public("pss");
    only_pss["alg"] = "PS256".into();
    let mut for_encryption = rsa.public("enc");
    for_encryption["use"] = "enc".into();
    world.publish(&[rsa.public("a"), ec.public("b"), only_pss, for_encryption]);
    let none = |header: Value| signed(&header, &claims(), |_| Vec::new());
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let told = refused(&shop, &none(header(name, "a"))).await;
        assert!(told.contains("algorithm"), "{told}");
    }
    // The public key, in the forms in which a careless library takes it for a secret.
    let public = rsa.public("a");
    for secret in [public["n"].as_str().unwrap().to_owned(), public.to_string()] {
        for (name, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            let secret = hmac::Key::new(algorithm, secret.as_bytes());
            let sign = |message: &[u8]| hmac::sign(&secret, message).as_ref().to_vec();
            let told = refused(&shop, &signed(&header(name, "a"), &claims(), sign)).await;
            assert!(told.contains("algorithm"), "{told}");
        }
    }
    for (token, reason) in [
        (rsa.token(&header("ES256", "a"), &claims()), "algorithm"),
        (ec.token(&header("RS256", "b"), &claims()), "algorithm"),
        (ec.token(&header("EdDSA", "b"), &claims()), "algorithm"),
        (rsa.token(&header("RS256", "pss"), &claims()), "algorithm"),
        (rsa.token(&header("RS512", "a"), &claims()), "algorithm"),
        (rsa.token(&header("RS256", "enc"), &claims()), "key that the issuer does not have"),
        (ec.token(&header("ES256", "a"), &claims()), "algorithm"),
        (ec.token(&json!({"alg": "ES256"}), &claims()), "key that the issuer does not have"),
        (ec.token(&json!({"alg": "ES256", "kid": "b", "crit": ["exp"]}), &claims()), "not a signed"),
        (ec.token(&json!({"alg": "ES256", "jwk": ec.public("z"), "kid": "z"}), &claims()), "does not have"),
    ] {
        let told = refused(&shop, &token).await;
        assert!(told.contains(reason), "{token}: {told}");
    }
}

#[tokio::test]
async fn keys_that_change_are_fetched_again_and_nobody_makes_us_ask_for_ever() {
    let (shop, world) = shop_of_issuer().await;
    let (old, new) = (SigningKey::ec(), SigningKey::ec());
    let far = || with(json!({"exp": START + 100_000}));
    let (by_old, by_new) = (old.token(&header("ES256", "old"), &far()), new.token(&header("ES256", "new"), &far()));
    world.publish(&[old.public("old")]);
    assert_eq!(me(&shop, &by_old).await.status, 200);
    // A key that is not there is looked for, but once a minute.
    shop.clock.advance(Duration::from_secs(61));
    for _ in 0..5 {
        refused(&shop, &by_new).await;
    }
    assert_eq!(world.fetches(), 2);
    world.publish(&[old.public("old"), new.public("new")]);
    refused(&shop, &by_new).await;
    shop.clock.advance(Duration::from_secs(61));
    assert_eq!(me(&shop, &by_new).await.status, 200, "a minute later it is found");
    // One that was withdrawn is good for an hour at most.
    world.publish(&[new.public("new")]);
    assert_eq!(me(&shop, &by_old).await.status, 200);
    shop.clock.advance(Duration::from_secs(3600));
    assert_eq!(me(&shop, &by_new).await.status, 200);
    refused(&shop, &by_old).await;
    assert_eq!(world.fetches(), 4);
}

#[tokio::test]
async fn an_issuer_that_is_down_costs_nobody_who_was_in() {
    let (shop, world) = shop_of_issuer().await;
    let key = SigningKey::ec();
    let token = key.token(&header("ES256", "b"), &with(json!({"exp": START + 1_000_000})));
    let unavailable = me(&shop, &token).await;
    assert_eq!(
        (unavailable.status.as_u16(), unavailable.code()),
        (503, "issuer_unavailable"),
        "nobody can be checked yet"
    );
    shop.clock.advance(Duration::from_secs(6));
    world.publish(&[key.public("b")]);
    assert_eq!(me(&shop, &token).await.status, 200);
    world.vanish();
    shop.clock.advance(Duration::from_secs(100_000));
    assert_eq!(me(&shop, &token).await.status, 200, "the keys it had last stay good");
    let unknown = key.token(&header("ES256", "z"), &with(json!({"exp": START + 1_000_000})));
    refused(&shop, &unknown).await;
    assert_eq!(me(&shop, &token).await.status, 200);
}

#[tokio::test]
async fn a_configuration_of_another_or_an_unsafe_one_gives_no_keys() {
    for wrong in [
        json!({"issuer": "https://evil.example", "jwks_uri": super::issuer::KEYS_URL}),
        json!({"issuer": ISSUER, "jwks_uri": "http://id.example/keys"}),
        json!({"issuer": ISSUER}),
    ] {
        let (shop, world) = shop_of_issuer().await;
        let key = SigningKey::ec();
        world.publish(&[key.public("b")]);
        world.configure(&wrong);
        let answer = me(&shop, &key.token(&header("ES256", "b"), &claims())).await;
        assert_eq!(answer.code(), "issuer_unavailable", "{wrong}");
        assert_eq!(world.fetches(), 0);
    }
}

#[test]
fn an_issuer_must_be_one_whom_nobody_can_play() {
    let settings = |url: &str, audience: &str| IssuerSettings {
        url: url.to_owned(),
        audiences: vec![audience.to_owned()],
        keys_url: None,
        username_claims: vec!["sub".to_owned()],
        roles_claim: "roles".to_owned(),
    };
    let made = |url, audience| Issuer::new(settings(url, audience), std::sync::Arc::new(World::default()));
    assert!(made("https://id.example", "shop").is_ok());
    assert!(made("http://id.example", "shop").err().unwrap().contains("https://"));
    assert!(made("https://id.example", "").err().unwrap().contains("audience"));
}

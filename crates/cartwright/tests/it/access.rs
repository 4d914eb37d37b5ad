//! Access: who may do what on every route there is, what a credential is good for, and what is written down of it.

mod audit;
mod browsers;
mod issuer;
mod keys;
mod others;
mod routes;
mod tokens;

use cartwright::access::Role;
use cartwright::access::ops::{NewKey, create_key, is_still_good};
use jiff::{SignedDuration, Timestamp};

use crate::shop::TestShop;

#[tokio::test]
async fn a_key_that_is_looked_at_again_is_good_until_the_moment_it_expires() {
    let shop = TestShop::protected().await;
    let end: Timestamp = "2026-01-02T04:00:00Z".parse().unwrap();
    let new = NewKey { name: "till".try_into().unwrap(), role: Role::Staff, username: None, expires_at: Some(end) };
    let (key, _) = create_key(&shop.app, new).await.unwrap();
    let id = format!("key:{}", key.id);
    // The clock moves on by a microsecond each time it is read: the next readings are the last moment and the end.
    let left = end.duration_since(shop.app.clock.now()) - SignedDuration::from_micros(2);
    shop.clock.advance(left.unsigned_abs());
    assert!(is_still_good(&shop.app, &id).await.unwrap());
    assert!(!is_still_good(&shop.app, &id).await.unwrap(), "from that moment on");
}

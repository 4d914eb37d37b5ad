//! The live feed in this process: who may follow what, and for how long.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use cartwright::access::{Access, Issuer, IssuerSettings, Known, Principal, Published, Role, authenticate};
use cartwright::feed::Bell;
use cartwright::feed::ops::{Following, check_again, source_of};
use cartwright::local::delivery::Settings;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::shop::TestShop;

const LATE: Duration = Duration::from_secs(20);

/// An issuer of tokens that is down.
struct Down;

#[async_trait]
impl Published for Down {
    async fn fetch(&self, _url: &str) -> Result<Vec<u8>, String> {
        Err("the status 503".to_owned())
    }
}

/// The next piece of a stream.
pub async fn piece(stream: &mut Body) -> String {
    let frame = timeout(LATE, stream.frame()).await.expect("it is told").unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_customer_follows_what_is_their_own_and_staff_follow_everything() {
    let shop = TestShop::protected().await;
    shop.hub.close();
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 1).await;
    let (ann, bob, staff) = (
        shop.key(Role::Customer, Some("ann")).await,
        shop.key(Role::Customer, Some("bob")).await,
        shop.key(Role::Staff, None).await,
    );
    let order = format!("order:{order}");
    for (topic, expected) in [
        (order.as_str(), [401, 200, 404, 200]),
        ("customer:ANN", [401, 200, 403, 200]),
        ("operators", [401, 403, 403, 200]),
        ("queue:OrderQueue", [401, 403, 403, 200]),
        ("purchases", [401, 403, 403, 200]),
    ] {
        for (key, status) in [None, Some(&ann), Some(&bob), Some(&staff)].into_iter().zip(expected) {
            let path = format!("/v1/feed?topic={topic}&after=0");
            let answer = shop.send_as(key.map(String::as_str), "GET", &path, &json!({})).await;
            assert_eq!(answer.status.as_u16(), status, "{topic}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked_or_has_expired() {
    let shop = TestShop::protected().await;
    let body = json!({"name": "x", "role": "customer", "username": "ann"});
    let created = shop.post("/v1/api-keys", body).await.expect(201);
    let expiring = json!({"name": "y", "role": "customer", "username": "ann", "expiresAt": "2026-01-02T04:00:00Z"});
    let expiring = shop.post("/v1/api-keys", expiring).await.expect(201);
    let path = "/v1/feed?topic=customer:ann";
    let mut streams = Vec::new();
    for key in [&created["key"], &expiring["key"]] {
        let (status, mut body) = shop.open_as(key.as_str().unwrap(), path).await;
        assert_eq!(status, 200);
        assert!(body.frame().await.is_some(), "it begins");
        assert!(
            timeout(Duration::from_millis(200), body.frame()).await.is_err(),
            "and goes on as long as the key is good"
        );
        streams.push(body);
    }
    shop.delete(&format!("/v1/api-keys/{}", created["id"].as_str().unwrap())).await.expect(204);
    let is_good = async |created: &Value| {
        let id = format!("key:{}", created["id"].as_str().unwrap());
        cartwright::access::ops::is_still_good(&shop.app, &id).await.unwrap()
    };
    assert!(!is_good(&created).await && is_good(&expiring).await, "as a home sees it that asks by the id");
    let ended = |frame: Option<_>| frame.is_none();
    assert!(ended(timeout(LATE, streams[0].frame()).await.expect("it ends")));
    shop.clock.advance(Duration::from_secs(3600));
    assert!(ended(timeout(LATE, streams[1].frame()).await.expect("it ends")));
    assert!(!is_good(&expiring).await);
}

#[tokio::test]
async fn a_reader_who_falls_behind_the_purchases_is_cut_off_and_others_are_not() {
    let shop = TestShop::new().await;
    let purchase = json!({"productId": "p", "category": "c", "productName": "P", "quantity": 1, "customerId": "c",
        "customerName": "C", "unitPrice": {"amount": 1, "currency": "USD"}, "total": {"amount": 1, "currency": "USD"},
        "purchasedAt": "2026-01-01T00:00:00Z"});
    let (_, mut slow) = shop.open_as("", "/v1/feed?topic=purchases").await;
    assert!(slow.frame().await.is_some(), "it begins");
    for round in 0..11 {
        let (_, mut quick) = shop.open_as("", "/v1/feed?topic=purchases").await;
        assert!(quick.frame().await.is_some());
        let batch = json!({"purchases": vec![purchase.clone(); 100]});
        let answer = shop.post("/v1/purchases/batch", batch).await;
        assert!(answer.status.is_success(), "{answer:?}");
        shop.deliver().await;
        let frame = timeout(LATE, quick.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap();
        assert!(frame.starts_with(b"event: PurchaseStored\ndata: {\"topic\":\"purchases\","), "{round}: {frame:?}");
    }
    assert!(timeout(LATE, slow.frame()).await.expect("it ends").is_none());
}

#[tokio::test]
async fn a_stream_of_an_inbox_that_was_erased_rests_and_ends_with_the_server() {
    let shop = TestShop::new().await;
    shop.customer("ann").await;
    let phone = shop.product("phone", 100, 5).await;
    let (_, mut first) = shop.open_as("", "/v1/feed?topic=customer:ann").await;
    assert!(first.frame().await.is_some(), "it begins");
    shop.order("ann", &phone, 1).await;
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.deliver().await;
    let (_, mut second) = shop.open_as("", "/v1/feed?topic=customer:ann&after=0").await;
    assert!(second.frame().await.is_some(), "it begins");
    assert!(timeout(Duration::from_millis(200), second.frame()).await.is_err(), "there is nothing to tell");
    shop.hub.close();
    let farewell = timeout(LATE, second.frame()).await.expect("it ends").unwrap().unwrap().into_data().unwrap();
    assert!(farewell.starts_with(b"retry: "), "{farewell:?}");
}

#[tokio::test]
async fn who_begins_without_a_number_is_told_of_what_comes_and_who_begins_anew_what_was_read() {
    let shop = TestShop::new().await;
    shop.customer("ann").await;
    let phone = shop.product("phone", 100, 5).await;
    let before = shop.order("ann", &phone, 1).await;
    shop.put("/v1/customers/ann/inbox/read", json!({"upTo": 2})).await.expect(204);
    let (_, mut from_now_on) = shop.open_as("", "/v1/feed?topic=customer:ann").await;
    let (_, mut from_the_start) = shop.open_as("", "/v1/feed?topic=customer:ann&after=0").await;
    let after = shop.order("ann", &phone, 1).await;
    let told = async |stream: &mut Body| {
        let mut text = String::new();
        // Two entries of an order: it was placed, it was confirmed.
        while text.matches(&after).count() < 2 {
            text += &piece(stream).await;
        }
        text
    };
    let text = told(&mut from_now_on).await;
    assert!(!text.contains(&before), "{text}");
    let text = told(&mut from_the_start).await;
    assert!(text.contains(&before), "{text}");
    assert_eq!((text.matches("\"read\":true").count(), text.contains("\"read\":false")), (2, true), "{text}");
}

#[tokio::test]
async fn every_entry_has_its_number_and_who_comes_again_goes_on_after_the_last_it_saw() {
    let shop = TestShop::new().await;
    // A stream then ends after what is there.
    shop.hub.close();
    let phone = shop.product("phone", 100, 5).await;
    shop.order("ann", &phone, 1).await;
    shop.order("ann", &phone, 1).await;
    // Who has seen more than there is saw it in an inbox that has begun again since.
    for (seen, goes_on_after) in [(0, 0), (1, 1), (3, 3), (4, 4), (5, 0)] {
        let text = String::from_utf8(shop.raw(&format!("/v1/feed?topic=customer:ann&after={seen}")).await).unwrap();
        let mut pieces = text.split("\n\n");
        assert_eq!(pieces.next(), Some(format!("retry: 1000\nid: {goes_on_after}").as_str()));
        let mut told = Vec::new();
        for entry in pieces.filter(|piece| piece.starts_with("event: ")) {
            let (id, data) = entry.split_once("\ndata: ").unwrap();
            let sequence = serde_json::from_str::<Value>(data).unwrap()["sequence"].as_u64().unwrap();
            assert!(id.ends_with(&format!("\nid: {sequence}")), "{entry}");
            told.push(sequence);
        }
        assert_eq!(told, (goes_on_after + 1..=4).collect::<Vec<u64>>(), "after {seen}");
    }
}

#[tokio::test]
async fn who_has_been_told_everything_learns_when_there_is_more() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let (source, bell) = (source_of(&shop.app, &"customer:ann".parse().unwrap()).await.unwrap(), Bell::default());
    let mut following = Following::begin(&shop.app, source, None, &bell).await.unwrap();
    assert_eq!(following.next(&shop.app).await.unwrap().told.len(), 0);
    assert!(!following.is_behind(), "there is nothing yet");
    shop.order("ann", &phone, 1).await;
    assert!(following.is_behind());
    timeout(LATE, bell.rung()).await.expect("it rings");
    let told = following.next(&shop.app).await.unwrap().told;
    assert_eq!(told.iter().map(|told| told.event()).collect::<Vec<_>>(), ["OrderPlaced", "OrderConfirmed"]);
    assert!(!following.is_behind());
}

#[tokio::test]
async fn who_follows_a_queue_is_told_the_figures_it_is_shown_with_and_no_number() {
    let shop = TestShop::new().await;
    let (_, mut stream) = shop.open_as("", "/v1/feed?topic=queue:OrderQueue").await;
    assert_eq!(piece(&mut stream).await, "retry: 1000\n\n");
    let told = piece(&mut stream).await;
    let data = told.strip_prefix("event: QueueChanged\ndata: ").unwrap();
    let mut expected = shop.get("/v1/queues/OrderQueue").await.expect(200);
    expected["topic"] = "queue:OrderQueue".into();
    expected["event"] = "QueueChanged".into();
    assert_eq!(serde_json::from_str::<Value>(data).unwrap(), expected);
}

#[tokio::test]
async fn that_a_credential_cannot_be_looked_at_now_does_not_count_against_a_listener() {
    let settings = IssuerSettings {
        url: "https://id.example".to_owned(),
        audiences: vec!["shop".to_owned()],
        keys_url: None,
        username_claims: vec![IssuerSettings::USERNAME_CLAIM.to_owned()],
        roles_claim: IssuerSettings::ROLES_CLAIM.to_owned(),
    };
    let access = Access::required().trusting(Issuer::new(settings, Arc::new(Down)).unwrap());
    let shop = TestShop::with_access(Settings::default(), access).await;
    let ann = Known::new("user:ann", "ann", Role::Customer, Some("ann".try_into().unwrap()));
    let app = shop.app.for_principal(Principal::Known(ann));
    // {"alg":"ES256"} and {}, with a signature that only the issuer's keys can tell from a good one.
    let token = "eyJhbGciOiJFUzI1NiJ9.e30.AA";
    assert_eq!(authenticate(&app, token).await.unwrap_err().code(), "issuer_unavailable");
    check_again(&app, Some(token)).await.unwrap();
    assert_eq!(check_again(&app, Some("nonsense")).await.unwrap_err().code(), "unauthenticated");
}

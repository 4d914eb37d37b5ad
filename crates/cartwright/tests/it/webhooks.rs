//! Webhooks: subscriptions, signed deliveries with their attempts, outages, and what may not be called.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cartwright::config::Config;
use cartwright::events::{Queue, handle};
use cartwright::notifications::webhooks::{HttpWebhooks, WebhookRequest, WebhookSender};
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::faults::Fault;
use crate::feed::piece;
use crate::shop::TestShop;

const URL: &str = "https://hooks.example/shop";

async fn subscribe(shop: &TestShop, events: Value) -> Value {
    shop.post("/v1/subscriptions", json!({"url": URL, "events": events})).await.expect(201)
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// Whether one of the signatures is made with `secret`, checked as the specification says.
fn is_signed(call: &WebhookRequest, secret: &str) -> bool {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.{}", call.id, call.timestamp_s, call.body).as_bytes());
    let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    call.signature.split(' ').any(|signature| signature == expected)
}

async fn deliveries(shop: &TestShop) -> Vec<Value> {
    shop.all("/v1/deliveries?limit=3").await
}

fn statuses(deliveries: &[Value]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery["status"].as_str().unwrap()).collect()
}

/// Delivers what becomes due within `hours`.
async fn let_pass(shop: &TestShop, hours: u64) {
    let end = shop.now_ms() + i64::try_from(hours * 3_600_000).unwrap();
    shop.deliver().await;
    while let Some(due) = shop.store.next_due_ms(Queue::WebhookQueue).filter(|due| *due < end) {
        shop.clock.advance(Duration::from_millis(u64::try_from(due - shop.now_ms()).unwrap_or(0) + 1));
        shop.deliver().await;
    }
    shop.clock.advance(Duration::from_millis(u64::try_from(end - shop.now_ms()).unwrap_or(0)));
}

#[tokio::test]
async fn a_webhook_gets_what_it_asked_for_signed_and_with_the_id_of_the_notification() {
    let shop = TestShop::new().await;
    let all = subscribe(&shop, json!([])).await;
    let some = subscribe(&shop, json!(["OrderConfirmed", "StockDepleted"])).await;
    let phone = shop.product("phone", 100, 1).await;
    let order = shop.order("ann", &phone, 1).await;
    let calls = shop.world.take_calls();
    assert_eq!(calls.len(), 5);
    let secrets = [&all, &some].map(|made| made["secret"].as_str().unwrap());
    assert_ne!(secrets[0], secrets[1]);
    assert!(calls.iter().all(|call| secrets.iter().filter(|secret| is_signed(call, secret)).count() == 1));
    assert!(calls.iter().all(|call| call.url == URL && !call.allow_private));
    let inbox = shop.all("/v1/customers/ann/inbox").await;
    let confirmed = &inbox[0];
    assert_eq!(confirmed["event"], "OrderConfirmed");
    let theirs: Vec<_> = calls.iter().filter(|call| json!(call.id) == confirmed["id"]).collect();
    assert_eq!(theirs.len(), 2, "one for each");
    assert_eq!(
        serde_json::from_str::<Value>(&theirs[0].body).unwrap(),
        json!({
            "type": "OrderConfirmed", "timestamp": confirmed["at"],
            "data": {"id": confirmed["id"], "subject": format!("Order {order} is confirmed"), "text": confirmed["text"],
                "facts": confirmed["facts"]},
        })
    );
    let of_some = shop.all(&format!("/v1/deliveries?subscription={}", id_of(&some))).await;
    let events: BTreeSet<_> = of_some.iter().map(|delivery| delivery["event"].as_str().unwrap()).collect();
    assert_eq!(events, BTreeSet::from(["OrderConfirmed", "StockDepleted"]));
    let all = deliveries(&shop).await;
    assert_eq!(statuses(&all), ["delivered"; 5]);
    let times = all.iter().map(|delivery| delivery["createdAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
    assert!(times.collect::<Vec<_>>().windows(2).all(|pair| pair[0] > pair[1]), "newest first: {all:?}");
    let one = shop.get(&format!("/v1/deliveries/{}", id_of(&all[0]))).await.expect(200);
    assert_eq!((&one, one["attempts"].as_array().unwrap().len()), (&all[0], 1));
    assert_eq!(one["attempts"][0]["status"], 204);
}

#[tokio::test]
async fn a_receiver_that_fails_is_given_less_time_until_it_takes_something() {
    let shop = TestShop::new().await;
    subscribe(&shop, json!(["OrderPlaced"])).await;
    shop.world.answers(Err("it hangs".into()));
    let phone = shop.product("phone", 100, 5).await;
    shop.order("ann", &phone, 1).await;
    shop.order("bob", &phone, 1).await;
    shop.world.answers(Ok(204));
    shop.deliver_with_retries().await;
    shop.order("cleo", &phone, 1).await;
    let calls = shop.world.take_calls();
    assert_eq!(calls.iter().map(|call| call.is_failing).collect::<Vec<_>>(), [false, true, true, false, false]);
}

#[tokio::test]
async fn a_receiver_is_known_to_fail_until_it_takes_something_or_is_switched_on_again() {
    let shop = TestShop::new().await;
    let path = format!("/v1/subscriptions/{}", id_of(&subscribe(&shop, json!(["OrderPlaced"])).await));
    shop.world.answers(Ok(503));
    let phone = shop.product("phone", 100, 5).await;
    let is_failing = async || {
        shop.order("ann", &phone, 1).await;
        shop.world.take_calls().last().unwrap().is_failing
    };
    assert!(!is_failing().await);
    shop.patch(&path, json!({"description": "to the warehouse"})).await.expect(200);
    assert!(is_failing().await, "another description makes it no better");
    for status in ["disabled", "active"] {
        shop.patch(&path, json!({"status": status})).await.expect(200);
    }
    assert!(!is_failing().await, "it starts with a clean record");
    shop.world.answers(Ok(204));
    shop.deliver_with_retries().await;
}

#[tokio::test]
async fn an_attempt_of_a_round_that_is_over_says_nothing_of_the_next() {
    let shop = TestShop::new().await;
    subscribe(&shop, json!(["OrderPlaced"])).await;
    shop.world.answers(Err("it hangs".into()));
    let phone = shop.product("phone", 100, 5).await;
    shop.order("ann", &phone, 1).await;
    let before = deliveries(&shop).await;
    shop.post(&format!("/v1/deliveries/{}/redeliver", id_of(&before[0])), json!({})).await.expect(202);
    let rounds = || async { deliveries(&shop).await[0]["attempts"].as_array().unwrap().len() };
    assert_eq!(rounds().await, 1);
    shop.world.answers(Ok(204));
    shop.deliver_with_retries().await;
    let after = deliveries(&shop).await;
    assert_eq!((statuses(&after), rounds().await), (vec!["delivered"], 2), "the first round is not tried again");
}

#[tokio::test]
async fn a_subscription_shows_its_secret_once_and_can_be_changed_and_removed() {
    let shop = TestShop::new().await;
    let body = json!({"url": URL, "events": ["OrderPlaced", "OrderPlaced"], "description": "to the warehouse"});
    let made = shop.post("/v1/subscriptions", body.clone()).await;
    assert_eq!(made.header("location"), format!("/v1/subscriptions/{}", id_of(&made.body)));
    let etag = made.header("etag").to_owned();
    let mut made = made.expect(201);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    made.as_object_mut().unwrap().remove("secret");
    let id = id_of(&made);
    let expected = json!({"id": id, "url": URL, "events": ["OrderPlaced"], "description": "to the warehouse",
        "status": "active", "createdAt": made["createdAt"]});
    assert_eq!(made, expected);
    let path = format!("/v1/subscriptions/{id}");
    assert_eq!(shop.get(&path).await.expect(200), expected);
    assert_eq!(shop.all("/v1/subscriptions").await, std::slice::from_ref(&expected));

    let headers = [("content-type", "application/json"), ("if-match", etag.as_str())];
    let patch = json!({"events": [], "status": "disabled"}).to_string();
    let changed = shop.send(Method::PATCH, &path, &headers, patch.clone()).await.expect(200);
    assert_eq!((&changed["events"], &changed["status"]), (&json!([]), &json!("disabled")));
    assert_eq!(changed["disabledReason"], "An operator disabled it.");
    assert_eq!(shop.send(Method::PATCH, &path, &headers, patch).await.code(), "precondition_failed");
    assert_eq!(shop.post(&format!("{path}/test"), json!({})).await.code(), "subscription_disabled");
    let phone = shop.product("phone", 100, 5).await;
    shop.order("ann", &phone, 1).await;
    assert!(shop.world.take_calls().is_empty(), "nothing is for it while it is disabled");
    let active = shop.patch(&path, json!({"status": "active"})).await.expect(200);
    assert!(active["status"] == "active" && active.get("disabledReason").is_none(), "{active}");
    shop.order("ann", &phone, 1).await;
    assert_eq!(shop.world.take_calls().len(), 2);

    shop.order("bob", &phone, 1).await;
    shop.delete(&path).await.expect(204);
    for (answer, code) in [
        (shop.get(&path).await, "subscription_not_found"),
        (shop.delete(&path).await, "subscription_not_found"),
        (shop.get(&format!("/v1/deliveries?subscription={id}")).await, "subscription_not_found"),
        (shop.get("/v1/deliveries/7").await, "delivery_not_found"),
    ] {
        assert_eq!((answer.status.as_u16(), answer.code()), (404, code));
    }
    assert_eq!(deliveries(&shop).await, Vec::<Value>::new());
    assert_eq!(shop.patch(&path, json!({})).await.pointers(), [""]);
}

#[tokio::test]
async fn urls_that_lead_inside_and_events_that_are_none_are_refused() {
    let shop = TestShop::new().await;
    for url in [
        "http://hooks.example/",
        "ftp://hooks.example/",
        "hooks.example",
        "",
        "https://",
        "https://ann:pw@hooks.example/",
        "https://hooks.example/#part",
        "https://127.0.0.1/",
        "https://10.1.2.3/x",
        "https://169.254.169.254/latest",
        "https://192.168.1.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00::1]/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://0/",
        "https://localhost/",
        "https://100.64.0.1/",
    ] {
        let refused = shop.post("/v1/subscriptions", json!({"url": url})).await;
        assert_eq!((refused.status.as_u16(), refused.pointers()), (400, vec!["/url"]), "{url}");
    }
    let long = format!("{URL}/{}", "x".repeat(2_000));
    assert_eq!(shop.post("/v1/subscriptions", json!({"url": long})).await.pointers(), ["/url"]);
    let bad = shop.post("/v1/subscriptions", json!({"url": URL, "events": ["OrderPlaced", "OrderLost"]})).await;
    assert_eq!(bad.pointers(), ["/events/1"]);
    let made = subscribe(&shop, json!([])).await;
    let path = format!("/v1/subscriptions/{}", id_of(&made));
    assert_eq!(shop.patch(&path, json!({"url": "https://10.0.0.1/"})).await.pointers(), ["/url"]);
    assert_eq!(shop.patch(&path, json!({"events": ["x"]})).await.pointers(), ["/events/0"]);

    let open = TestShop::with_config(Config { webhook_allow_private: true, ..Config::default() }).await;
    open.post("/v1/subscriptions", json!({"url": "http://127.0.0.1:9/x"})).await.expect(201);
}

#[tokio::test]
async fn what_leads_inside_is_not_called_whatever_it_looks_like() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sender = HttpWebhooks::default();
    let request = |url: String, allow_private: bool| WebhookRequest {
        url,
        id: "id".into(),
        timestamp_s: 0,
        signature: "v1,".into(),
        body: "{}".into(),
        allow_private,
        is_failing: false,
    };
    let hosts = [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0",
        "localhost",
        "192.168.0.1",
        "[fd00:ec2::254]",
    ];
    for host in hosts {
        for scheme in ["http", "https"] {
            let why = sender.send(request(format!("{scheme}://{host}:{port}/"), false)).await.unwrap_err();
            assert!(why.contains("not an address of the public internet"), "{scheme}://{host}: {why}");
        }
    }
    let waits = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
    assert!(waits.is_err(), "nobody has come");
    let answer = tokio::spawn(async move { sender.send(request(format!("http://127.0.0.1:{port}/"), true)).await });
    drop(listener.accept().await.unwrap());
    assert!(answer.await.unwrap().is_err(), "and where it is allowed, somebody does");
}

#[tokio::test]
async fn forty_subscriptions_fit_into_one_commit_and_there_are_no_more() {
    let shop = TestShop::new().await;
    for _ in 0..40 {
        subscribe(&shop, json!([])).await;
    }
    let one_more = shop.post("/v1/subscriptions", json!({"url": URL})).await;
    assert_eq!((one_more.status.as_u16(), one_more.code()), (409, "too_many_subscriptions"));
    assert_eq!(shop.all("/v1/subscriptions?limit=7").await.len(), 40);
    let phone = shop.product("phone", 100, 5).await;
    shop.order("ann", &phone, 1).await;
    assert_eq!(shop.world.take_calls().len(), 80);
    assert_eq!(shop.all("/v1/deliveries?limit=33").await.len(), 80);
}

#[tokio::test]
async fn after_a_rotation_both_secrets_sign_for_a_day() {
    let shop = TestShop::new().await;
    let made = subscribe(&shop, json!([])).await;
    let path = format!("/v1/subscriptions/{}", id_of(&made));
    let headers = [("idempotency-key", "rotate-1")];
    let rotated = shop.send(Method::POST, &format!("{path}/secret"), &headers, "").await.expect(200);
    let again = shop.send(Method::POST, &format!("{path}/secret"), &headers, "").await.expect(200);
    assert_eq!(rotated, again, "asking twice under one key rotates once");
    let (old, new) = (made["secret"].as_str().unwrap(), rotated["secret"].as_str().unwrap());
    assert_ne!(old, new);
    shop.post(&format!("{path}/test"), json!({})).await.expect(202);
    shop.deliver().await;
    let call = shop.world.take_calls().remove(0);
    assert!(is_signed(&call, old) && is_signed(&call, new), "{}", call.signature);
    shop.clock.advance(Duration::from_secs(24 * 3600));
    let test = shop.post(&format!("{path}/test"), json!({})).await;
    assert_eq!(test.header("location"), format!("/v1/deliveries/{}", id_of(&test.body)));
    assert_eq!(test.expect(202)["event"], "WebhookTest");
    shop.deliver().await;
    let call = shop.world.take_calls().remove(0);
    assert!(!is_signed(&call, old) && is_signed(&call, new), "{}", call.signature);
    assert_eq!(serde_json::from_str::<Value>(&call.body).unwrap()["type"], "WebhookTest");
}

#[tokio::test]
async fn a_receiver_that_is_down_for_an_hour_gets_everything_once_when_it_is_back() {
    let shop = TestShop::new().await;
    subscribe(&shop, json!(["OrderPlaced"])).await;
    let phone = shop.product("phone", 100, 50).await;
    shop.world.answers(Err("no connection: connection refused".into()));
    for n in 0..20 {
        shop.order(&format!("user{n}"), &phone, 1).await;
    }
    let_pass(&shop, 1).await;
    let during = shop.world.take_calls();
    assert!(during.len() >= 20 * 5, "{}", during.len());
    assert_eq!(statuses(&deliveries(&shop).await), ["pending"; 20]);
    shop.world.answers(Ok(200));
    let_pass(&shop, 5).await;
    let after = shop.world.take_calls();
    let ids = |calls: &[WebhookRequest]| calls.iter().map(|call| call.id.clone()).collect::<BTreeSet<_>>();
    assert_eq!((after.len(), ids(&after).len()), (20, 20), "each arrives once");
    assert_eq!(ids(&after), ids(&during), "with the id it had before");
    let all = deliveries(&shop).await;
    assert_eq!(statuses(&all), ["delivered"; 20]);
    let tried: usize = all.iter().map(|delivery| delivery["attempts"].as_array().unwrap().len()).sum();
    assert_eq!(tried, during.len() + after.len(), "and the log has every attempt");
    let attempts = all[0]["attempts"].as_array().unwrap();
    assert_eq!(attempts[0]["error"], "The receiver did not answer: no connection: connection refused.");
    assert_eq!(attempts.last().unwrap()["status"], 200);
    assert_eq!(shop.get("/v1/inbox").await.expect(200)["items"], json!([]), "operators need not know");
}

#[tokio::test]
async fn a_delivery_that_never_succeeds_is_a_dead_letter_and_operators_are_told() {
    let shop = TestShop::new().await;
    let made = subscribe(&shop, json!([])).await;
    let phone = shop.product("phone", 100, 50).await;
    shop.world.answers(Ok(500));
    let order = shop.order("ann", &phone, 1).await;
    let_pass(&shop, 48).await;
    let tries = Queue::WebhookQueue.retries().max_receives() as usize;
    let all = deliveries(&shop).await;
    assert_eq!(statuses(&all), ["failed"; 2]);
    for delivery in &all {
        let attempts = delivery["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), tries);
        assert_eq!(
            (&attempts[0]["status"], &attempts[0]["error"]),
            (&json!(500), &json!("The receiver answered 500."))
        );
    }
    let letters = shop.dead_letters(Queue::WebhookQueue).await;
    assert_eq!((letters.len(), letters[0].receives as usize), (2, tries));
    assert!(letters[0].reason.contains("The receiver answered 500."), "{}", letters[0].reason);
    let inbox = shop.get("/v1/inbox").await.expect(200);
    let told = inbox["items"].as_array().unwrap();
    assert!(told.iter().all(|entry| entry["event"] == "DeliveryFailed"), "{inbox}");
    assert_eq!(told[0]["facts"]["subscriptionId"], made["id"]);
    let of_webhooks = |call: &WebhookRequest| call.body.contains("DeliveryFailed");
    assert!(!shop.world.take_calls().iter().any(of_webhooks), "what fails is not told by what fails");

    shop.world.answers(Ok(200));
    let path = format!("/v1/deliveries/{}", id_of(&all[0]));
    let again = shop.send(Method::POST, &format!("{path}/redeliver"), &[], "").await.expect(202);
    assert_eq!((&again["status"], again["attempts"].as_array().unwrap().len()), (&json!("pending"), tries));
    shop.deliver().await;
    let calls = shop.world.take_calls();
    assert_eq!((calls.len(), json!(calls[0].id)), (1, all[0]["notificationId"].clone()), "with the same id");
    assert!(calls[0].body.contains(&order));
    let delivered = shop.get(&path).await.expect(200);
    assert_eq!(
        (&delivered["status"], delivered["attempts"].as_array().unwrap().len()),
        (&json!("delivered"), tries + 1)
    );
    // Its old message is put back: it has no say any more.
    shop.post("/v1/queues/WebhookQueue/dead-letters/redrive", json!({"all": true})).await.expect(200);
    shop.deliver().await;
    assert_eq!(shop.world.take_calls().len(), 1, "only the other one is tried");
    assert_eq!(statuses(&deliveries(&shop).await), ["delivered"; 2]);
}

#[tokio::test]
async fn a_subscription_to_which_nothing_gets_through_for_five_days_is_disabled() {
    let shop = TestShop::new().await;
    let made = subscribe(&shop, json!(["OrderPlaced"])).await;
    let path = format!("/v1/subscriptions/{}", id_of(&made));
    let phone = shop.product("phone", 100, 50).await;
    shop.world.answers(Ok(503));
    let mut days = 0;
    while shop.get(&path).await.expect(200)["status"] == "active" {
        shop.order("ann", &phone, 1).await;
        let_pass(&shop, 24).await;
        days += 1;
        assert!(days < 10);
    }
    assert!(days >= 5, "after {days} days");
    let disabled = shop.get(&path).await.expect(200);
    assert_eq!(disabled["disabledReason"], "nothing got through for five days.");
    let inbox = shop.get("/v1/inbox").await.expect(200);
    let newest = inbox["items"].as_array().unwrap().iter().find(|entry| entry["event"] == "SubscriptionDisabled");
    assert_eq!(newest.unwrap()["facts"]["reason"], "nothing got through for five days.");
    // What is still on its way is given up at its next turn, without a word to anyone.
    let_pass(&shop, 24).await;
    shop.world.take_calls();
    assert!(deliveries(&shop).await.iter().all(|delivery| delivery["status"] == "failed"));
    shop.dead_letters(Queue::WebhookQueue).await;
    shop.order("ann", &phone, 1).await;
    assert!(shop.world.take_calls().is_empty());

    shop.world.answers(Ok(200));
    shop.patch(&path, json!({"status": "active"})).await.expect(200);
    shop.order("ann", &phone, 1).await;
    assert_eq!(shop.world.take_calls().len(), 1);
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_subscription_at_once() {
    let shop = TestShop::new().await;
    let made = subscribe(&shop, json!(["OrderPlaced"])).await;
    let phone = shop.product("phone", 100, 50).await;
    shop.world.answers(Ok(410));
    let (_, mut feed) = shop.open_as("", "/v1/feed?topic=operators").await;
    piece(&mut feed).await;
    shop.order("ann", &phone, 1).await;
    let told = piece(&mut feed).await;
    assert!(told.contains("SubscriptionDisabled"), "whoever listens is told: {told}");
    let disabled = shop.get(&format!("/v1/subscriptions/{}", id_of(&made))).await.expect(200);
    assert_eq!(
        (&disabled["status"], &disabled["disabledReason"]),
        (&json!("disabled"), &json!("its receiver answered 410, gone."))
    );
    let all = deliveries(&shop).await;
    assert_eq!((statuses(&all), all[0]["attempts"].as_array().unwrap().len()), (vec!["failed"], 1));
    assert_eq!(shop.get("/v1/inbox").await.expect(200)["items"][0]["event"], "SubscriptionDisabled");
}

#[tokio::test]
async fn what_is_delivered_twice_or_not_noted_has_one_id_and_what_was_noted_is_not_sent_again() {
    let shop = TestShop::new().await;
    subscribe(&shop, json!(["OrderCancelled"])).await;
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 1).await;
    shop.transition(&order, "CANCELLED").await.expect(200);
    let told = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
    for _ in 0..3 {
        handle(&shop.app, Queue::NotificationQueue, told.envelope.as_ref().unwrap()).await.unwrap();
    }
    shop.store.delete_message(&told).await.unwrap();
    let due = shop.store.receive(Queue::WebhookQueue, 0).await.unwrap().unwrap();
    assert!(shop.store.receive(Queue::WebhookQueue, 0).await.unwrap().is_none(), "one delivery");
    shop.faults.next([Fault::Refuse]);
    handle(&shop.app, Queue::WebhookQueue, due.envelope.as_ref().unwrap()).await.unwrap_err();
    for _ in 0..3 {
        handle(&shop.app, Queue::WebhookQueue, due.envelope.as_ref().unwrap()).await.unwrap();
    }
    shop.store.delete_message(&due).await.unwrap();
    let calls = shop.world.take_calls();
    assert_eq!((calls.len(), &calls[0].id), (2, &calls[1].id));
    shop.deliver().await;
}

#[tokio::test]
async fn a_receiver_is_not_told_the_name_of_an_erased_customer() {
    let shop = TestShop::new().await;
    shop.post("/v1/customers", json!({"username": "ann", "email": "a@example.com", "name": "Ann"})).await.expect(201);
    subscribe(&shop, json!(["OrderPlaced", "ProductBackInStock"])).await;
    let phone = shop.product("phone", 100, 1).await;
    shop.world.answers(Ok(503));
    let order = shop.order("ann", &phone, 1).await;
    let path = format!("/v1/products/{phone}/watchers/ann");
    shop.send(Method::PUT, &path, &[], "").await.expect(201);
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    assert!(shop.world.take_calls().iter().all(|call| call.body.contains(r#""userName":"ann""#)));
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.deliver().await;
    shop.world.answers(Ok(200));
    let_pass(&shop, 1).await;
    let calls = shop.world.take_calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.body.contains(r#""userName":"erased-"#)), "{calls:?}");
}

#[tokio::test]
async fn operators_are_told_of_messages_that_die_once_a_minute_for_each_queue() {
    let shop = TestShop::new().await;
    for _ in 0..3 {
        shop.emit(shop.event("CheckoutBasket", json!("not even an object"))).await;
        shop.emit(shop.event("OrderConfirmed", json!("nor this"))).await;
    }
    shop.deliver().await;
    shop.clock.advance(Duration::from_secs(61));
    shop.emit(shop.event("CheckoutBasket", json!("not even an object"))).await;
    shop.deliver().await;
    let told = shop.all("/v1/inbox").await;
    let mut queues: Vec<_> = told.iter().map(|entry| entry["facts"]["queue"].as_str().unwrap()).collect();
    queues.sort_unstable();
    assert_eq!(queues, ["NotificationQueue", "OrderQueue", "OrderQueue"]);
    assert_eq!(
        told[0]["text"],
        "A message, CheckoutBasket, could not be processed: malformed_event.\nSee /v1/queues/OrderQueue/dead-letters"
    );
    shop.dead_letters(Queue::OrderQueue).await;
    shop.dead_letters(Queue::NotificationQueue).await;
}

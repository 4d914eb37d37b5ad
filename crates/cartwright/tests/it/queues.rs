//! Queues and dead letters for operators: figures, pages, redrive, discard.

use cartwright::events::{Envelope, Queue};
use cartwright::local::delivery::Settings;
use cartwright::local::sqlite::{FILE_NAME, SqliteStore};
use cartwright::queues::{QueueAdmin, replace_dead_letters};
use cartwright::store::Cursor;
use http::Method;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::faults::Fault;
use crate::shop::TestShop;

const DEAD: &str = "/v1/queues/OrderQueue/dead-letters";

/// A shop with so many checkouts that can never become orders, numbered, all dead.
async fn shop_with_dead_letters(count: usize) -> TestShop {
    let shop = TestShop::new().await;
    for n in 0..count {
        shop.emit(shop.event("CheckoutBasket", json!({"n": n}))).await;
    }
    shop.deliver().await;
    shop
}

/// The numbers of the dead letters, and their ids, oldest first; the test knows of them now.
async fn numbers(shop: &TestShop) -> (Vec<u64>, Vec<String>) {
    shop.dead_letters(Queue::OrderQueue).await;
    let letters = shop.all(&format!("{DEAD}?order=oldest&limit=100")).await;
    let number = |letter: &Value| letter["event"]["detail"]["n"].as_u64().unwrap();
    let id = |letter: &Value| letter["id"].as_str().unwrap().to_owned();
    (letters.iter().map(number).collect(), letters.iter().map(id).collect())
}

async fn queue(shop: &TestShop, name: &str) -> Value {
    shop.get(&format!("/v1/queues/{name}")).await.expect(200)
}

#[tokio::test]
async fn a_queue_tells_what_it_holds_and_what_went_through_it() {
    let shop = TestShop::new().await;
    let empty = json!({"name": "OrderQueue", "waiting": 0, "inFlight": 0, "delayed": 0, "dead": 0, "oldestAgeMs": null,
        "sinceStart": {"received": 0, "processed": 0, "failed": 0}});
    assert_eq!(queue(&shop, "OrderQueue").await, empty);
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    shop.checkout("ann").await;
    shop.emit(shop.event("CheckoutBasket", json!({}))).await;
    shop.clock.advance(std::time::Duration::from_millis(1_500));
    let waiting = queue(&shop, "OrderQueue").await;
    assert_eq!(waiting["waiting"], 2);
    assert!((1_500..1_600).contains(&waiting["oldestAgeMs"].as_i64().unwrap()), "{waiting}");

    let received = shop.store.receive(Queue::OrderQueue, shop.now_ms()).await.unwrap().unwrap();
    let working = queue(&shop, "OrderQueue").await;
    assert_eq!((&working["waiting"], &working["inFlight"], &working["delayed"]), (&json!(1), &json!(1), &json!(0)));
    shop.store.retry_message(&received, shop.now_ms() + 60_000).await.unwrap();
    let failed = queue(&shop, "OrderQueue").await;
    assert_eq!((&failed["waiting"], &failed["inFlight"], &failed["delayed"]), (&json!(1), &json!(0), &json!(1)));

    shop.deliver_with_retries().await;
    shop.dead_letters(Queue::OrderQueue).await;
    let done = json!({"name": "OrderQueue", "waiting": 0, "inFlight": 0, "delayed": 0, "dead": 1, "oldestAgeMs": null,
        "sinceStart": {"received": 3, "processed": 1, "failed": 2}});
    assert_eq!(queue(&shop, "OrderQueue").await, done);
    let all = shop.get("/v1/queues").await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), Queue::ALL.len());
    assert_eq!(all["items"][0], done);
    let answer = shop.get("/v1/queues/NoQueue").await;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, "queue_not_found"));
    assert!(answer.body["detail"].as_str().unwrap().contains("OrderQueue, StockQueue"), "{answer:?}");
}

#[tokio::test]
async fn figures_of_what_waits_survive_a_restart() {
    let shop = shop_with_dead_letters(2).await;
    numbers(&shop).await;
    shop.emit(shop.event("CheckoutBasket", json!({"n": 2}))).await;
    shop.store.close().await;
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(shop.folder.join(FILE_NAME), copy.path().join(FILE_NAME)).unwrap();
    let reopened = SqliteStore::open(copy.path(), shop.clock.clone()).unwrap();
    let statistics = reopened.statistics(Queue::OrderQueue, "2026-01-03T00:00:00Z".parse().unwrap()).await.unwrap();
    assert_eq!((statistics.waiting, statistics.dead, statistics.since_start.unwrap().received), (1, 2, 0));
    // This shop's own file still holds the message; let its Drop see an empty queue.
    rusqlite::Connection::open(shop.folder.join(FILE_NAME)).unwrap().execute("DELETE FROM messages", []).unwrap();
}

#[tokio::test]
async fn dead_letters_are_listed_either_way_and_shown() {
    let shop = shop_with_dead_letters(5).await;
    let (oldest_first, ids) = numbers(&shop).await;
    assert_eq!(oldest_first, [0, 1, 2, 3, 4]);
    let newest_first = shop.all(&format!("{DEAD}?limit=2")).await;
    assert_eq!(newest_first.iter().map(|letter| letter["id"].as_str().unwrap()).rev().collect::<Vec<_>>(), ids);
    let letter = shop.get(&format!("{DEAD}/{}", ids[3])).await.expect(200);
    assert_eq!(letter, newest_first[1]);
    assert_eq!((&letter["receives"], &letter["event"]["detail-type"]), (&json!(1), &json!("CheckoutBasket")));
    assert!(letter["reason"].as_str().unwrap().starts_with("malformed_event: "), "{letter}");
    assert!(letter["enqueuedAt"].as_str().unwrap() <= letter["diedAt"].as_str().unwrap());

    for (path, code) in [
        (format!("{DEAD}/999"), "dead_letter_not_found"),
        (format!("{DEAD}/x"), "dead_letter_not_found"),
        (format!("{DEAD}/-1"), "dead_letter_not_found"),
        (format!("{DEAD}/0{}", ids[0]), "dead_letter_not_found"),
        (format!("/v1/queues/StockQueue/dead-letters/{}", ids[0]), "dead_letter_not_found"),
        ("/v1/queues/NoQueue/dead-letters".to_owned(), "queue_not_found"),
    ] {
        let answer = shop.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, code), "{path}");
    }
    assert_eq!(shop.get(&format!("{DEAD}?order=up")).await.pointers(), ["?order"]);
    let next = shop.get(&format!("{DEAD}?limit=2")).await.expect(200)["nextCursor"].as_str().unwrap().to_owned();
    let elsewhere = shop.get(&format!("{DEAD}?order=oldest&cursor={next}")).await;
    assert_eq!(elsewhere.pointers(), ["?cursor"], "a cursor is of one direction");
}

#[tokio::test]
async fn a_cursor_that_names_no_dead_letter_of_this_home_is_refused_as_a_foreign_one() {
    let shop = TestShop::new().await;
    let listed_after = async |id: &str| {
        let cursor = Cursor::new("dead letters of OrderQueue down", id).into_text();
        shop.get(&format!("{DEAD}?cursor={cursor}")).await
    };
    assert_eq!(listed_after("7").await.status, 200, "one that is gone by now is good");
    for id in ["a-B-9", "-7", "a b"] {
        let refused = listed_after(id).await;
        assert_eq!((refused.status.as_u16(), refused.pointers()), (400, vec!["?cursor"]), "{id}");
    }
}

#[tokio::test]
async fn a_dead_letter_that_is_not_json_is_shown_as_text_and_can_be_redriven() {
    let shop = TestShop::new().await;
    let file = rusqlite::Connection::open(shop.folder.join(FILE_NAME)).unwrap();
    file.execute("INSERT INTO dead_letters VALUES ('OrderQueue', 7, 'unreadable', 1, 1, 2, '{torn')", []).unwrap();
    let letter = shop.get(&format!("{DEAD}/7")).await.expect(200);
    assert_eq!((&letter["event"], &letter["diedAt"]), (&json!("{torn"), &json!("1970-01-01T00:00:00.002Z")));
    shop.post(&format!("{DEAD}/redrive"), json!({"ids": ["7"]})).await.expect(200);
    shop.deliver().await;
    let letters = shop.dead_letters(Queue::OrderQueue).await;
    assert!(letters[0].reason.contains("unreadable_message") && letters[0].body == "{torn", "{letters:?}");
}

#[tokio::test]
async fn a_page_of_large_dead_letters_is_short_and_leads_on() {
    let shop = TestShop::new().await;
    for n in 0..7 {
        shop.emit(shop.event("CheckoutBasket", json!({"n": n, "padding": "x".repeat(240_000)}))).await;
    }
    shop.deliver().await;
    let page = shop.get(&format!("{DEAD}?order=oldest")).await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 5);
    assert_eq!(numbers(&shop).await.0, [0, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn what_was_mended_is_redriven_and_processed() {
    let shop = TestShop::with_settings(Settings { max_receives: Some(1), ..Settings::default() }).await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    let order = shop.checkout("ann").await;
    shop.faults.next([Fault::Refuse]);
    shop.deliver().await;
    let dead = shop.dead_letters(Queue::OrderQueue).await;
    let redriven = shop.post(&format!("{DEAD}/redrive"), json!({"ids": [dead[0].id.to_string()]})).await;
    assert_eq!(redriven.expect(200), json!({"count": 1}));
    assert_eq!(shop.get(DEAD).await.expect(200)["items"], json!([]));
    let received = shop.store.receive(Queue::OrderQueue, shop.now_ms()).await.unwrap().unwrap();
    assert!(received.receives == 0 && received.seq > dead[0].id.as_str().parse().unwrap(), "{received:?}");
    shop.store.retry_message(&received, shop.now_ms()).await.unwrap();
    shop.deliver_with_retries().await;
    assert_eq!(shop.status(&order).await, "CONFIRMED");
}

#[tokio::test]
async fn redriven_messages_go_behind_those_that_wait_and_before_those_that_come() {
    let shop = shop_with_dead_letters(3).await;
    numbers(&shop).await;
    shop.emit(shop.event("CheckoutBasket", json!({"n": 10}))).await;
    assert_eq!(shop.post(&format!("{DEAD}/redrive"), json!({"all": true})).await.expect(200), json!({"count": 3}));
    shop.emit(shop.event("CheckoutBasket", json!({"n": 11}))).await;
    assert_eq!(queue(&shop, "OrderQueue").await["waiting"], 5);
    shop.deliver().await;
    assert_eq!(numbers(&shop).await.0, [10, 0, 1, 2, 11]);
}

#[tokio::test]
async fn more_than_memory_and_one_transaction_hold_are_redriven_and_discarded() {
    let shop = TestShop::new().await;
    for _ in 0..23 {
        let mut batch = cartwright::store::Batch::new(cartwright::store::Table::Ordering);
        for n in 0..50 {
            batch.emit(shop.event("CheckoutBasket", json!({"n": n})));
        }
        shop.app.store.commit(batch).await.unwrap();
    }
    shop.deliver().await;
    assert_eq!(shop.post(&format!("{DEAD}/redrive"), json!({"all": true})).await.expect(200), json!({"count": 1150}));
    let waiting = queue(&shop, "OrderQueue").await;
    assert_eq!((&waiting["waiting"], &waiting["dead"]), (&json!(1150), &json!(0)));
    shop.deliver().await;
    let dead = queue(&shop, "OrderQueue").await;
    assert_eq!((&dead["waiting"], &dead["dead"]), (&json!(0), &json!(1150)));
    let numbers = shop.all(&format!("{DEAD}?order=oldest&limit=100")).await;
    assert!(numbers.iter().enumerate().all(|(at, letter)| letter["event"]["detail"]["n"] == at % 50), "in their order");
    let discard = json!({"all": true, "reason": "a test of many"});
    assert_eq!(shop.post(&format!("{DEAD}/discard"), discard.clone()).await.expect(200), json!({"count": 1150}));
    assert_eq!(shop.post(&format!("{DEAD}/discard"), discard).await.expect(200), json!({"count": 0}));
    assert_eq!(queue(&shop, "OrderQueue").await["dead"], 0);
}

#[tokio::test]
async fn nothing_changes_when_one_is_unknown() {
    let shop = shop_with_dead_letters(2).await;
    let (_, ids) = numbers(&shop).await;
    for action in ["redrive", "discard"] {
        let mut body = json!({"ids": [ids[0], "999", "1000"]});
        if action == "discard" {
            body["reason"] = "because".into();
        }
        let answer = shop.post(&format!("{DEAD}/{action}"), body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "dead_letter_not_found"));
        assert_eq!(answer.body["ids"], json!(["999", "1000"]));
        body["ids"] = json!([ids[0], "x"]);
        assert_eq!(shop.post(&format!("{DEAD}/{action}"), body.clone()).await.code(), "dead_letter_not_found");
        body["ids"] = json!([ids[0]]);
        let elsewhere = shop.post(&format!("/v1/queues/StockQueue/dead-letters/{action}"), body.clone()).await;
        assert_eq!(elsewhere.code(), "dead_letter_not_found", "it died in another queue");
        let nowhere = shop.post(&format!("/v1/queues/NoQueue/dead-letters/{action}"), body).await;
        assert_eq!(nowhere.code(), "queue_not_found");
    }
    assert_eq!(numbers(&shop).await.0, [0, 1]);
    let discard = json!({"ids": [ids[1], ids[1]], "reason": "a test"});
    assert_eq!(shop.post(&format!("{DEAD}/discard"), discard).await.expect(200), json!({"count": 1}));
    assert_eq!(numbers(&shop).await.0, [0]);
}

#[tokio::test]
async fn what_is_meant_must_be_said() {
    let shop = TestShop::new().await;
    let too_many: Vec<String> = (0..41).map(|id| id.to_string()).collect();
    for (body, pointer) in [
        (json!({}), "/ids"),
        (json!({"all": false}), "/ids"),
        (json!({"ids": [], "reason": "x"}), "/ids"),
        (json!({"ids": ["1"], "all": true}), "/ids"),
        (json!({"ids": too_many}), "/ids"),
    ] {
        let mut discard = body.clone();
        discard["reason"] = "because".into();
        let answer = shop.post(&format!("{DEAD}/discard"), discard).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec![pointer]), "{answer:?}");
        if body.get("reason").is_none() {
            assert_eq!(shop.post(&format!("{DEAD}/redrive"), body).await.pointers(), [pointer]);
        }
    }
    for reason in [json!(null), json!(""), json!(" "), json!("x".repeat(501))] {
        let answer = shop.post(&format!("{DEAD}/discard"), json!({"all": true, "reason": reason})).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec!["/reason"]), "{reason}");
    }
    assert_eq!(shop.post(&format!("{DEAD}/discard"), json!({"all": true})).await.pointers(), ["/reason"]);
    let longest = json!({"all": true, "reason": "é".repeat(500)});
    assert_eq!(shop.post(&format!("{DEAD}/discard"), longest).await.expect(200), json!({"count": 0}));
}

#[tokio::test]
async fn a_redrive_with_an_idempotency_key_happens_once() {
    let shop = shop_with_dead_letters(2).await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "redrive-1")];
    for _ in 0..2 {
        let answer = shop.send(Method::POST, &format!("{DEAD}/redrive"), &headers, r#"{"all":true}"#).await;
        assert_eq!(answer.expect(200), json!({"count": 2}));
        shop.deliver().await;
    }
    let (_, ids) = numbers(&shop).await;
    assert_eq!(ids.len(), 2);
    let received = &queue(&shop, "OrderQueue").await["sinceStart"]["received"];
    assert_eq!(received, 4, "the second request moved nothing");
}

#[tokio::test]
async fn a_redrive_that_the_disk_refuses_changes_nothing() {
    let shop = shop_with_dead_letters(1).await;
    let (_, ids) = numbers(&shop).await;
    shop.store.close().await;
    let answer = shop.post(&format!("{DEAD}/redrive"), json!({"ids": ids})).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "store_closed"));
    let there = shop.store.find_dead_letter(Queue::OrderQueue, &ids[0].parse().unwrap()).await.unwrap();
    assert!(there.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_someone_deals_with_meanwhile_is_passed_over_when_all_are_replaced() {
    let shop = shop_with_dead_letters(2).await;
    let (_, ids) = numbers(&shop).await;
    let (path, discard) = (format!("{DEAD}/discard"), json!({"ids": [ids[0]], "reason": "meanwhile"}));
    let instead = |message: &Envelope| {
        if message.detail.get() == r#"{"n":0}"# {
            let discarded = block_in_place(|| Handle::current().block_on(shop.post(&path, discard.clone())));
            discarded.expect(200);
        }
        Some(Envelope { id: shop.app.new_uuid(), ..message.clone() })
    };
    replace_dead_letters(&shop.app, Queue::OrderQueue, instead).await.unwrap();
    let figures = queue(&shop, "OrderQueue").await;
    assert_eq!((&figures["waiting"], &figures["dead"]), (&json!(1), &json!(0)), "the other was replaced");
    shop.deliver().await;
    assert_eq!(numbers(&shop).await.0, [1]);
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_replaced_now_stays_and_whoever_wanted_it_learns_so() {
    let shop = shop_with_dead_letters(1).await;
    let (_, ids) = numbers(&shop).await;
    shop.store.close().await;
    let replaced = replace_dead_letters(&shop.app, Queue::OrderQueue, |message| Some(message.clone())).await;
    assert_eq!(replaced.unwrap_err().code(), "store_closed");
    let there = shop.store.find_dead_letter(Queue::OrderQueue, &ids[0].parse().unwrap()).await.unwrap();
    assert!(there.is_some());
}

#[tokio::test]
async fn the_map_of_events_is_that_of_the_code() {
    let shop = TestShop::new().await;
    let map = shop.get("/v1/events").await.expect(200);
    assert_eq!(map["bus"], cartwright::events::BUS);
    let events = map["events"].as_array().unwrap();
    assert_eq!(events.len(), cartwright::events::RULES.len());
    let placed = events.iter().find(|event| event["event"] == "OrderPlaced").unwrap();
    let expected = json!({"event": "OrderPlaced", "source": "cartwright.ordering", "service": "ordering",
        "queues": ["StockQueue", "NotificationQueue"]});
    assert_eq!(placed, &expected);
    let consumers = map["queues"].as_array().unwrap();
    assert_eq!(consumers.len(), Queue::ALL.len());
    assert!(consumers.contains(&json!({"name": "OrderQueue", "consumer": "ordering"})));
}

//! Orders and their life.

use cartwright::ordering::{Status, TRANSITIONS};
use http::Method;
use serde_json::json;

use crate::shop::TestShop;

#[tokio::test]
async fn an_order_goes_from_placed_to_returned() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 2).await;
    for (status, stock) in
        [("PACKED", (5, 2, 3)), ("SHIPPED", (3, 0, 3)), ("DELIVERED", (3, 0, 3)), ("RETURNED", (3, 0, 3))]
    {
        let moved = shop.transition(&order, status).await.expect(200);
        assert_eq!(moved["status"], status);
        shop.deliver().await;
        assert_eq!(shop.stock(&phone).await, stock, "{status}");
    }
    assert_eq!(shop.ledger(&phone).await.1, (3, 3));
}

#[tokio::test]
async fn cancelling_gives_stock_back_exactly_once() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    for before in [&[][..], &["PACKED"]] {
        let order = shop.order("ann", &phone, 2).await;
        for status in before {
            shop.transition(&order, status).await.expect(200);
        }
        shop.transition(&order, "CANCELLED").await.expect(200);
        let again = shop.transition(&order, "CANCELLED").await.expect(200);
        assert_eq!(again["status"], "CANCELLED", "repeating a transition changes nothing");
        shop.deliver().await;
        assert_eq!(shop.stock(&phone).await, (5, 0, 5));
    }
    assert_eq!(shop.ledger(&phone).await.1, (5, 5));
}

#[tokio::test]
async fn an_order_cancelled_before_its_stock_was_decided_takes_none() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 2).await;
    let order = shop.checkout("ann").await;
    let early = shop.transition(&order, "CANCELLED").await;
    assert_eq!((early.status.as_u16(), early.code()), (503, "order_not_ready"), "its checkout is still on its way");
    let received = shop.store.receive(cartwright::events::Queue::OrderQueue, 0).await.unwrap().unwrap();
    cartwright::events::handle(&shop.app, received.queue, received.envelope.as_ref().unwrap()).await.unwrap();
    shop.store.delete_message(&received).await.unwrap();
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    assert_eq!(shop.status(&order).await, "CANCELLED", "the catalogue's late word does not bring it back");
    assert_eq!(shop.stock(&phone).await, (5, 0, 5));
}

#[tokio::test]
async fn every_step_that_the_table_does_not_have_is_refused() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 50).await;
    let path_to = |status: Status| -> &[&str] {
        match status {
            Status::Placed | Status::Rejected => unreachable!("not reached by hand"),
            Status::Confirmed => &[],
            Status::Packed => &["PACKED"],
            Status::Shipped => &["PACKED", "SHIPPED"],
            Status::Delivered => &["PACKED", "SHIPPED", "DELIVERED"],
            Status::Cancelled => &["CANCELLED"],
            Status::Returned => &["PACKED", "SHIPPED", "DELIVERED", "RETURNED"],
        }
    };
    let all = ["PLACED", "CONFIRMED", "REJECTED", "PACKED", "SHIPPED", "DELIVERED", "CANCELLED", "RETURNED"];
    for from in
        [Status::Confirmed, Status::Packed, Status::Shipped, Status::Delivered, Status::Cancelled, Status::Returned]
    {
        let order = shop.order("ann", &phone, 1).await;
        for status in path_to(from) {
            shop.transition(&order, status).await.expect(200);
        }
        shop.deliver().await;
        for to in all {
            let allowed = from.name() == to || TRANSITIONS.iter().any(|step| step.from == from && step.to.name() == to);
            if allowed {
                continue;
            }
            let refused = shop.transition(&order, to).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (409, "transition_forbidden"), "{from:?} → {to}");
            assert_eq!(refused.body["nextStatuses"], serde_json::to_value(from.next_by_hand()).unwrap());
            assert_eq!(shop.status(&order).await, from.name());
        }
    }
    let bad = shop.transition("2T9lhYvBXfLmcUMmVP3eBPqHvZ8", "PACKED").await;
    assert_eq!((bad.status.as_u16(), bad.code()), (404, "order_not_found"));
    let order = shop.order("ann", &phone, 1).await;
    assert_eq!(shop.transition(&order, "LOST").await.pointers(), ["/to"]);
}

#[tokio::test]
async fn confirming_and_rejecting_are_not_done_by_hand() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 50).await;
    shop.fill("ann", &phone, 1).await;
    let order = shop.checkout("ann").await;
    let received = shop.store.receive(cartwright::events::Queue::OrderQueue, 0).await.unwrap().unwrap();
    cartwright::events::handle(&shop.app, received.queue, received.envelope.as_ref().unwrap()).await.unwrap();
    shop.store.delete_message(&received).await.unwrap();
    for to in ["CONFIRMED", "REJECTED"] {
        let refused = shop.transition(&order, to).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (409, "transition_forbidden"));
    }
    shop.deliver().await;
    assert_eq!(shop.status(&order).await, "CONFIRMED");
}

#[tokio::test]
async fn a_transition_of_an_order_that_moved_meanwhile_is_refused() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 1).await;
    let path = format!("/v1/orders/{order}");
    let seen = shop.get(&path).await.header("etag").to_owned();
    shop.transition(&order, "PACKED").await.expect(200);
    let headers = [("content-type", "application/json"), ("if-match", seen.as_str())];
    let late = shop.send(Method::POST, &format!("{path}/transitions"), &headers, r#"{"to":"CANCELLED"}"#).await;
    assert_eq!((late.status.as_u16(), late.code()), (412, "precondition_failed"));
    shop.deliver().await;
}

#[tokio::test]
async fn a_repeated_transition_is_answered_as_the_first_time_and_its_answer_holds_no_address() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("ann", &phone, 1).await;
    let contact = json!({"contact": {"firstName": "Ann", "address": "17 Nightingale Lane"}});
    let order =
        shop.post("/v1/baskets/ann/checkout", contact).await.expect(202)["orderId"].as_str().unwrap().to_owned();
    shop.deliver().await;
    let path = format!("/v1/orders/{order}/transitions");
    let pack =
        async |key: &str| shop.send(Method::POST, &path, &[("idempotency-key", key)], r#"{"to":"PACKED"}"#).await;
    let first = pack("k1").await;
    let no_op = pack("k2").await;
    assert_eq!((first.status.as_u16(), &first.body["contact"]["address"]), (200, &json!("17 Nightingale Lane")));
    assert_eq!(no_op.status, 200, "it is packed already");
    shop.transition(&order, "SHIPPED").await.expect(200);
    for (key, answer) in [("k1", &first), ("k2", &no_op)] {
        let again = pack(key).await;
        assert_eq!(
            (again.status, &again.body, again.header("etag")),
            (answer.status, &answer.body, answer.header("etag"))
        );
    }
    shop.deliver().await;
    let file = rusqlite::Connection::open(shop.folder.join("cartwright.db")).unwrap();
    let sql = "SELECT count(*) FROM ordering WHERE pk GLOB 'IDEMPOTENCY#*' AND body LIKE '%Nightingale%'";
    assert_eq!(file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[tokio::test]
async fn orders_are_listed_newest_first_of_all_and_of_one_customer() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, None).await;
    let mut placed = Vec::new();
    for n in 0..33 {
        placed.push((
            if n % 3 == 0 { "ann" } else { "bob" },
            shop.order(if n % 3 == 0 { "ann" } else { "bob" }, &phone, 1).await,
        ));
    }
    placed.reverse();
    let ids = |orders: Vec<serde_json::Value>| {
        orders.iter().map(|order| order["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all: Vec<String> = placed.iter().map(|(_, id)| id.clone()).collect();
    for limit in [1, 5, 33, 100] {
        assert_eq!(ids(shop.all(&format!("/v1/orders?limit={limit}")).await), all, "pages of {limit}");
    }
    let anns: Vec<String> = placed.iter().filter(|(user, _)| *user == "ann").map(|(_, id)| id.clone()).collect();
    assert_eq!(ids(shop.all("/v1/orders?customer=ANN&limit=4").await), anns);
    assert_eq!(ids(shop.all("/v1/orders?customer=nobody").await), Vec::<String>::new());
    let classic = shop.get("/order?limit=33").await.expect(200);
    let classic: Vec<&str> =
        classic["body"].as_array().unwrap().iter().map(|order| order["orderId"].as_str().unwrap()).collect();
    assert_eq!(classic, all);
    let whole = shop.get("/order/bob").await.expect(200);
    assert_eq!(
        (whole["body"].as_array().unwrap().len(), whole.get("nextCursor")),
        (22, None),
        "all orders of a user at once"
    );
    let foreign = shop.get("/v1/orders?customer=ann&limit=4").await.body["nextCursor"].as_str().unwrap().to_owned();
    let refused = shop.get(&format!("/v1/orders?cursor={foreign}")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.pointers()),
        (400, vec!["?cursor"]),
        "a cursor is good for its own list"
    );
}

#[tokio::test]
async fn orders_are_filtered_by_status_and_time() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 20).await;
    let mut placed = Vec::new();
    for n in 0..30 {
        let user = if n % 2 == 0 { "ann" } else { "bob" };
        placed.push(shop.order(user, &phone, 1).await);
        shop.clock.advance(std::time::Duration::from_millis(700));
    }
    for order in &placed[..3] {
        shop.transition(order, "PACKED").await.expect(200);
    }
    shop.deliver().await;
    let count = async |query: &str| shop.all(&format!("/v1/orders?limit=4&{query}")).await.len();
    assert_eq!(
        (count("status=PACKED").await, count("status=CONFIRMED").await, count("status=REJECTED").await),
        (3, 17, 10)
    );
    assert_eq!(
        (
            count("status=PLACED").await,
            count("customer=ann&status=PACKED").await,
            count("customer=bob&status=REJECTED").await
        ),
        (0, 2, 5)
    );
    let at = async |n: usize| {
        shop.get(&format!("/v1/orders/{}", placed[n])).await.expect(200)["createdAt"].as_str().unwrap().to_owned()
    };
    let (from, to) = (at(5).await, at(12).await);
    let ids = async |query: &str| -> Vec<_> {
        shop.all(&format!("/v1/orders?limit=3&{query}"))
            .await
            .iter()
            .map(|o| o["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let expected: Vec<String> = placed[5..=12].iter().rev().cloned().collect();
    assert_eq!(ids(&format!("from={from}&to={to}")).await, expected);
    assert_eq!(ids(&format!("from={from}&to={to}&status=CONFIRMED")).await, expected);
    assert_eq!(ids(&format!("from={from}&to={to}&customer=ann")).await.len(), 4);
    assert_eq!(ids(&format!("to={from}")).await.len(), 6);
    for (query, pointer) in [("from=x", "?from"), ("to=2026", "?to"), ("status=LOST", "?")] {
        assert_eq!(shop.get(&format!("/v1/orders?{query}")).await.pointers(), [pointer], "{query}");
    }
}

#[tokio::test]
async fn unknown_orders_and_users_are_told_apart_from_empty_ones() {
    let shop = TestShop::new().await;
    assert_eq!(shop.get("/order/nobody").await.expect(200)["body"], json!([]));
    assert_eq!(shop.get("/v1/orders/not-an-id").await.code(), "order_not_found");
    assert_eq!(shop.get("/order/a%23b").await.code(), "invalid_user_name");
    assert_eq!(shop.get("/order/ann?orderDate=yesterday").await.pointers(), ["?orderDate"]);
    assert_eq!(shop.get("/v1/orders?customer=a%23b").await.pointers(), ["?customer"]);
}

#[tokio::test]
async fn a_page_of_some_orders_is_full_and_no_fuller_whatever_lies_between_them() {
    let shop = TestShop::new().await;
    let phone = shop.product("phone", 100, 50).await;
    for n in 0..9 {
        let order = shop.order("ann", &phone, 1).await;
        if n % 3 > 0 {
            shop.transition(&order, "CANCELLED").await.expect(200);
        }
    }
    shop.deliver().await;
    let mut path = "/v1/orders?customer=ann&status=CANCELLED&limit=4".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page = shop.get(&path).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.iter().all(|order| order["status"] == "CANCELLED"));
        sizes.push(items.len());
        let Some(next) = page["nextCursor"].as_str() else { break };
        path = format!("/v1/orders?customer=ann&status=CANCELLED&limit=4&cursor={next}");
    }
    assert_eq!(sizes, [4, 2]);
}

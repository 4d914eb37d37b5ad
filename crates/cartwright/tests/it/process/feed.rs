//! The live feed of a server: who follows an order sees each of its steps once, whatever happens to the connection.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::Server;
use super::listeners::{Reader, Socket};

const LIFE: [&str; 5] = ["OrderPlaced", "OrderConfirmed", "OrderPacked", "OrderShipped", "OrderDelivered"];

fn checkout(server: &Server, user: &str, product: &str) -> String {
    let mut client = server.client();
    let line = json!({"productId": product, "quantity": 1});
    client.request("POST", &format!("/v1/baskets/{user}/items"), Some(&line)).expect(200);
    let accepted = client.request("POST", &format!("/v1/baskets/{user}/checkout"), Some(&json!({}))).expect(202);
    accepted["orderId"].as_str().unwrap().to_owned()
}

fn advance(server: &Server, order: &str, to: &str) {
    let path = format!("/v1/orders/{order}/transitions");
    server.client().request("POST", &path, Some(&json!({"to": to}))).expect(200);
}

fn is_step(step: &str, order: &str, told: (String, Value)) {
    let (event, data) = told;
    assert_eq!((event.as_str(), data["facts"]["orderId"].as_str()), (step, Some(order)), "{data}");
}

#[test]
fn an_orders_whole_life_is_seen_on_a_socket_and_on_a_stream_that_is_cut_off_at_each_step() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let product = server.product("phone", 10);
    let mut socket = Socket::open(&server);
    let begun = socket.subscribe("customer:ann", None);
    assert_eq!(begun["after"], 0);
    // Followed from the moment of its checkout, when there is no order yet.
    let order = checkout(&server, "ann", &product);
    let topic = format!("topic=order:{order}");
    let mut reader = Reader::open(&server, &format!("{topic}&after=0"), None);
    for (step, by_hand) in LIFE.into_iter().zip([None, None, Some("PACKED"), Some("SHIPPED"), Some("DELIVERED")]) {
        if let Some(to) = by_hand {
            advance(&server, &order, to);
        }
        is_step(step, &order, reader.event().unwrap());
        let last = reader.last_event_id;
        drop(reader);
        // Another order takes steps meanwhile, which are not for this reader.
        checkout(&server, "ann", &product);
        reader = Reader::open(&server, &topic, last);
    }
    let told: Vec<Value> = (0..15).map(|_| socket.event().1).collect();
    let sequences: Vec<u64> = told.iter().map(|told| told["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=15).collect::<Vec<_>>(), "without gap or repeat");
    let of_order = told.iter().filter(|told| told["facts"]["orderId"] == order.as_str());
    assert_eq!(of_order.map(|told| told["event"].as_str().unwrap()).collect::<Vec<_>>(), LIFE);
    server.stop();
}

#[test]
fn a_restart_of_the_server_is_no_gap_either() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let product = server.product("phone", 10);
    let mut reader = Reader::open(&server, "topic=customer:ann", None);
    let mut socket = Socket::open(&server);
    socket.subscribe("customer:ann", None);
    let order = checkout(&server, "ann", &product);
    for step in &LIFE[..2] {
        is_step(step, &order, reader.event().unwrap());
        is_step(step, &order, socket.event());
    }
    let last = reader.last_event_id;
    server.terminate();
    let farewell = reader.piece().unwrap();
    assert!(farewell.retry.is_some_and(|retry| retry >= 1_000), "it is told when to come again: {farewell:?}");
    assert_eq!(reader.piece(), None);
    assert_eq!(socket.receive(), Err(Some(1001)));
    assert!(server.wait(Duration::from_secs(20)).success());

    let server = Server::start(folder.path(), &[]);
    advance(&server, &order, "PACKED");
    let mut reader = Reader::open(&server, "topic=customer:ann", last);
    let mut socket = Socket::open(&server);
    socket.subscribe("customer:ann", last);
    is_step("OrderPacked", &order, reader.event().unwrap());
    is_step("OrderPacked", &order, socket.event());
}

#[test]
fn operators_follow_their_inbox_a_queue_and_purchases_on_one_socket() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let product = server.product("phone", 1);
    let mut socket = Socket::open(&server);
    for topic in ["operators", "purchases", "queue:PurchaseQueue"] {
        socket.subscribe(topic, None);
    }
    let (event, figures) = socket.event();
    assert_eq!(
        (event.as_str(), &figures["name"], &figures["dead"]),
        ("QueueChanged", &json!("PurchaseQueue"), &json!(0))
    );
    checkout(&server, "ann", &product);
    let purchase = json!({"productId": "p1", "category": "Phone", "productName": "Phone", "quantity": 2,
        "unitPrice": {"amount": 100, "currency": "USD"}, "total": {"amount": 200, "currency": "USD"}, "customerId": "c1", "customerName": "Ann", "purchasedAt": "2026-01-02T03:04:05Z"});
    let answer = server.client().request("POST", "/v1/purchases", Some(&purchase));
    assert_eq!(answer.status, 202, "{answer:?}");
    let (mut depleted, mut stored, mut changed) = (None, None, None);
    while depleted.is_none() || stored.is_none() || changed.is_none() {
        let (event, data) = socket.event();
        match (event.as_str(), data["topic"].as_str().unwrap()) {
            ("StockDepleted", "operators") => depleted = Some(data),
            ("PurchaseStored", "purchases") => stored = Some(data),
            ("QueueChanged", "queue:PurchaseQueue") => changed = Some(data),
            _ => panic!("{data}"),
        }
    }
    assert_eq!(stored.unwrap()["purchaseId"], answer.body["id"]);
    assert_eq!(changed.unwrap()["sinceStart"]["processed"], 1);
    let said = socket.ask(&json!({"action": "unsubscribe", "topic": "operators"}));
    assert_eq!(said, json!({"type": "unsubscribed", "topic": "operators"}));
}

#[test]
fn more_streams_than_the_server_takes_on_are_refused_and_others_go_on() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--max-streams", "3"]);
    let mut held: Vec<_> = (0..3).map(|_| Reader::open(&server, "topic=operators", None)).collect();
    assert_eq!(Reader::try_open(&server, "topic=operators", None).err(), Some(503));
    assert_eq!(server.get("/health").status, 200);
    held.pop();
    super::harness::eventually("there is room again", Duration::from_secs(20), || {
        Reader::try_open(&server, "topic=operators", None).ok().map(drop)
    });

    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--max-streams-per-caller", "2"]);
    let _held: Vec<_> = (0..2).map(|_| Reader::open(&server, "topic=operators", None)).collect();
    assert_eq!(Reader::try_open(&server, "topic=operators", None).err(), Some(429));
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let refused = |query: &str| {
        let answer = server.get(&format!("/v1/feed{query}"));
        (answer.status, answer.code().to_owned())
    };
    assert_eq!(refused(""), (400, "invalid_request".into()));
    assert_eq!(refused("?topic=nonsense"), (400, "invalid_topic".into()));
    assert_eq!(refused("?topic=queue:None"), (404, "queue_not_found".into()));
    assert_eq!(refused("?topic=order:0ujtsYcgvSTl8PAuAdqWYSMnLOv"), (404, "order_not_found".into()));
    assert_eq!(refused("?topic=operators&after=-1"), (400, "invalid_request".into()));
    assert_eq!(Reader::try_open(&server, "topic=operators\r\nlast-event-id: x\r\nx:", None).err(), Some(400));
}

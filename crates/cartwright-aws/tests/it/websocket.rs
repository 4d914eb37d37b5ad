//! WebSockets of API Gateway: events come, and what is said on them goes out by its management API.

use std::time::Duration;

use cartwright::access::Access;
use cartwright::events::{Queue, handle};
use cartwright::store::{Partition, Store, Table};
use cartwright_aws::websocket::{SocketEvent, Sockets, WebSocket};
use serde_json::{Value, json};

use crate::shop::Shop;

const ENDPOINT: &str = "https://sockets.test/dev";

struct Setting {
    shop: Shop,
    socket: WebSocket,
}

impl Setting {
    fn new() -> Self {
        Setting::of(Shop::new())
    }

    fn of(shop: Shop) -> Self {
        let sockets = Sockets::new(&shop.aws.config(), Some(ENDPOINT));
        shop.app.tell_by(std::sync::Arc::new(sockets.clone()));
        let socket = WebSocket::new(shop.app.clone(), sockets);
        Setting { shop, socket }
    }

    async fn event(&self, kind: &str, id: &str, body: Option<Value>) {
        let context = json!({"eventType": kind, "connectionId": id, "routeKey": "$default", "stage": "dev"});
        let event =
            json!({"requestContext": context, "body": body.map(|body| body.to_string()), "isBase64Encoded": false});
        let event: SocketEvent = serde_json::from_value(event).unwrap();
        let answer = self.socket.answer(event, Duration::from_secs(20)).await.unwrap();
        assert_eq!(serde_json::to_value(answer).unwrap(), json!({"statusCode": 200}));
    }

    async fn say(&self, id: &str, message: Value) {
        self.event("MESSAGE", id, Some(message)).await;
    }

    /// What was said on a socket.
    fn heard(&self, id: &str) -> Vec<Value> {
        self.shop.aws.calls(&format!("POST /dev/@connections/{id}"))
    }

    /// An order of this customer takes a step.
    async fn step(&self, n: u32, event: &str, status: &str) {
        let detail = json!({"orderId": "0ujtsYcgvSTl8PAuAdqWYSMnLOv", "customer": "ann", "status": status, "lines": [],
            "total": {"amount": 100, "currency": "USD"}});
        let event = json!({"id": uuid::Uuid::from_u128(u128::from(n)), "source": "cartwright.ordering", "detail-type": event,
            "time": "2026-01-02T03:04:05Z", "detail": detail});
        let event = serde_json::from_value(event).unwrap();
        handle(&self.shop.app, Queue::NotificationQueue, &event).await.unwrap();
    }

    async fn documents(&self, partition: &str) -> usize {
        let range = Partition::new(Table::Notifications, partition).all();
        self.shop.sqlite.list(&range, None, 100).await.unwrap().docs.len()
    }
}

#[tokio::test]
async fn a_socket_hears_what_was_what_is_and_nothing_after_it_left() {
    let setting = Setting::new();
    setting.step(1, "OrderPlaced", "PLACED").await;
    setting.event("CONNECT", "a=", None).await;
    setting.say("a=", json!({"action": "ping"})).await;
    setting.say("a=", json!({"action": "subscribe", "topic": "customer:Ann", "after": 0})).await;
    setting.step(2, "OrderConfirmed", "CONFIRMED").await;
    setting.step(2, "OrderConfirmed", "CONFIRMED").await;
    let heard = setting.heard("a=");
    let kinds: Vec<_> =
        heard.iter().map(|heard| (heard["type"].as_str().unwrap(), heard["sequence"].as_u64())).collect();
    // A message that comes twice is told twice, with the same number.
    let expected = [("pong", None), ("subscribed", None), ("event", Some(1)), ("event", Some(2)), ("event", Some(2))];
    assert_eq!(kinds, expected);
    assert_eq!((&heard[3]["topic"], &heard[3]["event"]), (&json!("customer:Ann"), &json!("OrderConfirmed")));
    setting.say("a=", json!({"action": "unsubscribe", "topic": "customer:ann"})).await;
    setting.step(3, "OrderPacked", "PACKED").await;
    assert_eq!(setting.heard("a=").len(), 6, "only that it left");
    setting.event("DISCONNECT", "a=", None).await;
    assert_eq!((setting.documents("CONNECTION#a=").await, setting.documents("LISTENERS#customer:ann").await), (0, 0));
}

#[tokio::test]
async fn a_socket_that_is_gone_is_forgotten_with_all_it_listened_to_and_others_hear() {
    let setting = Setting::new();
    for id in ["gone", "here"] {
        setting.event("CONNECT", id, None).await;
        for topic in ["customer:ann", "operators"] {
            setting.say(id, json!({"action": "subscribe", "topic": topic})).await;
        }
    }
    setting.shop.aws.answer_next(
        "POST /dev/@connections/gone",
        410,
        json!({"__type": "GoneException", "message": "gone"}),
    );
    setting.step(1, "OrderPlaced", "PLACED").await;
    assert_eq!(setting.heard("here").last().unwrap()["event"], "OrderPlaced");
    assert_eq!((setting.documents("CONNECTION#gone").await, setting.documents("LISTENERS#operators").await), (0, 1));
    setting.shop.aws.answer_next("POST /dev/@connections/here", 500, json!({"message": "not now"}));
    setting.step(2, "OrderConfirmed", "CONFIRMED").await;
    setting.step(3, "OrderPacked", "PACKED").await;
    assert_eq!(
        setting.heard("here").last().unwrap()["event"],
        "OrderPacked",
        "one that could not be told once is told on"
    );
}

#[tokio::test]
async fn a_socket_on_which_three_credentials_were_no_good_is_closed_and_forgotten() {
    let setting = Setting::of(Shop::with(Access::required()));
    setting.event("CONNECT", "x", None).await;
    let closed = || setting.shop.aws.calls("DELETE /dev/@connections/x").len();
    for _ in 0..3 {
        assert_eq!((closed(), setting.documents("CONNECTION#x").await), (0, 1));
        setting.say("x", json!({"action": "authenticate", "token": "nonsense"})).await;
    }
    assert!(setting.heard("x").iter().all(|heard| heard["code"] == "unauthenticated"), "{:?}", setting.heard("x"));
    assert_eq!((setting.heard("x").len(), closed(), setting.documents("CONNECTION#x").await), (3, 1, 0));
}

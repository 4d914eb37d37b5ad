//! An order's whole life on the deployed stack, as those outside hear of it: a client with a WebSocket, and a queue that is
//! subscribed to the topic of customers.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::Outcome;
use crate::emulator::{Emulator, was_interrupted};

/// Longest wait for the next thing that is heard: the emulator is slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// What happens to an order, and what has to be done for it.
const LIFE: [(&str, Option<&str>); 5] = [
    ("OrderPlaced", None),
    ("OrderConfirmed", None),
    ("OrderPacked", Some("PACKED")),
    ("OrderShipped", Some("SHIPPED")),
    ("OrderDelivered", Some("DELIVERED")),
];

/// Proves that both hear of every step, and that a client that comes again goes on where it was. `key` is that of an admin.
pub(crate) fn prove(emulator: &Emulator, stack: &str, key: &str) -> Outcome {
    let queue = subscribe_queue(emulator, stack)?;
    let shop = Shop { url: emulator.api_url(stack, "dev")?, key };
    let url = emulator.socket_url(&format!("{stack}-sockets"), "dev")?;
    let user = "live-feed";
    let mut socket = Socket::open(&url)?;
    socket.ask(&json!({"action": "dance"}), "error")?;
    socket.ask(&json!({"action": "ping"}), "pong")?;
    let topic = json!({"action": "subscribe", "topic": format!("customer:{user}")});
    socket.ask(&topic, "error").map_err(|why| format!("who has not said who they are: {why}"))?;
    let authenticate = json!({"action": "authenticate", "token": key});
    socket.ask(&authenticate, "authenticated")?;
    socket.ask(&topic, "subscribed")?;
    let order = shop.order(user)?;
    let mut last = 0;
    for (at, (event, by_hand)) in LIFE.into_iter().enumerate() {
        if let Some(to) = by_hand {
            shop.post(&format!("/v1/orders/{order}/transitions"), &json!({"to": to}))?;
        }
        if at == 3 {
            // It goes away while something happens, and comes again after what it has seen.
            socket.close();
            socket = Socket::open(&url)?;
            socket.ask(&authenticate, "authenticated")?;
            let topic = json!({"action": "subscribe", "topic": format!("order:{order}"), "after": last});
            socket.ask(&topic, "subscribed")?;
        }
        let heard = socket.event(last)?;
        if heard["event"] != event || heard["facts"]["orderId"] != order.as_str() {
            return Err(format!("expected {event} of {order}, heard {heard}"));
        }
        last = heard["sequence"].as_u64().unwrap_or(0);
    }
    if last != LIFE.len() as u64 {
        return Err(format!("the last of {} entries has the number {last}", LIFE.len()));
    }
    socket.close();
    is_published(emulator, &queue, &order)
}

/// A client of the deployed shop.
struct Shop<'a> {
    url: String,
    key: &'a str,
}

impl Shop<'_> {
    fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        let failed = |why: &dyn std::fmt::Display| format!("POST {path}: {why}");
        let request = ureq::post(format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.key));
        let mut answer = request.send(body.to_string()).map_err(|error| failed(&error))?;
        let text = answer.body_mut().read_to_string().map_err(|error| failed(&error))?;
        serde_json::from_str(&text).map_err(|error| failed(&format!("{error}: {text}")))
    }

    /// Checks out one piece of a new product. The order's id.
    fn order(&self, user: &str) -> Outcome<String> {
        let product = json!({"name": "Live", "price": {"amount": 100, "currency": "USD"}, "stock": 5});
        let product = self.post("/v1/products", &product)?["id"].clone();
        let line = json!({"productId": product, "quantity": 1});
        self.post(&format!("/v1/baskets/{user}/items"), &line)?;
        let accepted = self.post(&format!("/v1/baskets/{user}/checkout"), &json!({}))?;
        accepted["orderId"].as_str().map(str::to_owned).ok_or_else(|| format!("no order: {accepted}"))
    }
}

/// A client with a WebSocket.
struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn open(url: &str) -> Outcome<Socket> {
        let failed = |why: &dyn std::fmt::Display| format!("{url}: {why}");
        let address = url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
        let stream = TcpStream::connect(address).map_err(|error| failed(&error))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| failed(&error))?;
        tungstenite::client(url, stream).map(|(socket, _)| Socket(socket)).map_err(|error| failed(&error))
    }

    fn hear(&mut self) -> Outcome<Value> {
        loop {
            match self.0.read().map_err(|error| format!("nothing is heard on the socket: {error}"))? {
                Message::Text(text) => return serde_json::from_str(&text).map_err(|error| format!("{error}: {text}")),
                Message::Close(_) => return Err("the socket was closed".to_owned()),
                _ => {}
            }
        }
    }

    /// Says something, which must be answered so.
    fn ask(&mut self, message: &Value, answer: &str) -> Outcome {
        self.0.send(Message::text(message.to_string())).map_err(|error| error.to_string())?;
        let heard = self.hear()?;
        if heard["type"] == answer { Ok(()) } else { Err(format!("{message} was answered with {heard}")) }
    }

    /// The next event behind the entry with that number; what was heard before may be heard again here.
    fn event(&mut self, after: u64) -> Outcome<Value> {
        loop {
            let heard = self.hear()?;
            if heard["type"] != "event" {
                return Err(format!("expected an event, heard {heard}"));
            }
            if heard["sequence"].as_u64() > Some(after) {
                return Ok(heard);
            }
        }
    }

    fn close(mut self) {
        let _ = self.0.close(None);
        while self.0.read().is_ok() {}
    }
}

/// Makes a queue and subscribes it to the topic of customers. Its URL.
fn subscribe_queue(emulator: &Emulator, stack: &str) -> Outcome<String> {
    let account = "us-east-1:000000000000";
    let (topic, queue) =
        (format!("arn:aws:sns:{account}:{stack}-customers"), format!("arn:aws:sqs:{account}:of-customers"));
    // A topic may put into a queue what the queue's owner lets it.
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage", "Resource": queue, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}]});
    let request = json!({"QueueName": "of-customers", "Attributes": {"Policy": policy.to_string()}});
    let made = emulator.call("sqs", "AmazonSQS.CreateQueue", &request)?;
    let url = made["QueueUrl"].as_str().ok_or_else(|| format!("no queue was made: {made}"))?;
    let form = format!("Action=Subscribe&Version=2010-03-31&Protocol=sqs&TopicArn={topic}&Endpoint={queue}");
    emulator.form("sns", &form)?;
    Ok(url.to_owned())
}

/// Whether every step of an order arrives in the queue.
fn is_published(emulator: &Emulator, queue: &str, order: &str) -> Outcome {
    let (deadline, mut heard) = (Instant::now() + PATIENCE, Vec::new());
    while heard.len() < LIFE.len() {
        let request = json!({"QueueUrl": queue, "MaxNumberOfMessages": 10});
        let page = emulator.call("sqs", "AmazonSQS.ReceiveMessage", &request)?;
        for message in page["Messages"].as_array().into_iter().flatten() {
            let parse =
                |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap_or_default()).unwrap_or_default();
            let notification = parse(&parse(&message["Body"])["Message"]);
            let event = notification["event"].as_str().unwrap_or_default().to_owned();
            if notification["facts"]["orderId"] == order && !heard.contains(&event) {
                heard.push(event);
            }
            let request = json!({"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]});
            emulator.call("sqs", "AmazonSQS.DeleteMessage", &request)?;
        }
        if Instant::now() > deadline || was_interrupted() {
            return Err(format!("of the life of {order} only this was published: {heard:?}"));
        }
        sleep(PAUSE);
    }
    match LIFE.iter().find(|(event, _)| !heard.iter().any(|heard| heard == event)) {
        None => Ok(()),
        Some((event, _)) => Err(format!("{event} was not published: {heard:?}")),
    }
}

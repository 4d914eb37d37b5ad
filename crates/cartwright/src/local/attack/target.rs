//! The shop under attack: requests, patience, and everything that was made and is to be removed again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::client::Client;
use super::super::shop::{AnyError, refusal};
use crate::system::SystemIds;

/// Pause between two looks at what is awaited, and before asking again what was refused for a moment.
const PAUSE: Duration = Duration::from_millis(150);

/// What a race ends with: nothing, when everything held.
pub(super) type Outcome<T = ()> = Result<T, Trouble>;

/// Why a race did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The shop broke a promise.
    Broken(String),
    /// The race could not be run, or not to its end.
    NotRun(String),
}

/// An error unless the condition holds.
macro_rules! must_hold {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err($crate::local::attack::target::Trouble::Broken(format!($($message)*)));
        }
    };
}
pub(super) use must_hold;

/// A shop.
pub(super) struct Target {
    url: String,
    client: Client,
    patience: Duration,
    /// Requests at the same moment.
    pub(super) racers: usize,
    /// Sets the names of this run apart from those of all others.
    run: String,
    made: Mutex<Made>,
}

/// What was made.
#[derive(Default)]
struct Made {
    products: Vec<String>,
    baskets: Vec<String>,
    customers: Vec<String>,
    orders: Vec<String>,
}

/// What could not be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Left {
    /// Orders: the API has no way to remove them.
    pub(super) orders: usize,
    /// Products, baskets and customers whose removal failed.
    pub(super) others: usize,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The text of a member of the body.
    pub(super) fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_default().to_owned()
    }

    /// The body of an answer that must have this status for the race to go on.
    pub(super) fn expect(self, status: u16) -> Outcome<Value> {
        if self.status == status {
            return Ok(self.body);
        }
        Err(Trouble::NotRun(format!("expected {status}, was answered {} {}", self.status, self.body)))
    }
}

/// One round of one race: names of its own.
pub(super) struct Arena(String);

impl Arena {
    /// A name that no other round has.
    pub(super) fn name(&self, of: &str) -> String {
        format!("{of}-{}", self.0)
    }
}

impl Target {
    pub(super) fn new(url: String, key: Option<String>, racers: usize, patience: Duration) -> Result<Target, String> {
        let run = format!("{:08x}", crate::app::Ids::random(&SystemIds) >> 32);
        let client = Client::new(&url, key)?;
        Ok(Target { url, client, patience, racers, run, made: Mutex::default() })
    }

    /// The names of a round.
    pub(super) fn arena(&self, race: &str, round: u16) -> Arena {
        let race: String = race.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        Arena(format!("{}-{race}{round}", self.run))
    }

    /// Whether there is a shop that lets this key do what the races need.
    pub(super) async fn greet(&self) -> Result<(), AnyError> {
        let answer = self.send(&Method::GET, "/v1/orders?limit=1", None, &Value::Null).await;
        let answer = answer.map_err(|why| format!("no shop answers at {}: {why}", self.url))?;
        if answer.is_success() {
            return Ok(());
        }
        if matches!(answer.status, 401 | 403) {
            let message =
                "this shop wants an API key with the role staff or admin; name it with --key or CARTWRIGHT_KEY";
            return Err(message.into());
        }
        Err(refusal(answer.status, answer.body.to_string().as_bytes()))
    }

    async fn send(&self, method: &Method, path: &str, key: Option<&str>, body: &Value) -> Result<Answer, String> {
        let json = if body.is_null() { String::new() } else { body.to_string() };
        let (status, body) = self.client.send(method, path, key, &json).await?;
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }

    /// Asks, again when the shop is busy. A request that was refused so was not carried out.
    async fn ask(&self, method: Method, path: &str, key: Option<&str>, body: &Value) -> Outcome<Answer> {
        let deadline = Instant::now() + self.patience;
        loop {
            let answer = self.send(&method, path, key, body).await.map_err(Trouble::NotRun)?;
            let is_busy = answer.status == StatusCode::TOO_MANY_REQUESTS.as_u16() || answer.code() == "overloaded";
            if !is_busy || Instant::now() > deadline {
                must_hold!(answer.status != 500, "{method} {path} is answered {} {}", answer.status, answer.body);
                return Ok(answer);
            }
            sleep(PAUSE).await;
        }
    }

    pub(super) async fn get(&self, path: &str) -> Outcome<Answer> {
        self.ask(Method::GET, path, None, &Value::Null).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Outcome<Answer> {
        self.ask(Method::POST, path, None, &body).await
    }

    /// A request that is to be carried out once under its key.
    pub(super) async fn post_once(&self, path: &str, key: &str, body: Value) -> Outcome<Answer> {
        self.ask(Method::POST, path, Some(key), &body).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Outcome<Answer> {
        self.ask(Method::PUT, path, None, &body).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Outcome<Answer> {
        self.ask(Method::PATCH, path, None, &body).await
    }

    pub(super) async fn delete(&self, path: &str) -> Outcome<Answer> {
        self.ask(Method::DELETE, path, None, &Value::Null).await
    }

    /// Does the same for every racer, at the same moment.
    pub(super) async fn at_once<F: Future<Output = Outcome<T>>, T>(&self, go: impl Fn(usize) -> F) -> Outcome<Vec<T>> {
        join_all((0..self.racers).map(go)).await.into_iter().collect()
    }

    fn note(&self, note: impl FnOnce(&mut Made)) {
        note(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A product of this round at 10.00, with stock. Its id.
    pub(super) async fn product(&self, arena: &Arena, stock: i64) -> Outcome<String> {
        let category = arena.name("attack");
        let body = json!({"name": category, "category": category, "price": self.price(1_000).await?, "stock": stock});
        let made = self.post("/v1/products", body).await?.expect(201)?;
        let id = made["id"].as_str().unwrap_or_default().to_owned();
        self.note(|made| made.products.push(id.clone()));
        Ok(id)
    }

    /// An amount in the currency of the shop, which its error tells when it is another.
    pub(super) async fn price(&self, amount: i64) -> Outcome<Value> {
        let listed = self.get("/v1/products?limit=1").await?.expect(200)?;
        let currency = listed["items"][0]["price"]["currency"].as_str().unwrap_or("USD");
        Ok(json!({"amount": amount, "currency": currency}))
    }

    /// Puts so many of a product into a basket.
    pub(super) async fn fill(&self, user: &str, product: &str, quantity: usize) -> Outcome<Answer> {
        self.note(|made| made.baskets.push(user.to_owned()));
        self.post(&format!("/v1/baskets/{user}/items"), json!({"productId": product, "quantity": quantity})).await
    }

    /// Checks a basket out.
    pub(super) async fn check_out(&self, user: &str, body: Value) -> Outcome<Answer> {
        let answer = self.post(&format!("/v1/baskets/{user}/checkout"), body).await?;
        if answer.is_success() {
            self.note(|made| made.orders.push(answer.text("orderId")));
        }
        Ok(answer)
    }

    /// A customer of this name.
    pub(super) async fn customer(&self, username: &str, email: &str) -> Outcome<Answer> {
        let body = json!({"username": username, "email": email, "name": "Attack"});
        let answer = self.post("/v1/customers", body).await?;
        if answer.is_success() {
            self.note(|made| made.customers.push(username.to_owned()));
        }
        Ok(answer)
    }

    /// A confirmed order of so many of a product.
    pub(super) async fn order(&self, user: &str, product: &str, quantity: usize) -> Outcome<String> {
        self.fill(user, product, quantity).await?.expect(200)?;
        let accepted = self.check_out(user, json!({})).await?.expect(202)?;
        let id = accepted["orderId"].as_str().unwrap_or_default().to_owned();
        let order = self.decided(&id).await?;
        must_hold!(order["status"] == "CONFIRMED", "an order of what is there is {order}");
        Ok(id)
    }

    /// Moves an order.
    pub(super) async fn transition(&self, order: &str, to: &str) -> Outcome<Answer> {
        self.post(&format!("/v1/orders/{order}/transitions"), json!({"to": to})).await
    }

    /// Waits until `look` finds what it looks for.
    pub(super) async fn wait<T, F: Future<Output = Outcome<Option<T>>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
    ) -> Outcome<T> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            must_hold!(Instant::now() < deadline, "not within {} s: {what}", self.patience.as_secs());
            sleep(PAUSE).await;
        }
    }

    /// An order, once it was decided whether there is stock for it.
    pub(super) async fn decided(&self, id: &str) -> Outcome<Value> {
        let path = format!("/v1/orders/{id}");
        self.wait(&format!("the order {id} is decided"), || async {
            let order = self.get(&path).await?.expect(200)?;
            Ok((order["status"] != "PLACED").then_some(order))
        })
        .await
    }

    /// All orders of a user, once all of them are decided.
    pub(super) async fn orders_of(&self, user: &str, at_least: usize) -> Outcome<Vec<Value>> {
        let path = format!("/v1/orders?customer={user}&limit=100");
        self.wait(&format!("the orders of {user} are decided"), || async {
            let listed = self.get(&path).await?.expect(200)?;
            let orders = listed["items"].as_array().cloned().unwrap_or_default();
            let decided = orders.len() >= at_least && orders.iter().all(|order| order["status"] != "PLACED");
            Ok(decided.then_some(orders))
        })
        .await
    }

    /// Waits until the stock of a product is this: on hand, reserved, available; and its ledger adds up to it.
    pub(super) async fn stock_becomes(&self, product: &str, on_hand: i64, reserved: i64) -> Outcome {
        let expected = json!({"onHand": on_hand, "reserved": reserved, "available": on_hand - reserved});
        let what = format!("the stock and the ledger of {product} are {expected}");
        self.wait(&what, || async {
            let stock = self.get(&format!("/v1/products/{product}/stock")).await?.expect(200)?;
            let ledger = self.get(&format!("/v1/products/{product}/stock/movements?limit=100")).await?.expect(200)?;
            let lines = ledger["items"].as_array().cloned().unwrap_or_default();
            let sum = |name: &str| lines.iter().filter_map(|line| line[name].as_i64()).sum::<i64>();
            let adds_up = sum("onHand") == on_hand && sum("available") == on_hand - reserved;
            Ok((stock == expected && adds_up).then_some(()))
        })
        .await
    }

    /// Removes what was made, as far as the API allows.
    pub(super) async fn clean_up(&self) -> Left {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        let mut left = Left { orders: made.orders.len(), others: 0 };
        for order in &made.orders {
            let _ = self.transition(order, "CANCELLED").await;
        }
        let paths = made.baskets.iter().map(|user| format!("/v1/baskets/{user}"));
        let paths = paths.chain(made.customers.iter().map(|name| format!("/v1/customers/{name}")));
        let paths: Vec<String> = paths.chain(made.products.iter().map(|id| format!("/v1/products/{id}"))).collect();
        for path in paths {
            let gone = self.delete(&path).await.is_ok_and(|answer| answer.is_success() || answer.status == 404);
            left.others += usize::from(!gone);
        }
        left
    }
}

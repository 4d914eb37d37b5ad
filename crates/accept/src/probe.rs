//! What a check works with: requests that must be answered so, data of its own, and patience.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Client};

/// A check's outcome; the error says what was expected and what came.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Longest wait for what happens behind a queue.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A server under test, and a name that no earlier run has used.
pub(crate) struct Probe {
    pub(crate) client: Client,
    pub(crate) run: String,
}

/// Fails the check unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(format!($($message)*));
        }
    };
}
pub(crate) use ensure;

impl Answer {
    /// The body, if the status is this one.
    pub(crate) fn expect(self, status: u16) -> Outcome<Value> {
        ensure!(self.status == status, "expected {status}, got {}: {}", self.status, self.text);
        Ok(self.body)
    }

    /// Checks that this is a problem of RFC 9457 with this status and code.
    pub(crate) fn problem(self, status: u16, code: &str) -> Outcome<Value> {
        ensure!(self.status == status, "expected {status} {code}, got {}: {}", self.status, self.text);
        ensure!(self.header("content-type") == Some("application/problem+json"), "not a problem: {:?}", self.headers);
        ensure!(self.body["code"] == code, "expected the code {code}: {}", self.text);
        ensure!(self.body["title"].is_string() && self.body["status"] == status, "not a whole problem: {}", self.text);
        Ok(self.body)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// Checks that two values are the same.
pub(crate) fn same(what: &str, found: &Value, expected: &Value) -> Outcome {
    ensure!(found == expected, "{what}: expected {expected}, found {found}");
    Ok(())
}

/// The text of a member.
pub(crate) fn text(value: &Value, name: &str) -> Outcome<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| format!("no text {name:?} in {value}"))
}

impl Probe {
    /// A name of this run.
    pub(crate) fn name(&self, stem: &str) -> String {
        format!("{stem}-{}", self.run)
    }

    pub(crate) fn get(&self, path: &str) -> Outcome<Answer> {
        self.client.send("GET", path, &[], None)
    }

    pub(crate) fn delete(&self, path: &str) -> Outcome<Answer> {
        self.client.send("DELETE", path, &[], None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Outcome<Answer> {
        self.client.send("POST", path, &[], Some(&body.to_string()))
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Outcome<Answer> {
        self.client.send("PUT", path, &[], Some(&body.to_string()))
    }

    /// Asks again and again until `done` finds what it looks for.
    pub(crate) fn wait<T>(&self, what: &str, done: impl Fn() -> Outcome<Option<T>>) -> Outcome<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = done()? {
                return Ok(found);
            }
            ensure!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
            std::thread::sleep(PAUSE);
        }
    }

    /// A product with this price in cents and this stock. Its id.
    pub(crate) fn product(&self, price: i64, stock: i64) -> Outcome<String> {
        let body = json!({"name": self.name("product"), "category": self.name("category"),
            "price": {"amount": price, "currency": "USD"}, "stock": stock});
        text(&self.post("/v1/products", &body)?.expect(201)?, "id")
    }

    /// An order of `user` for so many of a product, accepted but not yet decided. Its id.
    pub(crate) fn order(&self, user: &str, product: &str, quantity: u32) -> Outcome<String> {
        let line = json!({"productId": product, "quantity": quantity});
        self.post(&format!("/v1/baskets/{user}/items"), &line)?.expect(200)?;
        text(&self.post(&format!("/v1/baskets/{user}/checkout"), &json!({}))?.expect(202)?, "orderId")
    }

    /// Waits until an order is in this status.
    pub(crate) fn settles(&self, order: &str, status: &str) -> Outcome<Value> {
        self.wait(&format!("order {order} {status}"), || {
            let found = self.get(&format!("/v1/orders/{order}"))?.expect(200)?;
            Ok((found["status"] == status).then_some(found))
        })
    }
}

//! What a check works with: requests that must be answered so, data of its own, and patience.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Client};

/// A check's outcome; the error says what was expected and what came.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Pause between the first two looks at what happens behind a queue; it grows by a half each time, so that those who wait
/// do not keep a slow server from its work.
const FIRST_PAUSE: Duration = Duration::from_millis(30);
/// Longest pause between two looks.
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// Most pages of a list that are looked through: a server may hold more than a check can read.
const MAX_PAGES: usize = 50;

/// A server under test, as one check sees it.
pub(crate) struct Probe {
    pub(crate) client: Arc<Client>,
    /// Where events are put.
    pub(crate) events: Arc<Client>,
    /// Names that no other check and no earlier run has used end in this.
    pub(crate) run: String,
    /// Longest wait for what happens behind a queue.
    pub(crate) patience: Duration,
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
    /// The body, if the status is this one and the body is JSON or empty.
    pub(crate) fn expect(self, status: u16) -> Outcome<Value> {
        ensure!(self.status == status, "{}: expected {status}, got {}: {}", self.request, self.status, self.text);
        let is_json = self.header("content-type").is_some_and(|of_type| of_type.starts_with("application/json"));
        ensure!(self.text.is_empty() || is_json, "{}: not called JSON: {:?}", self.request, self.headers);
        Ok(self.body)
    }

    /// Checks that this is a problem of RFC 9457 with this status and code, in whole.
    pub(crate) fn problem(self, status: u16, code: &str) -> Outcome<Value> {
        let (request, text) = (&self.request, &self.text);
        ensure!(self.status == status, "{request}: expected {status} {code}, got {}: {text}", self.status);
        let content_type = self.header("content-type").unwrap_or_default();
        ensure!(content_type.starts_with("application/problem+json"), "{request}: not a problem: {:?}", self.headers);
        ensure!(self.body["code"] == code, "{request}: expected the code {code}: {text}");
        let has_text = |name: &str| self.body[name].as_str().is_some_and(|text| !text.is_empty());
        let is_whole = self.body["status"] == status && ["title", "detail", "requestId"].into_iter().all(has_text);
        ensure!(is_whole, "{request}: not a whole problem: {text}");
        ensure!(!text.contains("panicked") && !text.contains(".rs:"), "{request}: shows its inside: {text}");
        for field in self.body["errors"].as_array().into_iter().flatten() {
            ensure!(field["pointer"].is_string() && field["detail"].is_string(), "{request}: not a bad field: {field}");
        }
        Ok(self.body)
    }

    /// Checks that this is a 400 which names exactly these fields, in any order.
    pub(crate) fn names(self, pointers: &[&str]) -> Outcome {
        let request = self.request.clone();
        let problem = self.problem(400, "invalid_request")?;
        let mut named: Vec<&str> = list(&problem["errors"])?.iter().filter_map(|bad| bad["pointer"].as_str()).collect();
        named.sort_unstable();
        let mut expected = pointers.to_vec();
        expected.sort_unstable();
        ensure!(named == expected, "{request}: expected the bad fields {expected:?}: {problem}");
        Ok(())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A header that must be there.
    pub(crate) fn must_have(&self, name: &str) -> Outcome<String> {
        let missing = || format!("{}: no {name}: {} {:?} {}", self.request, self.status, self.headers, self.text);
        self.header(name).map(str::to_owned).ok_or_else(missing)
    }

    /// The path of the next page, from the `Link` header.
    pub(crate) fn next_page(&self) -> Outcome<Option<String>> {
        let Some(link) = self.header("link") else { return Ok(None) };
        let target = link.strip_suffix(">; rel=\"next\"").and_then(|link| link.strip_prefix('<'));
        let path = target.filter(|target| target.starts_with('/'));
        path.map(|path| Some(path.to_owned())).ok_or_else(|| format!("{}: not a Link: {link}", self.request))
    }
}

/// Checks that two values are the same.
pub(crate) fn same(what: &str, found: &Value, expected: &Value) -> Outcome {
    ensure!(found == expected, "{what}: expected {expected}, found {found}");
    Ok(())
}

/// Checks that `found` has everything that `expected` has. Objects may have more members: adding one breaks no client.
pub(crate) fn holds(what: &str, found: &Value, expected: &Value) -> Outcome {
    match differs(found, expected) {
        None => Ok(()),
        Some(at) => Err(format!("{what}: expected {expected}, found {found}; they differ at {at:?}")),
    }
}

/// The pointer to the first difference, if any.
fn differs(found: &Value, expected: &Value) -> Option<String> {
    let deeper = |at: String, pair: (&Value, &Value)| differs(pair.0, pair.1).map(|rest| format!("/{at}{rest}"));
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => expected
            .iter()
            .find_map(|(name, value)| deeper(name.clone(), (found.get(name).unwrap_or(&Value::Null), value))),
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            found.iter().zip(expected).enumerate().find_map(|(at, pair)| deeper(at.to_string(), pair))
        }
        (Value::Number(found), Value::Number(expected)) if found.as_f64() == expected.as_f64() => None,
        _ => (found != expected).then(String::new),
    }
}

/// The text of a member.
pub(crate) fn text(value: &Value, name: &str) -> Outcome<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| format!("no text {name:?} in {value}"))
}

/// The elements of an array.
pub(crate) fn list(value: &Value) -> Outcome<&Vec<Value>> {
    value.as_array().ok_or_else(|| format!("expected an array, found {value}"))
}

/// A member of each element.
pub(crate) fn each(values: &[Value], name: &str) -> Vec<Value> {
    values.iter().map(|value| value[name].clone()).collect()
}

/// An amount of the shop's currency, in cents.
pub(crate) fn usd(cents: i64) -> Value {
    json!({"amount": cents, "currency": "USD"})
}

impl Probe {
    /// A name of this check and run.
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
        self.send("POST", path, &[], body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Outcome<Answer> {
        self.send("PUT", path, &[], body)
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Outcome<Answer> {
        self.send("PATCH", path, &[], body)
    }

    /// A request with headers and a JSON body.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Outcome<Answer> {
        self.client.send(method, path, headers, Some(&body.to_string()))
    }

    /// Asks again and again until `done` finds what it looks for.
    pub(crate) fn wait<T>(&self, what: &str, done: impl Fn() -> Outcome<Option<T>>) -> Outcome<T> {
        let (deadline, mut pause) = (Instant::now() + self.patience, FIRST_PAUSE);
        loop {
            if let Some(found) = done()? {
                return Ok(found);
            }
            ensure!(Instant::now() < deadline, "not within {} s: {what}", self.patience.as_secs());
            thread::sleep(pause);
            pause = (pause * 3 / 2).min(MAX_PAUSE);
        }
    }

    /// Does `what` so many times at the same moment.
    pub(crate) fn at_once<T: Send>(&self, times: usize, what: impl Fn(usize) -> Outcome<T> + Sync) -> Outcome<Vec<T>> {
        let (start, what) = (Barrier::new(times), &what);
        thread::scope(|scope| {
            let run = |at| {
                start.wait();
                what(at)
            };
            let racers: Vec<_> = (0..times).map(|at| scope.spawn(move || run(at))).collect();
            racers.into_iter().map(|racer| racer.join().map_err(|_| "a racer panicked".to_owned())?).collect()
        })
    }

    /// Goes through the pages of a list along their `Link` headers, `most_pages` of them at most, until `see` has seen enough
    /// of the elements. Whether the list came to its end. `member` is where the elements are; nothing for a bare array. A
    /// cursor in the body must be the one in the link.
    fn walk(
        &self,
        path: &str,
        member: &str,
        most_pages: usize,
        mut see: impl FnMut(&[Value]) -> bool,
    ) -> Outcome<bool> {
        let mut next = path.to_owned();
        for _ in 0..most_pages {
            let page = self.get(&next)?;
            let link = page.next_page()?;
            let body = page.expect(200)?;
            let elements = list(if member.is_empty() { &body } else { &body[member] })?;
            if !member.is_empty() {
                let cursor = body["nextCursor"].as_str().map(|cursor| format!("cursor={cursor}"));
                let agree = link.is_some() == cursor.is_some()
                    && link.iter().zip(&cursor).all(|(link, cursor)| link.contains(cursor.as_str()));
                ensure!(agree, "{next}: Link {link:?}, but nextCursor {}", body["nextCursor"]);
            }
            if see(elements) {
                return Ok(false);
            }
            match link {
                Some(link) => next = link,
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// The elements of all pages of a list that has few.
    pub(crate) fn all(&self, path: &str, member: &str) -> Outcome<Vec<Value>> {
        let mut all = Vec::new();
        let complete = self.walk(path, member, MAX_PAGES, |elements| {
            all.extend_from_slice(elements);
            false
        })?;
        ensure!(complete, "{path}: more than {MAX_PAGES} pages");
        Ok(all)
    }

    /// The first element that `is_it`, looked for in a list that may be long; and whether the whole list was looked through.
    pub(crate) fn find(
        &self,
        path: &str,
        member: &str,
        is_it: impl Fn(&Value) -> bool,
    ) -> Outcome<(Option<Value>, bool)> {
        let mut found = None;
        let complete = self.walk(path, member, MAX_PAGES, |elements| {
            found = elements.iter().find(|element| is_it(element)).cloned();
            found.is_some()
        })?;
        Ok((found, complete))
    }

    /// What was made a moment ago, as it is listed; nothing when the list is too long to look through.
    pub(crate) fn listed(&self, path: &str, member: &str, is_it: impl Fn(&Value) -> bool) -> Outcome<Option<Value>> {
        let (found, complete) = self.find(path, member, is_it)?;
        ensure!(found.is_some() || !complete, "{path}: what was made a moment ago is not listed");
        Ok(found)
    }

    /// A product with this price in cents and this stock. Its id.
    pub(crate) fn product(&self, price: i64, stock: i64) -> Outcome<String> {
        let body = json!({"name": self.name("product"), "category": self.name("category"), "price": usd(price),
            "stock": stock});
        text(&self.post("/v1/products", &body)?.expect(201)?, "id")
    }

    /// Puts so many of a product into the basket of `user`.
    pub(crate) fn fill(&self, user: &str, product: &str, quantity: u32) -> Outcome<Value> {
        let line = json!({"productId": product, "quantity": quantity});
        self.post(&format!("/v1/baskets/{user}/items"), &line)?.expect(200)
    }

    /// Checks the basket of `user` out. The order's id.
    pub(crate) fn checkout(&self, user: &str) -> Outcome<String> {
        text(&self.post(&format!("/v1/baskets/{user}/checkout"), &json!({}))?.expect(202)?, "orderId")
    }

    /// An order of `user` for so many of a product, accepted but not yet decided. Its id.
    pub(crate) fn order(&self, user: &str, product: &str, quantity: u32) -> Outcome<String> {
        self.fill(user, product, quantity)?;
        self.checkout(user)
    }

    /// Waits until an order is in this status.
    pub(crate) fn settles(&self, order: &str, status: &str) -> Outcome<Value> {
        self.wait(&format!("order {order} {status}"), || {
            let found = self.get(&format!("/v1/orders/{order}"))?.expect(200)?;
            Ok((found["status"] == status).then_some(found))
        })
    }

    /// Waits until an order's stock is decided. The order.
    pub(crate) fn decided(&self, order: &str) -> Outcome<Value> {
        self.wait(&format!("a decision about the stock of order {order}"), || {
            let found = self.get(&format!("/v1/orders/{order}"))?.expect(200)?;
            Ok((found["status"] != "PLACED").then_some(found))
        })
    }

    /// Moves an order to another status.
    pub(crate) fn transition(&self, order: &str, to: &str) -> Outcome<Answer> {
        self.post(&format!("/v1/orders/{order}/transitions"), &json!({"to": to}))
    }

    /// Waits until on hand, reserved and available are these.
    pub(crate) fn stock_becomes(&self, product: &str, on_hand: i64, reserved: i64, available: i64) -> Outcome {
        let expected = json!({"onHand": on_hand, "reserved": reserved, "available": available});
        self.wait(&format!("the stock {expected}"), || {
            let stock = self.get(&format!("/v1/products/{product}/stock"))?.expect(200)?;
            Ok(differs(&stock, &expected).is_none().then_some(()))
        })
    }

    /// Waits until the ledger of a product has movements of these kinds, in any order, and its sums are the stock.
    pub(crate) fn ledger_becomes(&self, product: &str, kinds: &[&str], on_hand: i64, available: i64) -> Outcome {
        let path = format!("/v1/products/{product}/stock/movements?limit=100");
        let what = format!("a ledger of {kinds:?} that adds up to {on_hand} on hand and {available} available");
        let mut expected = kinds.to_vec();
        expected.sort_unstable();
        self.wait(&what, || {
            let lines = self.all(&path, "items")?;
            let sum = |name: &str| lines.iter().filter_map(|line| line[name].as_i64()).sum::<i64>();
            let mut found: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
            found.sort_unstable();
            Ok((found == expected && sum("onHand") == on_hand && sum("available") == available).then_some(()))
        })
    }

    /// A customer of this name. The user name.
    pub(crate) fn customer(&self, stem: &str) -> Outcome<String> {
        let name = self.name(stem);
        let body = json!({"username": name, "email": format!("{name}@example.com"), "name": "John Smith"});
        self.post("/v1/customers", &body)?.expect(201)?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_may_be_added_but_not_changed() {
        let found = json!({"a": [1, {"b": 2.50, "more": true}], "more": null});
        assert_eq!(differs(&found, &json!({"a": [1.0, {"b": 2.5}]})), None);
        for (expected, at) in [
            (json!({"a": [1]}), "/a"),
            (json!({"a": [1, {"b": 3}]}), "/a/1/b"),
            (json!({"c": 1}), "/c"),
            (json!([]), ""),
        ] {
            assert_eq!(differs(&found, &expected).as_deref(), Some(at), "{expected}");
        }
    }
}

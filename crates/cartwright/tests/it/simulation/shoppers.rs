//! Customers and staff: what they ask of the shop, and what each answer tells the oracle.

use http::StatusCode;
use serde_json::{Value, json};

use super::oracle::{Oracle, Promise, Who};
use super::plan::Word;

/// Who shops. The last one is no registered customer.
pub const USERS: [&str; 3] = ["ann", "Bob", "cy"];

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    Checkout,
    DirectOrder,
    Movement {
        product: String,
    },
    Basket {
        user: String,
    },
    Transition {
        order: String,
    },
    Erasure {
        user: String,
    },
    NewProduct,
    Nothing,
    /// Another request with a key that was used before.
    ReusedKey,
}

/// Something someone wants done, perhaps several times until they hear that it is.
#[derive(Debug, Clone)]
pub struct Intent {
    pub method: &'static str,
    pub path: String,
    pub body: Value,
    pub key: Option<String>,
    pub about: About,
    /// The answer that said that it is done.
    pub answer: Option<Value>,
    /// Events from outside come in another protocol.
    pub is_event: bool,
}

impl Intent {
    fn new(method: &'static str, path: impl Into<String>, body: Value, about: About) -> Intent {
        Intent { method, path: path.into(), body, key: None, about, answer: None, is_event: false }
    }

    /// Whether it was asked under a key, and nobody knows whether it was done.
    fn is_in_doubt(&self) -> bool {
        self.key.is_some() && self.answer.is_none() && self.about != About::ReusedKey
    }

    pub fn who(&self) -> Who {
        match self.about {
            About::Checkout => Who::Checkout,
            About::DirectOrder => Who::DirectOrder,
            _ => Who::Request,
        }
    }
}

/// What shoppers know of the shop.
#[derive(Default)]
pub struct Known {
    pub products: Vec<String>,
    pub orders: Vec<String>,
    pub intents: Vec<Intent>,
    /// Who put something into their basket last.
    filled: Option<String>,
}

impl Known {
    fn product(&self, word: &mut Word) -> String {
        self.products.get(word.pick(self.products.len())).cloned().unwrap_or_default()
    }

    fn order(&self, word: &mut Word) -> String {
        let at = self.orders.len().saturating_sub(1 + word.pick(self.orders.len()));
        self.orders.get(at).cloned().unwrap_or_else(|| "unknown".to_owned())
    }

    /// What someone asks next: something new, or what they asked before.
    pub fn next_intent(&mut self, mut word: Word, new_order_id: impl FnOnce() -> String) -> usize {
        let number = self.intents.len();
        if number > 4 && word.once_in(5) {
            let recent = number - number.min(12)..number;
            let in_doubt: Vec<usize> = recent.clone().filter(|&at| self.intents[at].is_in_doubt()).collect();
            if !in_doubt.is_empty() && word.pick(3) != 0 {
                return in_doubt[word.pick(in_doubt.len())];
            }
            let at = recent.start + word.pick(recent.len());
            let before = &self.intents[at];
            if let Some(other) = another_under_its_key(before).filter(|_| word.once_in(4)) {
                self.intents.push(other);
                return number;
            }
            return at;
        }
        let mut intent = self.new_intent(&mut word, number, new_order_id);
        if intent.method == "POST" && !intent.is_event && word.pick(4) != 0 {
            intent.key = Some(format!("key-{number}"));
        }
        self.intents.push(intent);
        number
    }

    fn new_intent(&self, word: &mut Word, number: usize, new_order_id: impl FnOnce() -> String) -> Intent {
        let user = USERS[word.pick(USERS.len())];
        let about_basket = || About::Basket { user: user.to_owned() };
        let quantity = 1 + word.pick(3);
        match word.pick(46) {
            0..=11 => {
                let body = json!({"productId": self.product(word), "quantity": quantity});
                Intent::new("POST", format!("/v1/baskets/{user}/items"), body, about_basket())
            }
            12..=20 => {
                let user = self.filled.as_deref().filter(|_| word.pick(4) != 0).unwrap_or(user);
                let contact = json!({"firstName": user, "address": format!("Street {number}")});
                Intent::new(
                    "POST",
                    format!("/v1/baskets/{user}/checkout"),
                    json!({"contact": contact}),
                    About::Checkout,
                )
            }
            21 | 22 => {
                let items = json!([{"productId": self.product(word), "quantity": quantity}]);
                Intent::new("PUT", format!("/v1/baskets/{user}"), json!({"items": items}), about_basket())
            }
            23 => Intent::new("DELETE", format!("/v1/baskets/{user}"), Value::Null, About::Nothing),
            24..=30 => {
                let order = self.order(word);
                let to =
                    ["CANCELLED", "PACKED", "SHIPPED", "SHIPPED", "DELIVERED", "CANCELLED", "RETURNED"][word.pick(7)];
                let path = format!("/v1/orders/{order}/transitions");
                Intent::new("POST", path, json!({"to": to}), About::Transition { order })
            }
            31..=33 => {
                let product = self.product(word);
                let kind = ["received", "writtenOff"][word.pick(2)];
                let path = format!("/v1/products/{product}/stock/movements");
                Intent::new("POST", path, json!({"kind": kind, "quantity": quantity}), About::Movement { product })
            }
            34 => {
                let path = format!("/v1/products/{}/stock", self.product(word));
                Intent::new("PUT", path, json!({"onHand": word.pick(9)}), About::Nothing)
            }
            35 => {
                let price = json!({"price": {"amount": 100 + word.pick(3) * 10, "currency": "USD"}});
                Intent::new("PATCH", format!("/v1/products/{}", self.product(word)), price, About::Nothing)
            }
            36 if word.pick(3) == 0 => {
                Intent::new("DELETE", format!("/v1/products/{}", self.product(word)), Value::Null, About::Nothing)
            }
            36 | 37 => self.new_product(word),
            38 => {
                let about = About::Erasure { user: user.to_owned() };
                Intent::new("DELETE", format!("/v1/customers/{user}"), Value::Null, about)
            }
            39 => customer(user, number),
            40 => {
                let total = json!({"amount": 500, "currency": "USD"});
                let body = json!({"customer": user, "total": total, "itemCount": quantity});
                Intent::new("POST", "/v1/orders", body, About::DirectOrder)
            }
            41 => checkout_from_outside(user, &self.product(word), &new_order_id()),
            42 => {
                let path = format!("/v1/baskets/{user}/items/{}", self.product(word));
                Intent::new("DELETE", path, Value::Null, About::Nothing)
            }
            43 | 44 => {
                let order = self.order(word);
                Intent::new("GET", format!("/v1/orders/{order}"), Value::Null, About::Transition { order })
            }
            _ => {
                let queue = ["OrderQueue", "StockQueue", "OrderStatusQueue", "NotificationQueue"][word.pick(4)];
                let path = format!("/v1/queues/{queue}/dead-letters/redrive");
                Intent::new("POST", path, json!({"all": true}), About::Nothing)
            }
        }
    }

    /// A new product, most of them with little stock.
    pub fn new_product(&self, word: &mut Word) -> Intent {
        let price = json!({"amount": 100 + word.pick(3) * 10, "currency": "USD"});
        let mut body = json!({"name": "Kettle", "price": price, "stock": 1 + word.pick(7)});
        if word.once_in(6) {
            body["stock"] = Value::Null;
        }
        Intent::new("POST", "/v1/products", body, About::NewProduct)
    }

    /// Takes note of an answer.
    pub fn answered(&mut self, at: usize, answer: &Answer, oracle: &mut Oracle) {
        let intent = &mut self.intents[at];
        let (status, body) = (answer.status, &answer.body);
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        if intent.about == About::ReusedKey && status.is_success() {
            oracle.fail(|| format!("a key was taken for another request: {intent:?}"));
        }
        if !status.is_success() {
            return;
        }
        match &intent.about {
            About::Checkout => {
                oracle.promise(Promise::Order(text("orderId")));
                self.orders.push(text("orderId"));
            }
            About::DirectOrder => {
                oracle.promise(Promise::Order(text("id")));
                self.orders.push(text("id"));
            }
            About::Movement { product } => {
                oracle.promise(Promise::Movement { product: product.clone(), id: text("id") });
            }
            About::Basket { user } => {
                self.filled = Some(user.clone());
                let tag = answer.etag.trim_matches('"').split_once('.');
                if let Some((id, version)) = tag {
                    let version = version.parse().unwrap();
                    oracle.promise(Promise::Basket { user: user.clone(), id: id.to_owned(), version });
                }
            }
            About::Transition { order } => oracle.answered_status(order, &text("status")),
            About::Erasure { user } => oracle.promise(Promise::Erased(user.clone())),
            About::NewProduct if !self.products.contains(&text("id")) => self.products.push(text("id")),
            About::NewProduct | About::Nothing | About::ReusedKey => {}
        }
        // What was done once under a key is not done again, and answered alike.
        let told = match &intent.about {
            About::Checkout => body.clone(),
            About::DirectOrder | About::Movement { .. } | About::NewProduct => body["id"].clone(),
            About::Basket { .. } => json!(answer.etag),
            _ => return,
        };
        if let (Some(before), Some(key)) = (&intent.answer, &intent.key)
            && *before != told
        {
            oracle.fail(|| format!("{key} was answered with {before}, and then with {told}"));
        }
        intent.answer = Some(told);
    }
}

/// Another request with the same key, if this one has one; it must never be taken for the first.
fn another_under_its_key(intent: &Intent) -> Option<Intent> {
    intent.key.as_ref()?;
    let mut body = intent.body.clone();
    if let Some(quantity) = body.get_mut("quantity") {
        *quantity = json!(quantity.as_i64()? + 3);
    } else {
        *body.get_mut("contact")?.get_mut("address")? = json!("Elsewhere");
    }
    // Unless the first was never carried out: then this one is what the key stands for.
    intent.answer.as_ref()?;
    Some(Intent { body, about: About::ReusedKey, ..intent.clone() })
}

/// A new customer.
pub fn customer(user: &str, number: usize) -> Intent {
    let body = json!({"username": user, "email": format!("{user}{number}@example.org"), "name": user});
    Intent::new("POST", "/v1/customers", body, About::Nothing)
}

/// A checkout that another program puts on the bus; it may do so again when it hears nothing.
fn checkout_from_outside(user: &str, product: &str, order: &str) -> Intent {
    let item = json!({"productId": product, "productName": "Kettle", "quantity": 1, "price": 1});
    let detail = json!({"orderId": order, "userName": user, "totalPrice": 1, "items": [item]});
    let entry = json!({"Source": "com.swn.basket.checkoutbasket", "DetailType": "CheckoutBasket",
        "EventBusName": "SwnEventBus", "Resources": [], "Detail": detail.to_string()});
    let intent = Intent::new("POST", "/", json!({"Entries": [entry]}), About::Nothing);
    Intent { is_event: true, ..intent }
}

/// The order a checkout from outside is to become.
pub fn order_from_outside(intent: &Intent) -> Option<String> {
    let detail: Value = serde_json::from_str(intent.body["Entries"][0]["Detail"].as_str()?).ok()?;
    detail["orderId"].as_str().map(str::to_owned)
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub etag: String,
    pub body: Value,
}

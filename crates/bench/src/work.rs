//! What the load does: requests of every kind, and whole checkouts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::connection::{Connection, request, text_field};
use crate::load::Work;
use crate::servers::Target;
use crate::storage::scatter;

/// Products of a shop in the rows that do not ask what their number costs; buyers go through them in turn.
pub(crate) const PRODUCTS: usize = 100;
/// Pieces of each: more than anyone can buy in a run.
const STOCK: i64 = 500_000_000;
/// Pause between two looks at an order.
const POLL_PAUSE: Duration = Duration::from_millis(1);
/// Longest time until an order is confirmed.
const MAX_CONFIRMATION: Duration = Duration::from_secs(60);

/// A product as it is created.
pub(crate) fn product(number: usize) -> Value {
    json!({
        "name": format!("Trail running shoe {number}"),
        "description": "Light and grippy, for soft ground and long days. Drains fast, dries overnight. Runs half a size small.",
        "imageFile": format!("shoe-{number}.jpg"),
        "category": "Shoes",
        "price": { "amount": 12_999, "currency": "USD" },
        "stock": STOCK,
    })
}

/// Puts products with tracked stock into the catalogue. Returns their ids.
pub(crate) async fn create_products(shop: &Target) -> Result<Vec<String>> {
    let mut ids = Vec::with_capacity(PRODUCTS);
    for number in 0..PRODUCTS {
        ids.push(id_of(&post(shop, "/v1/products", 201, &product(number)).await?)?);
    }
    Ok(ids)
}

/// Puts customers into the shop. Returns their user names.
pub(crate) async fn create_customers(shop: &Target, count: usize) -> Result<Vec<String>> {
    let names: Vec<String> = (0..count).map(|number| format!("carol-{number}")).collect();
    for name in &names {
        let customer = json!({ "username": name, "email": format!("{name}@example.com"), "name": "Carol Example" });
        post(shop, "/v1/customers", 201, &customer).await?;
    }
    Ok(names)
}

/// Places an order for `customer`. Returns its id.
pub(crate) async fn create_order(shop: &Target, customer: &str) -> Result<String> {
    id_of(&post(shop, "/v1/orders", 201, &order_of(customer)).await?)
}

fn order_of(customer: &str) -> Value {
    json!({ "customer": customer, "total": { "amount": 25_998, "currency": "USD" }, "itemCount": 2 })
}

async fn post(shop: &Target, path: &str, status: u16, body: &Value) -> Result<Value> {
    let mut connection = Connection::open(shop.address).await?;
    let post = request("POST", path, Some(&body.to_string()));
    Ok(serde_json::from_slice(connection.exchange(post.as_bytes()).await?.expect(status)?)?)
}

fn id_of(created: &Value) -> Result<String> {
    Ok(created["id"].as_str().ok_or("what was created has no id")?.to_owned())
}

/// The body that is answered to a GET of `path`.
pub(crate) async fn body_of(target: &Target, path: &str) -> Result<String> {
    let mut connection = Connection::open(target.address).await?;
    let body = connection.exchange(request("GET", path, None).as_bytes()).await?.expect(200)?;
    Ok(String::from_utf8(body.to_vec())?)
}

/// Messages of all queues that wait or are in work.
pub(crate) async fn unprocessed(target: &Target) -> Result<u64> {
    let queues: Value = serde_json::from_str(&body_of(target, "/v1/queues").await?)?;
    Ok(queues["items"].as_array().into_iter().flatten().map(unprocessed_of).sum())
}

/// Messages of a queue, as the API shows it, that wait or are in work.
pub(crate) fn unprocessed_of(queue: &Value) -> u64 {
    ["waiting", "delayed", "inFlight"].into_iter().filter_map(|count| queue[count].as_u64()).sum()
}

/// Reading the same things in turn.
pub(crate) struct Gets {
    requests: Vec<String>,
    next: AtomicU64,
}

impl Gets {
    /// Of these paths.
    pub(crate) fn new(paths: impl IntoIterator<Item = String>) -> Self {
        let requests = paths.into_iter().map(|path| request("GET", &path, None)).collect();
        Gets { requests, next: AtomicU64::new(0) }
    }
}

impl Work for Gets {
    async fn once(&self, connection: &mut Connection) -> Result<Option<Instant>> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        let begun = Instant::now();
        connection.exchange(self.requests[next % self.requests.len()].as_bytes()).await?.expect(200)?;
        Ok(Some(begun))
    }
}

/// Writes of which no two are the same: each is made of its number.
pub(crate) struct Writes {
    make: Box<dyn Fn(usize) -> String + Send + Sync>,
    status: u16,
    next: AtomicU64,
}

impl Writes {
    /// Requests that `make` makes, answered with `status`.
    pub(crate) fn new(status: u16, make: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        Writes { make: Box::new(make), status, next: AtomicU64::new(0) }
    }

    /// A line for the basket of a user who has none.
    pub(crate) fn basket_lines(products: Vec<String>) -> Self {
        Writes::new(200, move |number| {
            let line = json!({ "productId": products[number % products.len()], "quantity": 2, "color": "blue" });
            let path = format!("/v1/baskets/{}/items", user("dan", number as u64));
            request("POST", &path, Some(&line.to_string()))
        })
    }

    /// Goods that came in, of the products in turn.
    pub(crate) fn stock_movements(products: Vec<String>) -> Self {
        Writes::new(201, move |number| {
            let path = format!("/v1/products/{}/stock/movements", products[number % products.len()]);
            request("POST", &path, Some(r#"{"kind":"received","quantity":3}"#))
        })
    }

    /// Orders that were agreed elsewhere, of the customers in turn.
    pub(crate) fn direct_orders(customers: Vec<String>) -> Self {
        Writes::new(201, move |number| {
            request("POST", "/v1/orders", Some(&order_of(&customers[number % customers.len()]).to_string()))
        })
    }

    /// Purchases that were made elsewhere.
    pub(crate) fn purchases() -> Self {
        Writes::new(202, |number| request("POST", "/v1/purchases", Some(&purchase(number).to_string())))
    }
}

/// A purchase that was made elsewhere.
pub(crate) fn purchase(number: usize) -> Value {
    let price = |amount: i64| json!({ "amount": amount, "currency": "USD" });
    json!({
        "productId": format!("shoe-{}", number % 1000),
        "productName": "Trail running shoe",
        "category": "Shoes",
        "unitPrice": price(12_999),
        "quantity": 2,
        "total": price(25_998),
        "customerId": format!("c-{number}"),
        "customerName": "Bob Example",
        "purchasedAt": "2026-11-20T09:30:00Z",
    })
}

impl Work for Writes {
    async fn once(&self, connection: &mut Connection) -> Result<Option<Instant>> {
        let write = (self.make)(self.next.fetch_add(1, Ordering::Relaxed) as usize);
        let begun = Instant::now();
        connection.exchange(write.as_bytes()).await?.expect(self.status)?;
        Ok(Some(begun))
    }
}

/// The name of the user of that number: names fall all over the table, as those of users do.
fn user(prefix: &str, number: u64) -> String {
    format!("{prefix}-{:016x}", scatter(number))
}

/// Baskets for users who have none.
pub(crate) struct PutBasket {
    prefix: &'static str,
    products: Vec<String>,
    lines: usize,
    next: AtomicU64,
}

impl PutBasket {
    /// Of one line, for users of this name and a number, with these products in turn.
    pub(crate) fn new(prefix: &'static str, products: &[String]) -> Self {
        PutBasket::of_lines(prefix, products, 1)
    }

    /// Of so many lines.
    pub(crate) fn of_lines(prefix: &'static str, products: &[String], lines: usize) -> Self {
        PutBasket { prefix, products: products.to_vec(), lines, next: AtomicU64::new(0) }
    }

    /// The next user's name, and the request that gives them a basket.
    pub(crate) fn next(&self) -> (String, String) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let user = user(self.prefix, number);
        let lines: Vec<_> = (0..self.lines)
            .map(|line| {
                let product_id = &self.products[(number as usize + line) % self.products.len()];
                format!(r#"{{"productId":"{product_id}","quantity":2,"color":"blue"}}"#)
            })
            .collect();
        let body = format!(r#"{{"items":[{}]}}"#, lines.join(","));
        let put = request("PUT", &format!("/v1/baskets/{user}"), Some(&body));
        (user, put)
    }
}

impl Work for PutBasket {
    async fn once(&self, connection: &mut Connection) -> Result<Option<Instant>> {
        let (_, put) = self.next();
        let begun = Instant::now();
        connection.exchange(put.as_bytes()).await?.expect(201)?;
        Ok(Some(begun))
    }
}

/// A basket, its checkout, and looks at the order until it is confirmed. The part whose time counts begins with the
/// checkout.
pub(crate) struct Checkout {
    basket: PutBasket,
    shop: Target,
    pause: Duration,
    polls: AtomicU64,
    orders: AtomicU64,
}

/// What the buyer says at checkout.
const CHECKOUT: &str = r#"{"contact":{"firstName":"Bob","lastName":"Example","email":"bob@example.com","address":"1 Main Street, Springfield"},"payment":{"method":1,"cardNumber":"4111111111111111"}}"#;

impl Checkout {
    /// Of these baskets, with a look at the order every millisecond.
    pub(crate) fn new(shop: &Target, basket: PutBasket) -> Arc<Self> {
        Checkout::with_pause(shop, basket, POLL_PAUSE)
    }

    /// With so long between two looks.
    pub(crate) fn with_pause(shop: &Target, basket: PutBasket, pause: Duration) -> Arc<Self> {
        let count = || AtomicU64::new(0);
        Arc::new(Checkout { basket, shop: shop.clone(), pause, polls: count(), orders: count() })
    }

    /// Looks at an order until it was confirmed, on average so far.
    pub(crate) fn polls_per_order(&self) -> f64 {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        count(&self.polls) / count(&self.orders).max(1.0)
    }

    /// Orders that were confirmed so far, warm-up included.
    pub(crate) fn orders(&self) -> u64 {
        self.orders.load(Ordering::Relaxed)
    }
}

impl Work for Checkout {
    async fn once(&self, connection: &mut Connection) -> Result<Option<Instant>> {
        let (user, put) = self.basket.next();
        connection.exchange(put.as_bytes()).await?.expect(201)?;
        let checkout = request("POST", &format!("/v1/baskets/{user}/checkout"), Some(CHECKOUT));
        let begun = Instant::now();
        let accepted = connection.exchange(checkout.as_bytes()).await?.expect(202)?;
        let order_id = text_field(accepted, "orderId").ok_or("an accepted checkout names no order")?;
        let get = request("GET", &format!("/v1/orders/{order_id}"), None);
        loop {
            let asked = Instant::now();
            let order = connection.exchange(get.as_bytes()).await?.expect(200)?;
            self.polls.fetch_add(1, Ordering::Relaxed);
            match text_field(order, "status") {
                Some("CONFIRMED") => break,
                Some("PLACED") if begun.elapsed() < MAX_CONFIRMATION => self.shop.wait_until(asked + self.pause).await,
                status => return Err(format!("an order is {status:?} after {} ms", begun.elapsed().as_millis()).into()),
            }
        }
        self.orders.fetch_add(1, Ordering::Relaxed);
        Ok(Some(begun))
    }
}

//! What is measured over HTTP: reads against a bare route, durable basket writes, whole checkouts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::connection::{Connection, request, text_field};
use crate::load::{Run, Work, closed, open};
use crate::report::{Ratio, Report};
use crate::servers::{Pinning, Server, Target};
use crate::{Plan, Result, Row};

/// Products of the shop; buyers go through them in turn.
const PRODUCTS: usize = 100;
/// Pieces of each: more than anyone can buy in a run.
const STOCK: i64 = 1_000_000_000;
/// Connections of the read rows and of the open loads.
const CONNECTIONS: usize = 64;
/// Connections of the basket rows, one row each.
const BASKET_CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Concurrent buyers of the closed checkout rows, one row each.
const BUYERS: [usize; 2] = [1, 16];
/// Share of the maximum that an open load asks for.
const OPEN_SHARE: f64 = 0.5;
/// Pause between two looks at an order.
const POLL_PAUSE: Duration = Duration::from_millis(1);
/// Longest time until an order is confirmed.
const MAX_CONFIRMATION: Duration = Duration::from_secs(30);

/// Product reads: the shop against the bare route.
#[derive(Serialize)]
pub(crate) struct Reads {
    /// One run a round.
    pub(crate) shop: Vec<Run>,
    /// One run a round.
    pub(crate) bare: Vec<Run>,
    /// Requests a second, shop ÷ bare, round by round.
    pub(crate) rate: Ratio,
    /// Server CPU time per request, shop ÷ bare, round by round.
    pub(crate) cpu: Option<Ratio>,
    /// The open loads, both at half of the shop's maximum.
    pub(crate) shop_open: Run,
    pub(crate) bare_open: Run,
}

/// Whole checkouts.
#[derive(Serialize)]
pub(crate) struct Checkouts {
    /// One run for each number of buyers.
    pub(crate) closed: Vec<Run>,
    /// At half of the maximum.
    pub(crate) open: Run,
    /// Looks at an order until it was confirmed, on average over all runs.
    pub(crate) polls_per_order: f64,
    /// Time the server went on working after the closed loads: events that nobody waited for.
    pub(crate) rest_ms: Vec<f64>,
}

/// How many steps of the progress [`measure`] takes.
pub(crate) fn steps(plan: &Plan, wanted: impl Fn(Row) -> bool) -> usize {
    let when = |row, steps| if wanted(row) { steps } else { 0 };
    let reads = when(Row::Reads, 2 * plan.rounds + 2);
    1 + reads + when(Row::Baskets, BASKET_CONNECTIONS.len()) + when(Row::Checkouts, BUYERS.len() + 1)
}

/// Measures the wanted rows and puts them into the report.
///
/// # Errors
/// When a server does not start or does not answer any more.
pub(crate) async fn measure(
    plan: &Plan,
    pinning: Option<Pinning>,
    folder: &Path,
    wanted: impl Fn(Row) -> bool,
    report: &mut Report,
) -> Result<()> {
    plan.step("setting up the shop");
    let shop = Server::shop(pinning, &folder.join("shop"), None)?;
    let products = create_products(&shop.target).await?;
    shop.target.come_to_rest().await;
    if wanted(Row::Reads) {
        report.reads = Some(reads(plan, pinning, &shop.target, &products[0]).await?);
    }
    if wanted(Row::Baskets) {
        report.baskets = Some(baskets(plan, &shop.target, &products).await?);
    }
    if wanted(Row::Checkouts) {
        report.checkouts = Some(checkouts(plan, &shop.target, &products).await?);
    }
    Ok(())
}

/// Puts products with tracked stock into the catalogue. Returns their paths.
pub(crate) async fn create_products(shop: &Target) -> Result<Vec<String>> {
    let mut connection = Connection::open(shop.address).await?;
    let mut paths = Vec::with_capacity(PRODUCTS);
    for number in 0..PRODUCTS {
        let product = serde_json::json!({
            "name": format!("Trail running shoe {number}"),
            "description": "Light and grippy, for soft ground and long days. Drains fast, dries overnight. Runs half a size small.",
            "imageFile": format!("shoe-{number}.jpg"),
            "category": "Shoes",
            "price": { "amount": 12_999, "currency": "USD" },
            "stock": STOCK,
        });
        let create = request("POST", "/v1/products", Some(&product.to_string()));
        let created: Value = serde_json::from_slice(connection.exchange(create.as_bytes()).await?.expect(201)?)?;
        let id = created["id"].as_str().ok_or("a created product has no id")?;
        paths.push(format!("/v1/products/{id}"));
    }
    Ok(paths)
}

async fn reads(plan: &Plan, pinning: Option<Pinning>, shop: &Target, product: &str) -> Result<Reads> {
    let get = request("GET", product, None);
    let body = body_of(shop, &get).await?;
    let bare = Server::bare(pinning, &body)?;
    if body_of(&bare.target, &get).await? != body {
        return Err(
            "the bare route does not answer with the bytes of the shop: its struct must follow the shop's".into()
        );
    }
    let (bare, work) = (&bare.target, Arc::new(Get(get)));
    let (mut shop_runs, mut bare_runs) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        // Who is first changes, so that what warms up or tires the machine helps and harms both.
        let order = if round % 2 == 0 { [true, false] } else { [false, true] };
        for is_shop in order {
            let (target, runs, name) =
                if is_shop { (shop, &mut shop_runs, "shop") } else { (bare, &mut bare_runs, "bare route") };
            plan.step(&format!("product reads, round {} of {}, {name}", round + 1, plan.rounds));
            runs.push(closed(target, &work, CONNECTIONS, plan.round).await?);
        }
    }
    let rate = Ratio::of(&shop_runs, &bare_runs, |run| Some(run.done_per_s)).ok_or("nothing was read")?;
    let cpu = Ratio::of(&shop_runs, &bare_runs, |run| run.server_cpu_us);
    let half = OPEN_SHARE * middle(&shop_runs);
    plan.step("product reads at half of the maximum, shop");
    let shop_open = open(shop, &work, CONNECTIONS, half, plan.phase).await?;
    plan.step("product reads at the same rate, bare route");
    let bare_open = open(bare, &work, CONNECTIONS, half, plan.phase).await?;
    Ok(Reads { shop: shop_runs, bare: bare_runs, rate, cpu, shop_open, bare_open })
}

async fn body_of(target: &Target, get: &str) -> Result<String> {
    let mut connection = Connection::open(target.address).await?;
    let body = connection.exchange(get.as_bytes()).await?.expect(200)?;
    Ok(String::from_utf8(body.to_vec())?)
}

/// The median rate of some runs.
fn middle(runs: &[Run]) -> f64 {
    crate::report::median(runs.iter().map(|run| run.done_per_s).collect())
}

async fn baskets(plan: &Plan, shop: &Target, products: &[String]) -> Result<Vec<Run>> {
    let work = Arc::new(PutBasket::new("ann", products));
    let mut runs = Vec::new();
    for connections in BASKET_CONNECTIONS {
        plan.step(&format!("basket writes, {connections} connections"));
        runs.push(closed(shop, &work, connections, plan.phase).await?);
        shop.come_to_rest().await;
    }
    Ok(runs)
}

async fn checkouts(plan: &Plan, shop: &Target, products: &[String]) -> Result<Checkouts> {
    let basket = PutBasket::new("bob", products);
    let work = Arc::new(Checkout { basket, shop: shop.clone(), polls: AtomicU64::new(0), orders: AtomicU64::new(0) });
    let (mut runs, mut rest_ms) = (Vec::new(), Vec::new());
    for buyers in BUYERS {
        plan.step(&format!("checkouts, {buyers} buyers"));
        runs.push(closed(shop, &work, buyers, plan.phase).await?);
        rest_ms.push(shop.come_to_rest().await.as_secs_f64() * 1e3);
    }
    plan.step("checkouts at half of the maximum");
    let most = runs.iter().map(|run| run.done_per_s).fold(1.0, f64::max);
    let open = open(shop, &work, CONNECTIONS, OPEN_SHARE * most, plan.phase).await?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let polls_per_order = count(&work.polls) / count(&work.orders).max(1.0);
    Ok(Checkouts { closed: runs, open, polls_per_order, rest_ms })
}

fn ids_of(products: &[String]) -> Vec<String> {
    products.iter().filter_map(|path| path.rsplit('/').next()).map(str::to_owned).collect()
}

/// Reading the same thing.
struct Get(String);

impl Work for Get {
    async fn once(&self, connection: &mut Connection) -> Result<Option<Instant>> {
        let begun = Instant::now();
        connection.exchange(self.0.as_bytes()).await?.expect(200)?;
        Ok(Some(begun))
    }
}

/// A basket of one line for a user who has none.
pub(crate) struct PutBasket {
    users: Users,
    product_ids: Vec<String>,
}

impl PutBasket {
    /// For users of this name and a number, with these products in turn.
    pub(crate) fn new(prefix: &'static str, products: &[String]) -> Self {
        PutBasket { users: Users::new(prefix), product_ids: ids_of(products) }
    }

    /// The next user's name, and the request that gives them a basket.
    pub(crate) fn next(&self) -> (String, String) {
        let (number, user) = self.users.next();
        let product_id = &self.product_ids[number % self.product_ids.len()];
        let body = format!(r#"{{"items":[{{"productId":"{product_id}","quantity":2,"color":"blue"}}]}}"#);
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
struct Checkout {
    basket: PutBasket,
    shop: Target,
    polls: AtomicU64,
    orders: AtomicU64,
}

/// What the buyer says at checkout.
const CHECKOUT: &str = r#"{"contact":{"firstName":"Bob","lastName":"Example","email":"bob@example.com","address":"1 Main Street, Springfield"},"payment":{"method":1,"cardNumber":"4111111111111111"}}"#;

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
                Some("PLACED") if begun.elapsed() < MAX_CONFIRMATION => self.shop.wait_until(asked + POLL_PAUSE).await,
                status => return Err(format!("an order is {status:?} after {} ms", begun.elapsed().as_millis()).into()),
            }
        }
        self.orders.fetch_add(1, Ordering::Relaxed);
        Ok(Some(begun))
    }
}

/// Users of whom no two are the same.
struct Users {
    prefix: &'static str,
    count: AtomicU64,
}

impl Users {
    fn new(prefix: &'static str) -> Self {
        Users { prefix, count: AtomicU64::new(0) }
    }

    fn next(&self) -> (usize, String) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        (number as usize, format!("{}-{:016x}", self.prefix, crate::storage::scatter(number)))
    }
}

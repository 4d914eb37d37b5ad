//! Other shops on the same machine, doing the same work for the same load: Vendure on SQLite, and small servers in Node and
//! Python in the manner they are often written. `cargo xtask bench peers` installs them; their sources are in `bench/peers`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::connection::{Connection, request, text_field};
use crate::load::{Work, closed};
use crate::report::Section;
use crate::servers::{Pinning, Server, Target};
use crate::work::{Checkout, Gets, PRODUCTS, PutBasket, create_products};
use crate::{Plan, Result};

/// Concurrent clients of every row.
const CLIENTS: usize = 16;
/// Kinds of work.
const ROWS: usize = 3;
/// Steps of the progress [`measure`] takes.
pub(crate) const STEPS: usize = (1 + PEERS.len()) * ROWS;
/// Pause between two looks at an order.
const POLL_PAUSE: Duration = Duration::from_millis(1);

/// A shop that is not ours.
struct Peer {
    name: &'static str,
    /// The folder below that of all peers.
    folder: &'static str,
    /// The program, and what follows it.
    command: &'static [&'static str],
    api: Api,
}

#[derive(Clone, Copy)]
enum Api {
    /// GraphQL.
    Vendure,
    /// A route for each thing.
    Small,
}

const PEERS: [Peer; 3] = [
    Peer { name: "Vendure", folder: "vendure", command: &["node", "server.js"], api: Api::Vendure },
    Peer { name: "small Node server", folder: "node", command: &["node", "server.js"], api: Api::Small },
    Peer { name: "small Python server", folder: "python", command: &["bin/python", "server.py"], api: Api::Small },
];

/// Measures ours and theirs, one after the other. `installed` is where they are.
///
/// # Errors
/// When a server does not start or does not answer any more.
pub(crate) async fn measure(plan: &Plan, pinning: Option<Pinning>, folder: &Path, installed: &Path) -> Result<Section> {
    let title = format!("Peers: a product, a durable basket line, an order from its basket on; {CLIENTS} clients");
    let mut section = Section::new(title, "a second");
    plan.step("Cartwright");
    let server = Server::shop(pinning, &folder.join("peers"), None)?;
    let shop = &server.target;
    let products = create_products(shop).await?;
    let get = Arc::new(Gets::new(products.iter().map(|id| format!("/v1/products/{id}"))));
    section.run("Cartwright: product", closed(shop, &get, CLIENTS, plan.phase).await?);
    plan.step("Cartwright");
    let baskets = Arc::new(PutBasket::new("mia", &products));
    section.run("Cartwright: basket", closed(shop, &baskets, CLIENTS, plan.phase).await?);
    plan.step("Cartwright");
    let orders = Checkout::new(shop, PutBasket::new("ned", &products));
    section.run("Cartwright: order until CONFIRMED", closed(shop, &orders, CLIENTS, plan.phase).await?);
    drop(server);
    for peer in &PEERS {
        let at = installed.join(peer.folder);
        let data = folder.join(format!("peer-{}", peer.folder));
        let program = Some(at.join(peer.command[0])).filter(|path| path.exists());
        let mut command = vec![program.unwrap_or_else(|| PathBuf::from(peer.command[0])).into_os_string()];
        command.extend(peer.command[1..].iter().map(|argument| at.join(argument).into_os_string()));
        command.extend([data.into_os_string(), PRODUCTS.to_string().into()]);
        let server = Server::other(pinning, peer.name, &command)?;
        for (name, what) in [("product", What::Product), ("basket", What::Basket), ("order", What::Order)] {
            plan.step(peer.name);
            let work = Arc::new(PeerWork { api: peer.api, what, shop: server.target.clone(), next: AtomicU64::new(0) });
            section.run(format!("{}: {name}", peer.name), closed(&server.target, &work, CLIENTS, plan.phase).await?);
        }
    }
    Ok(section)
}

/// What is asked of a peer.
#[derive(Clone, Copy)]
enum What {
    Product,
    Basket,
    /// From the basket on, and the basket before it. Only the part from the checkout on is timed.
    Order,
}

struct PeerWork {
    api: Api,
    what: What,
    shop: Target,
    next: AtomicU64,
}

impl Work for PeerWork {
    async fn once(&self, connection: &mut Connection) -> Result<Option<Instant>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match self.api {
            Api::Vendure => vendure(connection, self.what, number).await.map(Some),
            Api::Small => small(connection, &self.shop, self.what, number).await.map(Some),
        }
    }
}

async fn vendure(connection: &mut Connection, what: What, number: u64) -> Result<Instant> {
    let id = 1 + number as usize % PRODUCTS;
    let graphql = |query: &str, token: Option<&str>| {
        let body = serde_json::json!({ "query": query }).to_string();
        let token = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let length = body.len();
        format!(
            "POST /shop-api HTTP/1.1\r\nhost: localhost\r\n{token}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    if matches!(what, What::Product) {
        let query = format!(
            "{{ product(id: \"{id}\") {{ id name description createdAt updatedAt variants {{ id price currencyCode stockLevel }} }} }}"
        );
        let get = graphql(&query, None);
        let begun = Instant::now();
        let body = connection.exchange(get.as_bytes()).await?.expect(200)?;
        text_field(body, "stockLevel").ok_or("Vendure shows no product")?;
        return Ok(begun);
    }
    let add = format!(
        "mutation {{ addItemToOrder(productVariantId: \"{id}\", quantity: 2) {{ __typename ... on Order {{ code totalWithTax }} }} }}"
    );
    let add = graphql(&add, None);
    let begun = Instant::now();
    let answer = connection.exchange(add.as_bytes()).await?;
    let token = answer.header("vendure-auth-token").map(str::to_owned).ok_or("Vendure names no session")?;
    text_field(answer.expect(200)?, "code").ok_or("Vendure did not take the line")?;
    if matches!(what, What::Basket) {
        return Ok(begun);
    }
    let order = graphql(VENDURE_ORDER, Some(&token));
    let begun = Instant::now();
    let body = connection.exchange(order.as_bytes()).await?.expect(200)?;
    match text_field(body, "state") {
        Some("PaymentSettled") => Ok(begun),
        _ => Err(format!("Vendure did not place the order: {}", String::from_utf8_lossy(body)).into()),
    }
}

/// All steps of an order in one request: fewer than its storefronts send.
const VENDURE_ORDER: &str = r#"mutation {
  setCustomerForOrder(input: {emailAddress: "bob@example.com", firstName: "Bob", lastName: "Example"}) { __typename }
  setOrderShippingAddress(input: {fullName: "Bob Example", streetLine1: "1 Main Street", city: "Springfield", countryCode: "GB"}) { __typename }
  setOrderShippingMethod(shippingMethodId: ["1"]) { __typename }
  transitionOrderToState(state: "ArrangingPayment") { __typename }
  addPaymentToOrder(input: {method: "dummy-payment", metadata: {}}) { __typename ... on Order { code state } ... on ErrorResult { errorCode message } }
}"#;

async fn small(connection: &mut Connection, shop: &Target, what: What, number: u64) -> Result<Instant> {
    let id = number as usize % PRODUCTS;
    if matches!(what, What::Product) {
        let get = request("GET", &format!("/product/shoe-{id}"), None);
        let begun = Instant::now();
        connection.exchange(get.as_bytes()).await?.expect(200)?;
        return Ok(begun);
    }
    let user = format!("bob-{:016x}", crate::storage::scatter(number));
    let basket = format!(
        r#"{{"userName":"{user}","items":[{{"productId":"shoe-{id}","quantity":2,"color":"blue","price":129.99}}]}}"#
    );
    let put = request("POST", "/basket", Some(&basket));
    let begun = Instant::now();
    connection.exchange(put.as_bytes()).await?.expect(200)?;
    if matches!(what, What::Basket) {
        return Ok(begun);
    }
    let buyer = format!(
        r#"{{"userName":"{user}","firstName":"Bob","lastName":"Example","email":"bob@example.com","address":"1 Main Street, Springfield"}}"#
    );
    let checkout = request("POST", "/basket/checkout", Some(&buyer));
    let begun = Instant::now();
    let body = connection.exchange(checkout.as_bytes()).await?.expect(202)?;
    let order = text_field(body, "orderId").ok_or("a checkout names no order")?;
    let get = request("GET", &format!("/orders/{order}"), None);
    loop {
        let asked = Instant::now();
        let body = connection.exchange(get.as_bytes()).await?.expect(200)?;
        if text_field(body, "status") == Some("CONFIRMED") {
            return Ok(begun);
        }
        shop.wait_until(asked + POLL_PAUSE).await;
    }
}

//! What it costs that a shop has much: a large catalogue, a customer with many orders, a long queue.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::files::size_of;
use crate::filling::{CUSTOMER, Filling, fill};
use crate::load::closed;
use crate::report::Section;
use crate::rows::CONNECTIONS;
use crate::servers::{Pinning, Server, resident_bytes};
use crate::storage::scatter;
use crate::work::{Checkout, Gets, PutBasket, Writes, body_of, unprocessed_of};
use crate::{Plan, Result};

/// The shops, the smallest first, which the others are held against. A product is four documents.
pub(crate) const SHOPS: [(&str, Filling); 5] = [
    ("10,000 documents", Filling { products: 2_500, orders: 0, purchases: 0 }),
    ("1 million documents", Filling { products: 250_000, orders: 0, purchases: 0 }),
    (
        "4.3 million documents: 1 million products, 100,000 orders of one customer",
        Filling { products: 1_000_000, orders: 100_000, purchases: 0 },
    ),
    (
        "10 million documents: 2.4 million products, 100,000 orders of one customer",
        Filling { products: 2_425_000, orders: 100_000, purchases: 0 },
    ),
    ("10,000 documents, 1 million waiting messages", Filling { products: 2_500, orders: 0, purchases: 1_000_000 }),
];
/// What the sizes are divided by in a smoke test.
const QUICK_DIVISOR: usize = 200;
/// Steps of the progress of one shop.
const STEPS_PER_SHOP: usize = 7;
/// Steps of the progress of all the [`SHOPS`].
pub(crate) const STEPS: usize = SHOPS.len() * STEPS_PER_SHOP;
/// Paths that are read in turn, at most.
const MAX_PATHS: usize = 100_000;
/// Buyers and writers at the same time.
const BUYERS: usize = 16;
/// How often it is looked whether a long queue has run dry, and for how long.
const DRAIN_LOOK: Duration = Duration::from_secs(1);
const MAX_DRAIN: Duration = Duration::from_secs(20);

/// Measures one of the [`SHOPS`].
///
/// # Errors
/// When the server does not start or does not answer any more.
pub(crate) async fn measure(
    plan: &Plan,
    pinning: Option<Pinning>,
    folder: &Path,
    quick: bool,
    (name, filling): (&str, Filling),
) -> Result<Section> {
    let divisor = if quick { QUICK_DIVISOR } else { 1 };
    let Filling { products, orders, purchases } = filling;
    let filling = Filling { products: products / divisor, orders: orders / divisor, purchases: purchases / divisor };
    let folder = folder.join("growth");
    let section = shop(plan, pinning, &folder, name, filling).await;
    let removed = std::fs::remove_dir_all(&folder);
    let section = section?;
    removed?;
    Ok(section)
}

async fn shop(plan: &Plan, pinning: Option<Pinning>, folder: &Path, name: &str, filling: Filling) -> Result<Section> {
    plan.step(&format!("{name}: filling the shop"));
    let mut section = Section::new(format!("Growth: {name}"), "a second");
    let begun = Instant::now();
    let products = fill(folder, filling).await?;
    let filled = begun.elapsed();
    let before = size_of(folder);
    let begun = Instant::now();
    let server = Server::shop(pinning, folder, None)?;
    let started = begun.elapsed();
    let shop = &server.target;
    let memory = resident_bytes(shop.pid).unwrap_or(0);
    let mb = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    section.note(format!(
        "started in {:.0} ms, then {:.0} MB of memory; the file has {:.0} MB, and was made in {:.0} s",
        started.as_secs_f64() * 1e3,
        mb(memory),
        mb(before),
        filled.as_secs_f64()
    ));
    if filling.purchases > 0 {
        // While the queue is long, as an operator finds it.
        let writes = Arc::new(PutBasket::new("gus", &products));
        plan.step(&format!("{name}: basket writes beside the queue"));
        section
            .run("basket writes while the queue is worked off", closed(shop, &writes, CONNECTIONS, plan.phase).await?);
        section.note(drain(shop, filling.purchases).await?);
        return Ok(section);
    }
    let any = |at: usize| &products[scatter(at as u64) as usize % products.len()];
    let product = Gets::new((0..products.len().min(MAX_PATHS)).map(|at| format!("/v1/products/{}", any(at))));
    plan.step(&format!("{name}: product reads"));
    section.run("any product, 64 connections", closed(shop, &Arc::new(product), CONNECTIONS, plan.round).await?);
    plan.step(&format!("{name}: pages"));
    let page = Arc::new(Gets::new(["/v1/products?limit=20".to_owned()]));
    section.run("the first page of 20 products", closed(shop, &page, CONNECTIONS, plan.round).await?);
    if filling.orders > 0 {
        let orders = format!("/v1/customers/{CUSTOMER}/orders?limit=20");
        body_of(shop, &orders).await?;
        let orders = Arc::new(Gets::new([orders]));
        section
            .run("the newest 20 orders of a customer of many", closed(shop, &orders, CONNECTIONS, plan.round).await?);
        let newest = Arc::new(Gets::new(["/v1/orders?limit=20".to_owned()]));
        section.run("the newest 20 orders of all", closed(shop, &newest, CONNECTIONS, plan.round).await?);
    }
    plan.step(&format!("{name}: basket lines"));
    let lines = Arc::new(Writes::basket_lines(products.iter().take(MAX_PATHS).cloned().collect()));
    section.run("a basket line, 64 clients", closed(shop, &lines, CONNECTIONS, plan.round).await?);
    plan.step(&format!("{name}: stock movements"));
    let stock = (0..products.len().min(MAX_PATHS)).map(|at| any(at).clone()).collect();
    let stock = Arc::new(Writes::stock_movements(stock));
    section.run("a movement of any product's stock, 64 clients", closed(shop, &stock, CONNECTIONS, plan.round).await?);
    shop.come_to_rest().await;
    plan.step(&format!("{name}: checkouts"));
    let spread: Vec<_> = (0..products.len().min(MAX_PATHS)).map(|at| any(at).clone()).collect();
    let checkouts = Checkout::new(shop, PutBasket::new("bob", &spread));
    section.run(format!("checkouts, {BUYERS} buyers"), closed(shop, &checkouts, BUYERS, plan.phase).await?);
    let (now, after) = (mb(resident_bytes(shop.pid).unwrap_or(0)), mb(size_of(folder)));
    section.note(format!("afterwards {now:.0} MB of memory, and a file of {after:.0} MB"));
    Ok(section)
}

/// Waits until the queue has run dry, or long enough to tell how fast it does. Says it in words.
async fn drain(shop: &crate::servers::Target, all: usize) -> Result<String> {
    let waiting = async || -> Result<usize> {
        let queue = serde_json::from_str(&body_of(shop, "/v1/queues/PurchaseQueue").await?)?;
        Ok(unprocessed_of(&queue) as usize)
    };
    let (begun, first) = (Instant::now(), waiting().await?);
    let mut left = first;
    while left > 0 && begun.elapsed() < MAX_DRAIN {
        sleep(DRAIN_LOOK).await;
        left = waiting().await?;
    }
    let per_s = (first - left) as f64 / begun.elapsed().as_secs_f64();
    Ok(format!(
        "{} of {all} messages were processed meanwhile, then {per_s:.0} a second; {left} were left",
        all - first
    ))
}

//! What is measured over HTTP in every run: reads against a bare route, durable writes, whole checkouts.

use std::path::Path;
use std::sync::Arc;

use crate::files::Written;
use crate::filling::{Filling, fill};
use crate::load::{Run, Work, closed, open};
use crate::report::{Ratio, Section, median};
use crate::servers::{Pinning, Server, Target};
use crate::work::{
    Checkout, Gets, PRODUCTS, PutBasket, Writes, body_of, create_customers, create_order, create_products,
};
use crate::{Plan, Result, Row};

/// Connections of the read rows and of the open loads.
pub(crate) const CONNECTIONS: usize = 64;
/// Clients of the write rows, one row each.
const CLIENTS: [usize; 4] = [1, 16, 64, 256];
/// Kinds of writes.
const WRITES: usize = 4;
/// Concurrent buyers of the closed checkout rows, one row each.
const BUYERS: [usize; 2] = [1, 16];
/// Shares of the maximum that the open loads ask for.
const OPEN_SHARES: [f64; 2] = [0.5, 0.8];
/// Products of the shop whose reads find nothing in the cache: many times what fits there.
const UNCACHED_PRODUCTS: usize = 100_000;
/// Rows of reads, each beside a bare route.
const READS: usize = 4;

/// How many steps of the progress [`measure`] takes.
pub(crate) fn steps(plan: &Plan, wanted: impl Fn(Row) -> bool) -> usize {
    let when = |row, steps| if wanted(row) { steps } else { 0 };
    let reads = when(Row::Reads, READS * 2 * plan.rounds + 2);
    let checkouts = when(Row::Checkouts, BUYERS.len() + OPEN_SHARES.len());
    1 + reads + when(Row::Writes, WRITES * CLIENTS.len()) + checkouts
}

/// Measures the wanted rows.
///
/// # Errors
/// When a server does not start or does not answer any more.
pub(crate) async fn measure(
    plan: &Plan,
    pinning: Option<Pinning>,
    folder: &Path,
    wanted: impl Fn(Row) -> bool,
) -> Result<Vec<Section>> {
    plan.step("setting up the shop");
    let own = folder.join("shop");
    let shop = Server::shop(pinning, &own, None)?;
    let shop = &shop.target;
    let (products, customers) = (create_products(shop).await?, create_customers(shop, PRODUCTS).await?);
    shop.come_to_rest().await;
    let mut sections = Vec::new();
    if wanted(Row::Reads) {
        sections.push(reads(plan, pinning, folder, shop, (&products[0], &customers[0])).await?);
    }
    if wanted(Row::Writes) {
        sections.push(writes(plan, shop, &products, customers).await?);
    }
    if wanted(Row::Checkouts) {
        sections.push(checkouts(plan, shop, &own, &products).await?);
    }
    Ok(sections)
}

/// Something that is read: where it is, beside what.
struct Read<'a> {
    name: &'static str,
    shop: &'a Target,
    paths: Vec<String>,
    /// Where the bare route has the same bytes.
    bare: String,
}

async fn reads(
    plan: &Plan,
    pinning: Option<Pinning>,
    folder: &Path,
    shop: &Target,
    (product, customer): (&str, &str),
) -> Result<Section> {
    let order = create_order(shop, customer).await?;
    shop.come_to_rest().await;
    let [product, page, order] =
        [format!("/v1/products/{product}"), "/v1/products?limit=20".to_owned(), format!("/v1/orders/{order}")];
    let large_folder = folder.join("uncached");
    let ids = fill(&large_folder, Filling { products: UNCACHED_PRODUCTS, ..Filling::default() }).await?;
    let large = Server::shop(pinning, &large_folder, None)?;
    let bodies = [body_of(shop, &product).await?, body_of(shop, &page).await?, body_of(shop, &order).await?];
    let bare = Server::bare(pinning, &bodies)?;
    let bare = &bare.target;
    for (at, body) in bodies.iter().enumerate() {
        if body_of(bare, &format!("/made/{at}")).await? != *body {
            return Err("the bare route does not answer with the bytes of the shop".into());
        }
    }
    if body_of(bare, &product).await? != bodies[0] {
        return Err("the bare route does not answer as the shop does: its struct must follow the shop's".into());
    }
    // In an order that is none, so that what is read was not read for long.
    let uncached = (0..ids.len() as u64)
        .map(|at| format!("/v1/products/{}", ids[crate::storage::scatter(at) as usize % ids.len()]))
        .collect();
    let rows = [
        Read { name: "a product", shop, paths: vec![product.clone()], bare: product.clone() },
        Read { name: "a product that is not cached", shop: &large.target, paths: uncached, bare: product },
        Read { name: "a page of 20 products", shop, paths: vec![page], bare: "/made/1".to_owned() },
        Read { name: "an order", shop, paths: vec![order], bare: "/made/2".to_owned() },
    ];
    let mut section =
        Section::new("Reads, 64 connections, against a bare axum route with the same bytes", "requests/s");
    for row in rows {
        read(plan, &mut section, bare, row).await?;
    }
    Ok(section)
}

async fn read(plan: &Plan, section: &mut Section, bare: &Target, row: Read<'_>) -> Result<()> {
    let Read { name, shop, paths, bare: bare_path } = row;
    let is_first = section.is_empty();
    let (ours, theirs) = (Arc::new(Gets::new(paths)), Arc::new(Gets::new([bare_path])));
    let (shop_runs, bare_runs) = rounds(plan, name, (shop, &ours), (bare, &theirs)).await?;
    let rate = Ratio::of(&shop_runs, &bare_runs, |run| Some(run.done_per_s));
    let cpu = Ratio::of(&shop_runs, &bare_runs, |run| run.server_cpu_us);
    let half = OPEN_SHARES[0] * median(shop_runs.iter().map(|run| run.done_per_s).collect());
    section.rounds(format!("{name}: shop, median round"), shop_runs);
    section.rounds(format!("{name}: bare route, median round"), bare_runs);
    section.ratio("  requests/s, shop ÷ bare", rate);
    section.ratio("  CPU per request, shop ÷ bare", cpu);
    if is_first {
        plan.step("reads at half of the maximum, shop");
        section.run("at half of its maximum, shop", open(shop, &ours, CONNECTIONS, half, plan.phase).await?);
        plan.step("reads at the same rate, bare route");
        section.run("at that rate, bare route", open(bare, &theirs, CONNECTIONS, half, plan.phase).await?);
    }
    Ok(())
}

/// Alternating rounds of two. Who is first changes, so that what warms up or tires the machine helps and harms both.
async fn rounds<A: Work, B: Work>(
    plan: &Plan,
    name: &str,
    ours: (&Target, &Arc<A>),
    theirs: (&Target, &Arc<B>),
) -> Result<(Vec<Run>, Vec<Run>)> {
    let (mut our_runs, mut their_runs) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let order = if round % 2 == 0 { [true, false] } else { [false, true] };
        for is_ours in order {
            let who = if is_ours { "shop" } else { "bare route" };
            plan.step(&format!("{name}, round {} of {}, {who}", round + 1, plan.rounds));
            if is_ours {
                our_runs.push(closed(ours.0, ours.1, CONNECTIONS, plan.round).await?);
            } else {
                their_runs.push(closed(theirs.0, theirs.1, CONNECTIONS, plan.round).await?);
            }
        }
    }
    Ok((our_runs, their_runs))
}

async fn writes(plan: &Plan, shop: &Target, products: &[String], customers: Vec<String>) -> Result<Section> {
    let kinds: [(_, Writes); WRITES] = [
        ("a basket line", Writes::basket_lines(products.to_vec())),
        ("a stock movement", Writes::stock_movements(products.to_vec())),
        ("a direct order", Writes::direct_orders(customers)),
        ("a purchase", Writes::purchases()),
    ];
    let mut section = Section::new("Durable writes over HTTP, the server on one core", "writes/s");
    for (name, work) in kinds {
        let work = Arc::new(work);
        for clients in CLIENTS {
            plan.step(&format!("{name}, {clients} clients"));
            let run = closed(shop, &work, clients, plan.round).await?;
            let rest = shop.come_to_rest().await;
            section.run(format!("{name}, {clients} clients"), run);
            if rest > plan.round.measured / 4 {
                section.note(format!("  the queues went on for {:.1} s", rest.as_secs_f64()));
            }
        }
    }
    Ok(section)
}

async fn checkouts(plan: &Plan, shop: &Target, folder: &Path, products: &[String]) -> Result<Section> {
    let title = "Checkouts: basket, checkout, GET /v1/orders/{id} every ms until CONFIRMED; time from the checkout on";
    let mut section = Section::new(title, "orders/s");
    let work = Checkout::new(shop, PutBasket::new("bob", products));
    let mut most: f64 = 1.0;
    for buyers in BUYERS {
        plan.step(&format!("checkouts, {buyers} buyers"));
        let (orders, before) = (work.orders(), Written::read(shop.pid, folder));
        let run = closed(shop, &work, buyers, plan.phase).await?;
        let rest_ms = shop.come_to_rest().await.as_secs_f64() * 1e3;
        most = most.max(run.done_per_s);
        section.run(format!("{buyers} buyers"), run);
        let orders = work.orders() - orders;
        if let (Some(before), Some(after)) = (before, Written::read(shop.pid, folder)) {
            section.note(format!(
                "  each: {}; the server was at rest {rest_ms:.0} ms after",
                after.since(&before).of(orders)
            ));
        }
    }
    for share in OPEN_SHARES {
        plan.step(&format!("checkouts at {:.0} % of the maximum", share * 100.0));
        let run = open(shop, &work, CONNECTIONS, share * most, plan.phase).await?;
        section.run(format!("at {:.0} % of the maximum", share * 100.0), run);
        shop.come_to_rest().await;
    }
    section.note(format!("{:.1} looks at an order on average", work.polls_per_order()));
    Ok(section)
}

//! What everybody wants at once, and baskets of many lines.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::load::closed;
use crate::report::{Ratio, Section};
use crate::servers::{Pinning, Server};
use crate::work::{Checkout, Gets, PutBasket, create_products};
use crate::{Plan, Result};

/// Buyers at the same time, each with a connection.
const BUYERS: usize = 1_000;
/// Pause between two looks of a buyer at the order: more often, the looks would be what is measured.
const POLL_PAUSE: Duration = Duration::from_millis(50);
/// Lines of a large basket: the most there may be.
const LINES: usize = 50;
/// Clients of the rows about large baskets.
const CLIENTS: usize = 16;
/// Rounds, in which all want the same product or each another.
const ROUNDS: usize = 3;
/// Steps of the progress [`measure`] takes.
pub(crate) const STEPS: usize = 2 * ROUNDS + 4;

/// Measures both.
///
/// # Errors
/// When the server does not start or does not answer any more.
pub(crate) async fn measure(plan: &Plan, pinning: Option<Pinning>, folder: &Path) -> Result<Vec<Section>> {
    plan.step("hot: setting up the shop");
    cartwright::local::server::raise_open_file_limit();
    let shop = Server::shop(pinning, &folder.join("hot"), None)?;
    let shop = &shop.target;
    let products = create_products(shop).await?;
    let mut hot = Section::new("A hot product: checkouts until CONFIRMED by 1,000 buyers at the same time", "orders/s");
    let (mut one, mut many) = (Vec::new(), Vec::new());
    let of_one = Checkout::with_pause(shop, PutBasket::new("hal", &products[..1]), POLL_PAUSE);
    let of_many = Checkout::with_pause(shop, PutBasket::new("ivy", &products), POLL_PAUSE);
    for round in 1..=ROUNDS {
        for (what, work, runs) in [("one product", &of_one, &mut one), ("many products", &of_many, &mut many)] {
            plan.step(&format!("hot: {what}, round {round} of {ROUNDS}"));
            runs.push(closed(shop, work, BUYERS, plan.phase).await?);
            shop.come_to_rest().await;
        }
    }
    let ratio = Ratio::of(&one, &many, |run| Some(run.done_per_s));
    hot.rounds("all of one product", one);
    hot.rounds(format!("of {} products in turn", products.len()), many);
    hot.ratio("  orders/s, one ÷ many", ratio);

    let mut large = Section::new(format!("Baskets of {LINES} lines, {CLIENTS} clients"), "a second");
    let baskets = PutBasket::of_lines("jan", &products, LINES);
    let (user, put) = baskets.next();
    crate::connection::Connection::open(shop.address).await?.exchange(put.as_bytes()).await?.expect(201)?;
    plan.step("baskets of many lines: reads");
    let get = Arc::new(Gets::new([format!("/v1/baskets/{user}")]));
    large.run("reading one", closed(shop, &get, CLIENTS, plan.phase).await?);
    plan.step("baskets of many lines: writes");
    large.run("replacing one", closed(shop, &Arc::new(baskets), CLIENTS, plan.phase).await?);
    plan.step("baskets of many lines: checkouts");
    let checkouts = Checkout::new(shop, PutBasket::of_lines("kim", &products, LINES));
    large.run("checkouts until CONFIRMED", closed(shop, &checkouts, CLIENTS, plan.phase).await?);
    Ok(vec![hot, large])
}

//! Hours at 70 % of the maximum: latency, memory and file must not go where nobody wants them.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::files::size_of;
use crate::load::{Times, closed, open};
use crate::report::Section;
use crate::rows::CONNECTIONS;
use crate::servers::{Pinning, Server, resident_bytes};
use crate::work::{Checkout, PutBasket, create_products, unprocessed};
use crate::{Plan, Result};

/// Share of the maximum.
const SHARE: f64 = 0.7;
/// Pause between two looks of a buyer at the order. With a short one a shop that has become slower is asked more often, which makes
/// it slower still, and that would be what is measured.
const POLL_PAUSE: Duration = Duration::from_millis(10);
/// Stretches that are looked at by themselves.
const STRETCHES: u32 = 10;

/// How many steps of the progress [`measure`] takes.
pub(crate) const STEPS: usize = 2 + STRETCHES as usize;

/// Measures checkouts for so long.
///
/// # Errors
/// When the server does not start or does not answer any more.
pub(crate) async fn measure(plan: &Plan, pinning: Option<Pinning>, folder: &Path, minutes: f64) -> Result<Section> {
    plan.step("soak: setting up the shop");
    let folder = folder.join("soak");
    let server = Server::shop(pinning, &folder, None)?;
    let shop = &server.target;
    let products = create_products(shop).await?;
    let work = Checkout::with_pause(shop, PutBasket::new("lea", &products), POLL_PAUSE);
    plan.step("soak: finding the maximum");
    // With as many buyers, and for a while: a few find more in an empty shop than it can keep up. And many leave messages that are
    // still worked on when they have their orders. Those who keep coming would wait for these, so that time counts too.
    let begun = Instant::now();
    let most = closed(shop, &work, CONNECTIONS, plan.long).await?;
    let rest = shop.come_to_rest().await;
    let left = unprocessed(shop).await?;
    if left > 0 {
        return Err(format!("{left} messages were left in the queues, so the maximum is not known").into());
    }
    let maximum = work.orders() as f64 / begun.elapsed().as_secs_f64();
    let title = format!("Soak: checkouts at {:.0} % of the maximum for {minutes:.1} minutes", SHARE * 100.0);
    let mut section = Section::new(title, "orders/s");
    section.run(format!("{CONNECTIONS} buyers"), most);
    let rest = rest.as_secs_f64();
    section.note(format!("  the queues went on for {rest:.1} s, and with that the maximum is {maximum:.0} orders/s"));
    let rate = SHARE * maximum;
    let times = Times { warm_up: Duration::ZERO, measured: Duration::from_secs_f64(minutes * 60.0) / STRETCHES };
    for stretch in 1..=STRETCHES {
        plan.step(&format!("soak: stretch {stretch} of {STRETCHES}"));
        let run = open(shop, &work, CONNECTIONS, rate, times).await?;
        let mb = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        let (memory, file) = (mb(resident_bytes(shop.pid).unwrap_or(0)), mb(size_of(&folder)));
        let (orders, queues) = (work.orders(), unprocessed(shop).await?);
        section.run(format!("stretch {stretch}: memory {memory:.0} MB, file {file:.0} MB, queues {queues}"), run);
        if stretch == STRETCHES {
            section.note(format!("{orders} orders in all, {:.1} KB of the file each", file * 1024.0 / orders as f64));
        }
    }
    Ok(section)
}

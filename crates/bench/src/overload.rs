//! Three times what the shop takes on: what is taken on must be answered as fast as ever, the rest refused, memory kept, and
//! nothing lost that was acknowledged.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::connection::{Connection, request};
use crate::load::{Work, closed};
use crate::report::Section;
use crate::servers::{Pinning, Server, Target, resident_bytes};
use crate::work::{PutBasket, create_products};
use crate::{Plan, Result};

/// Steps of the progress [`measure`] takes.
pub(crate) const STEPS: usize = 5;
/// Requests at work that the shop takes on.
const MAX_IN_FLIGHT: usize = 64;
/// How many times that ask, each again as soon as it has an answer, whatever `Retry-After` says.
const TIMES: usize = 3;
/// How often the server's memory is looked at.
const MEMORY_LOOK: Duration = Duration::from_millis(200);

/// Measures, and looks for everything that was acknowledged.
///
/// # Errors
/// When the server does not start, does not answer any more, or has lost something.
pub(crate) async fn measure(plan: &Plan, pinning: Option<Pinning>, folder: &Path) -> Result<Section> {
    plan.step("overload: setting up the shop");
    let shop = Server::shop(pinning, &folder.join("overload"), Some(MAX_IN_FLIGHT))?;
    let shop = &shop.target;
    let basket = PutBasket::new("eve", &create_products(shop).await?);
    let work = Arc::new(Refusable { basket, acknowledged: Mutex::default(), refused: AtomicU64::new(0) });
    plan.step("overload: as much as is taken on");
    let at_limit = closed(shop, &work, MAX_IN_FLIGHT, plan.phase).await?;
    shop.come_to_rest().await;
    plan.step("overload: three times as much");
    let before = resident_bytes(shop.pid);
    let most = Arc::new(AtomicU64::new(0));
    let watching = tokio::spawn(watch_memory(shop.clone(), Arc::clone(&most)));
    let beyond = closed(shop, &work, TIMES * MAX_IN_FLIGHT, plan.long).await?;
    watching.abort();
    let after = resident_bytes(shop.pid);
    plan.step("overload: as much as is taken on, once more");
    shop.come_to_rest().await;
    let at_limit_again = closed(shop, &work, MAX_IN_FLIGHT, plan.phase).await?;
    plan.step("overload: looking for what was acknowledged");
    let acknowledged = std::mem::take(&mut *work.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
    look_for(shop, &acknowledged).await?;
    let refused = work.refused.load(Ordering::Relaxed);
    let title = format!("Overload: basket writes, {MAX_IN_FLIGHT} at the same time are taken on");
    let (mut section, seconds) = (Section::new(title, "writes/s"), beyond.seconds);
    section.run(format!("{MAX_IN_FLIGHT} connections"), at_limit);
    section.run(format!("three times as many, for {seconds:.0} s"), beyond);
    section.run(format!("{MAX_IN_FLIGHT} connections again, with what is in the file by then"), at_limit_again);
    section.note(format!(
        "{refused} writes were refused, {} acknowledged; all of these were found again",
        acknowledged.len()
    ));
    if let (Some(before), Some(after)) = (before, after) {
        let (most, mb) = (most.load(Ordering::Relaxed).max(after), |bytes: u64| bytes as f64 / 1024.0 / 1024.0);
        let (before, most, after) = (mb(before), mb(most), mb(after));
        section.note(format!("memory of the server: {before:.1} MB before, {most:.1} MB at most, {after:.1} MB after"));
    }
    Ok(section)
}

/// Notes the most memory that is seen.
async fn watch_memory(shop: Target, most: Arc<AtomicU64>) {
    loop {
        most.fetch_max(resident_bytes(shop.pid).unwrap_or(0), Ordering::Relaxed);
        sleep(MEMORY_LOOK).await;
    }
}

/// That all these users have a basket.
async fn look_for(shop: &Target, users: &[String]) -> Result<()> {
    let (mut connection, mut lost) = (Connection::open(shop.address).await?, 0);
    for user in users {
        let get = request("GET", &format!("/v1/baskets/{user}"), None);
        lost += usize::from(connection.exchange(get.as_bytes()).await?.expect(200).is_err());
    }
    if lost == 0 { Ok(()) } else { Err(format!("{lost} of {} acknowledged writes are not there", users.len()).into()) }
}

/// Writing baskets, and keeping book of what was acknowledged.
struct Refusable {
    basket: PutBasket,
    acknowledged: Mutex<Vec<String>>,
    refused: AtomicU64,
}

impl Work for Refusable {
    async fn once(&self, connection: &mut Connection) -> Result<Option<Instant>> {
        let (user, put) = self.basket.next();
        let begun = Instant::now();
        let answer = connection.exchange(put.as_bytes()).await?;
        if answer.is_refusal() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        }
        answer.expect(201)?;
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(user);
        Ok(Some(begun))
    }
}

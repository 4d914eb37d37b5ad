//! What must hold: looked at after each commit, at each answer, and once more when everything has come to rest.
//!
//! The oracle reads documents as they are stored and answers as callers get them. It knows nothing of how either came to
//! be, so that it can say of any build whether it kept the shop's promises.

use std::collections::{BTreeMap, BTreeSet};

use cartwright::basket::{Basket, Line};
use cartwright::catalog::{Movement, Reservation, ReservationState, Stock};
use cartwright::customers::Tombstone;
use cartwright::events::{Envelope, Queue, queues_of};
use cartwright::notifications::Notification;
use cartwright::ordering::{Order, Status, TRANSITIONS};
use cartwright::store::{Batch, Doc, Key, Table};
use jiff::Timestamp;
use serde_json::Value;

use super::model::{Changed, State};

/// What is known of a run, and the first promise that was found broken.
#[derive(Default)]
pub struct Oracle {
    pub broken: Option<String>,
    products: BTreeMap<String, Books>,
    reservations: BTreeMap<String, Reservation>,
    orders: BTreeMap<String, Vec<Seen>>,
    /// Baskets that a checkout closed, of each user.
    closed: BTreeMap<String, usize>,
    /// Orders that a checkout announced, of each user.
    announced: BTreeMap<String, BTreeSet<String>>,
    /// Orders that may come of what was agreed elsewhere.
    elsewhere: BTreeSet<String>,
    /// Events of which people are to be told, by their ids.
    to_tell: BTreeMap<String, ToTell>,
    /// How often each was told, and what.
    told: BTreeMap<String, Vec<String>>,
    /// Keys under which something was done.
    done: BTreeSet<String>,
    /// What callers were promised, to be found at the end.
    promised: Vec<Promise>,
}

/// The books of a product's stock.
#[derive(Default)]
struct Books {
    stock: Option<Stock>,
    reserved: i64,
    by_hand: i64,
    shipped: i64,
}

/// Something of which people are to be told.
#[derive(Clone)]
struct ToTell {
    event: String,
    at: Timestamp,
    customer: Option<String>,
}

/// A state of an order that was stored.
struct Seen {
    status: Status,
    lines: Vec<Line>,
}

/// What an answer promised.
#[derive(Debug, Clone)]
pub enum Promise {
    /// This order is there, or will be.
    Order(String),
    /// This line is in the ledger of a product.
    Movement { product: String, id: String },
    /// This basket has been written so often.
    Basket { user: String, id: String, version: u64 },
    /// This customer was erased.
    Erased(String),
}

/// Who commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A request that checks a basket out.
    Checkout,
    /// A request that places an order that was agreed elsewhere.
    DirectOrder,
    /// Any other request.
    Request,
    /// A consumer.
    Consumer,
}

fn parse<T: serde::de::DeserializeOwned>(doc: &Doc) -> T {
    doc.parse_owned().unwrap()
}

impl Oracle {
    /// Notes that a promise is broken; the first one counts.
    pub fn fail(&mut self, why: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(why());
        }
    }

    fn check(&mut self, holds: bool, why: impl FnOnce() -> String) {
        if !holds {
            self.fail(why);
        }
    }

    /// A batch was committed.
    pub fn committed(&mut self, who: Who, batch: &Batch, changes: &[Changed]) {
        let mut touched = BTreeSet::new();
        for Changed { key, before, after } in changes {
            let partition = key.pk.split_once('#');
            match (key.table, partition, key.sk.as_str()) {
                (Table::Catalog, Some(("PRODUCT", product)), "STOCK") => {
                    self.products.entry(product.to_owned()).or_default().stock = after.as_ref().map(parse);
                    touched.insert(product.to_owned());
                }
                (Table::Catalog, Some(("PRODUCT", product)), sk) if sk.starts_with("MOVEMENT#") => {
                    self.booked(product, before.as_ref(), after.as_ref());
                    touched.insert(product.to_owned());
                }
                (Table::Catalog, Some(("RESERVATION", order)), _) => {
                    touched.extend(self.reserved(order, before.as_ref(), after.as_ref()));
                }
                (Table::Basket, Some(("BASKETS", _)), user) if who == Who::Checkout => {
                    self.basket_written(user, before.as_ref(), after.as_ref());
                }
                (Table::Ordering, Some(("CUSTOMER", _)), sk) => {
                    if let (Some(order), Some(after)) = (sk.strip_prefix("#ORDER#"), after) {
                        self.order_written(order, &parse(after));
                    }
                }
                _ => {}
            }
        }
        batch.events.iter().for_each(|event| self.emitted(who, event));
        for product in touched {
            self.check_books(&product);
        }
    }

    fn booked(&mut self, product: &str, before: Option<&Doc>, after: Option<&Doc>) {
        self.check(before.is_none() && after.is_some(), || format!("a line of the ledger of {product} was changed"));
        let Some(movement) = after.map(parse::<Movement>) else { return };
        if movement.order_id.is_none() {
            self.products.entry(product.to_owned()).or_default().by_hand += movement.on_hand;
        }
    }

    /// A reservation was written. The products it is about.
    fn reserved(&mut self, order: &str, before: Option<&Doc>, after: Option<&Doc>) -> Vec<String> {
        use ReservationState::{Rejected, Released, Reserved, Shipped};
        let before: Option<Reservation> = before.map(parse);
        let Some(after) = after.map(parse::<Reservation>) else {
            self.fail(|| format!("the reservation of {order} was removed"));
            return Vec::new();
        };
        let step = (before.as_ref().map(|before| before.state), after.state);
        let allowed = matches!(step, (None, Reserved | Rejected | Released) | (Some(Reserved), Released | Shipped));
        self.check(allowed, || format!("the reservation of {order} went from {:?} to {:?}", step.0, step.1));
        let mut touched = Vec::new();
        for (reservation, sign) in before.iter().map(|before| (before, -1)).chain([(&after, 1)]) {
            for hold in &reservation.holds {
                let books = self.products.entry(hold.product_id.to_string()).or_default();
                let quantity = i64::from(hold.quantity) * sign;
                match reservation.state {
                    Reserved => books.reserved += quantity,
                    Shipped => books.shipped += quantity,
                    Rejected | Released => {}
                }
                touched.push(hold.product_id.to_string());
            }
        }
        self.reservations.insert(order.to_owned(), after);
        touched
    }

    fn basket_written(&mut self, user: &str, before: Option<&Doc>, after: Option<&Doc>) {
        let was_open = before.is_some_and(|before| !parse::<Basket>(before).closed);
        if was_open && after.is_some_and(|after| parse::<Basket>(after).closed) {
            *self.closed.entry(user.to_owned()).or_default() += 1;
        }
    }

    fn order_written(&mut self, id: &str, order: &Order) {
        let sum: i64 = order.lines.iter().map(|line| line.unit_price.amount * i64::from(line.quantity.get())).sum();
        let adds_up = order.lines.is_empty() || order.total.amount == sum;
        self.check(adds_up, || format!("the order {id} comes to {sum}, not to {}", order.total));
        let seen = self.orders.entry(id.to_owned()).or_default();
        let complaint = match seen.last() {
            None if order.status != Status::Placed => Some(format!("the order {id} began as {:?}", order.status)),
            Some(last) if last.lines != order.lines => Some(format!("the lines of the order {id} changed")),
            Some(last) if last.status != order.status => {
                let is_step = TRANSITIONS.iter().any(|step| step.from == last.status && step.to == order.status);
                (!is_step).then(|| format!("the order {id} went from {:?} to {:?}", last.status, order.status))
            }
            None | Some(_) => None,
        };
        seen.push(Seen { status: order.status, lines: order.lines.clone() });
        if let Some(complaint) = complaint {
            self.fail(|| complaint);
        }
    }

    fn emitted(&mut self, who: Who, event: &Envelope) {
        let detail: Value = serde_json::from_str(event.detail.get()).unwrap();
        let text = |name: &str| detail[name].as_str().map(str::to_owned);
        if who == Who::Checkout && event.detail_type == "CheckoutBasket" {
            let (Some(user), Some(order)) = (text("userName"), text("orderId")) else { return };
            self.announced.entry(user).or_default().insert(order);
        }
        if who == Who::DirectOrder && event.detail_type == "OrderPlaced" {
            self.elsewhere.extend(text("orderId"));
        }
        // Of an erasure nobody is told: the queue has it for what is kept of whom.
        let tells = event.detail_type.starts_with("Order") || event.detail_type.starts_with("Stock");
        if tells && queues_of(&event.source, &event.detail_type).contains(&Queue::NotificationQueue) {
            let customer = text("customer").map(|customer| customer.to_lowercase());
            let to_tell = ToTell { event: event.detail_type.clone(), at: event.time, customer };
            self.to_tell.insert(event.id.to_string(), to_tell);
        }
    }

    /// A batch was committed for a request with an idempotency key.
    pub fn done_under(&mut self, key: &str, batch: &Batch) {
        let is_new = batch.events.is_empty() || self.done.insert(key.to_owned());
        self.check(is_new, || format!("what was asked under {key} was done twice"));
    }

    /// An order may come of an event from outside.
    pub fn expect_elsewhere(&mut self, order: &str) {
        self.elsewhere.insert(order.to_owned());
    }

    fn check_books(&mut self, product: &str) {
        let Some(Books { stock: Some(stock), reserved, by_hand, shipped }) = self.products.get(product) else { return };
        let Stock { on_hand, available } = *stock;
        let complaint = if available < 0 {
            format!("{available} pieces of {product} are available")
        } else if stock.reserved() != *reserved {
            format!("{} pieces of {product} are not for sale, orders hold {reserved}", stock.reserved())
        } else if on_hand != by_hand - shipped {
            format!("{on_hand} pieces of {product} are on hand; {by_hand} came in and {shipped} left")
        } else {
            return;
        };
        self.fail(|| complaint);
    }

    /// People were told.
    pub fn told(&mut self, notification: &Notification) {
        // To whom an order belongs may change: its customer may be erased.
        let words = format!("{} {} {}", notification.event, notification.subject, notification.text);
        self.told.entry(notification.id.to_string()).or_default().push(words);
    }

    /// A caller was promised something.
    pub fn promise(&mut self, promise: Promise) {
        self.promised.push(promise);
    }

    /// A caller was told that an order is in this status.
    pub fn answered_status(&mut self, order: &str, status: &str) {
        let seen = self.orders.get(order);
        let was_there = seen.is_some_and(|seen| seen.iter().any(|seen| seen.status.name() == status));
        self.check(was_there || status == "PLACED", || format!("the order {order} was never {status}"));
    }

    /// The orders there are, and where they stand.
    pub fn orders(&self) -> impl ExactSizeIterator<Item = (&String, Status)> {
        self.orders.iter().map(|(id, seen)| (id, seen.last().map_or(Status::Placed, |seen| seen.status)))
    }

    /// Everything has come to rest: nothing is under way, and nothing fails any more. `strict`: nothing went wrong on the
    /// way either, so that nobody had to be told anything twice. `clock`: the clock was put back on the way, maybe.
    pub fn at_rest(&mut self, state: &State, strict: bool, clock: bool) {
        let waiting = state.messages.iter().chain(&state.outbox).map(|message| message.queue.name()).next();
        self.check(waiting.is_none(), || format!("a message of {} is never processed", waiting.unwrap_or_default()));
        // What happened, by a clock that was put back, before an erasure dies when it is told under that name.
        let dead =
            state.dead.first().filter(|_| !clock).map(|(message, why)| format!("{}: {why}", message.queue.name()));
        self.check(dead.is_none(), || format!("a message is dead for ever, of {}", dead.unwrap_or_default()));
        let mut stored: BTreeMap<String, Vec<Order>> = BTreeMap::new();
        let (mut ledgers, mut tombstones) = (BTreeMap::<String, (i64, i64)>::new(), BTreeMap::new());
        let mut inboxes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (key, doc) in state.documents() {
            if let Some(order) = key.sk.strip_prefix("#ORDER#") {
                stored.entry(order.to_owned()).or_default().push(parse(doc));
            } else if key.sk.starts_with("MOVEMENT#")
                && let Some(product) = key.pk.strip_prefix("PRODUCT#")
            {
                let (movement, sums) = (parse::<Movement>(doc), ledgers.entry(product.to_owned()).or_default());
                *sums = (sums.0 + movement.on_hand, sums.1 + movement.available);
            } else if key.sk.starts_with("ENTRY#") {
                inboxes.entry(key.pk).or_default().push(parse(doc));
            } else if let Some(user) = key.pk.strip_prefix("ERASED#") {
                tombstones.insert(user.to_owned(), parse::<Tombstone>(doc));
            }
        }
        self.check_orders(&stored);
        self.check_ledgers(&ledgers);
        self.check_erasure(&stored, &tombstones);
        self.check_told(strict, clock, &tombstones);
        self.check_inboxes(&inboxes, &tombstones);
        for promise in std::mem::take(&mut self.promised) {
            let kept = is_kept(&promise, state, &stored, &tombstones);
            self.check(kept, || format!("a promise is broken: {promise:?}"));
        }
    }

    fn check_orders(&mut self, stored: &BTreeMap<String, Vec<Order>>) {
        for (user, announced) in &self.announced.clone() {
            let closed = self.closed.get(&user.to_lowercase()).copied().unwrap_or_default();
            let count = announced.len();
            self.check(count == closed, || format!("{count} orders come of {closed} baskets of {user}"));
            for order in announced {
                self.check(stored.contains_key(order), || {
                    format!("the checkout {order} of {user} never became an order")
                });
            }
        }
        for (user, closed) in &self.closed.clone() {
            let known = self.announced.keys().any(|other| other.to_lowercase() == *user);
            self.check(known, || format!("{closed} baskets of {user} were closed and no order comes of them"));
        }
        for (id, orders) in stored {
            self.check(orders.len() == 1, || format!("the order {id} is there {} times", orders.len()));
            let expected =
                self.elsewhere.contains(id) || self.announced.values().any(|announced| announced.contains(id));
            self.check(expected, || format!("nobody ordered {id}"));
            let state = self.reservations.get(id).map(|reservation| reservation.state);
            let status = orders[0].status;
            let agrees = match status {
                Status::Placed => false,
                Status::Confirmed | Status::Packed => state == Some(ReservationState::Reserved),
                Status::Shipped | Status::Delivered | Status::Returned => state == Some(ReservationState::Shipped),
                Status::Rejected => state == Some(ReservationState::Rejected),
                Status::Cancelled => matches!(state, Some(ReservationState::Released | ReservationState::Rejected)),
            };
            self.check(agrees, || format!("the order {id} is {status:?} and its reservation {state:?}"));
            let last = self.orders.get(id).and_then(|seen| seen.last()).map(|seen| seen.status);
            self.check(last == Some(status), || format!("the order {id} was {last:?} and is {status:?} again"));
        }
        let lost = self.orders.keys().find(|id| !stored.contains_key(*id)).cloned();
        self.check(lost.is_none(), || format!("the order {} was there and is gone", lost.unwrap_or_default()));
    }

    fn check_ledgers(&mut self, ledgers: &BTreeMap<String, (i64, i64)>) {
        let stocks: Vec<_> = self.products.iter().map(|(product, books)| (product.clone(), books.stock)).collect();
        for (product, stock) in stocks {
            let sums = ledgers.get(&product).copied().unwrap_or_default();
            let stock = stock.map_or((0, 0), |stock| (stock.on_hand, stock.available));
            self.check(sums == stock, || {
                format!("the ledger of {product} adds up to {sums:?}, its stock is {stock:?}")
            });
        }
    }

    fn check_erasure(&mut self, stored: &BTreeMap<String, Vec<Order>>, tombstones: &BTreeMap<String, Tombstone>) {
        for order in stored.values().flatten() {
            let erased = tombstones.get(&order.customer.key());
            let theirs = erased.is_some_and(|erased| order.created_at <= erased.at);
            self.check(!theirs, || format!("the order {} still has the name of an erased customer", order.id));
        }
    }

    fn check_told(&mut self, strict: bool, clock: bool, tombstones: &BTreeMap<String, Tombstone>) {
        for (id, ToTell { event, at, customer }) in &self.to_tell.clone() {
            let told = self.told.get(id).cloned().unwrap_or_default();
            // By a clock that was put back, what the next of that name did may have happened before the erasure.
            let is_late = clock && is_before_erasure(tombstones, customer.as_deref(), *at);
            self.check(is_late || !told.is_empty(), || format!("nobody was told of {event} {id}"));
            self.check(!strict || told.len() < 2, || format!("people were told {} times of {event} {id}", told.len()));
            let same = told.iter().all(|words| *words == told[0]);
            self.check(same, || format!("people were told different things of {event} {id}: {told:?}"));
        }
        let invented = self.told.keys().find(|id| !self.to_tell.contains_key(*id)).cloned();
        self.check(invented.is_none(), || format!("people were told of {invented:?}, which did not happen"));
    }
}

impl Oracle {
    /// An inbox is numbered without a gap, and has each notification once. That of an erased customer has nothing from before
    /// the erasure any more; nothing else is missing.
    fn check_inboxes(&mut self, inboxes: &BTreeMap<String, Vec<Value>>, tombstones: &BTreeMap<String, Tombstone>) {
        let mut kept = BTreeSet::new();
        for (inbox, entries) in inboxes {
            let numbers: Vec<u64> = entries.iter().filter_map(|entry| entry["sequence"].as_u64()).collect();
            let erased = inbox.strip_prefix("INBOX#CUSTOMER ").and_then(|user| tombstones.get(user));
            if let Some(erased) = erased {
                let at = |entry: &Value| entry["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
                let old = entries.iter().find(|entry| at(entry).is_none_or(|at| at <= erased.at));
                self.check(old.is_none(), || format!("{inbox} still has {old:?} of an erased customer"));
                self.check(numbers.is_sorted_by(|a, b| a < b), || format!("the entries of {inbox} are {numbers:?}"));
            } else {
                let complete = numbers.iter().copied().eq(1..=entries.len() as u64);
                self.check(complete, || format!("the entries of {inbox} are numbered {numbers:?}"));
            }
            let ids: BTreeSet<&str> = entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
            self.check(ids.len() == entries.len(), || format!("{inbox} has a notification twice: {entries:?}"));
            kept.extend(ids.into_iter().map(str::to_owned));
        }
        let is_gone = |told: &ToTell| is_before_erasure(tombstones, told.customer.as_deref(), told.at);
        let lost =
            self.to_tell.iter().find(|(id, told)| !kept.contains(*id) && !is_gone(told)).map(|(id, _)| id.clone());
        self.check(lost.is_none(), || format!("the notification {lost:?} is in no inbox"));
    }
}

/// Whether what happened at that time is not for whoever has the name now.
fn is_before_erasure(tombstones: &BTreeMap<String, Tombstone>, customer: Option<&str>, at: Timestamp) -> bool {
    customer.and_then(|customer| tombstones.get(customer)).is_some_and(|erased| at <= erased.at)
}

fn is_kept(
    promise: &Promise,
    state: &State,
    stored: &BTreeMap<String, Vec<Order>>,
    tombstones: &BTreeMap<String, Tombstone>,
) -> bool {
    let find = |key: Key| state.documents().find(|(other, _)| *other == key).map(|(_, doc)| doc);
    match promise {
        Promise::Order(id) => stored.contains_key(id),
        Promise::Movement { product, id } => {
            find(Key::new(Table::Catalog, format!("PRODUCT#{product}"), format!("MOVEMENT#{id}"))).is_some()
        }
        Promise::Basket { user, id, version } => {
            let user = user.to_lowercase();
            let of_user = |key: &Key| key.table == Table::Basket && key.pk.starts_with("BASKETS#") && key.sk == user;
            let found = state.documents().find(|(key, _)| of_user(key)).map(|(_, doc)| doc);
            found.is_none_or(|doc| format!("{:08x}", parse::<Basket>(doc).id) != *id || doc.version >= *version)
        }
        Promise::Erased(user) => tombstones.contains_key(&user.to_lowercase()),
    }
}

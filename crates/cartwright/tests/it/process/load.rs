//! Customers who shop until the server is gone, and the books they keep of what it acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use cartwright::local::sqlite::FILE_NAME;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::harness::{Client, Lost, Server, eventually};

/// How long the queues may take to drain after the last restart.
const SETTLE_PATIENCE: Duration = Duration::from_secs(20);

/// What a basket or an order holds: product ids and quantities.
type Lines = Vec<(String, i64)>;

/// What a customer knows from the answers.
#[derive(Debug)]
enum Known {
    /// A basket was acknowledged.
    Basket(Lines),
    /// A basket was sent, and the answer did not come.
    MaybeBasket(Lines),
    /// A checkout was acknowledged.
    Order(String, Lines),
    /// A basket was acknowledged; its checkout was sent, and the answer did not come.
    MaybeOrder(Lines),
}

/// What every customer knows; each has a name of their own and shops once.
#[derive(Debug, Default)]
pub(super) struct Books {
    customers: BTreeMap<String, Known>,
    /// The requests that got no answer.
    pub(super) lost: Vec<Lost>,
}

impl Books {
    /// Takes over what others know.
    pub(super) fn add(&mut self, other: Books) {
        self.customers.extend(other.customers);
        self.lost.extend(other.lost);
    }

    /// How many baskets and checkouts were acknowledged, and how many are in doubt.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Known) -> bool| self.customers.values().filter(|known| is(known)).count();
        let in_doubt = count(|known| matches!(known, Known::MaybeBasket(_) | Known::MaybeOrder(_)));
        (count(|known| matches!(known, Known::Basket(_))), count(|known| matches!(known, Known::Order(..))), in_doubt)
    }
}

/// Clients at work.
pub(super) struct Load {
    acknowledged: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Books>>,
}

impl Load {
    /// Starts `count` clients, which name their customers after `name`; every second one connects anew for each request.
    /// They go on until a request gets no answer.
    pub(super) fn start(server: &Server, products: &[String], name: &str, count: usize) -> Load {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let client = |at: usize| {
            let (acknowledged, products, name) = (Arc::clone(&acknowledged), products.to_vec(), format!("{name}-{at}"));
            let address = server.address();
            std::thread::spawn(move || shop_until_lost(address, at.is_multiple_of(2), &products, &name, &acknowledged))
        };
        let clients = (0..count).map(client).collect();
        Load { acknowledged, clients }
    }

    /// Waits until so many requests were acknowledged.
    pub(super) fn until(&self, acknowledged: usize) {
        let enough = || (self.acknowledged.load(Ordering::Relaxed) >= acknowledged).then_some(());
        eventually("the load gets its answers", Duration::from_secs(30), enough);
    }

    /// Waits until every client has found the server gone. Returns what they know.
    pub(super) fn join(self) -> Books {
        let mut books = Books::default();
        for client in self.clients {
            books.add(client.join().expect("a client got an answer it did not expect"));
        }
        books
    }
}

fn shop_until_lost(
    address: SocketAddr,
    keep_alive: bool,
    products: &[String],
    name: &str,
    acknowledged: &AtomicUsize,
) -> Books {
    let (mut client, mut books) = (Client::new(address, keep_alive), Books::default());
    for number in 0.. {
        let customer = format!("{name}-{number}");
        match shop_once(&mut client, &customer, wanted(products, number), number % 3 != 0, acknowledged) {
            (known, None) => drop(books.customers.insert(customer, known)),
            (known, Some(lost)) => {
                books.customers.insert(customer, known);
                books.lost.push(lost);
                break;
            }
        }
    }
    books
}

/// One or two products, in changing company and quantity.
fn wanted(products: &[String], number: usize) -> Lines {
    let (first, second) = (number % products.len(), (number / 2 + 1) % products.len());
    let mut lines = vec![(products[first].clone(), 1 + number as i64 % 3)];
    if number.is_multiple_of(4) && second != first {
        lines.push((products[second].clone(), 1));
    }
    lines
}

fn shop_once(
    client: &mut Client,
    customer: &str,
    lines: Lines,
    check_out: bool,
    acknowledged: &AtomicUsize,
) -> (Known, Option<Lost>) {
    let path = format!("/v1/baskets/{customer}");
    let items: Vec<Value> = lines.iter().map(|(id, quantity)| json!({"productId": id, "quantity": quantity})).collect();
    match client.try_request("PUT", &path, Some(&json!({"items": items}))) {
        Ok(answer) => assert_eq!(lines_of(&answer.expect(201)["items"]), lines),
        Err(lost) => return (Known::MaybeBasket(lines), Some(lost)),
    }
    acknowledged.fetch_add(1, Ordering::Relaxed);
    if !check_out {
        return (Known::Basket(lines), None);
    }
    match client.try_request("POST", &format!("{path}/checkout"), Some(&json!({}))) {
        Ok(answer) => {
            acknowledged.fetch_add(1, Ordering::Relaxed);
            (Known::Order(answer.expect(202)["orderId"].as_str().unwrap().to_owned(), lines), None)
        }
        Err(lost) => (Known::MaybeOrder(lines), Some(lost)),
    }
}

fn lines_of(items: &Value) -> Lines {
    let line = |item: &Value| (item["productId"].as_str().unwrap().to_owned(), item["quantity"].as_i64().unwrap());
    items.as_array().unwrap().iter().map(line).collect()
}

/// Checks a server that has been restarted against the books: what was acknowledged is there, nothing is there that
/// nobody asked for, and the stock of `products` adds up. Then stops it, and finds its queues empty.
pub(super) fn check(server: Server, folder: &Path, books: &Books, products: &[(String, i64)]) {
    let baskets = baskets(&server);
    let orders = settled_orders(&server, books, &baskets);
    for (customer, known) in &books.customers {
        let (basket, order) = (baskets.get(customer), orders.get(customer));
        let order_id = order.map(|order| order["id"].as_str().unwrap());
        let order_lines = order.map(|order| lines_of(&order["lines"]));
        let as_known = match known {
            Known::Basket(lines) => basket == Some(lines) && order.is_none(),
            Known::MaybeBasket(lines) => basket.is_none_or(|basket| basket == lines) && order.is_none(),
            Known::Order(id, lines) => basket.is_none() && order_id == Some(id) && order_lines.as_ref() == Some(lines),
            Known::MaybeOrder(lines) => {
                let open = basket == Some(lines) && order.is_none();
                open || (basket.is_none() && order_lines.as_ref() == Some(lines))
            }
        };
        assert!(as_known, "{customer} knows {known:?}, but finds basket {basket:?} and order {order:?}");
    }
    let strangers = |customer: &&String| !books.customers.contains_key(*customer);
    assert_eq!(baskets.keys().chain(orders.keys()).find(strangers), None, "nobody put that there");
    for (product, on_hand) in products {
        check_stock(&server, product, *on_hand, orders.values());
    }
    eventually("every message is processed or dead", SETTLE_PATIENCE, || {
        let queues = server.all("/v1/queues");
        let left = |name: &str| queues.iter().map(|queue| queue[name].as_u64().unwrap()).sum::<u64>();
        (left("waiting") + left("inFlight") + left("delayed") == 0).then_some(())
    });
    server.stop();
    let file = Connection::open_with_flags(folder.join(FILE_NAME), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let count = |table: &str| file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0));
    assert_eq!((count("messages").unwrap(), count("dead_letters").unwrap()), (0, 0), "messages that wait, or are dead");
    let integrity: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}

/// Lets the server finish what it has, and checks that the stock of `products` adds up, whoever bought how much.
pub(super) fn check_totals(server: &Server, products: &[(String, i64)]) -> usize {
    let idle = |queue: &Value| ["waiting", "inFlight", "delayed"].iter().all(|state| queue[state] == 0);
    eventually("the queues are empty", SETTLE_PATIENCE, || {
        let queues = server.get("/v1/queues").expect(200);
        queues["items"].as_array().unwrap().iter().all(idle).then_some(())
    });
    let orders = server.all("/v1/orders");
    let settled = |order: &Value| matches!(order["status"].as_str(), Some("CONFIRMED" | "REJECTED"));
    assert!(orders.iter().all(settled), "an order was left behind");
    for (product, on_hand) in products {
        check_stock(server, product, *on_hand, orders.iter());
    }
    orders.len()
}

/// The order of each customer, once every basket that was closed has become one and none is still placed.
fn settled_orders(server: &Server, books: &Books, baskets: &BTreeMap<String, Lines>) -> BTreeMap<String, Value> {
    let closed = |(customer, known): &(&String, &Known)| match known {
        Known::Order(..) => true,
        Known::MaybeOrder(_) => !baskets.contains_key(*customer),
        Known::Basket(_) | Known::MaybeBasket(_) => false,
    };
    let expected = books.customers.iter().filter(closed).count();
    let orders = eventually("every closed basket becomes an order, confirmed or rejected", SETTLE_PATIENCE, || {
        let orders = server.all("/v1/orders");
        let settled = |order: &Value| matches!(order["status"].as_str(), Some("CONFIRMED" | "REJECTED"));
        (orders.len() >= expected && orders.iter().all(settled)).then_some(orders)
    });
    let mut of_customers = BTreeMap::new();
    for order in orders {
        let customer = order["customer"].as_str().unwrap().to_owned();
        let other = of_customers.insert(customer, order.clone());
        assert!(other.is_none(), "two orders of one checkout: {order} and {other:?}");
    }
    of_customers
}

fn baskets(server: &Server) -> BTreeMap<String, Lines> {
    let listed = server.all("/v1/baskets");
    let count = listed.len();
    let baskets: BTreeMap<_, _> = listed
        .into_iter()
        .map(|basket| (basket["userName"].as_str().unwrap().to_owned(), lines_of(&basket["items"])))
        .collect();
    assert_eq!(baskets.len(), count, "a basket is listed twice");
    baskets
}

/// Nothing was shipped, so everything is still in the house; confirmed orders hold what is not for sale; and the ledger
/// adds up to both.
fn check_stock<'a>(server: &Server, product: &str, on_hand: i64, orders: impl Iterator<Item = &'a Value>) {
    let confirmed = orders.filter(|order| order["status"] == "CONFIRMED").flat_map(|order| lines_of(&order["lines"]));
    let held: i64 = confirmed.filter(|(id, _)| id == product).map(|(_, quantity)| quantity).sum();
    let stock = eventually("confirmed orders hold their stock", SETTLE_PATIENCE, || {
        let stock = server.get(&format!("/v1/products/{product}/stock")).expect(200);
        (stock["reserved"] == held).then_some(stock)
    });
    assert_eq!(stock, json!({"onHand": on_hand, "reserved": held, "available": on_hand - held}));
    eventually("the ledger adds up to the stock", SETTLE_PATIENCE, || {
        let ledger = server.all(&format!("/v1/products/{product}/stock/movements"));
        let sum = |field: &str| ledger.iter().map(|movement| movement[field].as_i64().unwrap()).sum::<i64>();
        (sum("onHand") == on_hand && sum("available") == on_hand - held).then_some(())
    });
}

//! `cartwright import`: every purchase of a file once, whatever happens in between.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{BINARY, Server, command, eventually, finish, run};

const PATIENCE: Duration = Duration::from_secs(60);
const HEADER: &str =
    "ProductId,ProductName,Category,PricePerUnit,Quantity,TotalPrice,CustomerId,CustomerName,TimeOfPurchase";

/// A row whose purchase is told from all others by its customer.
fn row(customer: usize) -> String {
    format!("p,Kettle,Home,12.50,2,25,c-{customer},Ann,2026-01-02T3:04:05Z\n")
}

/// A row that the shop refuses.
fn bad_row(customer: usize) -> String {
    row(customer).replace(",25,", ",26,").replace("Kettle", "")
}

/// A server, a folder for files, and what is imported into the one from the other.
struct Desk {
    shop: TempDir,
    files: TempDir,
    server: Server,
}

impl Desk {
    fn new() -> Desk {
        let shop = TempDir::new().unwrap();
        let server = Server::start(shop.path(), &[]);
        Desk { shop, files: TempDir::new().unwrap(), server }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn rows(&self, name: &str, rows: impl IntoIterator<Item = String>) -> PathBuf {
        self.file(name, format!("{HEADER}\n{}", rows.into_iter().collect::<String>()))
    }

    fn import(&self, file: &Path, options: &[&str]) -> Said {
        import(file, &[options, &["--url", &self.url()]].concat())
    }

    /// How often each customer is in the shop, once the queue is empty.
    fn customers(&self) -> BTreeMap<String, usize> {
        let mut customers = BTreeMap::new();
        for item in self.purchases() {
            let customer = item["purchase"]["customerId"].as_str().unwrap().to_owned();
            *customers.entry(customer).or_default() += 1;
        }
        customers
    }

    /// All purchases, once the queue is empty.
    fn purchases(&self) -> Vec<Value> {
        eventually("the queue is empty", PATIENCE, || {
            let queue = self.server.get("/v1/queues/PurchaseQueue").expect(200);
            let is_done = ["waiting", "inFlight", "delayed", "dead"].iter().all(|count| queue[count] == 0);
            is_done.then_some(())
        });
        self.server.all("/v1/purchases")
    }
}

/// Each of so many customers once.
fn each_once(customers: impl IntoIterator<Item = usize>) -> BTreeMap<String, usize> {
    customers.into_iter().map(|customer| (format!("c-{customer}"), 1)).collect()
}

#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// Ended with this code, and nothing to complain.
    #[track_caller]
    fn done(self, code: i32, out: &str) -> Said {
        assert!(self.code == Some(code) && self.err.is_empty() && self.out.contains(out), "{self:?}");
        self
    }

    /// Failed with one line that has all of this.
    #[track_caller]
    fn failed(self, parts: &[&str]) {
        let is_line = self.err.starts_with("cartwright: ") && self.err.matches('\n').count() == 1;
        assert!(self.code == Some(1) && is_line && self.out.is_empty(), "{self:?}");
        assert!(parts.iter().all(|part| self.err.contains(part)), "{self:?}");
    }
}

fn import(file: &Path, options: &[&str]) -> Said {
    run(&[&["import", file.to_str().unwrap()], options].concat()).into()
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", file.display()).into()
}

fn progress(file: &Path) -> Option<Value> {
    let text = fs::read(with_suffix(file, ".progress")).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

fn report(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(with_suffix(file, ".refused.ndjson")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn both_formats_in_both_spellings() {
    let desk = Desk::new();
    let classic = json!({"ProductId": "p", "ProductName": "Kettle", "Category": "Home", "PricePerUnit": "12.50", "Quantity": 2,
        "TotalPrice": "25", "CustomerId": "c-2", "CustomerName": "Ann", "TimeOfPurchase": "2026-01-02T3:04:05Z",
        "ProductPurchaseId": "865f8acb-079d-4ffd-8d70-97b01040c4ea", "action": "create"});
    let price = |amount: i64| json!({"amount": amount, "currency": "USD"});
    let v1 = json!({"productId": "p", "productName": "Kettle", "category": "Home", "unitPrice": price(1_250), "quantity": 2,
        "total": price(2_500), "customerId": "c-3", "customerName": "Ann", "purchasedAt": "2026-01-02T03:04:05Z"});
    let flat = "productId,productName,category,unitPrice.amount,unitPrice.currency,quantity,total.amount,total.currency,\
                customerId,customerName,purchasedAt\np,Kettle,Home,1250,USD,2,2500,USD,c-4,Ann,2026-01-02T03:04:05Z\n";
    desk.import(&desk.rows("classic.csv", [row(1)]), &[]).done(0, "Read 1 purchases from ");
    let with_id = desk.import(&desk.file("classic.ndjson", format!("{classic}\n")), &[]);
    assert!(with_id.err.starts_with("ProductPurchaseId, action: not taken over"), "{with_id:?}");
    desk.import(&desk.file("v1.ndjson", format!("\u{feff}\r\n{v1}\r\n\r\n")), &[]).done(0, "1 accepted, 0 refused");
    desk.import(&desk.file("v1", flat), &[]).done(0, "1 accepted, 0 refused");
    let mut purchases: Vec<Value> = desk.purchases().into_iter().map(|item| item["purchase"].clone()).collect();
    purchases.sort_by_key(|purchase| purchase["customerId"].to_string());
    let expected = |customer: usize| {
        let mut purchase = v1.clone();
        purchase["customerId"] = format!("c-{customer}").into();
        (purchase["productDescription"], purchase["purchasedAt"]) = (json!(""), json!("2026-01-02T03:04:05.000Z"));
        purchase
    };
    assert_eq!(purchases, (1..=4).map(expected).collect::<Vec<_>>());
}

#[test]
fn what_is_refused_is_reported_and_can_be_mended_and_imported() {
    let desk = Desk::new();
    let rows = [row(1), "a,b\n".to_owned(), bad_row(2), String::from("\n"), row(3)];
    let file = desk.rows("p.csv", rows);
    let said = desk.import(&file, &[]).done(3, "Read 4 purchases from ");
    assert!(said.out.contains("2 accepted, 2 refused.\n") && said.out.contains("p.csv.refused.ndjson"), "{said:?}");
    let refused = report(&file);
    assert_eq!((&refused[0]["line"], &refused[0]["purchase"]), (&json!(3), &json!("a,b")));
    assert_eq!(refused[0]["detail"], "it has 2 columns, and the header has 9");
    let errors = refused[1]["errors"].as_array().unwrap();
    let pointers: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!((&refused[1]["line"], pointers), (&json!(4), vec!["/ProductName", "/TotalPrice"]));
    assert_eq!(refused[1]["purchase"]["TotalPrice"], "26");
    desk.import(&file, &[]).done(3, "is imported already, 2 accepted and 2 refused; nothing was done");

    let mended = with_suffix(&file, ".refused.ndjson");
    let mut first = refused[1].clone();
    first["purchase"]["ProductName"] = json!("Pot");
    first["purchase"]["TotalPrice"] = json!(25);
    first["purchase"]["CustomerId"] = json!("c-4");
    let second = fs::read_to_string(&mended).unwrap().lines().nth(1).unwrap().replace("\"26\"", "\"25\"");
    fs::write(&mended, format!("{first}\n{second}\n")).unwrap();
    desk.import(&mended, &[]).done(3, "1 accepted, 1 refused");
    assert_eq!(report(&mended)[0]["errors"], json!([{"pointer": "/ProductName", "detail": "is required"}]));
    let last = with_suffix(&mended, ".refused.ndjson");
    let text = fs::read_to_string(&last).unwrap().replace("\"ProductId\"", "\"ProductName\":\"Pot\",\"ProductId\"");
    fs::write(&last, text).unwrap();
    desk.import(&last, &[]).done(0, "1 accepted, 0 refused");
    assert_eq!(desk.customers(), each_once([1, 2, 3, 4]));
}

#[test]
fn killed_at_any_moment_and_started_again_each_purchase_is_there_once() {
    const ROWS: usize = 3_000;
    let desk = Desk::new();
    let is_bad = |at: usize| at % 100 == 7;
    let file = desk.rows("p.csv", (0..ROWS).map(|at| if is_bad(at) { bad_row(at) } else { row(at) }));
    let read = || progress(&file).map_or(0, |progress| progress["at"]["lines"].as_u64().unwrap());
    for kill in 0..6_u64 {
        let mut import = command(BINARY);
        import.arg("import").arg(&file).args(["--url", &desk.url()]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut import = import.spawn().unwrap();
        // Not always just after something was noted.
        let goal = read() + 1 + kill * 70;
        eventually("it gets on", PATIENCE, || (read() >= goal).then_some(()));
        std::thread::sleep(Duration::from_millis(kill));
        import.kill().unwrap();
        import.wait().unwrap();
        assert_eq!(progress(&file).unwrap()["finished"], false, "killed before its end");
    }
    // As if it had been killed between telling of a refused line and noting that it did.
    let refused = File::options().append(true).open(with_suffix(&file, ".refused.ndjson"));
    refused.unwrap().write_all(b"{\"line\":").unwrap();
    desk.import(&file, &[]).done(3, "Read 3,000 purchases from ");
    assert_eq!(desk.customers(), each_once((0..ROWS).filter(|&at| !is_bad(at))));
    let lines: Vec<u64> = report(&file).iter().map(|refused| refused["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, (0..ROWS).filter(|&at| is_bad(at)).map(|at| at as u64 + 2).collect::<Vec<_>>());
}

#[test]
fn the_same_purchases_in_two_files_at_once_are_there_once() {
    let desk = Desk::new();
    let files = ["p.csv", "copy.csv"].map(|name| desk.rows(name, (0..1_000).map(row)));
    std::thread::scope(|scope| {
        let imports = files.each_ref().map(|file| scope.spawn(|| desk.import(file, &[])));
        for import in imports {
            import.join().unwrap().done(0, "1,000 accepted");
        }
    });
    assert_eq!(desk.customers(), each_once(0..1_000));
}

/// What becomes of a batch on its way.
#[derive(Clone, Copy)]
enum Way {
    /// It arrives, and so does the answer.
    Open,
    /// The server is said to be busy.
    Busy,
    /// It arrives, and the answer does not.
    AnswerLost,
}

/// A way to `server` on which the batches meet this, one after the other; those after them find it open. Returns its
/// address and how many batches have come along.
fn way(server: SocketAddr, obstacles: Vec<Way>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let request = read_request(&mut client);
            let is_batch = request.starts_with(b"POST");
            let at = if is_batch { counted.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
            let obstacle = obstacles.get(at).copied().unwrap_or(Way::Open);
            let mut answer = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_vec();
            if !matches!(obstacle, Way::Busy) {
                let mut server = TcpStream::connect(server).unwrap();
                server.write_all(&request).unwrap();
                answer.clear();
                server.read_to_end(&mut answer).unwrap();
            }
            if !matches!(obstacle, Way::AnswerLost) {
                client.write_all(&answer).unwrap();
            }
        }
    });
    (address, count)
}

/// A request that arrives in whole.
fn read_request(client: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut reader = BufReader::new(client);
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    let head = String::from_utf8(request.clone()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    request.extend(body);
    request
}

#[test]
fn a_busy_server_and_lost_answers_are_outlasted() {
    let desk = Desk::new();
    let file = desk.rows("p.csv", (0..120).map(row));
    let (address, count) = way(desk.server.address(), vec![Way::Busy, Way::AnswerLost, Way::Open, Way::AnswerLost]);
    let url = format!("http://{address}");
    import(&file, &["--url", &url]).done(0, "120 accepted");
    assert_eq!(count.load(Ordering::SeqCst), 6, "three batches, and three of them sent again");
    assert_eq!(desk.customers(), each_once(0..120));
}

#[test]
fn a_server_that_stays_away_is_given_up_and_the_same_command_goes_on() {
    let desk = Desk::new();
    let file = desk.rows("p.csv", (0..120).map(row));
    let obstacles = [vec![Way::Open, Way::AnswerLost], vec![Way::Busy; 99]].concat();
    let (address, _) = way(desk.server.address(), obstacles);
    let said = import(&file, &["--url", &format!("http://{address}"), "--patience", "1"]);
    said.failed(&["the same command goes on from line 51"]);
    desk.import(&file, &["--restart"]).failed(&["interrupted before line 51: go on without --restart"]);
    desk.import(&file, &[]).done(0, "This run read 71 in ");
    assert_eq!(desk.customers(), each_once(0..120));
}

#[test]
fn standard_input_will_do() {
    let desk = Desk::new();
    let file = desk.rows("p.csv", (0..99).map(row).chain([bad_row(99)]));
    let piped = |options: &str| -> Said {
        let mut shell = command("sh");
        let line = format!("cat \"$1\" | \"$0\" import - --url \"$2\" {options}");
        shell.args(["-c", &line, BINARY, file.to_str().unwrap(), &desk.url()]).current_dir(desk.files.path());
        finish(shell).into()
    };
    let said = piped("");
    assert!(said.code == Some(3) && said.out.contains("Read 100 purchases from standard input"), "{said:?}");
    let refused: Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!((&refused["line"], &refused["purchase"]["CustomerId"]), (&json!(101), &json!("c-99")));
    piped("--refused refused.ndjson").done(3, "The refused ones are in refused.ndjson");
    piped("--refused refused.ndjson").failed(&["refused.ndjson is there already"]);
    assert_eq!(desk.customers(), each_once(0..99), "the same input within a day adds nothing");
    assert_eq!(fs::read_dir(desk.files.path()).unwrap().count(), 2, "only the file and the report");
    piped("--restart --refused refused.ndjson").done(3, "99 accepted, 1 refused");
    assert!(desk.customers().values().all(|&count| count == 2), "wished for");
}

#[test]
fn what_cannot_be_imported_is_said_before_anything_is_sent() {
    let desk = Desk::new();
    let failed = |name: &str, text: &[u8], parts: &[&str]| {
        let file = desk.file(name, text);
        desk.import(&file, &[]).failed(parts);
        assert_eq!(progress(&file), None, "{name}");
    };
    failed(
        "bad.csv",
        format!("{},Colour\n{}", HEADER.replace(",Quantity", ""), row(1)).as_bytes(),
        &["bad.csv cannot be imported: it has no column Quantity; nothing is known of a column \"Colour\""],
    );
    failed(
        "open.csv",
        format!("{HEADER}\n{}p,\"Kettle\n{}", row(1), row(2)).as_bytes(),
        &["the quote that is opened in line 3 is never closed"],
    );
    failed(
        "long.csv",
        format!("{HEADER}\n{}{}\n", row(1), "x".repeat(70_000)).as_bytes(),
        &["the record in line 3 is longer than 65536 bytes"],
    );
    failed("empty", b"", &["there is nothing in it"]);
    failed("array.json", b"[{}]", &["it is a JSON array"]);
    failed("excel.txt", b"\xff\xfeP\0", &["it is UTF-16"]);
    failed("shop.ndjson", b"{\"format\":\"cartwright.export\",\"version\":1}\n{}\n", &["is an export of a whole shop"]);
    desk.import(desk.files.path(), &[]).failed(&["is a folder"]);
    desk.import(&desk.path("nothing.csv"), &[]).failed(&["cannot read", "nothing.csv"]);

    let file = desk.rows("p.csv", [row(1)]);
    desk.import(&file, &["--refused", file.to_str().unwrap(), "--restart"])
        .failed(&["--refused names the file that is imported"]);
    let other = desk.file("p.csv.refused.ndjson", "mended\n");
    desk.import(&file, &[]).failed(&["p.csv.refused.ndjson is there already, and may have been mended"]);
    assert_eq!(fs::read_to_string(other).unwrap(), "mended\n");
    let lock = File::open(&file).unwrap();
    lock.lock().unwrap();
    desk.import(&file, &[]).failed(&["another import of", "is running"]);
    drop(lock);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    import(&file, &["--url", &format!("http://{free}")]).failed(&["no server answers at", "--data"]);
    import(&file, &["--data", desk.files.path().to_str().unwrap()]).failed(&["there is no shop in"]);
    import(&file, &["--data", desk.shop.path().to_str().unwrap()]).failed(&["stop it first"]);
    assert_eq!(progress(&file), None);
    assert_eq!(desk.purchases(), Vec::<Value>::new());
    assert_eq!(run(&["import"]).status.code(), Some(2));
}

#[test]
fn a_changed_file_and_another_shop_are_noticed() {
    let desk = Desk::new();
    let file = desk.rows("p.csv", [row(1), row(2)]);
    desk.import(&file, &[]).done(0, "2 accepted");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.clone() + &row(3)).unwrap();
    desk.import(&file, &[]).failed(&["has changed since 2 purchases of it were imported", "--restart"]);
    fs::write(&file, text).unwrap();
    desk.import(&file, &[]).done(0, "is imported already, 2 accepted and 0 refused");

    let other = Desk::new();
    other.import(&file, &[]).failed(&["this shop does not have the last purchase", "--restart"]);
    assert_eq!(other.purchases(), Vec::<Value>::new());
    other.import(&file, &["--restart"]).done(0, "2 accepted");
    assert_eq!(other.customers(), each_once([1, 2]));
    other.import(&file, &["--restart"]).done(0, "2 accepted");
    assert_eq!(other.purchases().len(), 4, "wished for");
    fs::write(with_suffix(&file, ".progress"), "{}").unwrap();
    other.import(&file, &["--restart"]).failed(&["does not tell of an import; move it out of the way"]);
}

#[test]
fn after_more_than_a_day_it_asks_what_became_of_the_batch_in_doubt() {
    let desk = Desk::new();
    for (name, customers, answer) in [("recorded.csv", 0..60, "recorded"), ("lost.csv", 100..160, "lost")] {
        let file = desk.rows(name, customers.map(row));
        let (address, _) = way(desk.server.address(), vec![Way::Open, Way::Busy, Way::Busy, Way::Busy, Way::Busy]);
        import(&file, &["--url", &format!("http://{address}"), "--patience", "1"]).failed(&["goes on from line 51"]);
        let mut noted = progress(&file).unwrap();
        noted["savedAt"] = json!("2026-01-01T00:00:00Z");
        fs::write(with_suffix(&file, ".progress"), noted.to_string()).unwrap();
        for _ in 0..2 {
            desk.import(&file, &[]).failed(&["lines 51 to 61 of", "--in-doubt recorded or --in-doubt lost"]);
        }
        desk.import(&file, &["--in-doubt", answer]).done(0, "60 accepted, 0 refused");
    }
    assert_eq!(desk.customers(), each_once((0..49).chain(100..160)));
}

#[test]
fn the_folder_of_a_stopped_shop_will_do() {
    let (shop, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    Server::start(shop.path(), &["--currency", "EUR"]).stop();
    let file = files.path().join("p.csv");
    fs::write(&file, format!("{HEADER}\n{}", (0..60).map(row).collect::<String>())).unwrap();
    let said = import(&file, &["--data", shop.path().to_str().unwrap()]);
    said.done(0, "60 accepted, 0 refused.\n").done(0, "They are recorded when the server of this shop runs.");
    let desk = Desk { server: Server::start(shop.path(), &["--currency", "EUR"]), shop, files };
    assert_eq!(desk.customers(), each_once(0..60));
    assert_eq!(desk.purchases()[0]["purchase"]["total"], json!({"amount": 2_500, "currency": "EUR"}));
    desk.import(&file, &[]).done(0, "is imported already");
}

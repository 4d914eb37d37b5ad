//! The command `cartwright import`: purchases from a file into a shop, each exactly once, however often it is interrupted.
//!
//! The file is sent in batches, one after the other. Each has an `Idempotency-Key` made of the file's digest and its place in
//! it, and what became of it is noted beside the file before the next is sent. So an import that is ended at any moment goes
//! on behind the last batch that was noted; the one after it may have arrived or not, and is sent again under its key.

mod batch;
mod journal;
pub mod reader;
mod source;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use http::Method;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::Value;

use self::batch::{Batch, Batches, Keys};
use self::journal::{Counts, Journal, Plan, Progress, plan, progress_file, with_suffix};
use self::reader::Format;
use self::source::Source;
use super::restore;
use super::shop::{AnyError, Place, Shop, refusal};
use crate::app::{Clock, Ids};
use crate::store::ANSWER_KEPT;
use crate::system::{SystemClock, SystemIds};
use crate::transfer;

/// What the command ends with when it did its work and lines were refused.
const SOME_REFUSED: u8 = 3;

/// Import purchases that were made elsewhere, from a CSV or NDJSON file, each exactly once; or a whole shop, from an export.
#[derive(Args)]
#[command(after_help = "\
A CSV file has a header row with the columns ProductId, ProductName, ProductDescription (may be left out), Category,
PricePerUnit, Quantity, TotalPrice, CustomerId, CustomerName and TimeOfPurchase, or those of /v1. An NDJSON file has a JSON
object with such members on each line. docs/importing.md tells more.

  cartwright import purchases.csv
  cartwright import purchases.csv.refused.ndjson
  zcat purchases.ndjson.gz | cartwright import - --refused refused.ndjson

A file that `cartwright export` has made becomes a shop in a folder that has none:

  cartwright import shop.ndjson --data ./other-data

After an interruption the same command goes on where it was. It ends with 0 when everything was accepted, with 3 when lines
were refused, and with 1 when it could not do its work to the end.")]
pub struct Import {
    /// The file; - for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Options {
    /// Where refused lines go, with the reasons. Without it, FILE.refused.ndjson; for standard input, standard error.
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
    /// Import the file from its beginning though it was imported before; what the shop accepted then will be there twice.
    #[arg(long)]
    restart: bool,
    /// How long to try while the server cannot take purchases, in seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    patience: u64,
    /// Whether the shop has the batch that was on its way when the import was interrupted. Only asked for after a day.
    #[arg(long, value_name = "ANSWER")]
    in_doubt: Option<InDoubt>,
}

/// What became of a batch of which the shop no longer knows.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InDoubt {
    /// The shop has it.
    Recorded,
    /// The shop does not have it.
    Lost,
}

/// Runs the command. The exit code tells whether lines were refused.
///
/// # Errors
/// A sentence for the terminal.
pub async fn run(command: Import) -> Result<ExitCode, AnyError> {
    let Import { file, place, options } = command;
    let mut source = Source::open(&file)?;
    if transfer::is_export(&source.head) {
        let Some(folder) = place.data else {
            let name = &source.name;
            return Err(
                format!("{name} is an export of a whole shop; name the folder of the new shop with --data").into()
            );
        };
        let (name, size) = (source.name.clone(), source.size());
        return restore::run(source.input()?, &name, size, &folder).map(|()| ExitCode::SUCCESS);
    }
    let format = Format::of(&source.head).map_err(|why| source.unreadable(&why))?;
    let is_stopped = place.data.is_some();
    let shop = Shop::at(place).await?;
    let outcome = import(&shop, &file, &options, &mut source, &format).await;
    shop.close().await;
    let (counts, mut lines) = outcome?;
    if is_stopped {
        lines += "They are recorded when the server of this shop runs.\n";
    }
    // A closed pipe is no reason to complain: nobody reads it any more.
    let _ = io::stdout().write_all(lines.as_bytes());
    Ok(if counts.refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(SOME_REFUSED) })
}

/// Imports what is left of a source. Returns what became of all its lines, and what to say.
async fn import(
    shop: &Shop,
    file: &Path,
    options: &Options,
    source: &mut Source,
    format: &Format,
) -> Result<(Counts, String), AnyError> {
    let bar = progress_bar(source.size())?;
    if !format.ignored.is_empty() {
        let names = format.ignored.join(", ");
        note(&bar, &format!("{names}: not taken over; the shop gives each purchase an id of its own"));
    }
    let digest = source.digest(format, &bar)?;
    let mut journal = match &digest {
        Some(digest) => match begin(shop, file, options, source, format, digest).await? {
            Begun::Journal(journal) => journal,
            Begun::Imported(past) => return Ok((past.counts, already_imported(&source.name, &past))),
        },
        None => {
            knows(shop, None).await?;
            let seed = if options.restart { random_seed() } else { "pipe".to_owned() };
            Journal::of_pipe(
                Progress::new(String::new(), seed, format.start),
                options.refused.clone(),
                options.restart,
            )?
        }
    };
    let (before, begun) = (journal.state.counts, Instant::now());
    send_all(shop, options, source, format, &mut journal, &bar).await?;
    bar.finish_and_clear();
    if source.has_changed() {
        return Err(format!("{} was changed while it was imported; look what the shop has of it", source.name).into());
    }
    journal.finish(SystemClock.now())?;
    Ok((journal.state.counts, summary(&source.name, &journal, before, begun.elapsed())))
}

enum Begun {
    Journal(Journal),
    Imported(Progress),
}

/// Begins the import of a file, or goes on where it was.
async fn begin(
    shop: &Shop,
    file: &Path,
    options: &Options,
    source: &Source,
    format: &Format,
    digest: &str,
) -> Result<Begun, AnyError> {
    let report = report_file(file, options)?;
    let past = Progress::load(&progress_file(file))?;
    let is_known = knows(shop, past.as_ref().and_then(|past| past.last_accepted.as_deref())).await?;
    let journal = match plan(past, digest, is_known, options.restart, &source.name)? {
        Plan::Nothing(past) => return Ok(Begun::Imported(past)),
        Plan::GoOn(past) => Journal::go_on(file, past, report)?,
        Plan::Begin => {
            let seed = if options.restart { random_seed() } else { digest.to_owned() };
            let progress = Progress::new(digest.to_owned(), seed, format.start);
            Journal::begin(file, progress, report, options.restart, SystemClock.now())?
        }
    };
    Ok(Begun::Journal(journal))
}

/// Sends what is left, batch by batch.
async fn send_all(
    shop: &Shop,
    options: &Options,
    source: &mut Source,
    format: &Format,
    journal: &mut Journal,
    bar: &ProgressBar,
) -> Result<(), AnyError> {
    let (name, is_file) = (source.name.clone(), source.size().is_some());
    let (before, begun) = (journal.state.counts, Instant::now());
    let patience = Duration::from_secs(options.patience);
    let mut keys = Keys { seed: journal.state.seed.clone(), is_chained: !is_file };
    // The batch that was on its way, if the shop would not know its key any more.
    let mut is_in_doubt = SystemClock.now().duration_since(journal.state.saved_at) >= ANSWER_KEPT;
    bar.set_position(journal.state.at.bytes);
    bar.reset_eta();
    let mut batches = Batches::new(source.reader(format, journal.state.at)?);
    while let Some(batch) = batches.next().map_err(|error| format!("{name} cannot be read on: {error}"))? {
        let answers = match (&batch.body, options.in_doubt) {
            (None, _) => None,
            (Some(_), None) if is_in_doubt => return Err(in_doubt(&batch, &name)),
            (Some(_), Some(InDoubt::Recorded)) if is_in_doubt => None,
            (Some(body), _) => {
                let key = keys.next(journal.state.at, body);
                let wait = |why: &str| bar.set_message(format!("waiting: {why}"));
                let answers = batch::send(shop, &key, body, patience, wait).await;
                Some(answers.map_err(|why| stopped(&why, &batch, &journal.state, options, is_file))?)
            }
        };
        is_in_doubt = false;
        let settled = batch.settle(answers)?;
        let mut keep = || journal.settle(&settled, batch.end(), SystemClock.now());
        if settled.refused.is_empty() { keep() } else { bar.suspend(keep) }?;
        bar.set_position(journal.state.at.bytes);
        bar.set_message(so_far(journal.state.counts, before, begun.elapsed()));
    }
    Ok(())
}

/// Whether the shop has the purchase `id`. Without an id, whether it can be reached at all.
async fn knows(shop: &Shop, id: Option<&str>) -> Result<bool, AnyError> {
    let path = id.map_or("/health".to_owned(), |id| format!("/v1/purchases/{id}"));
    match shop.send(&Method::GET, &path, None, "").await? {
        (200, _) => Ok(true),
        (404, answer) if is_no_purchase(&answer) => Ok(false),
        (status, answer) => Err(refusal(status, &answer)),
    }
}

fn is_no_purchase(answer: &[u8]) -> bool {
    serde_json::from_slice::<Value>(answer).is_ok_and(|problem| problem["code"] == "purchase_not_found")
}

/// Where the refused lines of a file go.
fn report_file(file: &Path, options: &Options) -> Result<PathBuf, AnyError> {
    let report = options.refused.clone().unwrap_or_else(|| with_suffix(file, ".refused.ndjson"));
    if report.canonicalize().is_ok_and(|report| file.canonicalize().is_ok_and(|file| file == report)) {
        return Err("--refused names the file that is imported; name another".into());
    }
    Ok(absolute(report)?)
}

/// A seed that no other import has.
fn random_seed() -> String {
    format!("{:016x}{:016x}", SystemIds.random(), SystemIds.random())
}

/// Asks what became of a batch.
fn in_doubt(batch: &Batch, name: &str) -> AnyError {
    let (first, last) = (HumanCount(batch.first_line()), HumanCount(batch.end().lines));
    format!(
        "lines {first} to {last} of {name} were on their way when the import was interrupted, and the shop remembers a \
         request for a day only: look whether it has these purchases (all or none), and go on with --in-doubt recorded or \
         --in-doubt lost"
    )
    .into()
}

/// Why an import stopped, and how it goes on.
fn stopped(why: &AnyError, batch: &Batch, state: &Progress, options: &Options, is_file: bool) -> AnyError {
    let line = HumanCount(batch.first_line());
    let why = why.to_string();
    let why = why.trim_end_matches('.');
    let again = match (is_file, options.restart) {
        (true, false) => format!("the same command goes on from line {line}"),
        (true, true) => format!("the same command without --restart goes on from line {line}"),
        (false, _) => {
            let accepted = HumanCount(state.counts.accepted);
            format!(
                "{accepted} purchases were accepted, all before line {line}; the same input within a day adds only the others"
            )
        }
    };
    format!("{why}; {again}").into()
}

/// A line on standard error that leaves the progress bar whole.
fn note(bar: &ProgressBar, line: &str) {
    // Without standard error, nobody wants to know.
    bar.suspend(|| _ = writeln!(io::stderr(), "{line}"));
}

fn progress_bar(size: Option<u64>) -> Result<ProgressBar, AnyError> {
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:30} {bytes}/{total_bytes}, {eta} left  {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template)?);
    bar.set_message("checking");
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

/// Purchases a second.
fn rate(count: u64, time: Duration) -> HumanCount {
    HumanCount(count.saturating_mul(1000) / u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1))
}

fn so_far(counts: Counts, before: Counts, time: Duration) -> String {
    let rate = rate(counts.read() - before.read(), time);
    format!("{} accepted, {} refused, {rate} a second", HumanCount(counts.accepted), HumanCount(counts.refused))
}

fn already_imported(name: &str, past: &Progress) -> String {
    let Counts { accepted, refused } = past.counts;
    format!(
        "{name} is imported already, {} accepted and {} refused; nothing was done. --restart imports it once more.\n",
        HumanCount(accepted),
        HumanCount(refused)
    )
}

fn summary(name: &str, journal: &Journal, before: Counts, time: Duration) -> String {
    let Counts { accepted, refused } = journal.state.counts;
    let now = journal.state.counts.read() - before.read();
    let (seconds, tenths, rate) = (time.as_secs(), time.subsec_millis() / 100, rate(now, time));
    let [read, now, accepted, refused] = [accepted + refused, now, accepted, refused].map(HumanCount);
    let mut lines = format!("Read {read} purchases from {name}: {accepted} accepted, {refused} refused.\n");
    let _ = writeln!(lines, "This run read {now} in {seconds}.{tenths} s, {rate} a second.");
    if let Some(report) = journal.report() {
        let report = report.display();
        let _ = writeln!(
            lines,
            "The refused ones are in {report}, with the reasons; mend them there and import that file."
        );
    }
    lines
}

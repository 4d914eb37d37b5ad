//! How fast a shop is, against what the same machine can do at best.
//!
//! One program in several roles: started by hand it is the load, and it starts itself again as the servers, so that load
//! and servers are different processes of the same build. What is measured in every run is in [`rows`] (over HTTP) and
//! [`storage`] (at the store); what takes long is measured when it is named: [`hot`], [`growth`], [`soak`], [`overload`],
//! [`peers`]. How load is made is in [`load`] and [`work`]; what a server is, in [`serve`].

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its terminal")]
#![expect(clippy::float_arithmetic, reason = "rates and ratios are measurements, not money")]

mod connection;
mod files;
mod filling;
mod growth;
mod hot;
mod load;
mod machine;
mod overload;
mod peers;
mod recording;
mod report;
mod rows;
mod serve;
mod servers;
mod soak;
mod storage;
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cartwright::local::server::LimitOptions;
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::load::Times;
use crate::machine::Machine;
use crate::report::Report;
use crate::servers::Pinning;

/// Any error: its text is all that anyone does with it.
type AnyError = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = AnyError> = std::result::Result<T, E>;

/// Measures a shop on this machine: reads, durable writes, commits, checkouts. Takes about five minutes.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    /// Short rounds, about half a minute in all: shows that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Also write everything that was measured to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder for the data, on the disk to be measured. By default the folder this was built in.
    #[arg(long, env = "CARTWRIGHT_BENCH_DATA", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Measure only these; without them, reads, writes, store and checkouts.
    #[arg(value_enum)]
    rows: Vec<Row>,
    /// How long the soak takes.
    #[arg(long, value_name = "MINUTES", default_value_t = 60.0)]
    minutes: f64,
    /// Another build of this program, whose shop is measured over HTTP instead of this one's: to tell what a change has
    /// done, measure one and the other in turn.
    #[arg(long, value_name = "PROGRAM")]
    build: Option<PathBuf>,
    /// Where the peers are installed.
    #[arg(long, value_name = "FOLDER", default_value = "target/peers")]
    peers: PathBuf,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    /// Products, pages and orders that are read, against a bare route.
    Reads,
    /// Durable writes of every kind, by up to 256 clients.
    Writes,
    /// Commits at the store, against plain SQLite.
    Store,
    /// Whole checkouts until the order is confirmed.
    Checkouts,
    /// One product that 1,000 want; baskets of 50 lines.
    Hot,
    /// Shops of up to millions of documents, and a queue of a million messages. Takes about six minutes.
    Growth,
    /// Checkouts at 70 % of the maximum, for an hour or --minutes.
    Soak,
    /// A minute of three times what the shop takes on.
    Overload,
    /// Other shops on this machine.
    Peers,
}

impl Row {
    /// Those that are measured when none is named.
    const USUAL: [Row; 4] = [Row::Reads, Row::Writes, Row::Store, Row::Checkouts];
}

/// What this process is, when it is not the load.
#[derive(Subcommand)]
enum Role {
    /// The shop.
    #[command(hide = true)]
    ServeShop {
        /// Its data folder.
        #[arg(long)]
        data: PathBuf,
        #[command(flatten)]
        limits: Box<LimitOptions>,
    },
    /// The bare route.
    #[command(hide = true)]
    ServeBare {
        /// The bodies it answers with, as an array of strings.
        #[arg(long)]
        bodies: String,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.role {
        Some(Role::ServeShop { data, limits }) => serve::shop(data, limits).map(|()| true),
        Some(Role::ServeBare { bodies }) => serve::bare(bodies).map(|()| true),
        None => run(&cli),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cartwright-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long everything takes, and where the progress is shown.
struct Plan {
    /// Alternating rounds of two that are compared.
    rounds: usize,
    /// One such round.
    round: Times,
    /// A measurement that is not compared.
    phase: Times,
    /// The one that is long.
    long: Times,
    progress: ProgressBar,
}

impl Plan {
    fn new(quick: bool) -> Result<Self> {
        let millis = Duration::from_millis;
        let times = |warm_up, measured| Times { warm_up: millis(warm_up), measured: millis(measured) };
        let style = ProgressStyle::with_template("{msg:44} {bar:30} {pos}/{len} {elapsed}")?;
        let (rounds, round, phase, long) = if quick {
            (3, times(200, 400), times(300, 800), times(300, 3000))
        } else {
            (5, times(500, 2000), times(1000, 5000), times(1000, 60_000))
        };
        Ok(Plan { rounds, round, phase, long, progress: ProgressBar::new(0).with_style(style) })
    }

    /// Announces so many steps more.
    fn expect(&self, steps: usize) {
        self.progress.inc_length(steps as u64);
    }

    /// Announces what is done next.
    fn step(&self, what: &str) {
        self.progress.set_message(what.to_owned());
        self.progress.inc(1);
    }
}

/// Measures, reports, and tells whether all went well.
fn run(cli: &Cli) -> Result<bool> {
    let plan = Plan::new(cli.quick)?;
    let folder = data_folder(cli.data_dir.as_deref())?;
    let pinning = Pinning::find();
    cli.build.clone().into_iter().for_each(servers::measure_build);
    let mut report = Report::new(Machine::find(folder.path()), cli.quick, pinning);
    let wanted = |row| if cli.rows.is_empty() { Row::USUAL.contains(&row) } else { cli.rows.contains(&row) };

    // The store first: it has both cores to itself, as it has in a server that is not pinned. Then this process keeps to
    // its own core.
    if wanted(Row::Store) {
        plan.expect(storage::steps());
        report.storage = Some(storage::measure(&plan, folder.path(), cli.quick)?);
    }
    if let Some(pinning) = pinning {
        pinning.pin_load()?;
    }
    // One thread: the load has one core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(over_http(cli, &plan, pinning, folder.path(), wanted, &mut report));
    plan.progress.finish_and_clear();
    print!("{}", report.table());
    if let Some(file) = &cli.json {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, json + "\n").map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        println!("\nAll numbers are in {}.", file.display());
    }
    let errors = report.errors();
    if !errors.is_empty() {
        eprintln!("\n*** {} REQUESTS OR ROWS FAILED: THE NUMBERS ABOVE ARE NOT VALID ***", report.error_count());
        errors.iter().for_each(|error| eprintln!("  {error}"));
    }
    Ok(errors.is_empty())
}

/// Measures what is wanted of everything that goes over HTTP. What fails is told with the rest, which took long.
async fn over_http(
    cli: &Cli,
    plan: &Plan,
    pinning: Option<Pinning>,
    folder: &Path,
    wanted: impl Fn(Row) -> bool,
    report: &mut Report,
) {
    let one = |section| vec![section];
    if [Row::Reads, Row::Writes, Row::Checkouts].into_iter().any(&wanted) {
        plan.expect(rows::steps(plan, &wanted));
        report.add(rows::measure(plan, pinning, folder, &wanted).await);
    }
    if wanted(Row::Hot) {
        plan.expect(hot::STEPS);
        report.add(hot::measure(plan, pinning, folder).await);
    }
    if wanted(Row::Overload) {
        plan.expect(overload::STEPS);
        report.add(overload::measure(plan, pinning, folder).await.map(one));
    }
    if wanted(Row::Peers) {
        plan.expect(peers::STEPS);
        report.add(peers::measure(plan, pinning, folder, &cli.peers).await.map(one));
    }
    if wanted(Row::Growth) {
        plan.expect(growth::STEPS);
        for shop in growth::SHOPS {
            report.add(growth::measure(plan, pinning, folder, cli.quick, shop).await.map(one));
        }
    }
    if wanted(Row::Soak) {
        plan.expect(soak::STEPS);
        let minutes = if cli.quick { 0.1 } else { cli.minutes };
        report.add(soak::measure(plan, pinning, folder, minutes).await.map(one));
    }
}

/// A new folder on a real disk, which goes when the run ends. By default in the build's own target folder, because the
/// usual place for temporary files may be memory, where `fsync` does nothing.
fn data_folder(parent: Option<&Path>) -> Result<tempfile::TempDir> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).unwrap_or(Path::new("."));
    let parent = parent.unwrap_or(target);
    let made = std::fs::create_dir_all(parent)
        .and_then(|()| tempfile::Builder::new().prefix("bench-data-").tempdir_in(parent));
    made.map_err(|error| format!("cannot make a folder in {}: {error}", parent.display()).into())
}

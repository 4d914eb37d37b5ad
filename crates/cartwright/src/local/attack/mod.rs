//! The command `cartwright attack`: races against a running shop, wherever it is, and a report of what held.
//!
//! The races follow the anomalies that Warszawski and Bailis found in shops ("ACIDRain", SIGMOD 2017): requests that are
//! right one after the other and wrong at the same time. Each works on products, customers and baskets of its own, which it
//! removes afterwards as far as the API allows; it touches nothing else.

mod races;
mod report;
mod target;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::shop::AnyError;
use races::RACES;
use report::{Report, Row};
use target::Target;

/// Race a running shop, and report whether it can be cheated or confused.
#[derive(Args)]
#[command(after_help = "\
Customers who check out twice, buyers of the last piece, a price that changes while someone buys, a cancellation against a shipment:
each race sends its requests at the same moment, waits until the shop has settled, and looks whether everything still adds up.

  cartwright attack http://127.0.0.1:8080
  CARTWRIGHT_KEY=cw_… cartwright attack https://shop.example --rounds 10

Works with data of its own and removes it afterwards. Orders cannot be removed: they stay, cancelled where that is possible.
Ends with 0 when everything held, with 1 when something broke, and with 2 when a race could not be run.")]
pub struct Attack {
    /// The shop: its base URL.
    url: String,
    /// An API key with the role staff or admin, where access control is on.
    #[arg(long, env = "CARTWRIGHT_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
    /// Requests at the same moment.
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(2..=100))]
    racers: u8,
    /// How often each race is run.
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Longest wait for what happens behind a queue, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    patience: u64,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs every race, prints the report, and says by its exit code whether everything held.
///
/// # Errors
/// There is no shop under the URL, or it does not let this key in.
pub async fn run(attack: Attack) -> Result<ExitCode, AnyError> {
    let target =
        Target::new(attack.url.clone(), attack.key, attack.racers.into(), Duration::from_secs(attack.patience))?;
    target.greet().await?;
    let style = ProgressStyle::with_template("{msg:42} {bar:30} {pos}/{len}")?;
    let bar = ProgressBar::new(RACES.len() as u64 * u64::from(attack.rounds)).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut rows = Vec::with_capacity(RACES.len());
    for race in RACES {
        bar.set_message(race.name);
        let mut row = Row::new(race);
        for round in 0..attack.rounds {
            let outcome = (race.run)(&target, target.arena(race.name, round)).await;
            row.add(outcome);
            bar.inc(1);
        }
        rows.push(row);
    }
    bar.finish_and_clear();
    let left = target.clean_up().await;
    let report = Report { url: attack.url, rounds: attack.rounds, racers: attack.racers, rows, left };
    let text = if attack.json { report.json() } else { report.table() };
    // A closed pipe is no reason to call the shop broken.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::from(report.exit_code()))
}

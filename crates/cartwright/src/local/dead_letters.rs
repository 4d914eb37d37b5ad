//! The command `cartwright dead-letters`: what an operator does about dead letters, from a terminal.
//!
//! It asks the API, of a running server over HTTP or, with `--data`, of the shop in a folder whose server is stopped. What
//! it prints is for people; `--json` is for programs.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::shop::{AnyError, Place, Shop, text};
use crate::queues::MAX_AT_ONCE;
use crate::queues::ops::Taken;

/// Longest reason in a line of the list; `show` has all of it.
const MAX_REASON_CHARS: usize = 100;

/// Look at the messages that could not be processed, and decide what becomes of them.
#[derive(Args)]
#[command(after_help = "\
A message that cannot be processed, or failed too often, is a dead letter: whole, with the reason, until someone decides.
Mend the cause, then redrive it; discard what can never succeed.

  cartwright dead-letters list
  cartwright dead-letters show --queue OrderQueue 17
  cartwright dead-letters redrive --queue OrderQueue 17 18
  cartwright dead-letters redrive --queue OrderQueue --all
  cartwright dead-letters discard --queue OrderQueue 19 --reason 'a test event'")]
pub struct DeadLetters {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: Place,
    /// Print JSON, as the API answers it: of a list, one dead letter a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// List dead letters, newest first.
    List {
        /// Only of this queue; without it, of all.
        #[arg(long, value_name = "NAME")]
        queue: Option<String>,
        /// Most to list of a queue.
        #[arg(long, default_value_t = 20, value_name = "COUNT")]
        limit: usize,
    },
    /// Show a dead letter with its whole message.
    Show {
        /// The queue it died in.
        #[arg(long, value_name = "NAME")]
        queue: String,
        /// Its id, from the list.
        id: String,
    },
    /// Put dead letters back at the end of their queue, to be received as if for the first time.
    Redrive {
        #[command(flatten)]
        which: Which,
    },
    /// Remove dead letters for good.
    Discard {
        #[command(flatten)]
        which: Which,
        /// Why, in 1 to 500 characters; it is kept in the event that tells of it and in the log, which with --data is this
        /// terminal.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Args)]
struct Which {
    /// The queue they died in.
    #[arg(long, value_name = "NAME")]
    queue: String,
    /// Their ids, from the list. They go forty at a time; when one is not there, nothing happens to its forty, nor to those after.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All dead letters of the queue.
    #[arg(long)]
    all: bool,
}

/// Runs the command.
///
/// # Errors
/// A sentence for the terminal.
pub async fn run(command: DeadLetters) -> Result<(), AnyError> {
    let DeadLetters { command, place, json } = command;
    let shop = Shop::at(place).await?;
    let outcome = match command {
        Command::List { queue, limit } => list(&shop, queue, limit, json).await,
        Command::Show { queue, id } => show(&shop, &queue, &id, json).await,
        Command::Redrive { which } => take(&shop, "redrive", which, None, json).await,
        Command::Discard { which, reason } => take(&shop, "discard", which, Some(reason), json).await,
    };
    shop.close().await;
    // A closed pipe is no reason to complain: nobody reads it any more.
    let _ = std::io::stdout().write_all(outcome?.as_bytes());
    Ok(())
}

/// A queue, as far as it matters here.
#[derive(Deserialize)]
struct Queue {
    name: String,
    dead: u64,
}

/// A page of a list. Dead letters are kept as they came, so that `--json` shows them to the letter.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

/// A part of a path, of any text.
fn segment(text: &str) -> String {
    let mut part = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
        let _ = if plain { write!(part, "{}", byte as char) } else { write!(part, "%{byte:02X}") };
    }
    part
}

async fn list(shop: &Shop, queue: Option<String>, limit: usize, json: bool) -> Result<String, AnyError> {
    let queues = match queue {
        Some(name) => vec![shop.get::<Queue>(&format!("/v1/queues/{}", segment(&name))).await?],
        None => shop.get::<Page<Queue>>("/v1/queues").await?.items,
    };
    let (mut letters, mut hidden) = (Vec::new(), 0);
    for Queue { name, dead } in queues {
        let found = list_queue(shop, &name, limit).await?;
        hidden += dead.saturating_sub(found.len() as u64);
        letters.extend(found.into_iter().map(|letter| (name.clone(), letter)));
    }
    if json {
        let line = |(queue, letter): &(String, Box<RawValue>)| {
            let members = letter.get().trim_start_matches('{');
            format!("{{\"queue\":{},{members}\n", Value::from(queue.as_str()))
        };
        return Ok(letters.iter().map(line).collect());
    }
    if letters.is_empty() {
        return Ok("There are no dead letters.\n".to_owned());
    }
    let mut lines = table(&letters)?;
    if hidden > 0 {
        let _ = writeln!(lines, "… and {hidden} more; see them with --limit.");
    }
    Ok(lines)
}

/// The newest dead letters of a queue, page by page.
async fn list_queue(shop: &Shop, queue: &str, limit: usize) -> Result<Vec<Box<RawValue>>, AnyError> {
    let (mut letters, mut cursor) = (Vec::new(), String::new());
    while letters.len() < limit {
        let page = (limit - letters.len()).min(crate::store::MAX_PAGE);
        let path = format!("/v1/queues/{}/dead-letters?limit={page}{cursor}", segment(queue));
        let page: Page<Box<RawValue>> = shop.get(&path).await?;
        letters.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(letters)
}

fn table(letters: &[(String, Box<RawValue>)]) -> Result<String, AnyError> {
    let head = ["QUEUE", "ID", "DIED", "RECEIVES", "EVENT", "REASON"].map(str::to_owned);
    let mut rows = vec![head];
    for (queue, letter) in letters {
        let letter: Value = serde_json::from_str(letter.get())?;
        let died = text(&letter["diedAt"]);
        let event = letter["event"]["detail-type"].as_str().unwrap_or("?").to_owned();
        let reason = text(&letter["reason"]).replace(['\n', '\r', '\t'], " ");
        let short: String = reason.chars().take(MAX_REASON_CHARS).collect();
        let reason = if short.len() < reason.len() { short + "…" } else { reason };
        rows.push([queue.clone(), text(&letter["id"]), died, text(&letter["receives"]), event, reason]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut lines = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(lines, "{}", line.trim_end());
    }
    Ok(lines)
}

async fn show(shop: &Shop, queue: &str, id: &str, json: bool) -> Result<String, AnyError> {
    let path = format!("/v1/queues/{}/dead-letters/{}", segment(queue), segment(id));
    let letter: Box<RawValue> = shop.get(&path).await?;
    if json {
        return Ok(format!("{letter}\n"));
    }
    let letter: Value = serde_json::from_str(letter.get())?;
    let mut lines = format!("Dead letter {} of {queue}\n", text(&letter["id"]));
    for (name, member) in
        [("enqueued", "enqueuedAt"), ("died", "diedAt"), ("receives", "receives"), ("reason", "reason")]
    {
        let _ = writeln!(lines, "  {name:<9} {}", text(&letter[member]));
    }
    let event = &letter["event"];
    let event = if event.is_object() { serde_json::to_string_pretty(event)? } else { text(event) };
    let _ = writeln!(lines, "{event}");
    Ok(lines)
}

async fn take(shop: &Shop, action: &str, which: Which, reason: Option<String>, json: bool) -> Result<String, AnyError> {
    let Which { queue, ids, all } = which;
    let path = format!("/v1/queues/{}/dead-letters/{action}", segment(&queue));
    let mut requests: Vec<_> = match all {
        true => vec![json!({"all": true})],
        false => ids.chunks(MAX_AT_ONCE).map(|ids| json!({"ids": ids})).collect(),
    };
    let mut count = 0;
    for body in &mut requests {
        if let Some(reason) = &reason {
            body["reason"] = reason.as_str().into();
        }
        loop {
            let taken = shop.ask::<Taken>(Method::POST, &path, body.to_string()).await;
            let taken = taken.map_err(|error| match count {
                0 => error,
                _ => format!("{error} (but {count} named before were dealt with)").into(),
            })?;
            count += taken.count;
            if !taken.more {
                break;
            }
        }
    }
    if json {
        return Ok(format!("{}\n", json!({"count": count})));
    }
    let letters = if count == 1 { "dead letter" } else { "dead letters" };
    Ok(match action {
        "redrive" => format!("Put {count} {letters} back into {queue}.\n"),
        _ => format!("Discarded {count} {letters} of {queue}.\n"),
    })
}

//! The command `cartwright keys`: API keys, from a terminal.
//!
//! It asks the API, of a running server over HTTP or, with `--data`, of the shop in a folder whose server is stopped. That is
//! how the first key is made: whoever may open the folder may do everything with what is in it anyway.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::{Args, Subcommand};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::shop::{AnyError, Place, Shop, text};

/// Make, list and revoke API keys.
#[derive(Args)]
#[command(after_help = "\
A shop with a key asks everybody who they are, from the next start of its server on. The first key is made while the server is
stopped, in the folder:

  cartwright keys create --data ./cartwright-data --name me --role admin
  export CARTWRIGHT_KEY=cw_…
  cartwright keys list
  cartwright keys create --name 'the till' --role staff --expires 2027-01-01T00:00:00Z
  cartwright keys revoke 0199…

A key is told once. Callers send it in the header Authorization: Bearer; the commands of this program take it from CARTWRIGHT_KEY.")]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: Place,
    /// Print JSON, as the API answers it.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Make a key, and tell it this once.
    Create {
        /// What it is called.
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// What whoever has it may do: customer, staff or admin.
        #[arg(long, value_name = "ROLE")]
        role: String,
        /// The customer whoever has it is; required for the role customer.
        #[arg(long, value_name = "NAME")]
        username: Option<String>,
        /// When it ceases to be good, such as 2027-01-01T00:00:00Z; without it, when it is revoked.
        #[arg(long, value_name = "TIME")]
        expires: Option<Timestamp>,
    },
    /// List the keys, oldest first.
    List,
    /// Revoke a key: the next request that sends it is refused.
    Revoke {
        /// Its id, from the list.
        id: String,
    },
}

/// Runs the command.
///
/// # Errors
/// A sentence for the terminal.
pub async fn run(command: Keys) -> Result<(), AnyError> {
    let Keys { command, place, json } = command;
    let shop = Shop::at(place).await?;
    let outcome = match command {
        Command::Create { name, role, username, expires } => {
            let body = json!({"name": name, "role": role, "username": username, "expiresAt": expires});
            create(&shop, &body, json).await
        }
        Command::List => list(&shop, json).await,
        Command::Revoke { id } => revoke(&shop, &id, json).await,
    };
    shop.close().await;
    // A closed pipe is no reason to complain: nobody reads it any more.
    let _ = std::io::stdout().write_all(outcome?.as_bytes());
    Ok(())
}

async fn create(shop: &Shop, body: &Value, json: bool) -> Result<String, AnyError> {
    let created: Value = shop.ask(Method::POST, "/v1/api-keys", body.to_string()).await?;
    if json {
        return Ok(format!("{created}\n"));
    }
    let mut lines = format!("{}\n\n", text(&created["key"]));
    let _ = writeln!(
        lines,
        "This is the key, with the role {}. It is not kept and cannot be shown again.",
        text(&created["role"])
    );
    if created["accessControl"] == false {
        let _ = writeln!(lines, "A server of this shop asks for keys from its next start on.");
    }
    Ok(lines)
}

/// A page of the list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    items: Vec<Value>,
    next_cursor: Option<String>,
}

async fn list(shop: &Shop, json: bool) -> Result<String, AnyError> {
    let (mut keys, mut cursor) = (Vec::new(), String::new());
    loop {
        let page: Page = shop.get(&format!("/v1/api-keys?limit=100{cursor}")).await?;
        keys.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    if json {
        return Ok(keys.iter().map(|key| format!("{key}\n")).collect());
    }
    if keys.is_empty() {
        return Ok("There are no API keys.\n".to_owned());
    }
    let mut lines = String::new();
    for key in &keys {
        let _ = write!(lines, "{}  {:<8}  {}", text(&key["id"]), text(&key["role"]), text(&key["name"]));
        for (label, member) in [("customer", "username"), ("expires", "expiresAt"), ("last used", "lastUsedAt")] {
            if let Some(value) = key[member].as_str() {
                let _ = write!(lines, ", {label} {value}");
            }
        }
        lines.push('\n');
    }
    Ok(lines)
}

async fn revoke(shop: &Shop, id: &str, json: bool) -> Result<String, AnyError> {
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("{id:?} is not the id of a key; `cartwright keys list` shows them").into());
    }
    shop.order(Method::DELETE, &format!("/v1/api-keys/{id}")).await?;
    Ok(if json { String::new() } else { format!("Revoked {id}.\n") })
}

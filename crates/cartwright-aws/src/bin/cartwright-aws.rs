//! The command line for whoever moves a shop, from a laptop to a stack on AWS and back, and who makes the first API key of a stack.

#![expect(clippy::print_stderr, reason = "a command line talks to its terminal")]

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IsTerminal, Write, stderr, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cartwright::access::ops::NewKey;
use cartwright::access::{self, Role};
use cartwright::app::{App, Clock};
use cartwright::config::Config;
use cartwright::local::{LogNotifier, files};
use cartwright::system::{SystemClock, SystemIds};
use cartwright::transfer::Totals;
use cartwright_aws::dynamodb::DynamoStore;
use cartwright_aws::open::dynamo_store;
use cartwright_aws::queues::AwsQueues;
use cartwright_aws::settings::Aws;
use cartwright_aws::sqs::Queues;
use cartwright_aws::{clients, moving};
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

/// Bytes that are read or written in one go.
const BUFFER_BYTES: usize = 256 * 1024;

/// Move a shop between one machine and a stack on AWS, and make its first API key.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
From this machine to a new stack, and back into a new folder:

  cartwright export | cartwright-aws import --stack cartwright-prod
  cartwright-aws export --stack cartwright-prod | cartwright import - --data ./other-data

The first key of a new stack, for whoever is to have the say there:

  cartwright-aws keys create --stack cartwright-prod --name me --role admin

Stop what writes to the shop before you move it. Credentials and the region come from the environment (AWS_ACCESS_KEY_ID and its like, AWS_REGION);
`aws configure export-credentials --format env` prints those of a profile."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put an export into the empty tables of a stack, and read it back. Started again after an interruption, it goes on.
    Import {
        /// The file that `cartwright export` or `cartwright-aws export` has made; - for standard input.
        #[arg(default_value = "-", value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        stack: Stack,
    },
    /// Write all that the shop of a stack knows to a file.
    Export {
        /// File to write; without it, standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        stack: Stack,
    },
    /// Make and revoke API keys of a stack; with one of an admin, /v1/api-keys does too.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Make an API key, and tell it this once, in the first line.
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
        #[command(flatten)]
        stack: Stack,
    },
    /// Revoke a key: the next request that sends it is refused.
    Revoke {
        /// Its id: what is between the first two underscores of the key.
        id: String,
        #[command(flatten)]
        stack: Stack,
    },
}

#[derive(Args)]
struct Stack {
    /// The name of the stack.
    #[arg(long, env = "CARTWRIGHT_STACK", value_name = "NAME")]
    stack: String,
    /// The region it is in.
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    region: String,
    /// Another place that speaks AWS's protocols, such as an emulator.
    #[arg(long, env = "AWS_ENDPOINT_URL", value_name = "URL")]
    endpoint: Option<String>,
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide = true, hide_env_values = true)]
    access_key_id: String,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide = true, hide_env_values = true)]
    secret_access_key: String,
    #[arg(long, env = "AWS_SESSION_TOKEN", hide = true, hide_env_values = true)]
    session_token: Option<String>,
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Import { file, stack } => import(&file, &stack).await,
        Command::Export { output, stack } => export(output.as_deref(), &stack).await,
        Command::Keys { command } => keys(command).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cartwright-aws: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The store and the queues of a stack.
fn open(stack: &Stack) -> (Arc<DynamoStore>, AwsQueues) {
    let Stack { stack, region, endpoint, access_key_id, secret_access_key, session_token } = stack;
    let aws = Aws {
        region: region.clone(),
        endpoint_url: endpoint.clone().filter(|url| !url.is_empty()),
        access_key_id: access_key_id.clone(),
        secret_access_key: secret_access_key.clone(),
        session_token: session_token.clone(),
    };
    let (config, prefix) = (clients::sdk_config(&aws, clients::http_client()), format!("{stack}-"));
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let store = Arc::new(dynamo_store(&config, prefix.clone(), ids.clone(), clock));
    let queues = Queues::new(aws_sdk_sqs::Client::new(&config), prefix);
    (store.clone(), AwsQueues::new(store, ids, queues))
}

async fn import(file: &Path, stack: &Stack) -> Result<(), AnyError> {
    let (store, _) = open(stack);
    let (input, bar): (Box<dyn BufRead>, _) = if file.as_os_str() == "-" {
        (Box::new(BufReader::with_capacity(BUFFER_BYTES, stdin())), ProgressBar::no_length())
    } else {
        let cannot_read = |error| format!("cannot read {}: {error}", file.display());
        let input = File::open(file).map_err(cannot_read)?;
        let bar = ProgressBar::new(input.metadata().map_err(cannot_read)?.len());
        (Box::new(BufReader::with_capacity(BUFFER_BYTES, input)), bar)
    };
    bar.set_style(ProgressStyle::with_template("Importing {bar:40} {bytes}/{total_bytes}, {eta} left")?);
    let totals = moving::import(&store, input, |bytes| bar.set_position(bytes)).await;
    bar.finish_and_clear();
    tell("Imported", &totals?, &format!("into {}", stack.stack));
    Ok(())
}

async fn export(output: Option<&Path>, stack: &Stack) -> Result<(), AnyError> {
    let (store, queues) = open(stack);
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template("Exporting {human_pos} records, {per_sec}")?);
    if !stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let progress = |records| bar.set_position(records);
    let now = SystemClock.now();
    let totals = match output {
        None => {
            let output = BufWriter::with_capacity(BUFFER_BYTES, stdout().lock());
            let (mut output, totals) = moving::export(&store, &queues, now, output, progress).await?;
            output.flush()?;
            totals
        }
        Some(path) => {
            let cannot_write = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
            let output = BufWriter::with_capacity(BUFFER_BYTES, files::new_for(path).map_err(cannot_write)?);
            let (output, totals) = moving::export(&store, &queues, now, output, progress).await?;
            let file = output.into_inner().map_err(|error| cannot_write(error.into_error()))?;
            files::put_in_place(file, path, true).map_err(cannot_write)?;
            totals
        }
    };
    bar.finish_and_clear();
    tell("Exported", &totals, &format!("from {}", stack.stack));
    Ok(())
}

async fn keys(command: KeysCommand) -> Result<(), AnyError> {
    match command {
        KeysCommand::Create { name, role, username, expires, stack } => {
            let new = NewKey {
                name: name.try_into().map_err(|why| format!("the name {why}"))?,
                role: Role::named(&role).ok_or("the role must be customer, staff or admin")?,
                username: username.map(TryInto::try_into).transpose().map_err(|why| format!("the user name {why}"))?,
                expires_at: expires,
            };
            let (key, text) = access::ops::create_key(&application(&stack), new).await?;
            writeln!(stdout(), "{text}")?;
            let _ = writeln!(stderr(), "Key {} of {}. It is not kept and cannot be shown again.", key.id, stack.stack);
        }
        KeysCommand::Revoke { id, stack } => {
            access::ops::revoke_key(&application(&stack), &id).await?;
            let _ = writeln!(stderr(), "Revoked {id} of {}.", stack.stack);
        }
    }
    Ok(())
}

/// The application of a stack, in the hands of whoever may touch its tables.
fn application(stack: &Stack) -> App {
    let (store, queues) = open(stack);
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    App::new(store, Arc::new(queues), Arc::new(LogNotifier), clock, ids, Config::default())
}

fn tell(done: &str, totals: &Totals, place: &str) {
    let _ = writeln!(stderr(), "{done} {totals} {place}. Digest of the content: {}", totals.digest);
}

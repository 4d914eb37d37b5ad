//! The command `cartwright backup`: a copy of the shop's file, made while a server may go on writing.

use std::io::{Write, stdout};
use std::path::PathBuf;

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressFinish, ProgressStyle};

use super::files;
use super::sqlite::{FILE_NAME, Snapshot};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Copy the shop's file, also while a server runs.
#[derive(Args)]
#[command(after_help = "\
The copy is one state of the shop, as it is when the command starts, and is checked before it gets its name. It holds personal
data. To restore it, put it into a folder of its own as cartwright.db:

  cartwright backup shop.db
  mkdir restored && cp shop.db restored/cartwright.db
  cartwright serve --data restored")]
pub struct Backup {
    /// File to write. It must not be there yet.
    file: PathBuf,
    /// Folder of the shop's data.
    #[arg(long, env = "CARTWRIGHT_DATA", default_value = "./cartwright-data", value_name = "FOLDER")]
    data: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// A sentence for the terminal. No file was made then.
pub fn run(command: Backup) -> Result<(), AnyError> {
    let Backup { file, data } = command;
    let there_is_one = || format!("{} is there already; choose another name", file.display());
    let cannot_write = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => there_is_one(),
        _ => format!("cannot write {}: {error}", file.display()),
    };
    if file.symlink_metadata().is_ok() {
        return Err(there_is_one().into());
    }
    let snapshot = Snapshot::open(&data)?;
    let copy = files::new_for(&file).map_err(cannot_write)?;
    let bar = ProgressBar::new(0).with_finish(ProgressFinish::AndClear);
    bar.set_style(ProgressStyle::with_template("{msg} {bar:40} {percent}%")?);
    bar.set_message("Copying");
    snapshot.copy_to(copy.path(), |done, all| {
        bar.set_length(all);
        bar.set_position(done);
        if done == all {
            bar.set_message("Checking");
        }
    })?;
    let bytes = copy.as_file().metadata().map_err(cannot_write)?.len();
    files::put_in_place(copy, &file, false).map_err(cannot_write)?;
    drop(bar);
    let (from, to, size) = (data.join(FILE_NAME), file.display(), HumanBytes(bytes));
    let _ = writeln!(stdout(), "Backed up {} to {to} ({size}, checked).", from.display());
    Ok(())
}

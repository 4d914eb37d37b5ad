//! The command `cartwright export`: a whole shop as a file, also while a server runs on it.

use std::io::{BufWriter, ErrorKind, IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use super::files;
use super::sqlite::{ExportError, Snapshot};
use crate::transfer::{Header, Totals, TransferError, Writer};

/// Bytes that are handed to the output in one go.
const OUTPUT_BYTES: usize = 256 * 1024;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Write all that a shop knows to a file, for another shop to import. Also while a server runs.
#[derive(Args)]
#[command(after_help = "\
The export is one state of the shop, as it is when the command starts: products, baskets, orders, customers, purchases, waiting
messages, dead letters. It holds personal data. Import it into a folder without a shop:

  cartwright export --output shop.ndjson
  cartwright import shop.ndjson --data ./other-data")]
pub struct Export {
    /// Folder of the shop's data.
    #[arg(long, env = "CARTWRIGHT_DATA", default_value = "./cartwright-data", value_name = "FOLDER")]
    data: PathBuf,
    /// File to write, in place of the one that is there; it gets its name when it is whole. Without it, standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// A sentence for the terminal. No file was made then, nor the one that was there changed.
pub fn run(command: Export) -> Result<(), AnyError> {
    let Export { data, output } = command;
    let totals = match &output {
        None => {
            let (_, totals) = export(&data, stdout().lock(), !stdout().is_terminal()).map_err(unread)?;
            totals
        }
        Some(path) => {
            if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
                return Err(format!("{} is not a file; name one with --output", path.display()).into());
            }
            let cannot_write = |error| format!("cannot write {}: {error}", path.display());
            let file = files::new_for(path).map_err(cannot_write)?;
            let (file, totals) = export(&data, file, true)?;
            files::put_in_place(file, path, true).map_err(cannot_write)?;
            totals
        }
    };
    let to = output.map(|path| format!(" to {}", path.display())).unwrap_or_default();
    let _ = writeln!(stderr(), "Exported {totals}{to}. Digest of the content: {}", totals.digest);
    Ok(())
}

/// A reader that went away has not got a whole export, and nobody else is told.
fn unread(error: AnyError) -> AnyError {
    match error.downcast_ref() {
        Some(ExportError::Transfer(TransferError::Write(error))) if error.kind() == ErrorKind::BrokenPipe => {
            "the export was not read to its end; nothing was changed".into()
        }
        _ => error,
    }
}

/// Writes the export of the shop in `folder` to `output`.
fn export<W: Write>(folder: &Path, output: W, with_progress: bool) -> Result<(W, Totals), AnyError> {
    let snapshot = Snapshot::open_current(folder)?;
    // Counting reads the whole shop once more, which is in vain when nobody watches.
    let bar = if with_progress && stderr().is_terminal() {
        ProgressBar::new(snapshot.count()?).with_finish(ProgressFinish::AndClear)
    } else {
        ProgressBar::hidden()
    };
    bar.set_style(ProgressStyle::with_template("Exporting {bar:40} {human_pos}/{human_len} records, {eta} left")?);
    let header = Header::new(snapshot.currency()?);
    let output = BufWriter::with_capacity(OUTPUT_BYTES, output);
    let mut writer = Writer::new(output, &header).map_err(ExportError::Transfer)?;
    snapshot.export(|record| {
        bar.inc(1);
        writer.write(record)
    })?;
    let (output, totals) = writer.finish().map_err(ExportError::Transfer)?;
    let output = output.into_inner().map_err(|error| TransferError::Write(error.into_error()));
    Ok((output.map_err(ExportError::Transfer)?, totals))
}

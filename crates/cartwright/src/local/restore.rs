//! The part of `cartwright import` that makes a shop out of an export.
//!
//! The shop is built under a name that passes for none, and gets its own when every chunk and the end of the export have
//! shown to be as they were written. An import that is killed therefore leaves no half of a shop: it is started again, and
//! removes what the first has left.

use std::io::{BufRead, Write, stdout};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use super::sqlite::{Building, BuildingError};
use crate::transfer::{Chunk, Reader, Totals, TransferError};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Why a shop was not restored. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The export cannot be read, or is not as it was written.
    #[error("{0}")]
    Transfer(#[from] TransferError),
    /// The shop cannot be made.
    #[error("{0}")]
    Building(#[from] BuildingError),
}

/// Imports an export called `name` of so many bytes (of a pipe nobody knows) into the folder `data`, with a progress bar, and
/// says what was imported.
///
/// # Errors
/// A sentence for the terminal. Nothing has changed then.
pub fn run(input: impl BufRead, name: &str, size: Option<u64>, data: &Path) -> Result<(), AnyError> {
    let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.set_style(ProgressStyle::with_template("Importing {bar:40} {bytes}/{total_bytes}, {eta} left")?);
    let totals = restore(input, data, |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let totals = totals.map_err(|error| match error {
        RestoreError::Transfer(error) => format!("{name}: {error}"),
        RestoreError::Building(error) => error.to_string(),
    })?;
    let digest = totals.digest;
    let _ = writeln!(stdout(), "Imported {totals} into {}. Digest of the content: {digest}", data.display());
    Ok(())
}

/// Makes a shop in `folder` out of an export. The folder is made if it is not there; it must have no shop, or one that has
/// nothing but the same currency, and no server may run on it. Calls `progress` with the bytes that were read.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(input: impl BufRead, folder: &Path, mut progress: impl FnMut(u64)) -> Result<Totals, RestoreError> {
    let mut reader = Reader::new(input)?;
    let currency = reader.header().currency;
    let mut shop = Building::begin(folder, currency)?;
    while let Some(Chunk { first_line, records }) = reader.next_chunk()? {
        for (record, line) in records.iter().zip(first_line..) {
            shop.add(record).map_err(|error| match error {
                BuildingError::Twice => TransferError::Damaged { line, what: error.to_string() }.into(),
                error => RestoreError::Building(error),
            })?;
        }
        progress(reader.bytes_read());
    }
    shop.finish(currency)?;
    Ok(reader.totals().clone())
}

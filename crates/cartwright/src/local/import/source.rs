//! Where purchases come from: a file, which can be read again, or a pipe, which cannot.

use std::fs::{File, Metadata, TryLockError};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use indicatif::ProgressBar;

use super::reader::{Format, Position, Reader, read_head};
use crate::local::shop::AnyError;

/// The purchases of a source.
pub type Lines<'a> = Reader<Box<dyn BufRead + 'a>>;

/// Bytes read from a file in one go.
const BUFFER_BYTES: usize = 128 * 1024;

/// Where purchases come from.
pub struct Source {
    /// What to call it.
    pub name: String,
    /// Its beginning, which tells what it is.
    pub head: Vec<u8>,
    input: Input,
}

enum Input {
    File { file: File, begun: (u64, Option<SystemTime>) },
    Pipe(Box<dyn BufRead>),
}

fn state(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

impl Source {
    /// Opens the file at `path`, or standard input for `-`. A file is locked against another import until the end.
    ///
    /// # Errors
    /// It cannot be read, or another import has it.
    pub fn open(path: &Path) -> Result<Source, AnyError> {
        if path.as_os_str() == "-" {
            return Source::pipe("standard input".to_owned(), Box::new(BufReader::new(io::stdin())));
        }
        let name = path.display().to_string();
        let failed = |error: io::Error| format!("cannot read {name}: {error}");
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(format!("{name} is a folder; name a file of purchases in it").into());
        }
        if !metadata.is_file() {
            return Source::pipe(name, Box::new(BufReader::new(file)));
        }
        // Where files cannot be locked, the keys of the batches see to it that nothing is recorded twice.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(format!("another import of {name} is running; wait for its end").into());
        }
        let head = read_head(&mut BufReader::new(&file)).map_err(failed)?;
        Ok(Source { name, head, input: Input::File { file, begun: state(&metadata) } })
    }

    fn pipe(name: String, mut input: Box<dyn BufRead>) -> Result<Source, AnyError> {
        let head = read_head(&mut *input).map_err(|error| format!("cannot read {name}: {error}"))?;
        Ok(Source { name, head, input: Input::Pipe(input) })
    }

    /// How many bytes it has; nothing for a pipe.
    pub fn size(&self) -> Option<u64> {
        match &self.input {
            Input::File { begun: (size, _), .. } => Some(*size),
            Input::Pipe(_) => None,
        }
    }

    /// The BLAKE3 digest of a file, after seeing that its records can be told apart to the end; nothing for a pipe.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn digest(&mut self, format: &Format, bar: &ProgressBar) -> Result<Option<String>, AnyError> {
        let Input::File { file, begun: (size, _) } = &mut self.input else { return Ok(None) };
        let failed = |error: io::Error| format!("cannot read {}: {error}", self.name);
        file.rewind().map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(bar.wrap_read(&*file).take(*size)).map_err(failed)?;
        let digest = hasher.finalize().to_hex().to_string();
        file.seek(SeekFrom::Start(format.start.bytes)).map_err(failed)?;
        bar.set_position(format.start.bytes);
        let input = BufReader::with_capacity(BUFFER_BYTES, bar.wrap_read(&*file).take(*size));
        Reader::new(input, format, format.start).check().map_err(|error| self.unreadable(&error))?;
        Ok(Some(digest))
    }

    /// Reads its purchases from `at` on; a pipe only from its beginning.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn reader(&mut self, format: &Format, at: Position) -> Result<Lines<'_>, AnyError> {
        let input: Box<dyn BufRead> = match &mut self.input {
            Input::File { file, begun: (size, _) } => {
                file.seek(SeekFrom::Start(at.bytes))?;
                let rest = (&*file).take(size.saturating_sub(at.bytes));
                Box::new(BufReader::with_capacity(BUFFER_BYTES, rest))
            }
            Input::Pipe(rest) => {
                let begun = usize::try_from(at.bytes).unwrap_or(usize::MAX).min(self.head.len());
                Box::new(Cursor::new(&self.head[begun..]).chain(rest))
            }
        };
        Ok(Reader::new(input, format, at))
    }

    /// All of it, from its beginning.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn input(&mut self) -> Result<Box<dyn BufRead + '_>, AnyError> {
        Ok(match &mut self.input {
            Input::File { file, .. } => {
                file.rewind()?;
                Box::new(BufReader::with_capacity(BUFFER_BYTES, &*file))
            }
            Input::Pipe(rest) => Box::new(Cursor::new(&self.head).chain(rest)),
        })
    }

    /// Whether a file is another than it was when it was opened.
    pub fn has_changed(&self) -> bool {
        match &self.input {
            Input::File { file, begun } => file.metadata().is_ok_and(|metadata| state(&metadata) != *begun),
            Input::Pipe(_) => false,
        }
    }

    /// The error that it cannot be imported, for this reason.
    pub fn unreadable(&self, why: &dyn std::fmt::Display) -> AnyError {
        format!("{} cannot be imported: {why}", self.name).into()
    }
}

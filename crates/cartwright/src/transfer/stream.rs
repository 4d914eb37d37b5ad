//! Writing and reading an export, a chunk at a time.

use std::io::{BufRead, Read, Write};

use super::lines::{BadRecord, header_line, line_of, name_of, parse_header, record_of};
use super::{CHUNK_BYTES, CHUNK_RECORDS, Header, MAX_LINE_BYTES, Record, Totals, TransferError, is_export};

/// How a checkpoint begins.
const CHECKPOINT: &str = r#"{"checkpoint":"#;
/// How the end begins.
const END: &str = r#"{"end":"#;

/// The records since the last checkpoint.
struct Unsealed {
    hasher: blake3::Hasher,
    records: u64,
    bytes: usize,
}

impl Unsealed {
    /// At the start of a file. The first checkpoint vouches for the header's currency too.
    fn of(header: &Header) -> Unsealed {
        let mut hasher = blake3::Hasher::new();
        hasher.update(header.currency.map_or("", |currency| currency.code()).as_bytes());
        Unsealed { hasher, records: 0, bytes: 0 }
    }

    /// Adds a line with its end.
    fn add(&mut self, line: &[u8]) {
        self.hasher.update(line);
        self.records += 1;
        self.bytes += line.len();
    }

    fn is_full(&self) -> bool {
        self.records >= CHUNK_RECORDS || self.bytes >= CHUNK_BYTES
    }

    /// The checkpoint of what was added, after which the file has `records`.
    fn seal(&mut self, records: u64) -> String {
        let hash = self.hasher.finalize().to_hex();
        *self = Unsealed { hasher: blake3::Hasher::new(), records: 0, bytes: 0 };
        format!("{CHECKPOINT}{records},\"blake3\":\"{hash}\"}}\n")
    }
}

/// Writes an export, record by record.
pub struct Writer<W> {
    output: W,
    unsealed: Unsealed,
    totals: Totals,
}

impl<W: Write> Writer<W> {
    /// Begins an export.
    ///
    /// # Errors
    /// [`TransferError::Write`].
    pub fn new(output: W, header: &Header) -> Result<Writer<W>, TransferError> {
        let mut writer = Writer { output, unsealed: Unsealed::of(header), totals: Totals::default() };
        writer.put(&header_line(header))?;
        Ok(writer)
    }

    /// Writes the next record: documents first, then waiting messages, then dead letters.
    ///
    /// # Errors
    /// [`TransferError::Unwritable`] for a document whose body is no JSON object, for a record that is longer than a line
    /// may be, or out of order; [`TransferError::Write`].
    pub fn write(&mut self, record: &Record) -> Result<(), TransferError> {
        let unwritable = |why: String| TransferError::Unwritable { what: name_of(record), why };
        let mut line = line_of(record).map_err(|error| unwritable(format!("it is no JSON object ({error})")))?;
        if line.len() >= MAX_LINE_BYTES {
            return Err(unwritable(format!("its line has {} bytes, more than {MAX_LINE_BYTES}", line.len() + 1)));
        }
        self.totals.add(record, &line).map_err(|why| unwritable(why.to_owned()))?;
        line.push('\n');
        self.put(&line)?;
        self.unsealed.add(line.as_bytes());
        if self.unsealed.is_full() { self.seal() } else { Ok(()) }
    }

    /// Writes the end, and what is still to be written. Returns the output, and what is in the export.
    ///
    /// # Errors
    /// [`TransferError::Write`].
    pub fn finish(mut self) -> Result<(W, Totals), TransferError> {
        if self.unsealed.records > 0 || self.totals.records == 0 {
            self.seal()?;
        }
        self.put(&self.totals.line())?;
        self.output.flush().map_err(TransferError::Write)?;
        Ok((self.output, self.totals))
    }

    fn seal(&mut self) -> Result<(), TransferError> {
        let line = self.unsealed.seal(self.totals.records);
        self.put(&line)
    }

    fn put(&mut self, line: &str) -> Result<(), TransferError> {
        self.output.write_all(line.as_bytes()).map_err(TransferError::Write)
    }
}

/// Records that a checkpoint vouches for.
#[derive(Debug)]
pub struct Chunk {
    /// The line of the first; the others follow.
    pub first_line: u64,
    /// The records.
    pub records: Vec<Record>,
}

/// Reads an export, chunk by chunk.
pub struct Reader<R> {
    input: R,
    header: Header,
    /// The lines of the chunk that is being read.
    lines: Vec<u8>,
    line: u64,
    bytes: u64,
    unsealed: Unsealed,
    totals: Totals,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`TransferError::NotAnExport`], [`TransferError::Version`], [`TransferError::Read`]; [`TransferError::Damaged`] for a
    /// header of this version that has not its form.
    pub fn new(input: R) -> Result<Reader<R>, TransferError> {
        let header = Header::new(None);
        let unsealed = Unsealed::of(&header);
        let (lines, totals) = (Vec::new(), Totals::default());
        let mut reader = Reader { input, header, lines, line: 0, bytes: 0, unsealed, totals, ended: false };
        let read = reader.read_line();
        // Something that is no export may have no lines at all, or none that end.
        if !is_export(&reader.lines) && !matches!(read, Err(TransferError::Read(_))) {
            return Err(TransferError::NotAnExport);
        }
        read?;
        reader.header = parse_header(&reader.lines)?;
        reader.unsealed = Unsealed::of(&reader.header);
        Ok(reader)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next records, once their checkpoint has shown that they are as they were written; `None` after the last, once the
    /// end line has shown that none is missing.
    ///
    /// # Errors
    /// See [`TransferError`]; what came in earlier chunks was as it was written.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, TransferError> {
        if self.ended {
            return Ok(None);
        }
        self.lines.clear();
        let first_line = self.line + 1;
        loop {
            let start = self.lines.len();
            if !self.read_line()? {
                return Err(TransferError::Truncated { line: self.line + 1 });
            }
            let line = &self.lines[start..];
            if line.starts_with(CHECKPOINT.as_bytes()) {
                let records = self.totals.records + self.unsealed.records;
                if (self.unsealed.records == 0 && records > 0) || line != self.unsealed.seal(records).as_bytes() {
                    let what = format!("this checkpoint does not belong to the lines from {first_line} on");
                    return Err(self.damaged(what));
                }
                self.lines.truncate(start);
                return self.parse(first_line).map(Some);
            }
            if line.starts_with(END.as_bytes()) {
                if self.line < 3 || start > 0 {
                    return Err(self.damaged("there is no checkpoint before the end"));
                }
                if line != self.totals.line().as_bytes() {
                    return Err(self.damaged("this is not the end of the records before it"));
                }
                if self.read_line()? {
                    return Err(self.damaged("something follows the end"));
                }
                self.ended = true;
                return Ok(None);
            }
            if self.unsealed.is_full() {
                return Err(self.damaged("a checkpoint is missing before this line"));
            }
            self.unsealed.add(line);
        }
    }

    /// What was read so far; all there is, once [`Reader::next_chunk`] has returned `None`.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Bytes that were read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// Reads the next line, with its end, behind those of this chunk. False at the end of the file.
    fn read_line(&mut self) -> Result<bool, TransferError> {
        let start = self.lines.len();
        let mut limited = (&mut self.input).take(MAX_LINE_BYTES as u64);
        let read = limited.read_until(b'\n', &mut self.lines).map_err(TransferError::Read)?;
        if read == 0 {
            return Ok(false);
        }
        self.line += 1;
        self.bytes += read as u64;
        if self.lines[start..].ends_with(b"\n") {
            Ok(true)
        } else if read == MAX_LINE_BYTES {
            Err(self.damaged(format!("it is longer than {MAX_LINE_BYTES} bytes")))
        } else {
            Err(TransferError::Truncated { line: self.line })
        }
    }

    /// The records of the chunk that was read.
    fn parse(&mut self, first_line: u64) -> Result<Chunk, TransferError> {
        let mut records = Vec::new();
        for (line, number) in self.lines.split_inclusive(|byte| *byte == b'\n').zip(first_line..) {
            let damaged = |what: String| TransferError::Damaged { line: number, what };
            let line = std::str::from_utf8(&line[..line.len() - 1]).map_err(|error| damaged(error.to_string()))?;
            let record = record_of(line).map_err(|error| match error {
                BadRecord::Malformed(what) => damaged(what),
                BadRecord::Unknown(what) => TransferError::Unknown { line: number, what },
            })?;
            self.totals.add(&record, line).map_err(|why| damaged(why.to_owned()))?;
            records.push(record);
        }
        Ok(Chunk { first_line, records })
    }

    fn damaged(&self, what: impl Into<String>) -> TransferError {
        TransferError::Damaged { line: self.line, what: what.into() }
    }
}

//! A file of purchases, line by line: CSV with a header row, or NDJSON, in the spelling of the classic item or of `/v1`.
//!
//! What is read becomes the JSON object that the API takes. The values are the shop's to judge; here it is only seen to that
//! every name is one it knows. Memory does not grow with the file: a line has a limit.

use std::fmt;
use std::io::{self, BufRead, Read};

use csv_core::ReadRecordResult;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::purchases::Names;

/// Longest line, and longest record of several lines: a purchase with a full description in the most wasteful notation is
/// about 57 000 bytes.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// How much of a line that is too long is shown.
const MAX_SHOWN_CHARS: usize = 200;

/// How the purchases of a file are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// Where the purchases begin.
    pub start: Position,
    /// Columns or members that the shop does not take over.
    pub ignored: Vec<String>,
    /// The columns of a CSV file; nothing for NDJSON.
    columns: Option<Columns>,
}

/// A place between two lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Bytes before it.
    pub bytes: u64,
    /// Lines before it.
    pub lines: u64,
}

/// A line, or several that are one record, which should be a purchase.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its first line; that of the file is 1.
    pub line: u64,
    /// Where it ends.
    pub end: Position,
    /// The purchase as the API takes it, a JSON object.
    pub purchase: Result<String, Fault>,
}

/// Why a line is no purchase that could be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong with it.
    pub detail: String,
    /// Its bad fields.
    pub errors: Vec<FieldError>,
    /// The line, as JSON: the object it is, or its text.
    pub purchase: String,
}

impl Fault {
    fn of_text(detail: impl Into<String>, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        Fault { detail: detail.into(), errors: Vec::new(), purchase: json(text.trim_end_matches(['\r', '\n'])) }
    }
}

/// Text as JSON.
fn json(text: &str) -> String {
    Value::from(text).to_string()
}

/// A way to spell the fields of a purchase.
struct Spelling {
    names: Names,
    /// What the shop shows of a purchase and does not take over: its own id of it, and what was done to it last.
    ignored: &'static [&'static str],
}

const CLASSIC: Spelling = Spelling { names: Names::CLASSIC, ignored: &["ProductPurchaseId", "action"] };
const V1: Spelling = Spelling { names: Names::V1, ignored: &["id"] };

impl Spelling {
    /// The spelling these names are of; the names of the classic one begin with a capital.
    fn of<'a>(mut names: impl Iterator<Item = &'a str>) -> &'static Spelling {
        if names.any(|name| name.starts_with(|first: char| first.is_ascii_uppercase())) { &CLASSIC } else { &V1 }
    }

    fn fields(&self) -> impl Iterator<Item = &'static str> {
        self.names.all().into_iter().map(|pointer| pointer.trim_start_matches('/'))
    }
}

/// Fields of `/v1` that are amounts: two columns, minor units and the currency.
const AMOUNTS: [&str; 2] = ["unitPrice", "total"];

/// A column of a CSV file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    /// The field, with a dot before a part of it.
    name: String,
    is_required: bool,
    /// Whether it is a number in JSON.
    is_number: bool,
}

impl Spelling {
    fn columns(&self) -> Vec<Column> {
        let column = |name: &str, is_number| {
            let is_required = !name.eq_ignore_ascii_case("productDescription");
            Column { name: name.to_owned(), is_required, is_number }
        };
        let of_field = |name: &'static str| {
            if AMOUNTS.contains(&name) {
                vec![column(&format!("{name}.amount"), true), column(&format!("{name}.currency"), false)]
            } else {
                vec![column(name, name == "quantity")]
            }
        };
        self.fields().flat_map(of_field).collect()
    }
}

/// The columns of a CSV file, and which cell of a row each is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Columns {
    columns: Vec<(Column, usize)>,
    count: usize,
}

impl Columns {
    /// Finds the columns in a header, and those that are not taken over.
    fn of(header: &[String]) -> Result<(Columns, Vec<String>), String> {
        if let [only] = header
            && let Some(separator) = [';', '\t', '|'].into_iter().find(|&separator| only.contains(separator))
        {
            return Err(format!("its columns are separated by {separator:?}; save it with commas"));
        }
        let at = |name: &str| header.iter().position(|column| column == name);
        if let Some((_, name)) = header.iter().enumerate().find(|&(place, name)| at(name) != Some(place)) {
            return Err(format!("it has two columns {name:?}"));
        }
        let spelling = Spelling::of(header.iter().map(String::as_str));
        let columns = spelling.columns();
        let (ignored, others): (Vec<&String>, Vec<&String>) =
            header.iter().partition(|name| spelling.ignored.contains(&name.as_str()));
        let unknown = others.into_iter().filter(|name| columns.iter().all(|column| column.name != **name));
        let unknown: Vec<String> = unknown.map(|name| format!("{name:?}")).collect();
        let missing = columns.iter().filter(|column| column.is_required && at(&column.name).is_none());
        let missing: Vec<&str> = missing.map(|column| column.name.as_str()).collect();
        if !missing.is_empty() || !unknown.is_empty() {
            let lacks = (!missing.is_empty()).then(|| format!("it has no column {}", missing.join(", ")));
            let has = (!unknown.is_empty()).then(|| format!("nothing is known of a column {}", unknown.join(", ")));
            let all: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let why: Vec<String> = lacks.into_iter().chain(has).collect();
            return Err(format!("{}. The columns are {}", why.join("; "), all.join(", ")));
        }
        let ignored = ignored.into_iter().cloned().collect();
        let columns = columns.into_iter().filter_map(|column| at(&column.name).map(|at| (column, at)));
        Ok((Columns { columns: columns.collect(), count: header.len() }, ignored))
    }

    /// The purchase in a row.
    fn purchase(&self, cells: &[&[u8]]) -> Result<String, String> {
        if cells.len() != self.count {
            return Err(format!("it has {} columns, and the header has {}", cells.len(), self.count));
        }
        let mut purchase = Value::Object(Map::new());
        for (Column { name, is_number, .. }, at) in &self.columns {
            let cell = std::str::from_utf8(cells[*at]).map_err(|_| format!("its {name} is not UTF-8"))?;
            if cell.is_empty() {
                continue;
            }
            let number = cell.trim().parse::<i64>().ok().filter(|_| *is_number);
            let value = number.map_or_else(|| Value::from(cell), Value::from);
            match name.split_once('.') {
                Some((field, part)) => purchase[field][part] = value,
                None => purchase[name] = value,
            }
        }
        Ok(purchase.to_string())
    }
}

/// The members of a JSON object as they were written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a, 'de: 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(InOrder).map(Members)
    }
}

impl Members<'_> {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// The purchase in a line of NDJSON: the object it is or, where purchases are listed together with what is known of them,
/// its member `purchase`. So what was refused is a file of purchases too.
fn purchase_in_line(line: &[u8]) -> Result<String, Fault> {
    let whole = std::str::from_utf8(line).map_err(|_| Fault::of_text("it is not UTF-8", line))?.trim();
    let read = |text| serde_json::from_str::<Members<'_>>(text);
    let no_object = |error: serde_json::Error, text: &str| {
        Fault::of_text(format!("it is not a JSON object: {}", without_line(&error)), text.as_bytes())
    };
    let mut members = read(whole).map_err(|error| no_object(error, whole))?;
    let mut text = whole;
    if let Some((_, inner)) = members.0.iter().find(|(name, _)| name == "purchase") {
        text = inner.get();
        members = read(text).map_err(|error| {
            let quoted: Option<String> = serde_json::from_str(text).ok();
            no_object(error, quoted.as_deref().unwrap_or(text))
        })?;
    }
    let spelling = Spelling::of(members.names());
    let is_known = |name: &str| spelling.fields().any(|field| field == name) || spelling.ignored.contains(&name);
    let pointer = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    let detail = "is no field of a purchase";
    let unknown = members.names().filter(|name| !is_known(name));
    let errors: Vec<FieldError> =
        unknown.map(|name| FieldError { pointer: pointer(name), detail: detail.to_owned() }).collect();
    if !errors.is_empty() {
        let detail = "it has fields that a purchase does not have".to_owned();
        return Err(Fault { detail, errors, purchase: text.to_owned() });
    }
    let taken = members.0.iter().filter(|(name, _)| !spelling.ignored.contains(&name.as_str()));
    let taken: Vec<String> = taken.map(|(name, value)| format!("{}:{value}", json(name))).collect();
    Ok(format!("{{{}}}", taken.join(",")))
}

/// What serde says, without the place in a text of one line.
fn without_line(error: &serde_json::Error) -> String {
    let said = error.to_string();
    match said.rsplit_once(" at line ") {
        Some((why, _)) => format!("{why} (at character {})", error.column()),
        None => said,
    }
}

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The beginning of `input`, to the end of the first line that is not blank or as far as a line may go.
///
/// # Errors
/// Those of reading.
pub fn read_head(input: &mut (impl BufRead + ?Sized)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let room = (MAX_LINE_BYTES + 1).saturating_sub(head.len()) as u64;
        let read = input.take(room).read_until(b'\n', &mut head)?;
        if read == 0 || !head.strip_prefix(BOM).unwrap_or(&head).trim_ascii().is_empty() {
            return Ok(head);
        }
    }
}

impl Format {
    /// How the purchases are written in a file that begins with `head`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence about "it".
    pub fn of(head: &[u8]) -> Result<Format, String> {
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return Err("it is UTF-16; save it as UTF-8".to_owned());
        }
        let text = head.strip_prefix(BOM).unwrap_or(head);
        let bom = (head.len() - text.len()) as u64;
        match text.trim_ascii().first() {
            None => Err("there is nothing in it; a file of purchases is CSV with a header row, or NDJSON".to_owned()),
            Some(b'[') => Err("it is a JSON array; put each purchase on a line of its own: jq -c '.[]'".to_owned()),
            Some(b'{') => {
                let first: Option<Members<'_>> =
                    std::str::from_utf8(text).ok().and_then(|text| serde_json::from_str(text).ok());
                let names: Vec<&str> = first.iter().flat_map(Members::names).collect();
                let spelling = Spelling::of(names.iter().copied());
                let ignored = spelling.ignored.iter().filter(|name| names.contains(name));
                let ignored = ignored.map(|&name| name.to_owned()).collect();
                Ok(Format { start: Position { bytes: bom, lines: 0 }, ignored, columns: None })
            }
            Some(_) => {
                if head.len() > MAX_LINE_BYTES {
                    return Err(format!("its first line is longer than {MAX_LINE_BYTES} bytes, so it is no header"));
                }
                let mut record = Record::default();
                if !record.add(text.trim_ascii_start()) && !record.add(b"\n") {
                    return Err("a quote is open at the end of its header".to_owned());
                }
                if record.torn {
                    return Err("its lines end in carriage returns alone; save it with line feeds".to_owned());
                }
                let name = |cell: &[u8]| String::from_utf8_lossy(cell).trim().to_owned();
                let header: Vec<String> = record.cells().into_iter().map(name).collect();
                let (columns, ignored) = Columns::of(&header)?;
                let lines = head.iter().filter(|&&byte| byte == b'\n').count() as u64;
                let start = Position { bytes: head.len() as u64, lines };
                Ok(Format { start, ignored, columns: Some(columns) })
            }
        }
    }
}

/// A record of a CSV file, which is fed line by line until it is whole.
struct Record {
    parser: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    written: usize,
    ended: usize,
    /// A carriage return alone ended it in the middle of a line.
    torn: bool,
}

impl Default for Record {
    fn default() -> Self {
        let (text, ends) = (vec![0; 4096], vec![0; 32]);
        Record { parser: csv_core::Reader::new(), text, ends, written: 0, ended: 0, torn: false }
    }
}

impl Record {
    fn clear(&mut self) {
        self.parser.reset();
        (self.written, self.ended, self.torn) = (0, 0, false);
    }

    /// Adds a line with its end. Whether the record is whole now: a quote may go on in the next line.
    fn add(&mut self, mut line: &[u8]) -> bool {
        while !line.is_empty() {
            let (text, ends) = (&mut self.text[self.written..], &mut self.ends[self.ended..]);
            let (result, read, written, ended) = self.parser.read_record(line, text, ends);
            line = &line[read..];
            self.written += written;
            self.ended += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record | ReadRecordResult::End => {
                    self.torn = !matches!(line, b"" | b"\n");
                    return true;
                }
            }
        }
        false
    }

    fn cells(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends[..self.ended]).map(|(start, &end)| &self.text[start..end]).collect()
    }
}

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Where the next record begins is not known.
    #[error("the record in line {0} is longer than {MAX_LINE_BYTES} bytes; is a quote open?")]
    RecordTooLong(u64),
    /// A quote is open at the end.
    #[error("the quote that is opened in line {0} is never closed")]
    QuoteOpen(u64),
}

/// Reads the purchases of a file.
pub struct Reader<R> {
    input: R,
    columns: Option<Columns>,
    at: Position,
    raw: Vec<u8>,
    record: Record,
}

/// How reading a line went.
#[derive(PartialEq, Eq)]
enum Line {
    Whole,
    TooLong,
    End,
}

impl<R: BufRead> Reader<R> {
    /// Reads purchases from `input`, which goes on at the position `at` of a file in this format.
    pub fn new(input: R, format: &Format, at: Position) -> Self {
        Reader { input, columns: format.columns.clone(), at, raw: Vec::new(), record: Record::default() }
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            let line = self.at.lines + 1;
            let how = self.next_raw()?;
            let purchase = match (how, &self.columns) {
                (Line::End, _) => return Ok(None),
                (Line::Whole, _) if self.raw.trim_ascii().is_empty() => continue,
                (Line::TooLong, _) => {
                    let shown = String::from_utf8_lossy(&self.raw).chars().take(MAX_SHOWN_CHARS).collect::<String>();
                    let detail = format!("it is longer than {MAX_LINE_BYTES} bytes, and only its beginning is here");
                    Err(Fault::of_text(detail, (shown + "…").as_bytes()))
                }
                (Line::Whole, Some(_)) if self.record.torn => {
                    Err(Fault::of_text("it has a carriage return that is not in quotes", &self.raw))
                }
                (Line::Whole, Some(columns)) => {
                    let cells = self.record.cells();
                    if cells.iter().all(|cell| cell.trim_ascii().is_empty()) {
                        continue;
                    }
                    columns.purchase(&cells).map_err(|why| Fault::of_text(why, &self.raw))
                }
                (Line::Whole, None) => purchase_in_line(&self.raw),
            };
            let fits = |purchase: String| match purchase.len() <= MAX_LINE_BYTES {
                true => Ok(purchase),
                false => Err(Fault::of_text(format!("as JSON it is longer than {MAX_LINE_BYTES} bytes"), &self.raw)),
            };
            return Ok(Some(Entry { line, end: self.at, purchase: purchase.and_then(fits) }));
        }
    }

    /// Reads to the end without looking at what the lines say. Returns how many there are.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn check(&mut self) -> Result<u64, ReadError> {
        while self.next_raw()? != Line::End {}
        Ok(self.at.lines)
    }

    /// Reads a line, or as many as make a record, into `raw` and `record`.
    fn next_raw(&mut self) -> Result<Line, ReadError> {
        self.raw.clear();
        self.record.clear();
        let first = self.at.lines + 1;
        loop {
            let before = self.raw.len();
            let how = self.read_line()?;
            if self.columns.is_none() {
                return Ok(how);
            }
            match how {
                Line::End if before > 0 => return Err(ReadError::QuoteOpen(first)),
                Line::End => return Ok(Line::End),
                Line::TooLong => return Err(ReadError::RecordTooLong(first)),
                Line::Whole => {}
            }
            let line = &self.raw[before..];
            let is_blank = before == 0 && line.trim_ascii().is_empty();
            let has_end = line.ends_with(b"\n");
            if is_blank || self.record.add(line) || (!has_end && self.record.add(b"\n")) {
                return Ok(Line::Whole);
            }
        }
    }

    /// Adds a line with its end to `raw`; of one that does not fit, the rest is passed over.
    fn read_line(&mut self) -> io::Result<Line> {
        // Room for the end of the line too.
        let room = (MAX_LINE_BYTES + 2).saturating_sub(self.raw.len());
        if room == 0 {
            return Ok(Line::TooLong);
        }
        let read = self.input.by_ref().take(room as u64).read_until(b'\n', &mut self.raw)?;
        self.at.bytes += read as u64;
        if read == 0 {
            return Ok(Line::End);
        }
        self.at.lines += 1;
        let is_whole = self.raw.ends_with(b"\n") || read < room;
        if !is_whole {
            self.at.bytes += self.input.skip_until(b'\n')? as u64;
        }
        let length =
            self.raw.len() - self.raw.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).take(2).count();
        Ok(if is_whole && length <= MAX_LINE_BYTES { Line::Whole } else { Line::TooLong })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    const HEADER: &str =
        "ProductId,ProductName,Category,PricePerUnit,Quantity,TotalPrice,CustomerId,CustomerName,TimeOfPurchase";

    fn format(text: &[u8]) -> Result<Format, String> {
        Format::of(&read_head(&mut Cursor::new(text)).unwrap())
    }

    /// All entries from `at` on, of a file that is read a few bytes at a time.
    fn entries_from(text: &[u8], at: Position) -> Result<Vec<Entry>, ReadError> {
        let format = format(text).unwrap();
        let begun = usize::try_from(at.bytes).unwrap();
        let mut reader = Reader::new(io::BufReader::with_capacity(3, &text[begun..]), &format, at);
        std::iter::from_fn(|| reader.next_entry().transpose()).collect()
    }

    fn entries(text: &[u8]) -> Vec<Entry> {
        entries_from(text, format(text).unwrap().start).unwrap()
    }

    /// Line and purchase, or line and reason, of each entry.
    fn read(text: impl AsRef<[u8]>) -> Vec<(u64, String)> {
        let shown = |entry: Entry| (entry.line, entry.purchase.unwrap_or_else(|fault| fault.detail));
        entries(text.as_ref()).into_iter().map(shown).collect()
    }

    fn csv(rows: &str) -> Vec<(u64, String)> {
        read(format!("{HEADER}\n{rows}"))
    }

    const ROW: &str = "p,Kettle,Home,1.50,2,3,c,Ann,2026-01-01T00:00:00Z";
    const OBJECT: &str = r#"{"Category":"Home","CustomerId":"c","CustomerName":"Ann","PricePerUnit":"1.50","ProductId":"p","ProductName":"Kettle","Quantity":"2","TimeOfPurchase":"2026-01-01T00:00:00Z","TotalPrice":"3"}"#;

    #[test]
    fn rows_become_objects_in_the_spelling_of_their_header() {
        assert_eq!(csv(&format!("{ROW}\n")), [(2, OBJECT.to_owned())]);
        assert_eq!(csv(ROW), [(2, OBJECT.to_owned())], "the last line needs no end");
        let v1 = "customerId,productId,productName,productDescription,category,unitPrice.amount,unitPrice.currency,quantity,\
                  total.amount,total.currency,customerName,purchasedAt,id\n\
                  c,p,Kettle,,Home, 150,USD,2,300,USD,Ann,2026-01-01,7\nc,p,,,,1.5,,x,,,,,\n";
        let full = r#"{"category":"Home","customerId":"c","customerName":"Ann","productId":"p","productName":"Kettle","purchasedAt":"2026-01-01","quantity":2,"total":{"amount":300,"currency":"USD"},"unitPrice":{"amount":150,"currency":"USD"}}"#;
        let sparse = r#"{"customerId":"c","productId":"p","quantity":"x","unitPrice":{"amount":"1.5"}}"#;
        assert_eq!(read(v1), [(2, full.to_owned()), (3, sparse.to_owned())], "the shop judges values");
        assert_eq!(format(v1.as_bytes()).unwrap().ignored, ["id"]);
    }

    #[test]
    fn blank_lines_line_ends_and_a_byte_order_mark_do_not_matter() {
        let rows =
            |rows: Vec<(u64, String)>| rows.into_iter().map(|(line, row)| (line, row == OBJECT)).collect::<Vec<_>>();
        assert_eq!(
            rows(read(format!("\u{feff}\r\n{HEADER}\r\n\r\n{ROW}\r\n  \r\n,,,,,,,,\r\n{ROW}"))),
            [(4, true), (7, true)]
        );
        assert_eq!(rows(read(format!("\u{feff}\n\n{OBJECT}\r\n \r\n\n  {OBJECT}  "))), [(3, true), (6, true)]);
    }

    #[test]
    fn quotes_may_hold_commas_quotes_and_lines() {
        let rows = csv(&format!("p,\"a \"\"b\"\",\n\r\n\nc\",Home,1,1,1,c,5\" Ann,t\n{ROW}\n"));
        assert!(rows[0].1.contains(r#""ProductName":"a \"b\",\n\r\n\nc""#), "{rows:?}");
        assert!(rows[0].1.contains(r#""CustomerName":"5\" Ann""#), "{rows:?}");
        assert_eq!((rows[0].0, rows[1].0), (2, 6));
    }

    #[test]
    fn a_header_must_have_the_columns_of_one_spelling() {
        let refused = |header: &str| format(header.as_bytes()).unwrap_err();
        assert!(refused("").contains("nothing in it"));
        assert!(refused("\n \n").contains("nothing in it"));
        assert!(refused("[{}]").contains("jq"));
        assert!(refused("hello\n").starts_with("it has no column productId, productName"), "{}", refused("hello\n"));
        let without = refused(&HEADER.replace(",Quantity", ",Qty"));
        assert!(
            without.starts_with(
                "it has no column Quantity; nothing is known of a column \"Qty\". The columns are ProductId"
            )
        );
        assert!(refused(&HEADER.to_ascii_lowercase()).contains("no column productId"));
        assert!(refused(&HEADER.replace(',', ";")).contains("separated by ';'; save it with commas"));
        assert!(refused(&format!("{HEADER},Quantity")).contains("two columns \"Quantity\""));
        assert!(refused(&format!("{HEADER}\r{ROW}\r")).contains("carriage returns alone"));
        assert!(refused(&format!("\"{HEADER}\n")).contains("a quote is open"));
        assert!(refused(&"x".repeat(MAX_LINE_BYTES + 9)).contains("longer than 65536 bytes"));
        let refused = refused("productId,unitPrice\n");
        assert!(
            refused.contains("column \"unitPrice\". The columns are")
                && refused.contains("unitPrice.amount, unitPrice.currency")
        );
        assert!(format(b"\xff\xfeP\0").unwrap_err().contains("UTF-16"));
        let spaced = format(format!(" {},ProductPurchaseId, action\n", HEADER.replace(',', " , ")).as_bytes()).unwrap();
        assert_eq!(spaced.ignored, ["ProductPurchaseId", "action"]);
    }

    #[test]
    fn a_row_that_is_none_is_told_with_its_text() {
        for (row, why) in [
            (&b"a,b"[..], "it has 2 columns, and the header has 9"),
            (b"a,b,c,d,e,f,g,h,i,j", "it has 10 columns, and the header has 9"),
            (b"p,Caf\xe9,Home,1,1,1,c,Ann,t", "its ProductName is not UTF-8"),
            (b"p,a\rb,Home,1,1,1,c,Ann,t", "it has a carriage return that is not in quotes"),
        ] {
            let text = [HEADER.as_bytes(), b"\n", row, b"\r\n", ROW.as_bytes()].concat();
            let found = entries(&text);
            let fault = found[0].purchase.as_ref().unwrap_err();
            assert_eq!((fault.detail.as_str(), found.len()), (why, 2));
            assert_eq!(serde_json::from_str::<String>(&fault.purchase).unwrap(), String::from_utf8_lossy(row));
        }
    }

    #[test]
    fn a_record_has_a_limit() {
        let fits = "x".repeat(MAX_LINE_BYTES - ROW.replace("Kettle", "\"\"").len());
        let row = |name: &str| format!("{HEADER}\n{}\r\n{ROW}", ROW.replace("Kettle", &format!("\"{name}\"")));
        let wide = entries(row(&fits).as_bytes());
        assert_eq!(wide[0].purchase.as_ref().unwrap_err().detail, "as JSON it is longer than 65536 bytes");
        assert!(wide[1].purchase.is_ok());
        for too_long in [row(&(fits.clone() + "x")), row(&format!("{}\n{}", &fits[..9], &fits[9..]))] {
            let error = entries_from(too_long.as_bytes(), format(too_long.as_bytes()).unwrap().start).unwrap_err();
            assert!(matches!(error, ReadError::RecordTooLong(2)), "{error}");
        }
        let open = format!("{HEADER}\n{ROW}\na,\"b\n{ROW}");
        let error = entries_from(open.as_bytes(), format(open.as_bytes()).unwrap().start).unwrap_err();
        assert!(matches!(error, ReadError::QuoteOpen(3)), "{error}");
        let full_of_lines = format!("{HEADER}\n\"{}", "\n".repeat(MAX_LINE_BYTES * 2));
        let error =
            entries_from(full_of_lines.as_bytes(), format(full_of_lines.as_bytes()).unwrap().start).unwrap_err();
        assert!(matches!(error, ReadError::RecordTooLong(2)), "{error}");
    }

    #[test]
    fn a_line_of_ndjson_has_a_limit_and_the_next_is_found() {
        let object = |size: usize| format!("{{\"ProductId\":\"{}\"}}", "x".repeat(size - r#"{"ProductId":""}"#.len()));
        let text = format!("{}\n{}\r\n{OBJECT}\n", object(MAX_LINE_BYTES), object(MAX_LINE_BYTES + 1));
        let found = entries(text.as_bytes());
        assert_eq!(
            found.iter().map(|entry| (entry.line, entry.purchase.is_ok())).collect::<Vec<_>>(),
            [(1, true), (2, false), (3, true)]
        );
        let fault = found[1].purchase.as_ref().unwrap_err();
        assert!(fault.detail.contains("longer than 65536 bytes") && fault.purchase.len() < 300, "{fault:?}");
    }

    #[test]
    fn a_line_of_ndjson_is_a_purchase_or_holds_one() {
        let object = r#"{"productId":"p","unitPrice":{"amount":150,"currency":"USD"},"quantity":2.0}"#;
        let listed = format!(r#"{{"id":"7","status":"stored","purchase":{object}}}"#);
        let shown = r#"{"ProductPurchaseId":"7","ProductId":"p","action":"create"}"#;
        let refused = format!(r#"{{"line":3,"errors":[],"purchase":{OBJECT}}}"#);
        let text = [object, &listed, shown, &refused].join("\n");
        let taken = [object, object, r#"{"ProductId":"p"}"#, OBJECT];
        assert_eq!(
            read(&text),
            taken.iter().zip(1..).map(|(taken, line)| (line, (*taken).to_owned())).collect::<Vec<_>>()
        );
        assert_eq!(format(shown.as_bytes()).unwrap().ignored, ["ProductPurchaseId", "action"]);

        let faults = |line: &str| {
            let found = entries(format!("{{}}\n{line}\n").as_bytes());
            found.into_iter().nth(1).unwrap().purchase.unwrap_err()
        };
        let unknown = faults(r#"{"productId":"p","a/b":1,"Quantity":"1"}"#);
        let pointers: Vec<&str> = unknown.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/productId", "/a~1b"], "a line has one spelling");
        assert_eq!(unknown.purchase, r#"{"productId":"p","a/b":1,"Quantity":"1"}"#);
        for (line, text) in [
            ("{torn", "{torn"),
            ("[]", "[]"),
            ("7", "7"),
            (r#"{"purchase":"a,b"}"#, "a,b"),
            (r#"{"purchase":null}"#, "null"),
        ] {
            let fault = faults(line);
            assert!(fault.detail.starts_with("it is not a JSON object: "), "{fault:?}");
            assert_eq!(serde_json::from_str::<String>(&fault.purchase).unwrap(), text);
        }
        assert_eq!(entries(b"{}\n{\"\xff\":1}")[1].purchase.as_ref().unwrap_err().detail, "it is not UTF-8");
    }

    proptest! {
        #[test]
        fn any_cells_come_back_and_reading_may_begin_behind_any_of_them(
            rows in proptest::collection::vec(proptest::collection::vec("[a-z,\"\r\n é]{0,6}", 9), 0..6),
            crlf in any::<bool>(),
        ) {
            let end = if crlf { "\r\n" } else { "\n" };
            let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",") + end;
            let text = format!("{HEADER}{end}{}", rows.iter().map(line).collect::<String>());
            let all = entries(text.as_bytes());
            let objects = rows.iter().filter(|row| row.iter().any(|cell| !cell.trim().is_empty())).map(|row| {
                let cells = HEADER.split(',').zip(row).filter(|(_, cell)| !cell.is_empty());
                cells.map(|(name, cell)| (name.to_owned(), cell.clone().into())).collect::<serde_json::Map<_, _>>()
            });
            let read = all.iter().map(|entry| serde_json::from_str(entry.purchase.as_ref().unwrap()).unwrap());
            prop_assert_eq!(read.collect::<Vec<serde_json::Map<_, _>>>(), objects.collect::<Vec<_>>());
            for (at, entry) in all.iter().enumerate() {
                prop_assert_eq!(&entries_from(text.as_bytes(), entry.end).unwrap()[..], &all[at + 1..]);
            }
        }
    }
}

//! Files of purchases that are none: every line of them is told, or is a record; none is beyond the reader.

use cartwright::local::import::reader::{Entry, Format, Position, ReadError, Reader, read_head};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::{any_json, cases, check, corpus, nearly_right};

/// Beginnings of files that have purchases in them.
const BEGINNINGS: [&str; 5] = [
    "productId,productName,category,unitPrice.amount,unitPrice.currency,quantity,total.amount,total.currency,customerId,customerName,purchasedAt\n\
     p1,Pan,Kitchen,1250,USD,2,2500,USD,u,Ann,2021-02-28T10:00:00Z\n",
    "ProductId,ProductName,Category,PricePerUnit,Quantity,TotalPrice,CustomerId,CustomerName,TimeOfPurchase\r\n\
     p1,\"Pan, large\",Kitchen,12.5,2,25,u,Ann,2021-02-28T10:00:00Z\r\n",
    "\u{feff}{\"productId\":\"p1\",\"productName\":\"Pan\",\"quantity\":2}\n",
    "{\"purchase\":{\"ProductId\":\"p1\",\"Quantity\":2},\"detail\":\"it was refused\"}\n",
    "",
];

/// Pieces that mean something to a reader of lines, and some that mean nothing.
fn any_piece() -> impl Strategy<Value = Vec<u8>> {
    let telling = [
        "\n",
        "\r\n",
        "\r",
        "\"",
        ",",
        ";",
        "\"\"",
        "{",
        "}",
        "[",
        "\\",
        "\u{feff}",
        "\0",
        "{\"purchase\":",
        ",,,,,,,,",
    ];
    prop_oneof![
        4 => select(telling.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        2 => vec(any::<u8>(), 0..20),
        2 => nearly_right().prop_map(|body| format!("{body}\n").into_bytes()),
        1 => any_json().prop_map(|body| format!("{body}\n").into_bytes()),
        1 => (60_000..70_000_usize).prop_map(|length| vec![b'x'; length]),
    ]
}

/// Everything that is read of a file, and how that ended.
fn read(bytes: &[u8], format: &Format, at: Position) -> (Vec<Entry>, Result<(), ReadError>) {
    let rest = &bytes[usize::try_from(at.bytes).unwrap()..];
    let (mut reader, mut entries) = (Reader::new(rest, format, at), Vec::new());
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => return (entries, Ok(())),
            Err(error) => return (entries, Err(error)),
        }
    }
}

fn is_read_or_refused(bytes: &[u8]) -> Result<(), TestCaseError> {
    let head = read_head(&mut &bytes[..]).unwrap();
    let format = match Format::of(&head) {
        Ok(format) => format,
        Err(why) => {
            prop_assert!(!why.is_empty());
            return Ok(());
        }
    };
    let (entries, end) = read(bytes, &format, format.start);
    let mut before = format.start;
    for Entry { line, end, purchase } in &entries {
        prop_assert!(*line > before.lines && end.lines >= *line, "line {line} after {before:?}, to {end:?}");
        prop_assert!(end.bytes > before.bytes && end.bytes <= bytes.len() as u64, "{before:?} and then {end:?}");
        before = *end;
        let json = match purchase {
            Ok(purchase) => purchase,
            Err(fault) => {
                prop_assert!(!fault.detail.is_empty());
                &fault.purchase
            }
        };
        let value: Result<Value, _> = serde_json::from_str(json);
        let is_object = value.as_ref().is_ok_and(Value::is_object);
        // What is repeated of a line need only be JSON, and may be nested too deeply to be read as anything but text.
        prop_assert!(is_object || purchase.is_err(), "line {line} became {json}");
    }
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    prop_assert!(before.lines <= lines, "{before:?} of {lines} lines");
    let checked = Reader::new(&bytes[usize::try_from(format.start.bytes).unwrap()..], &format, format.start).check();
    match (&end, &checked) {
        (Ok(()), Ok(found)) => prop_assert!(*found >= before.lines && *found <= lines, "{found} of {lines} lines"),
        (Err(why), Err(again)) => {
            prop_assert_eq!(why.to_string(), again.to_string());
            prop_assert!(why.to_string().contains("line "), "{}", why);
        }
        _ => prop_assert!(false, "{:?} after the check said {:?}", end, checked),
    }
    // An import that was interrupted goes on anywhere.
    if let Some(first) = entries.first() {
        let (rest, end_of_rest) = read(bytes, &format, first.end);
        prop_assert_eq!(&rest[..], &entries[1..]);
        prop_assert_eq!(end_of_rest.is_ok(), end.is_ok());
    }
    Ok(())
}

#[test]
fn no_file_of_purchases_is_beyond_the_reader() {
    for (name, bytes) in corpus() {
        is_read_or_refused(&bytes).unwrap_or_else(|why| panic!("{name}: {why}"));
        for beginning in BEGINNINGS {
            let whole = [beginning.as_bytes(), &bytes].concat();
            is_read_or_refused(&whole).unwrap_or_else(|why| panic!("{name} after {beginning:?}: {why}"));
        }
    }
    let files = (select(BEGINNINGS.to_vec()), any::<Index>(), any::<bool>(), vec(any_piece(), 0..12));
    check(cases(), &files, |(beginning, cut, is_cut, pieces)| {
        let kept = if is_cut { cut.index(beginning.len() + 1) } else { beginning.len() };
        let whole = [&beginning.as_bytes()[..kept], &pieces.concat()].concat();
        is_read_or_refused(&whole)
    });
}

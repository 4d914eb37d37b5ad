//! The file of a whole shop: what is written is read again, and anything else is refused.

use cartwright::events::Queue;
use cartwright::store::{Key, Table};
use cartwright::transfer::{
    CHUNK_BYTES, CHUNK_RECORDS, DeadLetter, Document, Header, MAX_LINE_BYTES, Message, Reader, Record, Totals,
    TransferError, Writer,
};
use iso_currency::Currency;
use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// An export of these records.
fn written(records: &[Record]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &Header::new(Some(Currency::EUR))).unwrap();
    records.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish().unwrap().0
}

/// What a reader gets before it refuses the file, or comes to its end.
fn read(file: &[u8]) -> (Vec<Record>, Result<(Header, Totals), TransferError>) {
    let mut records = Vec::new();
    let mut go = || {
        let mut reader = Reader::new(file)?;
        while let Some(chunk) = reader.next_chunk()? {
            records.extend(chunk.records);
        }
        assert_eq!(reader.bytes_read(), file.len() as u64);
        Ok((reader.header().clone(), reader.totals().clone()))
    };
    let outcome = go();
    (records, outcome)
}

fn refusal(file: &[u8]) -> String {
    read(file).1.unwrap_err().to_string()
}

fn document(sk: &str, body: &str) -> Record {
    let key = Key::new(Table::Operations, "ITEMS", sk);
    Record::Document(Document { key, version: 1, expires_at: None, body: body.to_owned() })
}

fn message(body: &str) -> Record {
    let at = Timestamp::from_millisecond(1_767_323_045_678).unwrap();
    let body = body.to_owned();
    Record::Message(Message { queue: Queue::OrderQueue, receives: 0, enqueued_at: at, due_at: None, body })
}

fn lines(file: &[u8]) -> Vec<&str> {
    std::str::from_utf8(file).unwrap().split_inclusive('\n').collect()
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_i64).prop_map(|ms| Timestamp::from_millisecond(ms).unwrap())
}

/// JSON without space between tokens, as it is in the file.
fn value() -> impl Strategy<Value = String> {
    let text = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    let leaf =
        prop_oneof![select(vec!["0", "1.50", "-2e3", "true", "null", r#""\u0041\/""#]).prop_map(str::to_owned), text];
    leaf.prop_recursive(2, 8, 3, |inner| vec(inner, 0..3).prop_map(|values| format!("[{}]", values.join(","))))
}

/// An object whose members are sorted, as it is in the file.
fn object() -> impl Strategy<Value = String> {
    btree_map(any::<String>(), value(), 0..4).prop_map(|members| {
        let member = |(name, value): (String, String)| format!("{}:{value}", serde_json::to_string(&name).unwrap());
        format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
    })
}

fn documents() -> impl Strategy<Value = Record> {
    let key = (select(Table::ALL.to_vec()), ".{1,20}", ".{1,20}").prop_map(|(table, pk, sk)| Key::new(table, pk, sk));
    let expires_at = proptest::option::of((0..4_000_000_000_i64).prop_map(|s| Timestamp::from_second(s).unwrap()));
    (key, 1..=i64::MAX as u64, expires_at, object())
        .prop_map(|(key, version, expires_at, body)| Record::Document(Document { key, version, expires_at, body }))
}

fn messages() -> impl Strategy<Value = Record> {
    let envelope = object().prop_map(|detail| {
        let (id, time) = ("01942a9c-7038-7652-946f-424cdab22133", "2026-01-02T03:04:05Z");
        format!(
            r#"{{"correlationId":"","detail":{detail},"detail-type":"A","id":"{id}","source":"b","time":"{time}"}}"#
        )
    });
    let body = prop_oneof![envelope, any::<String>(), object()];
    (select(Queue::ALL.to_vec()), any::<u32>(), time(), proptest::option::of(time()), body).prop_map(
        |(queue, receives, enqueued_at, due_at, body)| {
            Record::Message(Message { queue, receives, enqueued_at, due_at, body })
        },
    )
}

fn dead_letters() -> impl Strategy<Value = Record> {
    (select(Queue::ALL.to_vec()), any::<String>(), any::<u32>(), time(), time(), any::<String>()).prop_map(
        |(queue, reason, receives, enqueued_at, died_at, body)| {
            Record::DeadLetter(DeadLetter { queue, reason, receives, enqueued_at, died_at, body })
        },
    )
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let parts = (vec(documents(), 0..6), vec(messages(), 0..4), vec(dead_letters(), 0..4));
    parts.prop_map(|(documents, messages, dead_letters)| [documents, messages, dead_letters].concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_and_written_alike(records in records()) {
        let file = written(&records);
        let (found, outcome) = read(&file);
        let (header, totals) = outcome.unwrap();
        prop_assert_eq!(&found, &records);
        prop_assert_eq!((header.currency, totals.records), (Some(Currency::EUR), records.len() as u64));
        prop_assert!(written(&found) == file);
    }

    #[test]
    fn a_flipped_bit_is_refused_or_changes_nothing(records in records(), at in any::<Index>(), bit in 0..8_u32) {
        let mut file = written(&records);
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        let (found, outcome) = read(&file);
        prop_assert!(records.starts_with(&found), "what came before the damage is right");
        if let Ok((header, _)) = outcome {
            let release = lines(&written(&records))[0].find("cartwright\":").unwrap();
            prop_assert!(at > release && at < lines(&file)[0].len(), "byte {} was not missed", at);
            prop_assert_eq!((header.currency, found), (Some(Currency::EUR), records));
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_refused(records in records(), at in any::<Index>()) {
        let file = written(&records);
        let cut = at.index(file.len());
        let refusal = read(&file[..cut]).1.unwrap_err();
        let header_ends = lines(&file)[0].len();
        match refusal {
            TransferError::NotAnExport => prop_assert!(cut < header_ends),
            TransferError::Truncated { .. } => {}
            other => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn lines_that_are_missing_doubled_or_elsewhere_are_refused(records in records(), from in any::<Index>(), to in any::<Index>()) {
        let file = written(&records);
        let lines = lines(&file);
        let (from, to) = (from.index(lines.len()), to.index(lines.len()));
        let mut others = [lines.clone(), lines.clone(), lines.clone()];
        others[0].remove(from);
        others[1].insert(to, lines[from]);
        others[2].swap(from, to);
        for other in others.into_iter().filter(|other| *other != lines) {
            let (found, outcome) = read(other.concat().as_bytes());
            prop_assert!(outcome.is_err() && records.starts_with(&found));
        }
    }

    #[test]
    fn the_digest_does_not_depend_on_the_order(documents in vec(documents(), 0..8).prop_shuffle(), at in any::<Index>()) {
        let mut others = documents.clone();
        if !others.is_empty() {
            others.rotate_left(at.index(documents.len()));
        }
        let digest = |records: &[Record]| read(&written(records)).1.unwrap().1.digest;
        prop_assert_eq!(digest(&documents), digest(&others));
        if let Some(Record::Document(document)) = others.first_mut() {
            document.version = if document.version == 1 { 2 } else { document.version - 1 };
            prop_assert!(digest(&documents) != digest(&others));
        }
    }
}

#[test]
fn a_file_looks_as_specified() {
    let expires_at = Some(Timestamp::from_millisecond(1_767_323_045_001).unwrap());
    let body = "{\"name\": \"Tea\\n\",\n \"a\": {\"z\" : 1.50, \"b\": [ ]}}".to_owned();
    let key = Key::new(Table::Catalog, "PRODUCT#1", "PRODUCT");
    let envelope = r#"{"id": "01942a9c-7038-7652-946f-424cdab22133", "source": "s", "detail-type": "D",
        "time": "2026-01-02T03:04:05Z", "correlationId": "", "detail": {"b": 1, "a": 2}}"#;
    let died_at = Timestamp::from_millisecond(1_767_323_145_000).unwrap();
    let enqueued_at = Timestamp::from_millisecond(1_767_323_045_678).unwrap();
    let dead_letter = DeadLetter {
        queue: Queue::StockQueue,
        reason: "bad".into(),
        receives: 6,
        enqueued_at,
        died_at,
        body: "{torn".into(),
    };
    let file = written(&[
        Record::Document(Document { key, version: 3, expires_at, body }),
        message(envelope),
        message("{torn"),
        Record::DeadLetter(dead_letter),
    ]);
    let lines = lines(&file);
    let hash = blake3::hash(["EUR", &lines[1..5].concat()].concat().as_bytes());
    let mut digest = [0_u64; 4];
    for line in &lines[1..5] {
        let hash = blake3::hash(line.trim_end().as_bytes());
        for (at, sum) in digest.iter_mut().enumerate() {
            *sum = sum.wrapping_add(u64::from_le_bytes(hash.as_bytes()[8 * at..][..8].try_into().unwrap()));
        }
    }
    let digest: String = digest.iter().map(|number| format!("{:016x}", number.swap_bytes())).collect();
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        &format!(r#"{{"format":"cartwright.export","version":1,"currency":"EUR","cartwright":"{version}"}}"#),
        r#"{"table":"catalog","pk":"PRODUCT#1","sk":"PRODUCT","version":3,"expiresAt":"2026-01-02T03:04:06Z","body":{"a":{"z":1.50,"b":[]},"name":"Tea\n"}}"#,
        r#"{"queue":"OrderQueue","receives":0,"enqueuedAt":"2026-01-02T03:04:05.678Z","envelope":{"correlationId":"","detail":{"b":1,"a":2},"detail-type":"D","id":"01942a9c-7038-7652-946f-424cdab22133","source":"s","time":"2026-01-02T03:04:05Z"}}"#,
        r#"{"queue":"OrderQueue","receives":0,"enqueuedAt":"2026-01-02T03:04:05.678Z","message":"{torn"}"#,
        r#"{"queue":"StockQueue","reason":"bad","receives":6,"enqueuedAt":"2026-01-02T03:04:05.678Z","diedAt":"2026-01-02T03:05:45Z","message":"{torn"}"#,
        &format!(r#"{{"checkpoint":4,"blake3":"{hash}"}}"#),
        &format!(
            r#"{{"end":{{"records":4,"documents":{{"catalog":1}},"messages":{{"OrderQueue":2}},"deadLetters":{{"StockQueue":1}},"digest":"{digest}"}}}}"#
        ),
        "",
    ];
    assert_eq!(String::from_utf8(file).unwrap(), expected.join("\n"));
}

#[test]
fn checkpoints_stand_after_so_many_records_and_so_many_bytes() {
    let small: Vec<_> = (0..CHUNK_RECORDS + 1).map(|at| document(&format!("{at:04}"), "{}")).collect();
    let file = written(&small);
    let checkpoint_lines = |file: &[u8]| -> Vec<usize> {
        let is_checkpoint = |(_, line): &(usize, &str)| line.starts_with("{\"checkpoint\"");
        lines(file).into_iter().enumerate().filter(is_checkpoint).map(|(at, _)| at).collect()
    };
    assert_eq!(checkpoint_lines(&file), [1_001, 1_003]);
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(CHUNK_BYTES / 4));
    let large: Vec<_> = (0..9).map(|at| document(&at.to_string(), &large)).collect();
    let large = written(&large);
    assert_eq!(checkpoint_lines(&large), [5, 10, 12]);
    for file in [&file, &large] {
        let lines = lines(file);
        let first = checkpoint_lines(file)[0];
        let without = [&lines[..first], &lines[first + 1..]].concat().concat();
        let refusal = refusal(without.as_bytes());
        assert!(refusal.starts_with(&format!("line {}: a checkpoint is missing", first + 1)), "{refusal}");
        let second_first = [&lines[..1], &lines[first + 1..], &lines[1..=first]].concat().concat();
        let (found, outcome) = read(second_first.as_bytes());
        assert!(found.is_empty() && outcome.is_err(), "a chunk before its turn");
    }
    assert_eq!(lines(&written(&[])).len(), 3, "an empty shop has a checkpoint too, for its currency");
}

#[test]
fn each_refusal_names_the_line_and_what_to_do() {
    let file = written(&[document("1", "{}"), document("2", "{}"), message("{torn")]);
    let text = std::str::from_utf8(&file).unwrap();
    let tests: [(&str, String, &[&str]); 9] = [
        ("nothing", String::new(), &["line 1", "not the header", "cartwright export"]),
        ("another file", "id,name\n1,Tea\n".to_owned(), &["line 1", "not the header"]),
        (
            "a newer version",
            text.replace(r#""version":1,"c"#, r#""version":2,"c"#),
            &["line 1", "version 2", "newer one"],
        ),
        ("a changed currency", text.replace("EUR", "USD"), &["line 5", "checkpoint", "from 2 on", "copy it again"]),
        ("a changed record", text.replace(r#""sk":"2""#, r#""sk":"3""#), &["line 5", "checkpoint", "copy it again"]),
        ("a changed end", text.replace(r#""records":3"#, r#""records":4"#), &["line 6", "not the end of the records"]),
        ("cut off after a line", lines(&file)[..3].concat(), &["line 4", "cut off", "copy it again"]),
        ("without its last byte", text[..text.len() - 1].to_owned(), &["line 6", "cut off"]),
        ("twice", text.repeat(2), &["line 7", "something follows the end"]),
    ];
    for (what, file, says) in tests {
        let refusal = refusal(file.as_bytes());
        for part in says {
            assert!(refusal.contains(part), "{what}: no {part:?} in: {refusal}");
        }
    }
}

/// A file with right checksums that no shop has written.
fn forged(records: &[&str]) -> Vec<u8> {
    let template = written(&[]);
    let hash = blake3::hash(["EUR", &records.concat()].concat().as_bytes());
    let checkpoint = format!("{{\"checkpoint\":{},\"blake3\":\"{hash}\"}}\n", records.len());
    [lines(&template)[0], &records.concat(), &checkpoint].concat().into_bytes()
}

#[test]
fn a_file_with_right_checksums_is_still_looked_at() {
    let at = "2026-01-02T03:04:05Z";
    let message = format!("{{\"queue\":\"OrderQueue\",\"receives\":0,\"enqueuedAt\":\"{at}\",\"message\":\"\"}}\n");
    let document = "{\"table\":\"basket\",\"pk\":\"a\",\"sk\":\"b\",\"version\":1,\"body\":{}}\n";
    let tests = [
        ([&message, document], "line 3: documents come first"),
        ([&message.replace("OrderQueue", "TeaQueue"), document], "line 2: the queue \"TeaQueue\" is not known"),
        ([document, &document.replace("basket", "tea")], "line 3: the table \"tea\" is not known"),
        ([document, &document.replace(":1,", ":0,")], "line 3: a document has a version"),
        ([document, &document.replace("{}", "[]")], "line 3: a document has a version"),
        ([document, &document.replace("\"a\"", "\"\"")], "line 3: a partition key has"),
        ([document, "{\"table\":\"basket\",\"tea\":1}\n"], "line 3: unknown field `tea`"),
        ([document, &message.replace(",\"message\"", ",\"reason\":\"r\",\"message\"")], "line 3: a dead letter has"),
        ([document, &message.replace(",\"message\":\"\"", "")], "line 3: a waiting message has"),
        ([document, "{\"tea\":1}\n"], "line 3: unknown field `tea`"),
    ];
    for (records, says) in tests {
        let refusal = refusal(&forged(&records));
        assert!(refusal.starts_with(says), "no {says:?} in: {refusal}");
    }
}

#[test]
fn a_line_may_be_so_long_and_no_longer() {
    let around = written(&[message("")]);
    let around = lines(&around)[1].len();
    let longest = message(&"x".repeat(MAX_LINE_BYTES - around));
    assert_eq!(lines(&written(std::slice::from_ref(&longest)))[1].len(), MAX_LINE_BYTES);
    let (found, outcome) = read(&written(std::slice::from_ref(&longest)));
    assert!(outcome.is_ok() && found == [longest]);
    let mut writer = Writer::new(Vec::new(), &Header::new(None)).unwrap();
    let refused = writer.write(&message(&"x".repeat(MAX_LINE_BYTES - around + 1))).unwrap_err();
    assert!(refused.to_string().starts_with("a message of OrderQueue cannot be exported: its line has"), "{refused}");
    let endless = [lines(&written(&[]))[0], &"x".repeat(MAX_LINE_BYTES + 1)].concat();
    assert!(refusal(endless.as_bytes()).starts_with("line 2: it is longer than"), "{}", refusal(endless.as_bytes()));
    let refused = writer.write(&document("1", "no object")).unwrap_err();
    assert!(refused.to_string().starts_with("the document operations ITEMS 1 cannot be exported"), "{refused}");
}

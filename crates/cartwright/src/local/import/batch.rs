//! Purchases in batches: what is sent, under which key, and what the answers mean.

use std::io::BufRead;
use std::time::{Duration, Instant};

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::journal::Settled;
use super::reader::{Entry, Fault, Position, ReadError, Reader};
use crate::error::FieldError;
use crate::local::shop::{AnyError, Shop, refusal, stranger};
use crate::purchases::ops::LINES_PER_COMMIT;
use crate::rest::MAX_BODY_BYTES;

/// Purchases sent in one request: as many as are accepted in one commit, so that a batch is in the shop in whole or not at
/// all.
const MAX_LINES: usize = LINES_PER_COMMIT;
/// Pause before a batch is sent again; twice as long before each further time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause before a batch is sent again.
const MAX_PAUSE: Duration = Duration::from_secs(10);

const BEFORE: &str = r#"{"purchases":["#;
const AFTER: &str = "]}";

/// Lines that follow each other, and the request that sends those that can be sent.
pub struct Batch {
    entries: Vec<Entry>,
    /// The request; nothing when none can be sent.
    pub body: Option<String>,
}

impl Batch {
    /// Its first line.
    pub fn first_line(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.line)
    }

    /// Where it ends.
    pub fn end(&self) -> Position {
        self.entries.last().map_or(Position::default(), |entry| entry.end)
    }
}

/// A file in batches. How it is divided depends on nothing but what it says from the first batch on.
pub struct Batches<R> {
    reader: Reader<R>,
    pending: Option<Entry>,
}

impl<R: BufRead> Batches<R> {
    /// The purchases of `reader`.
    pub fn new(reader: Reader<R>) -> Self {
        Batches { reader, pending: None }
    }

    /// The next batch.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn next(&mut self) -> Result<Option<Batch>, ReadError> {
        let (mut entries, mut body): (Vec<Entry>, String) = (Vec::with_capacity(MAX_LINES), BEFORE.to_owned());
        while entries.len() < MAX_LINES {
            let next = self.pending.take().map_or_else(|| self.reader.next_entry(), |entry| Ok(Some(entry)))?;
            let Some(entry) = next else { break };
            if let Ok(purchase) = &entry.purchase {
                if body.len() + 1 + purchase.len() + AFTER.len() > MAX_BODY_BYTES {
                    self.pending = Some(entry);
                    break;
                }
                if body.len() > BEFORE.len() {
                    body.push(',');
                }
                body.push_str(purchase);
            }
            entries.push(entry);
        }
        let body = (body.len() > BEFORE.len()).then(|| body + AFTER);
        Ok((!entries.is_empty()).then_some(Batch { entries, body }))
    }
}

/// What the keys of the batches are made of.
pub struct Keys {
    /// The same whenever the same is imported.
    pub seed: String,
    /// Whether the batches before are not known to be the same: then their content is part of the key.
    pub is_chained: bool,
}

impl Keys {
    /// The key of the batch that begins at `start`. It is visible ASCII and shorter than a key may be.
    pub fn next(&mut self, start: Position, body: &str) -> String {
        if self.is_chained {
            let chain = blake3::Hasher::new().update(self.seed.as_bytes()).update(body.as_bytes()).finalize();
            self.seed = chain.to_hex().to_string();
        }
        format!("import-{}-{}", self.seed, start.bytes)
    }
}

#[derive(Deserialize)]
struct Recorded {
    purchases: Vec<Answer>,
}

/// What the shop made of a purchase.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// It was accepted under this id.
    Accepted {
        /// The shop's.
        id: String,
    },
    /// It was not.
    Problem {
        /// As of a request of its own.
        status: u16,
        /// Why.
        detail: String,
        /// Its bad fields.
        #[serde(default)]
        errors: Vec<FieldError>,
    },
}

/// What an answer to a batch means.
enum Meaning {
    Done(Vec<Answer>),
    /// Send it again: nothing, or a part of it, was done, for this reason.
    Again(String),
    Refused(AnyError),
}

fn meaning(status: u16, answer: &[u8]) -> Meaning {
    let problem: Value = serde_json::from_slice(answer).unwrap_or_default();
    let is_running = problem["code"] == "idempotency_key_in_use";
    if matches!(status, 408 | 429 | 500..) || is_running {
        return Meaning::Again(refusal(status, answer).to_string());
    }
    if status != 207 {
        return Meaning::Refused(refusal(status, answer));
    }
    let Ok(Recorded { purchases }) = serde_json::from_slice(answer) else {
        return Meaning::Refused(stranger(status));
    };
    let failed = purchases.iter().find_map(|line| match line {
        Answer::Problem { status: 500.., detail, .. } => Some(detail.clone()),
        Answer::Problem { .. } | Answer::Accepted { .. } => None,
    });
    failed.map_or(Meaning::Done(purchases), Meaning::Again)
}

/// Sends `body` under `key` until it is answered, for as long as `patience` lasts. `wait` is told why it is sent again.
///
/// # Errors
/// The shop refuses the whole of it, or patience is over.
pub async fn send(
    shop: &Shop,
    key: &str,
    body: &str,
    patience: Duration,
    wait: impl Fn(&str),
) -> Result<Vec<Answer>, AnyError> {
    let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let why = match shop.send(&Method::POST, "/v1/purchases/batch", Some(key), body).await {
            Ok((status, answer)) => match meaning(status, &answer) {
                Meaning::Done(answers) => return Ok(answers),
                Meaning::Refused(error) => return Err(error),
                Meaning::Again(why) => why,
            },
            Err(error) => error.to_string(),
        };
        if begun.elapsed() + pause > patience {
            return Err(why.into());
        }
        wait(&why);
        tokio::time::sleep(pause).await;
        pause = MAX_PAUSE.min(2 * pause);
    }
}

/// A refused line in the report: a line of a file of purchases, once what is wrong with it is mended.
#[derive(Serialize)]
struct Refused<'a> {
    line: u64,
    detail: &'a str,
    errors: &'a [FieldError],
    purchase: &'a RawValue,
}

impl Batch {
    /// What became of its lines, by the answers to those that were sent; without answers, they are known to be accepted.
    ///
    /// # Errors
    /// There is not an answer for each.
    pub fn settle(&self, answers: Option<Vec<Answer>>) -> Result<Settled, AnyError> {
        let mut settled = Settled::default();
        let sent = self.entries.iter().filter(|entry| entry.purchase.is_ok()).count();
        if answers.as_ref().is_some_and(|answers| answers.len() != sent) {
            return Err(stranger(207));
        }
        let mut answers = answers.into_iter().flatten();
        for Entry { line, purchase, .. } in &self.entries {
            let (detail, errors, purchase) = match purchase {
                Err(Fault { detail, errors, purchase }) => (detail.clone(), errors.clone(), purchase),
                Ok(purchase) => match answers.next() {
                    Some(Answer::Problem { detail, errors, .. }) => (detail, errors, purchase),
                    accepted => {
                        settled.counts.accepted += 1;
                        if let Some(Answer::Accepted { id }) = accepted {
                            settled.last_accepted = Some(id);
                        }
                        continue;
                    }
                },
            };
            settled.counts.refused += 1;
            let purchase: &RawValue = serde_json::from_str(purchase)?;
            let refused = Refused { line: *line, detail: &detail, errors: &errors, purchase };
            settled.refused += &(serde_json::to_string(&refused)? + "\n");
        }
        Ok(settled)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::reader::{Format, MAX_LINE_BYTES, read_head};
    use super::*;

    fn batches(text: &str) -> Vec<Batch> {
        let format = Format::of(&read_head(&mut Cursor::new(text)).unwrap()).unwrap();
        let mut batches = Batches::new(Reader::new(Cursor::new(text), &format, format.start));
        std::iter::from_fn(|| batches.next().unwrap()).collect()
    }

    fn sizes(batches: &[Batch]) -> Vec<usize> {
        batches.iter().map(|batch| batch.entries.len()).collect()
    }

    #[test]
    fn a_batch_has_a_limit_of_lines_and_of_bytes() {
        let small = "{\"productId\":\"p\"}\n";
        let all = batches(&small.repeat(2 * MAX_LINES + 1));
        assert_eq!(sizes(&all), [MAX_LINES, MAX_LINES, 1]);
        assert_eq!(all[2].body.as_deref(), Some(r#"{"purchases":[{"productId":"p"}]}"#));
        assert_eq!((all[1].first_line(), all[1].end().lines), (MAX_LINES as u64 + 1, 2 * MAX_LINES as u64));
        let large = |extra: usize| format!("{{\"productId\":\"{}\"}}\n", "x".repeat(MAX_LINE_BYTES - 40 + extra));
        let all = batches(&format!("{}{}", large(0).repeat(9), small));
        assert_eq!(sizes(&all), [4, 4, 2]);
        assert!(all.iter().all(|batch| batch.body.as_ref().unwrap().len() <= MAX_BODY_BYTES));
        assert_eq!(sizes(&batches(&"{torn\n".repeat(MAX_LINES + 2))), [MAX_LINES, 2]);
        assert!(batches("{torn\n")[0].body.is_none());
    }

    #[test]
    fn what_follows_a_batch_is_divided_alike_when_reading_begins_there() {
        let line = |at: usize| format!("{{\"productId\":\"{}\"}}\n", "x".repeat(at * 7_919 % 60_000));
        let text: String = (0..60).map(line).collect();
        let all = batches(&text);
        assert!(all.len() > 5);
        for (at, batch) in all[..all.len() - 1].iter().enumerate() {
            let rest = batches(&text[usize::try_from(batch.end().bytes).unwrap()..]);
            let bodies = |batches: &[Batch]| batches.iter().map(|batch| batch.body.clone()).collect::<Vec<_>>();
            assert_eq!(bodies(&rest), bodies(&all[at + 1..]));
        }
    }

    #[test]
    fn keys_depend_on_the_place_and_of_a_pipe_on_all_that_came_before() {
        let at = |bytes| Position { bytes, lines: 0 };
        let file = || Keys { seed: "s".into(), is_chained: false };
        assert_eq!(file().next(at(7), "a"), "import-s-7");
        let pipe = |bodies: &[&str]| {
            let mut keys = Keys { seed: "s".into(), is_chained: true };
            bodies.iter().map(|body| keys.next(at(7), body)).last().unwrap()
        };
        assert_eq!(pipe(&["a", "b"]), pipe(&["a", "b"]));
        assert_ne!(pipe(&["a", "b"]), pipe(&["x", "b"]));
        assert!(pipe(&["a"]).bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn an_answer_is_final_only_when_it_is_one_for_every_line() {
        let tried_again = |status, answer: &str| matches!(meaning(status, answer.as_bytes()), Meaning::Again(_));
        assert!(tried_again(503, r#"{"code":"storage_full","detail":"The disk is full."}"#));
        assert!(tried_again(502, "<html>"));
        assert!(tried_again(429, ""));
        assert!(tried_again(409, r#"{"code":"idempotency_key_in_use"}"#));
        let line =
            |status: u16| format!(r#"{{"purchases":[{{"problem":{{"status":{status},"code":"c","detail":"d"}}}}]}}"#);
        assert!(tried_again(207, &line(503)), "a part of it was not done");
        assert!(matches!(meaning(207, line(400).as_bytes()), Meaning::Done(lines) if lines.len() == 1));
        for (status, answer) in [(422, r#"{"code":"idempotency_key_reused"}"#), (404, ""), (200, "{}"), (207, "[]")] {
            assert!(matches!(meaning(status, answer.as_bytes()), Meaning::Refused(_)), "{status} {answer}");
        }
    }

    #[test]
    fn refused_lines_are_told_with_their_reasons_and_can_be_read_again() {
        let batch = &batches("{\"productId\":\"a\"}\n{torn\n\n{\"productId\":\"b\",\"quantity\":1.50}\n{\"x\":1}\n")[0];
        let problem = FieldError { pointer: "/quantity".into(), detail: "must be whole".into() };
        let answers = || {
            let refused = Answer::Problem { status: 400, detail: "Bad.".into(), errors: vec![problem.clone()] };
            vec![Answer::Accepted { id: "7".into() }, refused]
        };
        let settled = batch.settle(Some(answers())).unwrap();
        assert_eq!((settled.counts.accepted, settled.counts.refused), (1, 3));
        assert_eq!(settled.last_accepted.as_deref(), Some("7"));
        let lines: Vec<&str> = settled.refused.lines().collect();
        assert!(lines[0].starts_with(r#"{"line":2,"detail":"it is not a JSON object"#), "{}", lines[0]);
        assert!(lines[0].ends_with(r#""errors":[],"purchase":"{torn"}"#), "{}", lines[0]);
        let refused = r#"{"line":4,"detail":"Bad.","errors":[{"pointer":"/quantity","detail":"must be whole"}],"purchase":{"productId":"b","quantity":1.50}}"#;
        assert_eq!(lines[1], refused);
        assert!(lines[2].contains(r#"{"pointer":"/x","detail":"is no field of a purchase"}"#), "{}", lines[2]);
        let again = &batches(&settled.refused)[0];
        assert_eq!(again.body.as_deref(), Some(r#"{"purchases":[{"productId":"b","quantity":1.50}]}"#));

        assert_eq!(batch.settle(None).unwrap().counts.accepted, 2, "known to be there");
        for wrong in [Vec::new(), answers().into_iter().chain(answers()).collect()] {
            assert!(batch.settle(Some(wrong)).is_err());
        }
    }
}

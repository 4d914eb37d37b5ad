//! The relay: what a commit left in the outbox of its table goes to the event bus, or into one queue.
//!
//! A table's stream brings each outbox item once it is committed, through a pipe or an event source mapping. Events go to
//! the bus in groups as large as it takes, and the result of each is looked at: one that failed is tried again a few times,
//! then named in the answer, so that the stream hands it out again with all that came after it. An event may thus be sent
//! twice; every consumer bears that.
//!
//! An event that can never be put on the bus would hold up all behind it. It becomes a dead letter of each queue it would
//! have come to, with the reason: there operators see it and can put it into that queue past the bus.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_eventbridge::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use cartwright::app::Ids;
use cartwright::error::Result;
use cartwright::events::{Envelope, Queue, queues_of};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::letters::NewLetter;
use crate::message::{keepable, sendable, with_metadata};
use crate::sqs::{BatchAnswer, DEAD_SUFFIX, Queues, bury, sqs_error};
use crate::xray;

/// Most entries of one call: EventBridge's limit.
const MAX_ENTRIES: usize = 10;
/// Largest sum of the entries of one call: EventBridge's limit.
const MAX_ENTRIES_BYTES: usize = 256 * 1024;
/// What the time of an entry counts for.
const TIME_BYTES: usize = 14;
/// How often an entry is sent before the stream is asked to bring it again.
const MAX_ATTEMPTS: u32 = 5;
/// Pause before entries that failed are sent again; twice as long each time, half of it at random.
const FIRST_PAUSE_MS: u64 = 100;
/// What the bus says of entries that it will never take.
const NEVER: [&str; 5] =
    ["MalformedDetail", "InvalidArgument", "InvalidArgumentException", "ValidationException", "EventSizeExceeded"];

/// What brings the records: a pipe a bare list, an event source mapping a list under a name.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum StreamBatch {
    /// From a pipe.
    Pipe(Vec<StreamRecord>),
    /// From an event source mapping.
    Mapping {
        /// The records.
        #[serde(rename = "Records")]
        records: Vec<StreamRecord>,
    },
}

/// A change of a table.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRecord {
    event_name: String,
    dynamodb: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: String,
    #[serde(default)]
    new_image: BTreeMap<String, Attribute>,
}

/// A value of an item, if it is a text.
#[derive(Deserialize)]
struct Attribute {
    #[serde(rename = "S")]
    text: Option<String>,
}

/// What an outbox item is to become.
enum Outgoing {
    Event(Box<Envelope>),
    Message(Queue, String),
    /// Nothing that this release can send.
    Unknown(String),
}

/// An event on its way to the bus.
struct Entry {
    sequence: String,
    event: Box<Envelope>,
    detail: String,
}

impl Entry {
    fn bytes(&self) -> usize {
        TIME_BYTES + self.event.source.len() + self.event.detail_type.len() + self.detail.len()
    }
}

/// How a call went for one entry.
enum Outcome {
    Sent,
    Failed(String),
    Never(String),
}

/// The relay of all outboxes.
pub struct Relay {
    bus: String,
    events: aws_sdk_eventbridge::Client,
    queues: Queues,
    ids: Box<dyn Ids>,
}

impl Relay {
    /// A relay to the bus called so and to these queues.
    pub fn new(bus: String, events: aws_sdk_eventbridge::Client, queues: Queues, ids: Box<dyn Ids>) -> Self {
        Relay { bus, events, queues, ids }
    }

    /// Sends what the records of a batch bring, within the time the function has left. Answers what could not be sent, by
    /// sequence number, in the order of the stream.
    pub async fn send(&self, batch: StreamBatch, time_left: Duration) -> BatchAnswer {
        let stop_at = Instant::now() + time_left / 2;
        let (StreamBatch::Pipe(records) | StreamBatch::Mapping { records }) = batch;
        let (mut order, mut entries, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            let sequence = record.dynamodb.sequence_number.clone();
            order.push(sequence.clone());
            let sent = match outgoing(record) {
                None => Ok(()),
                Some(Outgoing::Message(queue, text)) => self.send_message(queue, text).await,
                Some(Outgoing::Unknown(why)) => {
                    tracing::error!(
                        sequence,
                        why,
                        "an outbox item cannot be sent by this release; it stays in its table until it expires"
                    );
                    Ok(())
                }
                Some(Outgoing::Event(event)) => match with_metadata(&event) {
                    Some(detail) => {
                        entries.push(Entry { sequence: sequence.clone(), event, detail });
                        Ok(())
                    }
                    None => self.bury(&event, "its detail is no JSON object").await,
                },
            };
            if let Err(error) = sent {
                tracing::warn!(sequence, %error, "a message could not be sent; the stream will bring it again");
                failed.push(sequence);
            }
        }
        failed.extend(self.put_all(entries, stop_at).await);
        order.into_iter().filter(|sequence| failed.contains(sequence)).collect()
    }

    async fn send_message(&self, queue: Queue, text: String) -> Result<()> {
        let request = self.queues.client().send_message().queue_url(self.queues.url(queue.name()).await?);
        request.message_body(sendable(&text)).send().await.map(drop).map_err(sqs_error)
    }

    /// Puts events on the bus, those that fail again after a pause. Returns the sequence numbers of those that were not.
    async fn put_all(&self, mut entries: Vec<Entry>, stop_at: Instant) -> Vec<String> {
        let mut failed = Vec::new();
        let (small, large): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.bytes() <= MAX_ENTRIES_BYTES);
        entries = small;
        for entry in large {
            let why = format!("it has {} bytes, and the bus takes {MAX_ENTRIES_BYTES}", entry.bytes());
            failed.extend(self.bury_entry(entry, &why).await);
        }
        for attempt in 1..=MAX_ATTEMPTS {
            let mut again = Vec::new();
            for group in groups(entries) {
                if Instant::now() > stop_at {
                    failed.extend(group.into_iter().map(|entry| entry.sequence));
                    continue;
                }
                let outcomes = self.put_group(&group).await;
                for (entry, outcome) in group.into_iter().zip(outcomes) {
                    match outcome {
                        Outcome::Sent => {}
                        Outcome::Never(why) => failed.extend(self.bury_entry(entry, &why).await),
                        Outcome::Failed(why) => {
                            let Envelope { id, detail_type, .. } = &*entry.event;
                            tracing::warn!(%id, detail_type, attempt, why, "an event was not put on the bus");
                            again.push(entry);
                        }
                    }
                }
            }
            entries = again;
            let pause_ms = FIRST_PAUSE_MS << attempt;
            let pause = Duration::from_millis(pause_ms / 2 + self.ids.random() % (pause_ms / 2));
            if entries.is_empty() || attempt == MAX_ATTEMPTS || Instant::now() + pause > stop_at {
                break;
            }
            sleep(pause).await;
        }
        failed.extend(entries.into_iter().map(|entry| entry.sequence));
        failed
    }

    /// Puts one group on the bus. How it went for each, in their order.
    async fn put_group(&self, group: &[Entry]) -> Vec<Outcome> {
        let entries = group.iter().map(|entry| {
            PutEventsRequestEntry::builder()
                .event_bus_name(&self.bus)
                .source(&entry.event.source)
                .detail_type(&entry.event.detail_type)
                .time(DateTime::from_secs(entry.event.time.as_second()))
                .detail(&entry.detail)
                .set_trace_header(entry.event.traceparent.map(xray::header))
                .build()
        });
        let answer = self.events.put_events().set_entries(Some(entries.collect())).send().await;
        let results = match answer {
            Ok(answer) => answer.entries.unwrap_or_default(),
            Err(error) => {
                let code = error.as_service_error().and_then(PutEventsError::code).unwrap_or_default().to_owned();
                let why = DisplayErrorContext(&error).to_string();
                // Who is to blame can be told when it is alone.
                if NEVER.contains(&code.as_str()) && group.len() > 1 {
                    let mut outcomes = Vec::new();
                    for entry in group.chunks(1) {
                        outcomes.extend(Box::pin(self.put_group(entry)).await);
                    }
                    return outcomes;
                }
                return group.iter().map(|_| outcome(&code, why.clone())).collect();
            }
        };
        let results = results.into_iter().map(|result| match (result.event_id, result.error_code) {
            (Some(_), _) => Outcome::Sent,
            (None, code) => {
                let code = code.unwrap_or_default();
                outcome(&code, format!("{code}: {}", result.error_message.unwrap_or_default()))
            }
        });
        let missing = std::iter::repeat_with(|| Outcome::Failed("the answer says nothing of it".into()));
        results.chain(missing).take(group.len()).collect()
    }

    async fn bury_entry(&self, entry: Entry, why: &str) -> Option<String> {
        let buried = self.bury(&entry.event, why).await;
        let failed = buried.inspect_err(|error| {
            tracing::error!(sequence = entry.sequence, %error, "a dead event could not be sent on; the stream will bring it again");
        });
        failed.err().map(|_| entry.sequence)
    }

    /// Makes an event that can never be put on the bus a dead letter of each queue it would have come to.
    async fn bury(&self, event: &Envelope, why: &str) -> Result<()> {
        let Envelope { id, source, detail_type, .. } = event;
        tracing::error!(%id, detail_type, why, "an event can never be put on the bus; it is a dead letter of its queues");
        let text = serde_json::to_string(event).map_err(cartwright::error::Error::internal)?;
        for queue in queues_of(source, detail_type) {
            let letter = NewLetter {
                message_id: id.to_string(),
                sent_at_ms: event.time.as_millisecond(),
                reason: format!("undeliverable: The event cannot be put on the bus: {why}"),
                receives: 0,
                text: keepable(&text),
            };
            let url = self.queues.url(&format!("{}{DEAD_SUFFIX}", queue.name())).await?;
            bury(self.queues.client(), &url, letter).await?;
        }
        Ok(())
    }
}

fn outcome(code: &str, why: String) -> Outcome {
    if NEVER.contains(&code) { Outcome::Never(why) } else { Outcome::Failed(why) }
}

/// What is to be done about a record; none when it is no new item of an outbox.
fn outgoing(record: StreamRecord) -> Option<Outgoing> {
    let mut image = record.dynamodb.new_image;
    let mut text = |name: &str| image.remove(name).and_then(|attribute| attribute.text);
    if record.event_name != "INSERT" || !text("PK")?.starts_with("OUTBOX#") {
        return None;
    }
    Some(match (text("q"), text("e")) {
        (_, None) => Outgoing::Unknown("it has no text".to_owned()),
        (Some(queue), Some(text)) => match Queue::named(&queue) {
            Some(queue) => Outgoing::Message(queue, text),
            None => Outgoing::Unknown(format!("there is no queue called {queue}")),
        },
        (None, Some(text)) => match serde_json::from_str(&text) {
            Ok(event) => Outgoing::Event(Box::new(event)),
            Err(error) => Outgoing::Unknown(format!("it is no event: {error}")),
        },
    })
}

/// Entries in their order, in groups that fit into one call each.
fn groups(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let (mut groups, mut bytes) = (Vec::<Vec<Entry>>::new(), 0);
    for entry in entries {
        bytes += entry.bytes();
        match groups.last_mut() {
            Some(group) if group.len() < MAX_ENTRIES && bytes <= MAX_ENTRIES_BYTES => group.push(entry),
            _ => {
                bytes = entry.bytes();
                groups.push(vec![entry]);
            }
        }
    }
    groups
}

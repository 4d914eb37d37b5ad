//! The queues as an operator sees them: figures of SQS, and dead letters that were recorded.
//!
//! Putting a letter back is one commit: the document goes, and a message for its queue comes out of the outbox like any
//! event.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use cartwright::app::Ids;
use cartwright::error::{Error, Kind, Result};
use cartwright::events::Queue;
use cartwright::queues::{
    Action, Audit, DeadLetter, DeadLetterId, DeadLetterPage, MAX_AT_ONCE, MAX_PAGE_BYTES, QueueAdmin, Statistics,
    Which, not_there,
};
use cartwright::store::{Batch, CommitError, Doc, Expect, MAX_COMMIT_BYTES, Store, Table};
use jiff::Timestamp;

use crate::letters;
use crate::sqs::{Queues, sqs_error};

/// Largest sum of the letters that are dealt with in one transaction: each may be in it twice, as what goes and as what is
/// sent.
const MAX_BYTES_AT_ONCE: usize = MAX_COMMIT_BYTES / 2;
/// How often a transaction is tried that lost a race.
const MAX_ATTEMPTS: u64 = 10;
/// Pause before the second try; longer by as much before each further one, and up to twice as long at random.
const PAUSE_MS: u64 = 10;

/// The queues on AWS.
pub struct AwsQueues {
    store: Arc<dyn Store>,
    ids: Arc<dyn Ids>,
    queues: Queues,
}

impl AwsQueues {
    /// The queues of the shop whose letters are in `store`.
    pub fn new(store: Arc<dyn Store>, ids: Arc<dyn Ids>, queues: Queues) -> Self {
        AwsQueues { store, ids, queues }
    }

    /// The letters that are meant, oldest first.
    async fn meant(&self, queue: Queue, which: &Which) -> Result<Vec<DeadLetter>> {
        let partition = letters::partition(queue);
        let docs: Vec<Doc> = match which {
            Which::These(ids) => {
                let mut ids = ids.clone();
                ids.sort_unstable();
                let keys: Vec<_> = ids.iter().map(|id| partition.key(id.as_str())).collect();
                let found = self.store.get_many(&keys).await?;
                let unknown = ids.iter().zip(&found).filter(|(_, doc)| doc.is_none()).map(|(id, _)| id);
                let unknown: Vec<_> = unknown.collect();
                if !unknown.is_empty() {
                    return Err(not_there(queue, &unknown));
                }
                found.into_iter().flatten().collect()
            }
            Which::UpTo(newest) => {
                let page = self.store.list(&partition.all(), None, MAX_AT_ONCE).await?;
                page.docs.into_iter().take_while(|doc| &*doc.sk <= newest.as_str()).collect()
            }
        };
        let mut meant: Vec<_> = docs.iter().map(letters::read).collect::<Result<_>>()?;
        let fits = fitting(&meant, MAX_BYTES_AT_ONCE);
        if fits < meant.len() && matches!(which, Which::These(_)) {
            let message = format!("These dead letters are too large for one transaction; name at most {fits} of them.");
            return Err(Error::new(Kind::TooLarge, "dead_letters_too_large", message));
        }
        meant.truncate(fits);
        Ok(meant)
    }
}

/// How many of these, from the first, have at most `bytes` together; at least one.
fn fitting(letters: &[DeadLetter], bytes: usize) -> usize {
    let mut sum = 0;
    let fits = letters.iter().take_while(|letter| {
        sum += letter.body.len();
        sum <= bytes
    });
    fits.count().max(1).min(letters.len())
}

#[async_trait]
impl QueueAdmin for AwsQueues {
    async fn statistics(&self, queue: Queue, _: Timestamp) -> Result<Statistics> {
        let (waiting, in_flight, delayed) = (
            Attribute::ApproximateNumberOfMessages,
            Attribute::ApproximateNumberOfMessagesNotVisible,
            Attribute::ApproximateNumberOfMessagesDelayed,
        );
        let request = self.queues.client().get_queue_attributes().queue_url(self.queues.url(queue.name()).await?);
        let names = Some(vec![waiting.clone(), in_flight.clone(), delayed.clone()]);
        let asked = request.set_attribute_names(names).send().await.map_err(sqs_error)?;
        let attributes = asked.attributes.unwrap_or_default();
        let figure = |name: &Attribute| attributes.get(name).and_then(|figure| figure.parse().ok()).unwrap_or(0);
        Ok(Statistics {
            waiting: figure(&waiting),
            in_flight: figure(&in_flight),
            delayed: figure(&delayed),
            dead: letters::counted(&*self.store, queue).await?,
            oldest_enqueued_at: None,
            since_start: None,
        })
    }

    async fn list_dead_letters(
        &self,
        queue: Queue,
        oldest_first: bool,
        after: Option<&DeadLetterId>,
        limit: usize,
    ) -> Result<DeadLetterPage> {
        let range = letters::partition(queue).all();
        let range = if oldest_first { range } else { range.descending() };
        let page = self.store.list(&range, after.map(DeadLetterId::as_str), limit).await?;
        let mut letters: Vec<_> = page.docs.iter().map(letters::read).collect::<Result<_>>()?;
        let fits = fitting(&letters, MAX_PAGE_BYTES);
        let more = page.next.is_some() || fits < letters.len();
        letters.truncate(fits);
        Ok(DeadLetterPage { letters, more })
    }

    async fn find_dead_letter(&self, queue: Queue, id: &DeadLetterId) -> Result<Option<DeadLetter>> {
        let doc = self.store.get(&letters::partition(queue).key(id.as_str())).await?;
        doc.as_ref().map(letters::read).transpose()
    }

    async fn take(&self, queue: Queue, action: Action, which: Which, audit: Audit) -> Result<Vec<DeadLetterId>> {
        for attempt in 1.. {
            let meant = self.meant(queue, &which).await?;
            let ids: Vec<_> = meant.iter().map(|letter| letter.id.clone()).collect();
            if ids.is_empty() {
                return Ok(ids);
            }
            let mut batch = Batch::new(Table::Operations);
            for DeadLetter { id, body, .. } in meant {
                batch.delete(letters::partition(queue).key(id.as_str()), Expect::Exists);
                if action == Action::Redrive {
                    batch.send(queue, body);
                }
            }
            letters::count(&mut batch, queue, -i64::try_from(ids.len()).unwrap_or(i64::MAX));
            batch.emit(audit(&ids));
            match self.store.commit(batch).await {
                Ok(()) => return Ok(ids),
                // Someone else took one of them, or letters were recorded meanwhile: look again.
                Err(CommitError::Conflict(_)) if attempt < MAX_ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
            let pause_ms = PAUSE_MS * attempt;
            tokio::time::sleep(Duration::from_millis(pause_ms + self.ids.random() % pause_ms)).await;
        }
        unreachable!("the loop ends by returning")
    }
}

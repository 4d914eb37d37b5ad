//! The delivery of the simulation: hands messages out in any order, in batches, twice, and notes what becomes of them by the
//! rules of the real one.

use std::sync::Arc;

use cartwright::app::{Clock, Ids};
use cartwright::attempt::{attempt, is_dead, tell_of_death};
use cartwright::error::Result;
use cartwright::events::{Envelope, Queue};
use cartwright::local::sqlite::Received;

use super::model::Message;
use super::mutants::{self, Mutant};
use super::plan::Word;
use super::ports::{Go, Shared, Step};
use super::sqlite::now_or_wait;
use super::world::{Actor, Done, Home, TIME_LIMIT, World};

/// A message in someone's hands.
#[derive(Clone)]
enum InHand {
    Model(u64),
    /// The second hand-out of a message, of whose fate nothing is noted.
    Double,
    Sqlite(Received),
}

impl World {
    /// Hands a message out, or as many of its queue as come in a batch.
    pub(super) fn receive(&mut self, mut word: Word) {
        if self.home == Home::Sqlite {
            return self.receive_from_file(word);
        }
        let now_ms = self.shared.run().now.as_millisecond();
        let mutant = self.shared.run().mutant;
        let (taken, deleted) = {
            let mut state = self.shared.model.state();
            let due = |message: &Message| !message.in_hand && message.due_ms <= now_ms;
            let ready: Vec<usize> = (0..state.messages.len()).filter(|&at| due(&state.messages[at])).collect();
            if ready.is_empty() {
                return;
            }
            let first = ready[word.pick(ready.len())];
            let queue = state.messages[first].queue;
            let others = ready.iter().copied().filter(|&at| at != first && state.messages[at].queue == queue);
            let batch: Vec<u64> =
                [first].into_iter().chain(others.take(word.pick(4))).map(|at| state.messages[at].id).collect();
            let (taken, left) =
                if mutant == Some(Mutant::FirstRecordOnly) { batch.split_at(1) } else { (&batch[..], &[][..]) };
            let deleted: Vec<Message> = left.iter().filter_map(|id| state.remove(*id)).collect();
            let hand_out = |id: &u64| {
                let message = state.message(*id)?;
                message.in_hand = true;
                Some(message.clone())
            };
            let taken: Vec<Message> = taken.iter().filter_map(hand_out).collect();
            (taken, deleted)
        };
        for message in deleted {
            self.shared.run().say(|| format!("    a message of {} is deleted with its batch", message.queue.name()));
        }
        for message in taken {
            if mutant == Some(Mutant::DeletedOnReceive) {
                self.shared.model.state().remove(message.id);
            }
            let envelope = serde_json::from_str::<Envelope>(&message.text).map_err(|error| error.to_string());
            let double = self.faults.doubles && word.once_in(6);
            self.attempt(message.queue, message.receives, envelope.clone(), InHand::Model(message.id));
            if double {
                self.attempt(message.queue, message.receives, envelope, InHand::Double);
            }
        }
    }

    fn receive_from_file(&mut self, mut word: Word) {
        let Some(file) = &self.file else { return };
        let (store, now_ms) = (Arc::clone(&file.store), self.shared.run().now.as_millisecond());
        let first = word.pick(Queue::ALL.len());
        for at in 0..Queue::ALL.len() {
            let queue = Queue::ALL[(first + at) % Queue::ALL.len()];
            if let Some(received) = now_or_wait(store.receive(queue, now_ms)).unwrap() {
                let envelope = received.envelope.clone().map(|envelope| (*envelope).clone());
                if self.faults.doubles && word.once_in(6) {
                    self.attempt(queue, received.receives, envelope.clone(), InHand::Double);
                }
                return self.attempt(queue, received.receives, envelope, InHand::Sqlite(received));
            }
        }
    }

    /// Has a consumer attempt a message, and what becomes of the message noted.
    fn attempt(&mut self, queue: Queue, receives: u32, envelope: Result<Envelope, String>, in_hand: InHand) {
        let id = self.new_actor();
        self.figures.messages += 1;
        let mut run = self.shared.run();
        let name = envelope.as_ref().map_or("something unreadable", |envelope| envelope.detail_type.as_str());
        run.say(|| format!("{id:3} receives {name} of {} (receive {})", queue.name(), receives + 1));
        let mutant = run.mutant;
        drop(run);
        let (shared, received) = (Arc::clone(&self.shared), Arc::clone(&self.received));
        let message = if let InHand::Model(message) = &in_hand { Some(*message) } else { None };
        let task = tokio::spawn(async move {
            let envelope = envelope.map(|envelope| Arc::new(mutants::read(mutant, &shared, envelope)));
            let (app, message) = (shared.app(Some(id)), envelope.as_ref().ok().map(Arc::clone));
            let outcome = attempt(&app, queue, envelope, TIME_LIMIT).await;
            let what = || match &outcome {
                Ok(()) => "has processed it".to_owned(),
                Err(error) => format!("could not process it: {error}"),
            };
            // Whether it is noted or not, nobody has it in hand any more.
            let mut noted = shared.step(id, Step::Note, what).await == Go::On;
            let dead =
                outcome.as_ref().err().filter(|error| is_dead(error, receives + 1, queue.retries().max_receives()));
            if let Some(error) = dead.filter(|_| noted) {
                noted = tell_of_death(&app, queue, message.as_deref(), error.code(), TIME_LIMIT).await.is_ok();
            }
            note(&shared, queue, in_hand, receives + 1, noted, outcome);
            received.lock().unwrap().push((id, Done::Message));
        });
        self.actors.insert(id, Actor { task, message });
    }

    pub(super) fn relay(&mut self, mut word: Word) {
        let mut state = self.shared.model.state();
        let mut carried = 1 + word.pick(4);
        while carried > 0 && !state.outbox.is_empty() {
            // A stream is in order, but tables have their own, and so have shards.
            let at = word.pick(state.outbox.len().min(3));
            let again = word.once_in(8);
            state.relay(at, again);
            carried -= 1;
        }
    }
}

/// Notes what became of a message, as the delivery does; or does not, and it is received again.
fn note(shared: &Shared, queue: Queue, in_hand: InHand, receives: u32, noted: bool, outcome: Result<()>) {
    let now_ms = shared.now().as_millisecond();
    let random = shared.random();
    let pause = queue.retries().pause_after(receives, random);
    let due_ms = now_ms + i64::try_from(pause.as_millis()).unwrap();
    let dead = outcome.as_ref().is_err_and(|error| is_dead(error, receives, queue.retries().max_receives()));
    match in_hand {
        InHand::Double => {}
        InHand::Model(id) => {
            let keeps_letters = shared.run().mutant != Some(Mutant::NoDeadLetters);
            let mut state = shared.model.state();
            match outcome {
                _ if !noted => {
                    if let Some(message) = state.message(id) {
                        (message.in_hand, message.receives, message.due_ms) = (false, receives, now_ms + 30_000);
                    }
                }
                Ok(()) => drop(state.remove(id)),
                Err(error) if dead => {
                    let message = state.remove(id).filter(|_| keeps_letters);
                    state.dead.extend(message.map(|message| (Message { receives, ..message }, error.to_string())));
                }
                Err(_) => {
                    if let Some(message) = state.message(id) {
                        (message.in_hand, message.receives, message.due_ms) = (false, receives, due_ms);
                    }
                }
            }
        }
        InHand::Sqlite(received) => {
            let Some(sqlite) = shared.run().sqlite.clone() else { return };
            now_or_wait(async {
                match outcome {
                    Err(_) if !noted => sqlite.retry_message(&received, due_ms).await,
                    // The delivery tries until it is noted.
                    Ok(()) => sqlite.delete_message(&received).await,
                    Err(error) if dead => sqlite.bury_message(&received, error.to_string()).await,
                    Err(_) => sqlite.retry_message(&received, due_ms).await,
                }
            })
            .unwrap();
        }
    }
}

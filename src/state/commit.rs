//! One commit: everything that must become durable together.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};

use super::{Error, Mark, NOT_CONFIGURED, NotedTrouble, State, outbox, position, trouble};
use crate::alert::Transition;
use crate::clock::Timestamp;
use crate::failpoint::reach;
use crate::notification::{Message, Receiver};
use crate::pipeline::Saved;
use crate::source::{Partition, Seen};

/// What one commit makes durable.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The present instant.
    pub now: Timestamp,
    /// The core's state.
    pub saved: &'a Saved,
    /// Next offsets, in the order of partition numbers.
    pub positions: &'a [(Partition, i64)],
    /// What is known of partitions beside that, by their numbers.
    pub seen: &'a [Seen],
    /// Partitions of which marks at or after an offset mean nothing any more: they were cut back or made anew.
    pub forgotten: &'a [(Partition, i64)],
    /// Positions from which the join table can be rebuilt.
    pub marks: &'a [Mark],
    /// What happened to alerts since the last commit.
    pub transitions: &'a [Transition],
    /// What is owed for that.
    pub messages: &'a [&'a Message],
    /// What is owed to notifiers that are no longer configured: dead letters at once.
    pub undeliverable: &'a [&'a Message],
    /// What is held back for a digest.
    pub held: &'a [Message],
    /// Who is told of the beginnings of which incidents.
    pub told: &'a BTreeMap<String, Vec<Receiver>>,
    /// What is wrong with the watching itself, for the log.
    pub troubles: &'a [NotedTrouble],
}

impl<'a> Commit<'a> {
    /// One of the core's state alone.
    pub fn of(saved: &'a Saved, now: Timestamp) -> Commit<'a> {
        const NOBODY: &BTreeMap<String, Vec<Receiver>> = &BTreeMap::new();
        Commit {
            now,
            saved,
            positions: &[],
            seen: &[],
            marks: &[],
            forgotten: &[],
            transitions: &[],
            messages: &[],
            undeliverable: &[],
            held: &[],
            told: NOBODY,
            troubles: &[],
        }
    }
}

impl State {
    /// Makes everything durable at once, or nothing.
    ///
    /// # Errors
    ///
    /// If SQLite refuses (a full disk, for one); then nothing has changed and the same commit may be tried again.
    pub fn commit(&mut self, commit: &Commit<'_>) -> Result<(), Error> {
        let blob = postcard::to_stdvec(commit.saved)?;
        reach("commit.before");
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached("INSERT OR REPLACE INTO checkpoint (id, at_us, saved) VALUES (1, ?1, ?2)")?
            .execute(params![commit.now.as_micros(), blob])?;
        reach("commit.half");
        position::write(&transaction, commit)?;
        for transition in commit.transitions {
            write_transition(&transaction, transition)?;
        }
        for trouble in commit.troubles {
            trouble::write(&transaction, trouble)?;
        }
        for message in commit.messages {
            outbox::insert(&transaction, message, commit.now)?;
        }
        for message in commit.held {
            outbox::insert(&transaction, message, commit.now)?;
            outbox::hold(&transaction, &message.id)?;
        }
        for message in commit.undeliverable {
            outbox::insert(&transaction, message, commit.now)?;
            outbox::bury(&transaction, &message.id, NOT_CONFIGURED, commit.now)?;
        }
        for (incident, receivers) in commit.told {
            for Receiver { notifier, recipient } in receivers {
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO told (incident, notifier, recipient, at_us) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![incident, notifier, recipient, commit.now.as_micros()])?;
            }
        }
        reach("commit.written");
        transaction.commit()?;
        reach("commit.after");
        Ok(())
    }
}

fn write_transition(transaction: &Transaction<'_>, transition: &Transition) -> rusqlite::Result<()> {
    let headline = transition.evidence.first();
    let mut insert = transaction.prepare_cached(
        "INSERT INTO transition_log (at_us, at, rule, model, dimension, segment, severity, change, since, incident,
             sequence, indicator, value, bound, n_eff) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)",
    )?;
    insert.execute(params![
        transition.at.as_micros(),
        transition.at.to_string(),
        transition.rule,
        transition.model,
        transition.segment.as_ref().map(|(dimension, _)| dimension),
        transition.segment.as_ref().map(|(_, value)| value),
        transition.severity.name(),
        transition.change.name(),
        transition.since.to_string(),
        transition.incident,
        transition.sequence,
        headline.map(|evidence| evidence.indicator),
        headline.and_then(|evidence| evidence.value.as_ref().ok()),
        headline.map(|evidence| evidence.bound.to_string()),
        headline.map(|evidence| evidence.n_eff),
    ])?;
    Ok(())
}

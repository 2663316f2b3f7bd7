//! The outbox: notices that are owed, with their attempts.

use std::fmt;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{Error, NotedTrouble};
use crate::clock::Timestamp;
use crate::notification::Message;

/// Longer than any wait for another try: receivers are believed up to an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 3600);

/// The delivery's own connection to the state file.
pub struct Outbox(Connection);

/// A notice that is due.
#[derive(Clone, Debug)]
pub struct Owed {
    /// What is to be delivered.
    pub message: Message,
    /// Attempts so far.
    pub attempts: u32,
    /// Since when it is owed.
    pub created: Timestamp,
}

/// How many notices are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Owed.
    pub pending: i64,
    /// Given up.
    pub dead: i64,
}

/// Id, message, attempts and age.
type DueRow = (String, Vec<u8>, u32, i64);

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbox")
    }
}

/// Writes a notice into the outbox; one that is there already (by id) stays as it is.
pub(super) fn insert(transaction: &Transaction<'_>, message: &Message, now: Timestamp) -> Result<(), Error> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO outbox (id, notifier, recipient, message, created_us, next_attempt_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
    )?;
    let text = serde_json::to_string(message).unwrap_or_default();
    insert.execute(params![message.id, message.notifier, message.recipient, text, now.as_micros()])?;
    Ok(())
}

/// Holds a notice back that is not on its way yet.
pub(super) fn hold(transaction: &Transaction<'_>, id: &str) -> Result<(), Error> {
    transaction.execute("UPDATE outbox SET state = 'held' WHERE id = ?1 AND state = 'pending'", [id])?;
    Ok(())
}

/// Makes a notice a dead letter.
pub(super) fn bury(transaction: &Transaction<'_>, id: &str, answer: &str, now: Timestamp) -> Result<(), Error> {
    transaction.execute(
        "UPDATE outbox SET state = 'dead', answer = ?2, ended_us = ?3 WHERE id = ?1",
        params![id, answer, now.as_micros()],
    )?;
    Ok(())
}

impl Outbox {
    pub(super) fn new(connection: Connection) -> Outbox {
        Outbox(connection)
    }

    /// Logs troubles and owes what tells of them, beside the engine's commits: before there is an engine.
    ///
    /// # Errors
    ///
    /// If SQLite refuses; then nothing has changed.
    pub fn tell(&mut self, troubles: &[NotedTrouble], messages: &[Message], now: Timestamp) -> Result<(), Error> {
        let transaction = self.0.transaction()?;
        for noted in troubles {
            super::trouble::write(&transaction, noted)?;
        }
        for message in messages {
            insert(&transaction, message, now)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The next notice of a notifier that is due. One that cannot be read becomes a dead letter.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn next_due(&mut self, notifier: &str, now: Timestamp) -> Result<Option<Owed>, Error> {
        while let Some((id, text, attempts, created)) = self.next_row(notifier, now)? {
            match serde_json::from_slice(&text) {
                Ok(message) => return Ok(Some(Owed { message, attempts, created: Timestamp::from_micros(created) })),
                Err(problem) => self.dead(&id, &format!("it cannot be read: {problem}"), &[], now)?,
            }
        }
        Ok(None)
    }

    /// Id, message, attempts and age of the next row that is due. A time further off than any wait was set before the
    /// clock was put back.
    fn next_row(&self, notifier: &str, now: Timestamp) -> Result<Option<DueRow>, Error> {
        let mut query = self.0.prepare_cached(
            "SELECT id, CAST(message AS BLOB), attempts, created_us FROM outbox
             WHERE state = 'pending' AND notifier = ?1 AND (next_attempt_us <= ?2 OR next_attempt_us > ?3)
             ORDER BY next_attempt_us, number LIMIT 1",
        )?;
        let furthest = now.plus(LONGEST_WAIT).as_micros();
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        Ok(query.query_row(params![notifier, now.as_micros(), furthest], row).optional()?)
    }

    /// When the next notice of a notifier is due, if one is owed.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn next_attempt(&self, notifier: &str) -> Result<Option<Timestamp>, Error> {
        let mut query = self
            .0
            .prepare_cached("SELECT min(next_attempt_us) FROM outbox WHERE state = 'pending' AND notifier = ?1")?;
        let due: Option<i64> = query.query_row([notifier], |row| row.get(0))?;
        Ok(due.map(Timestamp::from_micros))
    }

    /// The receiver took it.
    ///
    /// # Errors
    ///
    /// If SQLite refuses; the notice is then sent again, with the same id.
    pub fn sent(&self, id: &str, answer: &str, now: Timestamp) -> Result<(), Error> {
        let query =
            "UPDATE outbox SET state = 'sent', attempts = attempts + 1, answer = ?2, ended_us = ?3 WHERE id = ?1";
        self.0.execute(query, params![id, answer, now.as_micros()])?;
        Ok(())
    }

    /// To be tried again at `next`.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn retry(&self, id: &str, answer: &str, next: Timestamp) -> Result<(), Error> {
        let query = "UPDATE outbox SET attempts = attempts + 1, answer = ?2, next_attempt_us = ?3 WHERE id = ?1";
        self.0.execute(query, params![id, answer, next.as_micros()])?;
        Ok(())
    }

    /// Never to be tried again; `told` are the notices that tell others about it, owed from now on.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn dead(&mut self, id: &str, answer: &str, told: &[Message], now: Timestamp) -> Result<(), Error> {
        let transaction = self.0.transaction()?;
        bury(&transaction, id, answer, now)?;
        for message in told {
            insert(&transaction, message, now)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Whether a notice is due that was never tried.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn first_attempts_due(&self, now: Timestamp) -> Result<bool, Error> {
        let query =
            "SELECT count(*) > 0 FROM outbox WHERE state = 'pending' AND attempts = 0 AND next_attempt_us <= ?1";
        Ok(self.0.query_row(query, [now.as_micros()], |row| row.get(0))?)
    }

    /// Gives up what is owed to notifiers that are not among `known`; gives their number.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn bury_unknown(&self, known: &[&str], now: Timestamp) -> Result<usize, Error> {
        let mut query = self.0.prepare("SELECT DISTINCT notifier FROM outbox WHERE state = 'pending'")?;
        let owed = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let mut buried = 0;
        for gone in owed.iter().filter(|name| !known.contains(&name.as_str())) {
            buried += self.0.execute(
                "UPDATE outbox SET state = 'dead', answer = ?2, ended_us = ?3 WHERE state = 'pending' AND notifier = ?1",
                params![gone, super::NOT_CONFIGURED, now.as_micros()],
            )?;
        }
        Ok(buried)
    }

    /// How many notices are owed and how many were given up.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn counts(&self) -> Result<OutboxCounts, Error> {
        let count =
            |state: &str| self.0.query_row("SELECT count(*) FROM outbox WHERE state = ?1", [state], |row| row.get(0));
        Ok(OutboxCounts { pending: count("pending")?, dead: count("dead")? })
    }

    /// The notices that their receivers took, the latest last.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn delivered(&self) -> Result<Vec<Message>, Error> {
        let mut query = self.0.prepare("SELECT message FROM outbox WHERE state = 'sent' ORDER BY ended_us, number")?;
        let rows = query.query_map([], |row| message(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

pub(super) fn message(row: &Row<'_>, column: usize) -> rusqlite::Result<Message> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

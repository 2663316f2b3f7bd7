//! The outbox: notices that are owed, with their attempts.

use std::fmt;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::Error;
use crate::clock::{Timestamp, micros};
use crate::notification::{self, Message};

/// The longest wait for another try: receivers are believed up to an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Why an end is dead that would have come alone.
const COMES_ALONE: &str = "the notice of its beginning was given up";
/// Whether a row of the outbox must not wait for an earlier notice about one of its incidents to the same recipient.
const IN_ORDER: &str = "NOT EXISTS (
    SELECT 1 FROM about AS own JOIN about AS other USING (incident) JOIN outbox AS earlier ON earlier.number = other.number
    WHERE own.number = outbox.number AND other.number < own.number AND earlier.state IN ('pending', 'held')
      AND earlier.notifier = outbox.notifier AND earlier.recipient = outbox.recipient)";

/// The delivery's own connection to the state file, and when it was last asked what is due.
pub struct Outbox(Connection, Timestamp);

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

/// Number, id, message, attempts and age.
type DueRow = (i64, Vec<u8>, Vec<u8>, u32, i64);

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
    if insert.execute(params![message.id, message.notifier, message.recipient, text, now.as_micros()])? == 0 {
        return Ok(());
    }
    let (number, trouble) = (transaction.last_insert_rowid(), notification::is_trouble(message));
    let mut about =
        transaction.prepare_cached("INSERT OR IGNORE INTO about (number, incident, trouble) VALUES (?1, ?2, ?3)")?;
    for incident in &message.incidents {
        about.execute(params![number, incident, trouble])?;
    }
    if trouble { owe_the_end(transaction, &message.id) } else { give_up_alone(transaction, &message.id, now).map(drop) }
}

/// Holds a notice back that is not on its way yet.
pub(super) fn hold(transaction: &Transaction<'_>, id: &str) -> Result<(), Error> {
    transaction.execute("UPDATE outbox SET state = 'held' WHERE id = ?1 AND state = 'pending'", [id])?;
    Ok(())
}

/// Makes a notice a dead letter, and with it the ends that would now come alone; gives their number.
pub(super) fn bury(transaction: &Transaction<'_>, id: &str, answer: &str, now: Timestamp) -> Result<usize, Error> {
    transaction.execute(
        "UPDATE outbox SET state = 'dead', answer = ?2, ended_us = ?3 WHERE id = ?1",
        params![id, answer, now.as_micros()],
    )?;
    let mut lost = transaction.prepare_cached(
        "UPDATE told SET lost = 1 FROM outbox AS dead JOIN about USING (number)
         WHERE dead.id = ?1 AND about.trouble AND told.incident = about.incident
           AND told.notifier = dead.notifier AND told.recipient = dead.recipient
           AND NOT EXISTS (SELECT 1 FROM about AS other JOIN outbox AS alive USING (number)
               WHERE other.incident = told.incident AND other.trouble AND alive.state <> 'dead'
                 AND alive.notifier = told.notifier AND alive.recipient = told.recipient)",
    )?;
    lost.execute([id])?;
    give_up_alone(transaction, id, now)
}

/// Whoever is told by this notice that something is wrong is owed the end, whatever became of earlier ones.
pub(super) fn owe_the_end(connection: &Connection, id: &str) -> Result<(), Error> {
    let mut found = connection.prepare_cached(
        "UPDATE told SET lost = 0 FROM outbox AS owed JOIN about USING (number)
         WHERE owed.id = ?1 AND about.trouble AND told.incident = about.incident
           AND told.notifier = owed.notifier AND told.recipient = owed.recipient",
    )?;
    found.execute([id])?;
    Ok(())
}

/// Gives up the ends among what this notice and others say of its incidents, if their beginnings are lost.
fn give_up_alone(transaction: &Transaction<'_>, id: &str, now: Timestamp) -> Result<usize, Error> {
    let mut ends = transaction.prepare_cached(
        "UPDATE outbox SET state = 'dead', answer = ?2, ended_us = ?3
         WHERE state IN ('pending', 'held') AND number IN (
             SELECT other.number FROM outbox AS cause JOIN about USING (number)
                 JOIN about AS other ON other.incident = about.incident
             WHERE cause.id = ?1 AND cause.notifier = outbox.notifier AND cause.recipient = outbox.recipient)
           AND NOT EXISTS (SELECT 1 FROM about WHERE about.number = outbox.number AND (about.trouble OR NOT EXISTS (
               SELECT 1 FROM told WHERE told.incident = about.incident AND told.lost
                 AND told.notifier = outbox.notifier AND told.recipient = outbox.recipient)))",
    )?;
    Ok(ends.execute(params![id, COMES_ALONE, now.as_micros()])?)
}

impl Outbox {
    pub(super) fn new(connection: Connection) -> Outbox {
        Outbox(connection, Timestamp::MIN)
    }

    /// The next notice of a notifier that is due. One that cannot be read becomes a dead letter.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn next_due(&mut self, notifier: &str, now: Timestamp) -> Result<Option<Owed>, Error> {
        self.follow_clock(notifier, now)?;
        while let Some((number, id, text, attempts, created)) = self.next_row(notifier, now)? {
            let id = readable_id(&self.0, number, id)?;
            match read(id.clone(), &text) {
                Ok(message) => return Ok(Some(Owed { message, attempts, created: Timestamp::from_micros(created) })),
                Err(problem) => drop(self.dead(&id, &format!("it cannot be read: {problem}"), &[], now)?),
            }
        }
        Ok(None)
    }

    /// A clock that is put back makes no wait longer, nor the time until a notice is given up.
    fn follow_clock(&mut self, notifier: &str, now: Timestamp) -> Result<(), Error> {
        let back = micros(self.1.since(now));
        if back > 0 {
            let query = "UPDATE outbox SET created_us = created_us - ?2, next_attempt_us = next_attempt_us - ?2
                 WHERE state = 'pending' AND notifier = ?1";
            self.0.execute(query, params![notifier, back])?;
        }
        self.1 = now;
        Ok(())
    }

    /// Number, id, message, attempts and age of the next row that is due. What was never tried is, whatever the clock
    /// says. A time further off than any wait was set before the clock was put back, while nobody looked.
    fn next_row(&self, notifier: &str, now: Timestamp) -> Result<Option<DueRow>, Error> {
        let mut query = self.0.prepare_cached(&format!(
            "SELECT number, CAST(id AS BLOB), CAST(message AS BLOB), max(0, min(attempts, 4294967295)), created_us
             FROM outbox
             WHERE state = 'pending' AND notifier = ?1
               AND (next_attempt_us <= ?2 OR next_attempt_us > ?3 OR attempts = 0)
               AND {IN_ORDER} ORDER BY next_attempt_us, number LIMIT 1"
        ))?;
        let furthest = now.plus(LONGEST_WAIT).as_micros();
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
        Ok(query.query_row(params![notifier, now.as_micros(), furthest], row).optional()?)
    }

    /// When the next notice of a notifier is due, if one is owed.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn next_attempt(&self, notifier: &str) -> Result<Option<Timestamp>, Error> {
        let mut query = self.0.prepare_cached(&format!(
            "SELECT min(next_attempt_us) FROM outbox WHERE state = 'pending' AND notifier = ?1 AND {IN_ORDER}"
        ))?;
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
        self.0.prepare_cached(query)?.execute(params![id, answer, now.as_micros()])?;
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

    /// Never to be tried again; `told` are the notices that tell others about it, owed from now on. Gives the number of
    /// ends that would come alone now, and are dead with it.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn dead(&mut self, id: &str, answer: &str, told: &[Message], now: Timestamp) -> Result<usize, Error> {
        let transaction = self.0.transaction()?;
        let alone = bury(&transaction, id, answer, now)?;
        for message in told {
            insert(&transaction, message, now)?;
        }
        transaction.commit()?;
        Ok(alone)
    }

    /// Whether a notice is due that was never tried.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn first_attempts_due(&self) -> Result<bool, Error> {
        let query =
            format!("SELECT EXISTS (SELECT 1 FROM outbox WHERE state = 'pending' AND attempts = 0 AND {IN_ORDER})");
        Ok(self.0.query_row(&query, [], |row| row.get(0))?)
    }

    /// Gives up what is owed to notifiers that are not among `known`; gives their number.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn bury_unknown(&mut self, known: &[&str], now: Timestamp) -> Result<usize, Error> {
        let transaction = self.0.transaction()?;
        let owed: Vec<(i64, Vec<u8>, Vec<u8>)> = transaction
            .prepare(
                "SELECT number, CAST(id AS BLOB), CAST(notifier AS BLOB) FROM outbox WHERE state = 'pending'
                 ORDER BY number",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        let is_known = |notifier: &[u8]| known.iter().any(|known| known.as_bytes() == notifier);
        let mut buried = 0;
        for (number, id, _) in owed.into_iter().filter(|(.., notifier)| !is_known(notifier)) {
            bury(&transaction, &readable_id(&transaction, number, id)?, super::NOT_CONFIGURED, now)?;
            buried += 1;
        }
        transaction.commit()?;
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

/// The id of a row; one that is no text is given another, so that the row can be told from others.
pub(super) fn readable_id(connection: &Connection, number: i64, id: Vec<u8>) -> Result<String, Error> {
    if let Ok(id) = String::from_utf8(id) {
        return Ok(id);
    }
    let id = format!("unreadable.{number}");
    connection.execute("UPDATE outbox SET id = ?2 WHERE number = ?1", params![number, id])?;
    Ok(id)
}

/// The notice in a row. What becomes of it is noted by the row's id, whatever the notice says.
pub(super) fn read(id: String, text: &[u8]) -> serde_json::Result<Message> {
    serde_json::from_slice(text).map(|message| Message { id, ..message })
}

pub(super) fn message(row: &Row<'_>, column: usize) -> rusqlite::Result<Message> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

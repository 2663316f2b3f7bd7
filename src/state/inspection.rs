//! Looking into a state file from outside, also while a daemon has it open; and what people may do to dead letters.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::file::format_of;
use super::snapshot::{self, Snapshot};
use super::{Error, FILE, FORMAT, connect, outbox};
use crate::clock::Timestamp;
use crate::source::Partition;

/// A state file seen from outside. Looking changes nothing in it.
#[derive(Debug)]
pub struct Inspection {
    /// Reads only.
    reader: Connection,
    path: PathBuf,
}

/// How far a partition is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The partition.
    pub partition: Partition,
    /// The next offset.
    pub next: i64,
    /// Where the partition ended when that was last known.
    pub end: Option<i64>,
}

/// A line of the log of troubles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedTrouble {
    /// When it was noticed.
    pub at: String,
    /// Its kind.
    pub kind: String,
    /// Where. May hold foreign text, as the next.
    pub place: String,
    /// What happened.
    pub what: String,
    /// Whether people were told of this one.
    pub told: bool,
}

/// An incident that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIncident {
    /// Its id.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// The model. Untrusted.
    pub model: String,
    /// Dimension and value. Untrusted.
    pub segment: Option<(String, String)>,
    /// Its last change.
    pub change: String,
    /// Since when.
    pub since: String,
}

/// A notice that is owed or was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Its id.
    pub id: String,
    /// The notifier.
    pub notifier: String,
    /// The recipient.
    pub recipient: String,
    /// Whether it was given up.
    pub dead: bool,
    /// When it became owed.
    pub created: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// What the receiver said last.
    pub answer: Option<String>,
}

impl Inspection {
    /// Opens the state file in `directory`, if there is one.
    ///
    /// # Errors
    ///
    /// If SQLite refuses, or the file is of another format: only its owner may change that.
    pub fn open(directory: &Path) -> Result<Option<Inspection>, Error> {
        let path = directory.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let reader = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        reader.busy_timeout(Duration::from_secs(10))?;
        match format_of(&reader)? {
            format if format < FORMAT => Err(Error::Older { format }),
            format if format > FORMAT => Err(Error::Newer { format }),
            _ => Ok(Some(Inspection { reader, path })),
        }
    }

    /// When the last checkpoint was made.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn checkpoint_at(&self) -> Result<Option<Timestamp>, Error> {
        let at: Option<i64> = self.reader.query_row("SELECT at_us FROM checkpoint", [], |row| row.get(0)).optional()?;
        Ok(at.map(Timestamp::from_micros))
    }

    /// The snapshot of the join table, if there is one.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, Error> {
        Ok(snapshot::named(&self.reader)?)
    }

    /// How far the partitions are read, by topic and number.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn positions(&self) -> Result<Vec<Reached>, Error> {
        let mut query = self
            .reader
            .prepare("SELECT topic, partition, next_offset, end_offset FROM position ORDER BY topic, partition")?;
        let rows = query.query_map([], |row| {
            let partition = Partition { topic: row.get(0)?, number: row.get(1)? };
            Ok(Reached { partition, next: row.get(2)?, end: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The latest troubles after an instant, the last one first: at most so many, and how many there are.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn troubles(&self, after: Timestamp, most: usize) -> Result<(Vec<LoggedTrouble>, usize), Error> {
        let after = after.as_micros();
        let all: i64 =
            self.reader.query_row("SELECT count(*) FROM trouble_log WHERE at_us > ?1", [after], |row| row.get(0))?;
        let mut query = self.reader.prepare(
            "SELECT at, kind, place, what, told FROM trouble_log WHERE at_us > ?1 ORDER BY at_us DESC, id DESC LIMIT ?2",
        )?;
        let rows = query.query_map(params![after, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            Ok(LoggedTrouble {
                at: row.get(0)?,
                kind: row.get(1)?,
                place: row.get(2)?,
                what: row.get(3)?,
                told: row.get(4)?,
            })
        })?;
        Ok((rows.collect::<Result<_, _>>()?, usize::try_from(all).unwrap_or(0)))
    }

    /// The incidents that are open, oldest first.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn open_incidents(&self) -> Result<Vec<OpenIncident>, Error> {
        let mut query = self.reader.prepare(
            "SELECT incident, rule, model, dimension, segment, change, since FROM transition_log AS t
             WHERE id = (SELECT max(id) FROM transition_log AS l WHERE l.incident = t.incident)
               AND change NOT IN ('resolved', 'data back') AND change NOT LIKE 'ended%' ORDER BY since, id",
        )?;
        let rows = query.query_map([], |row| {
            let segment: (Option<String>, Option<String>) = (row.get(3)?, row.get(4)?);
            Ok(OpenIncident {
                id: row.get(0)?,
                rule: row.get(1)?,
                model: row.get(2)?,
                segment: segment.0.zip(segment.1),
                change: row.get(5)?,
                since: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The notices that are owed or were given up, oldest first.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn undelivered(&self) -> Result<Vec<Undelivered>, Error> {
        let mut query = self.reader.prepare(
            "SELECT id, notifier, recipient, state = 'dead', created_us, attempts, answer FROM outbox
             WHERE state <> 'sent' ORDER BY number",
        )?;
        let rows = query.query_map([], |row| {
            Ok(Undelivered {
                id: row.get(0)?,
                notifier: row.get(1)?,
                recipient: row.get(2)?,
                dead: row.get(3)?,
                created: Timestamp::from_micros(row.get(4)?),
                attempts: row.get(5)?,
                answer: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Makes a dead letter owed again, and with it the end of its incidents; whether there was one of that id.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn resend(&self, id: &str, now: Timestamp) -> Result<bool, Error> {
        let query =
            "UPDATE outbox SET state = 'pending', attempts = 0, created_us = ?2, next_attempt_us = ?2, ended_us = NULL
             WHERE id = ?1 AND state = 'dead'";
        let mut connection = connect(&self.path)?;
        let transaction = connection.transaction()?;
        let found = transaction.execute(query, params![id, now.as_micros()])? > 0;
        if found {
            outbox::owe_the_end(&transaction, id)?;
        }
        transaction.commit()?;
        Ok(found)
    }

    /// Forgets a dead letter; whether there was one of that id.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn forget(&self, id: &str) -> Result<bool, Error> {
        Ok(connect(&self.path)?.execute("DELETE FROM outbox WHERE id = ?1 AND state = 'dead'", [id])? > 0)
    }
}

//! Looking into a state file from outside, also while a daemon has it open; and what people may do to dead letters.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::file::format_of;
use super::{Error, FILE, FORMAT, connect};
use crate::clock::Timestamp;
use crate::source::Partition;

/// A state file seen from outside.
#[derive(Debug)]
pub struct Inspection(Connection);

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
        let connection = connect(&path)?;
        match format_of(&connection)? {
            format if format < FORMAT => Err(Error::Older { format }),
            format if format > FORMAT => Err(Error::Newer { format }),
            _ => Ok(Some(Inspection(connection))),
        }
    }

    /// When the last checkpoint was made.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn checkpoint_at(&self) -> Result<Option<Timestamp>, Error> {
        let at: Option<i64> = self.0.query_row("SELECT at_us FROM checkpoint", [], |row| row.get(0)).optional()?;
        Ok(at.map(Timestamp::from_micros))
    }

    /// The next offsets, by topic and partition.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn positions(&self) -> Result<Vec<(Partition, i64)>, Error> {
        let mut query =
            self.0.prepare("SELECT topic, partition, next_offset FROM position ORDER BY topic, partition")?;
        let rows =
            query.query_map([], |row| Ok((Partition { topic: row.get(0)?, number: row.get(1)? }, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The incidents that are open, oldest first.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn open_incidents(&self) -> Result<Vec<OpenIncident>, Error> {
        let mut query = self.0.prepare(
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
        let mut query = self.0.prepare(
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

    /// Makes a dead letter owed again; whether there was one of that id.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn resend(&self, id: &str, now: Timestamp) -> Result<bool, Error> {
        let query =
            "UPDATE outbox SET state = 'pending', attempts = 0, created_us = ?2, next_attempt_us = ?2, ended_us = NULL
             WHERE id = ?1 AND state = 'dead'";
        Ok(self.0.execute(query, params![id, now.as_micros()])? > 0)
    }

    /// Forgets a dead letter; whether there was one of that id.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn forget(&self, id: &str) -> Result<bool, Error> {
        Ok(self.0.execute("DELETE FROM outbox WHERE id = ?1 AND state = 'dead'", [id])? > 0)
    }
}

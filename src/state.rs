//! The durable state: checkpoint, positions, transitions and outbox in one SQLite file.
//!
//! One transaction ([`State::commit`]) takes the source positions, the core's state, the transitions and the notices
//! that they owe, so that after a crash either all of them happened or none did. The file is in WAL mode and readable
//! with `sqlite3`; `schema/` describes its tables, format by format. A second process on the same directory is refused. A damaged file
//! is set aside, not a reason to stay down.

mod commit;
mod file;
mod held;
mod inspection;
mod outbox;
mod position;
pub mod snapshot;
mod trouble;

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::Timestamp;
use crate::notification::Receiver;
use crate::pipeline::Saved;
use crate::source::{Anchor, Partition};
use crate::watermark::Frontier;
pub use commit::Commit;
use file::{FORMAT, connect, readable};
pub use inspection::{Inspection, LoggedTrouble, OpenIncident, Reached, Undelivered};
pub use outbox::{Outbox, OutboxCounts, Owed};
pub use snapshot::Snapshot;
pub use trouble::NotedTrouble;

/// How long transitions and delivered notices are kept.
const HISTORY: Duration = Duration::from_secs(90 * 86_400);
/// Why a notice is dead whose notifier is gone.
const NOT_CONFIGURED: &str = "the notifier is no longer configured";
const FILE: &str = "modelwatch.db";

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it open.
    #[error("{0} is in use by another modelwatch; give each instance its own `state.directory`")]
    InUse(PathBuf),
    /// The directory cannot be made or written.
    #[error("state directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// SQLite refuses.
    #[error("state file: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A newer version wrote it.
    #[error("the state file is of format {format}, this version reads up to {FORMAT}; use the version that wrote it")]
    Newer {
        /// Its format.
        format: i64,
    },
    /// An older version wrote it.
    #[error("the state file is of format {format}; the daemon brings it to {FORMAT} when it starts")]
    Older {
        /// Its format.
        format: i64,
    },
    /// The checkpoint cannot be encoded.
    #[error("checkpoint: {0}")]
    Encode(#[from] postcard::Error),
}

/// A position of a partition, with the frontier before the record at that offset.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Mark {
    /// The partition.
    pub partition: Partition,
    /// The offset of the next record.
    pub next_offset: i64,
    /// The partition's frontier there.
    pub frontier: Frontier,
}

/// What a restart goes on from.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The core's state.
    pub saved: Saved,
    /// Next offsets, in the order of the partition numbers that `saved` uses.
    pub positions: Vec<(Partition, i64)>,
    /// By what the partitions are known again.
    pub anchors: HashMap<Partition, Anchor>,
}

/// Somebody who was told of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Who.
    pub receiver: Receiver,
    /// Whether every notice that would have told was given up: then the end is not owed.
    pub lost: bool,
}

/// Held for as long as the process uses the directory.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that was just forked has the file, too, until it becomes another program.
        let _unlocked = self.0.unlock();
    }
}

/// The open state file.
#[derive(Debug)]
pub struct State {
    connection: Connection,
    directory: PathBuf,
    lock: Arc<Lock>,
    key: [u8; 16],
    /// Where a damaged file was put, if there was one.
    pub set_aside: Option<PathBuf>,
}

impl State {
    /// Opens the state in `directory`, which is made if it is not there. `now` names a file that is set aside.
    ///
    /// # Errors
    ///
    /// If the directory cannot be used, or somebody else uses it.
    pub fn open(directory: &Path, now: Timestamp) -> Result<State, Error> {
        let failed = |source| Error::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let lock = File::create(directory.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(directory.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let (connection, set_aside) = file::open(directory, now)?;
        let key = deployment_key(&connection)?;
        let state = State { connection, directory: directory.to_owned(), lock: Arc::new(Lock(lock)), key, set_aside };
        snapshot::remove_unfinished(directory);
        snapshot::remove_others(directory, state.snapshot()?.as_ref().map(|named| named.file.as_str()));
        Ok(state)
    }

    /// A second connection for the delivery of notices.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn outbox(&self) -> Result<Outbox, Error> {
        State::another_outbox(&self.directory)
    }

    /// The lock of the directory, to be kept for as long as anybody in this process uses the outbox.
    pub fn lock(&self) -> Arc<Lock> {
        Arc::clone(&self.lock)
    }

    /// A connection for the delivery of notices, to the state file in `directory` that this process has open.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn another_outbox(directory: &Path) -> Result<Outbox, Error> {
        Ok(Outbox::new(connect(&directory.join(FILE))?))
    }

    /// The deployment's secret key for fingerprints; made at the first start.
    pub fn key(&self) -> &[u8; 16] {
        &self.key
    }

    /// What the last commit left, if there was one that this version can read.
    ///
    /// # Errors
    ///
    /// If SQLite refuses, or the checkpoint was damaged since the file was opened.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        Ok(file::checkpoint(&self.connection)?)
    }

    /// For each partition, the latest mark before which no record is later than `before`, and the marks after it.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn marks_since(&self, before: Timestamp) -> Result<Vec<Mark>, Error> {
        let mut query = self.connection.prepare(
            "SELECT topic, partition, next_offset, newest_us, floor_us FROM mark AS m
             WHERE next_offset >= coalesce((SELECT max(next_offset) FROM mark AS e WHERE e.topic = m.topic
                 AND e.partition = m.partition AND max(e.newest_us, e.floor_us) < ?1), 0)
             ORDER BY topic, partition, next_offset",
        )?;
        let rows = query.query_map([before.as_micros()], |row| {
            let frontier = Frontier {
                newest: Timestamp::from_micros(row.get(3)?),
                floor: Timestamp::from_micros(row.get(4)?),
                idle: false,
            };
            Ok(Mark {
                partition: Partition { topic: row.get(0)?, number: row.get(1)? },
                next_offset: row.get(2)?,
                frontier,
            })
        })?;
        Ok(rows.filter_map(readable).collect::<Result<_, _>>()?)
    }

    /// Who was told of the beginning of an incident.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn told(&self, incident: &str) -> Result<Vec<Told>, Error> {
        let mut query = self.connection.prepare_cached(
            "SELECT notifier, recipient, lost FROM told WHERE incident = ?1 ORDER BY notifier, recipient",
        )?;
        let row = |row: &Row<'_>| {
            let receiver = Receiver { notifier: row.get(0)?, recipient: row.get(1)? };
            Ok(Told { receiver, lost: row.get(2)? })
        };
        Ok(query.query_map([incident], row)?.filter_map(readable).collect::<Result<_, _>>()?)
    }

    /// Forgets marks that no rebuild needs (`before` as in [`State::marks_since`]) and history past its age.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn prune(&mut self, before: Timestamp, now: Timestamp) -> Result<(), Error> {
        self.connection.execute(
            "DELETE FROM mark WHERE next_offset < (SELECT max(next_offset) FROM mark AS e WHERE e.topic = mark.topic
                 AND e.partition = mark.partition AND max(e.newest_us, e.floor_us) < ?1)",
            [before.as_micros()],
        )?;
        let oldest = now.minus(HISTORY).as_micros();
        // The last change of an incident that is open stays, however old: whoever looks must see it.
        self.connection.execute(
            "DELETE FROM transition_log WHERE at_us < ?1 AND (incident IS NULL
                 OR id <> (SELECT max(id) FROM transition_log AS l WHERE l.incident = transition_log.incident)
                 OR change IN ('resolved', 'data back') OR change LIKE 'ended%')",
            [oldest],
        )?;
        self.connection.execute("DELETE FROM trouble_log WHERE at_us < ?1", [oldest])?;
        self.connection.execute("DELETE FROM outbox WHERE state = 'sent' AND created_us < ?1", [oldest])?;
        // An alert knows by itself which notifiers were told, should an incident last longer than that.
        self.connection.execute("DELETE FROM told WHERE at_us < ?1", [oldest])?;
        Ok(())
    }
}

fn deployment_key(connection: &Connection) -> Result<[u8; 16], Error> {
    let known: Option<Vec<u8>> = connection
        .query_row("SELECT value FROM meta WHERE key = 'fingerprint_key'", [], |row| row.get(0))
        .optional()?;
    if let Some(key) = known.and_then(|key| <[u8; 16]>::try_from(key).ok()) {
        return Ok(key);
    }
    let mut key = [0; 16];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut key).map_err(|_| rusqlite::Error::InvalidQuery)?;
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('fingerprint_key', ?1)", [key.as_slice()])?;
    Ok(key)
}

//! The state file, looked at in a copy: who opens it next finds it as the daemon left it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use modelwatch::clock::{Clock, SystemClock};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rusqlite::Connection;
use tempfile::TempDir;

const FILE: &str = "modelwatch.db";
const TIMEOUT: Duration = Duration::from_secs(10);

/// A row of the outbox.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) state: String,
    pub(super) attempts: i64,
    pub(super) answer: Option<String>,
    /// Seconds until the next attempt.
    pub(super) due_in: i64,
}

impl Row {
    pub(super) fn is_digest(id: &str) -> bool {
        id.starts_with("caught-up.")
    }

    pub(super) fn is_in_a_digest(&self) -> bool {
        self.answer.as_deref() == Some("told in a digest")
    }
}

/// The state file.
pub(super) struct StateFile {
    /// By id.
    pub(super) rows: BTreeMap<String, Row>,
    /// Who was told of which incident's beginning.
    pub(super) told: BTreeSet<(String, String, String)>,
    positions: Vec<(String, i32, i64)>,
}

/// A copy of the state file in `directory`, in a folder of its own. SQLite itself cannot follow a path into another
/// process's file systems.
pub(super) fn copied(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in [FILE.to_owned(), format!("{FILE}-wal")] {
        // There need not be a log.
        drop(fs::copy(directory.join(&name), copy.path().join(&name)));
    }
    copy
}

impl StateFile {
    /// What the file in `directory` says. One that is not there yet says nothing.
    #[track_caller]
    pub(super) fn read(directory: &Path) -> StateFile {
        let copy = copied(directory);
        let file = Connection::open(copy.path().join(FILE)).unwrap();
        let now = SystemClock.now().as_micros();
        let mut query =
            file.prepare("SELECT id, state, attempts, answer, (next_attempt_us - ?1) / 1000000 FROM outbox").unwrap();
        let rows = query.query_map([now], |row| {
            let (state, attempts, answer, due_in) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            Ok((row.get(0)?, Row { state, attempts, answer, due_in }))
        });
        let rows = rows.unwrap().map(Result::unwrap).collect();
        let mut query = file.prepare("SELECT topic, partition, next_offset FROM position").unwrap();
        let positions = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let positions = positions.map(Result::unwrap).collect();
        let mut query = file.prepare("SELECT incident, notifier, recipient FROM told").unwrap();
        let told = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        StateFile { rows, told: told.map(Result::unwrap).collect(), positions }
    }

    /// How many records are durably read.
    pub(super) fn next_offsets(&self) -> u64 {
        self.positions.iter().map(|(_, _, next)| u64::try_from(*next).unwrap()).sum()
    }

    /// The positions that Kafka shows must be durable.
    #[track_caller]
    pub(super) fn is_not_behind(&self, brokers: &str, group: &str) {
        let mut client = ClientConfig::new();
        let client = client.set("bootstrap.servers", brokers).set("group.id", group);
        let consumer: BaseConsumer = client.create().unwrap();
        let mut asked = TopicPartitionList::new();
        for (topic, partition, _) in &self.positions {
            asked.add_partition(topic, *partition);
        }
        let shown = consumer.committed_offsets(asked, TIMEOUT).unwrap();
        for (topic, partition, next_offset) in &self.positions {
            if let Some(Offset::Offset(shown)) = shown.find_partition(topic, *partition).map(|shown| shown.offset()) {
                assert!(shown <= *next_offset, "{topic}/{partition}: {shown} is shown, {next_offset} is durable");
            }
        }
    }

    /// One notice was tried, and will be again.
    #[track_caller]
    pub(super) fn owes_a_retry_in(&self, least: Duration) {
        let is_tried = |row: &&Row| row.state == "pending" && row.attempts > 0;
        let [row] = self.rows.values().filter(is_tried).collect::<Vec<_>>()[..] else { panic!("{:#?}", self.rows) };
        // A few seconds may have passed.
        let least = i64::try_from(least.as_secs()).unwrap();
        assert!((least - 5..=least + 1_000).contains(&row.due_in), "{row:?}");
    }

    /// Makes the retries due.
    pub(super) fn hasten(&self, directory: &Path) {
        if self.rows.values().any(|row| row.due_in > 0) {
            let file = Connection::open(directory.join(FILE)).unwrap();
            file.execute("UPDATE outbox SET next_attempt_us = created_us", []).unwrap();
        }
    }
}

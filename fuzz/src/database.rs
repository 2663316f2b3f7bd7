//! State files with foreign bytes in them: opened as they are or set aside, and then of use; never a panic.
//!
//! Input: four bytes an edit: a place in the file (its log behind it, and from the start again) and the byte to put there. A place of 0xffffff cuts
//! the file instead, at that many 256ths of its length.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::tz::TimeZone;
use modelwatch::clock::Timestamp;
use modelwatch::notification::{Message, Receiver, Rendering, test_notice};
use modelwatch::pipeline::Saved;
use modelwatch::source::Partition;
use modelwatch::state::{Commit, Error, Inspection, Mark, State};
use modelwatch::watermark::Frontier;

use super::given::Given;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const CUT: usize = 0xff_ffff;
const FILE: &str = "modelwatch.db";
const LOG: &str = "modelwatch.db-wal";

/// A state file, and its log with the second of two commits.
static WHOLE: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory");
    let mut state = State::open(directory.path(), NOW).expect("a new state");
    commit(&mut state, 1);
    drop(state);
    let mut state = State::open(directory.path(), NOW).expect("a state");
    commit(&mut state, 2);
    let read = |name: &str| std::fs::read(directory.path().join(name)).expect(name);
    (read(FILE), read(LOG))
});

/// Checks one set of edits.
pub fn check(data: &[u8]) -> bool {
    let (mut file, mut log) = WHOLE.clone();
    let mut given = Given::new(data);
    while !given.is_empty() {
        edit(&mut file, &mut log, given.bytes());
    }
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes| std::fs::write(directory.path().join(name), bytes).expect(name);
    write(FILE, file);
    write(LOG, log);
    match State::open(directory.path(), NOW) {
        Ok(state) => {
            let untouched = state.set_aside.is_none();
            use_all(state, directory.path());
            untouched
        }
        Err(Error::Newer { format }) => {
            assert!(format > 1);
            false
        }
        Err(other) => panic!("damage is no reason to stay down: {other}"),
    }
}

fn edit(file: &mut Vec<u8>, log: &mut [u8], [a, b, c, byte]: [u8; 4]) {
    let place = u32::from_be_bytes([0, a, b, c]) as usize;
    if place == CUT {
        file.truncate(file.len() * usize::from(byte) / 256);
    } else {
        let place = place % (file.len() + log.len()).max(1);
        file.iter_mut().chain(log.iter_mut()).skip(place).take(1).for_each(|found| *found = byte);
    }
}

/// Everything that a daemon asks of its state.
fn use_all(mut state: State, directory: &Path) {
    state.checkpoint().expect("a checkpoint, or none");
    state.marks_since(NOW).expect("marks");
    state.told("incident").expect("who was told");
    state.held().expect("what is held");
    state.prune(NOW, NOW.plus(Duration::from_secs(1))).expect("less history");
    commit(&mut state, 3);
    assert_eq!(state.checkpoint().expect("readable").expect("just committed").positions.len(), 1);
    let mut outbox = state.outbox().expect("an outbox");
    outbox.counts().expect("counts");
    outbox.next_attempt("oncall").expect("a time");
    while let Some(owed) = outbox.next_due("oncall", NOW.plus(Duration::from_secs(9))).expect("what is owed") {
        outbox.dead(&owed.message.id, "550", &[], NOW).expect("a dead letter");
    }
    state.release(&[message("digest")], NOW).expect("a digest");
    let seen = Inspection::open(directory).expect("readable").expect("there");
    // To people it may say what is wrong.
    drop((seen.positions(), seen.open_incidents(), seen.undelivered()));
}

fn commit(state: &mut State, number: i64) {
    let partition = Partition { topic: "t".to_owned(), number: 0 };
    let frontier = Frontier { newest: NOW, floor: Timestamp::MIN, idle: false };
    let saved = Saved::decode(&super::state::seed(4)).expect("a seed");
    let [owed, held] = ["owed", "held"].map(|name| message(&format!("{name}.{number}")));
    state
        .commit(&Commit {
            positions: &[(partition.clone(), number)],
            marks: &[Mark { partition, next_offset: number, frontier }],
            messages: &[&owed],
            held: &[held],
            told: &BTreeMap::from([("incident".to_owned(), vec![receiver()])]),
            ..Commit::of(&saved, NOW)
        })
        .expect("a commit");
}

fn message(id: &str) -> Message {
    let options = Rendering { zone: TimeZone::UTC, status_page: None, instance: "watch".to_owned() };
    Message { id: id.to_owned(), ..test_notice(&receiver(), NOW, &options) }
}

fn receiver() -> Receiver {
    Receiver { notifier: "oncall".to_owned(), recipient: "a@example.org".to_owned() }
}

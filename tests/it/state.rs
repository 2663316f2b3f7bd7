//! The state file: all or nothing, one owner, and what is kept for how long.

use std::collections::BTreeMap;
use std::path::Path;

use modelwatch::clock::{Clock, SystemClock, Timestamp};
use modelwatch::notification::{Message, Receiver, Trouble, TroubleKind};
use modelwatch::pipeline::Saved;
use modelwatch::source::{Anchor, Partition, Seen};
use modelwatch::state::{Commit, Error, Inspection, Mark, NotedTrouble, Outbox, Reached, State};
use modelwatch::watermark::Frontier;

use crate::process::{modelwatch, stdout};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn partition(number: i32) -> Partition {
    Partition { topic: "t".to_owned(), number }
}

fn mark(number: i32, next_offset: i64, newest: i64) -> Mark {
    let frontier = Frontier { newest: at(newest), floor: Timestamp::MIN, idle: false };
    Mark { partition: partition(number), next_offset, frontier }
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        thread: None,
        incidents: Vec::new(),
        notifier: "oncall".to_owned(),
        recipient: "a@example.org".to_owned(),
        subject: "subject".to_owned(),
        text: "text".to_owned(),
        html: "html".to_owned(),
        headers: vec![("X-A".to_owned(), "b".to_owned())],
        json: "{}".to_owned(),
    }
}

/// Commits positions, marks and messages at second 100.
fn commit(state: &mut State, positions: &[(Partition, i64)], marks: &[Mark], messages: &[Message]) {
    let told = BTreeMap::from([(
        "incident".to_owned(),
        vec![Receiver { notifier: "oncall".to_owned(), recipient: "a@example.org".to_owned() }],
    )]);
    let saved = Saved::default();
    let commit = Commit {
        positions,
        marks,
        messages: &messages.iter().collect::<Vec<_>>(),
        told: &told,
        ..Commit::of(&saved, at(100))
    };
    state.commit(&commit).unwrap();
}

fn open(directory: &Path) -> State {
    State::open(directory, at(7)).unwrap()
}

#[test]
fn what_was_committed_is_there_after_a_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    assert!(state.checkpoint().unwrap().is_none());
    let key = *state.key();
    let positions = [(partition(1), 5), (partition(0), 7)];
    commit(&mut state, &positions, &[], &[message("m")]);
    drop(state);
    let state = open(directory.path());
    let checkpoint = state.checkpoint().unwrap().unwrap();
    assert_eq!(checkpoint.positions, positions, "in the order of the saved numbers");
    assert_eq!(checkpoint.saved, Saved::default());
    assert_eq!(*state.key(), key);
    assert_eq!(state.told("incident").unwrap().len(), 1);
    assert_eq!(state.told("another").unwrap(), []);
    assert_eq!(state.outbox().unwrap().next_due("oncall", at(100)).unwrap().unwrap().message, message("m"));
}

#[test]
fn a_second_owner_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path());
    assert!(matches!(State::open(directory.path(), at(7)), Err(Error::InUse(_))));
}

#[test]
fn a_damaged_file_is_set_aside_and_the_daemon_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[(partition(0), 7)], &[], &[]);
    drop(state);
    let file = directory.path().join("modelwatch.db");
    std::fs::write(
        &file,
        "this is no database, and longer than a header of SQLite, which has a hundred bytes or so".repeat(9),
    )
    .unwrap();
    let state = open(directory.path());
    assert!(state.checkpoint().unwrap().is_none());
    assert_eq!(state.set_aside.as_deref(), Some(directory.path().join("modelwatch.db.damaged-7").as_path()));
    assert!(directory.path().join("modelwatch.db.damaged-7").exists());
}

#[test]
fn a_rebuild_begins_at_the_last_mark_before_the_horizon() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    let marks = [mark(0, 0, -1_000), mark(0, 10, 100), mark(0, 20, 200), mark(0, 30, 300), mark(1, 0, 250)];
    commit(&mut state, &[], &marks, &[]);
    let offsets = |state: &State, before: i64| -> Vec<(i32, i64)> {
        let marks = state.marks_since(at(before)).unwrap();
        marks.iter().map(|mark| (mark.partition.number, mark.next_offset)).collect()
    };
    assert_eq!(offsets(&state, 201), [(0, 20), (0, 30), (1, 0)]);
    assert_eq!(offsets(&state, 200), [(0, 10), (0, 20), (0, 30), (1, 0)], "a record may be as new as the mark says");
    assert_eq!(offsets(&state, -9_999).len(), 5, "nothing is old enough: from the first mark on");
    state.prune(at(201), at(100)).unwrap();
    assert_eq!(offsets(&state, 201), [(0, 20), (0, 30), (1, 0)], "what a rebuild needs is kept");
    assert_eq!(offsets(&state, -9_999).len(), 3, "the rest is forgotten");
}

#[test]
fn a_notice_is_owed_until_it_is_sent_or_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[], &[], &[message("a"), message("b")]);
    commit(&mut state, &[], &[], &[message("a")]);
    let mut outbox = state.outbox().unwrap();
    assert_eq!(outbox.counts().unwrap().pending, 2, "the same id is the same notice");
    outbox.sent("a", "250 ok", at(101)).unwrap();
    outbox.retry("b", "451 later", at(130)).unwrap();
    assert!(outbox.next_due("oncall", at(129)).unwrap().is_none());
    assert_eq!(outbox.next_attempt("oncall").unwrap(), Some(at(130)));
    assert_eq!(outbox.next_due("oncall", at(130)).unwrap().unwrap().attempts, 1);
    outbox.dead("b", "550 no", &[message("told")], at(131)).unwrap();
    let counts = outbox.counts().unwrap();
    assert_eq!((counts.pending, counts.dead), (1, 1));
}

#[test]
fn dead_letters_are_seen_resent_and_dropped_beside_a_running_daemon() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Inspection::open(directory.path()).unwrap().is_none());
    let mut state = open(directory.path());
    commit(&mut state, &[(partition(0), 7)], &[], &[message("a"), message("b")]);
    let mut outbox = state.outbox().unwrap();
    outbox.dead("a", "550 no", &[], at(101)).unwrap();
    let seen = Inspection::open(directory.path()).unwrap().unwrap();
    assert_eq!(seen.checkpoint_at().unwrap(), Some(at(100)));
    assert_eq!(seen.positions().unwrap(), [Reached { partition: partition(0), next: 7, end: None }]);
    let dead: Vec<(String, bool)> = seen.undelivered().unwrap().into_iter().map(|n| (n.id, n.dead)).collect();
    assert_eq!(dead, [("a".to_owned(), true), ("b".to_owned(), false)]);
    assert!(!seen.resend("b", at(102)).unwrap(), "it is owed, not dead");
    assert!(seen.resend("a", at(102)).unwrap());
    assert_eq!(outbox.counts().unwrap().pending, 2);
    outbox.dead("a", "550 no", &[], at(103)).unwrap();
    assert!(seen.forget("a").unwrap() && !seen.forget("a").unwrap());
}

#[test]
fn notices_for_a_notifier_that_is_gone_are_dead_letters() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[], &[], &[message("a")]);
    let mut outbox = state.outbox().unwrap();
    assert_eq!(outbox.bury_unknown(&["oncall"], at(101)).unwrap(), 0);
    assert_eq!(outbox.bury_unknown(&["ops"], at(101)).unwrap(), 1);
    assert_eq!(outbox.counts().unwrap().dead, 1);
}

#[test]
fn held_notices_wait_for_their_digest() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    let saved = Saved::default();
    let held = [message("a"), message("b")];
    let commit = Commit { held: &held, ..Commit::of(&saved, at(100)) };
    state.commit(&commit).unwrap();
    drop(state);
    let mut state = open(directory.path());
    assert_eq!(state.held().unwrap(), held, "also after a crash");
    assert!(state.outbox().unwrap().next_due("oncall", at(999)).unwrap().is_none(), "not on its way");
    state.release(&[message("digest")], at(200)).unwrap();
    assert_eq!(state.held().unwrap(), []);
    assert_eq!(state.outbox().unwrap().next_due("oncall", at(200)).unwrap().unwrap().message.id, "digest");
    assert_eq!(state.outbox().unwrap().counts().unwrap().pending, 1);
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_damage_and_one_of_a_newer_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("modelwatch.db");
    let change = |query: &str| rusqlite::Connection::open(&file).unwrap().execute_batch(query).unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[(partition(0), 7)], &[], &[]);
    drop(state);
    let file_now = rusqlite::Connection::open(&file).unwrap();
    let format: i64 = file_now.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    change("PRAGMA user_version = 99");
    assert!(matches!(State::open(directory.path(), at(8)), Err(Error::Newer { format: 99 })));
    assert!(matches!(Inspection::open(directory.path()), Err(Error::Newer { format: 99 })));
    change(&format!("PRAGMA user_version = {format}; UPDATE checkpoint SET saved = x'ffffffffffffffffffffffff'"));
    let state = State::open(directory.path(), at(8)).unwrap();
    assert!(state.set_aside.is_some() && state.checkpoint().unwrap().is_none());
}

#[test]
fn former_partitions_and_marks_ahead_of_a_topic_made_anew_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[(partition(0), 700), (partition(1), 5)], &[mark(0, 0, -9), mark(0, 600, 100)], &[]);
    commit(&mut state, &[(partition(1), 6)], &[], &[]);
    assert_eq!(state.checkpoint().unwrap().unwrap().positions, [(partition(1), 6)]);
    commit(&mut state, &[(partition(0), 20)], &[mark(0, 20, 150)], &[]);
    let marks = state.marks_since(at(120)).unwrap();
    assert_eq!(marks.iter().map(|mark| mark.next_offset).collect::<Vec<_>>(), [0, 20]);
}

#[test]
fn a_notice_that_cannot_be_read_blocks_nobody_and_a_clock_put_back_neither() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[], &[], &[message("a"), message("b")]);
    let file = directory.path().join("modelwatch.db");
    rusqlite::Connection::open(&file).unwrap().execute_batch("UPDATE outbox SET message = '?' WHERE id = 'a'").unwrap();
    let mut outbox = state.outbox().unwrap();
    assert_eq!(outbox.next_due("oncall", at(100)).unwrap().unwrap().message.id, "b");
    assert_eq!(outbox.counts().unwrap().dead, 1);
    outbox.retry("b", "451", at(100_000)).unwrap();
    assert!(outbox.next_due("oncall", at(99_000)).unwrap().is_none(), "its time has not come");
    let mut restarted = state.outbox().unwrap();
    assert!(restarted.next_due("oncall", at(50_000)).unwrap().is_some(), "nobody waits for so long");
}

#[test]
fn the_log_is_set_aside_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    std::fs::write(directory.path().join("modelwatch.db"), "no database").unwrap();
    std::fs::write(directory.path().join("modelwatch.db-wal"), "the last commits").unwrap();
    drop(open(directory.path()));
    let log = std::fs::read_to_string(directory.path().join("modelwatch.db.damaged-7-wal")).unwrap();
    assert_eq!(log, "the last commits");
}

#[test]
fn marks_noted_just_before_a_topic_was_found_anew_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[(partition(0), 5)], &[mark(0, 94, 150), mark(0, 2, 200)], &[]);
    assert_eq!(state.marks_since(at(1_000)).unwrap(), [mark(0, 2, 200)]);
}

#[test]
fn a_notice_that_is_no_text_blocks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[], &[], &[message("a"), message("b")]);
    let file = rusqlite::Connection::open(directory.path().join("modelwatch.db")).unwrap();
    file.execute_batch("UPDATE outbox SET message = CAST(x'ff' AS TEXT) WHERE id = 'a'").unwrap();
    assert_eq!(state.outbox().unwrap().next_due("oncall", at(100)).unwrap().unwrap().message, message("b"));
}

/// A file of format 1 with a notice of its time.
fn first_format(directory: &Path) {
    let file = rusqlite::Connection::open(directory.join("modelwatch.db")).unwrap();
    file.execute_batch(include_str!("../../src/state/schema/1.sql")).unwrap();
    file.execute_batch(
        r#"INSERT INTO outbox (id, notifier, recipient, message, created_us, next_attempt_us) VALUES
             ('m', 'oncall', 'a@example.org', '{"id":"m","thread":null,"notifier":"oncall","recipient":"a@example.org",
               "subject":"s","text":"t","html":"h","headers":[["X-Modelwatch-State","firing"],
               ["X-Modelwatch-Incident","0123456789ab, ba9876543210"]],"json":"{}"}', 1, 1),
             ('broken', 'oncall', 'a@example.org', 'no message', 1, 1);
           INSERT INTO told VALUES ('0123456789ab', 'oncall', 'a@example.org', 1);
           PRAGMA user_version = 1;"#,
    )
    .unwrap();
}

/// Everything that defines the file's tables.
fn schema(directory: &Path) -> Vec<(String, String)> {
    let file = rusqlite::Connection::open(directory.join("modelwatch.db")).unwrap();
    let mut query = file.prepare("SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name").unwrap();
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_file_of_an_older_format_is_brought_up_to_date_by_its_owner_alone() {
    let [old, new] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    first_format(old.path());
    assert!(matches!(Inspection::open(old.path()), Err(Error::Older { format: 1 })));
    let state = open(old.path());
    assert_eq!(state.set_aside, None);
    assert_eq!(state.told("0123456789ab").unwrap().len(), 1);
    let owed = state.outbox().unwrap().next_due("oncall", at(100)).unwrap().unwrap();
    assert_eq!(owed.message.incidents, ["0123456789ab", "ba9876543210"]);
    let about = "SELECT group_concat(incident || trouble) FROM about WHERE number = 1";
    let file = rusqlite::Connection::open(old.path().join("modelwatch.db")).unwrap();
    let about: String = file.query_row(about, [], |row| row.get(0)).unwrap();
    assert_eq!(about, "0123456789ab1,ba98765432101");
    drop(open(new.path()));
    assert_eq!(schema(old.path()), schema(new.path()));
    drop(state);
    assert!(Inspection::open(old.path()).unwrap().is_some());
    assert_eq!(open(old.path()).set_aside, None, "also the second time");
}

#[test]
fn a_clock_that_is_put_back_by_an_hour_delays_no_notice() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[], &[], &[message("a")]);
    let mut outbox = state.outbox().unwrap();
    let due = |outbox: &mut Outbox, second: i64| outbox.next_due("oncall", at(second)).unwrap();
    assert_eq!(due(&mut outbox, 100 - 3_600).unwrap().attempts, 0, "it was never tried: it is due");
    assert!(outbox.first_attempts_due().unwrap());
    assert!(due(&mut outbox, 100).is_some());
    outbox.retry("a", "451", at(130)).unwrap();
    assert!(due(&mut outbox, 110).is_none());
    assert!(due(&mut outbox, 110 - 3_600).is_none(), "its wait is the same by the new clock");
    let owed = due(&mut outbox, 130 - 3_600).unwrap();
    assert_eq!((owed.attempts, owed.created), (1, at(100 - 3_600)), "and so is its age");
    outbox.retry("a", "451", at(200)).unwrap();
    let mut restarted = state.outbox().unwrap();
    assert!(due(&mut restarted, 150 - 3_600).is_some(), "nobody saw the clock go back: rather soon than late");
}

#[test]
fn a_held_notice_that_cannot_be_read_is_a_dead_letter_and_the_digest_goes_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    let saved = Saved::default();
    let held = [message("a"), message("b")];
    let commit = Commit { held: &held, ..Commit::of(&saved, at(100)) };
    state.commit(&commit).unwrap();
    let file = rusqlite::Connection::open(directory.path().join("modelwatch.db")).unwrap();
    file.execute_batch("UPDATE outbox SET message = '?', id = CAST(x'ff' AS TEXT) WHERE id = 'a'").unwrap();
    assert_eq!(state.held().unwrap(), [message("b")]);
    state.release(&[message("digest")], at(200)).unwrap();
    let counts = state.outbox().unwrap().counts().unwrap();
    assert_eq!((counts.pending, counts.dead), (1, 1));
}

#[test]
fn what_becomes_of_a_notice_is_noted_though_its_text_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[], &[], &[message("a")]);
    let file = rusqlite::Connection::open(directory.path().join("modelwatch.db")).unwrap();
    file.execute_batch("UPDATE outbox SET message = replace(message, '\"id\":\"a\"', '\"id\":\"x\"')").unwrap();
    let mut outbox = state.outbox().unwrap();
    let owed = outbox.next_due("oncall", at(100)).unwrap().unwrap();
    outbox.sent(&owed.message.id, "250", at(101)).unwrap();
    assert!(outbox.next_due("oncall", at(100)).unwrap().is_none(), "it would be sent for ever");
}

#[test]
fn a_damaged_trigger_is_damage_and_a_table_of_somebody_else_is_none() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let change = |query: &str| {
        rusqlite::Connection::open(directory.path().join("modelwatch.db")).unwrap().execute_batch(query).unwrap();
    };
    change("CREATE TABLE notes (text TEXT)");
    assert!(open(directory.path()).set_aside.is_none());
    change("PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, 'old.number', 'old_number')");
    assert!(open(directory.path()).set_aside.is_some());
}

#[test]
fn partitions_are_known_again_and_their_lag_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, saved) = (open(directory.path()), Saved::default());
    let anchor = Anchor { offset: 4, millis: -1, hash: u64::MAX - 5 };
    let positions = [(partition(3), 5), (partition(0), 7)];
    let seen =
        [Seen { partition: 0, end: Some(9), anchor: Some(anchor) }, Seen { partition: 1, end: None, anchor: None }];
    state.commit(&Commit { seen: &seen, positions: &positions, ..Commit::of(&saved, at(100)) }).unwrap();
    let checkpoint = state.checkpoint().unwrap().unwrap();
    assert_eq!(checkpoint.anchors.into_iter().collect::<Vec<_>>(), [(partition(3), anchor)]);
    let outside = Inspection::open(directory.path()).unwrap().unwrap();
    let reached = |number: i32, next: i64, end: Option<i64>| Reached { partition: partition(number), next, end };
    assert_eq!(outside.positions().unwrap(), [reached(0, 7, None), reached(3, 5, Some(9))]);
}

#[test]
fn marks_of_a_former_topic_are_forgotten_though_the_new_one_has_grown_beyond_them() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, saved) = (open(directory.path()), Saved::default());
    commit(&mut state, &[(partition(0), 40)], &[mark(0, 10, 100), mark(0, 30, 300), mark(1, 30, 300)], &[]);
    let (forgotten, marks) = ([(partition(0), i64::MIN)], [mark(0, 0, -1_000)]);
    let positions = [(partition(0), 500)];
    let commit = Commit { forgotten: &forgotten, marks: &marks, positions: &positions, ..Commit::of(&saved, at(100)) };
    state.commit(&commit).unwrap();
    let left: Vec<(i32, i64)> = state
        .marks_since(Timestamp::MIN)
        .unwrap()
        .iter()
        .map(|mark| (mark.partition.number, mark.next_offset))
        .collect();
    assert_eq!(left, [(0, 0), (1, 30)]);
}

#[test]
fn troubles_are_logged_and_remembered_for_an_hour_and_seen_for_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, saved) = (open(directory.path()), Saved::default());
    let noted = |second: i64, told: bool| NotedTrouble {
        trouble: Trouble::records_lost("t/0", (5, 9), Some((at(1), at(2))), at(second)),
        at: at(second),
        told,
    };
    let troubles = [noted(100, true), noted(200, false), noted(300, true), noted(400, false)];
    state.commit(&Commit { troubles: &troubles, ..Commit::of(&saved, at(100)) }).unwrap();
    let lost = |second: i64| (TroubleKind::RecordsLost, "t/0".to_owned(), at(second));
    assert_eq!(state.troubles_told(at(0)).unwrap(), [lost(300)], "when it was told last");
    assert_eq!(state.troubles_told(at(300)).unwrap(), []);
    let outside = Inspection::open(directory.path()).unwrap().unwrap();
    let (seen, all) = outside.troubles(at(100), 2).unwrap();
    assert_eq!(all, 3);
    let seen: Vec<(&str, bool)> = seen.iter().map(|trouble| (trouble.at.as_str(), trouble.told)).collect();
    assert_eq!(seen, [("1970-01-01T00:06:40Z", false), ("1970-01-01T00:05:00Z", true)]);
    state.prune(Timestamp::MIN, at(300).plus(std::time::Duration::from_secs(90 * 86_400))).unwrap();
    assert_eq!(outside.troubles(Timestamp::MIN, 9).unwrap().1, 2, "after 90 days they are forgotten");
}

#[test]
fn an_incident_that_outlasts_the_history_is_still_seen() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    let file = rusqlite::Connection::open(directory.path().join("modelwatch.db")).unwrap();
    for (second, incident, change) in
        [(1, "open", "firing"), (2, "open", "repeat"), (3, "over", "firing"), (4, "over", "resolved")]
    {
        file.execute(
            "INSERT INTO transition_log (at_us, at, rule, model, severity, change, since, incident, sequence)
             VALUES (?1, '', 'r', 'm', 'warning', ?2, '', ?3, 1)",
            rusqlite::params![at(second).as_micros(), change, incident],
        )
        .unwrap();
    }
    state.prune(Timestamp::MIN, at(10).plus(std::time::Duration::from_secs(90 * 86_400))).unwrap();
    let open = Inspection::open(directory.path()).unwrap().unwrap().open_incidents().unwrap();
    let open: Vec<(&str, &str)> =
        open.iter().map(|incident| (incident.id.as_str(), incident.change.as_str())).collect();
    assert_eq!(open, [("open", "repeat")]);
    let left: i64 = file.query_row("SELECT count(*) FROM transition_log", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1, "all else is forgotten");
}

#[test]
fn looking_from_outside_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path());
    commit(&mut state, &[(partition(0), 7)], &[], &[message("a")]);
    drop(state);
    let file = directory.path().join("modelwatch.db");
    let before = std::fs::read(&file).unwrap();
    let outside = Inspection::open(directory.path()).unwrap().unwrap();
    assert!(outside.positions().unwrap().len() == 1 && outside.undelivered().unwrap().len() == 1);
    drop(outside);
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn the_command_shows_what_there_is_and_says_what_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("modelwatch.toml");
    let example = include_str!("../../config/examples/eta-regression.toml");
    std::fs::write(&config, format!("{example}\n[state]\ndirectory = '{}'\n", directory.path().display())).unwrap();
    let (mut state, saved) = (open(directory.path()), Saved::default());
    let seen = [Seen { partition: 0, end: Some(12), anchor: None }];
    let trouble = NotedTrouble {
        trouble: Trouble::records_lost("t/3\u{1b}[2J", (5, 9), None, SystemClock.now()),
        at: SystemClock.now(),
        told: true,
    };
    let positions = [(partition(3), 5), (partition(0), 7)];
    let owed = message("m");
    let (troubles, messages) = ([trouble], [&owed]);
    let what = Commit { seen: &seen, positions: &positions, ..Commit::of(&saved, at(100)) };
    state.commit(&Commit { troubles: &troubles, messages: &messages, ..what }).unwrap();
    let run = || modelwatch(&["state"]).arg(&config).output().unwrap();
    let shown = stdout(run());
    for line in [
        "no snapshot of the join yet",
        "  t/0: 7 (its end is not known)",
        "  t/3: 5 (7 behind its end as last seen, 12)",
        "oncall, a@example.org: 0 attempts",
        " records_lost, t/3\u{fffd}[2J: offsets 5 to 8 are gone, about 4 records\n",
    ] {
        assert!(shown.contains(line), "{line}\nis not in\n{shown}");
    }
    drop(state);
    let file = rusqlite::Connection::open(directory.path().join("modelwatch.db")).unwrap();
    for (format, expected) in
        [(99, "is of format 99, this version reads up to"), (1, "is of format 1; the daemon brings it to")]
    {
        file.pragma_update(None, "user_version", format).unwrap();
        let refused = run();
        let problem = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && problem.contains(expected), "{problem}");
        let kept: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(kept, format);
    }
}

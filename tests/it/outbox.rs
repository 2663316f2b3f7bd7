//! What is owed to whom, and in which order: the end of an incident never comes without its beginning, nor before it.

use std::collections::BTreeMap;

use modelwatch::clock::Timestamp;
use modelwatch::notification::{Message, Receiver};
use modelwatch::pipeline::Saved;
use modelwatch::state::{Commit, Inspection, Outbox, State};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

/// A notice of this state (`firing`, `resolved`, ...) about these incidents, called `<state>-<incidents>-<recipient>`.
fn notice(state: &str, incidents: &str, recipient: &str) -> Message {
    Message {
        id: format!("{state}-{incidents}-{recipient}").replace(' ', "+"),
        thread: None,
        incidents: incidents.split_whitespace().map(str::to_owned).collect(),
        notifier: "oncall".to_owned(),
        recipient: recipient.to_owned(),
        subject: String::new(),
        text: String::new(),
        html: String::new(),
        headers: vec![("X-Modelwatch-State".to_owned(), state.to_owned())],
        json: "{}".to_owned(),
    }
}

struct World {
    directory: tempfile::TempDir,
    state: State,
    outbox: Outbox,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path(), at(0)).unwrap();
        let outbox = state.outbox().unwrap();
        World { directory, state, outbox }
    }

    /// Owes these notices; their receivers are told of the incidents that begin.
    fn owe(&mut self, notices: &[Message], held: &[Message]) {
        let mut told: BTreeMap<String, Vec<Receiver>> = BTreeMap::new();
        for notice in notices.iter().chain(held).filter(|notice| notice.id.starts_with("firing")) {
            let receiver = Receiver { notifier: "oncall".to_owned(), recipient: notice.recipient.clone() };
            notice.incidents.iter().for_each(|id| told.entry(id.clone()).or_default().push(receiver.clone()));
        }
        let saved = Saved::default();
        let commit =
            Commit { messages: &notices.iter().collect::<Vec<_>>(), held, told: &told, ..Commit::of(&saved, at(100)) };
        self.state.commit(&commit).unwrap();
    }

    /// Ids of what is due, one after the other, as receivers take it.
    #[track_caller]
    fn check_due(&mut self, secs: i64, expected: &[&str]) {
        let mut due = Vec::new();
        while let Some(owed) = self.outbox.next_due("oncall", at(secs)).unwrap() {
            self.outbox.sent(&owed.message.id, "250", at(secs)).unwrap();
            due.push(owed.message.id);
        }
        assert_eq!(due, expected);
    }

    fn bury(&mut self, id: &str) {
        self.outbox.dead(id, "550 no", &[], at(101)).unwrap();
    }

    /// Who is owed the end of an incident.
    fn owed_the_end(&self, incident: &str) -> Vec<String> {
        let told = self.state.told(incident).unwrap();
        told.into_iter().filter(|told| !told.lost).map(|told| told.receiver.recipient).collect()
    }

    fn answers(&self) -> Vec<(String, String)> {
        let inspection = Inspection::open(self.directory.path()).unwrap().unwrap();
        let dead = inspection.undelivered().unwrap().into_iter().filter(|notice| notice.dead);
        dead.map(|notice| (notice.id, notice.answer.unwrap_or_default())).collect()
    }
}

#[test]
fn a_later_notice_of_an_incident_waits_for_the_earlier_one_of_the_same_recipient_alone() {
    let mut world = World::new();
    world.owe(&[notice("firing", "x", "a"), notice("firing", "x", "b"), notice("firing", "y", "a")], &[]);
    world.outbox.retry("firing-x-a", "451 later", at(130)).unwrap();
    world.owe(&[notice("resolved", "x", "a"), notice("resolved", "x", "b")], &[]);
    world.check_due(129, &["firing-x-b", "firing-y-a", "resolved-x-b"]);
    assert_eq!(world.outbox.next_attempt("oncall").unwrap(), Some(at(130)), "nobody looks for what has to wait");
    assert!(!world.outbox.first_attempts_due().unwrap(), "nor is the end of the daemon held up");
    world.check_due(130, &["firing-x-a", "resolved-x-a"]);
}

#[test]
fn a_notice_of_several_incidents_waits_for_each() {
    let mut world = World::new();
    world.owe(&[notice("firing", "x", "a"), notice("firing", "y z", "a"), notice("resolved", "x y", "a")], &[]);
    world.outbox.retry("firing-y+z-a", "451 later", at(130)).unwrap();
    world.check_due(129, &["firing-x-a"]);
    world.check_due(130, &["firing-y+z-a", "resolved-x+y-a"]);
}

#[test]
fn whose_beginning_was_given_up_is_not_owed_the_end() {
    let mut world = World::new();
    world.owe(&[notice("firing", "x", "a"), notice("firing", "x", "b")], &[]);
    world.bury("firing-x-a");
    assert_eq!(world.owed_the_end("x"), ["b"]);
    // An end that is on its way already does not come alone, also one that was just being written.
    world.owe(&[notice("firing", "y", "a"), notice("resolved", "y", "a")], &[notice("resolved", "x", "a")]);
    world.bury("firing-y-a");
    world.check_due(200, &["firing-x-b"]);
    let no = "550 no".to_owned();
    let alone = "the notice of its beginning was given up".to_owned();
    let expected = [("firing-x-a", &no), ("firing-y-a", &no), ("resolved-y-a", &alone), ("resolved-x-a", &alone)];
    assert_eq!(world.answers(), expected.map(|(id, answer)| (id.to_owned(), answer.clone())));
}

#[test]
fn whoever_got_a_repeated_notice_is_owed_the_end_though_the_first_was_given_up() {
    let mut world = World::new();
    world.owe(&[notice("firing", "x", "a"), notice("repeat", "x", "a"), notice("resolved", "x", "a")], &[]);
    world.bury("firing-x-a");
    assert_eq!(world.owed_the_end("x"), ["a"], "the repetition is still on its way");
    world.check_due(200, &["repeat-x-a", "resolved-x-a"]);
    world.owe(&[notice("firing", "y", "a")], &[]);
    world.bury("firing-y-a");
    assert_eq!(world.owed_the_end("y"), Vec::<String>::new());
    world.owe(&[notice("repeat", "y", "a")], &[]);
    assert_eq!(world.owed_the_end("y"), ["a"]);
    world.bury("repeat-y-a");
    assert_eq!(world.owed_the_end("y"), Vec::<String>::new());
}

#[test]
fn a_dead_letter_that_is_owed_again_is_owed_its_end_again() {
    let mut world = World::new();
    world.owe(&[notice("firing", "x", "a")], &[]);
    world.bury("firing-x-a");
    let inspection = Inspection::open(world.directory.path()).unwrap().unwrap();
    assert!(inspection.resend("firing-x-a", at(102)).unwrap());
    assert_eq!(world.owed_the_end("x"), ["a"]);
}

#[test]
fn what_is_forgotten_leaves_no_trace_on_others() {
    let mut world = World::new();
    world.owe(&[notice("firing", "x", "a")], &[]);
    world.bury("firing-x-a");
    let inspection = Inspection::open(world.directory.path()).unwrap().unwrap();
    assert!(inspection.forget("firing-x-a").unwrap());
    // The number is given again.
    world.owe(&[notice("firing", "y", "a"), notice("resolved", "z", "a")], &[]);
    world.outbox.retry("firing-y-a", "451 later", at(300)).unwrap();
    world.owe(&[notice("repeat", "x", "a")], &[]);
    world.check_due(200, &["resolved-z-a", "repeat-x-a"]);
}

#[test]
fn a_digest_comes_after_what_was_told_before_and_takes_the_place_of_what_was_held() {
    let mut world = World::new();
    world.owe(&[notice("firing", "x", "a")], &[notice("resolved", "x", "a"), notice("firing", "y", "a")]);
    world.outbox.retry("firing-x-a", "451 later", at(130)).unwrap();
    world.state.release(&[notice("caught_up", "x y", "a")], at(110)).unwrap();
    world.owe(&[notice("resolved", "y", "a")], &[]);
    world.check_due(129, &[]);
    world.bury("caught_up-x+y-a");
    assert_eq!(world.owed_the_end("y"), Vec::<String>::new());
    world.check_due(130, &["firing-x-a"]);
}

//! Time lines on the whole daemon: engine, state file and delivery, killed at every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use modelwatch::clock::{Clock, Timestamp};
use modelwatch::notification::Message;
use modelwatch::pipeline::Options;

use super::grammar::{Script, agrees, seconds, shown, side_by_side};
use crate::given::secs;
use crate::oracle::Event;
use crate::world::{Answer, Logged, Setup, World};

/// When the daemon is killed, and started again at once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kill {
    Never,
    /// After this step.
    After(usize),
    /// After this attempt, before it is noted.
    Attempt(usize),
}

/// Most places at which one line is killed; more are spread evenly.
const KILLS: usize = 12;

struct Life {
    world: World,
    next: Option<Options>,
    unlabelled: BTreeMap<String, VecDeque<(String, u32)>>,
    count: u32,
    /// What receivers do, by the name of the notifier.
    moods: BTreeMap<String, Answer>,
    kill: Kill,
    attempts: usize,
}

/// What a line has brought about.
struct Outcome {
    log: Vec<Logged>,
    mails: Vec<String>,
    attempts: usize,
}

/// The transitions are those that are wanted, wherever the daemon is killed.
#[track_caller]
pub(super) fn check_transitions(options: &Options, next: Option<&Options>, script: &Script) {
    // Who is to be told does not stand in the log.
    let plain = |line: &String| line.split(" -> ").next().unwrap_or_default().to_owned();
    let wanted: Vec<String> = script.wanted.iter().map(plain).collect();
    for kill in kills(script.steps.len()) {
        let outcome = live(options, next, script, kill);
        let got: Vec<String> = outcome.log.iter().map(transition).collect();
        if got != wanted {
            panic!("on the daemon, killed {kill:?}\n{}", side_by_side(&got, &wanted));
        }
    }
}

/// The notices are those that are wanted, wherever the daemon is killed.
#[track_caller]
pub(super) fn check_mails(options: &Options, next: Option<&Options>, script: &Script) {
    let attempts = live(options, next, script, Kill::Never).attempts;
    for kill in kills(script.steps.len()).into_iter().chain((0..attempts).map(Kill::Attempt)) {
        let mails = live(options, next, script, kill).mails;
        let same = mails.iter().zip(&script.mails).all(|(got, wanted)| agrees(got, wanted));
        if mails.len() != script.mails.len() || !same {
            panic!("killed {kill:?}\n{}", side_by_side(&mails, &script.mails));
        }
    }
}

fn kills(steps: usize) -> Vec<Kill> {
    let stride = steps.div_ceil(KILLS).max(1);
    std::iter::once(Kill::Never).chain((0..steps).step_by(stride).map(Kill::After)).collect()
}

fn live(options: &Options, next: Option<&Options>, script: &Script, kill: Kill) -> Outcome {
    let rules = options.rules.iter().chain(next.iter().flat_map(|next| &next.rules));
    let names: BTreeSet<String> = rules.flat_map(|rule| rule.notify.clone()).collect();
    let setup = Setup {
        options: options.clone(),
        notifiers: names.iter().map(|name| (name.clone(), vec![format!("{name}@example.org")])).collect(),
        idle_after: secs(0),
        give_up_after: secs(3_600),
    };
    let mut life = Life {
        world: World::new(setup, 1, Timestamp::from_secs(0)),
        next: next.cloned(),
        unlabelled: BTreeMap::new(),
        count: 0,
        moods: names.into_iter().map(|name| (name, Answer::Takes)).collect(),
        kill,
        attempts: 0,
    };
    if !script.steps.iter().any(|(at, words)| (*at, words.as_slice()) == (0, &["start".to_owned()])) {
        life.world.start();
    }
    life.listen();
    for (number, (at, words)) in script.steps.iter().enumerate() {
        life.go_to(Timestamp::from_secs(*at));
        life.step(*at, &words.iter().map(String::as_str).collect::<Vec<_>>());
        if kill == Kill::After(number) && life.world.is_running() {
            life.world.crash();
            life.world.start();
        }
        life.turn();
    }
    let mut seen = BTreeSet::new();
    let post = life.world.post();
    let received = post.attempts.iter().filter(|attempt| attempt.is_received());
    let first = received.filter(|attempt| seen.insert(attempt.message.id.clone()));
    let mails = first.map(|attempt| mail(attempt.at, &attempt.message)).collect();
    drop(post);
    Outcome { log: life.world.log(), mails, attempts: life.attempts }
}

impl Life {
    fn listen(&mut self) {
        let moods = self.moods.clone();
        self.world.post().script = Box::new(move |message| moods[&message.notifier]);
    }

    /// Time passes; nothing comes, so the partition is at its end and the clock moves event time.
    fn go_to(&mut self, at: Timestamp) {
        const LOOK_EVERY: i64 = 10_000_000;
        loop {
            let now = self.world.clock.now();
            let look = Timestamp::from_micros((now.as_micros() / LOOK_EVERY + 1) * LOOK_EVERY);
            let due = self.world.next_attempt().filter(|due| *due > now).unwrap_or(at);
            let next = at.min(look).min(due);
            self.world.clock.set(next.max(now));
            self.turn();
            if next >= at {
                return;
            }
        }
    }

    /// Reads what is there, seals, commits, and delivers what is due.
    fn turn(&mut self) {
        if !self.world.is_running() {
            return;
        }
        while self.world.poll(&[(0, usize::MAX)], &[0]) {}
        for courier in 0..self.moods.len() {
            while self.world.attempt(courier) {
                if self.kill == Kill::Attempt(self.attempts) {
                    self.world.crash();
                    self.world.start();
                } else {
                    self.world.note();
                }
                self.attempts += 1;
            }
        }
    }

    fn step(&mut self, at: i64, words: &[&str]) {
        let many = |count: &str| count.parse::<usize>().expect("a count");
        match words {
            ["end"] => {}
            ["reload"] => {
                // The same again, if there is no other.
                let options = self.next.take().unwrap_or_else(|| self.world.setup.options.clone());
                self.world.reload(Setup { options, ..self.world.setup.clone() });
                self.world.turn();
            }
            ["crash"] => self.world.crash(),
            ["stop"] => self.world.stop(),
            ["start"] => self.world.start(),
            ["predictions", model, count, rest @ ..] => self.predict(at, model, many(count), rest),
            ["labels", model, count, rest @ ..] => self.label(at, model, many(count), rest),
            ["both", model, count, rest @ ..] => {
                self.predict(at, model, many(count), rest);
                self.label(at, model, many(count), rest);
            }
            [who, mood] if self.moods.contains_key(*who) => {
                let answer = match *mood {
                    "up" => Answer::Takes,
                    "down" => Answer::Later,
                    "loses" => Answer::Lost,
                    "refuses" => Answer::Refuses,
                    other => panic!("{who} cannot do {other}"),
                };
                self.moods.insert((*who).to_owned(), answer);
                self.listen();
            }
            other => panic!("not understood: {other:?}"),
        }
    }

    fn predict(&mut self, at: i64, model: &str, count: usize, rest: &[&str]) {
        let region = rest.iter().find_map(|word| word.strip_prefix("region=")).map(str::to_owned);
        let time = rest.iter().find_map(|word| word.strip_prefix("time=")).map_or(at, seconds);
        for _ in 0..count {
            self.count += 1;
            self.unlabelled.entry(model.to_owned()).or_default().push_back((model.to_owned(), self.count));
            self.append(at, time, model, self.count, 10.0, Some(vec![region.clone()]));
        }
    }

    fn label(&mut self, at: i64, model: &str, count: usize, rest: &[&str]) {
        let error = rest.iter().find_map(|word| word.strip_prefix("err=")).map_or(0.0, super::number);
        for _ in 0..count {
            let oldest = self.unlabelled.get_mut(model).and_then(VecDeque::pop_front);
            let (model, id) = oldest.expect("a prediction to label");
            self.append(at, at, &model, id, 10.0 - error, None);
        }
    }

    fn append(&mut self, at: i64, time: i64, model: &str, id: u32, value: f64, segments: Option<Vec<Option<String>>>) {
        let event = Event { time, model: Some(model.to_owned()), id, value, segments };
        self.world.append(0, &event, Some(Timestamp::from_secs(at)));
    }
}

fn transition(row: &Logged) -> String {
    let (model, segment) = &row.labels;
    let segment = segment.as_ref().map_or(String::new(), |(name, value)| format!(" {name}={value}"));
    format!("{} {} {} {model}{segment}", shown(row.at.as_micros() / 1_000_000), row.change, row.rule)
}

fn mail(at: Timestamp, message: &Message) -> String {
    let header = |name: &str| {
        let found = message.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    let words = ["State", "Rule", "Model", "Segment"].iter().filter_map(|name| header(&format!("X-Modelwatch-{name}")));
    let words: Vec<String> = words.collect();
    let digest = if words == ["caught_up"] { format!(" {}", message.subject) } else { String::new() };
    format!("{} {} {}{digest}", shown(at.as_micros() / 1_000_000), message.notifier, words.join(" "))
}

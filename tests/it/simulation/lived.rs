//! The way of a daemon: engine, state file and delivery, killed between any two steps.

use std::time::Duration;

use modelwatch::clock::{Clock, Timestamp};

use super::input::{Input, Random};
use super::{Ran, check, check_lines, line};
use crate::given::secs;
use crate::ledger;
use crate::oracle::{self, Said};
use crate::world::{Answer, Attempt, Setup, World};

/// What happens next. Numbers are reduced to what there is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// The source brings up to so many records of each partition whose bit is set.
    Poll { partitions: u64, records: usize },
    /// The engine looks at the clock.
    Turn,
    /// So many seconds pass.
    Wait(u64),
    /// A courier makes an attempt...
    Attempt { courier: usize, answer: Answer },
    /// ... and we are killed before it is noted.
    AttemptAndDie { courier: usize, answer: Answer },
    /// Killed, and started with the partitions in another order.
    Die { order: u64 },
    /// Ended in order and started again.
    Restart { order: u64 },
    /// The same configuration is read again.
    Reload,
    /// The source finds another partition.
    Appear,
}

/// What happens to the daemon, and what the receivers refuse for good: one in so many messages, `0` for none.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) acts: Vec<Act>,
    hidden: usize,
    refusing: u64,
    /// Whether a second recipient is on call.
    by_night: bool,
}

impl Schedule {
    pub(super) fn new(random: &mut Random, partitions: usize) -> Schedule {
        let mut acts = Vec::new();
        // Some runs are quiet, in some the receivers are the trouble, in some we are.
        let [deadly, unkind] = [(); 2].map(|()| [3, 9, 40][random.below(3)]);
        for _ in 0..30 + random.below(40) {
            let order = random.next();
            let answers = [Answer::Takes, Answer::Takes, Answer::Later, Answer::Lost];
            let answer = if random.once_in(unkind) { answers[random.below(4)] } else { Answer::Takes };
            let courier = random.below(2);
            acts.push(match random.below(16) {
                0..=5 => Act::Poll { partitions: random.next(), records: 1 + random.below(20) },
                6 => Act::Turn,
                7..=8 => Act::Wait([0, 1, 20, 20, 300, 4_000][random.below(6)]),
                9..=12 if random.once_in(2 * deadly) => Act::AttemptAndDie { courier, answer },
                9..=12 => Act::Attempt { courier, answer },
                13 if random.once_in(3) => Act::Restart { order },
                13 => Act::Reload,
                14 => Act::Appear,
                _ if random.once_in(deadly / 3) => Act::Die { order },
                _ => Act::Turn,
            });
        }
        let refusing = [0, 0, 0, 3, 12][random.below(5)];
        Schedule { acts, hidden: random.below(partitions), refusing, by_night: random.once_in(4) }
    }
}

/// FNV-1a: whether a message is refused must not depend on when it comes.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

struct Life<'i> {
    world: World,
    input: &'i Input,
    /// The partitions that the source does not know yet.
    hidden: Vec<usize>,
    refusing: u64,
}

/// What happened in a life, as numbers: notices that were taken, put off, taken without an answer, refused, taken before
/// we were killed; those of several alerts; ends that were given up with their beginning.
pub(super) fn happened(world: &World) -> [usize; 7] {
    let attempts = &world.post().attempts;
    let count = |is: &dyn Fn(&Attempt) -> bool| attempts.iter().filter(|attempt| is(attempt)).count();
    let alone = world.dead_letters().iter().filter(|answer| answer.contains("beginning")).count();
    [
        count(&|attempt| attempt.answer == Answer::Takes),
        count(&|attempt| attempt.answer == Answer::Later),
        count(&|attempt| attempt.answer == Answer::Lost),
        count(&|attempt| attempt.answer == Answer::Refuses),
        count(&|attempt| attempt.answer == Answer::Takes && !attempt.noted),
        count(&|attempt| attempt.message.incidents.len() > 1),
        alone,
    ]
}

/// Lives through the input.
pub(super) fn live(input: &Input) -> World {
    let mut life = Life::begin(input, &input.schedule);
    input.schedule.acts.iter().for_each(|act| life.act(*act));
    life.end();
    life.world
}

/// Compares what is left of a life with the undisturbed run and the oracle.
pub(super) fn prove(input: &Input, whole: &Ran, said: &Said) -> Result<(), String> {
    let world = live(input);
    let log = world.log();
    let rows: Vec<String> =
        log.iter().map(|row| format!("{:?} {} {}", row.incident, row.sequence, ledger::change(row))).collect();
    let expected: Vec<String> =
        whole.transitions.iter().map(|t| format!("{:?} {} {}", t.incident, t.sequence, line(t))).collect();
    check_lines("lived: transitions", &expected, &rows)?;
    let mut pipeline = world.committed();
    pipeline.expect_partitions(input.partitions.len());
    let view = pipeline.view(usize::MAX);
    check("lived: readings", &whole.readings, &format!("{:?} {:?}", view.models, view.alerts))?;
    check("lived: counts", &whole.counts, &pipeline.counts())?;
    let owed = oracle::owed(&input.options.rules, &receivers(&world.setup), &said.transitions);
    ledger::settle(&owed, &log, &world.post().attempts)
}

fn receivers(setup: &Setup) -> Vec<(String, String)> {
    let each = setup
        .notifiers
        .iter()
        .flat_map(|(name, recipients)| recipients.iter().map(move |to| (name.clone(), to.clone())));
    each.collect()
}

impl Life<'_> {
    fn begin<'i>(input: &'i Input, schedule: &Schedule) -> Life<'i> {
        let oncall = ["day@example.org", "night@example.org"].map(str::to_owned);
        let oncall = oncall.into_iter().take(1 + usize::from(schedule.by_night)).collect();
        let setup = Setup {
            options: input.options.clone(),
            notifiers: vec![("oncall".to_owned(), oncall), ("ops".to_owned(), vec!["ops".to_owned()])],
            idle_after: secs(30),
            give_up_after: secs(1_000_000_000),
        };
        let count = input.partitions.len();
        let mut world = World::new(setup, count, last(input).minus(secs(900_000)));
        for (number, events) in input.partitions.iter().enumerate() {
            events.iter().for_each(|event| world.append(number, event, None));
        }
        // The first partition is always there and holds the others back until all are.
        let known = count - schedule.hidden.min(count - 1);
        world.list((0..known).collect());
        world.start();
        Life { world, input, hidden: (known..count).collect(), refusing: schedule.refusing }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Poll { partitions, records } => self.poll(partitions, records),
            Act::Turn => drop(self.world.turn()),
            Act::Wait(secs) => self.wait(Duration::from_secs(secs)),
            Act::Attempt { courier, answer } => {
                self.attempt(courier, answer);
                self.world.note();
            }
            Act::AttemptAndDie { courier, answer } => {
                self.attempt(courier, answer);
                self.world.crash();
                self.world.start();
            }
            Act::Die { order } => {
                self.world.crash();
                self.start_in(order);
            }
            Act::Restart { order } => {
                self.world.stop();
                self.start_in(order);
            }
            Act::Reload => self.world.reload(self.world.setup.clone()),
            Act::Appear => self.appear(),
        }
    }

    fn poll(&mut self, partitions: u64, records: usize) {
        let ready = |number: &usize| *number > 0 || self.hidden.is_empty();
        let numbers: Vec<usize> = self.world.listed().iter().copied().filter(ready).collect();
        let wanted: Vec<(usize, usize)> =
            numbers.iter().filter(|number| partitions >> *number & 1 == 1).map(|number| (*number, records)).collect();
        // A partition of which nothing more will come may be left behind; the first one is waited for to the end.
        let ended: Vec<usize> = numbers.into_iter().filter(|number| *number > 0).collect();
        self.world.poll(&wanted, &ended);
    }

    fn wait(&mut self, span: Duration) {
        self.world.clock.set(self.world.clock.now().plus(span));
    }

    fn attempt(&mut self, courier: usize, answer: Answer) {
        let refusing = self.refusing;
        self.world.post().script = Box::new(move |message| match hash(&message.id).checked_rem(refusing) {
            Some(0) => Answer::Refuses,
            _ => answer,
        });
        self.world.attempt(courier);
    }

    /// Partitions are found in any order after a start.
    fn start_in(&mut self, order: u64) {
        let mut numbers = self.world.listed().to_vec();
        let random = &mut Random(order);
        for at in (1..numbers.len()).rev() {
            numbers.swap(at, random.below(at + 1));
        }
        self.world.list(numbers);
        self.world.start();
    }

    fn appear(&mut self) {
        if let Some(number) = self.hidden.pop() {
            let listed = self.world.listed().iter().copied().chain([number]).collect();
            self.world.list(listed);
        }
    }

    /// Everything is read, sealed, committed and delivered.
    fn end(&mut self) {
        while !self.hidden.is_empty() {
            self.appear();
        }
        self.poll(u64::MAX, usize::MAX);
        if self.input.partitions.iter().any(|events| !events.is_empty()) {
            self.world.clock.set(last(self.input).minus(secs(60)));
            let all = self.world.listed().to_vec();
            self.world.poll(&[], &all);
            self.world.clock.set(last(self.input));
            while self.world.poll(&[], &all) {}
        }
        self.world.commit();
        loop {
            for courier in 0..2 {
                while self.attempt_and_note(courier) {}
            }
            let Some(next) = self.world.next_attempt() else { break };
            let now = self.world.clock.now();
            self.world.clock.set(next.max(now));
        }
        self.world.crash();
    }

    fn attempt_and_note(&mut self, courier: usize) -> bool {
        let before = self.world.post().attempts.len();
        self.attempt(courier, Answer::Takes);
        self.world.note();
        self.world.post().attempts.len() > before
    }
}

/// The instant at which the clock, when all partitions are left behind, seals the last tick with an event and no more.
fn last(input: &Input) -> Timestamp {
    let newest = input.partitions.iter().flatten().map(|event| event.time).max().unwrap_or(0);
    let tick = input.options.tick.as_secs() as i64;
    Timestamp::from_secs((newest.div_euclid(tick) + 1) * tick).plus(input.options.lateness)
}

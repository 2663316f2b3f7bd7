//! A world for the daemon's own parts: the real engine, state file and delivery, with partitions in memory, receivers
//! that do as they are told, and a clock that stands still; all on one thread, so that everything can be repeated.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use modelwatch::clock::{Clock, Timestamp};
use modelwatch::daemon::delivery::{self, Bell, Delivery, Notifiers};
use modelwatch::daemon::engine::{Engine, NextReload, Parts, Reload};
use modelwatch::daemon::intake::Intake;
use modelwatch::daemon::snapshots::Snapshots;
use modelwatch::daemon::status::Published;
use modelwatch::daemon::trouble::Troubles;
use modelwatch::decode::{LabelFields, Mapping, Place, PredictionFields};
use modelwatch::notification::{Message, Rendering};
use modelwatch::notifier::{Notifier, SendError, Sending};
use modelwatch::pipeline::{Options, Pipeline};
use modelwatch::source::{Batch, Partition, PartitionIndex, Polled};
use modelwatch::state::{Inspection, Mark, State};
use modelwatch::watermark::Frontier;

use crate::oracle::{Event, Labels};

/// No thread writes snapshots here: the world is one thread.
const NEVER: Duration = Duration::MAX;

/// A clock that goes when it is told to; spans are measured by it, too.
#[derive(Debug)]
pub(crate) struct Virtual {
    micros: AtomicI64,
    began: (Timestamp, Instant),
}

impl Virtual {
    pub(crate) fn set(&self, now: Timestamp) {
        assert!(now >= self.now(), "time does not go back");
        self.micros.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn instant(&self) -> Instant {
        self.began.1 + self.now().since(self.began.0)
    }
}

/// What a receiver does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Takes,
    /// 4xx.
    Later,
    /// It took the message, and we never hear of it.
    Lost,
    /// 5xx.
    Refuses,
}

/// One attempt, as the receiver saw it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) at: Timestamp,
    pub(crate) message: Message,
    pub(crate) answer: Answer,
    /// Whether it was written down what came of it.
    pub(crate) noted: bool,
}

impl Attempt {
    pub(crate) fn is_received(&self) -> bool {
        matches!(self.answer, Answer::Takes | Answer::Lost)
    }
}

/// All receivers.
pub(crate) struct Post {
    pub(crate) attempts: Vec<Attempt>,
    /// How many of them were noted, or never will be.
    settled: usize,
    pub(crate) script: Box<dyn FnMut(&Message) -> Answer + Send>,
}

struct Scripted {
    recipients: Vec<String>,
    post: Arc<Mutex<Post>>,
    clock: Arc<Virtual>,
}

impl Notifier for Scripted {
    fn recipients(&self) -> Vec<String> {
        self.recipients.clone()
    }

    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        let mut post = self.post.lock().unwrap();
        let answer = (post.script)(message);
        post.attempts.push(Attempt { at: self.clock.now(), message: message.clone(), answer, noted: false });
        let later = |reason: &str| Err(SendError::Retry { reason: reason.to_owned(), after: None });
        let said = match answer {
            Answer::Takes => Ok("250 ok".to_owned()),
            Answer::Later => later("451 later"),
            Answer::Lost => later("connection lost"),
            Answer::Refuses => Err(SendError::Refused { reason: "550 no".to_owned() }),
        };
        Box::pin(async { said })
    }
}

/// What the daemon is started with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) options: Options,
    /// Names, each with its recipients.
    pub(crate) notifiers: Vec<(String, Vec<String>)>,
    pub(crate) idle_after: Duration,
    pub(crate) give_up_after: Duration,
}

/// A row of the log of transitions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Logged {
    pub(crate) at: Timestamp,
    pub(crate) since: Timestamp,
    pub(crate) rule: String,
    pub(crate) labels: Labels,
    pub(crate) change: String,
    pub(crate) incident: Option<String>,
    pub(crate) sequence: u32,
}

/// A record in a partition: when it was written, if the source says, and its value.
type Stored = (Option<Timestamp>, Vec<u8>);

struct Running {
    engine: Engine,
    next_reload: NextReload,
    deliveries: Vec<Delivery>,
    /// By the source's order.
    next_offsets: Vec<i64>,
}

pub(crate) struct World {
    pub(crate) clock: Arc<Virtual>,
    post: Arc<Mutex<Post>>,
    pub(crate) setup: Setup,
    directory: tempfile::TempDir,
    /// What the source holds, by the number of the partition.
    logs: Vec<Vec<Stored>>,
    /// The numbers of the partitions that the source knows, in its order.
    listed: Vec<usize>,
    running: Option<Running>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// A source with these partitions, all empty; nothing runs.
    pub(crate) fn new(setup: Setup, partitions: usize, now: Timestamp) -> World {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let clock = Virtual { micros: AtomicI64::new(now.as_micros()), began: (now, Instant::now()) };
        let post = Post { attempts: Vec::new(), settled: 0, script: Box::new(|_| Answer::Takes) };
        World {
            clock: Arc::new(clock),
            post: Arc::new(Mutex::new(post)),
            setup,
            directory: tempfile::Builder::new().prefix("modelwatch-world-").tempdir_in(place).unwrap(),
            logs: vec![Vec::new(); partitions],
            listed: (0..partitions).collect(),
            running: None,
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        }
    }

    pub(crate) fn post(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(crate) fn append(&mut self, partition: usize, event: &Event, recorded_at: Option<Timestamp>) {
        self.logs[partition].push((recorded_at, record(event)));
    }

    /// From now on, the source knows these partitions in this order. While the daemon runs, it can only find more.
    pub(crate) fn list(&mut self, listed: Vec<usize>) {
        if let Some(running) = &mut self.running {
            assert!(listed.starts_with(&self.listed), "a running source finds more, and forgets nothing");
            running.next_offsets.resize(listed.len(), 0);
        }
        self.listed = listed;
    }

    pub(crate) fn listed(&self) -> &[usize] {
        &self.listed
    }

    fn partitions(&self) -> Vec<Partition> {
        self.listed.iter().map(|number| partition(*number)).collect()
    }

    /// The source is polled and brings at most so many records of each of these partitions, and says of `at_end` that
    /// they are at their end if they are; the engine takes a turn. Gives whether there is more to seal.
    pub(crate) fn poll(&mut self, wanted: &[(usize, usize)], at_end: &[usize]) -> bool {
        let partitions = self.partitions();
        let running = self.running.as_mut().expect("a daemon that runs");
        let mut batch = Batch::default();
        for (index, next) in (0..).zip(&mut running.next_offsets) {
            let log = &self.logs[self.listed[index as usize]];
            let most =
                wanted.iter().find(|(number, _)| *number == self.listed[index as usize]).map_or(0, |(_, most)| *most);
            for (recorded_at, value) in log.iter().skip(usize::try_from(*next).expect("an offset")).take(most) {
                batch.push((index, *next), *recorded_at, None, Some(value), std::iter::empty::<Option<&[u8]>>());
                *next += 1;
            }
        }
        let ended = (0..).zip(&running.next_offsets).filter(|(index, next)| {
            let number = self.listed[*index as usize];
            at_end.contains(&number) && **next == self.logs[number].len() as i64
        });
        let ended = ended.map(|(index, _)| index).collect();
        let polled = Polled { batch, at_end: ended, ..Polled::default() };
        running.engine.turn(Some((&polled, &partitions, self.clock.instant())))
    }

    /// The engine takes a turn without news.
    pub(crate) fn turn(&mut self) -> bool {
        self.running.as_mut().expect("a daemon that runs").engine.turn(None)
    }

    /// Everything is gone that is not in the state file.
    pub(crate) fn crash(&mut self) {
        self.running = None;
        let mut post = self.post();
        post.settled = post.attempts.len();
    }

    /// The daemon ends in order.
    pub(crate) fn stop(&mut self) {
        self.commit();
        self.note();
        self.running = None;
    }

    /// A process that another test starts has our lock, too, until it runs its own program: that is waited for.
    fn open_state(&self) -> State {
        for _ in 0..10_000 {
            match State::open(self.directory.path(), self.clock.now()) {
                Err(modelwatch::state::Error::InUse(_)) => std::thread::sleep(Duration::from_millis(1)),
                opened => return opened.unwrap(),
            }
        }
        panic!("somebody else uses the state")
    }

    /// The daemon starts, and goes on from the state file.
    pub(crate) fn start(&mut self) {
        assert!(self.running.is_none(), "one at a time");
        let state = self.open_state();
        assert_eq!(state.set_aside, None);
        let notifiers = self.notifiers();
        let mut intake =
            Intake::new(Pipeline::new(self.setup.options.clone(), state.key()), mapping(&self.setup.options));
        let (next_offsets, ended) = resume(&state, &mut intake, &self.partitions(), &|p| {
            &self.logs[usize::try_from(p.number).expect("a number")]
        });
        let deliveries = self.deliveries(&notifiers, || state.outbox().unwrap());
        let next_reload = NextReload::default();
        let parts = Parts {
            intake,
            idle_after: self.setup.idle_after,
            receivers: delivery::receivers(&notifiers),
            trouble_receivers: Vec::new(),
            troubles: Troubles::default(),
            rendering: rendering(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            bell: Arc::new(Mutex::new(Arc::new(Bell::default()))),
            published: Published::default(),
            next_reload: Arc::clone(&next_reload),
            snapshots: Snapshots::new(self.directory.path(), NEVER),
            state,
        };
        let engine = Engine::new(parts, &next_offsets, ended);
        self.running = Some(Running { engine, next_reload, deliveries, next_offsets });
    }

    fn notifiers(&self) -> Notifiers {
        let each = self.setup.notifiers.iter().map(|(name, recipients)| {
            let (recipients, post, clock) = (recipients.clone(), Arc::clone(&self.post), Arc::clone(&self.clock));
            (name.clone(), Arc::new(Scripted { recipients, post, clock }) as Arc<dyn Notifier>)
        });
        each.collect()
    }

    fn deliveries(&self, notifiers: &Notifiers, outbox: impl Fn() -> modelwatch::state::Outbox) -> Vec<Delivery> {
        let each = notifiers.iter().map(|(name, notifier)| Delivery {
            name: name.clone(),
            notifier: Arc::clone(notifier),
            outbox: outbox(),
            others: delivery::receivers(notifiers),
            rendering: rendering(),
            give_up_after: self.setup.give_up_after,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            bell: Arc::new(Bell::default()),
            runtime: self.runtime.handle().clone(),
            unnoted: None,
        });
        each.collect()
    }

    /// The configuration is reloaded at the next turn; the couriers hand over at once.
    pub(crate) fn reload(&mut self, setup: Setup) {
        self.setup = setup;
        let notifiers = self.notifiers();
        let outbox = || State::another_outbox(self.directory.path()).unwrap();
        let deliveries = self.deliveries(&notifiers, outbox);
        self.note();
        let running = self.running.as_mut().expect("a daemon that runs");
        running.deliveries = deliveries;
        let reload = Reload {
            mapping: mapping(&self.setup.options),
            options: self.setup.options.clone(),
            idle_after: self.setup.idle_after,
            receivers: delivery::receivers(&notifiers),
            trouble_receivers: Vec::new(),
            rendering: rendering(),
            snapshot_every: NEVER,
        };
        *running.next_reload.lock().unwrap() = Some(Box::new(reload));
    }

    /// One attempt of the courier at this index, if something is due; it is not noted yet.
    pub(crate) fn attempt(&mut self, courier: usize) -> bool {
        let running = self.running.as_mut().expect("a daemon that runs");
        let courier = courier % running.deliveries.len();
        running.deliveries[courier].attempt_next().unwrap()
    }

    /// The last attempts are written down.
    pub(crate) fn note(&mut self) {
        let running = self.running.as_mut().expect("a daemon that runs");
        running.deliveries.iter_mut().for_each(|delivery| delivery.note_last().unwrap());
        let mut post = self.post();
        let settled = std::mem::replace(&mut post.settled, usize::MAX);
        post.attempts[settled..].iter_mut().for_each(|attempt| attempt.noted = true);
        post.settled = post.attempts.len();
    }

    /// When the next notice is due, if one is owed.
    pub(crate) fn next_attempt(&self) -> Option<Timestamp> {
        let running = self.running.as_ref()?;
        running.deliveries.iter().filter_map(|delivery| delivery.outbox.next_attempt(&delivery.name).unwrap()).min()
    }

    /// Commits what the engine has.
    pub(crate) fn commit(&mut self) {
        self.running.as_mut().expect("a daemon that runs").engine.end();
    }

    /// The log of transitions, from the state file.
    pub(crate) fn log(&self) -> Vec<Logged> {
        let file = rusqlite::Connection::open(self.directory.path().join("modelwatch.db")).unwrap();
        let mut query = file
            .prepare(
                "SELECT at_us, since, rule, model, dimension, segment, change, incident, sequence
                 FROM transition_log ORDER BY id",
            )
            .unwrap();
        let rows = query.query_map([], |row| {
            let segment: (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
            Ok(Logged {
                at: Timestamp::from_micros(row.get(0)?),
                since: Timestamp::parse_rfc3339(&row.get::<_, String>(1)?).expect("a time"),
                rule: row.get(2)?,
                labels: (row.get(3)?, segment.0.zip(segment.1)),
                change: row.get(6)?,
                incident: row.get(7)?,
                sequence: row.get(8)?,
            })
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// What receivers said last of the notices that were given up.
    pub(crate) fn dead_letters(&self) -> Vec<String> {
        let inspection = Inspection::open(self.directory.path()).unwrap().expect("a state file");
        let dead = inspection.undelivered().unwrap().into_iter().filter(|notice| notice.dead);
        dead.map(|notice| notice.answer.unwrap_or_default()).collect()
    }

    /// The core as of the last commit; nothing may run.
    pub(crate) fn committed(&self) -> Pipeline {
        let state = State::open(self.directory.path(), self.clock.now()).unwrap();
        let mut pipeline = Pipeline::new(self.setup.options.clone(), state.key());
        pipeline.restore(state.checkpoint().unwrap().expect("a checkpoint").saved);
        pipeline
    }
}

fn partition(number: usize) -> Partition {
    Partition { topic: "events".to_owned(), number: i32::try_from(number).expect("few") }
}

fn rendering() -> Rendering {
    Rendering { zone: jiff::tz::TimeZone::UTC, status_page: None, instance: "world".to_owned() }
}

fn mapping(options: &Options) -> Mapping {
    let at = |pointer: &str| Place::Value(pointer.to_owned());
    Mapping {
        predictions_topic: "events".to_owned(),
        labels_topic: "events".to_owned(),
        prediction: PredictionFields {
            when: None,
            id: at("/id"),
            model: Some(at("/model")),
            time: Some(at("/time")),
            prediction: Some(at("/prediction")),
            score: None,
            attributes: vec![at("/region"), at("/tier")],
        },
        label: LabelFields {
            when: None,
            id: at("/id"),
            model: options.labels_name_model.then(|| at("/model")),
            time: Some(at("/time")),
            label: at("/label"),
        },
        headers: Vec::new(),
        max_text_bytes: 200,
        max_record_bytes: 10_000,
    }
}

/// The record of an event.
fn record(event: &Event) -> Vec<u8> {
    let Event { time, model, id, value, segments } = event;
    let mut fields = serde_json::json!({ "id": id, "time": time });
    let role = if segments.is_some() { "prediction" } else { "label" };
    fields[role] = (*value).into();
    if let Some(model) = model {
        fields["model"] = model.as_str().into();
    }
    for (name, segment) in ["region", "tier"].iter().zip(segments.iter().flatten()) {
        if let Some(segment) = segment {
            fields[*name] = segment.as_str().into();
        }
    }
    fields.to_string().into_bytes()
}

/// What a restart does (`daemon/restart.rs`), on partitions in memory: restores the core, fills the join from the marks
/// on, and gives the offsets where reading goes on and the transitions of alerts that nobody watches any more.
fn resume<'l>(
    state: &State,
    intake: &mut Intake,
    partitions: &[Partition],
    log: &dyn Fn(&Partition) -> &'l Vec<Stored>,
) -> (Vec<i64>, Vec<modelwatch::alert::Transition>) {
    intake.expect_partitions(partitions);
    let Some(checkpoint) = state.checkpoint().unwrap() else { return (vec![0; partitions.len()], Vec::new()) };
    let former = |partition: &Partition| checkpoint.positions.iter().position(|(known, _)| known == partition);
    let order: Vec<Option<usize>> = partitions.iter().map(former).collect();
    let positions: Vec<i64> = order.iter().map(|at| at.map_or(0, |at| checkpoint.positions[at].1)).collect();
    let ended = intake.pipeline.restore(checkpoint.saved.with_partitions(&order));
    let horizon = intake.pipeline.join_horizon().unwrap_or(Timestamp::MIN);
    let mut marks: HashMap<Partition, Vec<Mark>> = HashMap::new();
    for mark in state.marks_since(horizon).unwrap() {
        marks.entry(mark.partition.clone()).or_default().push(mark);
    }
    let unseen = Frontier { newest: Timestamp::MIN, floor: Timestamp::MIN, idle: false };
    let first = |partition: &Partition| marks.get(partition).and_then(|marks| marks.first());
    let ends: Vec<Timestamp> = (0..)
        .zip(partitions)
        .map(|(index, _)| intake.pipeline.frontier(index).map_or(Timestamp::MAX, |frontier| frontier.newest))
        .collect();
    let frontiers = partitions.iter().map(|p| first(p).map_or(unseen, |mark| mark.frontier)).collect();
    let before = intake.pipeline.begin_rebuild(frontiers);
    for ((index, partition), (end, position)) in (0..).zip(partitions).zip(ends.iter().zip(&positions)) {
        let from = first(partition).map_or(*position, |mark| mark.next_offset);
        let mut marks = marks.get(partition).map(Vec::as_slice).unwrap_or_default();
        for offset in from..*position {
            while let Some((mark, rest)) = marks.split_first().filter(|(mark, _)| mark.next_offset <= offset) {
                intake.pipeline.raise(index, mark.frontier.floor);
                marks = rest;
            }
            let bound = marks.first().map_or(*end, |mark| mark.frontier.newest);
            rebuild(intake, index, offset, &log(partition)[usize::try_from(offset).expect("an offset")], bound);
        }
        intake.pipeline.advance_rebuild(&[index]);
    }
    intake.pipeline.end_rebuild(before);
    (positions, ended)
}

fn rebuild(intake: &mut Intake, index: PartitionIndex, offset: i64, (recorded_at, value): &Stored, bound: Timestamp) {
    let mut batch = Batch::default();
    batch.push((index, offset), *recorded_at, None, Some(value), std::iter::empty::<Option<&[u8]>>());
    let bound = bound.minus(crate::given::options(Vec::new(), Vec::new()).max_skew);
    intake.take(batch.records(), |intake, decoded| intake.rebuild_record(decoded, bound));
}

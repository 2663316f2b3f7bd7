//! What a clock that is put ahead or back by an hour does: to the engine, and to notices that are owed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use modelwatch::clock::{Clock, Timestamp};
use modelwatch::config::{Defaults, parse};
use modelwatch::daemon::engine::{Engine, Input, NextReload, Parts};
use modelwatch::daemon::intake::Intake;
use modelwatch::daemon::rendering;
use modelwatch::daemon::snapshots::Snapshots;
use modelwatch::daemon::status::{Published, Status};
use modelwatch::daemon::trouble::Troubles;
use modelwatch::notification::Receiver;
use modelwatch::pipeline::Pipeline;
use modelwatch::source::{Partition, Polled};
use modelwatch::state::State;
use rusqlite::Connection;

/// An hour ahead.
const HOUR: i64 = 3_600;
/// The time at which the tests begin.
const BEGIN: i64 = 1_000_000;
/// Seconds between two steps.
const STEP: i64 = 10;

#[derive(Debug)]
struct Manual(AtomicI64);

impl Clock for Manual {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// What an engine made of it all: the transitions, and what it shows in the end.
#[derive(Debug)]
struct Ran {
    transitions: Vec<(String, String)>,
    held: i64,
    last: Status,
}

/// Feeds an engine an event of each kind in each step with `flows`, and nothing but the ends in the others, while the
/// clock is off by `offset`, in seconds.
fn run(flows: impl Fn(i64) -> bool, offset: impl Fn(i64) -> i64) -> Ran {
    const STEPS: i64 = 180;
    let text = include_str!("../../config/examples/eta-regression.toml");
    let (config, _) = parse("eta", text, &Defaults::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(Manual(AtomicI64::new(BEGIN)));
    let state = State::open(directory.path(), clock.now()).unwrap();
    let topics = ["eta-predictions", "deliveries"];
    let partitions: Arc<[Partition]> = topics.map(|topic| Partition { topic: topic.to_owned(), number: 0 }).into();
    let mut intake = Intake::new(Pipeline::new(config.pipeline.clone(), &[0; 16]), config.mapping.clone());
    intake.expect_partitions(&partitions);
    let published = Published::default();
    let parts = Parts {
        intake,
        state,
        snapshots: Snapshots::new(directory.path(), config.snapshot_every),
        idle_after: config.idle_after,
        receivers: vec![Receiver { notifier: "oncall".to_owned(), recipient: "a@example.org".to_owned() }],
        trouble_receivers: Vec::new(),
        troubles: Troubles::default(),
        rendering: rendering(&config),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        bell: Arc::new(Mutex::new(Arc::default())),
        published: published.clone(),
        next_reload: NextReload::default(),
    };
    let (inbox, inputs) = sync_channel(1);
    let began = Instant::now();
    let (beat, beats) = channel();
    let engine = std::thread::spawn(move || {
        // Nobody may listen any more at the end.
        Engine::new(parts, &[0, 0], Vec::new()).run(&inputs, || {
            let _unheard = beat.send(());
        });
    });
    let mut count = 0;
    for step in 0..STEPS {
        let second = BEGIN + step * STEP;
        clock.0.store(second + offset(step), Ordering::SeqCst);
        let mut polled = Polled::default();
        if flows(step) {
            let at = Timestamp::from_secs(second);
            // The second half is off by ten minutes.
            let prediction = if step < STEPS / 2 { 1.0 } else { 11.0 };
            let values = [
                format!(r#"{{"order_id": {step}, "predicted_at": "{at}", "eta_minutes": {prediction}}}"#),
                format!(r#"{{"order_id": {step}, "delivered_at": "{at}", "actual_minutes": 1.0}}"#),
            ];
            for (partition, value) in (0..).zip(&values) {
                polled.batch.push((partition, count), Some(at), None, Some(value.as_bytes()), []);
            }
            count += 1;
        } else {
            polled.at_end = vec![0, 1];
        }
        let passed = Duration::from_secs(u64::try_from(step * STEP).unwrap());
        inbox.send(Input::Polled(Box::new(polled), Arc::clone(&partitions), began + passed)).unwrap();
        let is_taken_in = || {
            let status = published.latest();
            status.at == clock.now() && status.positions.iter().all(|(_, next)| *next == count)
        };
        while !is_taken_in() {
            beats.recv().unwrap();
        }
    }
    inbox.send(Input::Stop).unwrap();
    engine.join().unwrap();
    let file = Connection::open(directory.path().join("modelwatch.db")).unwrap();
    let mut query = file.prepare("SELECT at, change FROM transition_log ORDER BY id").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let held = file.query_row("SELECT count(*) FROM outbox WHERE state = 'held'", [], |row| row.get(0)).unwrap();
    Ran { transitions: rows.map(Result::unwrap).collect(), held, last: (*published.latest()).clone() }
}

/// While events flow, the clock decides nothing.
#[test]
fn an_hour_ahead_or_back_changes_nothing_while_events_flow() {
    let calm = run(|_| true, |_| 0);
    let fired = calm.transitions.iter().filter(|(_, change)| change == "firing").count();
    assert!(fired > 0, "{:?}", calm.transitions);
    let while_stepped = |step: i64| (60..120).contains(&step);
    for sign in [HOUR, -HOUR] {
        for (what, lasts) in [("for a while", false), ("for good", true)] {
            let offset = |step| if while_stepped(step) || lasts && step >= 60 { sign } else { 0 };
            let stepped = run(|_| true, offset);
            assert_eq!(stepped.transitions, calm.transitions, "{sign} {what}");
            assert_eq!(stepped.last.counts, calm.last.counts, "{sign} {what}");
            assert!(stepped.last.rejected.is_empty(), "{:?}", stepped.last.rejected);
            assert_eq!(stepped.last.view.sealed_until, calm.last.view.sealed_until);
            assert_eq!((stepped.held, stepped.last.catching_up), (0, None), "nothing waits for a digest in vain");
        }
    }
}

/// While nothing flows, the clock alone moves event time: one that jumps ahead and back within a minute is no reason to
/// take what comes next for late.
#[test]
fn a_clock_that_is_an_hour_ahead_for_a_moment_closes_no_tick() {
    let flows = |step: i64| !(40..100).contains(&step);
    let calm = run(flows, |_| 0);
    let stepped = run(flows, |step| if (60..65).contains(&step) { HOUR } else { 0 });
    assert_eq!(stepped.last.counts.late_events, 0);
    assert_eq!(stepped.transitions, calm.transitions);
    assert_eq!(stepped.last.view.sealed_until, calm.last.view.sealed_until);
}

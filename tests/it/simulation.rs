//! Seeded random runs: whatever the interleaving, the batches, reloads and restarts, the core says the same, and it
//! says what the oracle says. So does the whole daemon ([`lived`]), killed between any two steps and with receivers in
//! every mood, and everybody gets exactly what is owed.
//!
//! `MODELWATCH_SEED=7` runs one seed, `MODELWATCH_SEEDS=100000` that many. A failure prints the input and the schedule,
//! shrunk.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use modelwatch::alert::Transition;
use modelwatch::clock::Timestamp;
use modelwatch::pipeline::{Counts, ModelView, Pipeline, Saved};
use modelwatch::watermark::Frontier;

use crate::given::{self, KEY};
use crate::oracle::{self, Change, Event};

mod input;
mod lived;

use input::{Input, Random, input};

/// How many seeds a test run takes.
const SEEDS: u64 = 10_000;
/// One in so many of them is lived through by the whole daemon.
const LIVED_ONE_IN: u64 = 2;

/// What must be the same in all runs of one input.
struct Ran {
    transitions: Vec<Transition>,
    saved: Vec<u8>,
    models: Vec<ModelView>,
    readings: String,
    counts: Counts,
}

/// How the input is brought to the core.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// One partition after the other, and sealed at the end.
    Whole,
    /// A random interleaving, sealed now and then.
    Interleaved { seed: u64 },
    /// The same, and reloaded with the same options or restarted from a checkpoint now and then.
    Disturbed { seed: u64 },
}

fn take(pipeline: &mut Pipeline, partition: u32, event: &Event, rebuild: bool) {
    let id = event.id.to_string();
    let time = Timestamp::from_secs(event.time);
    let model = event.model.as_deref();
    let events = match &event.segments {
        Some(segments) => {
            let attributes: Vec<Option<&str>> = segments.iter().map(Option::as_deref).collect();
            given::prediction(model.expect("a model"), &id, time, event.value, &attributes)
        }
        None => given::label(model, &id, time, event.value),
    };
    if rebuild {
        pipeline.rebuild(partition, &events, Timestamp::MAX);
    } else {
        pipeline.take(partition, &events, Timestamp::MAX).expect("an event that can be used");
    }
}

fn run(input: &Input, way: Way) -> Ran {
    let mut pipeline = Pipeline::new(input.options.clone(), KEY);
    pipeline.expect_partitions(input.partitions.len());
    let mut transitions = Vec::new();
    let mut positions = vec![0; input.partitions.len()];
    let (seed, disturbed) = match way {
        Way::Whole => (0, false),
        Way::Interleaved { seed } => (seed, false),
        Way::Disturbed { seed } => (seed, true),
    };
    let random = &mut Random(seed);
    let batch = 1 + random.below(30);
    let mut snapshot: Option<Snapshot> = None;
    loop {
        let open: Vec<usize> = (0..positions.len()).filter(|p| positions[*p] < input.partitions[*p].len()).collect();
        let Some(first) = open.first() else { break };
        let partition = if matches!(way, Way::Whole) { *first } else { open[random.below(open.len())] };
        let run = if matches!(way, Way::Whole) { usize::MAX } else { 1 + random.below(batch) };
        for event in input.partitions[partition].iter().skip(positions[partition]).take(run) {
            take(&mut pipeline, u32::try_from(partition).expect("few"), event, false);
            positions[partition] += 1;
        }
        if !matches!(way, Way::Whole) && random.once_in(3) {
            transitions.extend(pipeline.advance(Timestamp::MAX));
            while pipeline.owes_seals() {
                transitions.extend(pipeline.advance(Timestamp::MAX));
            }
        }
        if disturbed && random.once_in(8) {
            let ended = pipeline.reload(input.options.clone(), KEY);
            assert_eq!(ended, [], "a reload of the same options ends nothing");
        }
        if disturbed && random.once_in(8) {
            let frontiers = (0..).map_while(|partition| pipeline.frontier(partition)).collect();
            let parts = pipeline.image().parts().collect();
            snapshot = Some(Snapshot { parts, frontiers, positions: positions.clone() });
        }
        if disturbed && random.once_in(8) {
            pipeline = restart(input, &pipeline, &positions, snapshot.as_ref());
        }
    }
    transitions.extend(pipeline.finish());
    while pipeline.owes_seals() {
        transitions.extend(pipeline.finish());
    }
    let view = pipeline.view(usize::MAX);
    let readings = format!("{:?} {:?}", view.models, view.alerts);
    let saved = postcard::to_stdvec(&pipeline.save()).expect("encodable");
    Ran { transitions, saved, models: view.models, readings, counts: pipeline.counts() }
}

/// The join table at some instant.
struct Snapshot {
    parts: Vec<Vec<u8>>,
    frontiers: Vec<Frontier>,
    positions: Vec<usize>,
}

/// A core from a checkpoint, its table filled from the snapshot, if there is one, and the records after it.
fn restart(input: &Input, before: &Pipeline, positions: &[usize], snapshot: Option<&Snapshot>) -> Pipeline {
    let bytes = postcard::to_stdvec(&before.save()).expect("encodable");
    let saved: Saved = postcard::from_bytes(&bytes).expect("decodable");
    assert!(saved == before.save(), "a checkpoint reads back as it was written");
    let mut pipeline = Pipeline::new(input.options.clone(), KEY);
    assert_eq!(pipeline.restore(saved), [], "nothing ends by a restart");
    let unseen = Frontier { newest: Timestamp::MIN, floor: Timestamp::MIN, idle: false };
    let mut frontiers = vec![unseen; positions.len()];
    let mut begin = vec![0; positions.len()];
    if let Some(Snapshot { parts, frontiers: known, positions }) = snapshot {
        let reading = pipeline.read_image(&parts[0]).expect("an image");
        parts[1..].iter().for_each(|part| pipeline.read_part(&reading, part).expect("a part"));
        frontiers[..known.len()].copy_from_slice(known);
        begin.clone_from(positions);
    }
    let rebuilding = pipeline.begin_rebuild(frontiers);
    for (partition, (events, position)) in (0..).zip(input.partitions.iter().zip(positions)) {
        for event in &events[begin[partition as usize]..*position] {
            take(&mut pipeline, partition, event, true);
        }
    }
    pipeline.end_rebuild(rebuilding);
    assert!(pipeline.save() == before.save(), "a restart changes nothing");
    pipeline
}

fn line(transition: &Transition) -> String {
    let seconds = |at: Timestamp| at.as_micros() / 1_000_000;
    let Transition { rule, model, segment, change, at, since, .. } = transition;
    let labels = (model.clone(), segment.clone());
    let (rule, change) = (rule.clone(), change.name().to_owned());
    Change { at: seconds(*at), since: seconds(*since), rule, labels, change }.to_string()
}

/// Runs an input in several ways; `Err` says what differs.
fn prove(input: &Input, seed: u64) -> Result<(), String> {
    let whole = run(input, Way::Whole);
    let way = if seed.is_multiple_of(4) { Way::Interleaved { seed } } else { Way::Disturbed { seed } };
    let other = run(input, way);
    let lines = |ran: &Ran| ran.transitions.iter().map(line).collect::<Vec<_>>();
    check_lines(&format!("{way:?}: transitions"), &lines(&whole), &lines(&other))?;
    check(&format!("{way:?}: counts"), &whole.counts, &other.counts)?;
    check(&format!("{way:?}: readings"), &whole.readings, &other.readings)?;
    if (&whole.transitions, &whole.saved) != (&other.transitions, &other.saved) {
        return Err(format!("{way:?}: saved bytes or details of transitions differ"));
    }
    let mut transitions: Vec<String> = whole.transitions.iter().map(line).collect();
    transitions.sort();
    let said = oracle::ask(&input.options, &input.partitions);
    let mut expected: Vec<String> = said.transitions.iter().map(Change::to_string).collect();
    expected.sort();
    check_lines("transitions by the oracle", &expected, &transitions)?;
    let counts = whole.counts;
    let join = counts.join;
    let counted = [counts.late_events, join.duplicate_predictions, join.expired_predictions, join.matched_labels];
    let matched = said.matched_labels as u64;
    let expected = [said.late_events, said.duplicate_predictions, said.expired_predictions, matched];
    check("late, duplicate, expired, matched by the oracle", &expected, &counted)?;
    prove_readings(&whole.models, &said)?;
    // Every second one, to stay within four minutes for ten thousand: a life costs as much as the rest.
    if seed.is_multiple_of(LIVED_ONE_IN) { lived::prove(input, &whole, &said) } else { Ok(()) }
}

fn prove_readings(models: &[ModelView], said: &oracle::Said) -> Result<(), String> {
    let mut read = 0;
    for model in models {
        for reading in &model.readings {
            let key = ((model.name.clone(), reading.segment.clone()), reading.indicator);
            let (value, n_eff) = said.readings.get(&key).copied().unwrap_or((None, 0.0));
            let got = reading.value.ok().map(|estimate| estimate.value);
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0);
            let same = got.is_some() == value.is_some() && near(got.unwrap_or(0.0), value.unwrap_or(0.0));
            let same_n = near(reading.n_eff, n_eff) || key.1 == "prediction_rate" && got == Some(0.0);
            if !same || !same_n {
                return Err(format!("{key:?}: oracle {value:?} n_eff {n_eff}, core {got:?} n_eff {}", reading.n_eff));
            }
            read += usize::from(got.is_some());
        }
    }
    let expected = said.readings.values().filter(|(value, _)| value.is_some()).count();
    check("number of readings", &expected, &read)
}

fn check<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got { Ok(()) } else { Err(format!("{what}:\n expected {expected:#?}\n      got {got:#?}")) }
}

/// Like [`check`], and shows only where two lists part.
fn check_lines(what: &str, expected: &[String], got: &[String]) -> Result<(), String> {
    let same = expected.iter().zip(got).take_while(|(one, other)| one == other).count();
    let rest = |lines: &[String]| lines.iter().skip(same).take(8).cloned().collect::<Vec<_>>();
    check(&format!("{what}, after {same} that are the same"), &rest(expected), &rest(got))
}

fn prove_or_panic(input: &Input, seed: u64) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| prove(input, seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

/// Leaves out what is not needed to fail, as far as that is found in half a minute.
fn shrink(mut input: Input, seed: u64) -> Input {
    let deadline = Instant::now() + Duration::from_secs(30);
    for partition in 0..input.partitions.len() {
        leave_out(&mut input, seed, deadline, |input| &mut input.partitions[partition]);
    }
    leave_out(&mut input, seed, deadline, |input| &mut input.schedule.acts);
    input
}

/// Leaves elements of one list out, half of them at once, then fewer, as long as it still fails.
fn leave_out<T>(input: &mut Input, seed: u64, deadline: Instant, list: impl Fn(&mut Input) -> &mut Vec<T>) {
    let mut chunk = list(input).len().div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        while from < list(input).len() && Instant::now() < deadline {
            let mut less = input.clone();
            let to = (from + chunk).min(list(&mut less).len());
            list(&mut less).drain(from..to);
            if prove_or_panic(&less, seed).is_err() { *input = less } else { from += chunk }
        }
        chunk /= 2;
    }
}

/// The input as a time line, for the reader of a failure.
fn time_line(input: &Input) -> String {
    let mut text = format!(
        "lateness {:?}, labels name their model: {}\n",
        input.options.lateness, input.options.labels_name_model
    );
    for (partition, events) in input.partitions.iter().enumerate() {
        for Event { time, model, id, value, segments } in events {
            let model = model.as_deref().unwrap_or("(any)");
            let what = if segments.is_some() { "predicts" } else { "label" };
            let segments = segments.as_ref().map_or(String::new(), |segments| format!("{segments:?}"));
            writeln!(text, "partition {partition} at {time:>4} {model} #{id} {what} {value} {segments}")
                .expect("a text");
        }
    }
    writeln!(text, "then {:#?}", input.schedule).expect("a text");
    text
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}

/// Runs every seed on all cores; gives the lowest one that fails.
fn first_failure(seeds: std::ops::Range<u64>) -> Option<u64> {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || failed.load(Ordering::Relaxed) < seed {
                return;
            }
            if prove_or_panic(&input(seed), seed).is_err() {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    Some(failed.into_inner()).filter(|seed| *seed < u64::MAX)
}

#[test]
fn every_interleaving_reload_restart_and_crash_says_what_the_oracle_says() {
    let seeds = match number("MODELWATCH_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MODELWATCH_SEEDS").unwrap_or(SEEDS),
    };
    if let Some(seed) = first_failure(seeds) {
        let small = shrink(input(seed), seed);
        let problem = prove_or_panic(&small, seed).expect_err("it still fails");
        panic!("MODELWATCH_SEED={seed}\n{}\n{problem}", time_line(&small));
    }
}

/// A simulation in which nothing happens proves nothing.
#[test]
fn the_simulation_sees_every_kind_of_transition() {
    let mut seen: std::collections::BTreeSet<&str> = std::collections::BTreeSet::new();
    let mut counts = [0; 6];
    for seed in 0..40 {
        let ran = run(&input(seed), Way::Whole);
        seen.extend(ran.transitions.iter().map(|transition| transition.change.name()));
        let join = ran.counts.join;
        let found = [
            ran.counts.late_events,
            join.duplicate_predictions,
            join.expired_predictions,
            join.duplicate_labels,
            join.late_labels,
            join.orphan_labels,
        ];
        counts.iter_mut().zip(found).for_each(|(sum, count)| *sum += count);
    }
    let wanted = "calmed data back firing labels late no data pending recovering relapsed repeated resolved";
    let seen: Vec<&str> = seen.into_iter().collect();
    assert_eq!(seen.join(" "), wanted);
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
}

#[test]
fn the_simulation_sees_every_kind_of_trouble() {
    let mut sums = [0; 7];
    for seed in 0..100 {
        let happened = lived::happened(&lived::live(&input(seed)));
        sums.iter_mut().zip(happened).for_each(|(sum, count)| *sum += count);
    }
    assert!(sums.iter().all(|sum| *sum > 10), "{sums:?}");
}

//! What a restart finds: another grid of ticks, partitions that were left behind.

use modelwatch::clock::Timestamp;
use modelwatch::event::Task;
use modelwatch::pipeline::{Options, Pipeline};
use modelwatch::rule::Bound;
use modelwatch::smoothing::Smoothing;

use crate::given::{KEY, condition, label, model, options, prediction, rule, secs};

const SMOOTHING: Smoothing = Smoothing::HalfLife(std::time::Duration::from_secs(60));

fn rmse_above_one() -> Options {
    let watch = rule("r", "eta", vec![condition("rmse", SMOOTHING, Bound::Above(1.0), 1.0)]);
    options(vec![model("eta", Task::Regression, SMOOTHING, &["rmse"])], vec![watch])
}

/// A prediction that is off by `error`, and its label, each second in `seconds`.
fn feed(pipeline: &mut Pipeline, seconds: std::ops::Range<i64>, error: f64) -> Vec<String> {
    let mut changes = Vec::new();
    for second in seconds {
        let (id, at) = (second.to_string(), Timestamp::from_secs(second));
        pipeline.take(0, &prediction("eta", &id, at, error, &[]), at).unwrap();
        pipeline.take(0, &label(Some("eta"), &id, at, 0.0), at).unwrap();
        let transitions = pipeline.advance(at);
        changes.extend(transitions.iter().map(|t| format!("{} {}", t.at.as_micros() / 1_000_000, t.change.name())));
    }
    changes
}

#[test]
fn another_tick_keeps_incidents_and_time_and_begins_the_sums_anew() {
    for tick in [2, 60] {
        let mut pipeline = Pipeline::new(rmse_above_one(), KEY);
        assert_eq!(feed(&mut pipeline, 1_000_000..1_000_120, 3.0), ["1000010 firing"]);
        let sealed = pipeline.sealed_until().unwrap();
        let mut other = Pipeline::new(Options { tick: secs(tick), ..rmse_above_one() }, KEY);
        assert_eq!(other.restore(pipeline.save()), []);
        let moved = other.sealed_until().unwrap();
        assert!(moved <= sealed && sealed.since(moved) < secs(tick), "{tick}: from {sealed} to {moved}");
        let changes = feed(&mut other, 1_000_120..1_000_400, 0.5);
        assert_eq!(changes.len(), 1, "{tick}: {changes:?}");
        assert!(changes[0].ends_with(" resolved"), "{tick}: measured with new sums, {changes:?}");
    }
}

#[test]
fn a_partition_that_was_left_behind_is_waited_for_again() {
    let mut pipeline = Pipeline::new(rmse_above_one(), KEY);
    feed(&mut pipeline, 1_000_000..1_000_060, 0.5);
    pipeline.idle(0);
    let mut restarted = Pipeline::new(rmse_above_one(), KEY);
    restarted.restore(pipeline.save());
    let woken = restarted.wake(0).unwrap();
    assert!(!woken.idle && woken.floor >= Timestamp::from_secs(1_000_050));
    assert_eq!(restarted.wake(0), None, "it is awake");
    let sealed = restarted.sealed_until();
    restarted.advance(Timestamp::from_secs(1_009_999));
    assert_eq!(restarted.sealed_until(), sealed, "the clock must not seal ahead of what is still to be read");
    // An hour's backlog counts at its own time.
    feed(&mut restarted, 1_000_060..1_000_090, 0.5);
    assert_eq!(restarted.counts().late_events, 0);
}

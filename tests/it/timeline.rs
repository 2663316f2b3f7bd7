//! Acceptance: time lines as text in, transitions as text out. An unexpected transition fails as a missing one does.
//!
//! ```text
//! at 1m predictions eta 100 region=eu      so many predictions; with `time=10s`: of that earlier time
//! at 6m labels eta 100 err=0.5             labels for the oldest so many, each off by `err`
//! from 1m to 9m every 10s eta 5 err=0.5    predictions with their labels, at every step
//! at 3m reload                             with the second set of options
//! want 7m firing mae eta                   at the end of that tick
//! until 20m                                event time goes on to there
//! ```
//!
//! Every line is played on the core alone, and on the whole daemon ([`daemon`]), there once more for every step after
//! which it is killed: the transitions must be the same. Lines that tell what becomes of notices are in [`notices`].

use std::time::Duration;

use modelwatch::clock::Timestamp;
use modelwatch::event::Task;
use modelwatch::pipeline::{Options, Pipeline};
use modelwatch::rule::{Bound, Condition, Rule};
use modelwatch::smoothing::Smoothing;

use crate::given::{self, KEY, secs};

mod core;
mod daemon;
mod grammar;
mod notices;

use grammar::side_by_side;

/// Plays a time line and compares the transitions with what it wants. `next` is for `reload`.
#[track_caller]
fn play(options: Options, next: Option<Options>, text: &str) {
    let script = grammar::read(text);
    let got = core::transitions(&options, next.clone(), &script);
    if got != script.wanted {
        panic!("\n{}", side_by_side(&got, &script.wanted));
    }
    daemon::check_transitions(&options, next.as_ref(), &script);
}

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

const HALF_LIFE: Smoothing = Smoothing::HalfLife(Duration::from_secs(10));

fn mae_above(limit: f64, clear: f64) -> Condition {
    Condition { clear: Bound::Above(clear), ..given::condition("mae", HALF_LIFE, Bound::Above(limit), 0.0) }
}

fn mae() -> Rule {
    given::rule("mae", "eta", vec![mae_above(4.0, 2.0)])
}

fn with(rules: Vec<Rule>) -> Options {
    let mut eta = given::model("eta", Task::Regression, HALF_LIFE, &["mae"]);
    eta.dimensions = vec![("region".to_owned(), 0)];
    given::options(vec![eta], rules)
}

#[track_caller]
fn check(rule: Rule, text: &str) {
    play(with(vec![rule]), None, text);
}

#[test]
fn a_breach_fires_at_the_end_of_its_tick_and_resolves_when_measured_good() {
    check(
        mae(),
        "from 0s to 1m every 10s eta 5 err=1
         from 1m to 2m every 10s eta 5 err=9
         from 2m to 4m every 10s eta 5 err=1
         until 10m
         want 1m10s firing mae eta -> oncall
         want 2m30s resolved mae eta -> oncall",
    );
}

#[test]
fn exactly_at_the_threshold_is_no_breach_and_exactly_at_clear_is_a_recovery() {
    check(
        mae(),
        "from 0s to 1m every 10s eta 5 err=4
         until 2m",
    );
    let condition = Condition {
        clear: Bound::Above(2.0),
        ..given::condition("mae", Smoothing::Window(secs(10)), Bound::Above(4.0), 5.0)
    };
    check(
        given::rule("mae", "eta", vec![condition]),
        "at 0s predictions eta 5
         at 0s labels eta 5 err=5
         at 20s predictions eta 5
         at 20s labels eta 5 err=2
         until 1m
         want 10s firing mae eta -> oncall
         want 30s resolved mae eta -> oncall",
    );
}

#[test]
fn for_holds_a_breach_back_and_a_short_one_calms() {
    check(
        Rule { hold: secs(30), ..mae() },
        "from 0s to 1m every 10s eta 5 err=1
         from 1m to 1m10s every 10s eta 5 err=9
         from 1m10s to 3m every 10s eta 5 err=0
         from 3m to 4m every 10s eta 5 err=9
         until 5m
         want 1m10s pending mae eta
         want 1m20s calmed mae eta
         want 3m10s pending mae eta
         want 3m40s firing mae eta -> oncall",
    );
}

#[test]
fn between_the_thresholds_nothing_changes() {
    check(
        mae(),
        "from 0s to 1m every 10s eta 5 err=9
         from 1m to 5m every 10s eta 5 err=3
         from 5m to 6m every 10s eta 5 err=0
         until 7m
         want 10s firing mae eta -> oncall
         want 5m10s resolved mae eta -> oncall",
    );
}

#[test]
fn a_recovery_must_last_and_a_relapse_is_told() {
    check(
        Rule { recover_for: secs(60), ..mae() },
        "from 0s to 1m every 10s eta 5 err=9
         from 1m to 1m40s every 10s eta 5 err=0
         from 1m40s to 2m every 10s eta 5 err=9
         from 2m to 5m every 10s eta 5 err=0
         until 6m
         want 10s firing mae eta -> oncall
         want 1m30s recovering mae eta -> oncall
         want 1m50s relapsed mae eta -> oncall
         want 2m20s recovering mae eta -> oncall
         want 3m20s resolved mae eta -> oncall",
    );
}

#[test]
fn too_few_samples_say_nothing() {
    let mut rule = mae();
    rule.conditions[0].min_samples = 8.0;
    rule.conditions[0].smoothing = Smoothing::Window(secs(60));
    check(
        rule,
        "at 0s predictions eta 7
         at 0s labels eta 7 err=9
         at 2m predictions eta 7
         at 2m labels eta 7 err=9
         at 2m10s predictions eta 1
         at 2m10s labels eta 1 err=9
         until 10m
         want 2m20s firing mae eta -> oncall",
    );
}

#[test]
fn no_predictions_at_all_is_no_data_even_from_the_start() {
    check(
        Rule { no_data_after: Some(secs(300)), ..mae() },
        "until 1s
         until 10m
         at 12m predictions eta 5
         at 12m labels eta 5
         until 16m
         want 5m no data mae eta -> oncall
         want 12m10s data back mae eta -> oncall",
    );
}

#[test]
fn predictions_without_labels_are_labels_late() {
    check(
        Rule { no_data_after: Some(secs(120)), ..mae() },
        "from 0s to 1m every 10s eta 5 err=1
         at 1m10s predictions eta 5
         at 2m predictions eta 5
         at 2m50s predictions eta 5
         at 4m labels eta 15
         until 5m
         want 3m labels late mae eta -> oncall
         want 4m10s data back mae eta -> oncall",
    );
}

#[test]
fn no_data_never_resolves_a_firing_incident() {
    check(
        Rule { no_data_after: Some(secs(120)), ..mae() },
        "from 0s to 1m every 10s eta 5 err=9
         until 5h
         from 5h to 301m every 10s eta 5 err=0
         until 302m
         want 10s firing mae eta -> oncall
         want 3m no data mae eta -> oncall
         want 5h10s data back mae eta -> oncall
         want 5h10s resolved mae eta -> oncall",
    );
}

#[test]
fn stale_evidence_neither_fires_nor_resolves() {
    // One bad tick, then nothing: the value stays beyond the threshold, but nothing confirms it.
    check(
        Rule { hold: secs(60), recover_for: secs(60), ..mae() },
        "at 0s predictions eta 5
         at 0s labels eta 5 err=9
         until 30m
         want 10s pending mae eta",
    );
    check(
        Rule { hold: secs(60), recover_for: secs(60), ..mae() },
        "from 0s to 2m every 10s eta 5 err=9
         from 2m to 2m30s every 10s eta 5 err=0
         until 30m
         want 10s pending mae eta
         want 1m10s firing mae eta -> oncall
         want 2m30s recovering mae eta -> oncall",
    );
}

#[test]
fn a_firing_alert_is_repeated() {
    check(
        Rule { repeat_every: Some(secs(3600)), ..mae() },
        "from 0s to 150m every 1m eta 5 err=9
         until 151m
         want 10s firing mae eta -> oncall
         want 1h10s repeated mae eta -> oncall
         want 2h10s repeated mae eta -> oncall",
    );
}

#[test]
fn a_short_and_a_long_half_life_must_agree() {
    let long = given::condition("mae", Smoothing::HalfLife(secs(600)), Bound::Above(2.0), 0.0);
    check(
        given::rule("both", "eta", vec![mae_above(4.0, 4.0), long]),
        // A short burst moves the short one only; when it lasts, both; when it ends, the short one ends it. The long
        // one is at 1 + 8·(1 − 2^(−t/600)) then, which is 2 after 116 s, a bit less by what is left of the burst.
        "from 0s to 60m every 10s eta 5 err=1
         from 60m to 61m every 10s eta 5 err=9
         from 61m to 90m every 10s eta 5 err=1
         from 90m to 100m every 10s eta 5 err=9
         from 100m to 110m every 10s eta 5 err=1
         until 111m
         want 1h31m50s firing both eta -> oncall
         want 1h40m20s resolved both eta -> oncall",
    );
}

#[test]
fn every_region_is_watched_by_itself() {
    check(
        Rule { by: Some("region".to_owned()), ..mae() },
        "from 0s to 5m every 10s eta 50 err=1 region=us
         from 0s to 1m every 10s eta 5 err=1 region=eu
         from 1m to 2m every 10s eta 5 err=9 region=eu
         from 2m to 3m every 10s eta 5 err=0 region=eu
         until 6m
         want 1m10s firing mae eta region=eu -> oncall
         want 2m30s resolved mae eta region=eu -> oncall",
    );
}

#[test]
fn traffic_that_stops_fires_an_alert_on_the_rate() {
    for smoothing in [Smoothing::HalfLife(secs(60)), Smoothing::Window(secs(60))] {
        let rate = given::condition("prediction_rate", smoothing, Bound::Below(0.25), 5.0);
        let window = matches!(smoothing, Smoothing::Window(_));
        let (pending, fired) = if window { ("10m40s", "12m40s") } else { ("11m", "13m") };
        let resolved = if window { "30m30s" } else { "31m" };
        check(
            Rule { hold: secs(120), ..given::rule("rate", "eta", vec![rate]) },
            &format!(
                "from 0s to 10m every 10s eta 5
                 until 30m
                 from 30m to 35m every 10s eta 5
                 until 35m
                 want {pending} pending rate eta
                 want {fired} firing rate eta -> oncall
                 want {resolved} resolved rate eta -> oncall"
            ),
        );
    }
}

#[test]
fn a_removed_rule_ends_its_incident_to_those_who_were_told() {
    play(
        with(vec![Rule { notify: vec!["day".to_owned(), "night".to_owned()], ..mae() }]),
        Some(with(vec![given::rule("other", "eta", vec![mae_above(100.0, 100.0)])])),
        "from 0s to 1m every 10s eta 5 err=9
         at 1m reload
         from 1m to 2m every 10s eta 5 err=0
         until 3m
         want 10s firing mae eta -> day,night
         want 1m ended: rule removed mae eta -> day,night",
    );
}

#[test]
fn a_changed_threshold_keeps_state_and_timers() {
    // The breach began at 10s; the reload at 40s neither restarts `for` nor ends what is pending.
    play(
        with(vec![Rule { hold: secs(60), ..mae() }]),
        Some(with(vec![Rule { hold: secs(60), conditions: vec![mae_above(5.0, 3.0)], ..mae() }])),
        "from 0s to 40s every 10s eta 5 err=9
         at 40s reload
         from 40s to 2m every 10s eta 5 err=9
         from 2m to 3m every 10s eta 5 err=0
         until 4m
         want 10s pending mae eta
         want 1m10s firing mae eta -> oncall
         want 2m20s resolved mae eta -> oncall",
    );
    // Those who were told of the beginning are told of the end, even if the rule now names others.
    play(
        with(vec![mae()]),
        Some(with(vec![Rule { notify: vec!["new".to_owned()], ..mae() }])),
        "from 0s to 40s every 10s eta 5 err=9
         at 40s reload
         from 40s to 2m every 10s eta 5 err=0
         from 2m to 3m every 10s eta 5 err=9
         until 4m
         want 10s firing mae eta -> oncall
         want 1m10s resolved mae eta -> oncall
         want 2m10s firing mae eta -> new",
    );
}

#[test]
fn more_lateness_by_reload_loses_no_record() {
    let mut late = with(vec![mae()]);
    late.lateness = secs(300);
    play(
        with(vec![mae()]),
        Some(late),
        "from 0s to 2m every 10s eta 5 err=1
         at 2m reload
         from 2m10s to 6m every 10s eta 5 err=9
         until 12m
         want 2m20s firing mae eta -> oncall",
    );
}

#[test]
fn a_reload_that_adds_a_model_keeps_what_the_others_know() {
    let mut before = with(vec![mae()]);
    before.models[0].indicators.insert(0, modelwatch::indicator::by_name("prediction_rate").expect("known"));
    let mut after = before.clone();
    after.models.insert(0, given::model("another", Task::Binary, HALF_LIFE, &["accuracy"]));
    play(
        before,
        Some(after),
        "from 0s to 1m every 10s eta 5 err=9
         at 1m reload
         from 1m to 2m every 10s eta 5 err=0
         until 3m
         want 10s firing mae eta -> oncall
         want 1m30s resolved mae eta -> oncall",
    );
}

#[test]
fn a_late_prediction_waits_for_its_label_from_when_its_partition_was_woken() {
    // The clock had moved event time on to 10m; from there the label has ten minutes, also after a restart.
    check(
        mae(),
        "from 0s to 1m every 10s eta 1 err=0
         at 10m predictions eta 5 time=1m
         at 12m predictions eta 1
         at 15m labels eta 5 err=9
         until 16m
         want 15m10s firing mae eta -> oncall",
    );
}

/// A pattern's model is not known before its first prediction; an early label that names no model must still wait.
#[test]
fn an_early_label_without_a_model_waits_for_models_that_are_not_known_yet() {
    let mut eta = given::model("eta-*", Task::Regression, HALF_LIFE, &["mae"]);
    eta.early_label_wait = secs(60);
    let spam = given::model("spam", Task::Binary, HALF_LIFE, &["accuracy"]);
    let mut options = given::options(vec![eta, spam], Vec::new());
    options.labels_name_model = false;
    let mut pipeline = Pipeline::new(options, KEY);
    let at = Timestamp::from_secs;
    pipeline.take(0, &given::label(None, "1", at(0), 3.0), Timestamp::MAX).expect("taken");
    pipeline.take(0, &given::prediction("spam", "2", at(30), 1.0, &[]), Timestamp::MAX).expect("taken");
    pipeline.advance(Timestamp::MAX);
    pipeline.take(0, &given::prediction("eta-a", "1", at(40), 5.0, &[]), Timestamp::MAX).expect("taken");
    pipeline.finish();
    let view = pipeline.view(10);
    let reading = view.models.iter().find(|model| model.name == "eta-a").map(|model| &model.readings[0]);
    let value = reading.and_then(|reading| reading.value.ok()).map(|estimate| estimate.value);
    assert_eq!(value, Some(2.0));
}

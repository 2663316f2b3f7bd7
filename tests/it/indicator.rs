//! The contract that every indicator keeps, checked over `indicator::ALL` against scikit-learn, numpy and itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use modelwatch::event::Task;
use modelwatch::exact::ExactSum;
use modelwatch::indicator::{ALL, Addition, Estimate, Indicator, Sums, Term, Undefined, by_name};
use modelwatch::join::{Answer, Outcome};
use proptest::prelude::*;
use serde::Deserialize;

/// An outcome and the tick in which it became known.
type Ticked = (i64, Outcome);

/// Seconds of a tick in these tests.
const TICK_SECONDS: f64 = 10.0;

// ---- sums, as the stages between outcomes and indicators make them ----

/// What one outcome adds to the cells of a term.
fn add(term: &Term, outcome: &Outcome, cells: &mut [ExactSum]) {
    match term.of {
        Addition::Count(of) if of(outcome) => cells[0].add(1.0),
        Addition::Count(_) => {}
        Addition::Real(of) => of(outcome).into_iter().for_each(|x| cells[0].add(x)),
        Addition::Bin { of, .. } => of(outcome).into_iter().for_each(|bin| cells[bin].add(1.0)),
    }
}

/// The exact sums of each tick.
fn tick_sums(indicator: &dyn Indicator, outcomes: &[Ticked]) -> BTreeMap<i64, Vec<ExactSum>> {
    let width = indicator.terms().iter().map(|term| term.width()).sum();
    let mut ticks = BTreeMap::new();
    for (tick, outcome) in outcomes {
        let cells: &mut Vec<ExactSum> = ticks.entry(*tick).or_insert_with(|| vec![ExactSum::default(); width]);
        let mut rest = cells.as_mut_slice();
        for term in indicator.terms() {
            let (own, others) = rest.split_at_mut(term.width());
            add(term, outcome, own);
            rest = others;
        }
    }
    ticks
}

/// The smoothed sums, and the seconds they cover: `Σ w · sums`, with `w` halving every `half_life` ticks.
fn smoothed(indicator: &dyn Indicator, outcomes: &[Ticked], half_life: Option<f64>) -> (Vec<f64>, f64) {
    let width = indicator.terms().iter().map(|term| term.width()).sum();
    let last = outcomes.iter().map(|(tick, _)| *tick).max().unwrap_or(0);
    let (mut cells, mut seconds) = (vec![0.0; width], 0.0);
    for (tick, sums) in tick_sums(indicator, outcomes) {
        let weight = half_life.map_or(1.0, |half_life| libm::exp2((tick - last) as f64 / half_life));
        cells.iter_mut().zip(&sums).for_each(|(cell, sum)| *cell += weight * sum.value());
        seconds += weight * TICK_SECONDS;
    }
    (cells, seconds)
}

fn read(indicator: &dyn Indicator, outcomes: &[Ticked], half_life: Option<f64>) -> Result<Estimate, Undefined> {
    let (cells, seconds) = smoothed(indicator, outcomes, half_life);
    indicator.read(Sums { cells: &cells, seconds })
}

// ---- the reference ----

#[derive(Deserialize)]
struct Reference {
    sets: Vec<Set>,
}

/// One data set, of which each kind fills its own columns; all of shape `(samples,)`.
#[derive(Deserialize)]
struct Set {
    name: String,
    ticks: Vec<i64>,
    #[serde(default)]
    actual: Vec<f64>,
    #[serde(default)]
    predicted: Vec<f64>,
    #[serde(default)]
    score: Vec<Option<f64>>,
    #[serde(default)]
    delay: Vec<Option<f64>>,
    #[serde(default)]
    age: Vec<Option<f64>>,
    expected: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    /// How many samples, from the first on.
    samples: usize,
    /// In ticks; `None` for equal weights.
    half_life: Option<f64>,
    /// By name of the indicator; `None` if undefined.
    values: BTreeMap<String, Option<f64>>,
}

impl Set {
    /// The outcomes of the first `samples` samples.
    fn outcomes(&self, samples: usize) -> Vec<Ticked> {
        let of_sample = |n: usize| self.of_sample(n).into_iter().map(move |outcome| (self.ticks[n], outcome));
        (0..samples).flat_map(of_sample).collect()
    }

    /// A sample is a prediction and what became of it.
    fn of_sample(&self, n: usize) -> [Outcome; 2] {
        let score = self.score.get(n).copied().flatten();
        let answer = Answer { value: self.predicted.get(n).copied().unwrap_or(0.0), score };
        let predicted = Outcome::Predicted { answer, age_seconds: self.age.get(n).copied().flatten() };
        let actual = self.actual.get(n).copied().unwrap_or(0.0);
        match self.delay.get(n).copied().unwrap_or(Some(1.0)) {
            Some(delay_seconds) => [predicted, Outcome::Labelled { answer, actual, delay_seconds }],
            None => [predicted, Outcome::Unlabelled],
        }
    }
}

fn reference() -> Vec<Set> {
    let reference: Reference = serde_json::from_str(include_str!("reference/indicator.json")).expect("valid JSON");
    reference.sets
}

/// Whether two numbers agree to 12 digits, or to 1e-12 near zero.
fn agree(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0)
}

fn holds(estimate: Estimate, exact: f64) -> bool {
    match estimate.bracket {
        None => agree(estimate.value, exact),
        Some((low, high)) => {
            low - 1e-12 <= exact && exact <= high + 1e-12 && low <= estimate.value && estimate.value <= high
        }
    }
}

#[test]
fn values_equal_the_batch_definition_at_every_prefix_with_and_without_decay() {
    let mut seen = BTreeSet::new();
    for set in reference() {
        for expected in &set.expected {
            let outcomes = set.outcomes(expected.samples);
            for (name, value) in &expected.values {
                let indicator = by_name(name).unwrap_or_else(|| panic!("no indicator `{name}`"));
                let place = format!("{name} of `{}`, {} samples, {:?}", set.name, expected.samples, expected.half_life);
                match (read(indicator, &outcomes, expected.half_life), value) {
                    (Ok(estimate), Some(exact)) => {
                        assert!(holds(estimate, *exact), "{place}: {estimate:?}, not {exact}")
                    }
                    (Err(Undefined::Degenerate(_)), None) => {}
                    (Err(Undefined::NoSamples), None) => assert!(expected.samples < 10, "{place}"),
                    (result, _) => panic!("{place}: {result:?}, not {value:?}"),
                }
                seen.insert(name.clone());
            }
        }
    }
    let unseen: Vec<&str> = ALL.iter().map(|indicator| indicator.name()).filter(|name| !seen.contains(*name)).collect();
    assert_eq!(unseen, ["prediction_rate"], "without reference values");
}

#[test]
fn binned_values_are_near_the_exact_ones() {
    for set in reference() {
        for expected in set.expected.iter().filter(|expected| expected.samples == set.ticks.len()) {
            let outcomes = set.outcomes(expected.samples);
            for (name, exact) in &expected.values {
                let Some(Ok(estimate)) = by_name(name).map(|one| read(one, &outcomes, expected.half_life)) else {
                    continue;
                };
                let (Some((low, high)), Some(exact)) = (estimate.bracket, exact) else { continue };
                let allowed = if name == "roc_auc" { 0.01 } else { exact * 0.016 + 0.008 };
                assert!(
                    (estimate.value - exact).abs() <= allowed,
                    "{name} of `{}`: {estimate:?}, not {exact}",
                    set.name
                );
                assert!(high - low <= 4.0 * allowed, "{name} of `{}`: {estimate:?}", set.name);
            }
        }
    }
}

#[test]
fn prediction_rate_divides_by_the_time_covered() {
    let rate = by_name("prediction_rate").expect("registered");
    let predicted = Outcome::Predicted { answer: Answer { value: 1.0, score: None }, age_seconds: None };
    assert_eq!(read(rate, &[(0, predicted), (0, predicted), (3, predicted)], None), Ok(Estimate::from(0.15)));
    // Time without predictions is measured too.
    assert_eq!(read(rate, &[(0, Outcome::Unlabelled)], None), Ok(Estimate::from(0.0)));
}

#[test]
fn positive_rate_needs_no_labels() {
    let rate = by_name("positive_rate").expect("registered");
    let predicted = |value| (0, Outcome::Predicted { answer: Answer { value, score: None }, age_seconds: None });
    let labelled = (0, labelled(1.0, 1.0, None));
    let outcomes = [predicted(1.0), predicted(0.0), predicted(0.0), predicted(0.0), labelled, labelled];
    assert_eq!(read(rate, &outcomes, None), Ok(Estimate::from(0.25)));
}

/// The first cell, from which the effective sample size comes, counts only what the value is made of.
#[test]
fn samples_are_the_outcomes_that_take_part() {
    let answer = Answer { value: 1.0, score: None };
    let outcomes = [
        labelled(1.0, 1.0, Some(0.9)),
        labelled(1.0, 0.0, None),
        labelled(1.0, 0.0, Some(0.6)),
        labelled(0.0, 1.0, None),
        labelled(0.0, 0.0, Some(0.2)),
        Outcome::Unlabelled,
        Outcome::Predicted { answer, age_seconds: Some(1.0) },
        Outcome::Predicted { answer, age_seconds: None },
    ]
    .map(|outcome| (0, outcome));
    for indicator in ALL {
        let expected = match indicator.name() {
            "precision" => 3.0,
            "recall" | "mape" | "prediction_rate" | "positive_rate" => 2.0,
            "f1" => 4.0,
            "log_loss" | "brier" | "roc_auc" => 3.0,
            "match_rate" | "unlabelled_rate" => 6.0,
            "event_age" => 1.0,
            _ => 5.0,
        };
        let (cells, _) = smoothed(*indicator, &outcomes, None);
        assert_eq!(cells[0], expected, "{}", indicator.name());
    }
}

// ---- what is not defined ----

#[track_caller]
fn check_undefined(name: &str, outcomes: &[Outcome], expected: Undefined) {
    let outcomes: Vec<Ticked> = outcomes.iter().map(|outcome| (0, *outcome)).collect();
    let indicator = by_name(name).unwrap_or_else(|| panic!("no indicator `{name}`"));
    assert_eq!(read(indicator, &outcomes, None), Err(expected), "{name}");
}

fn labelled(value: f64, actual: f64, score: Option<f64>) -> Outcome {
    Outcome::Labelled { answer: Answer { value, score }, actual, delay_seconds: 1.0 }
}

#[test]
fn without_samples_nothing_has_a_value() {
    for indicator in ALL {
        let width = indicator.terms().iter().map(|term| term.width()).sum();
        let sums = Sums { cells: &vec![0.0; width], seconds: 0.0 };
        assert_eq!(indicator.read(sums), Err(Undefined::NoSamples), "{}", indicator.name());
    }
}

#[test]
fn degenerate_samples_have_a_reason_instead_of_a_value() {
    let reason = Undefined::Degenerate;
    let negative = labelled(0.0, 0.0, Some(0.1));
    check_undefined("precision", &[negative], reason("no predicted positives"));
    check_undefined("recall", &[negative], reason("no actual positives"));
    check_undefined("f1", &[negative], reason("no positives, neither predicted nor actual"));
    check_undefined("roc_auc", &[negative], reason("only one class: no positives"));
    check_undefined("roc_auc", &[labelled(1.0, 1.0, Some(0.9))], reason("only one class: no negatives"));
    check_undefined("mape", &[labelled(1.0, 0.0, None)], reason("all labels are zero"));
    for name in ["log_loss", "brier", "roc_auc"] {
        check_undefined(name, &[labelled(1.0, 1.0, None)], Undefined::NoSamples);
    }
}

#[test]
fn labels_that_do_not_vary_measurably_have_no_r2() {
    let reason = Undefined::Degenerate("the labels do not vary measurably");
    check_undefined("r2", &[labelled(3.0, 0.1, None)], reason);
    check_undefined("r2", &[labelled(3.0, 0.0, None), labelled(2.0, 0.0, None)], reason);
    // One part in 10⁶ around the mean: what is left of the difference would be rounding.
    check_undefined("r2", &[labelled(1.0, 1e6, None), labelled(2.0, 1e6 + 1.0, None)], reason);
    let r2 = by_name("r2").expect("registered");
    let constant: Vec<Ticked> = (0..5000).map(|tick| (tick, labelled(1.0, 0.1, None))).collect();
    assert_eq!(read(r2, &constant, Some(700.0)), Err(reason));
}

#[test]
fn absurd_numbers_give_absurd_but_finite_values() {
    let huge = [(0, labelled(f64::MAX, -f64::MAX, None)), (0, labelled(-f64::MAX, 0.0, None))];
    let tiny_labels = [(0, labelled(1e100, 1e-140, None)), (0, labelled(0.0, 0.0, None))];
    for name in ["bias", "mae", "mse", "rmse", "mape", "r2"] {
        let indicator = by_name(name).expect("registered");
        assert!(read(indicator, &huge, None).is_ok_and(|estimate| estimate.value.is_finite()), "{name}");
    }
    assert_eq!(read(by_name("r2").expect("registered"), &tiny_labels, None), Ok(Estimate::from(-f64::MAX)));
}

// ---- what holds for all data ----

/// The documented range.
fn range(name: &str) -> (f64, f64) {
    match name {
        "accuracy" | "precision" | "recall" | "f1" | "brier" | "roc_auc" | "positive_rate" | "match_rate"
        | "unlabelled_rate" => (0.0, 1.0),
        "log_loss" => (0.0, 36.05),
        "mae" | "mse" | "rmse" | "mape" | "prediction_rate" => (0.0, f64::MAX),
        "bias" | "label_delay" | "event_age" => (-f64::MAX, f64::MAX),
        "r2" => (-f64::MAX, 1.0),
        "label_delay_p50" | "label_delay_p90" | "label_delay_p99" => (0.0, 33_554_432.0),
        other => panic!("state the range of `{other}` here"),
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let number =
        || prop_oneof![Just(0.0), Just(1.0), -100.0..100.0_f64, any::<f64>().prop_filter("finite", |x| x.is_finite())];
    let score = prop::option::of(prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64, 0.0..1e-9_f64]);
    let seconds = || prop_oneof![Just(0.0), -10.0..1e3_f64, 0.0..1e9_f64];
    let answer = (number(), score).prop_map(|(value, score)| Answer { value, score });
    prop_oneof![
        1 => (answer.clone(), prop::option::of(seconds()))
            .prop_map(|(answer, age_seconds)| Outcome::Predicted { answer, age_seconds }),
        4 => (answer, number(), seconds())
            .prop_map(|(answer, actual, delay_seconds)| Outcome::Labelled { answer, actual, delay_seconds }),
        1 => Just(Outcome::Unlabelled),
    ]
}

fn outcomes() -> impl Strategy<Value = Vec<Ticked>> {
    prop::collection::vec((0..6_i64, outcome()), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn values_are_finite_and_within_the_documented_range(outcomes in outcomes(), half_life in prop::option::of(0.1..50.0)) {
        for indicator in ALL {
            let (low, high) = range(indicator.name());
            let Ok(estimate) = read(*indicator, &outcomes, half_life) else { continue };
            prop_assert!(low <= estimate.value && estimate.value <= high, "{}: {estimate:?}", indicator.name());
            if let Some((from, to)) = estimate.bracket {
                prop_assert!(low <= from && from <= estimate.value && estimate.value <= to && to <= high, "{}: {estimate:?}", indicator.name());
            }
        }
    }

    #[test]
    fn the_order_of_outcomes_leaves_no_trace(outcomes in outcomes(), keys in prop::collection::vec(any::<u32>(), 40)) {
        let mut keyed: Vec<(u32, Ticked)> = keys.into_iter().zip(outcomes.iter().copied()).collect();
        keyed.sort_by_key(|(key, _)| *key);
        let shuffled: Vec<Ticked> = keyed.into_iter().map(|(_, outcome)| outcome).collect();
        for indicator in ALL {
            let bytes = |outcomes: &[Ticked]| -> Vec<Vec<u8>> {
                tick_sums(*indicator, outcomes).values().flatten().map(ExactSum::to_bytes).collect()
            };
            prop_assert_eq!(bytes(&outcomes), bytes(&shuffled), "{}", indicator.name());
        }
    }

    #[test]
    fn fading_does_not_change_the_value(outcomes in outcomes(), factor in prop_oneof![1e-3..1.0_f64, Just(1e-100)]) {
        for indicator in ALL {
            let (cells, seconds) = smoothed(*indicator, &outcomes, None);
            let faded: Vec<f64> = cells.iter().map(|cell| cell * factor).collect();
            let before = indicator.read(Sums { cells: &cells, seconds });
            let after = indicator.read(Sums { cells: &faded, seconds: seconds * factor });
            match (before, after) {
                (Ok(before), Ok(after)) => {
                    let slack = if indicator.name() == "r2" { 1e-5 * before.value.abs().max(1.0) } else { 0.0 };
                    let same = agree(before.value, after.value) || (before.value - after.value).abs() <= slack;
                    prop_assert!(same, "{}: {before:?}, {after:?}", indicator.name());
                }
                (before, after) => prop_assert_eq!(before.is_err(), after.is_err(), "{}", indicator.name()),
            }
        }
    }

    #[test]
    fn terms_are_consistent(outcome in outcome()) {
        let mut by_term_name: BTreeMap<&str, String> = BTreeMap::new();
        for indicator in ALL {
            let terms = indicator.terms();
            let Addition::Count(counted) = terms[0].of else { panic!("{}: the first term must count", indicator.name()) };
            for term in terms {
                let added = match term.of {
                    Addition::Count(of) => format!("{}", of(&outcome)),
                    Addition::Real(of) => {
                        let real = of(&outcome);
                        prop_assert!(real.is_none_or(f64::is_finite), "{}", term.name);
                        prop_assert_eq!(real.is_some(), counted(&outcome), "{} of {}", term.name, indicator.name());
                        format!("{real:?}")
                    }
                    Addition::Bin { bins, of } => {
                        let bin = of(&outcome);
                        prop_assert!(bin.is_none_or(|bin| bin < bins && counted(&outcome)), "{}", term.name);
                        format!("{bin:?} of {bins}")
                    }
                };
                let other = by_term_name.insert(term.name, added.clone()).unwrap_or_else(|| added.clone());
                prop_assert_eq!(other, added, "two terms are named {}", term.name);
            }
        }
    }
}

// ---- the list and the files ----

#[test]
fn names_are_unique_and_found() {
    let names: BTreeSet<&str> = ALL.iter().map(|indicator| indicator.name()).collect();
    assert_eq!(names.len(), ALL.len());
    for indicator in ALL {
        let found = by_name(indicator.name()).map(|found| found.name());
        assert_eq!(found, Some(indicator.name()));
    }
    let for_every_task =
        |task: Task| ALL.iter().filter(|indicator| indicator.task().is_none_or(|own| own == task)).count();
    assert_eq!((for_every_task(Task::Regression), for_every_task(Task::Binary)), (14, 16));
}

/// The files that define an indicator, with their text.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/indicator");
    let paths =
        std::fs::read_dir(folder).expect("the folder of the indicators").map(|entry| entry.expect("an entry").path());
    let texts = paths.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("a text")));
    texts.filter(|(_, text)| text.contains("impl Indicator for")).collect()
}

#[test]
fn every_indicator_has_one_file_that_documents_it() {
    let files = files();
    for indicator in ALL {
        let quoted = format!("\"{}\"", indicator.name());
        let homes =
            files.iter().filter(|(_, text)| text.contains(&quoted) && !text.contains(&format!("name: {quoted}, of:")));
        assert_eq!(homes.count(), 1, "files that name {quoted}");
    }
    for (path, text) in &files {
        assert!(text.starts_with("//! "), "{path}: no first sentence");
        let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("/// # ")).collect();
        assert_eq!(headings, ["Definition", "Needs", "Range", "Cost", "Reference"], "{path}");
        assert!(text.contains("/// # Definition\n///\n/// ```text\n"), "{path}: the definition begins with a formula");
    }
}

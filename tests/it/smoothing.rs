//! Smoothing against pandas, against textbook recursions and against brute force.

use std::time::Duration;

use modelwatch::clock::{Tick, TickGrid};
use modelwatch::indicator::{self, Addition, Indicator};
use modelwatch::join::{Answer, Outcome};
use modelwatch::reading::{self, Reading};
use modelwatch::series::SeriesId;
use modelwatch::smoothing::{Fading, Smoothed, Smoothing};
use modelwatch::summary::Summary;
use proptest::prelude::*;
use serde::Deserialize;

use crate::given::secs;

/// The mean error of a stream is the mean of its values if all labels are zero.
const BIAS: &str = "bias";

/// One indicator of one series, fed tick by tick.
struct Series {
    indicator: &'static dyn Indicator,
    smoothing: Smoothing,
    grid: TickGrid,
    smoothed: Smoothed,
}

impl Series {
    fn new(indicator: &str, smoothing: Smoothing, tick: Duration) -> Series {
        let indicator = indicator::by_name(indicator).expect("a known indicator");
        Series { indicator, smoothing, grid: TickGrid::new(tick), smoothed: Smoothed::default() }
    }

    fn fold(&mut self, tick: Tick, outcomes: &[Outcome]) {
        let mut summary = Summary::default();
        let terms = self.indicator.terms();
        outcomes.iter().for_each(|outcome| summary.apply(tick, &[0], terms, outcome, true));
        for (_, cells) in summary.close(tick) {
            let cells: Vec<_> = cells.iter().collect();
            self.smoothed.fold(self.smoothing, self.grid, tick, terms, &cells, &mut Fading::default());
        }
        self.look(tick);
    }

    /// What happens at every seal, with samples or without.
    fn look(&mut self, tick: Tick) {
        self.smoothed.leave_window(self.smoothing, self.grid, tick, self.indicator.terms());
    }

    fn read(&self, tick: Tick) -> Reading {
        reading::read(self.indicator, &self.smoothed, self.smoothing, self.grid, tick)
    }

    fn value(&self, tick: Tick) -> f64 {
        self.read(tick).value.expect("a value").value
    }
}

fn labelled(value: f64) -> Outcome {
    Outcome::Labelled { answer: Answer { value, score: None }, actual: 0.0, delay_seconds: 0.0 }
}

fn predicted() -> Outcome {
    Outcome::Predicted { answer: Answer { value: 0.0, score: None }, age_seconds: None }
}

#[derive(Deserialize)]
struct Reference {
    values: Vec<f64>,
    times_seconds: Vec<Tick>,
    alpha: Vec<Alpha>,
    half_life: Vec<HalfLife>,
}

#[derive(Deserialize)]
struct Alpha {
    keep: f64,
    mean: Vec<f64>,
    seeded: Vec<f64>,
}

#[derive(Deserialize)]
struct HalfLife {
    half_life_seconds: u64,
    mean: Vec<f64>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference/ewm.json")).expect("valid JSON")
}

#[track_caller]
fn near(got: f64, expected: f64, what: &str) {
    assert!((got - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{what}: got {got}, expected {expected}");
}

#[track_caller]
fn check(smoothing: Smoothing, times: &[Tick], values: &[f64], expected: &[f64]) {
    let mut series = Series::new(BIAS, smoothing, secs(1));
    for ((time, value), expected) in times.iter().zip(values).zip(expected) {
        series.fold(*time, &[labelled(*value)]);
        near(series.value(*time), *expected, &format!("{smoothing} at {time}"));
    }
}

#[test]
fn half_life_equals_pandas_at_irregular_times() {
    let reference = reference();
    assert!(reference.half_life.len() >= 3);
    for HalfLife { half_life_seconds, mean } in &reference.half_life {
        check(Smoothing::HalfLife(secs(*half_life_seconds)), &reference.times_seconds, &reference.values, mean);
    }
}

#[test]
fn alpha_equals_pandas_with_one_outcome_a_tick() {
    let reference = reference();
    for Alpha { keep, mean, seeded } in &reference.alpha {
        let (times, values) = (&reference.times_seconds, &reference.values);
        check(Smoothing::Alpha { keep: *keep, seed_first: false }, times, values, mean);
        check(Smoothing::Alpha { keep: *keep, seed_first: true }, times, values, seeded);
    }
}

#[test]
fn a_seeded_alpha_is_the_textbook_recursion() {
    let values = [3.0, 8.0, -1.0, 4.5, 0.0, 10.0];
    let mut expected = vec![values[0]];
    for value in &values[1..] {
        expected.push(0.9 * expected[expected.len() - 1] + (1.0 - 0.9) * value);
    }
    check(Smoothing::Alpha { keep: 0.9, seed_first: true }, &[0, 1, 2, 30, 31, 99], &values, &expected);
}

#[test]
fn alpha_over_a_tick_of_many_weighs_the_past_as_so_many_single_outcomes() {
    let smoothing = Smoothing::Alpha { keep: 0.8, seed_first: false };
    let mut one_by_one = Series::new(BIAS, smoothing, secs(1));
    let mut at_once = Series::new(BIAS, smoothing, secs(1));
    one_by_one.fold(0, &[labelled(10.0)]);
    at_once.fold(0, &[labelled(10.0)]);
    (1..=5).for_each(|tick| one_by_one.fold(tick, &[labelled(2.0)]));
    at_once.fold(1, &[labelled(2.0); 5]);
    near(at_once.value(1), one_by_one.value(5), "five of the same");
}

#[test]
fn a_window_is_the_plain_sum_of_its_last_ticks() {
    let values = [4.0, 1.0, 7.0, 2.0, 9.0, 3.0, 3.0];
    let ticks: [Tick; 7] = [0, 1, 2, 5, 6, 7, 12];
    // 25 seconds are three ticks of ten: the least number that covers them.
    let mut series = Series::new("mae", Smoothing::Window(secs(25)), secs(10));
    for now in 0..20 {
        let own: Vec<Outcome> =
            ticks.iter().zip(values).filter(|(tick, _)| **tick == now).map(|(_, value)| labelled(value)).collect();
        series.fold(now, &own);
        let inside: Vec<f64> = ticks
            .iter()
            .zip(values)
            .filter(|(tick, _)| (now - 2..=now).contains(*tick))
            .map(|(_, value)| value)
            .collect();
        let expected = (!inside.is_empty()).then(|| inside.iter().sum::<f64>() / inside.len() as f64);
        let reading = series.read(now);
        assert_eq!(reading.value.ok().map(|estimate| estimate.value), expected, "at {now}");
        assert_eq!(reading.n_eff, inside.len() as f64, "at {now}");
    }
}

const MODES: [Smoothing; 4] = [
    Smoothing::HalfLife(secs_of(60)),
    Smoothing::Alpha { keep: 0.97, seed_first: false },
    Smoothing::Alpha { keep: 0.97, seed_first: true },
    Smoothing::Window(secs_of(100)),
];

const fn secs_of(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Every bit that a series has, through its readings.
fn bits(reading: &Reading) -> (Option<u64>, u64) {
    (reading.value.ok().map(|estimate| estimate.value.to_bits()), reading.n_eff.to_bits())
}

#[test]
fn idle_time_does_not_change_the_bits_of_a_ratio() {
    for smoothing in &MODES[..3] {
        let mut series = Series::new("mae", *smoothing, secs(10));
        (0..50).for_each(|tick| series.fold(tick, &[labelled(0.1 * tick as f64), labelled(3.3)]));
        let before = bits(&series.read(49));
        for tick in [50, 51, 100, 1_000, 5_000] {
            assert_eq!(bits(&series.read(tick)), before, "{smoothing} at {tick}");
        }
    }
    let mut series = Series::new("mae", MODES[0], secs(10));
    series.fold(0, &[labelled(1.0)]);
    assert!(series.read(20_000).value.is_err(), "after three thousand half-lives nothing is left");
}

/// `Σ weight of a tick · n` over `Σ weight of a tick · seconds`, from the first tick with a sample on.
fn rate(smoothing: Smoothing, counts: &[usize], now: usize) -> f64 {
    let (mut weighted, mut seconds) = (0.0, 0.0);
    for (tick, count) in counts[..=now].iter().enumerate() {
        let age = (now - tick) as f64;
        match smoothing {
            Smoothing::HalfLife(span) => {
                let weight = (-age * 10.0 / span.as_secs_f64()).exp2();
                weighted += weight * *count as f64;
                seconds += weight * 10.0;
            }
            Smoothing::Window(span) => {
                let weight = if age * 10.0 < span.as_secs_f64() { 1.0 } else { 0.0 };
                weighted += weight * *count as f64;
                seconds += weight * 10.0;
            }
            Smoothing::Alpha { keep, seed_first } => {
                let n = *count as f64;
                let faded = keep.powf(n);
                let weight = match *count {
                    0 => -keep.ln() / (1.0 - keep),
                    _ if seed_first && weighted == 0.0 => 1.0 / ((1.0 - keep) * n),
                    _ => (1.0 - faded) / ((1.0 - keep) * n),
                };
                weighted = faded * weighted + weight * n;
                seconds = faded * seconds + weight * 10.0;
            }
        }
    }
    weighted / seconds
}

#[test]
fn prediction_rate_is_right_during_and_after_gaps_in_every_mode() {
    let counts = [5, 7, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 1, 0, 0, 40];
    for smoothing in MODES {
        let mut series = Series::new("prediction_rate", smoothing, secs(10));
        for (tick, count) in counts.iter().enumerate() {
            series.fold(tick as Tick, &vec![predicted(); *count]);
            near(series.value(tick as Tick), rate(smoothing, &counts, tick), &format!("{smoothing} at {tick}"));
        }
    }
}

#[test]
fn a_rate_comes_down_to_zero_when_all_has_faded() {
    for smoothing in MODES {
        let mut series = Series::new("prediction_rate", smoothing, secs(10));
        assert!(series.read(0).value.is_err(), "before the first there is none");
        series.fold(0, &[predicted(); 100]);
        series.look(1_000_000);
        let value = series.value(1_000_000);
        assert!((0.0..1e-4).contains(&value), "{smoothing}: {value}");
    }
}

fn ticks() -> impl Strategy<Value = Vec<(Tick, Vec<f64>)>> {
    let values = prop::collection::vec((-100i32..100).prop_map(|value| f64::from(value) / 7.0), 0..5);
    prop::collection::vec((1i64..30, values), 1..40).prop_map(|gaps| {
        let mut now = 0;
        gaps.into_iter()
            .map(|(gap, values)| {
                now += gap;
                (now, values)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn n_eff_is_that_of_kish(ticks in ticks(), mode in 0..MODES.len()) {
        let smoothing = MODES[mode];
        let mut series = Series::new("mae", smoothing, secs(10));
        let mut weights: Vec<(Tick, f64)> = Vec::new();
        for (tick, values) in &ticks {
            let outcomes: Vec<Outcome> = values.iter().map(|value| labelled(*value)).collect();
            series.fold(*tick, &outcomes);
            let n = values.len() as f64;
            if let (Smoothing::Alpha { keep, seed_first }, true) = (smoothing, n > 0.0) {
                let own = if seed_first && weights.is_empty() { 1.0 } else { 1.0 - keep.powf(n) };
                weights.iter_mut().for_each(|(_, weight)| *weight *= keep.powf(n));
                weights.extend(values.iter().map(|_| (*tick, own / ((1.0 - keep) * n))));
            } else {
                weights.extend(values.iter().map(|_| (*tick, 1.0)));
            }
            let now = *tick;
            let weigh = |(tick, weight): &(Tick, f64)| match smoothing {
                Smoothing::HalfLife(span) => (-((now - tick) * 10) as f64 / span.as_secs_f64()).exp2(),
                Smoothing::Window(_) => if now - tick < 10 { 1.0 } else { 0.0 },
                Smoothing::Alpha { .. } => *weight,
            };
            let [sum, squares] = [1, 2].map(|power| weights.iter().map(|w| weigh(w).powi(power)).sum::<f64>());
            let expected = if squares > 0.0 { sum * sum / squares } else { 0.0 };
            near(series.read(now).n_eff, expected, "n_eff");
        }
    }

    #[test]
    fn looking_more_often_never_changes_a_bit(ticks in ticks(), mode in 0..MODES.len()) {
        for indicator in ["mae", "prediction_rate"] {
            let mut seldom = Series::new(indicator, MODES[mode], secs(10));
            let mut often = Series::new(indicator, MODES[mode], secs(10));
            let mut before = 0;
            for (tick, values) in &ticks {
                let mut outcomes: Vec<Outcome> = values.iter().map(|value| labelled(*value)).collect();
                outcomes.extend(values.iter().map(|_| predicted()));
                for between in before..*tick {
                    often.look(between);
                    let _looked = often.read(between);
                }
                before = *tick;
                often.fold(*tick, &outcomes);
                seldom.fold(*tick, &outcomes);
                prop_assert_eq!(bits(&often.read(*tick)), bits(&seldom.read(*tick)));
            }
        }
    }

    /// Every term of every indicator: any order, and any split into summaries that are added up, gives the same bits.
    #[test]
    fn order_split_and_merge_of_a_tick_do_not_change_a_bit(
        outcomes in prop::collection::vec((any_outcome(), 0..3u8), 0..60),
        seed in any::<u64>(),
    ) {
        let terms: Vec<_> = indicator::ALL.iter().flat_map(|indicator| indicator.terms().iter().copied()).collect();
        let mut whole = Summary::default();
        outcomes.iter().for_each(|(outcome, _)| whole.apply(7, &[1, 2], &terms, outcome, true));
        let mut parts = [Summary::default(), Summary::default(), Summary::default()];
        let mut shuffled = outcomes.clone();
        shuffled.sort_by_key(|(outcome, _)| seed.wrapping_mul(format!("{outcome:?}").len() as u64 + seed).rotate_left(7));
        shuffled.reverse();
        for (outcome, part) in &shuffled {
            parts[usize::from(*part)].apply(7, &[1, 2], &terms, outcome, true);
            // What is added and taken back again leaves no trace.
            parts[0].apply(7, &[1, 2], &terms, outcome, true);
        }
        for (outcome, _) in shuffled.iter().rev() {
            parts[0].apply(7, &[1, 2], &terms, outcome, false);
        }
        let of = |summary: &Summary, series: SeriesId| {
            summary.clone().close(7).into_iter().find(|(id, _)| *id == series).map(|(_, sums)| sums)
        };
        for series in [1, 2] {
            let merged = parts.iter().filter_map(|part| of(part, series));
            let merged = merged.reduce(|mut sums, more| {
                sums.iter_mut().zip(&more).for_each(|(sum, more)| sum.add(more));
                sums
            });
            let numbers = |sums: &[modelwatch::summary::Cell]| {
                let mut all = Vec::new();
                for (cell, term) in sums.iter().zip(&terms) {
                    let real = matches!(term.of, Addition::Real(_));
                    cell.each_number(|bin, number| if !real || number != 0.0 { all.push((term.name, bin, number.to_bits())) });
                }
                all
            };
            let merged = merged.map(|sums| numbers(&sums)).unwrap_or_default();
            prop_assert_eq!(of(&whole, series).map(|sums| numbers(&sums)).unwrap_or_default(), merged);
        }
    }
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let number = prop_oneof![-1e3..1e3, -1e-9..1e-9, Just(1e17), Just(-1e17)];
    let answer = (number, prop::option::of(0.0..=1.0)).prop_map(|(value, score)| Answer { value, score });
    (answer, 0..3u8, 0..2u8, -5.0..1e5).prop_map(|(answer, kind, class, seconds)| match kind {
        0 => Outcome::Predicted { answer, age_seconds: Some(seconds) },
        1 => Outcome::Labelled { answer, actual: f64::from(class), delay_seconds: seconds },
        _ => Outcome::Unlabelled,
    })
}

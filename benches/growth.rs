//! How the cost of the core grows: `cargo bench --bench growth [models|values|rules|seal]...` prints CPU time by the
//! number of models, segment values and rules, and how long 100,000 series take to seal; the whole of it is drawn into
//! `target/growth.svg`.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a measurement prints, and stops if it cannot be made")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small numbers"
)]
#![allow(missing_docs, reason = "a program")]

mod cpu;
#[path = "growth/load.rs"]
mod load;
#[path = "growth/plot.rs"]
mod plot;

use std::time::Duration;

use modelwatch::clock::Timestamp;
use modelwatch::event::Events;
use modelwatch::pipeline::Pipeline;

use load::{A_SECOND, Load, TICK, names, rule, time};
use plot::{Line, Panel};

const INDICATORS: [&str; 8] =
    ["bias", "mae", "rmse", "mape", "r2", "prediction_rate", "label_delay", "unlabelled_rate"];
/// Until then labels come, predictions and labels are forgotten, and all series have their first sample.
const WARM_UP: i64 = 120 * A_SECOND;
const STRETCH: i64 = 100 * A_SECOND;
const REPEATS: i64 = 3;

/// CPU time of the steady flow.
struct Cost {
    /// Nanoseconds an event, without seals.
    take: f64,
    /// Microseconds a tick.
    seal: f64,
}

impl Cost {
    /// Nanoseconds an event, with its share of the seals.
    fn whole(&self) -> f64 {
        self.take + self.seal * 1e3 / (2 * TICK as i64 * A_SECOND) as f64
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Takes in predictions of the flow with their labels, sealing once a second; gives CPU time of taking and sealing.
fn run(pipeline: &mut Pipeline, load: &Load, numbers: std::ops::Range<i64>) -> (Duration, Duration) {
    let [mut taking, mut sealing] = [Duration::ZERO; 2];
    for from in numbers.step_by(A_SECOND as usize) {
        let events: Vec<Events<'_>> = (from..from + A_SECOND).map(|number| load.flow(number)).collect();
        let (took, ()) = cpu::of(|| events.iter().for_each(|events| take(pipeline, events)));
        taking += took;
        let (took, transitions) = cpu::of(|| pipeline.advance(Timestamp::MAX));
        sealing += took;
        std::hint::black_box(transitions);
    }
    (taking, sealing)
}

fn take(pipeline: &mut Pipeline, events: &Events<'_>) {
    let time = events.prediction.as_ref().expect("there is one").time;
    pipeline.take(0, events, time).expect("taken");
}

fn measure(load: &Load) -> Cost {
    let mut pipeline = load.pipeline(Duration::from_secs(10));
    run(&mut pipeline, load, 0..WARM_UP);
    let stretch = |repeat: i64| {
        let from = WARM_UP + repeat * STRETCH;
        let (taking, sealing) = run(&mut pipeline, load, from..from + STRETCH);
        let ticks = STRETCH / A_SECOND / TICK as i64;
        (taking.as_secs_f64() * 1e9 / (2 * STRETCH) as f64, sealing.as_secs_f64() * 1e6 / ticks as f64)
    };
    let (take, seal) = (0..REPEATS).map(stretch).unzip();
    Cost { take: median(take), seal: median(seal) }
}

fn load(models: usize, values: usize) -> Load {
    Load {
        models: names("model", models),
        sections: false,
        dimensions: &["region", "device"],
        values: names("value", values),
        indicators: &INDICATORS,
        rules: vec![rule("whole", "*", None), rule("region", "*", Some("region"))],
    }
}

/// Measures one load after the other, and prints a row for each.
fn sweep(title: &str, loads: impl Iterator<Item = (usize, Load)>) -> Vec<(f64, Cost)> {
    println!("\n{title}\n{:>8} {:>14} {:>14} {:>16}", "", "take ns/event", "seal us/tick", "with seals ns/event");
    let row = |(count, load): (usize, Load)| {
        let cost = measure(&load);
        println!("{count:>8} {:>14.0} {:>14.0} {:>16.0}", cost.take, cost.seal, cost.whole());
        (count as f64, cost)
    };
    loads.map(row).collect()
}

fn line(name: &'static str, costs: &[(f64, Cost)], of: fn(&Cost) -> f64) -> Line {
    (name, costs.iter().map(|(count, cost)| (*count, of(cost))).collect())
}

fn models() -> Panel {
    let loads = |sections: bool| [1, 10, 100, 1_000].map(|count| (count, Load { sections, ..load(count, 10) }));
    let shared = sweep("models of one section; 2 dimensions of 10 values, 2 rules", loads(false).into_iter());
    let own = sweep("models with a section each", loads(true).into_iter());
    let lines = vec![line("one section", &shared, Cost::whole), line("a section each", &own, Cost::whole)];
    Panel { x: "models", y: "CPU ns an event, with seals", lines }
}

fn values() -> Panel {
    let loads = [1, 10, 100].map(|count| (count, load(10, count)));
    let costs = sweep("values of each of 2 dimensions; 10 models, 2 rules", loads.into_iter());
    Panel { x: "segment values", y: "CPU ns an event, with seals", lines: vec![line("", &costs, Cost::whole)] }
}

fn rules() -> Panel {
    let with = |count: usize| {
        let load = load(100, 10);
        let model = |number: usize| load.models[number % load.models.len()].as_str();
        let rules = (0..count).map(|number| rule(&format!("rule-{number}"), model(number), None)).collect();
        (count, Load { rules, ..load })
    };
    let costs = sweep("rules, spread over 100 models", [1, 100, 10_000].into_iter().map(with));
    let (one, (most, with_most)) = (&costs[0].1, &costs[costs.len() - 1]);
    let more = with_most.seal - one.seal;
    println!("{most:>8} rules: {more:.0} us a tick more than one, {:.0} ns a rule and tick", more * 1e3 / most);
    Panel { x: "rules", y: "CPU us a seal", lines: vec![line("", &costs, |cost| cost.seal)] }
}

/// 1,000 models of 99 segments each: all have samples in every tick, and all are judged.
fn seal(indicators: &'static [&'static str]) {
    let load = Load {
        models: names("model", 1_000),
        sections: false,
        dimensions: &["region"],
        values: names("value", 99),
        indicators,
        rules: vec![rule("whole", "*", None), rule("region", "*", Some("region"))],
    };
    let mut pipeline = load.pipeline(Duration::ZERO);
    pipeline.expect_partitions(1);
    let mut seals = Vec::new();
    for tick in 0..3 + REPEATS {
        load.all_at_once(tick).for_each(|events| take(&mut pipeline, &events));
        pipeline.idle(0);
        let end = time((tick + 1) * TICK as i64 * A_SECOND);
        let (took, transitions) = cpu::of(|| pipeline.advance(end));
        assert_eq!((pipeline.sealed_until(), transitions.len()), (Some(end), 0), "one tick");
        seals.push(took.as_secs_f64() * 1e3);
    }
    let judged = pipeline.view(usize::MAX).alerts.len();
    let (first, steady) = (seals[0], median(seals.split_off(3)));
    println!(
        "{judged} series sealed and judged in one tick, {} indicators: {steady:.0} ms; when all are new {first:.0} ms",
        indicators.len()
    );
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let asked = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let mut panels = Vec::new();
    panels.extend(asked("models").then(models));
    panels.extend(asked("values").then(values));
    panels.extend(asked("rules").then(rules));
    if panels.len() == 3 {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/growth.svg");
        std::fs::write(path, plot::svg(&panels)).expect("written");
        println!("\ndrawn into {path}");
    }
    if asked("seal") {
        println!();
        seal(&["rmse"]);
        seal(&INDICATORS);
    }
}

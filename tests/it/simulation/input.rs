//! Random inputs: options, records, and what happens to the daemon meanwhile.

use modelwatch::event::Task;
use modelwatch::pipeline::Options;
use modelwatch::rule::{Bound, Condition, Rule};
use modelwatch::smoothing::Smoothing;

use super::lived::Schedule;
use crate::given::{self, secs};
use crate::oracle::Event;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than a usize")
    }

    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// What a run is made of.
#[derive(Clone)]
pub(super) struct Input {
    pub(super) options: Options,
    pub(super) partitions: Vec<Vec<Event>>,
    pub(super) schedule: Schedule,
}

fn with_clear(condition: Condition, clear: Bound) -> Condition {
    Condition { clear, ..condition }
}

fn rules(random: &mut Random) -> Vec<Rule> {
    let half_life = |span| Smoothing::HalfLife(secs(span));
    let alpha = Smoothing::Alpha { keep: 0.9, seed_first: false };
    let mae = |span, limit| given::condition("mae", half_life(span), Bound::Above(limit), 2.437);
    let accuracy = given::condition("accuracy", Smoothing::Window(secs(100)), Bound::Below(0.613), 3.0);
    let rate = given::condition("prediction_rate", half_life(60), Bound::Below(0.0317), 0.0);
    let window_rate = given::condition("prediction_rate", Smoothing::Window(secs(60)), Bound::Below(0.0317), 5.0);
    let rules = vec![
        Rule {
            hold: secs(20),
            recover_for: secs(30),
            no_data_after: Some(secs(100)),
            repeat_every: Some(secs(60)),
            ..given::rule("mae", "eta-*", vec![with_clear(mae(60, 3.3217), Bound::Above(2.7123))])
        },
        Rule {
            by: Some("region".to_owned()),
            recover_for: secs(10),
            no_data_after: Some(secs(150)),
            ..given::rule("bias", "eta-*", vec![given::condition("bias", half_life(30), Bound::Above(1.1237), 0.0)])
        },
        given::rule("both", "eta-a", vec![mae(30, 3.1237), mae(300, 2.9151)]),
        Rule {
            hold: secs(10),
            no_data_after: Some(secs(90)),
            ..given::rule("accuracy", "spam", vec![with_clear(accuracy, Bound::Below(0.721))])
        },
        Rule { hold: secs(30), ..given::rule("rate", "eta-*", vec![rate]) },
        Rule { hold: secs(40), ..given::rule("stopped", "spam", vec![window_rate]) },
        Rule {
            by: Some("tier".to_owned()),
            no_data_after: Some(secs(60)),
            ..given::rule("lost", "*", vec![given::condition("unlabelled_rate", alpha, Bound::Above(0.3123), 0.0)])
        },
    ];
    let notified = |rule: Rule| Rule { notify: names(random), ..rule };
    rules.into_iter().map(notified).collect()
}

/// Who is told by a rule: mostly few, because most of the time goes into notices.
fn names(random: &mut Random) -> Vec<String> {
    let names: &[&str] = [&[][..], &[], &[], &["ops"], &["oncall"], &["oncall", "ops"]][random.below(6)];
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn options(random: &mut Random) -> Options {
    let regression = ["mae", "bias", "mse", "label_delay", "prediction_rate", "unlabelled_rate"];
    let binary = ["accuracy", "prediction_rate", "unlabelled_rate"];
    let smoothings = [
        Smoothing::HalfLife(secs(60)),
        Smoothing::Window(secs(95)),
        Smoothing::Alpha { keep: 0.95, seed_first: false },
    ];
    let mut eta = given::model("eta-*", Task::Regression, smoothings[random.below(3)], &regression);
    let mut spam = given::model("spam", Task::Binary, smoothings[random.below(3)], &binary);
    (eta.label_timeout, eta.early_label_wait, eta.dedupe_window) = (secs(120), secs(30), secs(200));
    eta.dimensions = vec![("region".to_owned(), 0), ("tier".to_owned(), 1)];
    eta.max_segment_values = 2;
    (spam.label_timeout, spam.early_label_wait, spam.dedupe_window) = (secs(57), secs(0), secs(0));
    let mut options = given::options(vec![eta, spam], rules(random));
    options.lateness = secs([0, 15, 60][random.below(3)]);
    options.labels_name_model = random.once_in(2);
    options
}

/// The input of a seed.
pub(super) fn input(seed: u64) -> Input {
    let random = &mut Random(seed);
    let options = options(random);
    let mut partitions = vec![Vec::new(); 1 + random.below(4)];
    let span = 200 + random.below(500);
    let mut put = |random: &mut Random, event: Event| {
        let partition = random.below(partitions.len());
        // Not in the order of time: some records are late.
        let at = event.time + [0, 0, 0, 10, 40, 90][random.below(6)];
        partitions[partition].push((at, event));
    };
    for _ in 0..20 + random.below(60) {
        let model = ["eta-a", "eta-b", "spam"][random.below(3)];
        let id = u32::try_from(random.below(60)).expect("small");
        let values = if model == "spam" { 2 } else { 8 };
        let mut time = random.below(span) as i64;
        if (span as i64 / 3..span as i64 / 2).contains(&time) && random.once_in(2) {
            time = 0;
        }
        for copy in 0..1 + random.below(5) / 3 + random.below(8) / 7 {
            // Ties in time are broken by content. The oracle knows that of the value only, so the segments follow it.
            let value = random.below(values) + 16 * copy * usize::from(model != "spam");
            let segment =
                |names: &[&str], mix: usize| names.get(mix % (names.len() + 1)).map(|name| (*name).to_owned());
            let mix = id as usize + 5 * value;
            let segments = match model {
                "spam" => vec![None, None],
                _ => vec![segment(&["asia", "eu", "us", "other"], mix), segment(&["free", "paid"], mix / 2)],
            };
            let value = value as f64;
            let time = time + [0, 0, 5, 30, 170, 230][random.below(6)] * i64::from(copy > 0);
            put(random, Event { time, model: Some(model.to_owned()), id, value, segments: Some(segments) });
        }
        for _ in 0..[0, 1, 1, 1, 2][random.below(5)] {
            let time = time + [-25, 0, 3, 20, 20, 50, 60, 119, 150][random.below(9)];
            let named = options.labels_name_model || random.once_in(9);
            let label_model = Some(model.to_owned()).filter(|_| named && options.labels_name_model);
            let value = random.below(values) as f64;
            put(random, Event { time: time.max(0), model: label_model, id, value, segments: None });
        }
    }
    let sorted = |mut partition: Vec<(i64, Event)>| {
        partition.sort_by_key(|(at, _)| *at);
        partition.into_iter().map(|(_, event)| event).collect()
    };
    let partitions: Vec<Vec<Event>> = partitions.into_iter().map(sorted).collect();
    let schedule = Schedule::new(random, partitions.len());
    Input { options, partitions, schedule }
}

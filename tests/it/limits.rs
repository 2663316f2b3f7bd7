//! What the core does with more than it can hold.

use modelwatch::clock::Timestamp;
use modelwatch::event::Task;
use modelwatch::pipeline::{Model, Options, Pipeline};
use modelwatch::smoothing::Smoothing;

use crate::given::{KEY, label, model, options, prediction, secs};

/// A producer that gives all labels the same id by mistake.
#[test]
fn labels_of_one_id_are_kept_up_to_a_limit_and_the_earliest_counts() {
    let mut eta = model("eta", Task::Regression, Smoothing::HalfLife(secs(60)), &["mae"]);
    eta.early_label_wait = secs(300);
    let mut pipeline = Pipeline::new(options(vec![eta], Vec::new()), KEY);
    let at = |second: i64| Timestamp::from_secs(1_000 + second);
    pipeline.take(0, &prediction("eta", "same", at(0), 1.0, &[]), at(0)).unwrap();
    for second in 0..10_000 {
        pipeline.take(0, &label(Some("eta"), "same", at(second % 200), second as f64), at(0)).unwrap();
    }
    assert_eq!(pipeline.pending(), (1, 64));
    let join = pipeline.counts().join;
    assert_eq!((join.labels, join.evicted_labels), (10_000, 10_000 - 64));
    pipeline.take(0, &prediction("eta", "later", at(10_000), 1.0, &[]), at(10_000)).unwrap();
    pipeline.finish();
    let join = pipeline.counts().join;
    assert_eq!((join.matched_labels, join.duplicate_labels), (1, 63));
}

/// Labels of predictions that are not here, more than the table holds.
#[test]
fn a_full_table_lets_the_oldest_go_whatever_it_is() {
    let eta = model("eta", Task::Regression, Smoothing::HalfLife(secs(60)), &["mae", "unlabelled_rate"]);
    let eta = Model { early_label_wait: secs(300), ..eta };
    let mut pipeline = Pipeline::new(Options { max_pending: 100, ..options(vec![eta], Vec::new()) }, KEY);
    let at = |second: i64| Timestamp::from_secs(1_000 + second);
    for second in 0..200 {
        let (old, new) = (format!("gone{second}"), format!("here{second}"));
        pipeline.take(0, &prediction("eta", &new, at(second), 1.0, &[]), at(second)).unwrap();
        pipeline.take(0, &label(Some("eta"), &old, at(second), 1.0), at(second)).unwrap();
    }
    let (predictions, labels) = pipeline.pending();
    assert_eq!(predictions + labels, 100);
    assert!((30..=70).contains(&predictions), "{predictions} predictions, {labels} labels");
    let join = pipeline.counts().join;
    assert_eq!((join.evicted_predictions, join.evicted_labels), (200 - predictions as u64, 200 - labels as u64));
}

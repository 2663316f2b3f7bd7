//! The join table on disk: written, read back, damaged, left half done.

use std::fs;
use std::path::Path;

use modelwatch::clock::Timestamp;
use modelwatch::event::Task;
use modelwatch::pipeline::{Options, Pipeline};
use modelwatch::smoothing::Smoothing;
use modelwatch::source::Partition;
use modelwatch::state::snapshot::{self, Reader, Unusable};
use modelwatch::state::{Mark, Snapshot, State};
use modelwatch::watermark::Frontier;

use crate::given::{KEY, label, model, options, prediction, secs};

const SMOOTHING: Smoothing = Smoothing::HalfLife(std::time::Duration::from_secs(60));

fn eta() -> Options {
    let mut eta = model("eta", Task::Regression, SMOOTHING, &["mae", "unlabelled_rate"]);
    eta.dimensions = vec![("region".to_owned(), 0)];
    (eta.label_timeout, eta.dedupe_window) = (secs(600), secs(900));
    options(vec![eta], Vec::new())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(second)
}

/// Predictions of seconds, every third repeated, every fifth labelled.
fn filled(seconds: i64) -> Pipeline {
    let mut pipeline = Pipeline::new(eta(), KEY);
    for second in 0..seconds {
        let region = ["eu", "us"][usize::try_from(second % 2).unwrap()];
        let id = second.to_string();
        pipeline.take(0, &prediction("eta", &id, at(second), 1.0, &[Some(region)]), at(second)).unwrap();
        if second % 3 == 2 {
            let again = (second - 2).to_string();
            pipeline.take(0, &prediction("eta", &again, at(second), 1.0, &[None]), at(second)).unwrap();
        }
        if second % 5 == 4 {
            let labelled = (second - 4).to_string();
            pipeline.take(0, &label(Some("eta"), &labelled, at(second), 0.5), at(second)).unwrap();
        }
        pipeline.advance(at(second));
    }
    pipeline
}

fn marks() -> Vec<Mark> {
    let frontier = Frontier { newest: at(7), floor: at(3), idle: false };
    vec![Mark { partition: Partition { topic: "t".to_owned(), number: 0 }, next_offset: 9, frontier }]
}

fn write(directory: &Path, pipeline: &Pipeline) -> Snapshot {
    snapshot::write(directory, at(8), marks(), pipeline.pending(), &pipeline.image(), || true).unwrap()
}

fn read(directory: &Path, file: &str, pipeline: &mut Pipeline) -> Result<Vec<Mark>, Unusable> {
    let mut reader = Reader::open(directory, file)?;
    let names = reader.next_part()?.expect("a part");
    let reading = pipeline.read_image(&names)?;
    while let Some(part) = reader.next_part()? {
        pipeline.read_part(&reading, &part)?;
    }
    Ok(reader.marks)
}

/// What becomes of the events in the table, and of a label that comes later.
fn fate(mut pipeline: Pipeline) -> String {
    for id in [1, 4, 6, 11, 990] {
        let id = id.to_string();
        pipeline.take(0, &label(Some("eta"), &id, at(1_000), 0.0), at(1_000)).unwrap();
    }
    pipeline.idle(0);
    let mut transitions = Vec::new();
    for second in (1_000..4_000).step_by(10) {
        transitions.extend(pipeline.advance(at(second)));
    }
    format!("{:?} {:?} {:?}", pipeline.counts(), pipeline.pending(), pipeline.view(99).models)
}

#[test]
fn a_table_goes_on_from_its_file_as_if_nothing_had_been() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(1_000);
    let written = write(directory.path(), &before);
    assert_eq!(
        i64::try_from(fs::metadata(directory.path().join(&written.file)).unwrap().len()).unwrap(),
        written.bytes
    );
    assert_eq!(written.pending, (before.pending().0 as i64, before.pending().1 as i64));
    let mut after = Pipeline::new(eta(), KEY);
    after.restore(before.save());
    assert_eq!(read(directory.path(), &written.file, &mut after).unwrap(), marks());
    assert_eq!(after.pending(), before.pending());
    assert_eq!(fate(after), fate(before));
}

#[test]
fn a_table_fits_into_a_core_with_other_ticks_and_models() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(1_000);
    let written = write(directory.path(), &before);
    let other = Options { tick: secs(60), ..eta() };
    let mut after = Pipeline::new(other, KEY);
    read(directory.path(), &written.file, &mut after).unwrap();
    assert_eq!(after.pending(), before.pending());
    let nobody = options(vec![model("other", Task::Regression, SMOOTHING, &["mae"])], Vec::new());
    let mut after = Pipeline::new(nobody, KEY);
    read(directory.path(), &written.file, &mut after).unwrap();
    assert_eq!(after.pending(), (0, 0), "nobody watches that model");
    let unnamed = Options { labels_name_model: false, ..eta() };
    let refused = read(directory.path(), &written.file, &mut Pipeline::new(unnamed, KEY));
    assert!(matches!(refused, Err(Unusable::NotOurs(_))), "fingerprints mean something else");
}

#[test]
fn what_changes_after_an_image_is_not_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut pipeline = filled(500);
    let (image, pending) = (pipeline.image(), pipeline.pending());
    for second in 500..1_400 {
        pipeline.take(0, &label(Some("eta"), &(second - 490).to_string(), at(second), 0.0), at(second)).unwrap();
        pipeline.advance(at(second));
    }
    let written = snapshot::write(directory.path(), at(8), marks(), pending, &image, || true).unwrap();
    let mut after = Pipeline::new(eta(), KEY);
    read(directory.path(), &written.file, &mut after).unwrap();
    assert_eq!(after.pending(), pending);
    let mut calm = Pipeline::new(eta(), KEY);
    let calm_file = write(directory.path(), &filled(500));
    read(directory.path(), &calm_file.file, &mut calm).unwrap();
    assert_eq!(fate(after), fate(calm));
}

#[test]
fn damage_anywhere_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let written = write(directory.path(), &filled(300));
    let file = directory.path().join(&written.file);
    let whole = fs::read(&file).unwrap();
    let usable = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        read(directory.path(), &written.file, &mut Pipeline::new(eta(), KEY)).is_ok()
    };
    assert!(usable(&whole));
    for place in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        assert!(!usable(&bytes), "a flipped bit at {place} of {}", whole.len());
        assert!(!usable(&whole[..place]), "cut at {place}");
    }
    let mut newer = whole.clone();
    newer[7] = b'3';
    fs::write(&file, newer).unwrap();
    assert!(matches!(Reader::open(directory.path(), &written.file), Err(Unusable::OtherFormat)));
}

/// Names of the snapshots in a directory.
fn files(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("join-")).collect();
    names.sort();
    names
}

#[test]
fn the_state_names_one_snapshot_and_keeps_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let pipeline = filled(100);
    let state = State::open(directory.path(), at(0)).unwrap();
    assert_eq!(state.snapshot().unwrap(), None);
    let write_at =
        |second| snapshot::write(directory.path(), at(second), marks(), (1, 2), &pipeline.image(), || true).unwrap();
    let (first, second) = (write_at(1), write_at(2));
    state.name_snapshot(&first).unwrap();
    assert_eq!(files(directory.path()), std::slice::from_ref(&first.file));
    drop(second);
    let third = write_at(3);
    let stopped = snapshot::write(directory.path(), at(4), marks(), (1, 2), &pipeline.image(), || false);
    assert_eq!(stopped.unwrap_err().kind(), std::io::ErrorKind::Interrupted);
    assert_eq!(files(directory.path()).len(), 3, "a crash leaves what is not named, and what is half written");
    drop(state);
    let state = State::open(directory.path(), at(0)).unwrap();
    assert_eq!(files(directory.path()), std::slice::from_ref(&first.file));
    assert_eq!(state.snapshot().unwrap(), Some(first.clone()));
    drop(third);
    let aside = state.forget_snapshot(true).unwrap().unwrap();
    assert_eq!(files(directory.path()), [aside]);
    assert_eq!(state.snapshot().unwrap(), None);
    let fourth = write_at(5);
    state.name_snapshot(&fourth).unwrap();
    state.forget_snapshot(false).unwrap();
    assert_eq!(files(directory.path()).len(), 1, "what was damaged is kept to be looked at");
}

//! What fuzzing found, kept: every file of `fuzz/corpus/` goes through the check of its target. `tests/fuzz` looks for more.

use std::path::{Path, PathBuf};

// The checks are those of the fuzz targets, so that what a target finds fails here too.
#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a library for the targets, a module here")]
mod checks;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// The inputs of a target, by name.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(corpus(target)).expect(target);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect(target).path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect(target))).collect()
}

#[test]
fn every_kept_input_passes_its_check() {
    for (target, check) in checks::ALL {
        let mut of_use = 0;
        for (path, bytes) in inputs(target) {
            // Says which one it was, should the check panic.
            println!("{}", path.display());
            of_use += usize::from(check(&bytes));
        }
        assert!(of_use > 2, "{target}: of the kept inputs only {of_use} get past the first parser");
    }
}

/// A state after so many events.
type Seed = fn(i64) -> Vec<u8>;

/// The formats of states change; `UPDATE_CORPUS=1 cargo test --test it fuzz` writes these seeds anew.
#[test]
fn the_seeds_of_states_are_of_this_version() {
    let seeds: [(&str, Seed, checks::Check); 2] = [
        ("state", checks::state::seed, checks::state::check),
        ("snapshot", checks::snapshot::seed, checks::snapshot::check),
    ];
    for (target, seed, check) in seeds {
        for events in [0, 1, 5, 9, 14] {
            let path = corpus(target).join(format!("{events}-events"));
            if std::env::var_os("UPDATE_CORPUS").is_some() {
                std::fs::write(&path, seed(events)).expect("a seed");
            }
            let bytes = std::fs::read(&path).expect("a seed");
            assert!(check(&bytes), "{} is of another version", path.display());
        }
    }
}

#[test]
fn every_target_has_its_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(root.join("fuzz/fuzz_targets")).expect("targets");
    let mut targets: Vec<String> =
        entries.map(|entry| entry.expect("a target").file_name().to_string_lossy().replace(".rs", "")).collect();
    targets.sort();
    let mut checked: Vec<&str> = checks::ALL.iter().map(|(name, _)| *name).collect();
    checked.sort_unstable();
    assert_eq!(targets, checked);
}

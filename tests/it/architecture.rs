//! The rules of the house, enforced: who may import whom, how big a room may be, what is documented.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may import whom: each module, and the modules of this crate that its files may name. The list reads in the order
/// in which data flows; between `event` and `notification` nobody knows a source, a notifier, the state, the pages, the
/// metrics or the system's clock.
const IMPORTS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("event", &["clock"]),
    ("pattern", &[]),
    ("settings", &[]),
    ("source", &["clock", "settings"]),
    ("decode", &["clock", "event", "source"]),
    ("watermark", &["clock", "source"]),
    ("join", &["clock"]),
    ("series", &[]),
    ("indicator", &["event", "join"]),
    ("exact", &[]),
    ("summary", &["clock", "exact", "indicator", "join", "series"]),
    ("smoothing", &["clock", "indicator", "summary"]),
    ("reading", &["clock", "indicator", "smoothing"]),
    ("rule", &["reading", "smoothing"]),
    ("alert", &["clock", "rule"]),
    ("notification", &["alert", "clock", "rule"]),
    (
        "pipeline",
        &[
            "alert",
            "clock",
            "decode",
            "event",
            "exact",
            "indicator",
            "join",
            "pattern",
            "reading",
            "rule",
            "series",
            "smoothing",
            "source",
            "summary",
            "watermark",
        ],
    ),
    ("notifier", &["clock", "notification", "settings"]),
    ("failpoint", &[]),
    ("state", &["alert", "clock", "failpoint", "notification", "pipeline", "source", "watermark"]),
    ("metrics", &[]),
    ("web", &["clock", "daemon", "metrics", "pipeline", "state"]),
    (
        "config",
        &[
            "decode",
            "event",
            "indicator",
            "join",
            "notifier",
            "pattern",
            "pipeline",
            "rule",
            "settings",
            "smoothing",
            "source",
        ],
    ),
];

/// Words that the pure core must not contain outside of its tests.
const FORBIDDEN_IN_CORE: &[&str] = &[
    "async ",
    "tokio",
    "tracing",
    "std::fs",
    "std::net",
    "std::thread",
    "SystemClock",
    "Mutex",
    "println!",
    "metrics::",
];
const CORE: &[&str] = &[
    "event",
    "pattern",
    "watermark",
    "join",
    "series",
    "indicator",
    "exact",
    "summary",
    "smoothing",
    "reading",
    "rule",
    "alert",
    "notification",
    "pipeline",
];

/// Most lines of a file without its tests.
const FILE_LINES_MAX: usize = 400;

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn source_files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    files(&root).iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// The file without its tests and without comments.
fn code(text: &str) -> String {
    let production = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    production.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn module(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn is_test_file(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("/tests/")
}

#[test]
fn arrows_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut problems = BTreeSet::new();
    for (file, text) in source_files().iter().filter(|(file, _)| !is_test_file(file)) {
        let own = module(file);
        let Some(allowed) = allowed.get(own) else { continue };
        for (at, _) in code(text).match_indices("crate::") {
            let code = code(text);
            let rest = &code[at + "crate::".len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap().split(',').map(str::trim).collect(),
                None => vec![rest],
            };
            for name in names {
                let other: String = name.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                if other != own && !other.is_empty() && !allowed.contains(&other.as_str()) {
                    problems.insert(format!("{file}: `{own}` must not know `{other}`"));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_module_is_in_the_table_or_knows_everything() {
    let listed: BTreeSet<&str> =
        IMPORTS.iter().map(|(name, _)| *name).chain(["lib", "main", "daemon", "cli"]).collect();
    let missing: BTreeSet<String> = source_files()
        .iter()
        .map(|(file, _)| module(file).to_owned())
        .filter(|name| !listed.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "add to IMPORTS: {missing:?}");
}

#[test]
fn the_core_is_pure() {
    let mut problems = Vec::new();
    for (file, text) in source_files().iter().filter(|(file, _)| CORE.contains(&module(file)) && !is_test_file(file)) {
        let code = code(text);
        problems
            .extend(FORBIDDEN_IN_CORE.iter().filter(|word| code.contains(*word)).map(|word| format!("{file}: {word}")));
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_file_says_what_it_is_and_is_small() {
    let mut problems = Vec::new();
    for (file, text) in source_files() {
        if !text.starts_with("//!") {
            problems.push(format!("{file}: must begin with `//!`"));
        }
        let production = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = production.lines().count();
        if lines > FILE_LINES_MAX && !is_test_file(&file) {
            problems.push(format!("{file}: {lines} lines, two ideas?"));
        }
        for word in ["todo!", "TODO", "FIXME", "dbg!"] {
            if text.contains(word) {
                problems.push(format!("{file}: {word}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// What has a name that users write or read stands in the reference configuration or in the README.
#[test]
fn what_is_registered_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let (readme, reference) = (read("README.md"), read("config/modelwatch.toml"));
    let mut missing = Vec::new();
    for indicator in modelwatch::indicator::ALL {
        if !readme.contains(&format!("`{}`", indicator.name())) {
            missing.push(format!("README.md: indicator `{}`", indicator.name()));
        }
    }
    for (kind, _) in modelwatch::notifier::KINDS {
        if !reference.contains(&format!(".{kind}]")) {
            missing.push(format!("config/modelwatch.toml: notifier kind `{kind}`"));
        }
    }
    for bound in ["above", "below", "outside", "all_of"] {
        if !reference.contains(bound) {
            missing.push(format!("config/modelwatch.toml: rule kind `{bound}`"));
        }
    }
    if !reference.contains("[source.kafka]") {
        missing.push("config/modelwatch.toml: source `kafka`".to_owned());
    }
    for metric in modelwatch::metrics::ALL {
        if !readme.contains(&format!("`{}`", metric.name)) {
            missing.push(format!("README.md: metric `{}`", metric.name));
        }
    }
    assert!(missing.is_empty(), "not documented:\n{}", missing.join("\n"));
}

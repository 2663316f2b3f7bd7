//! What must hold for any input: one check a fuzz target. `fuzz_targets/` calls them with what libFuzzer makes up,
//! `tests/it/fuzz.rs` builds this file too and replays `corpus/`, where every input that once found something stays.
//!
//! A check panics if something is wrong, and says whether the input was of any use: whether it got past the first parser.
//! To add one: a file here, its line in [`ALL`], its target in `fuzz_targets/` and `Cargo.toml`, seeds in `corpus/`.

pub mod config;
pub mod database;
pub mod decoder;
pub mod given;
pub mod http;
pub mod notice;
pub mod snapshot;
pub mod state;

/// Checks one input.
pub type Check = fn(&[u8]) -> bool;

/// Every check, by the name of its target.
pub const ALL: &[(&str, Check)] = &[
    ("decoder", decoder::check),
    ("config", config::check),
    ("state", state::check),
    ("database", database::check),
    ("http", http::check),
    ("notice", notice::check),
    ("snapshot", snapshot::check),
];

//! modelwatch watches machine-learning models in production: it reads predictions and their labels from Kafka, joins
//! them, keeps decayed indicators, and tells people when one crosses its threshold.
//!
//! # The flow
//!
//! Every indicator is a pure function of decayed sums:
//!
//! ```text
//! record → event → outcome → sums of a tick → smoothed sums → reading → verdict → transition → notice
//! source   decode  join      summary          smoothing       reading   rule      alert        notification → notifier
//! ```
//!
//! An outcome adds a few numbers to the exact sums of its series (model and segment) and tick. When the watermark passes
//! the tick's end, the tick is sealed: its sums are smoothed, read, judged by the rules, and what changed is written to
//! the outbox in one transaction with the positions of the source. Only then is anybody told.
//!
//! # The modules, in the order in which data flows
//!
//! The words: [`clock`] (instants, the grid of ticks, the only reader of the system's clock), [`event`] (predictions and
//! labels), [`pattern`] (names with `*`), [`settings`] (typed reading of TOML that collects every mistake).
//!
//! In: [`source`] (records with their positions; Kafka, files), [`decode`] (records → events; JSON by pointers).
//!
//! The pure core, synchronous and deterministic, without I/O, clock, log or lock:
//! [`watermark`] (how far event time has come), [`join`] (predictions + labels → outcomes), [`series`] (models, segments,
//! and which of them are told apart), [`indicator`] (what is measured), [`exact`] (sums without rounding), [`summary`]
//! (outcomes → sums of a tick), [`smoothing`] (sums that fade), [`reading`] (value and effective sample size), [`rule`]
//! (reading → verdict), [`alert`] (verdict → state → transition), [`notification`] (transition → message), and
//! [`pipeline`], which owns all state and calls them in this order.
//!
//! Out: [`notifier`] (mail, webhooks), [`state`] (checkpoint, transitions, outbox: one SQLite file; snapshots of the join
//! beside it), [`metrics`] (every exported name), [`web`] (pages).
//!
//! Beside: [`failpoint`] (where tests kill the daemon; nothing in a release).
//!
//! Around: [`config`] (file → validated configuration), [`daemon`] (threads, reload, order of the end; the only place
//! that knows everything), [`cli`] (the commands).
//!
//! # Invariants
//!
//! 1. Arrows point one way: nothing left of a stage knows the stage (`tests/it/architecture.rs` has the table).
//! 2. The join, the sums and everything after them depend on the *set* of events, not on the order in which partitions
//!    interleave. What could depend on arrival is decided by time, then by content.
//! 3. Sums of a tick are exact, so corrections are subtractions; the fold in [`smoothing`] is the only step that rounds.
//! 4. No evidence, no value: an indicator without samples is `Err`, never 0; missing data neither fires nor resolves.
//! 5. Positions, state, transitions and owed notices become durable together, or not at all.
//! 6. Foreign data never panics, never stops the process, never grows memory without bound; what is not used is counted
//!    by reason.
//!
//! # Where do I add ...
//!
//! | what | file | and the lines beside it |
//! |---|---|---|
//! | an indicator | `src/indicator/<name>.rs` | `mod` and `ALL` in `indicator.rs` |
//! | a notifier | `src/notifier/<kind>.rs` | `mod`, `Config`, `KINDS` and `build` in `notifier.rs` |
//! | a source | `src/source/<kind>.rs` | `mod` in `source.rs`, its table in `config.rs` |
//! | a format | `src/decode/<name>.rs` | `mod` in `decode.rs` |
//! | a command | `src/cli/<name>.rs` | its variant in `cli.rs`, its arm in `main.rs` |
//! | a metric | | its line in `metrics.rs`, and in `ALL` there |
//! | an option | the component's `Config` | its line in `config/modelwatch.toml` (a test asks for it) |
//! | a kind of change of an alert | `src/alert.rs` | the compiler asks for the rest |

// The words of time and of what flows.
pub mod clock;
pub mod event;
pub mod pattern;
pub mod settings;

// In.
pub mod source;
pub mod decode;

// The pure core.
pub mod watermark;
pub mod join;
pub mod series;
pub mod indicator;
pub mod exact;
pub mod summary;
pub mod smoothing;
pub mod reading;
pub mod rule;
pub mod alert;
pub mod notification;
pub mod pipeline;

// Out.
pub mod notifier;
pub mod state;
pub mod metrics;
pub mod web;

// Beside.
pub mod failpoint;

// Around.
pub mod config;
pub mod daemon;
pub mod cli;

//! The integration tests: one binary, so that the library is linked once.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]
#![allow(clippy::cast_precision_loss, reason = "tests count in small numbers")]

mod config;
mod exact;
mod indicator;
mod ingest;
mod notifier;

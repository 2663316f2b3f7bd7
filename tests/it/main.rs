//! The integration tests: one binary, so that the library is linked once.

mod config;
mod exact;
mod indicator;
mod ingest;
mod notifier;

//! The integration tests: one binary, so that the library is linked once.

mod config;
mod exact;
mod given;
mod indicator;
mod ingest;
mod notifier;
mod oracle;
mod simulation;
mod smoothing;
mod timeline;

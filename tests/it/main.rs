//! The integration tests: one binary, because every further one would be linked anew.

// Says to clippy that helpers, too, may unwrap.
#![cfg(test)]
#![allow(clippy::cast_precision_loss, reason = "tests count in small numbers")]

mod architecture;
mod clock;
mod config;
mod demo;
mod end_to_end;
mod exact;
mod faults;
mod fuzz;
mod given;
mod indicator;
mod ingest;
mod ledger;
mod limits;
mod notifier;
mod oracle;
mod outbox;
mod process;
mod replay;
mod restart;
mod servers;
mod simulation;
mod smoothing;
mod snapshot;
mod state;
mod systemd;
mod timeline;
mod world;

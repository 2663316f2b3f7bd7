//! The integration tests: one binary, because every further one would be linked anew.

// Says to clippy that helpers, too, may unwrap.
#![cfg(test)]

mod servers;
mod systemd;

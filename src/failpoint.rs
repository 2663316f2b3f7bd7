//! Points at which a test can kill the daemon, to prove that a crash anywhere loses nothing and repeats nothing.
//!
//! A point stands where something has become durable, or is about to, or where the world has been told. A build with
//! debug assertions dies there if it was armed; in a release nothing of this is left.

/// The variable that arms: points in the order in which they must be passed, separated by commas. The process dies at the
/// last of them.
pub const VARIABLE: &str = "MODELWATCH_FAILPOINT";

/// Every point. `before` and `after` are meant literally; what is neither stands within.
pub const POINTS: &[&str] = &[
    // Transitions are decided and what is owed for them is written; nothing is saved.
    "decided",
    // The transaction of a commit: `half` after the checkpoint's row, `written` ahead of SQLite's COMMIT.
    "commit.before",
    "commit.half",
    "commit.written",
    "commit.after",
    // One attempt to deliver: `answered` when it is not noted what the receiver said.
    "attempt.before",
    "attempt.answered",
    "attempt.after",
    // The digests that take the place of the notices that were held back.
    "digest.before",
    "digest.after",
    // The positions that Kafka shows of us.
    "offsets.before",
    "offsets.after",
    // The snapshot of the join: `half` written, and named by the state file while the one before it is still there.
    "snapshot.half",
    "snapshot.before_rename",
    "snapshot.after_rename",
    "snapshot.named",
];

/// A name that is no point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE}: there is no point {0:?}; there are {known}", known = POINTS.join(", "))]
pub struct Unknown(String);

pub use switched::{arm, reach};

#[cfg(debug_assertions)]
mod switched {
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};

    use super::{POINTS, Unknown, VARIABLE};

    /// The points that are still to be passed, the next one last.
    static AHEAD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    /// Arms what [`VARIABLE`] says.
    ///
    /// # Errors
    ///
    /// If it names what is no point.
    pub fn arm() -> Result<(), Unknown> {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        let points: Vec<&str> = text.split(',').map(str::trim).filter(|point| !point.is_empty()).rev().collect();
        if let Some(unknown) = points.iter().find(|point| !POINTS.contains(point)) {
            return Err(Unknown((*unknown).to_owned()));
        }
        *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = points.into_iter().map(str::to_owned).collect();
        Ok(())
    }

    /// Dies here, as by SIGKILL, if this is the last point of those that were armed.
    pub fn reach(point: &str) {
        debug_assert!(POINTS.contains(&point), "{point:?} is missing in POINTS");
        let mut ahead = AHEAD.lock().unwrap_or_else(PoisonError::into_inner);
        if ahead.pop_if(|next| next == point).is_some() && ahead.is_empty() {
            // Standard error may be closed; that must not keep us alive.
            drop(writeln!(std::io::stderr(), "failpoint {point} reached"));
            std::process::abort();
        }
    }
}

#[cfg(not(debug_assertions))]
mod switched {
    use super::Unknown;

    /// Nothing can be armed.
    ///
    /// # Errors
    ///
    /// None.
    pub fn arm() -> Result<(), Unknown> {
        Ok(())
    }

    /// Nothing.
    #[inline]
    pub fn reach(_: &str) {}
}

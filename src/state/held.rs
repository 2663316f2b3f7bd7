//! Notices that are held back while the daemon catches up, until a digest tells what is left of them.

use rusqlite::params;

use super::{Error, State, outbox};
use crate::clock::Timestamp;
use crate::failpoint::reach;
use crate::notification::Message;

/// What stands beside a notice that a digest told of.
const IN_A_DIGEST: &str = "told in a digest";

impl State {
    /// The notices that are held back, in the order in which they were.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn held(&self) -> Result<Vec<Message>, Error> {
        let mut query =
            self.connection.prepare_cached("SELECT message FROM outbox WHERE state = 'held' ORDER BY number")?;
        let rows = query.query_map([], |row| outbox::message(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Owes the digests instead of the notices that were held back.
    ///
    /// # Errors
    ///
    /// If SQLite refuses; then nothing has changed.
    pub fn release(&mut self, digests: &[Message], now: Timestamp) -> Result<(), Error> {
        reach("digest.before");
        let transaction = self.connection.transaction()?;
        // From now on, only what becomes of the digest says whether somebody was told.
        transaction.execute(
            "UPDATE about SET trouble = 0 WHERE number IN (SELECT number FROM outbox WHERE state = 'held')",
            [],
        )?;
        transaction.execute(
            "UPDATE outbox SET state = 'sent', answer = ?1, ended_us = ?2 WHERE state = 'held'",
            params![IN_A_DIGEST, now.as_micros()],
        )?;
        for digest in digests {
            outbox::insert(&transaction, digest, now)?;
        }
        transaction.commit()?;
        reach("digest.after");
        Ok(())
    }
}

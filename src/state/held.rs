//! Notices that are held back while the daemon catches up, until a digest tells what is left of them.

use rusqlite::{Connection, params};

use super::{Error, State, outbox};
use crate::clock::Timestamp;
use crate::failpoint::reach;
use crate::notification::Message;

/// What stands beside a notice that a digest told of.
const IN_A_DIGEST: &str = "told in a digest";

impl State {
    /// The notices that are held back and can be read, in the order in which they were.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn held(&self) -> Result<Vec<Message>, Error> {
        Ok(held_rows(&self.connection)?.into_iter().filter_map(|(_, message)| message.ok()).collect())
    }

    /// Owes the digests instead of the notices that were held back. One that cannot be read becomes a dead letter.
    ///
    /// # Errors
    ///
    /// If SQLite refuses; then nothing has changed.
    pub fn release(&mut self, digests: &[Message], now: Timestamp) -> Result<(), Error> {
        reach("digest.before");
        let transaction = self.connection.transaction()?;
        for (id, message) in held_rows(&transaction)? {
            if let Err(problem) = message {
                outbox::bury(&transaction, &id, &format!("it cannot be read: {problem}"), now)?;
            }
        }
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

/// Id and notice of each row that is held.
fn held_rows(connection: &Connection) -> Result<Vec<(String, serde_json::Result<Message>)>, Error> {
    let mut query = connection.prepare_cached(
        "SELECT number, CAST(id AS BLOB), CAST(message AS BLOB) FROM outbox WHERE state = 'held' ORDER BY number",
    )?;
    let rows: Vec<(i64, Vec<u8>, Vec<u8>)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    let read = |(number, id, text): (i64, Vec<u8>, Vec<u8>)| {
        let id = outbox::readable_id(connection, number, id)?;
        Ok((id.clone(), outbox::read(id, &text)))
    };
    rows.into_iter().map(read).collect()
}

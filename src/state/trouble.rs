//! The log of troubles: what was wrong with the watching itself.

use rusqlite::{Transaction, params};

use super::{Error, State};
use crate::clock::Timestamp;
use crate::notification::{Trouble, TroubleKind};

/// A trouble as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedTrouble {
    /// What is wrong.
    pub trouble: Trouble,
    /// When it was noticed.
    pub at: Timestamp,
    /// Whether anybody was told; if not, that was done a while before.
    pub told: bool,
}

pub(super) fn write(transaction: &Transaction<'_>, noted: &NotedTrouble) -> rusqlite::Result<()> {
    let NotedTrouble { trouble, at, told } = noted;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO trouble_log (at_us, at, kind, place, what, since, missing_from, missing_to, told)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    insert.execute(params![
        at.as_micros(),
        at.to_string(),
        trouble.kind.name(),
        trouble.place,
        trouble.what,
        trouble.since.to_string(),
        trouble.span.map(|(from, _)| from.to_string()),
        trouble.span.map(|(_, to)| to.to_string()),
        told,
    ])?;
    Ok(())
}

impl State {
    /// What was told after `after`: kind, place, and when last.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn troubles_told(&self, after: Timestamp) -> Result<Vec<(TroubleKind, String, Timestamp)>, Error> {
        let mut query = self.connection.prepare(
            "SELECT kind, place, max(at_us) FROM trouble_log WHERE told AND at_us > ?1 GROUP BY kind, place LIMIT 10000",
        )?;
        let rows = query.query_map([after.as_micros()], |row| {
            let kind: String = row.get(0)?;
            Ok((TroubleKind::by_name(&kind), row.get(1)?, Timestamp::from_micros(row.get(2)?)))
        })?;
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        Ok(rows.into_iter().filter_map(|(kind, place, at)| Some((kind?, place, at))).collect())
    }
}

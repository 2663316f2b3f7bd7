//! Positions in the source, what is known of its partitions, and the marks from which the join can be rebuilt.

use std::collections::HashMap;

use rusqlite::{Connection, Transaction, params};

use super::{Commit, Mark};
use crate::source::{Anchor, Partition, PartitionIndex, Seen};

/// Next offsets in the order of the checkpoint's numbers, and anchors.
type Positions = (Vec<(Partition, i64)>, HashMap<Partition, Anchor>);

/// The positions as of the last commit.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Positions> {
    let mut query = connection.prepare(
        "SELECT topic, partition, next_offset, anchor_offset, anchor_millis, anchor_hash FROM position ORDER BY number",
    )?;
    let rows = query.query_map([], |row| {
        let partition = Partition { topic: row.get(0)?, number: row.get(1)? };
        let anchor: (Option<i64>, Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let anchor = match anchor {
            (Some(offset), Some(millis), Some(hash)) => Some(Anchor { offset, millis, hash: hash.cast_unsigned() }),
            _ => None,
        };
        Ok((partition, row.get(2)?, anchor))
    })?;
    let (mut positions, mut anchors) = (Vec::new(), HashMap::new());
    for row in rows {
        let (partition, next, anchor) = row?;
        anchors.extend(anchor.map(|anchor| (partition.clone(), anchor)));
        positions.push((partition, next));
    }
    Ok((positions, anchors))
}

/// Writes the positions of a commit and its marks.
pub(super) fn write(transaction: &Transaction<'_>, commit: &Commit<'_>) -> rusqlite::Result<()> {
    // Rows of former partitions would win over newer ones at the next start.
    transaction.execute("DELETE FROM position", [])?;
    let mut position = transaction.prepare_cached(
        "INSERT OR REPLACE INTO position (number, topic, partition, next_offset, end_offset, anchor_offset,
             anchor_millis, anchor_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let seen: HashMap<PartitionIndex, &Seen> = commit.seen.iter().map(|seen| (seen.partition, seen)).collect();
    for (number, (partition, next_offset)) in (0..).zip(commit.positions) {
        let end = seen.get(&number).and_then(|seen| seen.end);
        let anchor = seen.get(&number).and_then(|seen| seen.anchor);
        position.execute(params![
            number,
            partition.topic,
            partition.number,
            next_offset,
            end,
            anchor.map(|anchor| anchor.offset),
            anchor.map(|anchor| anchor.millis),
            anchor.map(|anchor| anchor.hash.cast_signed()),
        ])?;
    }
    let mut forget =
        transaction.prepare_cached("DELETE FROM mark WHERE topic = ?1 AND partition = ?2 AND next_offset >= ?3")?;
    for (partition, from) in commit.forgotten {
        forget.execute(params![partition.topic, partition.number, from])?;
    }
    let mut mark = transaction.prepare_cached(
        "INSERT OR REPLACE INTO mark (topic, partition, next_offset, newest_us, floor_us) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for Mark { partition, next_offset, frontier } in commit.marks {
        let (newest, floor) = (frontier.newest.as_micros(), frontier.floor.as_micros());
        mark.execute(params![partition.topic, partition.number, next_offset, newest, floor])?;
    }
    // A partition never has marks ahead of its position, unless its topic was made anew; also not those of this commit.
    let mut ahead =
        transaction.prepare_cached("DELETE FROM mark WHERE topic = ?1 AND partition = ?2 AND next_offset > ?3")?;
    for (partition, next_offset) in commit.positions {
        ahead.execute(params![partition.topic, partition.number, next_offset])?;
    }
    Ok(())
}

//! The file itself: opened, made, verified; what is damaged is set aside.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig::{SQLITE_DBCONFIG_ENABLE_QPSG, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE};
use rusqlite::{Connection, OptionalExtension};

use super::{Checkpoint, Error, FILE, position};
use crate::clock::Timestamp;
use crate::pipeline::Saved;

/// How many prepared statements a connection keeps: more than there are.
const STATEMENTS: usize = 64;
/// What leads from each format to the next; a new file takes all steps. One that was released is never changed.
const STEPS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];
/// The format of this version: of the schema and of what the checkpoint holds.
#[expect(clippy::cast_possible_wrap, reason = "a handful")]
pub(super) const FORMAT: i64 = STEPS.len() as i64;

/// Opens the file in `directory`. Damage is no reason to stay down: the damaged file is set aside, under a name with
/// `now` in it that is given back, and a new one is made.
pub(super) fn open(directory: &Path, now: Timestamp) -> Result<(Connection, Option<PathBuf>), Error> {
    let path = directory.join(FILE);
    match connect_and_verify(&path) {
        Err(Error::Sqlite(error)) if is_damage(&error) => {
            let aside = directory.join(format!("{FILE}.damaged-{}", now.as_micros() / 1_000_000));
            let failed = |source| Error::Directory { path: directory.to_owned(), source };
            std::fs::rename(&path, &aside).map_err(failed)?;
            for suffix in ["-wal", "-shm"] {
                // What is not there need not be moved.
                let _absent = std::fs::rename(
                    directory.join(format!("{FILE}{suffix}")),
                    directory.join(format!("{}{suffix}", aside.display())),
                );
            }
            let mut connection = connect(&path)?;
            migrate(&mut connection)?;
            Ok((connection, Some(aside)))
        }
        opened => Ok((opened?, None)),
    }
}

/// A connection to the file, which is made, empty, if it is not there.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    keep_log(&connection, true)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // The parameters of a statement must not make SQLite plan it anew at each use.
    connection.set_db_config(SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // Power loss must not lose a commit: what is told outside depends on it.
    connection.pragma_update(None, "synchronous", "full")?;
    keep_log(&connection, false)?;
    Ok(connection)
}

/// Says whether closing leaves the log as it is, which a file that is set aside needs.
fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

/// Brings a file of an older format up to this version's, step by step.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let reached = usize::try_from(format_of(connection)?).map_err(|_| rusqlite::Error::InvalidQuery)?;
    for (format, step) in (1..).zip(STEPS).skip(reached) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", format)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The format of a file; zero if it is empty.
pub(super) fn format_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Opens the file and makes sure that all of it can be read; damage is an error.
fn connect_and_verify(path: &Path) -> Result<Connection, Error> {
    let mut connection = connect(path)?;
    keep_log(&connection, true)?;
    let format = format_of(&connection)?;
    if format > FORMAT {
        return Err(Error::Newer { format });
    }
    migrate(&mut connection)?;
    // Not `quick_check`: with an index that does not fit its table every later commit would fail.
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" || !has_our_schema(&connection)? {
        return Err(rusqlite::Error::InvalidQuery.into());
    }
    checkpoint(&connection)?;
    keep_log(&connection, false)?;
    Ok(connection)
}

/// Whether tables, indices and triggers are word for word those of this version, whatever else there is. The check of
/// SQLite reads no trigger.
fn has_our_schema(connection: &Connection) -> rusqlite::Result<bool> {
    let mut ours = Connection::open_in_memory()?;
    migrate(&mut ours)?;
    let words = |connection: &Connection| -> rusqlite::Result<BTreeSet<Vec<u8>>> {
        let mut query = connection.prepare("SELECT CAST(sql AS BLOB) FROM sqlite_schema WHERE sql IS NOT NULL")?;
        query.query_map([], |row| row.get(0))?.collect()
    };
    Ok(words(&ours)?.is_subset(&words(connection)?))
}

/// What the last commit left, if there was one. What is not of this version or damaged is an error.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<Option<Checkpoint>> {
    let blob: Option<Vec<u8>> =
        connection.query_row("SELECT saved FROM checkpoint", [], |row| row.get(0)).optional()?;
    let Some(blob) = blob else { return Ok(None) };
    let saved = Saved::decode(&blob).ok_or(rusqlite::Error::InvalidQuery)?;
    let (positions, anchors) = position::read(connection)?;
    Ok(Some(Checkpoint { saved, positions, anchors }))
}

/// Leaves a row out that cannot be read, where the others are of use without it.
pub(super) fn readable<T>(row: rusqlite::Result<T>) -> Option<rusqlite::Result<T>> {
    match row {
        Err(error) if is_unreadable(&error) => None,
        row => Some(row),
    }
}

/// Whether a value is none of its column, though the file is whole.
fn is_unreadable(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Whether an error says that the file is no state of ours: worth setting it aside, unlike a full disk.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::InvalidQuery => true,
        unreadable if is_unreadable(unreadable) => true,
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(
                failure.code,
                rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::Unknown
            )
        }
        _ => false,
    }
}

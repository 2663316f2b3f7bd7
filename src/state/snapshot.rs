//! The join table on disk: a file beside the state file, named by it.
//!
//! The file is written while the flow goes on, under another name, and renamed when it is whole and synced; only then
//! does a commit name it. So whatever is named is whole and older than the checkpoint, and a restart reads it and then
//! the source from its positions on. Each part bears its length and a checksum, and the last says how many there are.

use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::{Error, Mark, State};
use crate::clock::Timestamp;
use crate::failpoint::reach;
use crate::pipeline::Image;

/// What the file begins with; the last letter is the version of its format.
const MAGIC: &[u8; 8] = b"mwjoin\n2";
const PREFIX: &str = "join-";
const SUFFIX: &str = ".snapshot";
/// While it is written, and when it was found to be damaged.
const UNFINISHED: &str = ".unfinished";
const DAMAGED: &str = ".damaged";

/// A snapshot that is whole, as the state file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Name of the file, in the state directory.
    pub file: String,
    /// The instant of which it is.
    pub at: Timestamp,
    /// Its length.
    pub bytes: i64,
    /// Predictions and labels in it.
    pub pending: (i64, i64),
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file cannot be read; it may be gone.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is not what was written.
    #[error("it is damaged")]
    Damaged,
    /// A newer version wrote it.
    #[error("it is of a format that this version does not know")]
    OtherFormat,
    /// It belongs to another configuration.
    #[error("{0}")]
    NotOurs(#[from] crate::pipeline::NotAnImage),
}

#[derive(Serialize, Deserialize)]
struct Head {
    marks: Vec<Mark>,
}

/// Writes an image into `directory`. `marks` are the positions and frontiers of the same instant; `keep_writing` is
/// asked between its parts.
///
/// # Errors
///
/// What the system says; [`io::ErrorKind::Interrupted`] if it was told to stop.
pub fn write(
    directory: &Path,
    at: Timestamp,
    marks: Vec<Mark>,
    pending: (usize, usize),
    image: &Image,
    keep_writing: impl Fn() -> bool,
) -> io::Result<Snapshot> {
    let file = format!("{PREFIX}{}{SUFFIX}", at.as_micros());
    let unfinished = directory.join(format!("{file}{UNFINISHED}"));
    let mut out = Parts { out: BufWriter::with_capacity(1 << 18, File::create(&unfinished)?), count: 0, bytes: 8 };
    out.out.write_all(MAGIC)?;
    out.write(&postcard::to_stdvec(&Head { marks }).map_err(io::Error::other)?)?;
    for part in image.parts() {
        if !keep_writing() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        out.write(&part)?;
        reach("snapshot.half");
    }
    let bytes = i64::try_from(out.finish()?).unwrap_or(i64::MAX);
    reach("snapshot.before_rename");
    fs::rename(&unfinished, directory.join(&file))?;
    reach("snapshot.after_rename");
    // The name itself must survive a power loss before a commit relies on it.
    File::open(directory)?.sync_all()?;
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    Ok(Snapshot { file, at, bytes, pending: (number(pending.0), number(pending.1)) })
}

/// Writes parts, each with its length and checksum.
struct Parts {
    out: BufWriter<File>,
    count: u64,
    bytes: u64,
}

impl Parts {
    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        self.out.write_all(&(part.len() as u64).to_le_bytes())?;
        self.out.write_all(&checksum(part).to_le_bytes())?;
        self.out.write_all(part)?;
        self.count += 1;
        self.bytes += 16 + part.len() as u64;
        Ok(())
    }

    /// Marks the end and makes all durable; gives the length of the file.
    fn finish(mut self) -> io::Result<u64> {
        self.out.write_all(&0_u64.to_le_bytes())?;
        self.out.write_all(&self.count.to_le_bytes())?;
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(self.bytes + 16)
    }
}

fn checksum(part: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(part);
    hasher.finish()
}

/// A snapshot that is being read.
#[derive(Debug)]
pub struct Reader {
    /// Positions and frontiers at its instant.
    pub marks: Vec<Mark>,
    input: BufReader<File>,
    left: u64,
    count: u64,
}

impl Reader {
    /// Opens a snapshot in `directory`.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is none.
    pub fn open(directory: &Path, file: &str) -> Result<Reader, Unusable> {
        let file = File::open(directory.join(file))?;
        let left = file.metadata()?.len();
        let mut input = BufReader::with_capacity(1 << 18, file);
        let mut magic = [0; 8];
        input.read_exact(&mut magic).map_err(|_| Unusable::Damaged)?;
        if magic != *MAGIC {
            return Err(if magic[..7] == MAGIC[..7] { Unusable::OtherFormat } else { Unusable::Damaged });
        }
        let mut reader = Reader { marks: Vec::new(), input, left: left - 8, count: 0 };
        let head = reader.next_part()?.ok_or(Unusable::Damaged)?;
        let head: Head = postcard::from_bytes(&head).map_err(|_| Unusable::Damaged)?;
        Ok(Reader { marks: head.marks, ..reader })
    }

    /// The next part of the image; `None` at the end of a whole file.
    ///
    /// # Errors
    ///
    /// If it is damaged or ends too early.
    pub fn next_part(&mut self) -> Result<Option<Vec<u8>>, Unusable> {
        let (length, check) = (self.number()?, self.number()?);
        if length == 0 {
            return if check == self.count { Ok(None) } else { Err(Unusable::Damaged) };
        }
        // No more than there is: a damaged length must not ask for all memory.
        let length = usize::try_from(length).ok().filter(|_| length <= self.left).ok_or(Unusable::Damaged)?;
        let mut part = vec![0; length];
        self.input.read_exact(&mut part).map_err(|_| Unusable::Damaged)?;
        self.left -= length as u64;
        self.count += 1;
        if checksum(&part) == check { Ok(Some(part)) } else { Err(Unusable::Damaged) }
    }

    fn number(&mut self) -> Result<u64, Unusable> {
        let mut bytes = [0; 8];
        self.input.read_exact(&mut bytes).map_err(|_| Unusable::Damaged)?;
        self.left = self.left.saturating_sub(8);
        Ok(u64::from_le_bytes(bytes))
    }
}

impl State {
    /// The snapshot of the join table that goes with the checkpoint, if there is one.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, Error> {
        Ok(named(&self.connection)?)
    }

    /// Names a snapshot that is whole and older than the checkpoint; the one before it is removed.
    ///
    /// # Errors
    ///
    /// If SQLite refuses; then the one before it stays.
    pub fn name_snapshot(&self, snapshot: &Snapshot) -> Result<(), Error> {
        name(&self.connection, snapshot)?;
        reach("snapshot.named");
        remove_others(&self.directory, Some(&snapshot.file));
        Ok(())
    }

    /// The snapshot is of no use any more: the positions it goes on from mean something else, or it cannot be read. A file
    /// that cannot be read is set aside; gives its new name.
    ///
    /// # Errors
    ///
    /// If SQLite refuses.
    pub fn forget_snapshot(&self, is_damaged: bool) -> Result<Option<String>, Error> {
        let named = self.snapshot()?;
        self.connection.execute("DELETE FROM snapshot", [])?;
        let aside = named.filter(|_| is_damaged).and_then(|named| set_aside(&self.directory, &named.file));
        remove_others(&self.directory, None);
        Ok(aside)
    }
}

/// The snapshot that the state file names.
pub(super) fn named(connection: &Connection) -> rusqlite::Result<Option<Snapshot>> {
    let row = |row: &Row<'_>| {
        let at = Timestamp::from_micros(row.get(1)?);
        Ok(Snapshot { file: row.get(0)?, at, bytes: row.get(2)?, pending: (row.get(3)?, row.get(4)?) })
    };
    connection.query_row("SELECT file, at_us, bytes, predictions, labels FROM snapshot", [], row).optional()
}

/// Lets the state file name a snapshot.
fn name(connection: &Connection, Snapshot { file, at, bytes, pending }: &Snapshot) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO snapshot (id, file, at_us, bytes, predictions, labels) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
        params![file, at.as_micros(), bytes, pending.0, pending.1],
    )?;
    Ok(())
}

/// Puts a file that cannot be used out of the way, in place of an earlier one; gives its new name if there was one.
fn set_aside(directory: &Path, file: &str) -> Option<String> {
    remove(directory, |name| name.ends_with(DAMAGED));
    let aside = format!("{file}{DAMAGED}");
    fs::rename(directory.join(file), directory.join(&aside)).ok().map(|()| aside)
}

/// Removes all snapshots but the one of that name, and but what is being written or was damaged.
pub(super) fn remove_others(directory: &Path, kept: Option<&str>) {
    remove(directory, |name| name.ends_with(SUFFIX) && Some(name) != kept);
}

/// Removes what a crash left half written.
pub(super) fn remove_unfinished(directory: &Path) {
    remove(directory, |name| name.ends_with(UNFINISHED));
}

/// Removes snapshots by their name. What cannot be removed is in nobody's way.
fn remove(directory: &Path, unwanted: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && unwanted(name))
            && let Err(problem) = fs::remove_file(entry.path())
        {
            tracing::warn!(%problem, file = %entry.path().display(), "an old snapshot cannot be removed");
        }
    }
}

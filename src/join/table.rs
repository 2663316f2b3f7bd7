//! The store of rows: found by fingerprint, expired by time, copied without stopping anybody.
//!
//! Rows lie in chunks of at most [`ROWS_MAX`], all of one tick and with the same time to wait, so that a row needs no
//! schedule of its own, its time is a small offset, and what goes together lies together. The index says where the rows
//! of a fingerprint are.
//! Chunks are shared with a copy of the table until either side changes one (copy on write, 2 KiB at a time: labels that
//! find predictions all over the table copy a chunk each while a snapshot is written).

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::Fingerprint;
use super::index::Index;
use crate::clock::{Tick, TickGrid, Timestamp};

/// Most rows of a chunk: what is copied at once while a copy of the table is being written.
const ROWS_MAX: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 6;
/// Most chunks; an address has 32 bits, which are not all ones.
const CHUNKS_MAX: usize = (1 << (32 - SLOT_BITS)) - 1;

/// Where a row is: chunk and slot.
pub(super) type Address = u32;
/// Number of a chunk.
pub(super) type ChunkId = u32;
/// Rows of one fingerprint, seldom more than one.
pub(super) type Found = SmallVec<[Address; 2]>;

/// What is kept in a table.
pub(super) trait Row: Copy {
    fn fingerprint(&self) -> Fingerprint;
    /// From the beginning of its tick.
    fn offset_micros(&self) -> u32;
    fn is_removed(&self) -> bool;
    fn remove(&mut self);
    /// What stands in slots that are not filled yet.
    fn vacant() -> Self;
}

/// Which chunks a row may lie in: how long it waits, and the tick of its time.
pub(super) type Place = (i64, Tick);

#[derive(Debug)]
struct Chunk<R> {
    place: Place,
    /// One allocation, so that the way to a row is short. As long as the tick is open, vacant slots stand behind the
    /// filled ones.
    rows: Arc<[R]>,
    /// The predictions' ages in seconds, NaN for none, by slot; may be shorter. Only needed while the tick is open.
    ages: Option<Arc<Vec<f64>>>,
    /// Slots that were ever filled.
    filled: u8,
    /// Rows that are not removed.
    live: u8,
    /// Slots at the beginning that are known to be removed.
    passed: u8,
}

/// A chunk of a copy of the table.
#[derive(Debug)]
pub(super) struct Shared<R> {
    pub(super) id: ChunkId,
    /// Beginning of its tick.
    pub(super) begin: Timestamp,
    /// Also removed ones, and vacant slots.
    pub(super) rows: Arc<[R]>,
    /// By slot; may be shorter.
    pub(super) ages: Option<Arc<Vec<f64>>>,
}

/// A table of rows.
#[derive(Debug)]
pub(super) struct Table<R> {
    grid: TickGrid,
    index: Index,
    chunks: Vec<Chunk<R>>,
    free: Vec<ChunkId>,
    /// Chunks that have room, of open ticks.
    filling: HashMap<Place, ChunkId>,
    /// Chunks of ticks that are not closed.
    open: BTreeMap<Tick, Vec<ChunkId>>,
    /// When chunks are to be looked at. Every chunk that is not free is in it, but for those that [`Table::due`] gave.
    due: BTreeMap<Tick, Vec<ChunkId>>,
    len: usize,
}

#[expect(clippy::cast_possible_truncation, reason = "a slot is less than 64")]
fn address(chunk: ChunkId, slot: usize) -> Address {
    chunk << SLOT_BITS | slot as u32
}

fn slot(address: Address) -> usize {
    (address as usize) % ROWS_MAX
}

impl<R: Row> Table<R> {
    pub(super) fn new(grid: TickGrid) -> Table<R> {
        Table {
            grid,
            index: Index::new(),
            chunks: Vec::new(),
            free: Vec::new(),
            filling: HashMap::new(),
            open: BTreeMap::new(),
            due: BTreeMap::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether another chunk can be made.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty() || self.chunks.len() < CHUNKS_MAX
    }

    fn chunk(&self, address: Address) -> &Chunk<R> {
        &self.chunks[(address >> SLOT_BITS) as usize]
    }

    fn chunk_mut(&mut self, address: Address) -> &mut Chunk<R> {
        &mut self.chunks[(address >> SLOT_BITS) as usize]
    }

    pub(super) fn row(&self, address: Address) -> R {
        self.chunk(address).rows[slot(address)]
    }

    pub(super) fn row_mut(&mut self, address: Address) -> &mut R {
        &mut Arc::make_mut(&mut self.chunk_mut(address).rows)[slot(address)]
    }

    pub(super) fn age_seconds(&self, address: Address) -> Option<f64> {
        self.chunk(address).ages.as_ref()?.get(slot(address)).copied().filter(|age| !age.is_nan())
    }

    /// The time of a row.
    pub(super) fn at(&self, address: Address) -> Timestamp {
        let chunk = self.chunk(address);
        let offset = chunk.rows[slot(address)].offset_micros();
        time_of(self.grid, chunk.place.1, offset)
    }

    /// Reads where the rows of a fingerprint are looked up.
    pub(super) fn touch(&self, fingerprint: Fingerprint) {
        self.index.touch(fingerprint);
    }

    /// The rows that bear a fingerprint.
    pub(super) fn find(&self, fingerprint: Fingerprint) -> Found {
        let candidates = self.index.find(fingerprint);
        candidates.filter(|address| self.row(*address).fingerprint() == fingerprint).collect()
    }

    /// Puts a row where it is found by its fingerprint and looked at when its place says so.
    pub(super) fn insert(&mut self, place: Place, row: R, age_seconds: Option<f64>) -> Address {
        let id = match self.filling.get(&place) {
            Some(id) => *id,
            None => self.new_chunk(place),
        };
        let chunk = &mut self.chunks[id as usize];
        let slot = usize::from(chunk.filled);
        let address = address(id, slot);
        Arc::make_mut(&mut chunk.rows)[slot] = row;
        if let Some(age) = age_seconds {
            let ages = Arc::make_mut(chunk.ages.get_or_insert_default());
            ages.resize(slot, f64::NAN);
            ages.push(age);
        }
        chunk.filled += 1;
        chunk.live += 1;
        self.len += 1;
        if usize::from(chunk.filled) == ROWS_MAX {
            self.filling.remove(&place);
        }
        self.index.insert(row.fingerprint(), address);
        address
    }

    fn new_chunk(&mut self, place: Place) -> ChunkId {
        let chunk =
            Chunk { place, rows: Arc::from([R::vacant(); ROWS_MAX]), ages: None, filled: 0, live: 0, passed: 0 };
        let id = match self.free.pop() {
            Some(id) => {
                self.chunks[id as usize] = chunk;
                id
            }
            None => {
                self.chunks.push(chunk);
                ChunkId::try_from(self.chunks.len() - 1).unwrap_or(ChunkId::MAX)
            }
        };
        let (wait, tick) = place;
        self.filling.insert(place, id);
        self.open.entry(tick).or_default().push(id);
        let first = time_of(self.grid, tick, 0).as_micros().saturating_add(wait);
        self.look_at(id, Timestamp::from_micros(first));
        id
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, address: Address) {
        if self.forget(address) {
            self.row_mut(address).remove();
        }
    }

    /// Takes rows of one chunk out. If they are all it holds, nothing is copied.
    pub(super) fn remove_all(&mut self, id: ChunkId, addresses: &[Address]) {
        for address in addresses {
            self.forget(*address);
        }
        let chunk = &mut self.chunks[id as usize];
        if chunk.live == 0 {
            chunk.rows = Arc::from([]);
        } else {
            addresses.iter().for_each(|address| self.row_mut(*address).remove());
        }
    }

    /// Lets a row be found no more; whether it was.
    fn forget(&mut self, address: Address) -> bool {
        let fingerprint = self.row(address).fingerprint();
        if !self.index.remove(fingerprint, address) {
            return false;
        }
        self.chunk_mut(address).live -= 1;
        self.len -= 1;
        true
    }

    /// Takes the chunks that are to be looked at up to the end of `tick` out of the schedule. Each must be given back by
    /// [`Table::look_at`] or [`Table::free_if_empty`].
    pub(super) fn due(&mut self, tick: Tick) -> Vec<ChunkId> {
        let later = self.due.split_off(&(tick + 1));
        let due = std::mem::replace(&mut self.due, later);
        due.into_values().flatten().collect()
    }

    /// The rows of a chunk that are not removed.
    pub(super) fn live(&self, id: ChunkId) -> Vec<Address> {
        let rows = self.chunks[id as usize].rows.iter().enumerate();
        rows.filter(|(_, row)| !row.is_removed()).map(|(slot, _)| address(id, slot)).collect()
    }

    /// Whether most of a chunk is gone, so that what is left should lie elsewhere.
    pub(super) fn is_sparse(&self, id: ChunkId) -> bool {
        let chunk = &self.chunks[id as usize];
        u32::from(chunk.live) * 4 < u32::from(chunk.filled)
    }

    /// Lets a chunk be looked at when `at` has passed.
    pub(super) fn look_at(&mut self, id: ChunkId, at: Timestamp) {
        self.due.entry(self.grid.tick_of(at)).or_default().push(id);
    }

    /// Frees a chunk that is out of the schedule; whether it was empty.
    pub(super) fn free_if_empty(&mut self, id: ChunkId) -> bool {
        let chunk = &mut self.chunks[id as usize];
        if chunk.live > 0 {
            return false;
        }
        chunk.rows = Arc::from([]);
        chunk.ages = None;
        let place = chunk.place;
        self.stop_filling(id, place);
        if let Some(open) = self.open.get_mut(&place.1) {
            open.retain(|other| *other != id);
        }
        self.free.push(id);
        true
    }

    fn stop_filling(&mut self, id: ChunkId, place: Place) {
        if self.filling.get(&place) == Some(&id) {
            self.filling.remove(&place);
        }
    }

    /// No more rows are to be expected at the times up to the end of `tick`: what was kept for them is let go.
    pub(super) fn close(&mut self, tick: Tick) {
        let later = self.open.split_off(&(tick + 1));
        for id in std::mem::replace(&mut self.open, later).into_values().flatten() {
            let chunk = &mut self.chunks[id as usize];
            chunk.ages = None;
            let filled = usize::from(chunk.filled);
            if filled < chunk.rows.len() {
                chunk.rows = Arc::from(&chunk.rows[..filled]);
            }
            let place = chunk.place;
            self.stop_filling(id, place);
        }
    }

    /// Lets every chunk be looked at at the next opportunity: how long rows wait has changed.
    pub(super) fn look_at_all(&mut self) {
        let all: Vec<ChunkId> = std::mem::take(&mut self.due).into_values().flatten().collect();
        self.due.insert(Tick::MIN, all);
    }

    /// The first row that is to be looked at, if there is one.
    pub(super) fn oldest(&mut self) -> Option<Address> {
        loop {
            let mut first = self.due.first_entry()?;
            let Some(id) = first.get().first().copied() else {
                first.remove();
                continue;
            };
            let chunk = &mut self.chunks[id as usize];
            while chunk.rows.get(usize::from(chunk.passed)).is_some_and(Row::is_removed) {
                chunk.passed += 1;
            }
            if chunk.live > 0 {
                return Some(address(id, chunk.passed.into()));
            }
            first.get_mut().remove(0);
            self.free_if_empty(id);
        }
    }

    /// All chunks that hold something; shared until either side changes one.
    pub(super) fn share(&self) -> Vec<Shared<R>> {
        let all = (0..).zip(&self.chunks).filter(|(_, chunk)| chunk.live > 0);
        let share = |(id, chunk): (ChunkId, &Chunk<R>)| Shared {
            id,
            begin: time_of(self.grid, chunk.place.1, 0),
            rows: Arc::clone(&chunk.rows),
            ages: chunk.ages.clone(),
        };
        all.map(share).collect()
    }
}

fn time_of(grid: TickGrid, tick: Tick, offset_micros: u32) -> Timestamp {
    let begin = grid.end_of(tick.saturating_sub(1));
    Timestamp::from_micros(begin.as_micros().saturating_add(i64::from(offset_micros)))
}

/// Where a slot of a shared chunk was.
pub(super) fn address_in(chunk: ChunkId, slot: usize) -> Address {
    address(chunk, slot)
}

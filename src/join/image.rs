//! The table as a value: taken without stopping anybody, encoded in blocks, and read back into another table.
//!
//! An image shares the chunks of the table; whatever the table changes afterwards is copied first. A block is the rows
//! of one chunk with the beginning of their tick, so it can be read into a table with other ticks, other windows and
//! other numbers of models and slices.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::row::{LabelRow, PredictionRow, REPEATED};
use super::table::{Address, Row, Shared, address_in};
use super::{Entry, Join, Meaning, Sample, Truth};
use crate::clock::Timestamp;

/// The table at one instant.
#[derive(Debug)]
pub struct Image {
    predictions: Vec<Shared<PredictionRow>>,
    last_at: HashMap<Address, Timestamp>,
    labels: Vec<Shared<LabelRow>>,
}

/// What stands before the rows of a block.
#[derive(Serialize, Deserialize)]
struct Head {
    are_labels: bool,
    rows: u32,
    /// Beginning of their tick.
    begin: Timestamp,
    /// By row; may be shorter.
    ages: Vec<f64>,
    /// For each row that was repeated, in order.
    last_at: Vec<Timestamp>,
}

/// Turns the numbers in an image into those of the table that reads it.
pub trait Renumber {
    /// The slice's number; `None` if nobody watches its model any more.
    fn slice(&self, old: u32) -> Option<u32>;
    /// The model's number; `None` if nobody watches it any more.
    fn model(&self, old: u32) -> Option<u32>;
    /// The class's number; `None` if there is none of that number.
    fn class(&self, old: u32) -> Option<u32>;
}

impl Image {
    /// The blocks, one after the other, so that only one is in memory twice.
    pub fn blocks(&self) -> impl Iterator<Item = Vec<u8>> {
        let predictions = self.predictions.iter().filter_map(|chunk| self.predictions(chunk));
        let labels = self.labels.iter().filter_map(|chunk| {
            let live = chunk.rows.iter().filter(|row| !row.is_removed());
            let rows = u32::try_from(live.clone().count()).ok()?;
            let head = Head { are_labels: true, rows, begin: chunk.begin, ages: Vec::new(), last_at: Vec::new() };
            block(&head, LabelRow::ENCODED, live.map(|row| move |out: &mut Vec<u8>| row.encode(out)))
        });
        predictions.chain(labels)
    }

    fn predictions(&self, chunk: &Shared<PredictionRow>) -> Option<Vec<u8>> {
        let (id, begin) = (chunk.id, chunk.begin);
        let live = chunk.rows.iter().enumerate().filter(|(_, row)| !row.is_removed());
        let ages = chunk.ages.as_ref().map_or_else(Vec::new, |ages| {
            live.clone().map(|(slot, _)| ages.get(slot).copied().unwrap_or(f64::NAN)).collect()
        });
        let repeated = live.clone().filter(|(_, row)| row.has(REPEATED));
        let last_at = repeated.map(|(slot, _)| self.last_at.get(&address_in(id, slot)).copied().unwrap_or(begin));
        let rows = u32::try_from(live.clone().count()).ok()?;
        let head = Head { are_labels: false, rows, begin, ages, last_at: last_at.collect() };
        block(&head, PredictionRow::ENCODED, live.map(|(_, row)| move |out: &mut Vec<u8>| row.encode(out)))
    }
}

fn block(head: &Head, row_bytes: usize, rows: impl Iterator<Item = impl Fn(&mut Vec<u8>)>) -> Option<Vec<u8>> {
    let mut out = postcard::to_stdvec(head).ok()?;
    out.reserve(head.rows as usize * row_bytes);
    rows.for_each(|encode| encode(&mut out));
    Some(out)
}

impl Join {
    /// The table as it is now. Costs little: the rows are shared.
    pub fn image(&self) -> Image {
        Image { predictions: self.predictions.share(), last_at: self.last_at.clone(), labels: self.labels.share() }
    }

    /// Goes on as of an image: what was sealed until then stays.
    pub fn begin_reading(&mut self, sealed_until: Timestamp) {
        self.sealed = sealed_until;
    }

    /// Puts the rows of a block into the table, as they were; those that nobody watches any more are left out.
    ///
    /// `None` if the bytes are no block.
    pub fn read_block(&mut self, bytes: &[u8], numbers: &impl Renumber, meaning: &impl Meaning) -> Option<()> {
        let (head, rows): (Head, &[u8]) = postcard::take_from_bytes(bytes).ok()?;
        let row_bytes = if head.are_labels { LabelRow::ENCODED } else { PredictionRow::ENCODED };
        if rows.len() != (head.rows as usize).checked_mul(row_bytes)? {
            return None;
        }
        let mut last_at = head.last_at.iter().copied();
        for (index, row) in rows.chunks_exact(row_bytes).enumerate() {
            if head.are_labels {
                self.read_label(head.begin, LabelRow::decode(row)?, numbers);
            } else {
                let row = PredictionRow::decode(row)?;
                let age = head.ages.get(index).copied().filter(|age| !age.is_nan());
                let last_at = if row.has(REPEATED) { last_at.next() } else { None };
                self.read_prediction(head.begin, row, age, last_at, numbers, meaning);
            }
        }
        self.evict(&mut Vec::new());
        Some(())
    }

    fn read_prediction(
        &mut self,
        begin: Timestamp,
        row: PredictionRow,
        age_seconds: Option<f64>,
        last_at: Option<Timestamp>,
        numbers: &impl Renumber,
        meaning: &impl Meaning,
    ) {
        let Some(slice) = numbers.slice(row.slice()) else { return };
        let at = time(begin, &row);
        let sample = Sample { answer: row.answer(), age_seconds, slice };
        let last_at = last_at.unwrap_or(at);
        self.put(Entry { fingerprint: row.fingerprint(), at, last_at, sample, state: row.state() }, meaning);
    }

    fn read_label(&mut self, begin: Timestamp, row: LabelRow, numbers: &impl Renumber) {
        let model = match row.model() {
            None => None,
            Some(old) => match numbers.model(old) {
                Some(model) => Some(model),
                None => return,
            },
        };
        let truth = match row.truth() {
            Truth::Class(old) => match numbers.class(old) {
                Some(class) => Truth::Class(class),
                None => return,
            },
            truth => truth,
        };
        let (tick, offset) = self.grid.split(time(begin, &row));
        let wait = self.early_micros(model);
        self.labels.insert((wait, tick), row.renumbered(model, truth, offset), None);
    }
}

fn time(begin: Timestamp, row: &impl Row) -> Timestamp {
    Timestamp::from_micros(begin.as_micros().saturating_add(i64::from(row.offset_micros())))
}

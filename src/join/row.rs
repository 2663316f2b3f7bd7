//! How predictions and labels lie in memory: 32 and 40 bytes, so that a small machine holds tens of millions.
//!
//! What can be derived is not kept: the model follows from the slice, the time is an offset within the tick of the row's
//! chunk, and which label a prediction has is known by the label (see [`super::Join`]).

use super::table::Row;
use super::{Answer, Fingerprint, Truth};

/// A prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PredictionRow {
    fingerprint: [u64; 2],
    /// The score if there is one, else the value.
    answer: u64,
    /// The slice in the low bits, flags in the high ones.
    slice: u32,
    offset_micros: u32,
}

const SLICE: u32 = (1 << 25) - 1;
/// It was taken out, or has gone.
const REMOVED: u32 = 1 << 31;
/// It has found its label.
pub(super) const LABELLED: u32 = 1 << 30;
/// It was counted as unlabelled.
pub(super) const EXPIRED: u32 = 1 << 29;
/// It was repeated; the time of the last repetition is kept beside the table.
pub(super) const REPEATED: u32 = 1 << 28;
const SCORED: u32 = 1 << 27;
/// The value is 1. Only beside a score, where the value is a class.
const POSITIVE: u32 = 1 << 26;
/// The label it has is not kept any more; another one that is kept is not its own.
pub(super) const SETTLED: u32 = 1 << 25;
/// What goes with a prediction wherever its row lies.
pub(super) const STATE: u32 = LABELLED | EXPIRED | SETTLED;

impl PredictionRow {
    /// Bytes of an encoded row.
    pub(super) const ENCODED: usize = 32;

    pub(super) fn new(fingerprint: Fingerprint, answer: Answer, slice: u32, offset_micros: u32) -> PredictionRow {
        let (bits, flags) = match answer.score {
            Some(score) if answer.value == 1.0 => (score.to_bits(), SCORED | POSITIVE),
            Some(score) => (score.to_bits(), SCORED),
            None => (answer.value.to_bits(), 0),
        };
        debug_assert!(slice <= SLICE, "fewer slices than that are ever made");
        PredictionRow { fingerprint: halves(fingerprint), answer: bits, slice: slice & SLICE | flags, offset_micros }
    }

    pub(super) fn answer(&self) -> Answer {
        let number = f64::from_bits(self.answer);
        if self.has(SCORED) {
            Answer { value: f64::from(u8::from(self.has(POSITIVE))), score: Some(number) }
        } else {
            Answer { value: number, score: None }
        }
    }

    pub(super) fn slice(&self) -> u32 {
        self.slice & SLICE
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.slice & flag != 0
    }

    /// Its flags among [`STATE`].
    pub(super) fn state(&self) -> u32 {
        self.slice & STATE
    }

    pub(super) fn with(self, flag: u32) -> PredictionRow {
        PredictionRow { slice: self.slice | flag, ..self }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fingerprint[0].to_le_bytes());
        out.extend_from_slice(&self.fingerprint[1].to_le_bytes());
        out.extend_from_slice(&self.answer.to_le_bytes());
        out.extend_from_slice(&self.slice.to_le_bytes());
        out.extend_from_slice(&self.offset_micros.to_le_bytes());
    }

    /// `None` if there are too few bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<PredictionRow> {
        let fingerprint = [u64_at(bytes, 0)?, u64_at(bytes, 8)?];
        let (answer, slice) = (u64_at(bytes, 16)?, u32_at(bytes, 24)?);
        Some(PredictionRow { fingerprint, answer, slice, offset_micros: u32_at(bytes, 28)? })
    }
}

impl Row for PredictionRow {
    fn fingerprint(&self) -> Fingerprint {
        whole(self.fingerprint)
    }

    fn offset_micros(&self) -> u32 {
        self.offset_micros
    }

    fn is_removed(&self) -> bool {
        self.has(REMOVED)
    }

    fn remove(&mut self) {
        self.slice |= REMOVED;
    }

    fn vacant() -> PredictionRow {
        PredictionRow { fingerprint: [0; 2], answer: 0, slice: REMOVED, offset_micros: 0 }
    }
}

/// A label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LabelRow {
    fingerprint: [u64; 2],
    truth: u64,
    /// [`UNNAMED`] if labels do not name their model.
    model: u32,
    offset_micros: u32,
    /// How often the same label came.
    pub(super) copies: u32,
    /// The kind of its truth in the low bits, and how many predictions have it.
    kind_and_uses: u32,
}

const UNNAMED: u32 = u32::MAX;

const KIND_BITS: u32 = 3;
const NUMBER: u32 = 0;
const NUMERAL: u32 = 1;
const BOOLEAN: u32 = 2;
const CLASS: u32 = 3;
const GONE: u32 = 4;

impl LabelRow {
    /// Bytes of an encoded row.
    pub(super) const ENCODED: usize = 40;

    pub(super) fn new(fingerprint: Fingerprint, model: Option<u32>, truth: Truth, offset_micros: u32) -> LabelRow {
        let (kind, truth) = match truth {
            Truth::Number(number) => (NUMBER, number.to_bits()),
            Truth::Numeral(number) => (NUMERAL, number.to_bits()),
            Truth::Boolean(value) => (BOOLEAN, u64::from(value)),
            Truth::Class(name) => (CLASS, u64::from(name)),
        };
        let model = model.unwrap_or(UNNAMED);
        LabelRow { fingerprint: halves(fingerprint), truth, model, offset_micros, copies: 1, kind_and_uses: kind }
    }

    pub(super) fn truth(&self) -> Truth {
        match self.kind() {
            NUMERAL => Truth::Numeral(f64::from_bits(self.truth)),
            BOOLEAN => Truth::Boolean(self.truth != 0),
            CLASS => Truth::Class(u32::try_from(self.truth).unwrap_or(u32::MAX)),
            _ => Truth::Number(f64::from_bits(self.truth)),
        }
    }

    fn kind(&self) -> u32 {
        self.kind_and_uses % (1 << KIND_BITS)
    }

    /// How many predictions have it: at most one of each model.
    pub(super) fn uses(&self) -> u32 {
        self.kind_and_uses >> KIND_BITS
    }

    pub(super) fn set_uses(&mut self, uses: u32) {
        self.kind_and_uses = uses << KIND_BITS | self.kind();
    }

    /// The number of its model; `None` if labels do not name theirs.
    pub(super) fn model(&self) -> Option<u32> {
        Some(self.model).filter(|model| *model != UNNAMED)
    }

    /// The same label, with the numbers of another table.
    pub(super) fn renumbered(self, model: Option<u32>, truth: Truth, offset_micros: u32) -> LabelRow {
        let mut label = LabelRow::new(self.fingerprint(), model, truth, offset_micros);
        label.copies = self.copies;
        label.set_uses(self.uses());
        label
    }

    /// Whether another label says the same, but for its time.
    pub(super) fn says_what(&self, other: &LabelRow) -> bool {
        (self.fingerprint, self.model, self.kind(), self.truth)
            == (other.fingerprint, other.model, other.kind(), other.truth)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fingerprint[0].to_le_bytes());
        out.extend_from_slice(&self.fingerprint[1].to_le_bytes());
        out.extend_from_slice(&self.truth.to_le_bytes());
        out.extend_from_slice(&self.model.to_le_bytes());
        out.extend_from_slice(&self.offset_micros.to_le_bytes());
        out.extend_from_slice(&self.copies.to_le_bytes());
        out.extend_from_slice(&self.kind_and_uses.to_le_bytes());
    }

    /// `None` if there are too few bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<LabelRow> {
        Some(LabelRow {
            fingerprint: [u64_at(bytes, 0)?, u64_at(bytes, 8)?],
            truth: u64_at(bytes, 16)?,
            model: u32_at(bytes, 24)?,
            offset_micros: u32_at(bytes, 28)?,
            copies: u32_at(bytes, 32)?,
            kind_and_uses: u32_at(bytes, 36)?,
        })
    }
}

impl Row for LabelRow {
    fn fingerprint(&self) -> Fingerprint {
        whole(self.fingerprint)
    }

    fn offset_micros(&self) -> u32 {
        self.offset_micros
    }

    fn is_removed(&self) -> bool {
        self.kind() == GONE
    }

    fn remove(&mut self) {
        self.kind_and_uses = GONE;
    }

    fn vacant() -> LabelRow {
        LabelRow { fingerprint: [0; 2], truth: 0, model: 0, offset_micros: 0, copies: 0, kind_and_uses: GONE }
    }
}

/// As two halves, a row needs no alignment to 16 bytes.
#[expect(clippy::cast_possible_truncation, reason = "that is what halves are")]
fn halves(fingerprint: Fingerprint) -> [u64; 2] {
    [fingerprint as u64, (fingerprint >> 64) as u64]
}

fn whole([low, high]: [u64; 2]) -> Fingerprint {
    Fingerprint::from(high) << 64 | Fingerprint::from(low)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_as_small_as_promised() {
        assert_eq!((size_of::<PredictionRow>(), size_of::<LabelRow>()), (32, 40));
    }

    #[test]
    fn answers_and_truths_come_back_as_they_were() {
        for answer in [
            Answer { value: -1.5, score: None },
            Answer { value: 1.0, score: None },
            Answer { value: 1.0, score: Some(0.25) },
            Answer { value: 0.0, score: Some(0.75) },
        ] {
            let row = PredictionRow::new(u128::MAX - 7, answer, SLICE, 9).with(LABELLED);
            assert_eq!((row.answer(), row.slice(), row.offset_micros), (answer, SLICE, 9));
            assert_eq!(row.fingerprint(), u128::MAX - 7);
            assert!(row.has(LABELLED) && !row.has(EXPIRED | REPEATED | REMOVED));
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            assert_eq!((bytes.len(), PredictionRow::decode(&bytes)), (PredictionRow::ENCODED, Some(row)));
            assert_eq!(PredictionRow::decode(&bytes[1..]), None);
        }
        for truth in [Truth::Number(-0.5), Truth::Numeral(7.0), Truth::Boolean(true), Truth::Class(3)] {
            for model in [None, Some(4)] {
                let row = LabelRow::new(1 << 100, model, truth, 9);
                assert_eq!((row.truth(), row.model(), row.fingerprint()), (truth, model, 1 << 100));
                let mut bytes = Vec::new();
                row.encode(&mut bytes);
                assert_eq!((bytes.len(), LabelRow::decode(&bytes)), (LabelRow::ENCODED, Some(row)));
            }
        }
    }
}

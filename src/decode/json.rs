//! JSON records: the mapped fields, by JSON Pointer, in one pass over the text.

mod pointer;
mod value;

use std::borrow::Cow;

use self::pointer::{Slots, Trie};
use self::value::{Found, invalid};
use crate::clock::Timestamp;
use crate::decode::{Decode, LabelFields, Mapping, Place, PredictionFields, Rejection, Roles, When};
use crate::event::{Attributes, Events, Label, Prediction, Scalar};
use crate::source::Record;

pub use self::pointer::parse_pointer;

/// Reads the records of one topic.
///
/// What is not mapped is skipped, not looked at. Ids, models and attributes compare as text. Of duplicate keys the last
/// counts, as in most readers. An id or a model that is empty, too long or no scalar rejects the record; such an
/// attribute only goes missing, because a strange segment is no reason to lose the outcome.
#[derive(Debug)]
pub struct Json {
    prediction: Option<PredictionSpots>,
    label: Option<LabelSpots>,
    trie: Trie,
    max_text_bytes: usize,
    max_record_bytes: usize,
}

/// A [`Place`], with its pointer compiled.
#[derive(Clone, Copy, Debug)]
enum Spot {
    Slot(usize),
    Key,
    Header(usize),
    Timestamp,
}

#[derive(Debug)]
struct Filter {
    spot: Spot,
    equals: String,
}

#[derive(Debug)]
struct PredictionSpots {
    when: Option<Filter>,
    id: Spot,
    model: Option<Spot>,
    time: Spot,
    value: Option<Spot>,
    score: Option<Spot>,
    attributes: Vec<Spot>,
}

#[derive(Debug)]
struct LabelSpots {
    when: Option<Filter>,
    id: Spot,
    model: Option<Spot>,
    time: Spot,
    value: Spot,
}

impl Json {
    /// A decoder for the topics whose records have these roles.
    pub fn new(mapping: &Mapping, roles: Roles) -> Json {
        let mut trie = Trie::default();
        let prediction = roles.prediction.then(|| prediction_spots(&mapping.prediction, &mut trie));
        let label = roles.label.then(|| label_spots(&mapping.label, &mut trie));
        let Mapping { max_text_bytes, max_record_bytes, .. } = *mapping;
        Json { prediction, label, trie, max_text_bytes, max_record_bytes }
    }
}

fn prediction_spots(fields: &PredictionFields, trie: &mut Trie) -> PredictionSpots {
    PredictionSpots {
        when: filter(fields.when.as_ref(), trie),
        id: spot(&fields.id, trie),
        model: fields.model.as_ref().map(|place| spot(place, trie)),
        time: fields.time.as_ref().map_or(Spot::Timestamp, |place| spot(place, trie)),
        value: fields.prediction.as_ref().map(|place| spot(place, trie)),
        score: fields.score.as_ref().map(|place| spot(place, trie)),
        attributes: fields.attributes.iter().map(|place| spot(place, trie)).collect(),
    }
}

fn label_spots(fields: &LabelFields, trie: &mut Trie) -> LabelSpots {
    LabelSpots {
        when: filter(fields.when.as_ref(), trie),
        id: spot(&fields.id, trie),
        model: fields.model.as_ref().map(|place| spot(place, trie)),
        time: fields.time.as_ref().map_or(Spot::Timestamp, |place| spot(place, trie)),
        value: spot(&fields.label, trie),
    }
}

fn filter(when: Option<&When>, trie: &mut Trie) -> Option<Filter> {
    when.map(|when| Filter { spot: spot(&when.place, trie), equals: when.equals.clone() })
}

fn spot(place: &Place, trie: &mut Trie) -> Spot {
    match place {
        Place::Value(pointer) => Spot::Slot(trie.slot(pointer)),
        Place::Key => Spot::Key,
        Place::Header(index) => Spot::Header(*index),
        Place::Timestamp => Spot::Timestamp,
    }
}

impl Decode for Json {
    fn decode<'a>(&self, record: &Record<'a>) -> Result<Events<'a>, Rejection> {
        let mut fields = Fields { record, slots: Slots::new(), max_text_bytes: self.max_text_bytes };
        // Filters on keys and headers come first: what they turn away need not even be JSON.
        let prediction = self.prediction.as_ref().filter(|spots| fields.may_pass(spots.when.as_ref()));
        let label = self.label.as_ref().filter(|spots| fields.may_pass(spots.when.as_ref()));
        if prediction.is_none() && label.is_none() {
            return Ok(Events::default());
        }
        self.fill(&mut fields)?;
        let shared = self.prediction.is_some() && self.label.is_some();
        let prediction = prediction.filter(|spots| match &spots.when {
            Some(filter) => fields.passes(filter),
            None => !shared || fields.is_present(spots.value) || fields.is_present(spots.score),
        });
        let label = label.filter(|spots| match &spots.when {
            Some(filter) => fields.passes(filter),
            None => !shared || fields.is_present(Some(spots.value)),
        });
        Ok(Events {
            prediction: prediction.map(|spots| fields.prediction(spots)).transpose()?,
            label: label.map(|spots| fields.label(spots)).transpose()?,
        })
    }
}

impl Json {
    /// Reads the value, if any field needs it.
    fn fill(&self, fields: &mut Fields<'_, '_>) -> Result<(), Rejection> {
        if self.trie.is_empty() {
            return Ok(());
        }
        let value = fields.record.value.ok_or(Rejection::Empty)?;
        if value.len() > self.max_record_bytes {
            return Err(Rejection::Oversize(value.len()));
        }
        let text = std::str::from_utf8(value).map_err(|error| Rejection::Malformed(error.to_string()))?;
        self.trie.empty(&mut fields.slots);
        self.trie.fill(text, &mut fields.slots).map_err(|error| Rejection::Malformed(error.to_string()))
    }
}

/// The fields of one record.
struct Fields<'r, 'a> {
    record: &'r Record<'a>,
    slots: Slots<'a>,
    max_text_bytes: usize,
}

impl<'a> Fields<'_, 'a> {
    /// Reads what stands at a spot.
    fn read<T>(&self, spot: Spot, read: impl FnOnce(&Found<'a>) -> T) -> Result<T, &'static str> {
        Ok(match spot {
            Spot::Slot(slot) => read(self.slots.get(slot).unwrap_or(&Found::Missing)),
            Spot::Key => read(&bytes_as_text(self.record.key)?),
            Spot::Header(index) => read(&bytes_as_text(self.record.headers.get(index))?),
            Spot::Timestamp => read(&self.record.timestamp.map_or(Found::Missing, Found::Instant)),
        })
    }

    fn is_present(&self, spot: Option<Spot>) -> bool {
        spot.is_some_and(|spot| self.read(spot, Found::is_present).unwrap_or(true))
    }

    /// Whether a filter passes as far as one can tell without the value.
    fn may_pass(&self, filter: Option<&Filter>) -> bool {
        filter.is_none_or(|filter| matches!(filter.spot, Spot::Slot(_)) || self.passes(filter))
    }

    fn passes(&self, filter: &Filter) -> bool {
        let text = self.read(filter.spot, Found::text).flatten();
        text.is_ok_and(|text| text.as_deref() == Some(filter.equals.as_str()))
    }

    fn text(&self, spot: Spot, field: &'static str) -> Result<Cow<'a, str>, Rejection> {
        let text = self.read(spot, Found::text).flatten().map_err(|problem| invalid(field, problem))?;
        let text = text.ok_or(Rejection::Missing(field))?;
        match text.len() {
            0 => Err(invalid(field, "is empty")),
            bytes if bytes > self.max_text_bytes => Err(invalid(field, format!("is too long ({bytes} bytes)"))),
            _ => Ok(text),
        }
    }

    fn attribute(&self, spot: Spot) -> Option<Cow<'a, str>> {
        let text = self.read(spot, Found::text).flatten().ok()??;
        (text.len() <= self.max_text_bytes).then_some(text)
    }

    fn time(&self, spot: Spot) -> Result<Timestamp, Rejection> {
        let time = self.read(spot, Found::time).map_err(|problem| invalid("time", problem))?;
        time?.ok_or(Rejection::Missing("time"))
    }

    fn scalar(&self, spot: Spot, field: &'static str) -> Result<Option<Scalar<'a>>, Rejection> {
        self.read(spot, |found| found.scalar(field)).map_err(|problem| invalid(field, problem))?
    }

    fn number(&self, spot: Spot, field: &'static str) -> Result<Option<f64>, Rejection> {
        self.read(spot, |found| found.number(field)).map_err(|problem| invalid(field, problem))?
    }

    fn prediction(&self, spots: &PredictionSpots) -> Result<Prediction<'a>, Rejection> {
        let value = spots.value.map_or(Ok(None), |spot| self.scalar(spot, "prediction"))?;
        let score = spots.score.map_or(Ok(None), |spot| self.number(spot, "score"))?;
        if value.is_none() && score.is_none() {
            return Err(Rejection::Missing(if spots.value.is_some() { "prediction" } else { "score" }));
        }
        Ok(Prediction {
            id: self.text(spots.id, "id")?,
            model: spots.model.map(|spot| self.text(spot, "model")).transpose()?,
            time: self.time(spots.time)?,
            recorded_at: self.record.timestamp,
            value,
            score,
            attributes: spots.attributes.iter().map(|spot| self.attribute(*spot)).collect::<Attributes<'a>>(),
        })
    }

    fn label(&self, spots: &LabelSpots) -> Result<Label<'a>, Rejection> {
        Ok(Label {
            id: self.text(spots.id, "id")?,
            model: spots.model.map(|spot| self.text(spot, "model")).transpose()?,
            time: self.time(spots.time)?,
            recorded_at: self.record.timestamp,
            value: self.scalar(spots.value, "label")?.ok_or(Rejection::Missing("label"))?,
        })
    }
}

fn bytes_as_text(bytes: Option<&[u8]>) -> Result<Found<'_>, &'static str> {
    let Some(bytes) = bytes else { return Ok(Found::Missing) };
    std::str::from_utf8(bytes).map(|text| Found::Text(Cow::Borrowed(text))).map_err(|_| "is not UTF-8")
}

#[cfg(test)]
mod tests;

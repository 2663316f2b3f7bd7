//! Which series there are: models by name, segments by value, and the slice of a prediction (all series it counts in).
//!
//! Numbers are given in order of arrival and therefore depend on how partitions interleave; nothing that leaves the
//! core does. What could depend on arrival is decided at the seal, by name: a series is admitted with the first tick in
//! which it has a sample, segment values in the order of their names; those beyond the limit are folded into `other`.

use std::hash::{Hash, Hasher};

use hashbrown::HashMap;
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

/// Number of a series.
pub type SeriesId = u32;
/// Number of a slice.
pub type SliceId = u32;

/// The value of a segment whose values are too many.
pub const OTHER: &str = "other";
/// The value of a segment whose attribute is missing.
pub const NONE: &str = "(none)";

/// Values that are told apart within open ticks, as a multiple of those that may be admitted: foreign data must not
/// grow the registry without bound. Beyond it values count as `other` at once.
const UNADMITTED_PER_ADMITTED: usize = 10;
/// Most combinations of segment values; beyond it a prediction counts in its model and its `other` segments.
const MAX_SLICES: usize = 1 << 20;

/// One series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Number of its model.
    pub model: u32,
    /// Dimension and value, `None` for the whole of the model.
    pub segment: Option<(String, String)>,
    /// Whether it is shown and judged: from the first sealed tick on in which it has a sample.
    pub admitted: bool,
}

/// All series of a prediction.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Number of the model.
    pub model: u32,
    /// The whole, and one segment a dimension.
    pub series: SmallVec<[SeriesId; 4]>,
    /// Hash of the names, the same whatever the order of arrival.
    pub rank: u64,
}

/// One model that was seen.
#[derive(Clone, Debug)]
struct Model {
    name: String,
    overall: SeriesId,
    dimensions: Vec<Dimension>,
}

/// The values of one dimension of one model.
#[derive(Clone, Debug)]
struct Dimension {
    name: String,
    values: HashMap<String, SeriesId>,
    admitted: usize,
}

/// The registry of models, series and slices.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    models: Vec<Model>,
    model_by_name: HashMap<String, u32>,
    series: Vec<Series>,
    slices: Vec<Slice>,
    slice_by_series: HashMap<SmallVec<[SeriesId; 4]>, SliceId>,
    newcomers: Vec<SeriesId>,
}

impl Registry {
    /// The number of a model, if it was seen.
    pub fn model(&self, name: &str) -> Option<u32> {
        self.model_by_name.get(name).copied()
    }

    /// How many models were seen.
    pub fn models(&self) -> usize {
        self.models.len()
    }

    /// Name of a model.
    pub fn model_name(&self, model: u32) -> &str {
        &self.models[model as usize].name
    }

    /// The series of the whole of a model.
    pub fn overall(&self, model: u32) -> SeriesId {
        self.models[model as usize].overall
    }

    /// One series.
    pub fn series(&self, id: SeriesId) -> &Series {
        &self.series[id as usize]
    }

    /// Every series, by number.
    pub fn all(&self) -> &[Series] {
        &self.series
    }

    /// The series of all segments of a model, in no order.
    pub fn segments(&self, model: u32) -> impl Iterator<Item = SeriesId> {
        self.models[model as usize].dimensions.iter().flat_map(|dimension| dimension.values.values().copied())
    }

    /// One slice.
    pub fn slice(&self, id: SliceId) -> &Slice {
        &self.slices[id as usize]
    }

    /// Every slice, by number.
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Makes a model known.
    pub fn add_model(&mut self, name: &str) -> u32 {
        let number = number(self.models.len());
        let overall = self.add_series(number, None);
        self.models.push(Model { name: name.to_owned(), overall, dimensions: Vec::new() });
        self.model_by_name.insert(name.to_owned(), number);
        number
    }

    fn add_series(&mut self, model: u32, segment: Option<(String, String)>) -> SeriesId {
        self.series.push(Series { model, segment, admitted: false });
        number(self.series.len() - 1)
    }

    /// The series of a segment value, made known if it is not; `other` if there are far too many.
    pub fn segment(&mut self, model: u32, dimension: &str, value: &str, max_values: usize) -> SeriesId {
        let dimensions = &mut self.models[model as usize].dimensions;
        let index = dimensions.iter().position(|known| known.name == dimension).unwrap_or_else(|| {
            dimensions.push(Dimension { name: dimension.to_owned(), values: HashMap::new(), admitted: 0 });
            dimensions.len() - 1
        });
        if let Some(id) = dimensions[index].values.get(value) {
            return *id;
        }
        let full = dimensions[index].values.len() >= max_values.saturating_mul(UNADMITTED_PER_ADMITTED);
        if full && value != OTHER {
            return self.segment(model, dimension, OTHER, max_values);
        }
        let id = self.add_series(model, Some((dimension.to_owned(), value.to_owned())));
        self.models[model as usize].dimensions[index].values.insert(value.to_owned(), id);
        id
    }

    /// The slice of a prediction of `model` with these values of its dimensions.
    pub fn slice_of<'v>(
        &mut self,
        model: u32,
        values: impl Iterator<Item = (&'v str, &'v str)> + Clone,
        max_values: usize,
    ) -> SliceId {
        let mut series: SmallVec<[SeriesId; 4]> = SmallVec::new();
        series.push(self.overall(model));
        for (dimension, value) in values.clone() {
            series.push(self.segment(model, dimension, value, max_values));
        }
        if let Some(id) = self.slice_by_series.get(&series) {
            return *id;
        }
        if self.slices.len() >= MAX_SLICES {
            series.truncate(1);
            for (dimension, _) in values {
                series.push(self.segment(model, dimension, OTHER, max_values));
            }
            if let Some(id) = self.slice_by_series.get(&series) {
                return *id;
            }
        }
        self.add_slice(model, series)
    }

    fn add_slice(&mut self, model: u32, series: SmallVec<[SeriesId; 4]>) -> SliceId {
        let mut hasher = SipHasher13::new();
        self.model_name(model).hash(&mut hasher);
        for id in &series {
            self.series(*id).segment.hash(&mut hasher);
        }
        let id = number(self.slices.len());
        self.slices.push(Slice { model, series: series.clone(), rank: hasher.finish() });
        self.slice_by_series.insert(series, id);
        id
    }

    /// The series that takes a series' sums at a seal: itself once it is admitted, else `other`.
    ///
    /// Call it in the order of names: the first to come are admitted.
    pub fn admit(&mut self, id: SeriesId, max_values: usize) -> SeriesId {
        let Series { model, segment, admitted } = self.series(id);
        if *admitted {
            return id;
        }
        let (model, segment) = (*model, segment.clone());
        let target = match segment {
            Some((dimension, value)) if value != OTHER && !self.has_room(model, &dimension, max_values) => {
                self.segment(model, &dimension, OTHER, max_values)
            }
            _ => id,
        };
        let target_series = &mut self.series[target as usize];
        if !target_series.admitted {
            target_series.admitted = true;
            self.newcomers.push(target);
        }
        target
    }

    /// Takes one more value into a dimension, if it has room.
    fn has_room(&mut self, model: u32, dimension: &str, max_values: usize) -> bool {
        let mut dimensions = self.models[model as usize].dimensions.iter_mut();
        dimensions.find(|known| known.name == dimension).is_some_and(|known| {
            let room = known.admitted < max_values;
            known.admitted += usize::from(room);
            room
        })
    }

    /// The series that were admitted since the last call.
    pub fn take_newcomers(&mut self) -> Vec<SeriesId> {
        std::mem::take(&mut self.newcomers)
    }

    /// Makes every admitted series a newcomer again.
    pub fn renew(&mut self) {
        self.newcomers = (0..).zip(&self.series).filter(|(_, series)| series.admitted).map(|(id, _)| id).collect();
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_admitted_up_to_the_limit_and_the_rest_is_other() {
        let mut registry = Registry::default();
        let model = registry.add_model("eta");
        let ids: Vec<SeriesId> = ["a", "b", "c"].iter().map(|v| registry.segment(model, "region", v, 2)).collect();
        let admitted: Vec<SeriesId> = ids.iter().map(|id| registry.admit(*id, 2)).collect();
        assert_eq!(admitted[..2], ids[..2]);
        let other = registry.series(admitted[2]);
        assert_eq!(other.segment, Some(("region".to_owned(), OTHER.to_owned())));
        assert_eq!(registry.admit(ids[0], 2), ids[0], "once admitted, always admitted");
    }

    #[test]
    fn the_rank_of_a_slice_does_not_depend_on_the_order_of_arrival() {
        let ranks = |order: &[&str]| -> Vec<(String, u64)> {
            let mut registry = Registry::default();
            let model = registry.add_model("eta");
            let rank = |value: &&str| {
                let slice = registry.slice_of(model, [("region", *value)].into_iter(), 10);
                ((*value).to_owned(), registry.slice(slice).rank)
            };
            let mut ranks: Vec<(String, u64)> = order.iter().map(rank).collect();
            ranks.sort();
            ranks
        };
        assert_eq!(ranks(&["eu", "us", "asia"]), ranks(&["asia", "us", "eu"]));
    }

    #[test]
    fn foreign_values_do_not_grow_the_registry_without_bound() {
        let mut registry = Registry::default();
        let model = registry.add_model("eta");
        for n in 0..10_000 {
            registry.segment(model, "region", &n.to_string(), 5);
        }
        assert_eq!(registry.all().len(), 1 + 50 + 1);
    }
}

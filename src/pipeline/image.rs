//! The join table as bytes: what a snapshot stores, and how it is read back.
//!
//! Positions and frontiers are the snapshot's business; what stands here is the table and the names behind its numbers,
//! so that it fits into a core with another configuration: what nobody watches any more is left out.

use serde::{Deserialize, Serialize};

use super::Pipeline;
use crate::clock::Timestamp;
use crate::join::{self, Renumber};

/// The join table at one instant, with what its numbers mean.
#[derive(Debug)]
pub struct Image {
    names: Names,
    table: join::Image,
}

/// The names behind the numbers of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Names {
    /// Whether fingerprints hold the name of the model.
    labels_name_model: bool,
    /// End of the last sealed tick; nothing earlier could come.
    sealed_until: Timestamp,
    models: Vec<String>,
    /// The model of each slice, and dimension and value of its segments.
    slices: Vec<(u32, Vec<(String, String)>)>,
    classes: Vec<String>,
}

/// Bytes that are no image of this deployment's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnImage {
    /// The bytes do not say what they should.
    #[error("it is damaged")]
    Damaged,
    /// Labels did not name their model then and do now, or the other way round.
    #[error("it was made with another mapping of the labels' model")]
    OtherMapping,
}

/// An image that is being read.
///
/// The numbers of the core for those of the image.
#[derive(Debug)]
pub struct Reading {
    models: Vec<Option<u32>>,
    slices: Vec<Option<u32>>,
    classes: Vec<Option<u32>>,
}

impl Renumber for Reading {
    fn slice(&self, old: u32) -> Option<u32> {
        self.slices.get(old as usize).copied().flatten()
    }

    fn model(&self, old: u32) -> Option<u32> {
        self.models.get(old as usize).copied().flatten()
    }

    fn class(&self, old: u32) -> Option<u32> {
        self.classes.get(old as usize).copied().flatten()
    }
}

impl Image {
    /// The parts of the image, one after the other: the names, then the rows. Empty if it cannot be encoded.
    pub fn parts(&self) -> impl Iterator<Item = Vec<u8>> {
        let names = postcard::to_stdvec(&self.names).ok();
        let blocks = names.is_some().then(|| self.table.blocks());
        names.into_iter().chain(blocks.into_iter().flatten())
    }
}

impl Pipeline {
    /// The join table as it is now. Costs little: the rows are shared.
    pub fn image(&self) -> Image {
        let models = (0..self.registry.models()).filter_map(|model| u32::try_from(model).ok());
        let names = Names {
            labels_name_model: self.options.labels_name_model,
            sealed_until: self.sealed_until().unwrap_or(Timestamp::MIN),
            models: models.map(|model| self.registry.model_name(model).to_owned()).collect(),
            slices: self.registry.slices().iter().map(|slice| (slice.model, self.segments(&slice.series))).collect(),
            classes: self.classes.names().to_vec(),
        };
        Image { names, table: self.join.image() }
    }

    fn segments(&self, series: &[u32]) -> Vec<(String, String)> {
        series.iter().filter_map(|id| self.registry.series(*id).segment.clone()).collect()
    }

    /// Begins to read an image: `names` is its first part. The table must be empty.
    ///
    /// # Errors
    ///
    /// If this is no image, or one whose fingerprints mean something else.
    pub fn read_image(&mut self, names: &[u8]) -> Result<Reading, NotAnImage> {
        let names: Names = postcard::from_bytes(names).map_err(|_| NotAnImage::Damaged)?;
        if names.labels_name_model != self.options.labels_name_model {
            return Err(NotAnImage::OtherMapping);
        }
        let models: Vec<Option<u32>> = names.models.iter().map(|name| self.watched(name)).collect();
        self.configure_join();
        self.join.begin_reading(names.sealed_until);
        let slice = |(model, segments): &(u32, Vec<(String, String)>)| {
            let model = models.get(*model as usize).copied().flatten()?;
            let values = segments.iter().map(|(dimension, value)| (dimension.as_str(), value.as_str()));
            // Without a limit: what was told apart stays apart, even if less is allowed now.
            Some(self.registry.slice_of(model, values, usize::MAX))
        };
        let slices = names.slices.iter().map(slice).collect();
        let classes = names.classes.iter().map(|name| self.classes.number(name)).collect();
        Ok(Reading { models, slices, classes })
    }

    /// The number of a model that some section serves.
    fn watched(&mut self, name: &str) -> Option<u32> {
        self.section(name)?;
        Some(self.registry.model(name).unwrap_or_else(|| self.add_model(name)))
    }

    /// Reads one more part of an image into the table.
    ///
    /// # Errors
    ///
    /// If it is damaged; then the table is to be given up by [`Pipeline::forget_join`].
    pub fn read_part(&mut self, reading: &Reading, part: &[u8]) -> Result<(), NotAnImage> {
        let (join, known, _) = self.join_parts();
        join.read_block(part, reading, &known).ok_or(NotAnImage::Damaged)
    }

    /// Empties the join table.
    pub fn forget_join(&mut self) {
        let counts = self.join.counts();
        self.join = join::Join::new(self.grid, self.options.max_pending);
        self.join.restore_counts(counts);
        self.configure_join();
    }
}

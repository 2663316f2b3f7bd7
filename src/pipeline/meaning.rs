//! What the join must know of things of which it keeps numbers only: classes, slices, models.

use super::Pipeline;
use super::spec::Spec;
use crate::event::Scalar;
use crate::join::{Change, Join, Meaning, Truth};
use crate::series::Registry;
use hashbrown::HashMap;

/// What every binary model understands that has no class names of its own.
const USUAL: [&str; 4] = ["false", "0", "true", "1"];

/// The names of classes, numbered. Grows by configuration only.
#[derive(Clone, Debug)]
pub(super) struct ClassNames {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Default for ClassNames {
    fn default() -> ClassNames {
        let mut classes = ClassNames { names: Vec::new(), numbers: HashMap::new() };
        USUAL.iter().for_each(|name| classes.add(name));
        classes
    }
}

impl ClassNames {
    /// Makes a name known.
    pub(super) fn add(&mut self, name: &str) {
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        if !self.numbers.contains_key(name) {
            self.names.push(name.to_owned());
            self.numbers.insert(name.to_owned(), number);
        }
    }

    /// All names, by number.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of a name.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// What a label says; `None` if it is a text that is neither a class nor a number.
    pub(super) fn truth(&self, value: &Scalar<'_>) -> Option<Truth> {
        match value {
            Scalar::Number(number) => Some(Truth::Number(*number)),
            Scalar::Boolean(value) => Some(Truth::Boolean(*value)),
            Scalar::Text(text) => match self.numbers.get(text.as_ref()) {
                Some(class) => Some(Truth::Class(*class)),
                None => text.trim().parse().ok().filter(|number: &f64| number.is_finite()).map(Truth::Numeral),
            },
        }
    }
}

/// The parts of a core that give its numbers their meaning.
pub(super) struct Known<'p> {
    pub(super) specs: &'p [Spec],
    pub(super) spec_of: &'p [Option<usize>],
    pub(super) registry: &'p Registry,
    pub(super) classes: &'p ClassNames,
}

impl Meaning for Known<'_> {
    fn actual(&self, model: u32, truth: Truth) -> Option<f64> {
        self.spec_of[model as usize].and_then(|spec| self.specs[spec].actual(truth, self.classes))
    }

    fn model_of(&self, slice: u32) -> u32 {
        self.registry.slice(slice).model
    }

    fn rank_of(&self, slice: u32) -> u64 {
        self.registry.slice(slice).rank
    }
}

impl Pipeline {
    /// The join, what its numbers mean, and where it puts what it finds out.
    pub(super) fn join_parts(&mut self) -> (&mut Join, Known<'_>, &mut Vec<Change>) {
        let Pipeline { specs, spec_of, registry, classes, join, changes, .. } = self;
        (join, Known { specs, spec_of, registry, classes }, changes)
    }
}

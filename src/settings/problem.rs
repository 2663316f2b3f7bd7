//! Mistakes, collected with their places, and what was probably meant.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a [`Problem`] does to the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It cannot be used.
    Error,
    /// It can be used, but probably does not do what is wanted.
    Warning,
}

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub level: Level,
    /// Where, in bytes of the file.
    pub span: Range<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// The mistakes found so far, and which options were asked for.
#[derive(Debug, Default)]
pub struct Problems {
    /// Each with the options of which it misses one; empty for most.
    found: RefCell<Vec<(Problem, Vec<String>)>>,
    /// Options that were meant by an unknown name.
    slips: RefCell<BTreeSet<String>>,
    /// Dotted path with `*` for names chosen by the user, and whether the file has the option.
    asked: RefCell<BTreeMap<String, bool>>,
}

impl Problems {
    /// Notes a mistake.
    pub fn add(&self, span: Range<usize>, message: impl Into<String>) {
        self.push(Level::Error, span, message.into(), Vec::new());
    }

    /// Notes something that is allowed and yet probably not wanted.
    pub fn warn(&self, span: Range<usize>, message: impl Into<String>) {
        self.push(Level::Warning, span, message.into(), Vec::new());
    }

    /// Notes that none of `options` is there. Not shown if one of them turns out to be misspelt: then that is the mistake.
    pub(super) fn miss(&self, level: Level, span: Range<usize>, message: String, options: Vec<String>) {
        self.push(level, span, message, options);
    }

    /// Notes that `option` was meant by an unknown name, which is noted by itself.
    pub(super) fn slip(&self, option: String) {
        self.slips.borrow_mut().insert(option);
    }

    fn push(&self, level: Level, span: Range<usize>, message: String, missing: Vec<String>) {
        self.found.borrow_mut().push((Problem { level, span, message }, missing));
    }

    /// Notes that an option was asked for.
    pub(super) fn asked(&self, option: String, found: bool) {
        *self.asked.borrow_mut().entry(option).or_default() |= found;
    }

    /// Every option that was asked for (`model.*.task`), and whether the file has it anywhere.
    pub fn options(&self) -> BTreeMap<String, bool> {
        self.asked.borrow().clone()
    }

    /// All mistakes, in the order of the file, without repetition.
    pub fn into_sorted(self) -> Vec<Problem> {
        let slips = self.slips.into_inner();
        let is_slip = |missing: &[String]| missing.iter().any(|option| slips.contains(option));
        let found = self.found.into_inner().into_iter().filter(|(_, missing)| !is_slip(missing));
        let mut problems: Vec<Problem> = found.map(|(problem, _)| problem).collect();
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        problems.dedup();
        problems
    }
}

/// "unknown `what` `given`", with the nearest known one, or all of them if none is near.
pub fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    match nearest(given, known) {
        Some(near) => format!("unknown {what} `{given}`, did you mean `{near}`?"),
        None if known.is_empty() => format!("unknown {what} `{given}`"),
        None => format!("unknown {what} `{given}`; known: {}", known.join(", ")),
    }
}

/// The known name that `given` is probably a slip of.
pub fn nearest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase());
    let best = known.iter().copied().min_by_key(|name| distance(name))?;
    (distance(best) <= 1 + given.chars().count() / 4 && distance(best) < best.chars().count()).then_some(best)
}

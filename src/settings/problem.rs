//! Mistakes, collected with their places, and what was probably meant.

use std::cell::RefCell;
use std::collections::BTreeMap;
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
    found: RefCell<Vec<Problem>>,
    /// Dotted path with `*` for names chosen by the user, and whether the file has the option.
    asked: RefCell<BTreeMap<String, bool>>,
}

impl Problems {
    /// Notes a mistake.
    pub fn add(&self, span: Range<usize>, message: impl Into<String>) {
        self.found.borrow_mut().push(Problem { level: Level::Error, span, message: message.into() });
    }

    /// Notes something that is allowed and yet probably not wanted.
    pub fn warn(&self, span: Range<usize>, message: impl Into<String>) {
        self.found.borrow_mut().push(Problem { level: Level::Warning, span, message: message.into() });
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
        let mut problems = self.found.into_inner();
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

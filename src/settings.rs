//! Typed reading of TOML tables that collects every mistake, with its place, instead of stopping at the first.
//!
//! serde stops at the first mistake and loses the place of keys in maps; this cursor over the spanned document is
//! what lets `check` report everything at once. Each kind's `Config` reads itself from a [`Table`]; a getter that
//! finds a mistake notes it and returns `None`, so that reading goes on.

use std::collections::BTreeSet;
use std::ops::{Range, RangeBounds};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

mod problem;
mod secret;
mod value;

pub use problem::{Level, Problem, Problems, nearest, unknown};
pub use secret::{Secret, Unreadable};
use value::{as_number, as_text, describe, hint, in_words};

/// A value with its place in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Range<usize>,
}

/// A cursor over one table. Ask for every key it may hold, then [`Table::finish`] reports the unknown ones.
#[derive(Debug)]
pub struct Table<'t> {
    /// Dotted path, such as `notifier.oncall.email`; empty for the root.
    path: String,
    /// The path with `*` for names chosen by the user.
    kind: String,
    /// Where the table's header or braces stand: the place to report what is missing.
    span: Range<usize>,
    entries: &'t DeTable<'t>,
    problems: &'t Problems,
    asked: BTreeSet<&'static str>,
}

impl<'t> Table<'t> {
    /// A cursor over the root of a document.
    pub fn root(entries: &'t DeTable<'t>, problems: &'t Problems) -> Table<'t> {
        Table { path: String::new(), kind: String::new(), span: 0..0, entries, problems, asked: BTreeSet::new() }
    }

    /// Dotted path of the table.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The table in words, to begin a message with: ``rule `eta-rmse` ``, `` `source.kafka` ``, `the file`.
    pub fn title(&self) -> String {
        match self.path.split_once('.') {
            _ if self.path.is_empty() => "the file".to_owned(),
            Some((kind @ ("model" | "rule" | "notifier"), name)) => format!("{kind} `{name}`"),
            _ => format!("`{}`", self.path),
        }
    }

    /// Place of the table.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether the table has that key.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Makes `key` a known option and returns the place of its value, if it is there.
    pub fn place(&mut self, key: &'static str) -> Option<Range<usize>> {
        self.get(key).map(|(_, span)| span)
    }

    /// Notes a mistake at `span`. The table's title is put before the message, unless it is the root.
    pub fn problem(&self, span: Range<usize>, message: impl std::fmt::Display) {
        let title = if self.path.is_empty() { String::new() } else { format!("{}: ", self.title()) };
        self.problems.add(span, format!("{title}{message}"));
    }

    /// Notes at `span` what is allowed and yet probably not wanted.
    pub fn warn(&self, span: Range<usize>, message: impl Into<String>) {
        self.problems.warn(span, message);
    }

    /// Place of `key`'s value, or of the table if it has no such key.
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.entries.get(key).map_or_else(|| self.span(), |value| value.span())
    }

    /// Notes that `key` is missing.
    pub fn missing(&self, key: &str, example: &str) {
        self.missing_any(
            Level::Error,
            &[key],
            format!("{} needs `{key}`, for example `{key} = {example}`", self.title()),
        );
    }

    /// Notes that none of `keys` is there; of no account if one of them is misspelt.
    pub fn missing_any(&self, level: Level, keys: &[&str], message: String) {
        self.problems.miss(level, self.span(), message, keys.iter().map(|key| join(&self.path, key)).collect());
    }

    fn get(&mut self, key: &'static str) -> Option<(&'t DeValue<'t>, Range<usize>)> {
        self.asked.insert(key);
        let value = self.entries.get(key);
        self.problems.asked(join(&self.kind, key), value.is_some());
        value.map(|value| (value.get_ref(), value.span()))
    }

    fn wrong_type(&self, key: &str, span: Range<usize>, wanted: &str, found: &DeValue<'_>) {
        self.problem(span, format_args!("`{key}` must be {wanted}, not {}{}", describe(found), hint(wanted, found)));
    }

    /// A text.
    pub fn text(&mut self, key: &'static str) -> Option<Placed<String>> {
        let (value, span) = self.get(key)?;
        match value {
            DeValue::String(text) => Some(Placed { value: text.to_string(), span }),
            other => {
                self.wrong_type(key, span, "a text in quotes", other);
                None
            }
        }
    }

    /// A text that must be there.
    pub fn required_text(&mut self, key: &'static str, example: &str) -> Option<Placed<String>> {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.text(key)
    }

    /// A text; a whole number, a number or a boolean is taken as it is written.
    pub fn scalar(&mut self, key: &'static str) -> Option<Placed<String>> {
        let (value, span) = self.get(key)?;
        let text = as_text(value);
        if text.is_none() {
            self.wrong_type(key, span.clone(), "a text in quotes", value);
        }
        Some(Placed { value: text?, span })
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let (value, span) = self.get(key)?;
        match value {
            DeValue::Boolean(value) => Some(*value),
            other => {
                self.wrong_type(key, span, "`true` or `false`", other);
                None
            }
        }
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, key: &'static str, range: impl RangeBounds<i64>) -> Option<i64> {
        let (value, span) = self.get(key)?;
        let DeValue::Integer(number) = value else {
            self.wrong_type(key, span, "a whole number", value);
            return None;
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.problem(span, format_args!("`{key}` must be a whole number{}", in_words(&range)));
                None
            }
        }
    }

    /// A finite number.
    pub fn number(&mut self, key: &'static str) -> Option<Placed<f64>> {
        let (value, span) = self.get(key)?;
        match as_number(value) {
            Some(value) => Some(Placed { value, span }),
            None => {
                self.wrong_type(key, span, "a finite number", value);
                None
            }
        }
    }

    /// Two finite numbers, the first less than the second: `[a, b]`.
    pub fn interval(&mut self, key: &'static str) -> Option<Placed<(f64, f64)>> {
        let (value, span) = self.get(key)?;
        let pair = match value {
            DeValue::Array(items) => items.iter().map(|item| as_number(item.get_ref())).collect::<Option<Vec<f64>>>(),
            _ => None,
        };
        match pair.as_deref() {
            Some([low, high]) if low < high => Some(Placed { value: (*low, *high), span }),
            _ => {
                self.problem(span, format_args!("`{key}` must be two numbers, the lower one first: `{key} = [-1, 1]`"));
                None
            }
        }
    }

    /// A duration with its unit, such as `"30m"`, longer than zero.
    pub fn duration(&mut self, key: &'static str) -> Option<Placed<Duration>> {
        let found = self.duration_or_zero(key)?;
        if found.value.is_zero() {
            self.problem(found.span, format_args!("`{key}` must be longer than zero"));
            return None;
        }
        Some(found)
    }

    /// A duration with its unit, such as `"30m"`; zero is allowed.
    pub fn duration_or_zero(&mut self, key: &'static str) -> Option<Placed<Duration>> {
        const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
        let (value, span) = self.get(key)?;
        let DeValue::String(text) = value else {
            let hint = as_number(value).map_or_else(String::new, |n| format!(", did you mean \"{n}s\"?"));
            self.problem(
                span,
                format_args!("`{key}` must be a text with a unit, like \"90s\", \"30m\" or \"24h\"{hint}"),
            );
            return None;
        };
        match humantime::parse_duration(text) {
            Ok(value) if value <= LONGEST => Some(Placed { value, span }),
            Ok(_) => {
                self.problem(span, format_args!("`{key}` must not be longer than 100 years"));
                None
            }
            Err(_) => {
                let example = "write it like \"90s\", \"30m\", \"24h\" or \"7d\"";
                self.problem(span, format_args!("`{key}`: {text:?} is no duration; {example}"));
                None
            }
        }
    }

    /// One of the names in `choices`.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        let found = self.text(key)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == found.value) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.problem(found.span, unknown(key, &found.value, &names));
        None
    }

    /// An array of texts.
    pub fn texts(&mut self, key: &'static str) -> Option<Placed<Vec<Placed<String>>>> {
        let (value, span) = self.get(key)?;
        let DeValue::Array(items) = value else {
            self.wrong_type(key, span, "a list of texts", value);
            return None;
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push(Placed { value: text.to_string(), span: item.span() }),
                other => self.wrong_type(key, item.span(), "a list of texts", other),
            }
        }
        Some(Placed { value: texts, span })
    }

    /// A table inside this one.
    pub fn table(&mut self, key: &'static str) -> Option<Table<'t>> {
        let (value, span) = self.get(key)?;
        self.open(key, key, value, span)
    }

    /// An array of tables.
    pub fn tables(&mut self, key: &'static str) -> Option<Vec<Table<'t>>> {
        let (value, span) = self.get(key)?;
        let DeValue::Array(items) = value else {
            self.wrong_type(key, span, "a list of tables, such as [{ ... }, { ... }]", value);
            return None;
        };
        let open = |(n, item): (usize, &'t toml::Spanned<DeValue<'t>>)| {
            self.open(&format!("{key}[{n}]"), key, item.get_ref(), item.span())
        };
        Some(items.iter().enumerate().filter_map(open).collect())
    }

    /// The tables of a section whose keys are names: `[rule.a]`, `[rule.b]`. Empty if the section is not there.
    pub fn named(&mut self, key: &'static str) -> Vec<(Placed<String>, Table<'t>)> {
        let Some(mut section) = self.table(key) else { return Vec::new() };
        section.each_table()
    }

    /// Every entry of this table as a table of its own, by name, in the order of the file.
    pub fn each_table(&mut self) -> Vec<(Placed<String>, Table<'t>)> {
        let entries = self.entries;
        let open = |(name, value): (&'t toml::Spanned<toml::de::DeString<'t>>, &'t toml::Spanned<DeValue<'t>>)| {
            let placed = Placed { value: name.get_ref().to_string(), span: name.span() };
            Some((placed, self.open(name.get_ref(), "*", value.get_ref(), value.span())?))
        };
        let mut tables: Vec<_> = entries.iter().filter_map(open).collect();
        tables.sort_by_key(|(name, _)| name.span.start);
        tables
    }

    /// Every entry of this table as a text, by key; whole numbers and booleans are taken as they are written.
    pub fn each_text(&mut self) -> Vec<(Placed<String>, Placed<String>)> {
        let mut texts = Vec::new();
        for (name, value) in self.entries {
            let Some(text) = as_text(value.get_ref()) else {
                self.wrong_type(name.get_ref(), value.span(), "a text in quotes", value.get_ref());
                continue;
            };
            let name = Placed { value: name.get_ref().to_string(), span: name.span() };
            texts.push((name, Placed { value: text, span: value.span() }));
        }
        texts.sort_by_key(|(name, _)| name.span.start);
        texts
    }

    fn open(&self, key: &str, kind: &str, value: &'t DeValue<'t>, span: Range<usize>) -> Option<Table<'t>> {
        let DeValue::Table(entries) = value else {
            self.wrong_type(key, span, "a table", value);
            return None;
        };
        let (path, kind) = (join(&self.path, key), join(&self.kind, kind));
        Some(Table { path, kind, span, entries, problems: self.problems, asked: BTreeSet::new() })
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        let known: Vec<&str> = self.asked.iter().copied().collect();
        for name in self.entries.keys().filter(|name| !self.asked.contains(name.get_ref().as_ref())) {
            let what = if self.path.is_empty() { "section" } else { "option" };
            self.problem(name.span(), unknown(what, name.get_ref(), &known));
            if let Some(meant) = nearest(name.get_ref(), &known) {
                self.problems.slip(join(&self.path, meant));
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

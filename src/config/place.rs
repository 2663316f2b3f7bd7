//! Places in a record: JSON Pointers, `key`, `header:NAME`, `timestamp`.

use crate::decode::Place;
use crate::settings::{Placed, Table, nearest};

/// The headers and attributes that the configuration asks for, without repetition.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Names of headers; [`Place::Header`] is an index into them.
    pub(super) headers: Vec<String>,
    /// Places of segment dimensions.
    pub(super) attributes: Vec<Place>,
}

impl Places {
    /// The place that `found`, the value of `key`, names. The record's timestamp serves only as a `time`.
    pub(super) fn read(&mut self, table: &Table<'_>, key: &str, found: &Placed<String>) -> Option<Place> {
        let text = found.value.as_str();
        let place = match text {
            "key" => Some(Place::Key),
            "timestamp" if key == "time" => Some(Place::Timestamp),
            "timestamp" => {
                table.problem(
                    found.span.clone(),
                    format_args!("`{key}` cannot be the record's timestamp; only `time` can"),
                );
                return None;
            }
            _ => text.strip_prefix("header:").map_or_else(|| pointer(text), |name| self.header(name)),
        };
        if place.is_none() {
            table.problem(found.span.clone(), format_args!("`{key}`: {}", explain(text, key)));
        }
        place
    }

    /// The index of `place` in the list of attributes.
    pub(super) fn attribute(&mut self, place: Place) -> usize {
        index_of(&mut self.attributes, place)
    }

    fn header(&mut self, name: &str) -> Option<Place> {
        (!name.is_empty()).then(|| Place::Header(index_of(&mut self.headers, name.to_owned())))
    }
}

fn index_of<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

/// RFC 6901: empty, or `/` before every step, with `~` only as `~0` (for `~`) and `~1` (for `/`).
fn pointer(text: &str) -> Option<Place> {
    let starts_well = text.is_empty() || text.starts_with('/');
    let escapes_well = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    (starts_well && escapes_well).then(|| Place::Value(text.to_owned()))
}

fn explain(text: &str, key: &str) -> String {
    if text.starts_with('/') {
        return "in a JSON Pointer, `~` is written `~0` (and a `/` inside a name `~1`)".to_owned();
    }
    if let Some(name) = text.strip_prefix("headers:").or_else(|| text.strip_prefix("headers.")) {
        return format!("did you mean `header:{name}`?");
    }
    if text == "header:" {
        return "`header:` needs the header's name, such as `header:model`".to_owned();
    }
    let known: &[&str] = if key == "time" { &["key", "timestamp"] } else { &["key"] };
    if let Some(near) = nearest(text, known) {
        return format!("did you mean `{near}`? (a field of the value is written `/{text}`)");
    }
    // `$.a.b` and `a.b` are how other tools write it.
    let steps = text.trim_start_matches("$.").replace('.', "/");
    let others = if key == "time" { "`key`, `timestamp` and `header:NAME`" } else { "`key` and `header:NAME`" };
    format!("`{text}` is no place in a record; a field of the value is written `/{steps}`, other places are {others}")
}

//! JSON Pointers (RFC 6901), compiled into a trie that is walked in one pass over the text, without a document tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

use super::value::Found;

/// The tokens of a JSON Pointer; none for the empty pointer, which is the whole value.
///
/// # Errors
///
/// What is wrong with it, as a sentence.
pub fn parse_pointer(pointer: &str) -> Result<Vec<String>, String> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let Some(tokens) = pointer.strip_prefix('/') else {
        return Err(format!("a JSON Pointer begins with `/`: did you mean `/{pointer}`?"));
    };
    tokens.split('/').map(unescape).collect()
}

fn unescape(token: &str) -> Result<String, String> {
    let mut pieces = token.split('~');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (tilde, rest) = match piece.as_bytes().first() {
            Some(b'0') => ('~', &piece[1..]),
            Some(b'1') => ('/', &piece[1..]),
            _ => return Err("a `~` in a JSON Pointer is followed by 0 (for `~`) or 1 (for `/`)".to_owned()),
        };
        text.push(tilde);
        text.push_str(rest);
    }
    Ok(text)
}

/// What was found at each pointer of a [`Trie`], by slot.
pub(super) type Slots<'a> = SmallVec<[Found<'a>; 10]>;

/// A set of pointers, each with the number of its slot.
#[derive(Debug, Default)]
pub(super) struct Trie {
    root: Node,
    pointers: Vec<Vec<String>>,
}

#[derive(Debug, Default)]
struct Node {
    slot: Option<usize>,
    children: Vec<Child>,
}

#[derive(Debug)]
struct Child {
    name: String,
    /// The name as an index into an array: digits without leading zeros.
    index: Option<usize>,
    node: Node,
}

impl Trie {
    /// The slot of `pointer`, new if need be. A pointer that is none finds nothing.
    pub(super) fn slot(&mut self, pointer: &str) -> usize {
        // The configuration has checked it; a key with a tilde that means nothing is the nearest thing left.
        let tokens = parse_pointer(pointer).unwrap_or_else(|_| vec![pointer.to_owned()]);
        if let Some(slot) = self.pointers.iter().position(|known| *known == tokens) {
            return slot;
        }
        let slot = self.pointers.len();
        let node = tokens.iter().fold(&mut self.root, |node, token| node.child(token));
        node.slot = Some(slot);
        self.pointers.push(tokens);
        slot
    }

    /// Whether no pointer is asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.pointers.is_empty()
    }

    /// Makes `slots` as many empty ones as there are pointers.
    pub(super) fn empty(&self, slots: &mut Slots<'_>) {
        slots.clear();
        slots.resize(self.pointers.len(), Found::Missing);
    }

    /// Fills `slots` from a JSON text. Of duplicate keys the last counts.
    ///
    /// Walks only where pointers lead, so the recursion is as deep as the deepest pointer; all else is skipped without
    /// recursion.
    ///
    /// # Errors
    ///
    /// If the text is no JSON, or more than one value.
    pub(super) fn fill<'a>(&self, text: &'a str, slots: &mut Slots<'a>) -> Result<(), serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Walk { node: &self.root, slots }.deserialize(&mut deserializer)?;
        deserializer.end()
    }
}

impl Node {
    fn child(&mut self, name: &str) -> &mut Node {
        let known = self.children.iter().position(|child| child.name == name);
        let at = known.unwrap_or_else(|| {
            let index = name.parse().ok().filter(|index: &usize| index.to_string() == name);
            self.children.push(Child { name: name.to_owned(), index, node: Node::default() });
            self.children.len() - 1
        });
        &mut self.children[at].node
    }

    /// Forgets what an earlier value of the same key brought.
    fn clear(&self, slots: &mut Slots<'_>) {
        self.put(Found::Missing, slots);
        for child in &self.children {
            child.node.clear(slots);
        }
    }

    fn put<'a>(&self, found: Found<'a>, slots: &mut Slots<'a>) {
        if let Some(slot) = self.slot.and_then(|slot| slots.get_mut(slot)) {
            *slot = found;
        }
    }
}

/// Reads one value at a node.
struct Walk<'t, 's, 'a> {
    node: &'t Node,
    slots: &'s mut Slots<'a>,
}

impl<'a> Walk<'_, '_, 'a> {
    fn put<E>(self, found: Found<'a>) -> Result<(), E> {
        self.node.put(found, self.slots);
        Ok(())
    }
}

impl<'a> DeserializeSeed<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Found::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(Found::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(Found::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(Found::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.put(Found::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.put(Found::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<(), E> {
        self.put(Found::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<(), A::Error> {
        self.node.put(Found::Compound, self.slots);
        for index in 0.. {
            let child = self.node.children.iter().find(|child| child.index == Some(index));
            let more = match child {
                Some(child) => items.next_element_seed(Walk { node: &child.node, slots: self.slots })?.is_some(),
                None => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut entries: A) -> Result<(), A::Error> {
        self.node.put(Found::Compound, self.slots);
        let mut seen = 0_u64;
        while let Some(child) = entries.next_key_seed(Key(self.node))? {
            let Some((at, node)) = child else {
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            // Beyond the 64th they are cleared always.
            let bit = u32::try_from(at).ok().and_then(|at| 1_u64.checked_shl(at));
            if bit.is_none_or(|bit| seen & bit != 0) {
                node.clear(self.slots);
            }
            seen |= bit.unwrap_or(0);
            entries.next_value_seed(Walk { node, slots: self.slots })?;
        }
        Ok(())
    }
}

/// Reads a key as the child it leads to, with its place among the children.
struct Key<'t>(&'t Node);

impl<'de, 't> DeserializeSeed<'de> for Key<'t> {
    type Value = Option<(usize, &'t Node)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'_> for Key<'t> {
    type Value = Option<(usize, &'t Node)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        let mut children = self.0.children.iter().enumerate();
        Ok(children.find(|(_, child)| child.name == key).map(|(at, child)| (at, &child.node)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(pointer: &str, expected: Option<&[&str]>) {
        let tokens = parse_pointer(pointer).ok();
        assert_eq!(tokens, expected.map(|tokens| tokens.iter().map(ToString::to_string).collect()));
    }

    #[test]
    fn pointers() {
        check("", Some(&[]));
        check("/", Some(&[""]));
        check("/a/b", Some(&["a", "b"]));
        check("/a~1b/~01", Some(&["a/b", "~1"]));
        check("a", None);
        check("/~2", None);
        check("/a~", None);
    }

    /// What the trie finds at `pointer`, as a JSON value; `None` for nothing.
    fn find(text: &str, pointers: &[&str]) -> Result<Vec<Option<Value>>, serde_json::Error> {
        let mut trie = Trie::default();
        let numbers: Vec<usize> = pointers.iter().map(|pointer| trie.slot(pointer)).collect();
        let mut slots = Slots::new();
        trie.empty(&mut slots);
        trie.fill(text, &mut slots)?;
        Ok(numbers.iter().map(|number| as_value(&slots[*number])).collect())
    }

    fn as_value(found: &Found<'_>) -> Option<Value> {
        Some(match found {
            Found::Missing => return None,
            Found::Null => Value::Null,
            Found::Boolean(value) => Value::from(*value),
            Found::Integer(value) => serde_json::from_str(&value.to_string()).unwrap(),
            Found::Float(value) => Value::from(*value),
            Found::Text(text) => Value::from(text.as_ref()),
            Found::Instant(_) => panic!("no JSON"),
            Found::Compound => Value::Array(Vec::new()),
        })
    }

    /// The same by a document tree.
    fn oracle(text: &str, pointers: &[&str]) -> Vec<Option<Value>> {
        let document: Value = serde_json::from_str(text).unwrap();
        let simple = |value: &Value| match value {
            Value::Array(_) | Value::Object(_) => Value::Array(Vec::new()),
            other => other.clone(),
        };
        pointers.iter().map(|pointer| document.pointer(pointer).map(simple)).collect()
    }

    const POINTERS: [&str; 14] =
        ["", "/a", "/a/b", "/a/b/a", "/b/0", "/b/1/a", "/b/01", "/a~1b", "/~0", "/é", "/0", "/a/0/b", "/\"\n", "/"];

    #[test]
    fn the_last_of_duplicate_keys_counts_whole() {
        for text in [
            r#"{"a":{"b":1},"a":{"c":2}}"#,
            r#"{"a":1,"a":{"b":2}}"#,
            r#"{"a":{"b":1},"a":null}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert_eq!(find(text, &POINTERS).unwrap(), oracle(text, &POINTERS), "{text}");
        }
    }

    #[test]
    fn indices_have_no_leading_zeros_and_no_signs() {
        for text in [r#"{"b":[1,{"a":2}]}"#, r#"{"b":{"01":1,"0":2}}"#, "[[3]]"] {
            let pointers = ["/b/01", "/b/+1", "/b/0", "/b/-", "/b/2", "/00/0", "/0/0"];
            assert_eq!(find(text, &pointers).unwrap(), oracle(text, &pointers), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_skipped_without_recursion() {
        let deep = format!("{{\"x\":{}1{},\"a\":2}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(find(&deep, &["/a"]).unwrap(), [Some(Value::from(2))]);
        let pointer = "/0".repeat(1_000);
        let mapped = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        assert!(find(&mapped, &[&pointer]).is_err(), "deeper than 128 on a mapped path is refused");
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("\"a\"".to_owned()),
            Just("\"b\"".to_owned()),
            Just("\"0\"".to_owned()),
            Just(r#""\u0061""#.to_owned()),
            Just(r#""a\/b""#.to_owned()),
            Just("\"~\"".to_owned()),
            Just("\"\"".to_owned()),
            Just(r#""\u00e9""#.to_owned()),
            Just(r#""\"\n""#.to_owned()),
        ]
    }

    fn document() -> impl Strategy<Value = String> {
        let number = prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<u64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_filter("JSON has no others", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
            any::<u128>().prop_map(|n| n.to_string()),
            Just("-0".to_owned()),
            Just("1E-400".to_owned()),
        ];
        let text = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
        let emoji = Just(r#""\ud83d\ude00 \t""#.to_owned());
        let leaf = prop_oneof![number, text, emoji, Just("null".to_owned()), Just("true".to_owned())];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::vec((key(), inner), 0..6).prop_map(|entries| {
                    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key} : {value}")).collect();
                    format!("{{{}}}", entries.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_document_tree_holds(text in document()) {
            prop_assert_eq!(find(&text, &POINTERS).unwrap(), oracle(&text, &POINTERS));
        }

        #[test]
        fn a_cut_text_is_refused_as_by_a_document_tree(text in document(), cut in any::<prop::sample::Index>(), tail in "[ \\]}0-9]{0,2}") {
            let end = text.floor_char_boundary(cut.index(text.len()));
            let damaged = format!("{}{tail}", &text[..end]);
            let expected = serde_json::from_str::<Value>(&damaged).is_ok();
            prop_assert_eq!(find(&damaged, &POINTERS).is_ok(), expected, "{}", damaged);
        }
    }
}

//! Reads typed values from the tree, and finds every problem, not only the first.
//!
//! serde stops at the first error. Since every key has a default, the document is read again without the value that
//! was wrong, until nothing is: each round adds one problem, up to [`MAX_PROBLEMS`].

use super::nearest::nearest;
use super::problem::{MAX_PROBLEMS, Origin, Problem};
use super::tree::{Kind, Node, Tree};
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, EnumAccess, Expected, IntoDeserializer, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::collections::BTreeSet;
use std::fmt;

/// The ids of nodes that are left out because they are wrong.
pub(super) type Dead = BTreeSet<usize>;

/// Reads a `T` from the tree; each problem goes to `problems`, and what is wrong is left at its default. Returns the
/// nodes that were left out, too.
pub(super) fn read<T>(tree: &Tree, problems: &mut Vec<Problem>) -> (T, Dead)
where
    T: for<'de> de::Deserialize<'de> + Default,
{
    let mut dead = Dead::new();
    for _ in 0..=MAX_PROBLEMS {
        match T::deserialize(Reader { node: &tree.root, dead: &dead }) {
            Ok(value) => return (value, dead),
            Err(error) => {
                let Some(place) = error.place else {
                    problems.push(Problem {
                        origin: Origin::Unknown,
                        key: String::new(),
                        message: error.message,
                    });
                    break;
                };
                let key = tree.path_of(place.id);
                problems.push(Problem { origin: place.origin, key, message: error.message });
                if place.id == tree.root.id || !dead.insert(place.id) {
                    break;
                }
            }
        }
    }
    (T::default(), dead)
}

/// Why a value could not be read, and where.
#[derive(Debug)]
pub(super) struct ReadError {
    message: String,
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    id: usize,
    origin: Origin,
}

impl ReadError {
    fn new(message: String) -> ReadError {
        ReadError { message, place: None }
    }

    /// Fills in the place unless an inner value did.
    fn at(mut self, node: &Node) -> ReadError {
        self.place.get_or_insert_with(|| Place { id: node.id, origin: node.origin.clone() });
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

/// What a derived visitor says it expects, in a user's words.
fn in_words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" | "u64" | "usize" => "a whole number from 0".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "keys with values".to_owned(),
        other if other.starts_with("struct ") => "keys with values".to_owned(),
        other if other.starts_with("enum ") => "a word".to_owned(),
        other => other.to_owned(),
    }
}

fn list(words: &[&'static str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// Text from the file, short enough for a message.
pub(super) fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug())
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> ReadError {
        ReadError::new(message.to_string())
    }

    // Says what kind of value stands there, never the value: it may be a password.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> ReadError {
        let expected = in_words(expected);
        let quoting = if expected == "text" { " (put it in quotes)" } else { "" };
        let found = match found {
            Unexpected::Bool(_) => "a truth value",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) => "text",
            Unexpected::Unit | Unexpected::Option => "empty",
            Unexpected::Seq => "a list",
            Unexpected::Map => "keys with values",
            _ => "something else",
        };
        ReadError::new(format!("is {found}; write {expected}{quoting}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> ReadError {
        let found = match found {
            Unexpected::Unsigned(value) => value.to_string(),
            Unexpected::Signed(value) => value.to_string(),
            Unexpected::Float(value) => value.to_string(),
            Unexpected::Str(text) => quote(text),
            other => other.to_string(),
        };
        ReadError::new(format!("{found} is not possible; write {}", in_words(expected)))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> ReadError {
        let hint = match (nearest(variant, known.iter().copied()), known) {
            (Some(near), [_, _, ..]) => format!("did you mean `{near}`? Known: {}", list(known)),
            (_, [only]) => format!("this version knows only `{only}`"),
            _ => format!("write one of {}", list(known)),
        };
        ReadError::new(format!("{} is not known; {hint}", quote(variant)))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> ReadError {
        let hint = match nearest(field, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("this version knows here: {}", list(known)),
        };
        ReadError::new(format!("unknown key; {hint}"))
    }
}

/// Reads one node.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    dead: &'a Dead,
}

impl<'a> Reader<'a> {
    fn unexpected<'de, V: Visitor<'de>>(&self, visitor: &V) -> ReadError {
        let found = match &self.node.kind {
            Kind::Null => Unexpected::Unit,
            Kind::Bool(value) => Unexpected::Bool(*value),
            Kind::Unsigned(value) => Unexpected::Unsigned(*value),
            Kind::Signed(value) => Unexpected::Signed(*value),
            Kind::Float(value) => Unexpected::Float(*value),
            Kind::Text(text) | Kind::Env(text) => Unexpected::Str(text),
            Kind::Seq(_) => Unexpected::Seq,
            Kind::Map(_) => Unexpected::Map,
        };
        de::Error::invalid_type(found, visitor)
    }

    fn seq(&self, items: &'a [Node]) -> SeqReader<'a> {
        SeqReader { items: items.iter(), dead: self.dead }
    }

    fn map(&self, entries: &'a [(String, Node)]) -> MapReader<'a> {
        MapReader { entries: entries.iter(), value: None, dead: self.dead }
    }
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let read = match &self.node.kind {
            Kind::Null => Err(ReadError::new("has no value; remove the key to have its default".to_owned())),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Unsigned(value) => visitor.visit_u64(*value),
            Kind::Signed(value) => visitor.visit_i64(*value),
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Text(text) => visitor.visit_str(text),
            Kind::Env(text) => match (text.parse::<u64>(), text.parse::<bool>()) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_bool(value),
                _ => visitor.visit_str(text),
            },
            Kind::Seq(items) => visitor.visit_seq(self.seq(items)),
            Kind::Map(entries) => visitor.visit_map(self.map(entries)),
        };
        read.map_err(|error| error.at(self.node))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.kind {
            Kind::Env(text) => visitor.visit_str(text).map_err(|error: ReadError| error.at(self.node)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self).map_err(|error: ReadError| error.at(self.node))
    }

    // A key whose items are all commented out has a null: an empty list, or all defaults.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.kind {
            Kind::Null => visitor.visit_seq(self.seq(&[])),
            Kind::Seq(items) => visitor.visit_seq(self.seq(items)),
            _ => Err(self.unexpected(&visitor)),
        }
        .map_err(|error| error.at(self.node))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.kind {
            Kind::Null => visitor.visit_map(self.map(&[])),
            Kind::Map(entries) => visitor.visit_map(self.map(entries)),
            _ => Err(self.unexpected(&visitor)),
        }
        .map_err(|error| error.at(self.node))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.kind {
            Kind::Text(text) | Kind::Env(text) => visitor.visit_enum(Word(text)),
            _ => Err(self.unexpected(&OneOf(variants))),
        }
        .map_err(|error| error.at(self.node))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier
    }
}

/// What is expected where one of some words is.
struct OneOf(&'static [&'static str]);

impl Visitor<'_> for OneOf {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [only] => write!(f, "`{only}`"),
            known => write!(f, "one of {}", list(known)),
        }
    }
}

/// The word of an enum without data.
struct Word<'a>(&'a str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = ReadError;
    type Variant = NoData;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, NoData), ReadError> {
        let word: StrDeserializer<'_, ReadError> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, NoData))
    }
}

struct NoData;

impl<'de> VariantAccess<'de> for NoData {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, ReadError> {
        Err(ReadError::new("needs a value".to_owned()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, ReadError> {
        Err(ReadError::new("needs a value".to_owned()))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, ReadError> {
        Err(ReadError::new("needs a value".to_owned()))
    }
}

struct SeqReader<'a> {
    items: std::slice::Iter<'a, Node>,
    dead: &'a Dead,
}

impl<'de> de::SeqAccess<'de> for SeqReader<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        for node in self.items.by_ref() {
            if !self.dead.contains(&node.id) {
                let value = seed.deserialize(Reader { node, dead: self.dead });
                return value.map(Some).map_err(|error| error.at(node));
            }
        }
        Ok(None)
    }
}

struct MapReader<'a> {
    entries: std::slice::Iter<'a, (String, Node)>,
    value: Option<&'a Node>,
    dead: &'a Dead,
}

impl<'de> de::MapAccess<'de> for MapReader<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        for (key, node) in self.entries.by_ref() {
            if !self.dead.contains(&node.id) {
                self.value = Some(node);
                let key: StrDeserializer<'_, ReadError> = key.as_str().into_deserializer();
                return seed.deserialize(key).map(Some).map_err(|error| error.at(node));
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let node =
            self.value.take().ok_or_else(|| ReadError::new("a value was asked for twice".to_owned()))?;
        seed.deserialize(Reader { node, dead: self.dead }).map_err(|error| error.at(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Top {
        count: u16,
        text: String,
        mode: Option<Mode>,
        items: Vec<Item>,
        map: BTreeMap<String, Item>,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Item {
        on: bool,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        FirstMode,
        Second,
    }

    fn read_yaml(yaml: &str, env: &[(&str, &str)]) -> (Top, Vec<String>) {
        let mut problems = Vec::new();
        let mut tree = Tree::parse(yaml, &mut problems).unwrap_or_else(|problem| panic!("{problem:?}"));
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        super::super::env::overlay(&mut tree, env, &mut problems);
        let (top, _) = read(&tree, &mut problems);
        let show = |problem: Problem| match problem.origin {
            Origin::Line(line) => format!("{line} {}: {}", problem.key, problem.message),
            Origin::Env(name) => format!("{name} {}: {}", problem.key, problem.message),
            Origin::Unknown => format!("? {}: {}", problem.key, problem.message),
        };
        (top, problems.into_iter().map(show).collect())
    }

    #[test]
    fn good_values() {
        let (top, problems) = read_yaml(
            "count: 5\ntext: x\nmode: first_mode\nitems: [{on: true}, {}]\nmap: {a: {on: true}}",
            &[],
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((top.count, top.text.as_str(), top.mode), (5, "x", Some(Mode::FirstMode)));
        assert_eq!(top.items, [Item { on: true }, Item { on: false }]);
        assert_eq!(top.map.len(), 1);
        assert_eq!(read_yaml("items:\nmap:\nmode:\n", &[]), (Top::default(), Vec::new()));
    }

    #[test]
    fn the_environment_is_read_as_what_is_asked_for() {
        let env = [
            ("MSM__COUNT", "7"),
            ("MSM__TEXT", "0123"),
            ("MSM__MODE", "second"),
            ("MSM__ITEMS__0__ON", "true"),
        ];
        let (top, problems) = read_yaml("", &env);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((top.count, top.text.as_str(), top.mode), (7, "0123", Some(Mode::Second)));
        assert_eq!(top.items, [Item { on: true }]);
        let (_, problems) = read_yaml("", &[("MSM__COUNT", "seven"), ("MSM__CUONT", "1")]);
        assert_eq!(
            problems,
            [
                "MSM__COUNT count: is text; write a whole number from 0 to 65535",
                "MSM__CUONT cuont: unknown key; did you mean `count`?"
            ]
        );
    }

    #[test]
    fn every_problem_is_found_and_the_rest_still_read() {
        let (top, problems) = read_yaml(
            "cuont: 5\ncount: 70000\ntext: 12345\nmode: third\nitems:\n  - on: 1\n  - on: true\n  - 5\nmap: [a]\nidentity: {}\n",
            &[],
        );
        assert_eq!(
            problems,
            [
                "1 cuont: unknown key; did you mean `count`?",
                "2 count: 70000 is not possible; write a whole number from 0 to 65535",
                "3 text: is a number; write text (put it in quotes)",
                "4 mode: `third` is not known; write one of `first_mode`, `second`",
                "6 items[0].on: is a number; write `true` or `false`",
                "8 items[2]: is a number; write keys with values",
                "9 map: is a list; write keys with values",
                "10 identity: unknown key; this version knows here: `count`, `text`, `mode`, `items`, `map`",
            ]
        );
        assert_eq!(top.items, [Item { on: false }, Item { on: true }]);
    }

    #[test]
    fn the_root_must_be_a_map() {
        assert_eq!(read_yaml("5", &[]).1, ["1 : is a number; write keys with values"]);
        assert_eq!(read_yaml("[a]", &[]).1, ["1 : is a list; write keys with values"]);
    }

    #[test]
    fn rounds_are_bounded() {
        let yaml: String = (0..5000).map(|index| format!("zzzzzz{index}: 1\n")).collect();
        assert_eq!(read_yaml(&yaml, &[]).1.len(), MAX_PROBLEMS + 1);
    }
}

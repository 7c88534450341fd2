//! The document as a tree in which each value knows its place.
//!
//! The file is parsed once into this tree; overrides from the environment are laid over it; then the typed
//! configuration is read from it (`de.rs`). So each problem can name the line or the variable that it is about.

use super::problem::{Origin, Problem};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::collections::HashMap;
use std::fmt;

/// Largest configuration file, in bytes: ten thousand routes with all that they may say.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Longest single value or key, in bytes.
pub const MAX_SCALAR_BYTES: usize = 4096;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 24;
/// Most values in a document, aliases expanded.
pub const MAX_NODES: usize = 400_000;

/// What stands at a node.
#[derive(Clone)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    /// The text of an environment variable: a number, a truth value or text, whatever is asked for.
    Env(String),
    Seq(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A value and its place. Its path is made when something is wrong with it ([`Tree::path_of`]): a file of ten thousand routes has a hundred
/// thousand values. No `Debug`: a node may hold a password.
#[derive(Clone)]
pub(super) struct Node {
    /// Unique in a tree.
    pub(super) id: usize,
    pub(super) origin: Origin,
    pub(super) kind: Kind,
}

/// The tree of one document.
#[derive(Clone)]
pub(super) struct Tree {
    pub(super) root: Node,
    next_id: usize,
}

/// `parent.key`, or `key` at the top.
pub(super) fn join_key(parent: &str, key: &str) -> String {
    let key = key.escape_debug();
    if parent.is_empty() { key.to_string() } else { format!("{parent}.{key}") }
}

/// `parent[index]`.
pub(super) fn join_index(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

impl Tree {
    /// An empty document.
    pub(super) fn empty() -> Tree {
        Tree { root: Node { id: 0, origin: Origin::Unknown, kind: Kind::Null }, next_id: 1 }
    }

    /// Parses YAML.
    ///
    /// # Errors
    /// The one problem that kept the text from being a document. Keys that stand twice go to `problems`; the first
    /// one counts.
    pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Result<Tree, Problem> {
        if text.len() > MAX_FILE_BYTES {
            return Err(Problem {
                origin: Origin::Unknown,
                key: String::new(),
                message: format!("larger than {MAX_FILE_BYTES} bytes; this is not a configuration file"),
            });
        }
        let raw = parse_raw(text).map_err(|error| Problem {
            origin: error.location().map_or(Origin::Unknown, |at| Origin::Line(line_of(at))),
            key: String::new(),
            message: format!(
                "not valid YAML: {}; look at indentation, quotes and brackets",
                without_place(&error)
            ),
        })?;
        let mut tree = Tree::empty();
        tree.root = match raw {
            Some(raw) => tree.adopt(raw.value, Origin::Line(line_of(raw.referenced)), &Way::Top, problems),
            None => tree.root.clone(),
        };
        Ok(tree)
    }

    /// A new node.
    pub(super) fn node(&mut self, origin: Origin, kind: Kind) -> Node {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        Node { id, origin, kind }
    }

    /// The path of a node: `routes[0].match.url`.
    pub(super) fn path_of(&self, id: usize) -> String {
        self.root.path_to(id, &Way::Top).unwrap_or_default()
    }

    /// Parses the text of a variable that looks like a list or map (`[read, publish]`). `None` when it is neither.
    pub(super) fn parse_value(&mut self, text: &str, origin: &Origin) -> Option<Node> {
        if !text.starts_with(['[', '{']) {
            return None;
        }
        let raw = parse_raw(text).ok()??;
        let mut ignored = Vec::new();
        let mut node = self.adopt(raw.value, origin.clone(), &Way::Top, &mut ignored);
        relabel(&mut node, origin);
        matches!(node.kind, Kind::Seq(_) | Kind::Map(_)).then_some(node)
    }

    fn adopt(&mut self, raw: Raw, origin: Origin, way: &Way<'_>, problems: &mut Vec<Problem>) -> Node {
        let kind = match raw {
            Raw::Scalar(kind) => kind,
            Raw::Seq(items) => {
                let adopt = |(index, item): (usize, Spanned<Raw>)| {
                    let origin = Origin::Line(line_of(item.referenced));
                    self.adopt(item.value, origin, &Way::Index(way, index), problems)
                };
                Kind::Seq(items.into_iter().enumerate().map(adopt).collect())
            }
            Raw::Map(entries) => {
                let mut nodes: Vec<(String, Node)> = Vec::with_capacity(entries.len());
                // Of where there are many: most maps have a few keys, which are compared one by one.
                let mut places: HashMap<String, usize> = HashMap::new();
                for (key, value) in entries {
                    let origin = Origin::Line(line_of(key.referenced));
                    let key = key.value;
                    if nodes.len() == FEW_KEYS {
                        places.extend(nodes.iter().enumerate().map(|(at, (own, _))| (own.clone(), at)));
                    }
                    let first = if nodes.len() < FEW_KEYS {
                        nodes.iter().find(|(own, _)| *own == key)
                    } else {
                        places.get(&key).and_then(|at| nodes.get(*at))
                    };
                    let way = Way::Key(way, &key);
                    if let Some((_, first)) = first {
                        let first = match &first.origin {
                            Origin::Line(line) => format!(" (first in line {line})"),
                            Origin::Env(_) | Origin::Unknown => String::new(),
                        };
                        let message = format!("the key stands twice{first}; remove one");
                        problems.push(Problem { origin, key: way.path(), message });
                        continue;
                    }
                    let node = self.adopt(value, origin, &way, problems);
                    if nodes.len() >= FEW_KEYS {
                        places.insert(key.clone(), nodes.len());
                    }
                    nodes.push((key, node));
                }
                Kind::Map(nodes)
            }
        };
        self.node(origin, kind)
    }
}

/// Keys of a map that are compared one by one.
const FEW_KEYS: usize = 16;

/// The way from the top to a value.
#[derive(Clone, Copy)]
enum Way<'w> {
    Top,
    Key(&'w Way<'w>, &'w str),
    Index(&'w Way<'w>, usize),
}

impl Way<'_> {
    fn path(&self) -> String {
        match self {
            Way::Top => String::new(),
            Way::Key(parent, key) => join_key(&parent.path(), key),
            Way::Index(parent, index) => join_index(&parent.path(), *index),
        }
    }
}

impl Node {
    /// The path of a node that is here, or below.
    fn path_to(&self, id: usize, way: &Way<'_>) -> Option<String> {
        if self.id == id {
            return Some(way.path());
        }
        match &self.kind {
            Kind::Seq(items) => {
                let mut items = items.iter().enumerate();
                items.find_map(|(index, item)| item.path_to(id, &Way::Index(way, index)))
            }
            Kind::Map(entries) => {
                entries.iter().find_map(|(key, value)| value.path_to(id, &Way::Key(way, key)))
            }
            _ => None,
        }
    }
}

fn relabel(node: &mut Node, origin: &Origin) {
    node.origin = origin.clone();
    match &mut node.kind {
        Kind::Seq(items) => items.iter_mut().for_each(|item| relabel(item, origin)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| relabel(value, origin)),
        _ => {}
    }
}

fn line_of(location: serde_saphyr::Location) -> u32 {
    u32::try_from(location.line()).unwrap_or(u32::MAX)
}

/// The error's text without its own "line x column y", which the problem says already.
fn without_place(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    let text = text.get(..end).unwrap_or(text);
    match text.strip_prefix("error: line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, message)) => message.to_owned(),
        None => text.to_owned(),
    }
}

fn parse_raw(text: &str) -> Result<Option<Spanned<Raw>>, serde_saphyr::Error> {
    let limits = serde_saphyr::budget! {
        max_nodes: MAX_NODES,
        max_events: MAX_NODES.saturating_mul(2),
        max_depth: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
        max_documents: 1,
        max_aliases: 1000,
        max_anchors: 1000,
        max_merge_keys: 1000,
        max_recorded_anchor_events: MAX_NODES,
        max_recorded_anchor_bytes: MAX_FILE_BYTES,
        max_total_scalar_bytes: MAX_FILE_BYTES.saturating_mul(2),
    };
    let options = serde_saphyr::options! {
        budget: limits,
        // Values that aliases repeat are copied: this times MAX_SCALAR_BYTES bounds the copies.
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 5_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 1_000,
        },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// A value as the YAML parser hands it over.
enum Raw {
    Scalar(Kind),
    Seq(Vec<Spanned<Raw>>),
    // A value is where its key is: what knows its own place takes twice the time.
    Map(Vec<(Spanned<String>, Raw)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(u64::try_from(value).map_or(Kind::Signed(value), Kind::Unsigned)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Unsigned(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Float(value)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        if text.len() > MAX_SCALAR_BYTES {
            return Err(E::custom(format_args!("a value longer than {MAX_SCALAR_BYTES} bytes")));
        }
        Ok(Raw::Scalar(Kind::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries: Vec<(Spanned<String>, Raw)> = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            if key.value.len() > MAX_SCALAR_BYTES {
                return Err(de::Error::custom(format_args!("a key longer than {MAX_SCALAR_BYTES} bytes")));
            }
            entries.push((key, access.next_value()?));
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests;

//! The document as a tree in which each value knows its place.
//!
//! The file is parsed once into this tree; overrides from the environment are laid over it; then the typed
//! configuration is read from it (`de.rs`). So each problem can name the line or the variable that it is about.

use super::problem::{Origin, Problem};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
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

/// A value, its place, and its path. No `Debug`: a node may hold a password.
#[derive(Clone)]
pub(super) struct Node {
    /// Unique in a tree.
    pub(super) id: usize,
    pub(super) origin: Origin,
    pub(super) path: String,
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
        Tree {
            root: Node { id: 0, origin: Origin::Unknown, path: String::new(), kind: Kind::Null },
            next_id: 1,
        }
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
            Some(raw) => {
                tree.adopt(raw.value, Origin::Line(line_of(raw.referenced)), String::new(), problems)
            }
            None => tree.root.clone(),
        };
        Ok(tree)
    }

    /// A new node.
    pub(super) fn node(&mut self, origin: Origin, path: String, kind: Kind) -> Node {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        Node { id, origin, path, kind }
    }

    /// Parses the text of a variable that looks like a list or map (`[read, publish]`). `None` when it is neither.
    pub(super) fn parse_value(&mut self, text: &str, origin: &Origin, path: &str) -> Option<Node> {
        if !text.starts_with(['[', '{']) {
            return None;
        }
        let raw = parse_raw(text).ok()??;
        let mut ignored = Vec::new();
        let mut node = self.adopt(raw.value, origin.clone(), path.to_owned(), &mut ignored);
        relabel(&mut node, origin);
        matches!(node.kind, Kind::Seq(_) | Kind::Map(_)).then_some(node)
    }

    fn adopt(&mut self, raw: Raw, origin: Origin, path: String, problems: &mut Vec<Problem>) -> Node {
        let kind = match raw {
            Raw::Scalar(kind) => kind,
            Raw::Seq(items) => {
                let mut nodes = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let origin = Origin::Line(line_of(item.referenced));
                    nodes.push(self.adopt(item.value, origin, join_index(&path, index), problems));
                }
                Kind::Seq(nodes)
            }
            Raw::Map(entries) => {
                let mut nodes: Vec<(String, Node)> = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let origin = Origin::Line(line_of(key.referenced));
                    let path = join_key(&path, &key.value);
                    if let Some((_, first)) = nodes.iter().find(|(own, _)| *own == key.value) {
                        let first = match &first.origin {
                            Origin::Line(line) => format!(" (first in line {line})"),
                            Origin::Env(_) | Origin::Unknown => String::new(),
                        };
                        let message = format!("the key stands twice{first}; remove one");
                        problems.push(Problem { origin, key: path, message });
                        continue;
                    }
                    let node = self.adopt(value.value, origin, path, problems);
                    nodes.push((key.value, node));
                }
                Kind::Map(nodes)
            }
        };
        self.node(origin, path, kind)
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
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
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
        let mut entries: Vec<(Spanned<String>, Spanned<Raw>)> = Vec::new();
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
mod tests {
    use super::*;

    fn parse(text: &str) -> Tree {
        let mut problems = Vec::new();
        let tree = Tree::parse(text, &mut problems).unwrap_or_else(|problem| panic!("{problem:?}"));
        assert_eq!(problems, []);
        tree
    }

    fn shape(node: &Node, out: &mut Vec<String>) {
        let value = match &node.kind {
            Kind::Null => "null".to_owned(),
            Kind::Bool(value) => value.to_string(),
            Kind::Unsigned(value) => value.to_string(),
            Kind::Signed(value) => value.to_string(),
            Kind::Float(value) => format!("{value:?}"),
            Kind::Text(text) | Kind::Env(text) => format!("{text:?}"),
            Kind::Seq(items) => {
                items.iter().for_each(|item| shape(item, out));
                return;
            }
            Kind::Map(entries) => {
                entries.iter().for_each(|(_, value)| shape(value, out));
                return;
            }
        };
        let Origin::Line(line) = node.origin else { panic!("no line") };
        out.push(format!("{line} {}={value}", node.path));
    }

    #[test]
    fn values_know_line_and_path() {
        let tree = parse("# top\na:\n  - {b: 1, c: -2}\n  - b: 0755\n    c: on\nd: [x, 1.5, true, ~]\ne:\n");
        let mut out = Vec::new();
        shape(&tree.root, &mut out);
        assert_eq!(
            out,
            [
                "3 a[0].b=1",
                "3 a[0].c=-2",
                "4 a[1].b=\"0755\"",
                "5 a[1].c=\"on\"",
                "6 d[0]=\"x\"",
                "6 d[1]=1.5",
                "6 d[2]=true",
                "6 d[3]=null",
                "7 e=null"
            ]
        );
    }

    #[test]
    fn empty_documents() {
        for text in ["", "\n", "# nothing\n", "---\n", "~", "{}"] {
            assert!(matches!(&parse(text).root.kind, Kind::Null | Kind::Map(_)), "{text:?}");
        }
    }

    #[test]
    fn duplicate_keys_are_all_reported() {
        let mut problems = Vec::new();
        let tree =
            Tree::parse("a: 1\nb: 2\na: 3\nb: 4\n", &mut problems).map_err(|p| p.message).expect("parsed");
        let found: Vec<_> = problems.iter().map(|p| (p.origin.clone(), p.key.as_str())).collect();
        assert_eq!(found, [(Origin::Line(3), "a"), (Origin::Line(4), "b")]);
        assert!(problems[0].message.contains("first in line 1"));
        let Kind::Map(entries) = &tree.root.kind else { panic!("a map") };
        assert!(matches!(entries[0].1.kind, Kind::Unsigned(1)));
    }

    #[test]
    fn syntax_errors_name_their_line() {
        let error = |text: &str| Tree::parse(text, &mut Vec::new()).map(|_| ()).expect_err(text);
        let problem = error("a: 1\nb: [1, 2\n");
        assert!(matches!(problem.origin, Origin::Line(2..=3)), "{problem:?}");
        let problem = error("a: 1\n\tb: 2\n");
        assert!(matches!(problem.origin, Origin::Line(_)), "{problem:?}");
        assert!(!problem.message.contains("line"), "{problem:?}");
        error("a: *nothing\n");
        error("a: 1\n---\nb: 2\n");
        error(&"x".repeat(MAX_FILE_BYTES + 1));
        error(&format!("a: {}\n", "x".repeat(MAX_SCALAR_BYTES + 1)));
        error(&"[".repeat(MAX_DEPTH + 1));
        error(&(0..=MAX_DEPTH).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>());
    }

    #[test]
    fn bombs_are_refused() {
        let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for level in 1..10 {
            let below = level - 1;
            let items = vec![format!("*a{below}"); 9].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        let error = Tree::parse(&laughs, &mut Vec::new()).map(|_| ()).expect_err("bomb");
        assert!(error.message.starts_with("not valid YAML"), "{error:?}");
        let many = format!("a: &a {}\nb: [{}]\n", "x".repeat(4000), vec!["*a"; 20_000].join(","));
        assert!(Tree::parse(&many, &mut Vec::new()).is_err());
        let merges = format!("a: &a {{k: 1}}\n{}", "b: {<<: *a}\n".repeat(20_000));
        assert!(Tree::parse(&merges, &mut Vec::new()).is_err());
        let nodes = format!("a: [{}]", vec!["1"; MAX_NODES + 1].join(","));
        assert!(Tree::parse(&nodes, &mut Vec::new()).is_err());
    }

    #[test]
    fn merges_work() {
        let tree = parse("base: &base {x: 1, y: 2}\nuse:\n  <<: *base\n  y: 3\n");
        let mut out = Vec::new();
        shape(&tree.root, &mut out);
        assert!(out.iter().any(|line| line.ends_with("use.x=1")), "{out:?}");
        assert!(out.iter().any(|line| line.ends_with("use.y=3")), "{out:?}");
        assert!(!out.iter().any(|line| line.ends_with("use.y=2")), "{out:?}");
    }
}

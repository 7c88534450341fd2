//! Overrides from the environment: `MSM__ADMIN__ADDRESS=127.0.0.1:18000`.

use super::problem::{Origin, Problem};
use super::tree::{Kind, MAX_DEPTH, MAX_SCALAR_BYTES, Node, Tree, join_index, join_key};
use std::sync::Arc;

/// What the names of overriding variables begin with. Two underscores: Kubernetes itself injects `MSM_SERVICE_HOST`.
pub const ENV_PREFIX: &str = "MSM__";

/// The process's variables that override keys. One that is not UTF-8 is passed on with replacements, so that it is refused by name.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(ENV_PREFIX))
}

/// One step of a variable's path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Digits: an item of a list (or a key of digits in a map).
    Index(usize),
    /// Lower case.
    Key(String),
}

/// Lays the variables whose names begin with [`ENV_PREFIX`] over the tree, in the order of their paths.
pub(super) fn overlay(
    tree: &mut Tree,
    variables: impl Iterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) {
    let mut overrides = Vec::new();
    for (name, value) in variables {
        let Some(path) = name.strip_prefix(ENV_PREFIX) else { continue };
        match steps_of(path, &value) {
            Ok(steps) => overrides.push((steps, name, value)),
            Err(message) => problems.push(problem(&name, message)),
        }
    }
    overrides.sort();
    for (steps, name, value) in overrides {
        let origin = Origin::Env(Arc::from(name.as_str()));
        // Taken out while the tree makes new nodes.
        let mut root = std::mem::replace(&mut tree.root, Tree::empty().root);
        let set = set(tree, &mut root, "", &steps, &value, &origin);
        tree.root = root;
        if let Err(message) = set {
            problems.push(problem(&name, message));
        }
    }
}

fn problem(name: &str, message: String) -> Problem {
    Problem { origin: Origin::Env(Arc::from(name)), key: String::new(), message }
}

fn steps_of(path: &str, value: &str) -> Result<Vec<Step>, String> {
    if value.len() > MAX_SCALAR_BYTES || path.len() > MAX_SCALAR_BYTES {
        return Err(format!("longer than {MAX_SCALAR_BYTES} bytes"));
    }
    let steps: Vec<Step> = path
        .split("__")
        .map(|step| match step.parse::<usize>() {
            Ok(index) if step.bytes().all(|b| b.is_ascii_digit()) => Step::Index(index),
            _ => Step::Key(step.to_ascii_lowercase()),
        })
        .collect();
    if steps.contains(&Step::Key(String::new())) {
        return Err("names no key; write e.g. MSM__ADMIN__ADDRESS".to_owned());
    }
    if steps.len() > MAX_DEPTH {
        return Err(format!("deeper than {MAX_DEPTH} keys"));
    }
    Ok(steps)
}

/// Whether a key of the file is meant by a step: letter case does not matter, `_` may stand for `-` and `.`.
fn is_meant(key: &str, step: &str) -> bool {
    key.len() == step.len()
        && key.bytes().zip(step.bytes()).all(|(own, typed)| {
            own.eq_ignore_ascii_case(&typed) || (typed == b'_' && matches!(own, b'-' | b'.'))
        })
}

fn set(
    tree: &mut Tree,
    node: &mut Node,
    path: &str,
    steps: &[Step],
    value: &str,
    origin: &Origin,
) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        *node = match tree.parse_value(value, origin) {
            Some(parsed) => parsed,
            None => tree.node(origin.clone(), Kind::Env(value.to_owned())),
        };
        return Ok(());
    };
    if !matches!(node.kind, Kind::Seq(_) | Kind::Map(_)) {
        node.kind = match step {
            Step::Index(_) => Kind::Seq(Vec::new()),
            Step::Key(_) => Kind::Map(Vec::new()),
        };
        node.origin = origin.clone();
    }
    match (&mut node.kind, step) {
        (Kind::Seq(items), Step::Index(index)) => {
            if *index == items.len() {
                let item = tree.node(origin.clone(), Kind::Null);
                items.push(item);
            }
            let count = items.len();
            match items.get_mut(*index) {
                Some(item) => set(tree, item, &join_index(path, *index), rest, value, origin),
                None => Err(format!("`{path}` has {count} items, so the next index is {count}, not {index}")),
            }
        }
        (Kind::Map(entries), step) => {
            let key = match step {
                Step::Index(index) => index.to_string(),
                Step::Key(key) => key.clone(),
            };
            // An exact name first: two clusters may differ in `-` and `_` only.
            let found = entries
                .iter()
                .position(|(own, _)| *own == key)
                .or_else(|| entries.iter().position(|(own, _)| is_meant(own, &key)));
            if found.is_none() {
                let child = tree.node(origin.clone(), Kind::Null);
                entries.push((key, child));
            }
            let child = match found {
                Some(at) => entries.get_mut(at),
                None => entries.last_mut(),
            };
            match child {
                Some((key, child)) => set(tree, child, &join_key(path, key), rest, value, origin),
                None => Ok(()),
            }
        }
        (_, Step::Key(key)) => Err(format!("`{path}` is a list: write an index instead of `{key}`")),
        (_, Step::Index(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaid(yaml: &str, variables: &[(&str, &str)]) -> (String, Vec<String>) {
        let mut problems = Vec::new();
        let mut tree = Tree::parse(yaml, &mut problems).unwrap_or_else(|problem| panic!("{problem:?}"));
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        overlay(&mut tree, variables, &mut problems);
        (show(&tree.root), problems.into_iter().map(|problem| problem.message).collect())
    }

    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Env(text) => format!("env({text})"),
            Kind::Text(text) => text.clone(),
            Kind::Unsigned(value) => value.to_string(),
            Kind::Seq(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            Kind::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("{key}:{}", show(value))).collect();
                format!("{{{}}}", entries.join(" "))
            }
            _ => "?".to_owned(),
        }
    }

    #[test]
    fn variables_set_values() {
        let (tree, problems) = overlaid(
            "listeners: [{name: a, address: x}]\n",
            &[
                ("PATH", "/bin"),
                ("MSM_SERVICE_HOST", "10.0.0.1"),
                ("MSM__LISTENERS__0__ADDRESS", "[::]:8554"),
                ("MSM__LISTENERS__1__NAME", "b"),
                ("MSM__ADMIN__ADDRESS", "1"),
            ],
        );
        assert_eq!(
            tree,
            "{listeners:[{name:a address:env([::]:8554)} {name:env(b)}] admin:{address:env(1)}}"
        );
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn names_of_clusters_and_lists() {
        let (tree, problems) = overlaid(
            "clusters: {encoders-Next: {endpoints: [a]}}\n",
            &[("MSM__CLUSTERS__ENCODERS_NEXT__ENDPOINTS", "[b, c]"), ("MSM__WORKERS", "{broken")],
        );
        assert_eq!(tree, "{clusters:{encoders-Next:{endpoints:[b c]}} workers:env({broken)}");
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn ten_follows_nine() {
        let variables: Vec<(String, String)> =
            (0..12).map(|index| (format!("MSM__ROUTES__{index}__NAME"), format!("r{index}"))).collect();
        let borrowed: Vec<(&str, &str)> = variables.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let (tree, problems) = overlaid("", &borrowed);
        assert!(tree.ends_with("{name:env(r11)}]}"), "{tree}");
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn what_cannot_be_set() {
        let (_, problems) = overlaid("routes: [{}]", &[("MSM__ROUTES__3__NAME", "x")]);
        assert_eq!(problems, ["`routes` has 1 items, so the next index is 1, not 3"]);
        let (_, problems) = overlaid("routes: [{}]", &[("MSM__ROUTES__NAME", "x")]);
        assert_eq!(problems, ["`routes` is a list: write an index instead of `name`"]);
        for name in ["MSM__", "MSM__A____B", "MSM__A__"] {
            assert_eq!(overlaid("", &[(name, "x")]).1.len(), 1, "{name}");
        }
        let deep = format!("MSM__{}", vec!["A"; MAX_DEPTH + 1].join("__"));
        assert_eq!(overlaid("", &[(&deep, "x")]).1.len(), 1);
    }
}

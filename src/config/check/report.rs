//! Where a problem is, and all that were found.

use super::super::de::Dead;
use super::super::problem::Problem;
use super::super::tree::{Kind, Tree, join_index, join_key};

/// The path of a key.
#[derive(Debug, Clone)]
pub(in super::super) struct At(Vec<Step>);

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
}

impl At {
    pub(in super::super) fn key(key: &str) -> At {
        At(vec![Step::Key(key.to_owned())])
    }

    pub(in super::super) fn then(&self, key: &str) -> At {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        At(steps)
    }

    pub(in super::super) fn item(&self, index: usize) -> At {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        At(steps)
    }
}

/// Collects problems and finds their places in the document.
pub(in super::super) struct Report<'a> {
    tree: &'a Tree,
    dead: &'a Dead,
    pub(in super::super) problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    pub(in super::super) fn new(tree: &'a Tree, dead: &'a Dead) -> Report<'a> {
        Report { tree, dead, problems: Vec::new() }
    }

    /// Adds a problem at a key, or where its nearest existing parent stands.
    pub(in super::super) fn add(&mut self, at: &At, message: impl Into<String>) {
        let mut node = Some(&self.tree.root);
        let mut origin = self.tree.root.origin.clone();
        let mut path = String::new();
        for step in &at.0 {
            let child = node.and_then(|node| match (&node.kind, step) {
                (Kind::Map(entries), Step::Key(key)) => {
                    entries.iter().find(|(own, _)| own == key).map(|(_, child)| child)
                }
                // Items that could not be read are not in the typed list.
                (Kind::Seq(items), Step::Index(index)) => {
                    items.iter().filter(|item| !self.dead.contains(&item.id)).nth(*index)
                }
                _ => None,
            });
            match child {
                Some(child) => {
                    origin = child.origin.clone();
                    path = child.path.clone();
                }
                None => {
                    path = match step {
                        Step::Key(key) => join_key(&path, key),
                        Step::Index(index) => join_index(&path, *index),
                    };
                }
            }
            node = child;
        }
        self.problems.push(Problem { origin, key: path, message: message.into() });
    }

    /// Whether the document has an entry here that was left out as wrong, so that its absence is no news.
    pub(super) fn is_dead(&self, map: &str, key: &str) -> bool {
        let Kind::Map(top) = &self.tree.root.kind else { return false };
        top.iter().filter(|(own, _)| own == map).any(|(_, node)| match &node.kind {
            Kind::Map(entries) => {
                entries.iter().any(|(own, child)| own == key && self.dead.contains(&child.id))
            }
            _ => self.dead.contains(&node.id),
        })
    }
}

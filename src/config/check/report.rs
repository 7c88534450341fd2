//! Where a problem is, and all that were found.

use super::super::de::Dead;
use super::super::problem::Problem;
use super::super::tree::{Kind, Tree, join_index, join_key};
use std::rc::Rc;

/// The path of a key. Many are made for each that something is wrong with, so that one is a step and the path that it goes on from.
#[derive(Debug, Clone)]
pub(in super::super) struct At(Rc<Link>);

#[derive(Debug)]
struct Link {
    parent: Option<At>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl At {
    pub(in super::super) fn key(key: &str) -> At {
        At(Rc::new(Link { parent: None, step: Step::Key(key.to_owned()) }))
    }

    pub(in super::super) fn then(&self, key: &str) -> At {
        At(Rc::new(Link { parent: Some(self.clone()), step: Step::Key(key.to_owned()) }))
    }

    pub(in super::super) fn item(&self, index: usize) -> At {
        At(Rc::new(Link { parent: Some(self.clone()), step: Step::Index(index) }))
    }

    /// Its steps, the last one first.
    fn steps(&self) -> impl Iterator<Item = &Step> {
        std::iter::successors(Some(self), |at| at.0.parent.as_ref()).map(|at| &at.0.step)
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
        let steps: Vec<&Step> = at.steps().collect();
        for step in steps.into_iter().rev() {
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
            // Of items that are there, the place in the document counts.
            let index = match (child, node.map(|node| &node.kind)) {
                (Some(child), Some(Kind::Seq(items))) => items.iter().position(|item| item.id == child.id),
                _ => None,
            };
            path = match step {
                Step::Key(key) => join_key(&path, key),
                Step::Index(own) => join_index(&path, index.unwrap_or(*own)),
            };
            if let Some(child) = child {
                origin = child.origin.clone();
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

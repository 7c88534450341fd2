//! Where a problem is, and all that were found.

use super::super::de::Dead;
use super::super::problem::{MAX_PROBLEMS, Problem};
use super::super::tree::{Kind, Node, Tree, join_index, join_key};
use std::collections::HashMap;
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
    /// What is below long lists and maps that something was wrong in, by their ids: that may be so of each of ten thousand routes.
    below: HashMap<usize, Below<'a>>,
}

/// Children that are looked at one by one, where there are no more.
const FEW: usize = 16;

/// What is below a node.
enum Below<'a> {
    /// The items that could be read, and their places in the document: the others are not in the typed list.
    Items(Vec<(usize, &'a Node)>),
    Keys(HashMap<&'a str, &'a Node>),
}

impl<'a> Report<'a> {
    pub(in super::super) fn new(tree: &'a Tree, dead: &'a Dead) -> Report<'a> {
        Report { tree, dead, problems: Vec::new(), below: HashMap::new() }
    }

    /// Whether there are more than are shown: what helps with one more need not be looked for.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    /// A child of a node and, of an item, its place in the document.
    fn child(&mut self, node: &'a Node, step: &Step) -> Option<(Option<usize>, &'a Node)> {
        let dead = self.dead;
        match (&node.kind, step) {
            (Kind::Map(entries), Step::Key(key)) if entries.len() <= FEW => {
                entries.iter().find(|(own, _)| own == key).map(|(_, child)| (None, child))
            }
            (Kind::Map(entries), Step::Key(key)) => {
                let all = || entries.iter().map(|(key, child)| (key.as_str(), child)).collect();
                match self.below.entry(node.id).or_insert_with(|| Below::Keys(all())) {
                    Below::Keys(keys) => keys.get(key.as_str()).map(|child| (None, *child)),
                    Below::Items(_) => None,
                }
            }
            (Kind::Seq(items), Step::Index(index)) => {
                let all = items.iter().enumerate();
                let mut alive = all.filter(|(_, item)| !dead.contains(&item.id));
                let found = if items.len() <= FEW {
                    alive.nth(*index)
                } else {
                    match self.below.entry(node.id).or_insert_with(|| Below::Items(alive.collect())) {
                        Below::Items(items) => items.get(*index).copied(),
                        Below::Keys(_) => None,
                    }
                };
                found.map(|(place, child)| (Some(place), child))
            }
            _ => None,
        }
    }

    /// Adds a problem at a key, or where its nearest existing parent stands.
    pub(in super::super) fn add(&mut self, at: &At, message: impl Into<String>) {
        let mut node = Some(&self.tree.root);
        let mut origin = &self.tree.root.origin;
        let mut path = String::new();
        let steps: Vec<&Step> = at.steps().collect();
        for step in steps.into_iter().rev() {
            let child = node.and_then(|node| self.child(node, step));
            path = match (step, child) {
                (Step::Key(key), _) => join_key(&path, key),
                // Of items that are there, the place in the document counts.
                (Step::Index(_), Some((Some(place), _))) => join_index(&path, place),
                (Step::Index(index), _) => join_index(&path, *index),
            };
            node = child.map(|(_, child)| child);
            origin = node.map_or(origin, |child| &child.origin);
        }
        self.problems.push(Problem { origin: origin.clone(), key: path, message: message.into() });
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

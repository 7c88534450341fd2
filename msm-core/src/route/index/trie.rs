//! A tree of patterns by their elements, whose leaves are short lists.

use super::super::precedence::Step;
use super::super::split::hash;
use std::ops::ControlFlow;

/// Patterns that a leaf holds at most, unless they are the same. Long patterns that few others resemble cost no node an element.
const LEAF: usize = 4;

/// A run of the sorted items that the tree is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Run {
    first: u32,
    end: u32,
}

impl Run {
    pub(super) fn new(first: usize, end: usize) -> Run {
        let at = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        Run { first: at(first), end: at(end) }
    }

    pub(super) fn items(self) -> std::ops::Range<u32> {
        self.first..self.end
    }
}

/// What stands below one place of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    /// The first of its items: tells the text that leads here.
    first: u32,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Items of which nothing more is known than what led here, in their order.
    Leaf(Run),
    Branch {
        /// Children by the hash of the text that leads to them, sorted by it.
        texts: Box<[(u64, u32)]>,
        one: Option<u32>,
        end: Run,
        rest: Run,
    },
}

/// The tree. Its items are numbered in the order in which they are to be found, and are known by their elements only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

/// What a walk meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// An item that matches.
    Match(u32),
    /// One that may: what led to it does.
    Maybe(u32),
}

/// What is looked for: a sequence of texts, and when a pattern's end or its rest matches what is left of it.
pub(super) trait Query: Copy {
    /// The next text, and what follows it.
    fn next(self) -> Option<(Self, Key)>;
    /// Whether the text that `next` gave is this.
    fn is(self, text: &str) -> bool;
    /// Whether a placeholder may stand for it.
    fn is_one(self) -> bool;
    /// Whether a pattern may end here.
    fn is_end(self) -> bool;
    /// Whether a placeholder for the rest may stand for what is left.
    fn is_rest(self) -> bool;
}

/// The hash of a text.
pub(super) type Key = u64;

pub(super) fn key(text: &str) -> Key {
    hash(text.as_bytes())
}

impl Trie {
    /// Adds a tree of these items, sorted by their elements; `step` tells these. Returns its root.
    pub(super) fn grow<'p>(&mut self, run: Run, step: &impl Fn(u32, usize) -> Step<'p>) -> u32 {
        self.node(run, 0, step)
    }

    fn node<'p>(&mut self, run: Run, depth: usize, step: &impl Fn(u32, usize) -> Step<'p>) -> u32 {
        let id = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(Node { first: run.first, kind: Kind::Leaf(run) });
        if run.items().len() <= LEAF {
            return id;
        }
        let (mut texts, mut one, mut end, mut rest) = (Vec::new(), None, Run::default(), Run::default());
        let mut items = run.items();
        while let Some(first) = items.next() {
            let shared = step(first, depth);
            let mut part = Run { first, end: items.start };
            while !items.is_empty() && step(items.start, depth) == shared {
                items.next();
                part.end = items.start;
            }
            match shared {
                Step::Text(text) => {
                    texts.push((key(text), self.node(part, depth.saturating_add(1), step)));
                }
                Step::One => one = Some(self.node(part, depth.saturating_add(1), step)),
                Step::End => end = part,
                Step::Rest => rest = part,
            }
        }
        texts.sort_unstable();
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.kind = Kind::Branch { texts: texts.into(), one, end, rest };
        }
        id
    }

    /// Meets the items that match a query, and some that do not, in their order, until `meet` breaks off.
    pub(super) fn walk<'p, Q: Query, B>(
        &self,
        root: u32,
        query: Q,
        step: &impl Fn(u32, usize) -> Step<'p>,
        meet: &mut impl FnMut(Met) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.below(root, query, 0, step, meet)
    }

    // As deep as patterns are long at most: MAX_SEGMENTS, MAX_LABELS.
    fn below<'p, Q: Query, B>(
        &self,
        node: u32,
        query: Q,
        depth: usize,
        step: &impl Fn(u32, usize) -> Step<'p>,
        meet: &mut impl FnMut(Met) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(node) = self.nodes.get(node as usize) else { return ControlFlow::Continue(()) };
        let (texts, one, end, rest) = match &node.kind {
            Kind::Leaf(run) => return run.items().try_for_each(|item| meet(Met::Maybe(item))),
            Kind::Branch { texts, one, end, rest } => (texts, *one, *end, *rest),
        };
        let deeper = depth.saturating_add(1);
        if let Some((after, key)) = query.next() {
            let from = texts.partition_point(|(own, _)| *own < key);
            let same = texts.get(from..).unwrap_or_default().iter().take_while(|(own, _)| *own == key);
            for (_, child) in same {
                let first = self.nodes.get(*child as usize).map_or(0, |child| child.first);
                if matches!(step(first, depth), Step::Text(text) if query.is(text)) {
                    self.below(*child, after, deeper, step, meet)?;
                    break;
                }
            }
            if let Some(one) = one.filter(|_| query.is_one()) {
                self.below(one, after, deeper, step, meet)?;
            }
        }
        if query.is_end() {
            end.items().try_for_each(|item| meet(Met::Match(item)))?;
        }
        if query.is_rest() {
            rest.items().try_for_each(|item| meet(Met::Match(item)))?;
        }
        ControlFlow::Continue(())
    }

    /// Nodes there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }
}

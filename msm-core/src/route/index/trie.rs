//! A tree of patterns by their elements, whose leaves are short lists.

use super::super::precedence::Step;
use super::edges::{Below, Child, Edge, Edges, Run, key};
use std::ops::ControlFlow;

/// Patterns that a leaf holds at most, unless they are the same. Long patterns that few others resemble cost no node an element.
const LEAF: usize = 4;

/// A place of the tree that more than a few items share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Node {
    /// Whether texts lead down from here.
    texts: bool,
    one: Option<Child>,
    end: Run,
    rest: Run,
}

/// Trees of items by their elements, on their way to be looked at.
#[derive(Debug, Default)]
pub(super) struct Growing<const FOLD: bool> {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

/// The trees; with `FOLD`, letter case means nothing in them. Their items are numbered in the order in which they are to be found. Texts are known by their hashes alone, so that a walk reads
/// nothing but nodes and edges: what is met has yet to be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trie<const FOLD: bool> {
    nodes: Box<[Node]>,
    edges: Edges,
}

/// What is looked for: a sequence of texts, and when a pattern's end or its rest matches what is left of it.
pub(super) trait Query<'q>: Copy {
    /// The next text, and what follows it.
    fn next(self) -> Option<(Self, &'q str)>;
    /// Whether a placeholder may stand for it.
    fn is_one(self) -> bool;
    /// Whether a pattern may end here.
    fn is_end(self) -> bool;
    /// Whether a placeholder for the rest may stand for what is left.
    fn is_rest(self) -> bool;
}

impl<const FOLD: bool> Growing<FOLD> {
    /// Adds a tree of these items, sorted by their elements; `step` tells these. Returns its root.
    pub(super) fn grow<'p>(&mut self, run: Run, step: &impl Fn(u32, usize) -> Step<'p>) -> Child {
        self.below(run, 0, step)
    }

    fn below<'p>(&mut self, run: Run, depth: usize, step: &impl Fn(u32, usize) -> Step<'p>) -> Child {
        if run.items().len() <= LEAF {
            return Child::items(run);
        }
        let id = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(Node::default());
        let mut node = Node::default();
        let mut items = run.items();
        while let Some(first) = items.next() {
            let shared = step(first, depth);
            while !items.is_empty() && step(items.start, depth) == shared {
                items.next();
            }
            let part = Run::new(first as usize, items.start as usize);
            match shared {
                Step::Text(text) => {
                    let child = self.below(part, depth.saturating_add(1), step);
                    self.edges.push(Edge { from: id, key: key::<FOLD>(text), child });
                    node.texts = true;
                }
                Step::One => node.one = Some(self.below(part, depth.saturating_add(1), step)),
                Step::End => node.end = part,
                Step::Rest => node.rest = part,
            }
        }
        if let Some(own) = self.nodes.get_mut(id as usize) {
            *own = node;
        }
        Child::node(id)
    }

    pub(super) fn done(self) -> Trie<FOLD> {
        Trie { nodes: self.nodes.into(), edges: Edges::new(self.edges) }
    }
}

impl<const FOLD: bool> Trie<FOLD> {
    /// Nodes and edges there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len() + self.edges.len()
    }

    /// Meets the items that match a query, and perhaps some that do not, in their order, until `meet` breaks off.
    // As deep as patterns are long at most: MAX_SEGMENTS, MAX_LABELS.
    pub(super) fn walk<'q, Q: Query<'q>, B>(
        &self,
        root: Child,
        query: Q,
        meet: &mut impl FnMut(u32) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let id = match root.below() {
            Below::Items(run) => return run.items().try_for_each(meet),
            Below::Node(id) => id,
        };
        let Some(node) = self.nodes.get(id as usize) else { return ControlFlow::Continue(()) };
        if let Some((after, text)) = query.next() {
            if node.texts {
                for child in self.edges.find(id, key::<FOLD>(text)) {
                    self.walk(child, after, meet)?;
                }
            }
            if let Some(one) = node.one.filter(|_| query.is_one()) {
                self.walk(one, after, meet)?;
            }
        }
        if !node.end.is_empty() && query.is_end() {
            node.end.items().try_for_each(&mut *meet)?;
        }
        if !node.rest.is_empty() && query.is_rest() {
            node.rest.items().try_for_each(&mut *meet)?;
        }
        ControlFlow::Continue(())
    }
}

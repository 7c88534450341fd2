//! From a place in a tree, and the text that is next, to what stands below: one table for all places, so that a step is one look into memory.

use super::super::split::mix;

/// A run of items, or the number of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Child {
    first: u32,
    /// Behind the last item; 0 for a node, as a run of items is not empty.
    end: u32,
}

/// A run of the sorted items that a tree is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Run {
    first: u32,
    end: u32,
}

/// What a [`Child`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    Items(Run),
    Node(u32),
}

impl Run {
    pub(super) fn new(first: usize, end: usize) -> Run {
        let at = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        Run { first: at(first), end: at(end) }
    }

    pub(super) fn items(self) -> std::ops::Range<u32> {
        self.first..self.end
    }

    pub(super) fn is_empty(self) -> bool {
        self.first >= self.end
    }
}

impl Child {
    pub(super) fn node(id: u32) -> Child {
        Child { first: id, end: 0 }
    }

    /// Of items, of which there is one at least.
    pub(super) fn items(run: Run) -> Child {
        Child { first: run.first, end: run.end }
    }

    /// A node's number.
    pub(super) fn number(self) -> u32 {
        self.first
    }

    pub(super) fn below(self) -> Below {
        match self.end {
            0 => Below::Node(self.first),
            end => Below::Items(Run { first: self.first, end }),
        }
    }
}

/// One way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    /// The place that it begins at.
    pub(super) from: u32,
    /// The hash of the text that leads down.
    pub(super) key: u64,
    pub(super) child: Child,
}

/// A slot is taken by an edge, or free. Four share a line of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    from: u32,
    mark: u32,
    child: Child,
}

/// No place has this number.
const NOWHERE: u32 = u32::MAX;

/// Edges by their place and key. Texts are known by parts of their hashes alone: what is found has yet to be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Edges {
    /// A power of two of slots, at most half of them taken; probed one after the other.
    slots: Box<[Slot]>,
}

fn spread(from: u32, key: u64) -> u64 {
    mix(key ^ (u64::from(from) << 32 | u64::from(from)))
}

impl Edges {
    pub(super) fn new(mut edges: Vec<Edge>) -> Edges {
        if edges.is_empty() {
            return Edges::default();
        }
        // However the items were found, the table is the same.
        edges.sort_unstable();
        let size = edges.len().saturating_mul(2).checked_next_power_of_two().unwrap_or(usize::MAX);
        let free = Slot { from: NOWHERE, mark: 0, child: Child::node(0) };
        let mut slots = vec![free; size];
        for edge in edges {
            let spread = spread(edge.from, edge.key);
            let mut place = Edges::place(spread, size);
            while let Some(slot) = slots.get_mut(place) {
                if slot.from == NOWHERE {
                    *slot = Slot { from: edge.from, mark: Edges::mark(spread), child: edge.child };
                    break;
                }
                place = place.wrapping_add(1) & size.wrapping_sub(1);
            }
        }
        Edges { slots: slots.into() }
    }

    /// Edges there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.from != NOWHERE).count()
    }

    fn place(spread: u64, size: usize) -> usize {
        usize::try_from(spread & 0xffff_ffff).unwrap_or_default() & size.wrapping_sub(1)
    }

    fn mark(spread: u64) -> u32 {
        u32::try_from(spread >> 32).unwrap_or_default()
    }

    /// What stands below, mostly one or none: of two texts with one mark both are found.
    pub(super) fn find(&self, from: u32, key: u64) -> impl Iterator<Item = Child> + '_ {
        let spread = spread(from, key);
        let (size, mark) = (self.slots.len(), Edges::mark(spread));
        let mut place = Edges::place(spread, size);
        std::iter::from_fn(move || {
            loop {
                // There are free slots, or there are none at all.
                let slot = self.slots.get(place)?;
                if slot.from == NOWHERE {
                    return None;
                }
                place = place.wrapping_add(1) & size.wrapping_sub(1);
                if slot.from == from && slot.mark == mark {
                    return Some(slot.child);
                }
            }
        })
    }
}

/// The hash of a text, eight bytes at a time. With `FOLD`, letter case means nothing.
pub(super) fn key<const FOLD: bool>(text: &str) -> u64 {
    // Of ASCII letters this bit is the case. That other bytes lose it, too, has some texts share a key.
    let fold = if FOLD { 0x2020_2020_2020_2020 } else { 0 };
    let bytes = text.as_bytes();
    let step = |hash: u64, word: u64| {
        let whole = u128::from(hash ^ (word | fold)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        whole as u64 ^ (whole >> 64) as u64
    };
    let mut hash = mix(u64::try_from(bytes.len()).unwrap_or_default());
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = step(hash, u64::from_le_bytes(*word));
    }
    if let Some(last) = bytes.last_chunk::<8>() {
        return if rest.is_empty() { hash } else { step(hash, u64::from_le_bytes(*last)) };
    }
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>(), bytes) {
        (Some(first), Some(last), _) => {
            let halves = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            step(hash, u64::from(halves.0) << 32 | u64::from(halves.1))
        }
        (_, _, short) => {
            let word = short.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            step(hash, word)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_edge_is_found_and_no_other() {
        let text = |at: u32| format!("segment-{at}");
        let edges: Vec<Edge> = (0..5000)
            .map(|at| Edge { from: at % 7, key: key::<false>(&text(at)), child: Child::node(at) })
            .collect();
        let table = Edges::new(edges.clone());
        for edge in &edges {
            let found: Vec<Child> = table.find(edge.from, edge.key).collect();
            assert_eq!(found, [edge.child]);
            assert_eq!(table.find(edge.from + 7, edge.key).next(), None);
        }
        assert_eq!(Edges::new(Vec::new()).find(0, 1).next(), None);
        // Two of one key are both found.
        let both = [Child::node(1), Child::items(Run::new(3, 4))];
        let table = Edges::new(both.map(|child| Edge { from: 9, key: 5, child }).to_vec());
        assert_eq!(table.find(9, 5).collect::<BTreeSet<_>>(), both.into());
    }

    #[test]
    fn keys_tell_texts_apart_of_every_length() {
        let texts: BTreeSet<String> = (0..40_u8)
            .flat_map(|length| {
                let plain = "x".repeat(length.into());
                (0..usize::from(length)).map(move |at| {
                    let mut text = plain.clone();
                    text.replace_range(at..=at, "y");
                    text
                })
            })
            .collect();
        let keys: BTreeSet<u64> = texts.iter().map(|text| key::<false>(text)).collect();
        assert_eq!(keys.len(), texts.len());
        for text in &texts {
            let upper = text.to_ascii_uppercase();
            assert_eq!(key::<true>(text), key::<true>(&upper));
            assert_ne!(key::<false>(text), key::<false>(&upper));
        }
    }
}

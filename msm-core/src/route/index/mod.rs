//! Finding the patterns that match a URL among many, in the order of precedence.
//!
//! All patterns are sorted by it once. Those with one host are one run of them, and a tree of path segments; exact hosts are looked up, those
//! with wildcards are a tree of labels from the right. A tree is walked in the order of precedence itself: the text before the placeholder,
//! that before the end, that before the rest. So what is met first comes first, nothing is sorted, copied or allocated for a URL, and what
//! is looked at does not grow with the number of patterns, unless many of them match.
//!
//! What a look-up costs is what it misses in the cache: a step down a tree is one look into one table ([`edges`]), and what a pattern has to be
//! compared by stands apart from the routes ([`entry`]).
//!
//! The trees have as many nodes as there are places where more than a few patterns share what leads there: memory grows with the patterns'
//! text, however they are made.

mod edges;
mod entry;
#[cfg(test)]
mod tests;
mod trie;

use self::edges::{Child, Edge, Edges, Run, key};
pub(super) use self::entry::Entry;
use self::entry::{Text, Texts};
use self::trie::{Growing, Query, Trie};
use super::host::{Asked, HostPattern};
use super::path::{NormalPath, first};
use super::pattern::UrlPattern;
use super::precedence::Step;
use super::table::Route;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::ops::ControlFlow;

/// The index of a table's routes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Index {
    /// The routes, by precedence.
    entries: Box<[Entry]>,
    /// Of each host pattern, the root of its tree of paths, by precedence.
    hosts: Box<[Group]>,
    paths: Trie<false>,
    labels: Trie<true>,
    texts: Texts,
    /// Hosts by their names, and by address: their places in `hosts`.
    names: Edges,
    addresses: Box<[(IpAddr, u32)]>,
    wildcards: Option<Child>,
    any: Option<u32>,
}

/// Patterns that have one host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    /// Its name, or its labels.
    host: Text,
    root: Child,
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) scheme: &'a str,
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    pub(super) path: &'a NormalPath<'a>,
}

impl Index {
    pub(super) fn new(routes: &[Route]) -> Index {
        let pattern = |place: u32| routes.get(place as usize).map(|route| &route.pattern);
        let compare = |a: &u32, b: &u32| match (pattern(*a), pattern(*b)) {
            (Some(a), Some(b)) => a.precedence(b).0,
            _ => Ordering::Equal,
        };
        let mut order: Vec<u32> = (0..routes.len()).filter_map(|place| u32::try_from(place).ok()).collect();
        // Stable: the order of the file stays.
        order.sort_by(compare);
        let at = |item: u32| order.get(item as usize).and_then(|place| pattern(*place));
        let (mut paths, mut labels) = (Growing::default(), Growing::default());
        let (mut texts, mut hosts, mut firsts) = (Texts::default(), Vec::new(), Vec::new());
        let (mut names, mut addresses, mut any) = (Vec::new(), Vec::new(), None);
        let mut first = 0_usize;
        let mut wildcards: Option<(usize, usize)> = None;
        while let Some(host) = order.get(first).and_then(|place| pattern(*place)).map(UrlPattern::host) {
            let same = |place: &u32| pattern(*place).is_some_and(|own| own.host() == host);
            let rest = order.get(first..).unwrap_or_default();
            let end = first.saturating_add(rest.partition_point(same));
            let root = paths
                .grow(Run::new(first, end), &|item, depth| at(item).map_or(Step::End, |own| own.step(depth)));
            let group = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            match host {
                HostPattern::Exact(exact) => match exact.asked() {
                    Asked::Name(name) => {
                        names.push(Edge { from: 0, key: key::<true>(name), child: Child::node(group) });
                    }
                    Asked::Address(address) => addresses.push((address, group)),
                },
                HostPattern::Labels(_) => {
                    let (begin, _) = wildcards.unwrap_or((hosts.len(), 0));
                    wildcards = Some((begin, hosts.len().saturating_add(1)));
                }
                HostPattern::Any => any = Some(group),
            }
            hosts.push(Group { host: texts.add(|text| host.write(text)), root });
            firsts.push(host);
            first = end;
        }
        addresses.sort_unstable();
        let label = |group: u32, depth| firsts.get(group as usize).map_or(Step::End, |host| host.step(depth));
        let wildcards = wildcards.map(|(first, end)| labels.grow(Run::new(first, end), &label));
        let entry = |place: &u32| Some(Entry::new(*place, routes.get(*place as usize)?, &mut texts));
        Index {
            entries: order.iter().filter_map(entry).collect(),
            hosts: hosts.into(),
            paths: paths.done(),
            labels: labels.done(),
            texts,
            names: Edges::new(names),
            addresses: addresses.into(),
            wildcards,
            any,
        }
    }

    /// Places of routes in the table, by precedence.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> {
        self.entries.iter().map(Entry::route)
    }

    /// Meets the routes whose patterns match, by precedence, until `meet` breaks off.
    pub(super) fn walk<B>(
        &self,
        routes: &[Route],
        wanted: Wanted<'_>,
        meet: &mut impl FnMut(&Entry) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let asked = entry::Asked::new(wanted.scheme, wanted.port);
        let mut of_host = |root: Child| {
            self.paths.walk(root, Segments(wanted.path.rest()), &mut |place| match self
                .entries
                .get(place as usize)
            {
                Some(entry) if entry.matches(routes, &self.texts, &asked, wanted.path.inner()) => meet(entry),
                _ => ControlFlow::Continue(()),
            })
        };
        let group = |group: u32| self.hosts.get(group as usize);
        match Asked::of(wanted.host) {
            Asked::Address(address) => {
                let found = self.addresses.binary_search_by_key(&address, |(own, _)| *own);
                let found = found.ok().and_then(|at| self.addresses.get(at));
                if let Some(group) = found.and_then(|(_, own)| group(*own)) {
                    of_host(group.root)?;
                }
            }
            Asked::Name(name) => {
                let is_it = |group: &&Group| self.texts.get(group.host).eq_ignore_ascii_case(name);
                let mut named =
                    self.names.find(0, key::<true>(name)).filter_map(|child| group(child.number()));
                if let Some(group) = named.find(is_it) {
                    of_host(group.root)?;
                }
                if let Some(root) = self.wildcards {
                    self.labels.walk(root, Labels(Some(name)), &mut |place| match group(place) {
                        Some(group) if entry::labels_match(self.texts.get(group.host), name) => {
                            of_host(group.root)
                        }
                        _ => ControlFlow::Continue(()),
                    })?;
                }
            }
        }
        match self.any.and_then(group) {
            Some(group) => of_host(group.root),
            None => ControlFlow::Continue(()),
        }
    }
}

/// The segments of a path that are left.
#[derive(Debug, Clone, Copy)]
struct Segments<'a>(Option<&'a str>);

impl<'a> Query<'a> for Segments<'a> {
    fn next(self) -> Option<(Self, &'a str)> {
        let (segment, tail) = first(self.0?);
        Some((Segments(tail), segment))
    }

    fn is_one(self) -> bool {
        self.0.is_some_and(|rest| !first(rest).0.is_empty())
    }

    // One `/` at the end of a path is ignored.
    fn is_end(self) -> bool {
        self.0.is_none_or(str::is_empty)
    }

    fn is_rest(self) -> bool {
        true
    }
}

/// The labels of a name that are left, from the right.
#[derive(Debug, Clone, Copy)]
struct Labels<'a>(Option<&'a str>);

impl<'a> Labels<'a> {
    fn last(self) -> Option<(&'a str, Option<&'a str>)> {
        self.0.map(last_label)
    }
}

/// The last label of a name, and what stands before it: `None` where nothing does, not even a dot.
fn last_label(name: &str) -> (&str, Option<&str>) {
    match name.bytes().rposition(|byte| byte == b'.') {
        Some(at) => (name.get(at.saturating_add(1)..).unwrap_or_default(), name.get(..at)),
        None => (name, None),
    }
}

/// Whether a name is made of labels of which none is empty.
fn has_full_labels(name: &str) -> bool {
    let mut before = b'.';
    let is_empty = |byte: u8| std::mem::replace(&mut before, byte) == b'.' && byte == b'.';
    !name.bytes().any(is_empty) && before != b'.'
}

impl<'a> Query<'a> for Labels<'a> {
    fn next(self) -> Option<(Self, &'a str)> {
        let (label, before) = self.last()?;
        Some((Labels(before), label))
    }

    fn is_one(self) -> bool {
        self.last().is_some_and(|(label, _)| !label.is_empty())
    }

    fn is_end(self) -> bool {
        self.0.is_none()
    }

    fn is_rest(self) -> bool {
        self.0.is_some_and(has_full_labels)
    }
}

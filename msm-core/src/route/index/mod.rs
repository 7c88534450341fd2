//! Finding the patterns that match a URL among many, in the order of precedence.
//!
//! All patterns are sorted by it once. Those with one host are one run of them, and a tree of path segments; exact hosts are looked up, those
//! with wildcards are a tree of labels from the right. A tree is walked in the order of precedence itself: the text before the placeholder,
//! that before the end, that before the rest. So what is met first comes first, nothing is sorted, copied or allocated for a URL, and what
//! is looked at does not grow with the number of patterns, unless many of them match.
//!
//! The trees have as many nodes as there are places where more than a few patterns share what leads there: memory grows with the patterns'
//! text, however they are made.

#[cfg(test)]
mod tests;
mod trie;

use self::trie::{Key, Met, Query, Run, Trie, key};
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
    /// Places of routes in the table, by precedence.
    order: Box<[u32]>,
    /// Of each host pattern, the root of its tree of paths, by precedence.
    hosts: Box<[Group]>,
    paths: Trie,
    labels: Trie,
    /// Hosts by the hash of their names, and by address: their places in `hosts`.
    names: Box<[(Key, u32)]>,
    addresses: Box<[(IpAddr, u32)]>,
    wildcards: Option<u32>,
    any: Option<u32>,
}

/// Patterns that have one host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    /// The first of them, by its place in `order`.
    first: u32,
    root: u32,
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
        let pattern = |place: &u32| routes.get(*place as usize).map(|route| &route.pattern);
        let compare = |a: &u32, b: &u32| match (pattern(a), pattern(b)) {
            (Some(a), Some(b)) => a.precedence(b).0,
            _ => Ordering::Equal,
        };
        let mut order: Vec<u32> = (0..routes.len()).filter_map(|place| u32::try_from(place).ok()).collect();
        // Stable: the order of the file stays.
        order.sort_by(compare);
        let mut index = Index { order: order.into(), ..Index::default() };
        let (mut paths, mut labels, mut hosts) = (Trie::default(), Trie::default(), Vec::new());
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        let mut first = 0_usize;
        let mut wildcards: Option<(usize, usize)> = None;
        while let Some(host) = index.pattern(routes, first).map(UrlPattern::host) {
            let same = |place: &u32| pattern(place).is_some_and(|own| own.host() == host);
            let rest = index.order.get(first..).unwrap_or_default();
            let end = first.saturating_add(rest.partition_point(same));
            let root = paths.grow(Run::new(first, end), &|item, depth| index.segment(routes, item, depth));
            let group = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            match host {
                HostPattern::Exact(exact) => match exact.asked() {
                    Asked::Name(name) => names.push((name_key(name), group)),
                    Asked::Address(address) => addresses.push((address, group)),
                },
                HostPattern::Labels(_) => {
                    let (begin, _) = wildcards.unwrap_or((hosts.len(), 0));
                    wildcards = Some((begin, hosts.len().saturating_add(1)));
                }
                HostPattern::Any => index.any = Some(group),
            }
            hosts.push(Group { first: u32::try_from(first).unwrap_or(u32::MAX), root });
            first = end;
        }
        names.sort_unstable();
        addresses.sort_unstable();
        index.hosts = hosts.into();
        index.wildcards = wildcards.map(|(first, end)| {
            labels.grow(Run::new(first, end), &|group, depth| index.label(routes, group, depth))
        });
        Index { paths, labels, names: names.into(), addresses: addresses.into(), ..index }
    }

    /// Places of routes in the table, by precedence.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    fn route<'r>(&self, routes: &'r [Route], place: usize) -> Option<(usize, &'r Route)> {
        let index = *self.order.get(place)? as usize;
        Some((index, routes.get(index)?))
    }

    fn pattern<'r>(&self, routes: &'r [Route], place: usize) -> Option<&'r UrlPattern> {
        self.route(routes, place).map(|(_, route)| &route.pattern)
    }

    fn host<'r>(&self, routes: &'r [Route], group: u32) -> Option<&'r HostPattern> {
        let group = self.hosts.get(group as usize)?;
        self.pattern(routes, group.first as usize).map(UrlPattern::host)
    }

    fn segment<'r>(&self, routes: &'r [Route], item: u32, depth: usize) -> Step<'r> {
        self.pattern(routes, item as usize).map_or(Step::End, |pattern| pattern.step(depth))
    }

    fn label<'r>(&self, routes: &'r [Route], group: u32, depth: usize) -> Step<'r> {
        self.host(routes, group).map_or(Step::End, |host| host.step(depth))
    }

    /// Meets the routes whose patterns match, with their places in the table, by precedence, until `meet` breaks off.
    pub(super) fn walk<'r, B>(
        &self,
        routes: &'r [Route],
        wanted: Wanted<'_>,
        meet: &mut impl FnMut(usize, &'r Route) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut of_host = |group: u32| {
            let Some(group) = self.hosts.get(group as usize) else { return ControlFlow::Continue(()) };
            let segments = Segments(wanted.path.rest());
            let step = |item, depth| self.segment(routes, item, depth);
            self.paths.walk(group.root, segments, &step, &mut |met| {
                let (Met::Match(place) | Met::Maybe(place)) = met;
                let Some((index, route)) = self.route(routes, place as usize) else {
                    return ControlFlow::Continue(());
                };
                let pattern = &route.pattern;
                let is_path = matches!(met, Met::Match(_)) || pattern.walk(wanted.path.rest(), |_, _| {});
                if is_path && pattern.fits(wanted.scheme, wanted.port) {
                    meet(index, route)
                } else {
                    ControlFlow::Continue(())
                }
            })
        };
        match Asked::of(wanted.host) {
            Asked::Address(address) => {
                let found = self.addresses.binary_search_by_key(&address, |(own, _)| *own);
                if let Some((_, group)) = found.ok().and_then(|at| self.addresses.get(at)) {
                    of_host(*group)?;
                }
            }
            Asked::Name(name) => {
                if let Some(group) = self.named(routes, name) {
                    of_host(group)?;
                }
                if let Some(root) = self.wildcards {
                    let step = |group, depth| self.label(routes, group, depth);
                    self.labels.walk(root, Labels(Some(name)), &step, &mut |met| match met {
                        Met::Match(group) => of_host(group),
                        Met::Maybe(group) => {
                            let is_host =
                                self.host(routes, group).is_some_and(|host| host.matches(wanted.host));
                            if is_host { of_host(group) } else { ControlFlow::Continue(()) }
                        }
                    })?;
                }
            }
        }
        self.any.map_or(ControlFlow::Continue(()), of_host)
    }

    fn named(&self, routes: &[Route], name: &str) -> Option<u32> {
        let key = name_key(name);
        let from = self.names.partition_point(|(own, _)| *own < key);
        let same = self.names.get(from..)?.iter().take_while(|(own, _)| *own == key);
        let is_it = |group: u32| match self.host(routes, group) {
            Some(HostPattern::Exact(exact)) => {
                matches!(exact.asked(), Asked::Name(own) if own.eq_ignore_ascii_case(name))
            }
            _ => false,
        };
        same.map(|(_, group)| *group).find(|group| is_it(*group))
    }
}

/// The hash of a name in lower case.
fn name_key(name: &str) -> Key {
    super::split::hash_of(name.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// The segments of a path that are left.
#[derive(Debug, Clone, Copy)]
struct Segments<'a>(Option<&'a str>);

impl Query for Segments<'_> {
    fn next(self) -> Option<(Self, Key)> {
        let (segment, tail) = first(self.0?);
        Some((Segments(tail), key(segment)))
    }

    fn is(self, text: &str) -> bool {
        self.0.is_some_and(|rest| first(rest).0 == text)
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
        let rest = self.0?;
        Some(rest.rsplit_once('.').map_or((rest, None), |(before, label)| (label, Some(before))))
    }
}

impl Query for Labels<'_> {
    fn next(self) -> Option<(Self, Key)> {
        let (label, before) = self.last()?;
        Some((Labels(before), name_key(label)))
    }

    fn is(self, text: &str) -> bool {
        self.last().is_some_and(|(label, _)| label.eq_ignore_ascii_case(text))
    }

    fn is_one(self) -> bool {
        self.last().is_some_and(|(label, _)| !label.is_empty())
    }

    fn is_end(self) -> bool {
        self.0.is_none()
    }

    fn is_rest(self) -> bool {
        self.0.is_some_and(|rest| rest.split('.').all(|label| !label.is_empty()))
    }
}

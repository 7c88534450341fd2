//! The moving part of routing: whose turn it is.

use super::balance::{Balance, WeightedSplit};
use super::cluster::{Cluster, Endpoint};
use super::table::RouteTable;
use std::collections::BTreeMap;
use std::fmt;

/// Picks the backend of a route, and the endpoint of a cluster.
///
/// Two steps, because a hub's key holds the backend: pick the cluster, look for a hub that already has the stream from
/// it, and only when there is none pick an endpoint and open a session.
///
/// Holds the state of balancing for one thread. It is deterministic: the same calls give the same picks.
pub struct Selector {
    /// By the index of the route: the split, and the clusters' names.
    routes: Vec<(WeightedSplit, Vec<String>)>,
    clusters: BTreeMap<String, Entry>,
}

struct Entry {
    cluster: Cluster,
    balance: Box<dyn Balance + Send>,
}

/// A route names a cluster that there is none of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route `{route}` sends to cluster `{cluster}`, which does not exist")]
pub struct UnknownCluster {
    /// The route's name.
    pub route: String,
    /// The cluster's name.
    pub cluster: String,
}

impl Selector {
    /// A selector for a table and its clusters. Of two clusters with one name the later counts.
    ///
    /// # Errors
    /// [`UnknownCluster`] when a route's backend is not among the clusters.
    pub fn new(table: &RouteTable, clusters: Vec<Cluster>) -> Result<Selector, UnknownCluster> {
        let clusters: BTreeMap<String, Entry> = clusters
            .into_iter()
            .map(|cluster| (cluster.name.clone(), Entry { balance: cluster.balance.picker(), cluster }))
            .collect();
        let mut routes = Vec::with_capacity(table.routes().len());
        for route in table.routes() {
            if let Some(backend) =
                route.backends.iter().find(|backend| !clusters.contains_key(&backend.cluster))
            {
                return Err(UnknownCluster { route: route.name.clone(), cluster: backend.cluster.clone() });
            }
            let split = WeightedSplit::new(route.backends.iter().map(|backend| backend.weight));
            routes.push((split, route.backends.iter().map(|backend| backend.cluster.clone()).collect()));
        }
        Ok(Selector { routes, clusters })
    }

    /// The cluster for the next request of the route with this index; `None` for a local route.
    pub fn backend(&mut self, route: usize) -> Option<&str> {
        self.backend_where(route, |_| true)
    }

    /// As [`Selector::backend`], among the clusters for which `usable` is true.
    pub fn backend_where(&mut self, route: usize, mut usable: impl FnMut(&str) -> bool) -> Option<&str> {
        let (split, names) = self.routes.get_mut(route)?;
        let picked = split.pick(&mut |index| names.get(index).is_some_and(|name| usable(name)))?;
        names.get(picked).map(String::as_str)
    }

    /// The next endpoint of a cluster and its index; `None` when the cluster does not exist or has no endpoint.
    pub fn endpoint(&mut self, cluster: &str) -> Option<(usize, &Endpoint)> {
        self.endpoint_where(cluster, |_, _| true)
    }

    /// As [`Selector::endpoint`], among those for which `usable` is true: a retry leaves out what has just failed.
    pub fn endpoint_where(
        &mut self,
        cluster: &str,
        mut usable: impl FnMut(usize, &Endpoint) -> bool,
    ) -> Option<(usize, &Endpoint)> {
        let Entry { cluster, balance } = self.clusters.get_mut(cluster)?;
        let endpoints = cluster.endpoints.as_slice();
        let picked = balance.pick(endpoints.len(), &mut |index| {
            endpoints.get(index).is_some_and(|endpoint| usable(index, endpoint))
        })?;
        endpoints.get(picked).map(|endpoint| (picked, endpoint))
    }

    /// The cluster of this name.
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.get(name).map(|entry| &entry.cluster)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector")
            .field("routes", &self.routes)
            .field("clusters", &self.clusters.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Backend, BalanceKind, Route, UrlPattern};
    use super::*;

    fn cluster(name: &str, urls: &[&str]) -> Cluster {
        let endpoints = urls.iter().map(|url| Endpoint::parse(url).expect(url)).collect();
        Cluster { name: name.into(), endpoints, balance: BalanceKind::RoundRobin }
    }

    fn table(backends: &[(&str, u32)]) -> RouteTable {
        let mut route = Route::new("r", UrlPattern::parse("/{p...}").expect("pattern"));
        route.backends =
            backends.iter().map(|&(name, weight)| Backend { cluster: name.into(), weight }).collect();
        RouteTable::new(vec![route, Route::new("local", UrlPattern::parse("/l").expect("pattern"))])
    }

    #[test]
    fn splits_and_takes_turns() {
        let clusters = vec![cluster("a", &["rtsp://a1", "rtsp://a2"]), cluster("b", &[])];
        let mut selector = Selector::new(&table(&[("a", 3), ("b", 1)]), clusters).expect("valid");
        let picks: Vec<String> = (0..4).filter_map(|_| selector.backend(0).map(str::to_owned)).collect();
        assert_eq!(picks, ["a", "a", "b", "a"]);
        assert_eq!(selector.backend_where(0, |name| name == "b"), Some("b"));
        assert_eq!(selector.backend(1), None);
        assert_eq!(selector.backend(9), None);
        let hosts: Vec<String> =
            (0..3).filter_map(|_| selector.endpoint("a").map(|(_, e)| e.host.clone())).collect();
        assert_eq!(hosts, ["a1", "a2", "a1"]);
        assert_eq!(selector.endpoint_where("a", |index, _| index == 0).map(|(index, _)| index), Some(0));
        assert_eq!(selector.endpoint("b"), None);
        assert_eq!(selector.endpoint("c"), None);
        assert!(selector.cluster("a").is_some());
    }

    #[test]
    fn an_unknown_cluster_is_named() {
        let error = Selector::new(&table(&[("x", 1)]), Vec::new()).expect_err("unknown");
        assert_eq!(error.to_string(), "route `r` sends to cluster `x`, which does not exist");
    }
}

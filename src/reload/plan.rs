//! What a new configuration makes of the one in force: everything that can fail, and nothing that is seen yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use msm_auth::identity::source::IdentitySource;
use msm_core::cluster::ClusterSpec;

use super::changes::{Changes, Difference};
use super::{Running, keys};
use crate::cluster::{Cluster, SourceSpec};
use crate::config::{self, ClusterConfig, Config, Hop, ListenerConfig, Protocol, RouteConfig};
use crate::error::Error;
use crate::routing::{ClusterSettings, Routing};
use crate::serve::listener::ListenerShared;
use crate::settings::{self, ClusterFiles};
use crate::shared::Shared;
use crate::worker::ListenerChanges;

/// What is to be done.
pub(super) struct Plan {
    pub(super) changes: Changes,
    /// The configuration that is in force then.
    pub(super) config: Config,
    /// The routes, unless they and the clusters are as they were.
    pub(super) routing: Option<Routing>,
    pub(super) clusters: Vec<ClusterChange>,
    /// Clusters that come.
    pub(super) added: Vec<Arc<Cluster>>,
    /// Clusters that go.
    pub(super) gone: Vec<Arc<Cluster>>,
    pub(super) files: ClusterFiles,
    pub(super) specs: BTreeMap<String, ClusterSpec>,
    pub(super) listeners: ListenerChanges,
    /// All listeners, in the order of the configuration.
    pub(super) all: Vec<Arc<ListenerShared>>,
}

/// A cluster that stays and is not as it was.
pub(super) struct ClusterChange {
    pub(super) cluster: Arc<Cluster>,
    pub(super) settings: Arc<ClusterSettings>,
    pub(super) spec: ClusterSpec,
    /// Where its endpoints come from.
    pub(super) source: SourceSpec,
    /// Its endpoints are others.
    pub(super) endpoints: bool,
    /// It is reached or vouched for in another way: no session may stay with what it has.
    pub(super) leave: bool,
}

/// Makes the plan, of a configuration that has been checked.
///
/// # Errors
/// The first thing that cannot be made of it.
pub(super) fn make(
    shared: &Shared,
    running: &Running,
    (new, routing): (Config, config::Routing),
) -> Result<Plan, Error> {
    let refused = |error: String| Error::Configuration(error);
    let old = running.config.as_ref().ok_or_else(|| {
        refused("the mesh was built without a configuration, and has none to change".to_owned())
    })?;
    let mut changes = Changes::default();
    keys::compare(old, &new, &running.pinned, &mut changes);
    let source = shared.hop.source.as_ref();
    if source.is_none()
        && let Some((name, _)) = new.clusters.iter().find(|(_, own)| own.hop == Hop::Mesh)
    {
        return Err(refused(format!(
            "clusters.{name}.hop: a mesh hop needs an identity, and this process was started without: restart it"
        )));
    }

    let (routes_before, routes_after) = (by_name(&old.routes), by_name(&new.routes));
    changes.routes = difference(&routes_before, &routes_after, PartialEq::eq);
    drop((routes_before, routes_after));
    changes.order = changes.routes.is_empty() && old.routes != new.routes;
    changes.clusters = difference(&old.clusters, &new.clusters, PartialEq::eq);

    let before = shared.routing();
    let mut files = running.files.clone();
    files.retain(|name, _| new.clusters.contains_key(name));
    let (mut clusters, mut changed, mut added) = (BTreeMap::new(), Vec::new(), Vec::new());
    for spec in &routing.clusters {
        let name = &spec.name;
        let (Some(cluster), Some(was), Some(is)) =
            (before.clusters().get(name), old.clusters.get(name), new.clusters.get(name))
        else {
            let (made, file) = settings::new_cluster(&new, spec, source)?;
            files.extend(file.map(|file| (name.clone(), file)));
            added.push(Arc::clone(&made));
            clusters.insert(name.clone(), made);
            continue;
        };
        clusters.insert(name.clone(), Arc::clone(cluster));
        // In another zone other endpoints of every cluster are near.
        if was != is || old.zone != new.zone {
            let (settings, file) = settings::cluster_settings(&new, name, source)?;
            files.remove(name);
            files.extend(file.map(|file| (name.clone(), file)));
            let endpoints = endpoints(running.specs.get(name), spec, &mut changes.endpoints);
            let cluster = Arc::clone(cluster);
            changed.push(ClusterChange {
                cluster,
                settings,
                source: SourceSpec::of(is, spec),
                spec: spec.clone(),
                endpoints,
                leave: must_leave(was, is),
            });
        }
    }
    let gone: Vec<_> = before
        .clusters()
        .iter()
        .filter(|(name, _)| !clusters.contains_key(*name))
        .map(|(_, cluster)| Arc::clone(cluster))
        .collect();
    let specs = routing.clusters.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
    let (listeners, all, configs) = listeners(shared, old, &new, source, &mut changes)?;
    let is_other = !changes.routes.is_empty() || changes.order || !changes.clusters.is_empty();
    let config = Config { listeners: configs, ..keys::in_force(old, new) };
    Ok(Plan {
        routing: is_other.then(|| Routing::new(routing.table, clusters, None)),
        changes,
        config,
        clusters: changed,
        added,
        gone,
        files,
        specs,
        listeners,
        all,
    })
}

fn by_name(routes: &[RouteConfig]) -> BTreeMap<&str, &RouteConfig> {
    routes.iter().map(|route| (route.name.as_str(), route)).collect()
}

fn difference<K: Ord + ToString, T>(
    before: &BTreeMap<K, T>,
    after: &BTreeMap<K, T>,
    is_same: impl Fn(&T, &T) -> bool,
) -> Difference {
    let only = |those: &BTreeMap<K, T>, others: &BTreeMap<K, T>| {
        those.keys().filter(|name| !others.contains_key(*name)).map(K::to_string).collect()
    };
    let is_changed = |(name, own): (&K, &T)| {
        after.get(name).is_some_and(|other| !is_same(own, other)).then(|| name.to_string())
    };
    Difference {
        added: only(after, before),
        removed: only(before, after),
        changed: before.iter().filter_map(is_changed).collect(),
    }
}

/// Enters the endpoints of a cluster that come and go; answers whether they, or what is said of them, are others.
fn endpoints(before: Option<&ClusterSpec>, after: &ClusterSpec, entered: &mut Difference) -> bool {
    let Some(before) = before else { return true };
    let names = |spec: &ClusterSpec| -> BTreeSet<String> {
        spec.endpoints.iter().map(|own| format!("{}/{}", spec.name, own.endpoint)).collect()
    };
    let (was, is) = (names(before), names(after));
    entered.added.extend(is.difference(&was).cloned());
    entered.removed.extend(was.difference(&is).cloned());
    before.endpoints != after.endpoints
}

/// Whether a cluster is reached, or its endpoints are vouched for, in another way: then a session that goes on as it was made would
/// be one that the configuration does not allow any more.
fn must_leave(was: &ClusterConfig, is: &ClusterConfig) -> bool {
    was.hop != is.hop
        || was.fallback != is.fallback
        || was.peers != is.peers
        || was.tls != is.tls
        || was.srtp != is.srtp
}

/// What becomes of listeners, all that there are then, and what is in force of their configuration.
type Listeners = (ListenerChanges, Vec<Arc<ListenerShared>>, Vec<ListenerConfig>);

fn listeners(
    shared: &Shared,
    old: &Config,
    new: &Config,
    source: Option<&Arc<dyn IdentitySource>>,
    changes: &mut Changes,
) -> Result<Listeners, Error> {
    let before = shared.listeners.load_full();
    let is_mesh = |config: &&ListenerConfig| config.protocol == Protocol::Mesh;
    let found = |name: &str| {
        let running = before.iter().find(|own| own.settings.name == name)?;
        Some((running, old.listeners.iter().find(|own| own.name == name)?))
    };
    let (mut todo, mut all, mut configs) = (ListenerChanges::default(), Vec::new(), Vec::new());
    let difference = &mut changes.listeners;
    // All associations go by the one mesh port, which is opened once.
    let mesh_before = old.listeners.iter().find(is_mesh);
    if mesh_before != new.listeners.iter().find(is_mesh) {
        changes.restart.push("listeners (protocol: mesh)".to_owned());
    }
    if let Some(mesh) = mesh_before
        && let Some((running, _)) = found(&mesh.name)
    {
        all.push(Arc::clone(running));
        configs.push(mesh.clone());
    }
    for config in new.listeners.iter().filter(|config| !is_mesh(config)) {
        let name = &config.name;
        let known = found(name).filter(|(_, was)| was.protocol != Protocol::Mesh);
        if let Some((running, _)) = known.filter(|(_, was)| *was == config) {
            all.push(Arc::clone(running));
            configs.push(config.clone());
            continue;
        }
        let settings = settings::listener(config, source)?;
        let listener = match known {
            Some((running, _)) if running.has_sockets_of(&settings) => {
                let listener = running.with(settings);
                todo.changed.push(Arc::clone(&listener));
                difference.changed.push(name.clone());
                listener
            }
            other => {
                let listener = ListenerShared::new(settings);
                todo.added.push(Arc::clone(&listener));
                let names = if other.is_some() { &mut difference.changed } else { &mut difference.added };
                names.push(name.clone());
                listener
            }
        };
        all.push(listener);
        configs.push(config.clone());
    }
    let stays: BTreeSet<usize> = all.iter().map(|own| own.id).collect();
    for own in before.iter().filter(|own| !stays.contains(&own.id)) {
        todo.removed.push(own.id);
        if !difference.changed.contains(&own.settings.name) {
            difference.removed.push(own.settings.name.clone());
        }
    }
    // As the configuration has them: that is the order of `Serving::addresses`, too.
    let place = |name: &str| new.listeners.iter().position(|own| own.name == name).unwrap_or(usize::MAX);
    all.sort_by_key(|own| place(&own.settings.name));
    configs.sort_by_key(|own| place(&own.name));
    Ok((todo, all, configs))
}

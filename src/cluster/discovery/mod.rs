//! Who is in a cluster: sources of endpoints, and what keeps one asked.

#[cfg(feature = "dns")]
pub(crate) mod dns;
mod file;
mod fixed;
#[cfg(feature = "dns")]
mod schedule;

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use msm_core::cluster::{ClusterSpec, EndpointSpec};
use tokio::sync::{oneshot, watch};

use self::file::Files;
pub(crate) use self::file::FilesSpec;
use self::fixed::Fixed;
use super::Cluster;
use crate::config::{ClusterConfig, Hop, ListenerConfig};
use crate::error::Error;
use crate::shared::Shared;
use crate::worker::Worker;

/// Endpoints of one cluster. What is found beyond that is left out, and said.
pub(crate) const MAX_ENDPOINTS: usize = 1000;

/// Where the endpoints of one cluster come from. Kubernetes or xDS would be another one.
pub(crate) trait Source: 'static {
    /// What it is, as a metric label.
    const KIND: &'static str;

    /// What is asked, for people.
    fn describe(&self) -> String;

    /// Waits until there is something new to say; at first, as soon as there is anything. Not called again before it has answered. May be
    /// dropped at any time, and is not used again then.
    async fn next(&mut self) -> Found;
}

/// What a source has found.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// Those that there are, in an order that only they decide; `None` if nobody knows: those known before stay.
    pub(crate) endpoints: Option<Vec<EndpointSpec>>,
    /// What is wrong, in whole or in part.
    pub(crate) problem: Option<String>,
}

/// What the configuration says of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SourceSpec {
    /// These.
    Fixed(Vec<EndpointSpec>),
    /// Those that a name stands for.
    #[cfg(feature = "dns")]
    Dns(dns::DnsSpec),
    /// Those that files list.
    Files(FilesSpec),
}

impl SourceSpec {
    /// `spec` has the endpoints of the configuration itself.
    pub(crate) fn of(config: &ClusterConfig, spec: &ClusterSpec) -> Self {
        let mesh_port = (config.hop == Hop::Mesh).then(|| ListenerConfig::MESH_ADDRESS.port());
        #[cfg(feature = "dns")]
        if let Some(given) = &config.dns {
            return Self::Dns(dns::DnsSpec::of(given, mesh_port));
        }
        if config.files.is_empty() {
            return Self::Fixed(spec.endpoints.clone());
        }
        Self::Files(FilesSpec {
            patterns: config.files.iter().map(Into::into).collect(),
            port: mesh_port,
            tls_only: config.srtp,
        })
    }
}

/// What discovery of a cluster is doing, for the status.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) kind: &'static str,
    /// What is asked.
    pub(crate) source: String,
    /// What is wrong with it.
    pub(crate) problem: Option<String>,
    /// When it last said that others are there than before.
    pub(crate) changed: Option<Instant>,
}

/// Discovery that runs for a cluster. Ends when this is dropped.
pub(crate) struct Running {
    pub(crate) spec: SourceSpec,
    progress: Arc<Mutex<Progress>>,
    /// Turns true with the first answer, or the first problem.
    heard: watch::Receiver<bool>,
    _end: oneshot::Sender<()>,
}

impl Running {
    pub(crate) fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn heard(&self) -> watch::Receiver<bool> {
        self.heard.clone()
    }

    /// Begins to ask `spec` on a worker, and to tell the cluster.
    pub(crate) fn start(
        shared: &Shared,
        worker: usize,
        cluster: &Arc<Cluster>,
        spec: SourceSpec,
    ) -> Result<Self, Error> {
        let (end, ended) = oneshot::channel();
        let (tell, heard) = watch::channel(false);
        let progress = Arc::<Mutex<Progress>>::default();
        let asked = Asked {
            cluster: Arc::downgrade(cluster),
            progress: Arc::clone(&progress),
            heard: tell,
            last: None,
        };
        let own = spec.clone();
        let seed = shared.seed();
        shared.worker(worker)?.post(move |worker| {
            let worker = Rc::clone(worker);
            tokio::task::spawn_local(async move {
                match own {
                    SourceSpec::Fixed(specs) => asked.keep(&worker, Fixed::new(specs), ended).await,
                    #[cfg(feature = "dns")]
                    SourceSpec::Dns(spec) => asked.keep(&worker, dns::Dns::new(spec, seed), ended).await,
                    SourceSpec::Files(spec) => asked.keep(&worker, Files::new(spec), ended).await,
                }
            });
        })?;
        let _ = seed;
        Ok(Self { spec, progress, heard, _end: end })
    }
}

/// A source that is asked, and who is told.
struct Asked {
    cluster: Weak<Cluster>,
    progress: Arc<Mutex<Progress>>,
    heard: watch::Sender<bool>,
    /// The set that the cluster has from it.
    last: Option<Vec<EndpointSpec>>,
}

impl Asked {
    async fn keep<S: Source>(mut self, worker: &Worker, mut source: S, mut ended: oneshot::Receiver<()>) {
        let mut stopping = worker.shared.stopping.subscribe();
        self.note(|progress| {
            progress.kind = S::KIND;
            progress.source = source.describe();
        });
        loop {
            let found = tokio::select! {
                biased;
                _ = &mut ended => return,
                _ = stopping.wait_for(|stopping| *stopping) => return,
                found = source.next() => found,
            };
            let Some(cluster) = self.cluster.upgrade() else { return };
            if found.problem.is_some() {
                worker.shared.metrics.clusters.count_discovery_error(cluster.name(), S::KIND);
            }
            self.tell(&cluster, found);
            self.heard.send_replace(true);
        }
    }

    fn note(&self, note: impl FnOnce(&mut Progress)) {
        note(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn tell(&mut self, cluster: &Cluster, found: Found) {
        let now = Instant::now();
        let Found { endpoints, problem } = found;
        let fresh = endpoints.is_some() && endpoints != self.last;
        if fresh {
            self.last = endpoints;
            cluster.set_endpoints(now, self.last.as_deref().unwrap_or_default());
        }
        let count = self.last.as_ref().map_or(0, Vec::len);
        self.note(|progress| {
            let name = cluster.name();
            let source = &progress.source;
            match (&problem, &progress.problem) {
                (Some(new), old) if Some(new) != old.as_ref() => tracing::warn!(
                    cluster = name,
                    source,
                    problem = new,
                    count,
                    "endpoints are not discovered as they should be: those that are known stay in use"
                ),
                (None, Some(_)) => {
                    tracing::info!(cluster = name, source, count, "endpoints are discovered again")
                }
                _ => {}
            }
            if fresh {
                progress.changed = Some(now);
                tracing::info!(cluster = name, source, count, "endpoints were discovered");
            }
            progress.problem = problem;
        });
    }
}

/// Brings what was found into one order, whatever order it was found in, each place once, and not too many.
fn settle(mut specs: Vec<EndpointSpec>, problem: &mut Option<String>) -> Vec<EndpointSpec> {
    let order = |a: &EndpointSpec, b: &EndpointSpec| {
        (&a.endpoint, a.priority, a.weight, &a.zone).cmp(&(&b.endpoint, b.priority, b.weight, &b.zone))
    };
    specs.sort_by(order);
    specs.dedup_by(|later, first| later.endpoint == first.endpoint);
    specs.sort_by_key(|spec| spec.priority);
    if specs.len() > MAX_ENDPOINTS {
        problem.get_or_insert_with(|| {
            format!("{} endpoints were found, and only the first {MAX_ENDPOINTS} are used", specs.len())
        });
        specs.truncate(MAX_ENDPOINTS);
    }
    specs
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_core::cluster::Endpoint;

    fn specs(ports: impl Iterator<Item = u16>) -> Vec<EndpointSpec> {
        ports.map(|port| EndpointSpec::new(Endpoint::parse(&format!("rtsp://h:{port}")).unwrap())).collect()
    }

    #[test]
    fn the_order_of_answers_does_not_matter() {
        let mut problem = None;
        let settled = settle(specs([9, 7, 8, 7].into_iter()), &mut problem);
        assert_eq!(settled, specs(7..=9));
        assert_eq!(settle(specs([7, 8, 9].into_iter()), &mut problem), settled);
        assert_eq!(problem, None);
    }

    #[test]
    fn what_is_too_much_is_cut_and_said() {
        let mut problem = None;
        let settled = settle(specs((1..=1200).rev()), &mut problem);
        assert_eq!(settled, specs(1..=1000));
        assert_eq!(problem.as_deref(), Some("1200 endpoints were found, and only the first 1000 are used"));
    }
}

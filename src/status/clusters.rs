//! Clusters and their endpoints.

use std::sync::Arc;
use std::time::Instant;

use msm_core::cluster::{EndpointView, Health};
use serde::Serialize;

use crate::cluster::{Cluster, is_usable};

/// One cluster.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// Where its endpoints come from: `static`, `dns` or `file`.
    pub discovery: String,
    /// What is asked for them.
    pub asked: String,
    /// What is wrong with that, if anything: the endpoints are those that were known before.
    pub problem: Option<String>,
    /// Seconds since it was last answered with a set of endpoints that differs, or for the first time.
    pub changed_ago: Option<u64>,
    /// Endpoints.
    pub endpoints: usize,
    /// Those that get sessions.
    pub usable: usize,
    /// Upstream sessions with them.
    pub sessions: u64,
}

/// One endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStatus {
    /// Whose it is.
    pub cluster: String,
    /// Where it is.
    pub url: String,
    /// The failure domain that it is in.
    pub zone: Option<String>,
    /// Endpoints with a higher number get nothing new while this one can be had.
    pub priority: u16,
    /// Its weight as it was given.
    pub weight: u32,
    /// Its weight now: less while it is new.
    pub effective_weight: f64,
    /// `unknown` (not checked, and used), `healthy`, `unhealthy` or `ejected`.
    pub health: &'static str,
    /// Why it gets no sessions, if it does not.
    pub why: Option<String>,
    /// Seconds until it gets sessions again, where that is known.
    pub back_in: Option<u64>,
    /// What its last check found.
    pub last_check: Option<String>,
    /// Seconds since then.
    pub checked_ago: Option<u64>,
    /// Upstream sessions, those that are being set up among them.
    pub sessions: u32,
    /// What they bring, in bits a second.
    pub bitrate: u64,
    /// How often it has been ejected.
    pub ejections: u64,
}

/// Health as a word: of the status, and of metrics.
pub(crate) fn word(health: &Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Healthy => "healthy",
        Health::Unhealthy { .. } => "unhealthy",
        Health::Ejected { .. } => "ejected",
    }
}

pub(super) fn of<'c>(
    clusters: impl Iterator<Item = &'c Arc<Cluster>>,
    now: Instant,
) -> (Vec<ClusterStatus>, Vec<EndpointStatus>) {
    let (mut all, mut endpoints) = (Vec::new(), Vec::new());
    for cluster in clusters {
        let name = cluster.name();
        let progress = cluster.discovering().unwrap_or_default();
        let before = endpoints.len();
        let (mut usable, mut sessions) = (0, 0);
        cluster.view(now, |view| {
            usable += usize::from(is_usable(&view));
            sessions += u64::from(view.sessions);
            endpoints.push(endpoint(name, &view, now));
        });
        let mut checked = cluster.checked();
        for (endpoint, id) in endpoints.iter_mut().skip(before).zip(cluster.ids()) {
            if let Some((at, outcome)) = checked.remove(&id) {
                endpoint.last_check = Some(outcome.map_or_else(|why| why.to_string(), |()| "good".into()));
                endpoint.checked_ago = Some(now.saturating_duration_since(at).as_secs());
            }
        }
        all.push(ClusterStatus {
            name: name.to_owned(),
            discovery: progress.kind.into(),
            asked: progress.source,
            problem: progress.problem,
            changed_ago: progress.changed.map(|at| now.saturating_duration_since(at).as_secs()),
            endpoints: endpoints.len().saturating_sub(before),
            usable,
            sessions,
        });
    }
    (all, endpoints)
}

fn endpoint(cluster: &str, view: &EndpointView<'_>, now: Instant) -> EndpointStatus {
    let (why, until) = match view.health {
        Health::Unknown | Health::Healthy => (None, None),
        Health::Unhealthy { why } => (Some(why.to_string()), None),
        Health::Ejected { until, why } => (Some(why.to_string()), Some(until)),
    };
    EndpointStatus {
        cluster: cluster.to_owned(),
        url: view.spec.endpoint.to_string(),
        zone: view.spec.zone.as_deref().map(str::to_owned),
        priority: view.spec.priority,
        weight: view.spec.weight,
        effective_weight: view.weight,
        health: word(&view.health),
        why,
        back_in: until.map(|until| until.saturating_duration_since(now).as_secs()),
        last_check: None,
        checked_ago: None,
        sessions: view.sessions,
        bitrate: view.bitrate,
        ejections: view.ejections,
    }
}

//! The member's identity, from the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa, EphemeralSource};
use msm_auth::identity::files::{FilePaths, Files};
use msm_auth::identity::id::{SpiffeId, TrustDomain};
use msm_auth::identity::source::{IdentitySource, Snapshot, SourceError};
use tokio::sync::{oneshot, watch};

use crate::config::{Config, EphemeralConfig, Hop, IdentityConfig, IdentityFiles, Protocol};
use crate::error::Error;

/// How long an ephemeral SVID is valid; it is renewed at half of that.
const EPHEMERAL_TTL: Duration = Duration::from_secs(3600);

/// A source with the thread that it runs on: neither the application's runtime nor the media's threads may hold it up, nor
/// it them.
struct Owned {
    source: Arc<dyn IdentitySource>,
    /// The thread ends when this is dropped.
    _running: oneshot::Sender<()>,
}

impl IdentitySource for Owned {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.source.snapshot()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.source.changes()
    }

    fn problem(&self) -> Option<Arc<SourceError>> {
        self.source.problem()
    }
}

/// Opens the source that the configuration names; `None` if it names none and nothing needs one.
///
/// # Errors
/// [`Error::Configuration`] with what keeps the first identity from being there.
pub(crate) async fn open(config: &Config) -> Result<Option<Arc<dyn IdentitySource>>, Error> {
    let is_needed = config.listeners.iter().any(|listener| listener.protocol == Protocol::Mesh)
        || config.clusters.values().any(|cluster| cluster.hop == Hop::Mesh);
    let identity = match &config.identity {
        Some(identity) => identity.clone(),
        None if is_needed => IdentityConfig::default(),
        None => return Ok(None),
    };
    let (tell, told) = oneshot::channel();
    let (running, mut ends) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("msm-identity".into()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = tell.send(Err(Error::socket("thread msm-identity", error)));
                return;
            }
        };
        runtime.block_on(async move {
            let source = tokio::select! {
                source = source(identity) => source,
                _ = &mut ends => return,
            };
            let _ = tell.send(source);
            let _ = ends.await;
        });
    });
    thread.map_err(|error| Error::socket("thread msm-identity", error))?;
    let source = told.await.map_err(|_| Error::Stopped)??;
    if let Some(snapshot) = source.snapshot() {
        tracing::info!(id = %snapshot.svid.id(), "identity");
    }
    Ok(Some(Arc::new(Owned { source, _running: running })))
}

async fn source(identity: IdentityConfig) -> Result<Arc<dyn IdentitySource>, Error> {
    let IdentityConfig { workload_api, files, ephemeral: own, initial_wait } = identity;
    let opened = async {
        match (files, own) {
            (Some(paths), _) => Ok(Arc::new(Files::open(file_paths(paths)?).await?) as _),
            (None, Some(own)) => ephemeral(&own),
            (None, None) => workload(workload_api, initial_wait).await,
        }
    };
    let outcome: Result<_, Box<dyn std::error::Error>> = opened.await;
    outcome.map_err(|error| Error::Configuration(format!("identity: {error}")))
}

fn file_paths(files: IdentityFiles) -> Result<FilePaths, Box<dyn std::error::Error>> {
    let IdentityFiles { certificate, key, bundle, federated } = files;
    let domain = |(name, path): (String, PathBuf)| Ok((TrustDomain::parse(&name)?, path));
    let federated: Result<_, Box<dyn std::error::Error>> = federated.into_iter().map(domain).collect();
    Ok(FilePaths { chain: certificate, key, bundle, federated: federated? })
}

fn ephemeral(own: &EphemeralConfig) -> Result<Arc<dyn IdentitySource>, Box<dyn std::error::Error>> {
    let domain = TrustDomain::parse(&own.trust_domain)?;
    let id = SpiffeId::parse(&format!("spiffe://{}{}", own.trust_domain, own.path))?;
    let authority = Arc::new(EphemeralCa::new(Ephemeral::ForDemo, domain, UnixTime::now())?);
    Ok(Arc::new(EphemeralSource::new(authority, id, EPHEMERAL_TTL, UnixTime::now())?.rotating()))
}

#[cfg(feature = "workload-api")]
async fn workload(
    endpoint: Option<String>,
    initial_wait: Duration,
) -> Result<Arc<dyn IdentitySource>, Box<dyn std::error::Error>> {
    use msm_auth::identity::workload::{WorkloadApi, WorkloadConfig};
    let config = WorkloadConfig { endpoint, initial_wait, ..WorkloadConfig::default() };
    Ok(Arc::new(WorkloadApi::connect(config).await?))
}

#[cfg(not(feature = "workload-api"))]
#[expect(clippy::unused_async, reason = "as with the feature")]
async fn workload(
    _endpoint: Option<String>,
    _initial_wait: Duration,
) -> Result<Arc<dyn IdentitySource>, Box<dyn std::error::Error>> {
    Err("this program was built without the Workload API (feature `workload-api`); use `files`".into())
}

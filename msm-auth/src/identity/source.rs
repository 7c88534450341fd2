//! Where an identity comes from, and how a change of it reaches new handshakes.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::bundle::BundleSet;
use super::error::SvidError;
use super::id::TrustDomain;
use super::svid::X509Svid;

/// The own SVID and the bundles, as they were at one moment. Each handshake uses one.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The own SVID.
    pub svid: Arc<X509Svid>,
    /// The own trust domain's bundle and federated ones.
    pub bundles: BundleSet,
    /// Grows with each change of its source.
    pub version: u64,
}

/// Gives the current identity.
pub trait IdentitySource: Send + Sync {
    /// The current material. `None` before the first and after a withdrawal: handshakes fail then.
    fn snapshot(&self) -> Option<Arc<Snapshot>>;

    /// Changes with each new version, withdrawals among them. Connections that exist are not touched: who wants them
    /// renewed watches this.
    fn changes(&self) -> watch::Receiver<u64>;

    /// What keeps the source from fresher material. It goes when the source has recovered.
    fn problem(&self) -> Option<Arc<SourceError>>;
}

/// Why a source has no material, or no fresher one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// A file is larger than [`MAX_FILE`](super::files::MAX_FILE).
    #[error("{}: more than {} bytes", path.display(), super::files::MAX_FILE)]
    FileTooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// A file is not PEM, or has nothing of what it is for.
    #[error("{}: {reason}", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Chain, key or bundle break a rule.
    #[error("{place}: {error}")]
    Svid {
        /// A file, or what the agent calls it.
        place: String,
        /// Which rule.
        #[source]
        error: SvidError,
    },
    /// A federated bundle names the own trust domain, whose bundle it would replace.
    #[error("`federated` names the own trust domain {0}: its authorities belong in `bundle`")]
    OwnFederated(TrustDomain),
    /// Issuing failed.
    #[error("cannot issue a certificate for {subject}: {reason}")]
    Issue {
        /// For whom.
        subject: String,
        /// Why.
        reason: String,
    },
    /// No Workload API endpoint is named.
    #[error(
        "no Workload API endpoint: set SPIFFE_ENDPOINT_SOCKET, as in unix:///run/spire/agent.sock, or name one"
    )]
    NoEndpoint,
    /// The endpoint is no address (`Workload Endpoint §4`).
    #[error("`{endpoint}` is no Workload API endpoint (unix:///path or tcp://IP:port): {reason}")]
    BadEndpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No identity came in time.
    #[error(
        "no identity from the Workload API at {endpoint} within {seconds} s ({reason}): is the agent there, and is this workload registered?"
    )]
    TimedOut {
        /// Where.
        endpoint: String,
        /// How long the wait was.
        seconds: u64,
        /// The last error.
        reason: String,
    },
    /// The agent answered something that is no use trying again.
    #[error("the Workload API at {endpoint} refused: {reason}")]
    Refused {
        /// Where.
        endpoint: String,
        /// What it said.
        reason: String,
    },
    /// The agent sent something that is no state of an identity. What it gave before is used on.
    #[error(
        "the Workload API at {endpoint} sent a message that is no use ({reason}): the last identity is used"
    )]
    BadMessage {
        /// Where.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The agent is gone. What it gave last is used until it expires.
    #[error(
        "the Workload API at {endpoint} does not answer ({reason}): the last identity is used until it expires"
    )]
    AgentGone {
        /// Where.
        endpoint: String,
        /// Which step failed.
        reason: String,
    },
    /// The agent took the identity back (`Workload API §5.2.1`).
    #[error(
        "the Workload API at {endpoint} withdrew the identity ({reason}): is this workload still registered?"
    )]
    Withdrawn {
        /// Where.
        endpoint: String,
        /// What it said.
        reason: String,
    },
}

impl SourceError {
    /// A stable name, for metric labels.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::Pem { .. } => "pem",
            Self::Svid { error, .. } => error.name(),
            Self::OwnFederated(_) => "own_federated",
            Self::Issue { .. } => "issue",
            Self::NoEndpoint => "no_endpoint",
            Self::BadEndpoint { .. } => "bad_endpoint",
            Self::TimedOut { .. } => "timed_out",
            Self::Refused { .. } => "refused",
            Self::BadMessage { .. } => "bad_message",
            Self::AgentGone { .. } => "agent_gone",
            Self::Withdrawn { .. } => "withdrawn",
        }
    }
}

/// What each source keeps: the current snapshot, its version and the last problem.
pub(crate) struct Current {
    snapshot: ArcSwapOption<Snapshot>,
    problem: ArcSwapOption<SourceError>,
    version: watch::Sender<u64>,
}

impl Current {
    pub(crate) fn new() -> Self {
        Self {
            snapshot: ArcSwapOption::empty(),
            problem: ArcSwapOption::empty(),
            version: watch::Sender::new(0),
        }
    }

    /// Swaps the material in. The snapshot is there before the version tells of it.
    pub(crate) fn publish(&self, svid: Arc<X509Svid>, bundles: BundleSet) {
        self.problem.store(None);
        self.version.send_modify(|version| {
            *version += 1;
            self.snapshot.store(Some(Arc::new(Snapshot { svid, bundles, version: *version })));
        });
    }

    /// Takes the material away. Without any there is no new version.
    #[cfg(any(test, feature = "workload-api"))]
    pub(crate) fn withdraw(&self, why: SourceError) {
        self.fail(why);
        self.version.send_if_modified(|version| {
            let had = self.snapshot.swap(None).is_some();
            *version += u64::from(had);
            had
        });
    }

    /// Keeps the material and says what is wrong; a repetition is not worth another warning.
    pub(crate) fn fail(&self, why: SourceError) {
        if self.problem.load().as_ref().is_some_and(|known| known.name() == why.name()) {
            tracing::debug!(reason = why.name(), "{why}");
        } else {
            tracing::warn!(reason = why.name(), "{why}");
        }
        self.problem.store(Some(Arc::new(why)));
    }

    /// The material is still right, and the problem is over.
    #[cfg(feature = "workload-api")]
    pub(crate) fn recovered(&self) {
        if self.problem.swap(None).is_some() {
            tracing::info!("the source of the identity has recovered");
        }
    }

    pub(crate) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    pub(crate) fn problem(&self) -> Option<Arc<SourceError>> {
        self.problem.load_full()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

/// Ends a source's task with the source.
pub(crate) struct Task(pub(crate) tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

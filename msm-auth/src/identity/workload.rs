//! An identity from a SPIFFE Workload API, such as a SPIRE agent's (`Workload API §5`).
//!
//! Each message is the full state: what it does not have is withdrawn. While the agent is away the last state stays in
//! use, and the TLS side stops showing the SVID when it expires.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use spiffe::transport::{Endpoint, GrpcStatusCode, TransportError};
use spiffe::{WorkloadApiClient, WorkloadApiError, X509Context};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;

mod state;

use self::state::{Hash, hash, material};
use super::source::{Current, IdentitySource, Snapshot, SourceError, Task};

/// Where the endpoint is named, unless the configuration does (`Workload Endpoint §4`).
pub const ENDPOINT_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";
/// The first pause before the next attempt to reach the agent.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest pause, to which each failed attempt doubles it.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// How long the agent may take to begin its answer.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// How to reach the agent, and what to take from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadConfig {
    /// `unix:///path` or `tcp://IP:port`. None: what [`ENDPOINT_VARIABLE`] says.
    pub endpoint: Option<String>,
    /// How long [`WorkloadApi::connect`] waits for the first identity.
    pub initial_wait: Duration,
    /// Which of several SVIDs: the first with this hint (`Workload API §5.2.1`). None: the first.
    pub hint: Option<String>,
}

impl Default for WorkloadConfig {
    fn default() -> Self {
        Self { endpoint: None, initial_wait: Duration::from_secs(30), hint: None }
    }
}

/// An identity from an agent, for as long as the agent grants it.
pub struct WorkloadApi {
    current: Arc<Current>,
    endpoint: String,
    _task: Task,
}

impl WorkloadApi {
    /// Waits for the first identity and follows the agent from then on. To be called inside a tokio runtime; dropping
    /// the source ends the stream.
    ///
    /// # Errors
    ///
    /// There is no endpoint, it is none, the agent refuses for good, or no identity came in time.
    pub async fn connect(config: WorkloadConfig) -> Result<Self, SourceError> {
        let endpoint = match config.endpoint {
            Some(endpoint) => endpoint,
            None => std::env::var(ENDPOINT_VARIABLE).map_err(|_| SourceError::NoEndpoint)?,
        };
        let address = Endpoint::parse(&endpoint)
            .map_err(|e| SourceError::BadEndpoint { endpoint: endpoint.clone(), reason: e.to_string() })?;
        let current = Arc::new(Current::new());
        let mut changes = current.changes();
        let follower = Follower {
            current: current.clone(),
            endpoint: endpoint.clone(),
            hint: config.hint,
            state: None,
            granted: false,
        };
        let mut task = Task(tokio::spawn(follower.run(address)));
        let first = async {
            tokio::select! {
                _ = changes.wait_for(|version| *version > 0) => true,
                // It ends by itself only if no further attempt can help.
                _ = &mut task.0 => false,
            }
        };
        let reason = || current.problem().map_or_else(|| "no answer".to_owned(), |p| p.to_string());
        match timeout(config.initial_wait, first).await {
            Ok(true) => Ok(Self { current, endpoint, _task: task }),
            Ok(false) => Err(SourceError::Refused { endpoint, reason: reason() }),
            Err(_) => {
                let seconds = config.initial_wait.as_secs();
                Err(SourceError::TimedOut { endpoint, seconds, reason: reason() })
            }
        }
    }
}

impl IdentitySource for WorkloadApi {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.current.snapshot()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.current.changes()
    }

    fn problem(&self) -> Option<Arc<SourceError>> {
        self.current.problem()
    }
}

impl fmt::Debug for WorkloadApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkloadApi({})", self.endpoint)
    }
}

struct Follower {
    current: Arc<Current>,
    endpoint: String,
    hint: Option<String>,
    /// Of the state that is published, so that a repetition after a reconnect is no change.
    state: Option<Hash>,
    /// Whether there has been an identity: from then on every error may pass.
    granted: bool,
}

impl Follower {
    async fn run(mut self, address: Endpoint) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            match self.follow(&address).await {
                // A stream that worked and ended is opened again soon (`Workload API §5.2.1`).
                Ok(true) => backoff = FIRST_BACKOFF,
                Ok(false) => {}
                Err(e) => {
                    let hopeless = self.refuse(&e);
                    if hopeless && !self.granted {
                        return;
                    }
                }
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    /// Takes what one stream brings, until it ends. Whether that was a state that could be used.
    async fn follow(&mut self, address: &Endpoint) -> Result<bool, WorkloadApiError> {
        let open = async {
            let client = WorkloadApiClient::connect(address.clone()).await?;
            client.stream_x509_contexts().await
        };
        let Ok(stream) = timeout(FIRST_ANSWER, open).await else {
            self.gone(format!("no answer within {} s", FIRST_ANSWER.as_secs()));
            return Ok(false);
        };
        let mut stream = stream?;
        let mut any = false;
        while let Some(message) = stream.next().await {
            match message {
                Ok(context) => any |= self.take(&context),
                Err(e) if ends_stream(&e) && !any => return Err(e),
                Err(e) if ends_stream(&e) => {
                    self.refuse(&e);
                    return Ok(true);
                }
                // The agent says the same to a new stream, and its next message may be better.
                Err(e) => {
                    self.refuse(&e);
                }
            }
        }
        self.gone("its stream ended".to_owned());
        Ok(any)
    }

    /// Acts on an error of the stream. True if trying again cannot help.
    fn refuse(&mut self, error: &WorkloadApiError) -> bool {
        let reason = with_causes(error);
        let endpoint = self.endpoint.clone();
        // InvalidArgument and Unimplemented are not retried (`Workload API §5`).
        let hopeless = error.is_invalid_argument() || is_unimplemented(error);
        match error {
            _ if hopeless => self.current.fail(SourceError::Refused { endpoint, reason }),
            WorkloadApiError::PermissionDenied(_) | WorkloadApiError::NoIdentityIssued => {
                self.withdraw(reason)
            }
            // A full state without an SVID takes the identity back.
            WorkloadApiError::MissingRequiredField { field } if field.ends_with(".svids") => {
                self.withdraw(reason)
            }
            WorkloadApiError::Transport(_) => self.gone(reason),
            _ => self.current.fail(SourceError::BadMessage { endpoint, reason }),
        }
        hopeless
    }

    fn gone(&self, reason: String) {
        self.current.fail(SourceError::AgentGone { endpoint: self.endpoint.clone(), reason });
    }

    fn withdraw(&mut self, reason: String) {
        self.state = None;
        self.current.withdraw(SourceError::Withdrawn { endpoint: self.endpoint.clone(), reason });
    }

    /// Publishes a state. False if it cannot be used.
    fn take(&mut self, context: &X509Context) -> bool {
        let hash = hash(context, self.hint.as_deref());
        if self.state == Some(hash) {
            self.current.recovered();
            return true;
        }
        let picked = match &self.hint {
            None => context.svids().first(),
            Some(hint) => context.svids().iter().find(|svid| svid.hint() == Some(hint)),
        };
        let Some(picked) = picked else {
            let hint = self.hint.as_deref().unwrap_or_default();
            self.withdraw(format!("no SVID with hint `{hint}` is granted"));
            return true;
        };
        match material(picked, context) {
            Ok((svid, bundles)) => {
                self.state = Some(hash);
                self.granted = true;
                self.current.publish(Arc::new(svid), bundles);
                true
            }
            Err((place, error)) => {
                let place = format!("the Workload API at {}: {place}", self.endpoint);
                self.current.fail(SourceError::Svid { place, error });
                false
            }
        }
    }
}

/// Whether the stream is over; otherwise one message was no use.
fn ends_stream(error: &WorkloadApiError) -> bool {
    use WorkloadApiError::{NoIdentityIssued, PermissionDenied, Transport};
    matches!(error, Transport(_) | PermissionDenied(_) | NoIdentityIssued)
}

fn is_unimplemented(error: &WorkloadApiError) -> bool {
    let WorkloadApiError::Transport(TransportError::Status(status)) = error else {
        return false;
    };
    status.code() == GrpcStatusCode::Unimplemented
}

/// The library's message names the step; what went wrong is in the causes.
fn with_causes(error: &WorkloadApiError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.ends_with(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}

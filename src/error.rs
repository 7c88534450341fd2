//! What can go wrong for a caller of this crate, by who is to blame.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use msm_core::hub::HubError;

/// An error of the mesh. Credentials never appear in it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL given is not one that the mesh serves.
    #[error("{url}: {reason}")]
    BadUrl {
        /// The URL as given, without credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No route matches the URL and action.
    #[error("no route matches {url}")]
    NoRoute {
        /// The URL asked for, without credentials.
        url: String,
    },
    /// The route that matches does not serve this caller.
    #[error("route `{route}` denies it: {reason}")]
    Denied {
        /// The route's name.
        route: String,
        /// Why, and what would change it.
        reason: String,
    },
    /// The route sends whoever asks to another URL.
    #[error("route `{route}` sends clients to {to}")]
    Redirected {
        /// The route's name.
        route: String,
        /// The URL to ask for instead.
        to: String,
        /// 301: for good; 302: for now.
        status: u16,
        /// How long sessions that are up already are given to leave by themselves.
        leave_within: Duration,
    },
    /// The route is local and nobody publishes there.
    #[error("nothing is published at {url}")]
    NotPublished {
        /// The URL asked for, without credentials.
        url: String,
    },
    /// Another publisher holds the URL.
    #[error("another publisher holds this URL")]
    AlreadyPublished,
    /// The SDP cannot be used.
    #[error("SDP refused: {0}")]
    BadDescription(String),
    /// A request that the stream's state or kind does not allow.
    #[error("{0}")]
    Refused(String),
    /// No endpoint of the cluster can be asked.
    #[error("cluster `{cluster}`: {reason}")]
    NoEndpoint {
        /// The cluster's name.
        cluster: String,
        /// Why.
        reason: String,
    },
    /// A cluster has all the upstream sessions that it may have.
    #[error("cluster `{cluster}`: `{key}` of {limit} is reached; raise it, or add endpoints")]
    ClusterFull {
        /// The cluster's name.
        cluster: String,
        /// The key of its configuration.
        key: &'static str,
        /// Its value.
        limit: u32,
    },
    /// The upstream could not be reached.
    #[error("{endpoint}: {source}")]
    Unreachable {
        /// The endpoint's URL, without credentials.
        endpoint: String,
        /// The operating system's word.
        source: Arc<io::Error>,
    },
    /// The upstream did not answer in time.
    #[error("{endpoint}: no answer to {request} in time")]
    UpstreamTimeout {
        /// The endpoint's URL, without credentials.
        endpoint: String,
        /// What was asked of it.
        request: String,
    },
    /// The upstream answered with an error.
    #[error("{endpoint}: {request} was answered {status} {reason}")]
    UpstreamStatus {
        /// The endpoint's URL, without credentials.
        endpoint: String,
        /// What was asked of it.
        request: String,
        /// Its RTSP status.
        status: u16,
        /// Its reason phrase, or what we make of it.
        reason: String,
    },
    /// The upstream sends its sessions where they are not to go.
    #[error("{endpoint}: DESCRIBE was answered {status}, which leads to {to}, {reason}")]
    UpstreamRedirect {
        /// The endpoint's URL, without credentials.
        endpoint: String,
        /// Its RTSP status.
        status: u16,
        /// The URL that it names, without credentials.
        to: String,
        /// Why that is not followed, and what would change it.
        reason: String,
    },
    /// The upstream broke the protocol.
    #[error("{endpoint}: {reason}")]
    UpstreamProtocol {
        /// The endpoint's URL, without credentials.
        endpoint: String,
        /// Where and what.
        reason: String,
    },
    /// No TLS with the upstream.
    #[error("{endpoint}: {reason}")]
    UpstreamTls {
        /// The endpoint's URL, without credentials.
        endpoint: String,
        /// What failed, and on which side.
        reason: String,
    },
    /// An endpoint of a mesh cluster is no member, and the cluster has no fallback.
    #[error(
        "{endpoint}: {peer} knows no mesh hop ({answer}); write `fallback: rtsps` in cluster `{cluster}` to speak RTSP over \
         TLS to it instead, with its media in that connection"
    )]
    NotAMember {
        /// The endpoint's URL, without credentials.
        endpoint: String,
        /// The cluster's name.
        cluster: String,
        /// Who is there: its SPIFFE ID, one of the cluster's `peers`.
        peer: String,
        /// What it was asked, and answered.
        answer: String,
    },
    /// A limit of this process is reached.
    #[error("{what}: the limit of {limit} is reached; raise `{key}` in the configuration")]
    Capacity {
        /// What there are too many of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
        /// The configuration key.
        key: &'static str,
    },
    /// A process could not take over from another one, or hand over to it.
    #[error("upgrade in place at {socket}: {reason}")]
    Upgrade {
        /// The path of the Unix socket.
        socket: String,
        /// What went wrong.
        reason: String,
    },
    /// A socket could not be opened.
    #[error("{what}: {source}")]
    Socket {
        /// Which socket, and the configuration key that names it.
        what: String,
        /// The operating system's word.
        source: Arc<io::Error>,
    },
    /// The configuration was refused.
    #[error("{0}")]
    Configuration(String),
    /// What was waited for did not come in time.
    #[error("nothing came in time")]
    TimedOut,
    /// The stream ended at its source.
    #[error("the stream ended")]
    StreamEnded,
    /// The mesh was shut down.
    #[error("the mesh is shutting down")]
    Stopped,
}

impl From<HubError> for Error {
    fn from(error: HubError) -> Self {
        match error {
            HubError::TooManyReaders { limit } => {
                Self::Capacity { what: "readers of one stream", limit, key: "limits.readers" }
            }
            // It was removed by the end of its stream.
            HubError::UnknownReader { .. } => Self::StreamEnded,
            other => Self::Refused(other.to_string()),
        }
    }
}

impl Error {
    /// A stable name, for metric labels and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadUrl { .. } => "bad_url",
            Self::NoRoute { .. } => "no_route",
            Self::Denied { .. } => "denied",
            Self::Redirected { .. } => "redirected",
            Self::NotPublished { .. } => "not_published",
            Self::AlreadyPublished => "already_published",
            Self::BadDescription(_) => "bad_description",
            Self::Refused(_) => "refused",
            Self::NoEndpoint { .. } => "no_endpoint",
            Self::ClusterFull { .. } => "cluster_full",
            Self::Unreachable { .. } => "unreachable",
            Self::UpstreamTimeout { .. } => "upstream_timeout",
            Self::UpstreamStatus { .. } => "upstream_status",
            Self::UpstreamRedirect { .. } => "upstream_redirect",
            Self::UpstreamProtocol { .. } => "upstream_protocol",
            Self::UpstreamTls { .. } => "upstream_tls",
            Self::NotAMember { .. } => "not_a_member",
            Self::Capacity { .. } => "capacity",
            Self::Upgrade { .. } => "upgrade",
            Self::Socket { .. } => "socket",
            Self::Configuration(_) => "configuration",
            Self::TimedOut => "timed_out",
            Self::StreamEnded => "stream_ended",
            Self::Stopped => "stopped",
        }
    }

    /// The RTSP status that a client gets for it (`RFC 2326 §7.1.1`).
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BadUrl { .. } => 400,
            Self::NoRoute { .. } | Self::NotPublished { .. } => 404,
            Self::AlreadyPublished | Self::Denied { .. } => 403,
            Self::Redirected { status, .. } => *status,
            Self::BadDescription(_) => 400,
            Self::Refused(_) => 455,
            Self::Unreachable { .. } | Self::UpstreamProtocol { .. } => 502,
            Self::UpstreamTls { .. } | Self::NotAMember { .. } | Self::UpstreamRedirect { .. } => 502,
            Self::UpstreamTimeout { .. } | Self::TimedOut => 504,
            // The upstream's refusal of our credentials is not the client's affair.
            Self::UpstreamStatus { status: 401 | 407, .. } => 502,
            Self::UpstreamStatus { status: status @ (403 | 404 | 453 | 457 | 458 | 503), .. } => *status,
            Self::UpstreamStatus { .. } => 502,
            Self::Capacity { .. } | Self::Stopped | Self::NoEndpoint { .. } => 503,
            // What the cluster may take is reached, or what its endpoints may: with one more of these it could be served.
            Self::ClusterFull { key: "limits.sessions", .. } => 453,
            Self::ClusterFull { .. } => 503,
            Self::Socket { .. } | Self::Configuration(_) | Self::Upgrade { .. } => 500,
            Self::StreamEnded => 404,
        }
    }

    pub(crate) fn socket(what: impl Into<String>, source: io::Error) -> Self {
        Self::Socket { what: what.into(), source: Arc::new(source) }
    }
}

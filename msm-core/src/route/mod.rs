//! Routing: which cluster serves a URL, and which of its endpoints.
//!
//! A [`RouteTable`] is an ordered list of [`Route`]s. A request is matched against them from the first to the last and
//! **the first match wins**: the order in the file is the precedence, nothing is re-sorted by how specific a pattern
//! looks. A route that does not list the request's [`Action`], or whose `from` does not list the [`Caller`], does not
//! match. The route that matches serves the request or, by its `allow`, denies it.
//!
//! The table is immutable and may be shared by threads. The state of balancing (whose turn it is) is in a
//! [`Selector`], one for each thread that opens upstream sessions.
//!
//! ```
//! use msm_core::route::*;
//!
//! let mut route = Route::new("news", UrlPattern::parse("rtsp://*/news/{feed}")?);
//! route.rewrite = Some(RewriteTemplate::parse("/live/{feed}")?);
//! route.backends = vec![Backend { cluster: "encoders".into(), weight: 1 }];
//! let table = RouteTable::new(vec![route]);
//!
//! let found = table.route(&RequestKey {
//!     scheme: "rtsp", host: "mesh.example", port: None, path: "/news/eu", query: None, action: Action::Read,
//!     caller: Caller::Anonymous,
//! })?;
//! assert_eq!(found.route.name, "news");
//! assert_eq!(found.path, "/live/eu");
//!
//! let mut selector = Selector::new(&table, vec![Cluster {
//!     name: "encoders".into(), endpoints: vec![Endpoint::parse("rtsp://10.0.0.11:8554")?], balance: BalanceKind::RoundRobin,
//! }])?;
//! let cluster = selector.backend(found.index).ok_or("local")?.to_owned();
//! let (_, endpoint) = selector.endpoint(&cluster).ok_or("no endpoint")?;
//! assert_eq!(endpoint.to_string(), "rtsp://10.0.0.11:8554");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod balance;
mod cluster;
mod host;
mod pattern;
mod peer;
mod protection;
mod rewrite;
mod segment;
mod selector;
mod table;

pub use balance::{Balance, BalanceKind, RoundRobin, WeightedSplit};
pub use cluster::{Cluster, Endpoint, EndpointError};
pub use pattern::{Captures, MAX_SEGMENTS, MAX_URL_BYTES, PatternError, UrlPattern};
pub use peer::{Caller, Denial, PeerPattern};
pub use protection::{Fec, PathFrom, PathMode, Paths, Protection};
pub use rewrite::{RewriteTemplate, TemplateError};
pub use selector::{Selector, UnknownCluster};
pub use table::{
    Action, Actions, Backend, RequestKey, Route, RouteError, RouteMatch, RouteTable, Share, Verdict,
};

//! Routing: which cluster serves a URL, and which of its endpoints.
//!
//! A [`RouteTable`] is an ordered list of [`Route`]s. A request is matched against them from the first to the last and
//! **the first match wins**: the order in the file is the precedence, nothing is re-sorted by how specific a pattern
//! looks. A route that does not list the request's [`Action`], or whose `from` does not list the [`Caller`], does not
//! match. The route that matches serves the request or, by its `allow`, denies it.
//!
//! The table is immutable and may be shared by threads. Which of the route's backends a request goes to is [`split`]'s to say, and which of
//! that cluster's endpoints a [`Cluster`](crate::cluster::Cluster)'s.
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
//! let backend = split(&found.route.backends, hash(b"client and URL"), |_| true).ok_or("local")?;
//! assert_eq!(backend.cluster, "encoders");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod host;
pub(crate) mod pattern;
mod peer;
mod protection;
mod publish;
mod rewrite;
mod segment;
mod split;
mod table;

pub use pattern::{Captures, MAX_SEGMENTS, MAX_URL_BYTES, PatternError, UrlPattern};
pub use peer::{Caller, Denial, PeerPattern};
pub use protection::{Fec, PathFrom, PathMode, Paths, Protection};
pub use publish::Publish;
pub use rewrite::{RewriteTemplate, TemplateError};
pub use split::{hash, split};
pub use table::{
    Action, Actions, Backend, RequestKey, Route, RouteError, RouteMatch, RouteTable, Share, Verdict,
};

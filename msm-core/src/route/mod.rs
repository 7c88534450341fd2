//! Routing: which cluster serves a URL, and which of its endpoints.
//!
//! A [`RouteTable`] holds [`Route`]s. Those whose pattern matches a request's URL are asked in the order of their **precedence**: exact
//! before pattern, longer before shorter, then the order of the file ([`UrlPattern::precedence`] has it in full). A route that is not for
//! the request's [`Action`], [`Caller`], listener or headers, or not for this share of clients, is passed over. The first one that is for
//! it serves it, sends the client elsewhere or, by its `allow`, denies it: a denial never falls through to a later route.
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
//! let found = table.route(&RequestKey { host: "mesh.example", ..RequestKey::new("/news/eu", Action::Read) })?;
//! assert_eq!(found.route.name, "news");
//! assert_eq!(found.path, "/live/eu");
//!
//! let backend = split(&found.route.backends, hash(b"client and URL"), |_| true).ok_or("local")?;
//! assert_eq!(backend.cluster, "encoders");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod condition;
pub(crate) mod host;
mod index;
mod mirror;
mod path;
pub(crate) mod pattern;
mod peer;
mod precedence;
mod protection;
mod publish;
mod redirect;
mod request;
mod rewrite;
mod segment;
mod split;
mod table;

pub use action::{Action, Actions};
pub use condition::{HeaderPattern, HeaderPatternError, Headers, NoHeaders, is_among};
pub use mirror::Mirror;
pub use pattern::{Captures, MAX_SEGMENTS, MAX_URL_BYTES, PatternError, UrlPattern};
pub use peer::{Caller, Denial, PeerPattern};
pub use precedence::Precedence;
pub use protection::{Fec, PathFrom, PathMode, Paths, Protection};
pub use publish::Publish;
pub use redirect::{Redirect, RedirectError};
pub use request::{RequestKey, RouteError, RouteMatch, Verdict};
pub use rewrite::{RewriteTemplate, TemplateError};
pub use split::{hash, split};
pub use table::{Backend, CanaryRule, Considered, Route, RouteLimits, RouteTable, RouteTimeouts, Share};

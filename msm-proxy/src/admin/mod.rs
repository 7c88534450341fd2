//! The HTTP servers of the process: metrics, health, status.
//!
//! Three addresses, so that what is open to a scraper or a prober need not open the rest: see [`Role`]. HTTP/1 only, GET and
//! HEAD only, request bodies are never read, with limits on connections, header bytes and time.

mod answer;
mod server;

use std::pin::Pin;

pub use answer::{OPENMETRICS, Role};
pub use server::{Admin, AdminHandle, BindError};

/// What comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the servers show. Called on each request.
pub trait Source: Send + Sync + 'static {
    /// All metrics in OpenMetrics text, with `# EOF` at the end.
    fn metrics(&self) -> Later<'_, String>;

    /// The state of listeners, streams and upstreams.
    fn status(&self) -> Later<'_, serde_json::Value>;

    /// Whether every listener is bound and requests are served.
    fn ready(&self) -> bool;
}

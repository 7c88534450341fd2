//! The HTTP servers of the process: metrics, health, status.
//!
//! Three addresses, so that what is open to a scraper or a prober need not open the rest: see [`Role`]. HTTP/1 only, GET and
//! HEAD only, request bodies are never read, with limits on connections, header bytes and time.

mod answer;
mod server;

pub use answer::{OPENMETRICS, Role};
pub use server::{Admin, AdminHandle, BindError};

/// What the servers show. Called on each request, on the thread of the admin servers: may lock and allocate, must not
/// wait.
pub trait Source: Send + Sync + 'static {
    /// All metrics in OpenMetrics text, with `# EOF` at the end.
    fn metrics(&self) -> String;

    /// The state of listeners, streams and upstreams.
    fn status(&self) -> serde_json::Value;

    /// Whether every listener is bound and requests are served.
    fn ready(&self) -> bool;
}

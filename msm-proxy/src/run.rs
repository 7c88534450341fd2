//! `msm-proxy run`: ports, then media, then ready, until a signal, then drained.

use crate::admin::{Admin, BindError, Source};
use crate::signals::Signals;
use msm::config::Config;
use std::sync::Arc;
use tracing::{info, warn};

/// What runs: the mesh.
pub trait Member {
    /// What the admin servers show.
    fn source(&self) -> Arc<dyn Source>;

    /// Takes no new sessions, tells the peers, and returns when the last session has ended.
    fn drain(self) -> impl Future<Output = ()>;
}

/// Why `run` ended with a failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// A port of the admin servers cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The member did not start.
    #[error(transparent)]
    Start(E),
    /// A second signal came before the sessions had ended.
    #[error("ended at once by {0}, before all sessions had ended")]
    Killed(&'static str),
}

/// Runs a member until a signal comes, and drains it: all ports are bound before anything is served, `/ready` is true from
/// when `start` has returned until the first signal, and sessions have `drain_timeout` to end.
///
/// # Errors
/// See [`RunError`].
pub async fn run<M: Member, E: std::error::Error>(
    config: &Config,
    start: impl Future<Output = Result<M, E>>,
    signals: &mut Signals,
) -> Result<(), RunError<E>> {
    let admin = Admin::bind(&config.admin).await?;
    let member = tokio::select! {
        member = start => member.map_err(RunError::Start)?,
        signal = signals.next() => {
            info!(signal, "stopped while starting");
            return Ok(());
        }
    };
    for (name, address) in admin.addresses() {
        info!(server = name, %address, "listening");
    }
    let admin = admin.serve(member.source());
    info!(version = env!("CARGO_PKG_VERSION"), "started");
    let signal = signals.next().await;
    admin.drain();
    info!(signal, deadline = ?config.drain_timeout, "draining; a second signal ends at once");
    tokio::select! {
        drained = tokio::time::timeout(config.drain_timeout, member.drain()) => {
            match drained {
                Ok(()) => info!("drained"),
                Err(_) => warn!(deadline = ?config.drain_timeout, "sessions were still open at the deadline of drain_timeout"),
            }
            Ok(())
        }
        signal = signals.next() => Err(RunError::Killed(signal)),
    }
}

#[cfg(test)]
mod tests;

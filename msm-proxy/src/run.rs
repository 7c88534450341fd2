//! `msm-proxy run`: ports, then media, then ready, until a signal, then drained.

use crate::admin::{Admin, BindError, Source};
use crate::signals::{HANGUP, Signals};
use msm::config::Config;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{info, warn};

/// What runs: the mesh.
pub trait Member {
    /// What the admin servers show.
    fn source(&self) -> Arc<dyn Source>;

    /// Goes on with the configuration as it changes, at once when it is `asked` to look; for ever.
    fn follow(&self, asked: &Notify) -> impl Future<Output = Infallible>;

    /// The times of the configuration of now, if it has changed since the start.
    fn drain_times(&self) -> impl Future<Output = Option<DrainTimes>>;

    /// Takes no new sessions, tells the peers, and returns when the last session has ended; before `timeout` is over.
    fn drain(self, timeout: Duration) -> impl Future<Output = ()>;
}

/// `drain_delay` and `drain_timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// How long new sessions are let in after the request to stop.
    pub delay: Duration,
    /// How long sessions have after that.
    pub timeout: Duration,
}

impl DrainTimes {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        Self { delay: config.drain_delay, timeout: config.drain_timeout }
    }
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
/// when `start` has returned until the first signal; then new sessions are let in for `drain_delay`, and those that are there have
/// `drain_timeout` to end. SIGHUP has the configuration read again.
///
/// # Errors
/// See [`RunError`].
pub async fn run<M: Member, E: std::error::Error>(
    config: &Config,
    start: impl Future<Output = Result<M, E>>,
    signals: &mut Signals,
) -> Result<(), RunError<E>> {
    let admin = Admin::bind(&config.admin).await?;
    let mut start = std::pin::pin!(start);
    let member = loop {
        tokio::select! {
            member = &mut start => break member.map_err(RunError::Start)?,
            signal = signals.next() => {
                if signal != HANGUP {
                    info!(signal, "stopped while starting");
                    return Ok(());
                }
            }
        }
    };
    for (name, address) in admin.addresses() {
        info!(server = name, %address, "listening");
    }
    let admin = admin.serve(member.source());
    info!(version = env!("CARGO_PKG_VERSION"), "started");
    let signal = serve(&member, signals).await;
    admin.drain();
    let DrainTimes { delay, timeout } = member.drain_times().await.unwrap_or(DrainTimes::of(config));
    info!(signal, ?delay, ?timeout, "draining; a second signal ends at once");
    let drained = async {
        tokio::time::sleep(delay).await;
        tokio::time::timeout(timeout, member.drain(timeout)).await
    };
    tokio::select! {
        drained = drained => {
            if drained.is_err() {
                warn!(?timeout, "sessions were still open at the deadline of drain_timeout");
            }
            Ok(())
        }
        signal = stop(signals) => Err(RunError::Killed(signal)),
    }
}

/// Serves until a signal asks to stop; its name.
async fn serve(member: &impl Member, signals: &mut Signals) -> &'static str {
    let asked = Notify::new();
    let mut follow = std::pin::pin!(member.follow(&asked));
    loop {
        tokio::select! {
            signal = signals.next() => {
                if signal != HANGUP {
                    return signal;
                }
                info!(signal, "the configuration is read again");
                asked.notify_one();
            }
            never = &mut follow => match never {},
        }
    }
}

/// The next signal that asks to stop.
async fn stop(signals: &mut Signals) -> &'static str {
    loop {
        let signal = signals.next().await;
        if signal != HANGUP {
            return signal;
        }
    }
}

#[cfg(test)]
mod tests;

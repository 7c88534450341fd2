//! `msm-proxy run`: ports, then media, then ready, until a signal, then drained.

use crate::admin::{Admin, AdminHandle, BindError, Source};
use crate::signals::{HANGUP, Signals};
use msm::config::Config;
use msm::upgrade::Successor;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{info, warn};

/// For those who have to be told that their sessions end.
const FAREWELL: Duration = Duration::from_secs(2);

/// What runs: the mesh.
pub trait Member {
    /// What the admin servers show.
    fn source(&self) -> Arc<dyn Source>;

    /// Goes on with the configuration as it changes, at once when it is `asked` to look; for ever.
    fn follow(&self, asked: &Notify) -> impl Future<Output = Infallible>;

    /// The times of the configuration of now, if it has changed since the start.
    fn drain_times(&self) -> impl Future<Output = Option<DrainTimes>>;

    /// Waits for a process that is to take the place of this one, with `own` sockets beside the member's, by their names. There is none where
    /// nothing is said of it.
    fn successor(&self, own: &[(String, OwnedFd)]) -> impl Future<Output = Successor> {
        let _ = own;
        std::future::pending()
    }

    /// Lets it serve. Answers whether it does.
    fn hand_over(&self, successor: Successor) -> impl Future<Output = bool> {
        drop(successor);
        std::future::ready(false)
    }

    /// Waits until this process is to serve again, as the one that did is gone.
    fn taken_back(&self) -> impl Future<Output = ()> {
        std::future::pending()
    }

    /// Waits until nobody needs this process any more.
    fn ended(&self) -> impl Future<Output = ()> {
        std::future::pending()
    }

    /// Takes no new sessions, tells the peers, and returns when the last session has ended; before `timeout` is over.
    fn drain(self, timeout: Duration) -> impl Future<Output = ()>;
}

/// `drain_delay`, `drain_timeout` and `upgrade.drain_timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// How long new sessions are let in after the request to stop.
    pub delay: Duration,
    /// How long sessions have after that.
    pub timeout: Duration,
    /// How long they have when another process serves.
    pub upgraded: Duration,
}

impl DrainTimes {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        let upgraded = config.upgrade.as_ref().and_then(|upgrade| upgrade.drain_timeout);
        Self {
            delay: config.drain_delay,
            timeout: config.drain_timeout,
            upgraded: upgraded.unwrap_or(config.drain_timeout),
        }
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
/// `passed` are sockets of the admin servers that another process had, by their keys. When one takes the place of this one, the admin
/// servers are its, and this one runs until its last session has ended.
///
/// # Errors
/// See [`RunError`].
pub async fn run<M: Member, E: std::error::Error>(
    config: &Config,
    passed: Vec<(String, std::net::TcpListener)>,
    start: impl Future<Output = Result<M, E>>,
    signals: &mut Signals,
) -> Result<(), RunError<E>> {
    let admin = Admin::bind(&config.admin, passed).await?;
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
    let mut admin = admin.serve(member.source());
    info!(version = env!("CARGO_PKG_VERSION"), "started");
    let signal = loop {
        match serve(&member, &admin, signals).await {
            End::Signal(signal) => break signal,
            End::Successor(successor) => {
                admin.pause().await;
                if member.hand_over(successor).await
                    && let Some(left) = succeeded(&member, config, signals).await
                {
                    return tokio::select! {
                        // Whoever is left is told.
                        _ = tokio::time::timeout(left + FAREWELL, member.drain(left)) => Ok(()),
                        signal = stop(signals) => Err(RunError::Killed(signal)),
                    };
                }
                admin.go_on();
            }
        }
    };
    admin.drain();
    let DrainTimes { delay, timeout, .. } = member.drain_times().await.unwrap_or(DrainTimes::of(config));
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

/// Another process serves: the sessions that are here end by themselves, or when their time is over or a signal comes. How long those
/// that are left have; `None` when this process is to serve again.
async fn succeeded(member: &impl Member, config: &Config, signals: &mut Signals) -> Option<Duration> {
    let DrainTimes { timeout, upgraded, .. } = member.drain_times().await.unwrap_or(DrainTimes::of(config));
    info!(timeout = ?upgraded, "another process serves; this one ends with its last session");
    tokio::select! {
        () = member.ended() => Some(Duration::ZERO),
        () = member.taken_back() => None,
        () = tokio::time::sleep(upgraded.saturating_sub(FAREWELL)) => Some(FAREWELL.min(upgraded)),
        signal = stop(signals) => {
            info!(signal, ?timeout, "draining; a second signal ends at once");
            Some(timeout)
        }
    }
}

/// Why it is served no more.
enum End {
    Signal(&'static str),
    Successor(Successor),
}

/// Serves until a signal asks to stop, or another process is there.
async fn serve(member: &impl Member, admin: &AdminHandle, signals: &mut Signals) -> End {
    let own = admin.sockets().unwrap_or_else(|error| {
        warn!(%error, "another process would have to wait for the admin servers' ports");
        Vec::new()
    });
    let mut successor = std::pin::pin!(member.successor(&own));
    let asked = Notify::new();
    let mut follow = std::pin::pin!(member.follow(&asked));
    loop {
        tokio::select! {
            signal = signals.next() => {
                if signal != HANGUP {
                    return End::Signal(signal);
                }
                info!(signal, "the configuration is read again");
                asked.notify_one();
            }
            successor = &mut successor => return End::Successor(successor),
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

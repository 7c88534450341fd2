//! `msm-proxy run`: ports, then media, then ready, until a signal, then drained.

use crate::admin::{Admin, BindError, Source};
use crate::signals::{HANGUP, Signals};
use msm::config::Config;
use msm::upgrade::Successor;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{info, warn};
use turn::{Turn, Whose};

mod turn;

/// For those who have to be told that their sessions end.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

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
    fn successor(&self, own: Vec<(String, OwnedFd)>) -> impl Future<Output = Successor> {
        drop(own);
        std::future::pending()
    }

    /// Lets it serve. Answers whether it does.
    fn hand_over(&self, successor: Successor) -> impl Future<Output = bool> {
        drop(successor);
        std::future::ready(false)
    }

    /// Waits until the process that serves in the place of this one is gone. Cancel safe.
    fn gone(&self) -> impl Future<Output = Gone> {
        std::future::pending()
    }

    /// Waits until nobody needs this process any more.
    fn ended(&self) -> impl Future<Output = ()> {
        std::future::pending()
    }

    /// This process was asked to end: whatever becomes of it, nobody is to serve in its place.
    fn will_end(&self) {}

    /// Takes no new sessions, tells the peers, and returns when the last session has ended; before `timeout` is over.
    fn drain(&self, timeout: Duration) -> impl Future<Output = ()>;
}

/// What the end of the process that served means for the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It was not asked to end: this one serves again.
    Lost,
    /// It was: nobody serves, while the sessions here go on. The next process takes over from this one.
    Left,
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
/// `passed` are sockets of the admin servers that another process had, by their keys. One may take the place of this one as long as it runs, also
/// while it drains; then the admin servers are its, and this one runs until its last session has ended.
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
    let mut turn = Turn::new(&member, admin.serve(member.source()));
    info!(version = env!("CARGO_PKG_VERSION"), "started");
    loop {
        if let Some(signal) = serve(&member, &mut turn, signals).await {
            turn.end();
            let DrainTimes { delay, timeout, .. } = times(&member, config).await;
            info!(signal, ?delay, ?timeout, "draining; a second signal ends at once");
            let drained = async {
                tokio::time::sleep(delay).await;
                tokio::time::timeout(timeout, member.drain(timeout)).await
            };
            if finish(&mut turn, signals, drained).await?.is_err() {
                warn!(?timeout, "sessions were still open at the deadline of drain_timeout");
            }
            return Ok(());
        }
        if let Some(left) = succeeded(&member, &mut turn, config, signals).await {
            turn.end();
            // Whoever is left is told.
            let drained = tokio::time::timeout(left + FAREWELL, member.drain(left));
            finish(&mut turn, signals, drained).await?.ok();
            return Ok(());
        }
    }
}

async fn times(member: &impl Member, config: &Config) -> DrainTimes {
    member.drain_times().await.unwrap_or(DrainTimes::of(config))
}

/// Serves until a signal asks to stop, which is answered, or another process serves.
async fn serve<M: Member>(member: &M, turn: &mut Turn<'_, M>, signals: &mut Signals) -> Option<&'static str> {
    let asked = Notify::new();
    let mut follow = std::pin::pin!(member.follow(&asked));
    loop {
        let change = tokio::select! {
            signal = signals.next() => {
                if signal != HANGUP {
                    return Some(signal);
                }
                info!(signal, "the configuration is read again");
                asked.notify_one();
                continue;
            }
            change = turn.changes() => change,
            never = &mut follow => match never {},
        };
        if turn.change(change).await == Whose::Another {
            return None;
        }
    }
}

/// Another process serves: the sessions that are here end by themselves, or when their time is over or a signal comes. How long those
/// that are left have; `None` when this process is to serve again.
async fn succeeded<M: Member>(
    member: &M,
    turn: &mut Turn<'_, M>,
    config: &Config,
    signals: &mut Signals,
) -> Option<Duration> {
    let DrainTimes { timeout, upgraded, .. } = times(member, config).await;
    info!(timeout = ?upgraded, "another process serves; this one ends with its last session");
    let ended = async {
        tokio::select! {
            () = member.ended() => Duration::ZERO,
            () = tokio::time::sleep(upgraded.saturating_sub(FAREWELL)) => FAREWELL.min(upgraded),
        }
    };
    let mut ended = std::pin::pin!(ended);
    loop {
        let change = tokio::select! {
            left = &mut ended => return Some(left),
            signal = stop(signals) => {
                info!(signal, ?timeout, "draining; a second signal ends at once");
                return Some(timeout);
            }
            change = turn.changes() => change,
        };
        if turn.change(change).await == Whose::Own {
            return None;
        }
    }
}

/// Does the last work of this process, unless a signal comes. Another process may take over meanwhile.
async fn finish<M: Member, T, E>(
    turn: &mut Turn<'_, M>,
    signals: &mut Signals,
    work: impl Future<Output = T>,
) -> Result<T, RunError<E>> {
    let mut work = std::pin::pin!(work);
    loop {
        let change = tokio::select! {
            done = &mut work => return Ok(done),
            signal = stop(signals) => return Err(RunError::Killed(signal)),
            change = turn.changes() => change,
        };
        turn.change(change).await;
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

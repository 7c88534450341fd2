//! Requests to stop, and to read the configuration again.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The name of the signal that asks for the configuration to be read again.
pub const HANGUP: &str = "SIGHUP";

/// The requests that this process gets: to stop by SIGINT (Ctrl-C) and SIGTERM, of which the first asks for a drain and the next for an
/// end at once; and [`HANGUP`].
#[derive(Debug)]
pub struct Signals {
    names: mpsc::Receiver<&'static str>,
}

impl Signals {
    /// Listens to the signals of this process, on the current tokio runtime.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn install() -> io::Result<Signals> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (sender, signals) = Signals::channel();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                    _ = hangup.recv() => HANGUP,
                };
                if sender.send(name).await.is_err() {
                    return;
                }
            }
        });
        Ok(signals)
    }

    /// Requests that come from code instead, by name.
    pub fn channel() -> (mpsc::Sender<&'static str>, Signals) {
        let (sender, names) = mpsc::channel(4);
        (sender, Signals { names })
    }

    /// The next request's name. Never returns when there can be no more.
    pub async fn next(&mut self) -> &'static str {
        match self.names.recv().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }
}

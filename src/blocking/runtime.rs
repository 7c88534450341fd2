//! The runtime behind calls that wait.

use tokio::runtime::{Builder, Handle, Runtime};

use super::wait::wait;
use crate::error::Error;

/// A thread that drives what calls need of timers and sockets. Media has threads of its own.
#[derive(Debug)]
pub(super) struct Own(Option<Runtime>);

impl Own {
    pub(super) fn start() -> Result<Self, Error> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("msm-calls").enable_all().build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(|error| Error::socket("thread for calls", error))
    }

    /// Runs a call there, and waits for it here.
    pub(super) fn run<T, F>(&self, call: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let call = self.0.as_ref().ok_or(Error::Stopped)?.spawn(call);
        wait(call, None).and_then(Result::ok).ok_or(Error::Stopped)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let Some(runtime) = self.0.take() else { return };
        // A thread of a runtime must not wait for the end of another one.
        if Handle::try_current().is_ok() {
            runtime.shutdown_background();
        }
    }
}

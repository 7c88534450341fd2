//! The mesh as `run` sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use msm::Mesh;
use msm::config::Config;

use crate::admin::{Later, Source};
use crate::run::Member;

/// A mesh that serves.
pub struct Serving {
    mesh: Mesh,
    ready: Arc<AtomicBool>,
    drain: std::time::Duration,
}

struct View {
    mesh: Mesh,
    ready: Arc<AtomicBool>,
}

/// Starts the workers and binds the listeners.
///
/// # Errors
/// A port that cannot be had, named with its key.
pub async fn start(config: Config) -> Result<Serving, msm::Error> {
    let drain = config.drain_timeout;
    let mesh = Mesh::builder().config(config).build().await?;
    let serving = mesh.serve().await?;
    for address in serving.addresses() {
        tracing::info!(%address, "serving rtsp");
    }
    Ok(Serving { mesh, ready: Arc::new(AtomicBool::new(true)), drain })
}

impl Member for Serving {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(View { mesh: self.mesh.clone(), ready: Arc::clone(&self.ready) })
    }

    async fn drain(self) {
        self.ready.store(false, Ordering::Release);
        // Leaves the deadline's last part to those who have to be told.
        self.mesh.shutdown(self.drain.mul_f32(0.8)).await;
    }
}

impl Source for View {
    fn metrics(&self) -> Later<'_, String> {
        Box::pin(self.mesh.metrics_text())
    }

    fn status(&self) -> Later<'_, serde_json::Value> {
        Box::pin(async { serde_json::to_value(self.mesh.status().await).unwrap_or_default() })
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

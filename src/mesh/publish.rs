//! Streams that the application publishes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use msm_core::route::Action;
use msm_rtsp::sdp::Description;
use tokio::sync::mpsc;

use super::{Mesh, parse};
use crate::api::options::Options;
use crate::api::publisher::{self, Publisher};
use crate::error::Error;
use crate::events::EndCause;
use crate::hub::handle::{HubHandle, HubParts};
use crate::hub::home::Home;
use crate::metrics::HopKind;
use crate::mirror::{Mirrored, Original, What};
use crate::routing::Ask;
use crate::serve::succession;
use crate::upstream::push;

impl Mesh {
    /// Publishes a stream with the given description: into this process where the route is local, otherwise to an
    /// endpoint, which has agreed to record it when this returns. Cancelled, it ends the stream.
    ///
    /// # Errors
    /// The URL, the description, the route, or the upstream.
    pub async fn publish(&self, url: &str, sdp: &str) -> Result<Publisher, Error> {
        self.publish_with(url, sdp, &Options::default()).await
    }

    /// [`Self::publish`], with what is asked beside the URL.
    ///
    /// # Errors
    /// As of [`Self::publish`].
    pub async fn publish_with(&self, url: &str, sdp: &str, options: &Options) -> Result<Publisher, Error> {
        let url = parse(url)?;
        let protection = options.route();
        let description = Description::parse(sdp.as_bytes(), &self.shared.settings().rtsp)
            .map_err(|error| Error::BadDescription(error.to_string()))?;
        let (queue, packets) = mpsc::channel(publisher::QUEUE_BURSTS);
        let shared = Arc::clone(&self.shared);
        let via = vec![format!("RTSP/1.0 {}", shared.pseudonym)];
        let handle = self
            .shared
            .worker(self.pick()?)?
            .run(move |worker| async move {
                let ask = Ask::own(Action::Publish, &worker.shared.pseudonym);
                let mut resolved = worker.shared.routing().resolve(&url, &ask)?;
                if let Some(protection) = protection {
                    resolved.protection = protection;
                }
                let description = Arc::new(description);
                let quota = worker.shared.streams.take()?;
                let handle = HubHandle::new(HubParts {
                    id: worker.shared.registry.next_id(),
                    worker: worker.id,
                    name: url.to_string(),
                    description: Arc::clone(&description),
                    unshared: false,
                    coalesce: resolved.coalesce,
                    metrics: worker.shared.metrics.route(&resolved.route, resolved.cluster_name()),
                    comes: HopKind::Plain,
                    control: None,
                    events: Arc::clone(&worker.shared.events),
                });
                let key = resolved.publish_key();
                let publish = resolved.publish_plan();
                let registry = &worker.shared.registry;
                let entrance = registry.publish(&key, Arc::clone(&handle), publish.priority).await?;
                let home = Home::start(&worker, Arc::clone(&handle), worker.shared.seed(), Instant::now());
                if resolved.is_upstream()
                    && let Err(error) =
                        push::start(&worker, &home, &resolved, &description, via.clone()).await
                {
                    handle.set_ended(EndCause::Upstream(error.to_string()));
                    worker.shared.registry.forget(&key, handle.id);
                    home.end(Instant::now());
                    return Err(error);
                }
                worker.shared.metrics.streams.inc();
                succession::entered(&worker, &handle, entrance);
                let what = What::Published { home: Rc::clone(&home), description };
                let mirror = Mirrored::start(&worker, Original { what, resolved, via });
                let own = publisher::Own { home, key, publish, mirror };
                tokio::task::spawn_local(publisher::pump(Rc::clone(&worker), own, packets, quota));
                Ok(handle)
            })
            .await??;
        Ok(Publisher::new(shared, handle, queue, self.alive.clone()))
    }
}

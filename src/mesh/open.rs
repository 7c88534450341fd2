//! Streams that the application reads.

use std::sync::Arc;
use std::time::Instant;

use msm_core::hub::{ReaderSetup, ReaderTrack};
use msm_core::rng::Rng;
use msm_core::route::Action;
use tokio::sync::mpsc;

use super::{Mesh, parse};
use crate::api::options::Options;
use crate::api::reader::{self, Reader, Seat};
use crate::error::Error;
use crate::hub::dest::Dest;
use crate::hub::handle::PlayRequest;
use crate::routing::Ask;
use crate::serve::requests::open_with;
use crate::upstream::pull;

impl Mesh {
    /// Opens a stream for reading: routed, and shared with other readers of it where it is live. Returns when it plays. Cancelled, it
    /// leaves the stream.
    ///
    /// # Errors
    /// The URL, the route, or the upstream.
    pub async fn open(&self, url: &str) -> Result<Reader, Error> {
        self.open_with(url, &Options::default()).await
    }

    /// [`Self::open`], with what is asked beside the URL.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub async fn open_with(&self, url: &str, options: &Options) -> Result<Reader, Error> {
        let url = parse(url)?;
        let protection = options.route();
        let (queue, packets) = mpsc::channel(reader::QUEUE_BURSTS);
        let shared = Arc::clone(&self.shared);
        let place = self.pick()?;
        let via = vec![format!("RTSP/1.0 {}", shared.pseudonym)];
        let (handle, lease) = self
            .shared
            .worker(place)?
            .run(move |worker| async move {
                let ask = Ask::own(Action::Read, &worker.shared.pseudonym);
                let (resolved, handle) = open_with(&worker, &url, via.clone(), &ask, protection).await?;
                let handle = if handle.unshared && !handle.claim() {
                    let own = pull::open(&worker, &resolved, None, via).await?;
                    own.claim();
                    own
                } else {
                    handle
                };
                let lease = handle.lease();
                Ok::<_, Error>((handle, lease))
            })
            .await??;
        let place = handle.worker;
        let description = Arc::clone(&handle.description);
        let seat = shared
            .worker(place)?
            .run(move |worker| async move {
                // The upstream is set up first: only then the stream has a home that readers can be added to.
                handle.prepare().await?;
                let quota = worker.shared.readers.take()?;
                let shard = worker.shard(&handle).await?;
                let mut rng = Rng::new(worker.shared.seed());
                let tracks = (0..handle.tracks().len())
                    .map(|track| ReaderTrack {
                        track,
                        dest: Dest::App { queue: queue.clone() },
                        ssrc: rng.next_u32(),
                        payload_types: Vec::new(),
                    })
                    .collect();
                drop(queue);
                let setup = ReaderSetup { seed: rng.next_u64(), tracks, late_join: !handle.unshared };
                let now = Instant::now();
                let id = shard.add_reader(now, setup, Box::new(|_| {})).map_err(Error::from)?;
                // Leaves by itself if something below fails, or the caller waits no longer.
                let seat = Seat::new(&worker, lease, id, quota);
                shard.play(now, id).map_err(Error::from)?;
                handle.play(PlayRequest::default()).await?;
                Ok::<_, Error>(seat)
            })
            .await??;
        Ok(Reader::new(description, seat, packets, self.alive.clone()))
    }
}

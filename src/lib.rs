//! Media Streaming Mesh: routing, fan-out and metrics for real-time media, as a library.
//!
//! A [`Mesh`] reads, publishes and serves RTSP/RTP streams by URL. `msm-proxy` is this crate with a configuration file,
//! signals and an admin port: whatever it does, an application can do.
//!
//! * [`Mesh::open`] reads a stream: routed, and shared with every other reader of it in this process.
//! * [`Mesh::publish`] publishes one, into this process or to a server.
//! * [`Mesh::serve`] lets players, cameras and encoders in, over UDP, TCP and multicast.
//!
//! ```no_run
//! # async fn run(sdp: &str, rtp_packet: Vec<u8>) -> Result<(), msm::Error> {
//! let mesh = msm::Mesh::builder().config_file("msm.yaml")?.build().await?;
//! let serving = mesh.serve().await?;
//!
//! let mut reader = mesh.open("rtsp://cameras.studio/cam-7").await?;
//! while let Some(packet) = reader.next().await? {
//!     println!("track {} timestamp {} {} bytes", packet.track, packet.timestamp, packet.payload.len());
//! }
//! let publisher = mesh.publish("rtsp://ingest.studio/cam-8", sdp).await?;
//! publisher.send(0, rtp_packet)?;
//! # drop(serving);
//! # Ok(())
//! # }
//! ```
//!
//! Media runs on worker threads that the mesh owns, never on the application's runtime, which has to be tokio's; a program without one takes
//! `msm::blocking`.
//!
//! # Features
//!
//! * `blocking`: the same for programs without an async runtime, `msm::blocking`.
//! * `dns`: endpoints of clusters from DNS (`clusters.*.dns`).
//! * `schema`: the JSON Schema of the configuration, `config::schema`.
//! * `workload-api`: an identity from a SPIFFE Workload API, such as a SPIRE agent's.
//! * `typed`: packets as the crate `rtp` has them, `Packet::to_rtp`.
//!
//! None is on by default; `msm-proxy` has `dns`, `schema` and `workload-api`. Numbers are in `docs/metrics.md`, limits in `ARCHITECTURE.md`.

/// The code of the guide.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/src/rust.md")]
struct Guide;

#[cfg(feature = "blocking")]
pub mod blocking;
pub mod config;
pub mod upgrade;

mod alive;
mod api;
mod canary;
mod cluster;
mod error;
mod events;
mod hop;
mod hub;
mod identity;
mod mesh;
mod metrics;
mod mirror;
mod net;
mod quota;
mod reload;
mod routing;
mod serve;
mod settings;
mod shared;
mod srtp;
mod status;
mod upstream;
mod watched;
mod worker;

pub use api::burst::{Burst, IntoPackets};
pub use api::frames::{Frame, Frames};
pub use api::options::Options;
pub use api::packet::Packet;
pub use api::publisher::Publisher;
pub use api::reader::Reader;
pub use api::stats::{PublisherStats, ReaderStats};
pub use error::Error;
pub use events::{EndCause, Event, EventKind, Events};
pub use mesh::{Builder, Mesh, Serving};
pub use msm_rtsp::sdp::Description;
pub use reload::{Changes, ConfigurationStatus, Difference, RefusedStatus};
pub use status::{
    CanaryStatus, ClusterStatus, EndpointStatus, FlowPath, FlowProtection, HopStatus, ListenerStatus,
    PathStatus, Status, StreamStatus, TrackStatus,
};

//! The same for programs without an async runtime: every call waits on the thread that makes it.
//!
//! ```no_run
//! use std::time::Duration;
//! # fn run() -> Result<(), msm::Error> {
//! let mesh = msm::blocking::Mesh::start(msm::Mesh::builder().config_file("msm.yaml")?)?;
//! let reader = mesh.open("rtsp://cameras.studio/cam-7")?;
//! for packet in reader.packets() {
//!     println!("track {} timestamp {}", packet.track, packet.timestamp);
//! }
//! mesh.shutdown(Duration::from_secs(1));
//! # Ok(())
//! # }
//! ```
//!
//! Handles are those of this crate, to be used from any thread, by several at a time where a call takes `&self`. A call may be made within
//! an async runtime, too: it blocks that thread of it, as any call does that waits.

mod events;
mod mesh;
mod publisher;
mod reader;
mod runtime;
mod wait;

pub use self::events::Events;
pub use self::mesh::Mesh;
pub use self::publisher::Publisher;
pub use self::reader::{Packets, Reader};
pub use self::wait::wait;

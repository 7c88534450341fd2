//! What tests share: a mesh in this process, RTSP written by hand against it, and whoever else is there.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each crate of tests uses its part")]

pub mod backend;
pub mod chain;
pub mod dns;
pub mod endpoint;
pub mod front;
pub mod keyed;
pub mod log;
mod media;
pub mod member;
mod mesh;
pub mod pair;
pub mod relay;
mod rtsp;
pub mod server;
pub mod stage;
pub mod succession;
mod tcp;
pub mod tls;
mod udp;

pub use media::{Line, VIDEO, has_bye, keyframe, pair, rtp, wait_bye};
pub use mesh::{TestMesh, reader_port};
pub use rtsp::{Answer, Rtsp, Told};
pub use tcp::{TcpPublisher, TcpReader};
pub use udp::{Publisher, Reader};

//! The proxy between real peers: ffmpeg, GStreamer, live555 and VLC, each test in network namespaces of its own.
//!
//! ```text
//!  server namespace          proxy namespace            client namespace
//!  10.71.0.1  srv0 ───────── up0  10.71.0.2
//!                            down0 10.72.0.1 ────────── cli0  10.72.0.2
//! ```
//!
//! `scripts/install-peers.sh` installs the peers. A test whose peer is missing says `SKIPPED` on standard error and in the
//! file `$MSM_SKIP_FILE`; with `MSM_REQUIRE_PEERS=1` it fails instead. With `MSM_PEERS_DIRECT=1` the servers of the
//! matrix stand in the proxy's place: what fails then is a peer's own fault.
#![cfg(target_os = "linux")]
// Helpers of tests, whose way to report is to panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod announced;
mod crowd;
mod fallback;
mod faults;
mod fec;
mod fec_ours;
mod hop;
mod keyed;
mod lab;
mod lossy;
mod matrix;
mod media;
mod mending;
#[path = "../../../tests/common/dns.rs"]
mod names;
mod need;
mod paths;
mod process;
mod protection;
mod proxy;
mod publish;
mod readers;
mod red;
mod redirected;
mod rough;
mod rtsps;
mod rtx;
mod rtx_asked;
mod s_client;
mod servers;
mod sockets;
mod spire;
mod srtp;
#[path = "../../../tests/common/stalls.rs"]
mod stalls;
mod tshark;
mod upstreams;
mod vod;

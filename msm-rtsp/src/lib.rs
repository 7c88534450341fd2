//! RTSP 1.0 and 2.0 of Media Streaming Mesh: framing, messages, SDP, Transport negotiation, authentication, and the
//! client, server and proxy state machines, without I/O.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test begins its virtual time somewhere"))]

pub mod auth;
pub mod client;
pub mod error;
pub mod framing;
pub mod headers;
pub mod hop;
pub mod limits;
pub mod message;
pub mod profile;
pub mod proxy;
pub mod sdp;
pub mod server;
pub mod transport;
pub mod url;

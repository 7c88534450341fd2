//! What a peer may make us hold.

use std::time::Duration;

/// Limits of one RTSP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message's start line and headers. Default 16 KiB.
    pub header_bytes: usize,
    /// Headers of a message. Default 128.
    pub header_count: usize,
    /// Bytes of a request URI. Default 4 KiB, which is what ffmpeg can send.
    pub uri_bytes: usize,
    /// Bytes of a message's body. Default 128 KiB.
    pub body_bytes: usize,
    /// Media sections of a description. Default 32.
    pub media_sections: usize,
    /// From a message's first byte to its last. Default 10 s.
    pub message_timeout: Duration,
    /// Requests that wait for their answer on one connection; the next one is left in the caller's buffer. Default 16.
    pub pipelined_requests: usize,
    /// Redirects followed in a row. Default 5.
    pub redirects: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 16 * 1024,
            header_count: 128,
            uri_bytes: 4 * 1024,
            body_bytes: 128 * 1024,
            media_sections: 32,
            message_timeout: Duration::from_secs(10),
            pipelined_requests: 16,
            redirects: 5,
        }
    }
}

//! The hub's limits and times, each with its default.

use std::time::Duration;

/// Limits and times of [`Ingest`](super::Ingest).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestConfig {
    /// How long the locked source must be silent before another SSRC takes its place. Default 2 s.
    pub source_timeout: Duration,
    /// Least time between two keyframe requests to the publisher; requests between are merged. Default 500 ms.
    pub keyframe_interval: Duration,
    /// Mean time between receiver reports, randomised by RFC 3550 §6.2. Default 5 s.
    pub report_interval: Duration,
    /// CNAME of our own reports; empty makes one of the seed.
    pub cname: String,
    /// Ask with FIR (RFC 5104) instead of PLI (RFC 4585). Default false.
    pub use_fir: bool,
    /// Accept RTCP that does not begin with a report (`a=rtcp-rsize`, RFC 5506). Default true: cameras do it unasked.
    pub reduced_size_rtcp: bool,
}

impl Default for IngestConfig {
    fn default() -> Self {
        IngestConfig {
            source_timeout: Duration::from_secs(2),
            keyframe_interval: Duration::from_millis(500),
            report_interval: Duration::from_secs(5),
            cname: String::new(),
            use_fir: false,
            reduced_size_rtcp: true,
        }
    }
}

/// Limits and times of [`Fanout`](super::Fanout).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanoutConfig {
    /// The most readers. Default 16,384.
    pub max_readers: usize,
    /// The most bytes of all tracks' keyframe caches together, bookkeeping included. Default 8 MiB.
    pub cache_bytes: usize,
    /// How many times the stream's own rate a late reader gets. Default 4.
    pub catch_up_factor: u32,
    /// The least rate of a late reader, in bits a second. Default 20 Mbit/s.
    pub catch_up_min_bitrate: u64,
    /// The most packets of one slice of a late reader. Default 16.
    pub catch_up_slice: usize,
    /// How long a reader's queue may be full until [`FanoutEvent::ReaderStalled`](super::FanoutEvent). Default 10 s.
    pub stall: Duration,
    /// How long a reader waits for a keyframe until it gets live packets all the same. Default 10 s.
    pub keyframe_wait: Duration,
    /// Time after which a keyframe is asked for again while readers wait for it. Default 1 s.
    pub keyframe_retry: Duration,
    /// Mean time between sender reports to a reader, randomised by RFC 3550 §6.2. Default 5 s.
    pub report_interval: Duration,
    /// The longest time for which packets are kept to be sent again, whatever readers are
    /// [promised](super::Fanout::set_history). Default 2 s.
    pub history: Duration,
    /// The most bytes of one track that are kept for that, bookkeeping included and beside the keyframe cache. Default 2 MiB.
    pub history_bytes: usize,
    /// Answers to a reader's requests, in bytes as a percentage of what it was sent. With [`again_burst`](Self::again_burst)
    /// it is the most that a reader, or whoever pretends to be it, can have sent beside the media. Default 50.
    pub again_percent: u32,
    /// Bytes of answers that may go out at once after a time without any. Default 256 KiB.
    pub again_burst: u64,
    /// The round trip to a reader while none was measured: a packet is sent again once in three quarters of it. Default 20 ms.
    pub again_rtt: Duration,
    /// CNAME of sender reports until the publisher's is known; empty makes one of the reader's seed.
    pub cname: String,
}

impl Default for FanoutConfig {
    fn default() -> Self {
        FanoutConfig {
            max_readers: 16_384,
            cache_bytes: 8 * 1024 * 1024,
            catch_up_factor: 4,
            catch_up_min_bitrate: 20_000_000,
            catch_up_slice: 16,
            stall: Duration::from_secs(10),
            keyframe_wait: Duration::from_secs(10),
            keyframe_retry: Duration::from_secs(1),
            report_interval: Duration::from_secs(5),
            history: Duration::from_secs(2),
            history_bytes: 2 * 1024 * 1024,
            again_percent: 50,
            again_burst: 256 * 1024,
            again_rtt: Duration::from_millis(20),
            cname: String::new(),
        }
    }
}

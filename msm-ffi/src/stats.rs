//! Figures.

use msm::{PublisherStats, ReaderStats, StreamStatus};

/// What a reader has had.
#[repr(C)]
#[derive(Debug, Default)]
pub struct msm_reader_statistics {
    /// RTP packets that came, those among them that wait to be taken.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// RTP packets that were lost to this reader as it took too slowly what came.
    pub dropped: u64,
    /// RTP packets of the stream that came into this process.
    pub stream_packets: u64,
    /// RTP packets of the stream that were lost before they came.
    pub stream_lost: u64,
    /// Zero; for what a newer library counts.
    pub reserved: [u64; 11],
}

/// What a publisher has sent.
#[repr(C)]
#[derive(Debug, Default)]
pub struct msm_publisher_statistics {
    /// RTP packets of the stream that the mesh has taken.
    pub packets: u64,
    /// RTP packets that were missing in what it was sent.
    pub lost: u64,
    /// RTCP packets that there was no room for.
    pub dropped: u64,
    /// Readers in this process that hold the stream now.
    pub readers: u64,
    /// Zero; for what a newer library counts.
    pub reserved: [u64; 12],
}

fn packets(stream: &StreamStatus) -> u64 {
    stream.tracks.iter().map(|track| track.packets).sum()
}

fn lost(stream: &StreamStatus) -> u64 {
    stream.tracks.iter().map(|track| track.lost).sum()
}

impl From<ReaderStats> for msm_reader_statistics {
    fn from(stats: ReaderStats) -> Self {
        Self {
            packets: stats.packets,
            bytes: stats.bytes,
            dropped: stats.dropped,
            stream_packets: packets(&stats.stream),
            stream_lost: lost(&stats.stream),
            ..Self::default()
        }
    }
}

impl From<PublisherStats> for msm_publisher_statistics {
    fn from(stats: PublisherStats) -> Self {
        Self {
            packets: packets(&stats.stream),
            lost: lost(&stats.stream),
            dropped: stats.dropped,
            readers: stats.stream.readers as u64,
            ..Self::default()
        }
    }
}

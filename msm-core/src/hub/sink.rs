//! Where a fan-out's packets go.

/// Whether bytes are RTP or RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RTP packets.
    Rtp,
    /// One RTCP datagram.
    Rtcp,
    /// One RTP packet that was sent before, in the same numbers: the reader asked for it (RFC 4585 §6.2.1). A sink that
    /// knows how the reader takes such packets may send it in another form (RFC 4588).
    Again,
}

/// Packets for one reader: what one GSO send, or one write of interleaved frames, carries.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// The stream's track.
    pub track: usize,
    /// RTP or RTCP.
    pub kind: Kind,
    /// The packets, one right after the other: at most [`MAX_RUN_BYTES`](crate::burst::MAX_RUN_BYTES) unless it is a
    /// single packet, and at most [`MAX_SEGMENTS`](crate::burst::MAX_SEGMENTS) packets. Borrowed for the call; the sink
    /// may use the bytes as it likes as long as it leaves all but the first 12 of each packet as they are.
    pub bytes: &'a mut [u8],
    /// The length of each packet but the last, which may be shorter. Never 0.
    pub segment: usize,
    /// The ECN field that the packets came with.
    pub ecn: u8,
    /// Where the hub keeps the first of the packets, if it keeps all of them: the others follow it. For
    /// [`Fanout::packet`](super::Fanout::packet), as long as they are kept.
    pub position: Option<u64>,
    /// The reader's line, if the sink may put the packets off until it is [flushed](Sink::flush), which follows before
    /// anything else happens. `None`: they are to be sent now.
    pub put_off: Option<usize>,
}

/// Packets that were put off and could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSent {
    /// The line of [`Outgoing::put_off`].
    pub line: usize,
    /// Packets, as they were given to the sink.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What became of packets that were given to a [`Sink`]: all of them have the same fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendOutcome {
    /// They are on their way, or wait for [`Sink::flush`].
    Sent,
    /// The destination's bounded queue (socket buffer, connection, channel) has no room. Counted as `reader_queue`.
    Full,
    /// They cannot be sent; the sink has counted why.
    Failed,
}

/// Sends packets to the destination `D` of one track of one reader. A callback, not I/O: the runtime implements it.
pub trait Sink<D> {
    /// Sends `packets` to `dest`, or says why not. Must not block.
    fn send(&mut self, dest: &mut D, packets: Outgoing<'_>) -> SendOutcome;

    /// Sends what was put off since the last call, and tells what of it could not be sent.
    fn flush(&mut self, failed: &mut dyn FnMut(NotSent)) {
        let _ = failed;
    }
}

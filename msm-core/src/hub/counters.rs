//! Counters with stable names: each field's name is its metric label.

macro_rules! counters {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: u64,)*
        }

        impl $name {
            /// Every counter with its name, in declaration order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }
        }
    };
}

counters! {
    /// What an [`Ingest`](super::Ingest) counted since it was made. All but `keyframe_requests*` are drops.
    IngestCounters {
        /// Packets that are not RTP: see [`RtpError`](crate::rtp::RtpError).
        malformed,
        /// Packets for a track that the stream does not have.
        unknown_track,
        /// Packets with a payload type that the track does not have.
        unknown_payload_type,
        /// Packets of another source than the one the track is locked on.
        foreign_ssrc,
        /// Packets that were received before.
        duplicate,
        /// Packets so far from the source's sequence that they are not part of it yet (RFC 3550 App. A.1).
        bad_sequence,
        /// RTCP datagrams that do not parse.
        rtcp_malformed,
        /// RTCP packets of another source than the locked one.
        rtcp_foreign_ssrc,
        /// RTCP packets that end here because they cannot be mapped (APP, XR, unknown types).
        rtcp_unmapped,
        /// Keyframe requests sent to the publisher.
        keyframe_requests,
        /// Keyframe requests that were merged into another one.
        keyframe_requests_merged,
        /// Source changes.
        source_changes,
    }
}

counters! {
    /// What a [`Fanout`](super::Fanout) counted since it was made, of readers that are gone too.
    FanoutCounters {
        /// RTP packets sent.
        packets,
        /// Bytes of RTP packets sent.
        bytes,
        /// RTP packets dropped because the reader's queue was full, or the reader waits for a keyframe after that.
        reader_queue,
        /// RTP packets that the sink could not send.
        send_failed,
        /// RTP packets that were not sent to a reader that waits for its first keyframe.
        awaiting_keyframe,
        /// Caches dropped until the next keyframe because a GOP did not fit.
        cache_overflow,
        /// Late readers that were moved to a newer keyframe because they did not catch up within the cache.
        catch_up_overflow,
        /// Readers that got live packets because no keyframe came in time.
        keyframe_timeout,
        /// Packets or reports for a track that the stream does not have.
        unknown_track,
        /// RTCP datagrams sent.
        rtcp_sent,
        /// RTCP datagrams that could not be sent.
        rtcp_failed,
        /// RTCP datagrams from readers that do not parse.
        rtcp_malformed,
        /// RTCP packets from readers that end here because they cannot be mapped (APP, XR, unknown types).
        rtcp_unmapped,
        /// Packets that readers asked for again.
        nacked,
        /// Of them, those that were sent again.
        retransmitted,
        /// Their bytes.
        retransmitted_bytes,
        /// Of them, those that were never sent to the reader, or are not kept any more.
        nack_unknown,
        /// Of them, those that had been sent again a moment ago.
        nack_suppressed,
        /// Of them, those that would have been too many.
        nack_throttled,
        /// Requests for another source than the reader gets.
        nack_foreign,
        /// Keyframe requests from readers.
        keyframe_requests,
    }
}

counters! {
    /// What one track of one reader got.
    ReaderCounters {
        /// RTP packets sent.
        packets,
        /// Bytes of RTP packets sent.
        bytes,
        /// RTP packets dropped because the reader's queue was full, or waiting for a keyframe after that.
        reader_queue,
        /// RTP packets that the sink could not send.
        send_failed,
    }
}

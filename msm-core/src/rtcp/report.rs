//! Sender and receiver reports (RFC 3550 §6.4).

use std::iter::FusedIterator;

use super::RtcpError;
use super::raw::{HEADER_LEN, Raw, u32_of};
use crate::ntp::NtpTime;

/// Length of a report block in bytes.
pub(super) const BLOCK_LEN: usize = 24;

/// One receiver's report on one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReportBlock {
    /// The source that the report is about.
    pub ssrc: u32,
    /// Share of packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; negative if there were more duplicates. 24 bits on the wire.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the count of cycles in the upper 16 bits.
    pub extended_highest_sequence: u32,
    /// Interarrival jitter in ticks of the source's clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report; 0 if there was none.
    pub last_sr: u32,
    /// Time since that sender report arrived, in 1/65536 seconds; 0 if there was none.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    /// The block in its wire form.
    #[must_use]
    pub const fn from_bytes(bytes: &[u8; BLOCK_LEN]) -> Self {
        #[rustfmt::skip]
        let [
            s0, s1, s2, s3, fraction_lost, l0, l1, l2, h0, h1, h2, h3,
            j0, j1, j2, j3, r0, r1, r2, r3, d0, d1, d2, d3,
        ] = *bytes;
        Self {
            ssrc: u32_of([s0, s1, s2, s3]),
            fraction_lost,
            // Put into the upper 24 bits, shifted down with the sign.
            cumulative_lost: i32::from_be_bytes([l0, l1, l2, 0]) >> 8,
            extended_highest_sequence: u32_of([h0, h1, h2, h3]),
            jitter: u32_of([j0, j1, j2, j3]),
            last_sr: u32_of([r0, r1, r2, r3]),
            delay_since_last_sr: u32_of([d0, d1, d2, d3]),
        }
    }

    /// The wire form. `cumulative_lost` is clamped to its 24 bits.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; BLOCK_LEN] {
        let [s0, s1, s2, s3] = self.ssrc.to_be_bytes();
        let [_, l0, l1, l2] = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
        let [h0, h1, h2, h3] = self.extended_highest_sequence.to_be_bytes();
        let [j0, j1, j2, j3] = self.jitter.to_be_bytes();
        let [r0, r1, r2, r3] = self.last_sr.to_be_bytes();
        let [d0, d1, d2, d3] = self.delay_since_last_sr.to_be_bytes();
        #[rustfmt::skip]
        let bytes = [
            s0, s1, s2, s3, self.fraction_lost, l0, l1, l2, h0, h1, h2, h3,
            j0, j1, j2, j3, r0, r1, r2, r3, d0, d1, d2, d3,
        ];
        bytes
    }
}

/// Iterator over the report blocks of a report, at most 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlocks<'a> {
    blocks: &'a [[u8; BLOCK_LEN]],
}

impl<'a> ReportBlocks<'a> {
    /// Takes `raw.count` blocks from the start of `bytes`; returns them and what follows.
    fn split(raw: &Raw<'a>, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RtcpError> {
        let len = BLOCK_LEN * usize::from(raw.count);
        let (blocks, behind) = bytes.split_at_checked(len).ok_or_else(|| {
            let before = raw.bytes.len() - bytes.len();
            raw.truncated(before + len)
        })?;
        Ok((Self { blocks: blocks.as_chunks().0 }, behind))
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (first, rest) = self.blocks.split_first()?;
        self.blocks = rest;
        Some(ReportBlock::from_bytes(first))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.blocks.len(), Some(self.blocks.len()))
    }
}

impl ExactSizeIterator for ReportBlocks<'_> {}
impl FusedIterator for ReportBlocks<'_> {}

/// What a sender says of itself in a sender report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SenderInfo {
    /// The sender.
    pub ssrc: u32,
    /// Wall-clock time of the report.
    pub ntp: NtpTime,
    /// The same instant in ticks of the media clock.
    pub rtp_timestamp: u32,
    /// Packets sent since the beginning, modulo 2^32.
    pub packet_count: u32,
    /// Payload bytes sent since the beginning, without headers and padding, modulo 2^32.
    pub octet_count: u32,
}

impl SenderInfo {
    /// Length in bytes, the SSRC included.
    pub(super) const LEN: usize = 24;

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let [s0, s1, s2, s3] = self.ssrc.to_be_bytes();
        let [n0, n1, n2, n3, n4, n5, n6, n7] = self.ntp.to_bits().to_be_bytes();
        let [t0, t1, t2, t3] = self.rtp_timestamp.to_be_bytes();
        let [p0, p1, p2, p3] = self.packet_count.to_be_bytes();
        let [o0, o1, o2, o3] = self.octet_count.to_be_bytes();
        [
            s0, s1, s2, s3, n0, n1, n2, n3, n4, n5, n6, n7, //
            t0, t1, t2, t3, p0, p1, p2, p3, o0, o1, o2, o3,
        ]
    }

    const fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        #[rustfmt::skip]
        let [
            s0, s1, s2, s3, n0, n1, n2, n3, n4, n5, n6, n7,
            t0, t1, t2, t3, p0, p1, p2, p3, o0, o1, o2, o3,
        ] = *bytes;
        Self {
            ssrc: u32_of([s0, s1, s2, s3]),
            ntp: NtpTime::from_bits(u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7])),
            rtp_timestamp: u32_of([t0, t1, t2, t3]),
            packet_count: u32_of([p0, p1, p2, p3]),
            octet_count: u32_of([o0, o1, o2, o3]),
        }
    }
}

/// A sender report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport<'a> {
    /// What the sender says of itself.
    pub info: SenderInfo,
    /// What it says of the sources that it receives.
    pub blocks: ReportBlocks<'a>,
    /// Profile-specific bytes behind the blocks.
    pub extension: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(raw: &Raw<'a>) -> Result<Self, RtcpError> {
        let least = HEADER_LEN + SenderInfo::LEN + BLOCK_LEN * usize::from(raw.count);
        let (info, rest) = raw.split_body::<{ SenderInfo::LEN }>().map_err(|_| raw.truncated(least))?;
        let (blocks, extension) = ReportBlocks::split(raw, rest)?;
        Ok(Self { info: SenderInfo::from_bytes(info), blocks, extension })
    }
}

/// A receiver report (RFC 3550 §6.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub ssrc: u32,
    /// What it says of the sources that it receives.
    pub blocks: ReportBlocks<'a>,
    /// Profile-specific bytes behind the blocks.
    pub extension: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(raw: &Raw<'a>) -> Result<Self, RtcpError> {
        let (ssrc, rest) = raw.split_body::<4>()?;
        let (blocks, extension) = ReportBlocks::split(raw, rest)?;
        Ok(Self { ssrc: u32_of(*ssrc), blocks, extension })
    }
}

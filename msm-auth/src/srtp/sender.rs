//! Protecting what is sent.

use super::epochs::Epochs;
use super::index::{INDEX_END, Window};
use super::layout::{RTCP_HEADER, RTCP_INDEX, rtp_header, rtp_numbers, word};
use super::{MAX_MKI, MasterKey, SrtpError, Suite};

/// The highest SRTCP index (`RFC 3711 §3.4`).
const RTCP_INDEX_END: u32 = 1 << 31;

/// What a [`Sender`] is made with.
#[derive(Debug, Clone, Copy)]
pub struct SenderOptions {
    /// Bytes of the MKI, at most [`MAX_MKI`]; 0 for none. Default 0.
    pub mki_len: usize,
    /// Sources whose packets are protected. Default 64.
    pub max_ssrcs: usize,
    /// How far behind the newest a packet may come, and still be protected. Default 1024 packets.
    pub window: u64,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self { mki_len: 0, max_ssrcs: 64, window: 1024 }
    }
}

/// Protects the packets that one side of a session sends: RTP and RTCP, of a bounded number of sources.
///
/// No packet index is ever used twice under a key, whatever the caller does: a second packet with one number, or a source
/// that begins its numbers anew, is refused, under a later key as well: receivers go on counting, too
/// (`RFC 3711 §3.3.1`). Such a source takes another SSRC, or a new sender with a new key.
#[derive(Debug)]
pub struct Sender {
    epochs: Epochs,
    current: Option<[u8; MAX_MKI]>,
    streams: Streams,
    options: SenderOptions,
}

/// Most senders have one source: the others take memory of their own.
#[derive(Debug, Default)]
struct Streams {
    first: Option<Stream>,
    others: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    rtp: Window,
    rtcp: u32,
}

impl Sender {
    /// A sender without a key.
    pub fn new(options: SenderOptions) -> Self {
        Self { epochs: Epochs::new(options.mki_len), current: None, streams: Streams::default(), options }
    }

    /// Adds the key of an epoch. It is not used before [`switch`](Self::switch).
    ///
    /// # Errors
    /// [`SrtpError::KeyMismatch`] for another suite or another length of MKI than before.
    pub fn install(&mut self, key: &MasterKey, mki: &[u8]) -> Result<(), SrtpError> {
        self.epochs.install(key, mki)
    }

    /// Protects with the key of this MKI from now on. Sequence numbers go on (`RFC 3711 §3.3.1`).
    ///
    /// # Errors
    /// [`SrtpError::UnknownMki`].
    pub fn switch(&mut self, mki: &[u8]) -> Result<(), SrtpError> {
        self.current = Some(self.epochs.get(mki).ok_or(SrtpError::UnknownMki)?.mki);
        Ok(())
    }

    /// The suite of the installed keys.
    pub fn suite(&self) -> Option<Suite> {
        self.epochs.suite()
    }

    /// How much longer an RTP packet becomes; 0 without a key.
    pub fn rtp_overhead(&self) -> usize {
        self.suite().map_or(0, |suite| suite.rtp_tag_len() + self.epochs.mki_len())
    }

    /// How much longer an RTCP packet becomes; 0 without a key.
    pub fn rtcp_overhead(&self) -> usize {
        self.suite().map_or(0, |suite| suite.rtcp_tag_len() + RTCP_INDEX + self.epochs.mki_len())
    }

    /// Protects the RTP packet in the first `len` bytes of `buffer`, which has room for
    /// [`rtp_overhead`](Self::rtp_overhead) bytes behind it. Returns the length of the protected packet.
    ///
    /// # Errors
    /// [`SrtpError::IndexUsed`] for a number that was used or is behind the window, [`SrtpError::KeyExhausted`],
    /// [`SrtpError::NoKey`], [`SrtpError::NoRoom`], [`SrtpError::TooManySsrcs`], or what is wrong with the packet.
    #[inline]
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let packet = buffer.get(..len).ok_or(SrtpError::TooShort)?;
        let header_len = rtp_header(packet)?;
        let (sequence, ssrc) = rtp_numbers(packet)?;
        let mki_len = self.epochs.mki_len();
        let mki = self.current.ok_or(SrtpError::NoKey)?;
        let mki = mki.get(..mki_len).unwrap_or_default();
        let epoch = self.epochs.get(mki).ok_or(SrtpError::NoKey)?;
        let end = len + epoch.keys.suite().rtp_tag_len() + mki_len;
        let out = buffer.get_mut(..end).ok_or(SrtpError::NoRoom)?;
        let stream = self.streams.get_or_make(ssrc, &self.options)?;
        let index = stream.rtp.estimate(sequence, 0);
        if index >= INDEX_END {
            return Err(SrtpError::KeyExhausted);
        }
        stream.rtp.check(index).map_err(|_| SrtpError::IndexUsed)?;
        let (header, rest) = out.split_at_mut_checked(header_len).ok_or(SrtpError::TooShort)?;
        // Entered first: a number is used even if something fails behind it.
        stream.rtp.enter(index);
        epoch.keys.seal_rtp(ssrc, index, header, rest, len - header_len, mki)?;
        Ok(end)
    }

    /// Protects the RTCP compound in the first `len` bytes of `buffer`, which has room for
    /// [`rtcp_overhead`](Self::rtcp_overhead) bytes behind it. Returns the length of the protected packet.
    ///
    /// # Errors
    /// As for [`protect_rtp`](Self::protect_rtp); [`SrtpError::KeyExhausted`] after 2^31 packets.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let packet = buffer.get(..len).ok_or(SrtpError::TooShort)?;
        if len < RTCP_HEADER {
            return Err(SrtpError::TooShort);
        }
        if packet.first().is_none_or(|first| first >> 6 != 2) {
            return Err(SrtpError::NotRtp);
        }
        let ssrc = word(packet, 4)?;
        let mki_len = self.epochs.mki_len();
        let mki = self.current.ok_or(SrtpError::NoKey)?;
        let mki = mki.get(..mki_len).unwrap_or_default();
        let epoch = self.epochs.get(mki).ok_or(SrtpError::NoKey)?;
        let end = len + epoch.keys.suite().rtcp_tag_len() + RTCP_INDEX + mki_len;
        let out = buffer.get_mut(..end).ok_or(SrtpError::NoRoom)?;
        let stream = self.streams.get_or_make(ssrc, &self.options)?;
        let index = stream.rtcp;
        if index >= RTCP_INDEX_END {
            return Err(SrtpError::KeyExhausted);
        }
        stream.rtcp += 1;
        epoch.keys.seal_rtcp(ssrc, index, out, len, mki)?;
        Ok(end)
    }

    /// Goes to an index without the packets before it.
    #[cfg(test)]
    pub(super) fn set_highest(&mut self, ssrc: u32, index: u64) {
        self.streams.get_or_make(ssrc, &self.options).unwrap().rtp.set_highest(index);
    }

    /// The index after the highest one that was used of a source; `None` before its first packet.
    pub fn next_index(&self, ssrc: u32) -> Option<u64> {
        let stream = self.streams.get(ssrc)?;
        stream.rtp.highest().map(|highest| highest + 1)
    }

    /// The rollover counter of a source, for a keying protocol that tells it to late receivers.
    pub fn roc(&self, ssrc: u32) -> Option<u32> {
        let stream = self.streams.get(ssrc)?;
        stream.rtp.highest().map(|highest| (highest >> 16) as u32)
    }
}

impl Streams {
    fn get(&self, ssrc: u32) -> Option<&Stream> {
        self.first.iter().chain(&self.others).find(|stream| stream.ssrc == ssrc)
    }

    /// The state of a source, made when it is new.
    #[inline]
    fn get_or_make(&mut self, ssrc: u32, options: &SenderOptions) -> Result<&mut Stream, SrtpError> {
        let make = || Stream { ssrc, rtp: Window::new(options.window), rtcp: 0 };
        let Self { first, others } = self;
        let first = match first {
            None if options.max_ssrcs == 0 => return Err(SrtpError::TooManySsrcs),
            first => first.get_or_insert_with(make),
        };
        if first.ssrc == ssrc {
            return Ok(first);
        }
        let place = match others.iter().position(|stream| stream.ssrc == ssrc) {
            Some(place) => place,
            None if others.len() + 1 < options.max_ssrcs => {
                others.push(make());
                others.len() - 1
            }
            None => return Err(SrtpError::TooManySsrcs),
        };
        others.get_mut(place).ok_or(SrtpError::TooManySsrcs)
    }
}

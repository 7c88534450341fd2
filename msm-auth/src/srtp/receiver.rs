//! Opening what was received.

use super::cipher::ENCRYPTED;
use super::epochs::Epochs;
use super::index::{INDEX_END, Window};
use super::layout::{RTCP_HEADER, RTCP_INDEX, rtp_header, rtp_numbers, word};
use super::{MasterKey, SrtpError, Suite};

/// What a [`Receiver`] is made with.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverOptions {
    /// Bytes of the MKI, at most [`MAX_MKI`](super::MAX_MKI); 0 for none. Default 0.
    pub mki_len: usize,
    /// Sources that state is kept of. Default 64.
    pub max_ssrcs: usize,
    /// How far behind the newest a packet may come. Default 1024 packets; for several paths, packet rate times the skew
    /// between them.
    pub window: u64,
    /// Takes SRTCP that is authenticated and not encrypted, of the suites with HMAC-SHA1. Default false.
    pub allow_unencrypted_rtcp: bool,
}

impl Default for ReceiverOptions {
    fn default() -> Self {
        Self { mki_len: 0, max_ssrcs: 64, window: 1024, allow_unencrypted_rtcp: false }
    }
}

/// A packet that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Length of the plain packet, at the beginning of the buffer.
    pub len: usize,
    /// Its index: rollovers and sequence number of RTP (48 bits), or the index of SRTCP (31 bits).
    pub index: u64,
}

/// Opens the packets that the other side of a session sent.
///
/// Nothing that does not authenticate changes any state, and costs one attempt to open it at most: a replayed packet, an
/// unknown MKI or a packet too short costs less.
#[derive(Debug)]
pub struct Receiver {
    epochs: Epochs,
    streams: Vec<Stream>,
    options: ReceiverOptions,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    /// Rollovers before the first packet that comes.
    roc: u32,
    rtp: Window,
    rtcp: Window,
}

impl Receiver {
    /// A receiver without a key.
    pub fn new(options: ReceiverOptions) -> Self {
        Self { epochs: Epochs::new(options.mki_len), streams: Vec::new(), options }
    }

    /// Opens packets with this MKI from now on, too.
    ///
    /// # Errors
    /// [`SrtpError::KeyMismatch`] for another suite or another length of MKI than before.
    pub fn install(&mut self, key: &MasterKey, mki: &[u8]) -> Result<(), SrtpError> {
        self.epochs.install(key, mki)
    }

    /// Forgets the key of this MKI.
    pub fn retire(&mut self, mki: &[u8]) {
        self.epochs.retire(mki);
    }

    /// Remembers so many packets of sources that have not come yet: see [`ReceiverOptions::window`].
    pub fn set_window(&mut self, packets: u64) {
        self.options.window = packets;
    }

    /// Says how often a source's numbers have rolled over before its first packet comes (`RFC 3711 §3.3.1`).
    ///
    /// # Errors
    /// [`SrtpError::TooManySsrcs`].
    pub fn set_roc(&mut self, ssrc: u32, roc: u32) -> Result<(), SrtpError> {
        let place = self.place(ssrc)?;
        self.change(place, ssrc, |stream| stream.roc = roc);
        Ok(())
    }

    /// Says which index a source's next packet will have, as the sender tells it in a message that authenticated: it
    /// matters where more than some ten thousand packets before it did not come, and changes nothing elsewhere.
    ///
    /// # Errors
    /// [`SrtpError::TooManySsrcs`]; [`SrtpError::KeyExhausted`] for no index.
    pub fn advance(&mut self, ssrc: u32, next: u64) -> Result<(), SrtpError> {
        if next > INDEX_END {
            return Err(SrtpError::KeyExhausted);
        }
        let place = self.place(ssrc)?;
        self.change(place, ssrc, |stream| stream.rtp.advance(next));
        Ok(())
    }

    /// Opens an SRTP packet in place.
    ///
    /// # Errors
    /// [`SrtpError::Forged`], [`SrtpError::Replayed`], [`SrtpError::TooOld`], [`SrtpError::UnknownMki`],
    /// [`SrtpError::TooManySsrcs`], [`SrtpError::NoKey`], or what is wrong with the packet.
    #[inline]
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<Opened, SrtpError> {
        self.unprotect_rtp_ahead(packet, 0)
    }

    /// Opens an SRTP packet in place whose numbers have rolled over so many times more than what has come tells: for a
    /// source that was not heard for half a round or longer, or whose first packets were lost (`RFC 3711 §3.3.1`). What
    /// opens was sent with that index, so nothing comes in twice.
    ///
    /// # Errors
    /// As for [`unprotect_rtp`](Self::unprotect_rtp).
    pub fn unprotect_rtp_ahead(&mut self, packet: &mut [u8], rollovers: u32) -> Result<Opened, SrtpError> {
        let suite = self.epochs.suite().ok_or(SrtpError::NoKey)?;
        let tail = suite.rtp_tag_len() + self.epochs.mki_len();
        let end = packet.len().checked_sub(tail).ok_or(SrtpError::TooShort)?;
        let header_len = rtp_header(packet)?;
        let body_len = end.checked_sub(header_len).ok_or(SrtpError::TooShort)?;
        let (sequence, ssrc) = rtp_numbers(packet)?;
        let place = self.place(ssrc)?;
        let index = match self.streams.get(place) {
            Some(stream) => {
                let index = stream.rtp.estimate(sequence, stream.roc) + (u64::from(rollovers) << 16);
                stream.rtp.check(index)?;
                index
            }
            None => u64::from(rollovers) << 16 | u64::from(sequence),
        };
        if index >= INDEX_END {
            return Err(SrtpError::KeyExhausted);
        }
        let (header, rest) = packet.split_at_mut_checked(header_len).ok_or(SrtpError::TooShort)?;
        let (body, tail) = rest.split_at_mut_checked(body_len).ok_or(SrtpError::TooShort)?;
        let (tag, mki) = tag_and_mki(suite, suite.rtp_tag_len(), tail)?;
        let epoch = self.epochs.get(mki).ok_or(SrtpError::UnknownMki)?;
        epoch.keys.open_rtp(ssrc, index, header, body, tag)?;
        self.change(place, ssrc, |stream| stream.rtp.enter(index));
        Ok(Opened { len: end, index })
    }

    /// Opens an SRTCP packet in place.
    ///
    /// # Errors
    /// As for [`unprotect_rtp`](Self::unprotect_rtp); [`SrtpError::Unencrypted`] unless that is allowed.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<Opened, SrtpError> {
        let suite = self.epochs.suite().ok_or(SrtpError::NoKey)?;
        let (tag_len, mki_len) = (suite.rtcp_tag_len(), self.epochs.mki_len());
        let end = packet.len().checked_sub(tag_len + RTCP_INDEX + mki_len).ok_or(SrtpError::TooShort)?;
        if end < RTCP_HEADER {
            return Err(SrtpError::TooShort);
        }
        if packet.first().is_none_or(|first| first >> 6 != 2) {
            return Err(SrtpError::NotRtp);
        }
        let ssrc = word(packet, 4)?;
        let (plain, tail) = packet.split_at_mut_checked(end).ok_or(SrtpError::TooShort)?;
        // AEAD: tag, word, MKI (RFC 7714 §9.2); HMAC: word, MKI, tag (RFC 3711 §3.4).
        let is_aead = matches!(suite, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm);
        let word_at = if is_aead { tag_len } else { 0 };
        let word = word(tail, word_at)?;
        let (tag, mki) = if is_aead {
            (tail.get(..tag_len), tail.get(tag_len + RTCP_INDEX..))
        } else {
            (tail.get(RTCP_INDEX + mki_len..), tail.get(RTCP_INDEX..RTCP_INDEX + mki_len))
        };
        let (Some(tag), Some(mki)) = (tag, mki) else { return Err(SrtpError::TooShort) };
        if word & ENCRYPTED == 0 && !self.options.allow_unencrypted_rtcp {
            return Err(SrtpError::Unencrypted);
        }
        let index = u64::from(word & !ENCRYPTED);
        let place = self.place(ssrc)?;
        if let Some(stream) = self.streams.get(place) {
            stream.rtcp.check(index)?;
        }
        let epoch = self.epochs.get(mki).ok_or(SrtpError::UnknownMki)?;
        epoch.keys.open_rtcp(ssrc, word, plain, tag)?;
        self.change(place, ssrc, |stream| stream.rtcp.enter(index));
        Ok(Opened { len: end, index })
    }

    /// Where a source's state is, or would be.
    #[inline]
    fn place(&self, ssrc: u32) -> Result<usize, SrtpError> {
        match self.streams.iter().position(|stream| stream.ssrc == ssrc) {
            Some(place) => Ok(place),
            None if self.streams.len() < self.options.max_ssrcs => Ok(self.streams.len()),
            None => Err(SrtpError::TooManySsrcs),
        }
    }

    /// The state at a place, made if the source is new: only what authenticated comes this far.
    #[inline]
    fn change(&mut self, place: usize, ssrc: u32, change: impl FnOnce(&mut Stream)) {
        if place >= self.streams.len() {
            let (rtp, rtcp) = (Window::new(self.options.window), Window::new(super::MIN_WINDOW));
            self.streams.push(Stream { ssrc, roc: 0, rtp, rtcp });
        }
        if let Some(stream) = self.streams.get_mut(place) {
            change(stream);
        }
    }
}

#[inline]
fn tag_and_mki(suite: Suite, tag_len: usize, tail: &[u8]) -> Result<(&[u8], &[u8]), SrtpError> {
    let mki_len = tail.len().checked_sub(tag_len).ok_or(SrtpError::TooShort)?;
    let (first, second) = match suite {
        Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => (tag_len, mki_len),
        _ => (mki_len, tag_len),
    };
    let (first, second) =
        tail.split_at_checked(first).filter(|parts| parts.1.len() == second).ok_or(SrtpError::TooShort)?;
    Ok(match suite {
        Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => (first, second),
        _ => (second, first),
    })
}

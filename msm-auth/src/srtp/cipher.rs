//! One epoch's session keys, and what they do to the bytes of a packet.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::EncryptingKey;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::kdf::{Use, apply, counter_mode, derive};
use super::layout::{RTCP_HEADER, RTCP_INDEX};
use super::{MasterKey, SrtpError, Suite};

/// The E flag of SRTCP: the packet is encrypted.
pub(super) const ENCRYPTED: u32 = 1 << 31;

/// Session keys (`RFC 3711 §4.3`). The library wipes its key schedules; what is copied here is wiped, too.
pub(super) struct SessionKeys {
    suite: Suite,
    rtp: Keys,
    rtcp: Keys,
}

enum Keys {
    Gcm { key: LessSafeKey, salt: Zeroizing<[u8; 12]> },
    Cm { key: Box<EncryptingKey>, salt: Zeroizing<[u8; 14]>, auth: Box<hmac::Key> },
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl SessionKeys {
    pub(super) fn derive(master: &MasterKey) -> Result<Self, SrtpError> {
        Ok(Self {
            suite: master.suite(),
            rtp: Keys::derive(master, Use::RtpEncryption, Use::RtpAuthentication, Use::RtpSalt)?,
            rtcp: Keys::derive(master, Use::RtcpEncryption, Use::RtcpAuthentication, Use::RtcpSalt)?,
        })
    }

    /// Session keys of AES-GCM as they are, which published packets are given with.
    #[cfg(test)]
    pub(super) fn given(suite: Suite, key: &[u8], salt: [u8; 12]) -> Result<Self, SrtpError> {
        Ok(Self {
            suite,
            rtp: Keys::gcm(suite, key, Zeroizing::new(salt))?,
            rtcp: Keys::gcm(suite, key, Zeroizing::new(salt))?,
        })
    }

    pub(super) fn suite(&self) -> Suite {
        self.suite
    }

    /// Encrypts `body` and writes the tag; `mki` is copied to its place. `out` is exactly body, tag and MKI.
    #[inline]
    pub(super) fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        header: &[u8],
        out: &mut [u8],
        body: usize,
        mki: &[u8],
    ) -> Result<(), SrtpError> {
        let tag_len = self.suite.rtp_tag_len();
        let (body, rest) = out.split_at_mut_checked(body).ok_or(SrtpError::NoRoom)?;
        match &self.rtp {
            Keys::Gcm { key, salt } => {
                let nonce = nonce(salt, ssrc, index);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), body)?;
                place(rest, tag.as_ref(), mki)
            }
            Keys::Cm { key, salt, auth } => {
                apply(key, counter(salt, ssrc, index), body)?;
                let tag = authenticate(auth, &[header, body, &roc(index)]);
                place(rest, mki, tag.as_ref().get(..tag_len).unwrap_or_default())
            }
        }
    }

    /// Checks the tag and decrypts. `sealed` is exactly body and tag; of it the first `sealed - tag` bytes are plain then.
    #[inline]
    pub(super) fn open_rtp(
        &self,
        ssrc: u32,
        index: u64,
        header: &[u8],
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        match &self.rtp {
            Keys::Gcm { key, salt } => {
                let opened =
                    key.open_in_place_separate_tag(nonce(salt, ssrc, index), Aad::from(header), tag, body);
                opened.map(|_| ()).map_err(|_| SrtpError::Forged)
            }
            Keys::Cm { key, salt, auth } => {
                verify(&authenticate(auth, &[header, body, &roc(index)]), tag)?;
                apply(key, counter(salt, ssrc, index), body)
            }
        }
    }

    /// Encrypts an RTCP packet and writes tag, index word and MKI behind it. `out` is exactly all of that.
    pub(super) fn seal_rtcp(
        &self,
        ssrc: u32,
        index: u32,
        out: &mut [u8],
        packet: usize,
        mki: &[u8],
    ) -> Result<(), SrtpError> {
        let word = (index | ENCRYPTED).to_be_bytes();
        let (clear, rest) = out.split_at_mut_checked(RTCP_HEADER).ok_or(SrtpError::TooShort)?;
        let body = packet.checked_sub(RTCP_HEADER).ok_or(SrtpError::TooShort)?;
        let (body, rest) = rest.split_at_mut_checked(body).ok_or(SrtpError::NoRoom)?;
        match &self.rtcp {
            Keys::Gcm { key, salt } => {
                let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
                place(&mut aad, clear, &word)?;
                let nonce = nonce(salt, ssrc, u64::from(index));
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&aad), body)?;
                let (head, mki_place) =
                    rest.split_at_mut_checked(tag.as_ref().len() + RTCP_INDEX).ok_or(SrtpError::NoRoom)?;
                place(head, tag.as_ref(), &word)?;
                place(mki_place, mki, &[])
            }
            Keys::Cm { key, salt, auth } => {
                apply(key, counter(salt, ssrc, u64::from(index)), body)?;
                let tag = authenticate(auth, &[clear, body, &word]);
                let tag = tag.as_ref().get(..self.suite.rtcp_tag_len()).unwrap_or_default();
                let (head, tag_place) =
                    rest.split_at_mut_checked(RTCP_INDEX + mki.len()).ok_or(SrtpError::NoRoom)?;
                place(head, &word, mki)?;
                place(tag_place, tag, &[])
            }
        }
    }

    /// Checks and decrypts an SRTCP packet: `packet` is header and body, `word` the E flag and index.
    pub(super) fn open_rtcp(
        &self,
        ssrc: u32,
        word: u32,
        packet: &mut [u8],
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        let index = u64::from(word & !ENCRYPTED);
        let encrypted = word & ENCRYPTED != 0;
        let word = word.to_be_bytes();
        let (clear, body) = packet.split_at_mut_checked(RTCP_HEADER).ok_or(SrtpError::TooShort)?;
        match &self.rtcp {
            Keys::Gcm { key, salt } => {
                // Not encrypted, the packet would be all additional data (`RFC 7714 §9.2`): nobody sends that.
                if !encrypted {
                    return Err(SrtpError::Unencrypted);
                }
                let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
                place(&mut aad, clear, &word)?;
                let opened =
                    key.open_in_place_separate_tag(nonce(salt, ssrc, index), Aad::from(&aad), tag, body);
                opened.map(|_| ()).map_err(|_| SrtpError::Forged)
            }
            Keys::Cm { key, salt, auth } => {
                verify(&authenticate(auth, &[clear, body, &word]), tag)?;
                if encrypted { apply(key, counter(salt, ssrc, index), body) } else { Ok(()) }
            }
        }
    }
}

impl Keys {
    fn gcm(suite: Suite, key: &[u8], salt: Zeroizing<[u8; 12]>) -> Result<Self, SrtpError> {
        let algorithm = if suite == Suite::AeadAes256Gcm { &AES_256_GCM } else { &AES_128_GCM };
        Ok(Self::Gcm { key: LessSafeKey::new(UnboundKey::new(algorithm, key)?), salt })
    }

    fn derive(master: &MasterKey, key: Use, auth: Use, salt: Use) -> Result<Self, SrtpError> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        let bytes = bytes.get_mut(..master.suite().key_len()).ok_or(SrtpError::Library)?;
        derive(master, key, bytes)?;
        match master.suite() {
            suite @ (Suite::AeadAes128Gcm | Suite::AeadAes256Gcm) => {
                let mut own = Zeroizing::new([0; 12]);
                derive(master, salt, &mut own[..])?;
                Self::gcm(suite, bytes, own)
            }
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => {
                let key = Box::new(counter_mode(bytes)?);
                let mut own = Zeroizing::new([0; 14]);
                derive(master, salt, &mut own[..])?;
                let mut secret = Zeroizing::new([0; 20]);
                derive(master, auth, &mut secret[..])?;
                let auth = Box::new(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret[..]));
                Ok(Self::Cm { key, salt: own, auth })
            }
        }
    }
}

/// `(00 00 ‖ SSRC ‖ index) XOR salt`; of SRTCP, the index has 31 bits (`RFC 7714 §8.1`, `§9.1`).
#[inline]
fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let [s0, s1, s2, s3] = ssrc.to_be_bytes();
    let [.., i0, i1, i2, i3, i4, i5] = index.to_be_bytes();
    let mut iv = [0, 0, s0, s1, s2, s3, i0, i1, i2, i3, i4, i5];
    for (byte, salt) in iv.iter_mut().zip(salt) {
        *byte ^= *salt;
    }
    Nonce::assume_unique_for_key(iv)
}

/// `(salt · 2^16) XOR (SSRC · 2^64) XOR (index · 2^16)` (`RFC 3711 §4.1.1`).
#[inline]
fn counter(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let wide = u128::from(ssrc) << 64 | u128::from(index) << 16;
    let mut iv = wide.to_be_bytes();
    for (byte, salt) in iv.iter_mut().zip(salt) {
        *byte ^= *salt;
    }
    iv
}

/// The rollover counter, which is authenticated and not sent (`RFC 3711 §4.2`).
#[inline]
fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

#[inline]
fn authenticate(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// Compares a tag, cut to the length of the suite, in constant time.
fn verify(own: &hmac::Tag, tag: &[u8]) -> Result<(), SrtpError> {
    let own = own.as_ref().get(..tag.len()).ok_or(SrtpError::Forged)?;
    verify_slices_are_equal(own, tag).map_err(|_| SrtpError::Forged)
}

/// Writes two parts one behind the other; `out` is as long as both.
#[inline]
fn place(out: &mut [u8], first: &[u8], second: &[u8]) -> Result<(), SrtpError> {
    let (head, tail) = out.split_at_mut_checked(first.len()).ok_or(SrtpError::NoRoom)?;
    if tail.len() != second.len() {
        return Err(SrtpError::NoRoom);
    }
    head.copy_from_slice(first);
    tail.copy_from_slice(second);
    Ok(())
}

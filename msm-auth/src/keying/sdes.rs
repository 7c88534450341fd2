//! SDP security descriptions: the values of `a=crypto` (RFC 4568; suites of RFC 7714 §14.2).
//!
//! The key in an attribute protects what its writer sends: an offer's the media of whoever offers, an answer's the
//! media of whoever answers.

use zeroize::Zeroizing;

use super::{Mki, armour};
use crate::srtp::{MasterKey, Suite};

mod error;
mod read;
#[cfg(test)]
mod tests;

pub use error::SdesError;

/// The longest attribute value that is read, in bytes.
pub const MAX_LINE: usize = 2048;
/// The most keys that an attribute may have; the first is used.
pub const MAX_KEYS: usize = 16;
/// The most attributes of one media section that [`choose`] looks at.
pub const MAX_OFFERS: usize = 32;
/// The largest tag, which has nine digits (RFC 4568 §9.1).
pub const MAX_TAG: u32 = 999_999_999;
/// The most packets that one master key may protect (RFC 3711 §9.2).
pub const MAX_LIFETIME: u64 = 1 << 48;

/// One `a=crypto` attribute: an offer of a key, or the answer to one.
///
/// It can be written only with [`Crypto::to_attribute`]: `Debug` leaves the key out, and there is no `Display`.
#[derive(Debug, Clone)]
pub struct Crypto {
    /// Which attribute of the media section this is; an answer repeats the offer's.
    pub tag: u32,
    /// The key, for what the writer of the attribute sends.
    pub key: MasterKey,
    /// After how many packets the key may not be used any more (RFC 4568 §6.1).
    pub lifetime: Option<u64>,
    /// The identifier that follows each packet.
    pub mki: Option<Mki>,
    /// What else the attribute asks for.
    pub params: Params,
}

/// Session parameters that are understood and change nothing in the packets (RFC 4568 §6.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Params {
    /// `WSH`: how large a replay window the writer would like (RFC 4568 §6.3.6).
    pub window: Option<u16>,
}

impl Crypto {
    /// A plain attribute: no lifetime, no MKI, no parameters.
    ///
    /// # Errors
    /// [`SdesError::Tag`] beyond [`MAX_TAG`].
    pub fn new(tag: u32, key: MasterKey) -> Result<Crypto, SdesError> {
        if tag > MAX_TAG {
            return Err(SdesError::Tag);
        }
        Ok(Crypto { tag, key, lifetime: None, mki: None, params: Params::default() })
    }

    /// Reads what follows `a=crypto:`.
    ///
    /// # Errors
    /// What is wrong with it, or not supported, by name (RFC 4568 §9).
    pub fn read(value: &str) -> Result<Crypto, SdesError> {
        read::crypto(value)
    }

    /// The answer that takes this offer: its tag and suite, with `own` for what the answerer sends
    /// (RFC 4568 §5.1.2).
    ///
    /// # Errors
    /// [`SdesError::OtherSuite`]: `own` is of another one.
    pub fn answer(&self, own: MasterKey) -> Result<Crypto, SdesError> {
        let (offered, got) = (self.key.suite(), own.suite());
        if offered != got {
            return Err(SdesError::OtherSuite { offered, got });
        }
        Crypto::new(self.tag, own)
    }

    /// The key that is used with this offer's own from now on, read from `answer`: tag and suite must be the offer's
    /// (RFC 4568 §5.1.3).
    ///
    /// # Errors
    /// As of [`Self::read`]; another suite or tag than the offer's.
    pub fn read_answer(&self, answer: &str) -> Result<Crypto, SdesError> {
        let answer = Crypto::read(answer)?;
        let (offered, got) = (self.key.suite(), answer.key.suite());
        if offered != got {
            return Err(SdesError::OtherSuite { offered, got });
        }
        if answer.tag != self.tag {
            return Err(SdesError::OtherTag { offered: self.tag, got: answer.tag });
        }
        Ok(answer)
    }

    /// The attribute's value, to be put after `a=crypto:`.
    #[must_use]
    pub fn to_attribute(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(256));
        text.push_str(&format!("{} {} inline:", self.tag, self.key.suite().name()));
        armour::encode_to(self.key.key_and_salt(), &mut text);
        match self.lifetime {
            Some(lifetime) if lifetime.is_power_of_two() => {
                text.push_str(&format!("|2^{}", lifetime.ilog2()))
            }
            Some(lifetime) => text.push_str(&format!("|{lifetime}")),
            None => {}
        }
        if let Some(mki) = self.mki {
            text.push_str(&format!("|{}:{}", mki.value(), mki.length()));
        }
        if let Some(window) = self.params.window {
            text.push_str(&format!(" WSH={window}"));
        }
        text
    }
}

/// The offer to take: the one whose suite comes first in `allowed`, and of several with that suite the first.
///
/// Offers that cannot be used are passed over, as RFC 4568 §5.1.2 asks; the first one's error is returned if none is
/// left. Only the first [`MAX_OFFERS`] are looked at.
///
/// # Errors
/// Why the first offer cannot be used, or [`SdesError::NoOffer`].
pub fn choose<'a>(offers: impl IntoIterator<Item = &'a str>, allowed: &[Suite]) -> Result<Crypto, SdesError> {
    let mut best: Option<(usize, Crypto)> = None;
    let mut refused = None;
    for offer in offers.into_iter().take(MAX_OFFERS) {
        let usable = Crypto::read(offer).and_then(|crypto| {
            let suite = crypto.key.suite();
            let rank = allowed.iter().position(|allowed| *allowed == suite);
            Ok((rank.ok_or(SdesError::NotAllowed { suite })?, crypto))
        });
        match usable {
            Ok((rank, crypto)) => {
                if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                    best = Some((rank, crypto));
                }
            }
            Err(error) => _ = refused.get_or_insert(error),
        }
    }
    match best {
        Some((_, crypto)) => Ok(crypto),
        None => Err(refused.unwrap_or(SdesError::NoOffer)),
    }
}

//! Reading an attribute.

use super::{Crypto, MAX_KEYS, MAX_LIFETIME, MAX_LINE, Params, SdesError};
use crate::keying::{Mki, armour};
use crate::srtp::{MasterKey, Suite};

/// The longest name that an error quotes: every key is longer in base64, should one stand where a name belongs.
const MAX_QUOTED: usize = 32;

/// Session parameters that take protection away (RFC 4568 §6.3.2).
const DOWNGRADES: [&str; 3] = ["UNENCRYPTED_SRTP", "UNENCRYPTED_SRTCP", "UNAUTHENTICATED_SRTP"];

pub(super) fn crypto(value: &str) -> Result<Crypto, SdesError> {
    if value.len() > MAX_LINE {
        return Err(SdesError::TooLong(value.len()));
    }
    let mut words = value.split([' ', '\t']).filter(|word| !word.is_empty());
    let tag = tag(words.next().ok_or(SdesError::Missing("tag"))?)?;
    let suite = words.next().ok_or(SdesError::Missing("suite"))?;
    let suite = Suite::from_name(suite).ok_or_else(|| SdesError::UnknownSuite(quotable(suite)))?;
    let keys = words.next().ok_or(SdesError::Missing("key"))?;
    let mut params = Params::default();
    for word in words {
        param(word, &mut params)?;
    }
    let (key, lifetime, mki) = first_key(suite, keys)?;
    Ok(Crypto { tag, key, lifetime, mki, params })
}

fn tag(text: &str) -> Result<u32, SdesError> {
    if text.len() > 9 {
        return Err(SdesError::Tag);
    }
    number(text).ok_or(SdesError::Tag)
}

/// A number of digits alone: `str::parse` takes a `+` as well.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The keys are alternatives that their MKIs tell apart: the first is what a sender begins with.
fn first_key(suite: Suite, keys: &str) -> Result<(MasterKey, Option<u64>, Option<Mki>), SdesError> {
    let count = keys.split(';').count();
    if count > MAX_KEYS {
        return Err(SdesError::TooManyKeys(count));
    }
    let first = keys.split(';').next().unwrap_or_default();
    let (method, info) = first.split_once(':').ok_or(SdesError::KeyMethod)?;
    if !method.eq_ignore_ascii_case("inline") {
        return Err(SdesError::KeyMethod);
    }
    let mut fields = info.split('|');
    let bytes = armour::decode(fields.next().unwrap_or_default()).ok_or(SdesError::Base64)?;
    let key = MasterKey::from_bytes(suite, &bytes).map_err(SdesError::Key)?;
    let (mut lifetime, mut mki) = (None, None);
    for field in fields {
        match field.split_once(':') {
            Some((value, length)) if mki.is_none() => mki = Some(self::mki(value, length)?),
            None if lifetime.is_none() && mki.is_none() => lifetime = Some(self::lifetime(field)?),
            _ => return Err(SdesError::KeyField),
        }
    }
    if count > 1 && mki.is_none() {
        return Err(SdesError::KeysWithoutMki);
    }
    Ok((key, lifetime, mki))
}

/// Packets as a number or as `2^n` (RFC 4568 §6.1).
fn lifetime(text: &str) -> Result<u64, SdesError> {
    let packets = match text.strip_prefix("2^") {
        Some(power) => number(power).and_then(|power| 1u64.checked_shl(power)),
        None => number(text),
    };
    packets.filter(|packets| (1..=MAX_LIFETIME).contains(packets)).ok_or(SdesError::Lifetime)
}

fn mki(value: &str, length: &str) -> Result<Mki, SdesError> {
    let mki = number(value).zip(number(length)).and_then(|(value, length)| Mki::new(value, length));
    mki.ok_or(SdesError::Mki)
}

/// One session parameter (RFC 4568 §6.3). One that is not known makes the attribute unusable, unless a dash before it
/// says that it may be ignored (RFC 4568 §6.3.7).
fn param(word: &str, params: &mut Params) -> Result<(), SdesError> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    if let Some(downgrade) = DOWNGRADES.into_iter().find(|downgrade| is(downgrade)) {
        return Err(SdesError::Downgrade(downgrade));
    }
    if is("KDR") {
        return if value.and_then(number::<u32>) == Some(0) {
            Ok(())
        } else {
            Err(SdesError::KeyDerivationRate)
        };
    }
    if is("WSH")
        && params.window.is_none()
        && let Some(window) = value.and_then(number::<u16>)
        && window >= 64
    {
        params.window = Some(window);
        return Ok(());
    }
    // The order that holds anyway.
    if is("FEC_ORDER") && value.is_some_and(|value| value.eq_ignore_ascii_case("FEC_SRTP")) {
        return Ok(());
    }
    if name.starts_with('-') {
        return Ok(());
    }
    Err(SdesError::Parameter(quotable(name)))
}

/// What an error may show of a name that is not known.
fn quotable(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && name.len() <= MAX_QUOTED { name.to_owned() } else { "(not a name)".to_owned() }
}

//! Where RTSP carries MIKEY messages (RFC 4567): the SDP attribute `a=key-mgmt` and the header `KeyMgmt`.

use zeroize::Zeroizing;

use super::armour;
use super::mikey::{Fresh, MAX_MESSAGE, Mikey, MikeyError};

#[cfg(test)]
mod tests;

/// The longest attribute or header value that is read, in bytes.
pub const MAX_VALUE: usize = 16 * 1024;
/// The most entries of one header.
pub const MAX_ENTRIES: usize = 16;

/// Why a `key-mgmt` attribute or a `KeyMgmt` header was refused. Quotes nothing that can be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyMgmtError {
    /// Longer than [`MAX_VALUE`].
    #[error("key management of {0} bytes: the most is {MAX_VALUE}")]
    TooLong(usize),
    /// More entries than [`MAX_ENTRIES`].
    #[error("KeyMgmt has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// Not `<protocol> <data>`.
    #[error("a=key-mgmt is not `mikey <base64>` (RFC 4567 §3.1)")]
    Attribute,
    /// Not `prot=<protocol>;uri="<url>";data="<base64>"`.
    #[error(r#"KeyMgmt is not prot=mikey;uri="<url>";data="<base64>" (RFC 4567 §4.1)"#)]
    Header,
    /// Another protocol than MIKEY.
    #[error("key management by another protocol than mikey")]
    Protocol,
    /// The message is no base64.
    #[error("key management: the data are not base64")]
    Base64,
    /// The URI cannot be written between quotes.
    #[error("key management: the URI has a quote or a character that is not printable ASCII")]
    Uri,
    /// The message within is of no use.
    #[error(transparent)]
    Mikey(#[from] MikeyError),
}

impl KeyMgmtError {
    /// A stable name, for metric labels; a message's error has its own.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::TooManyEntries => "too_many_entries",
            Self::Attribute => "attribute",
            Self::Header => "header",
            Self::Protocol => "protocol",
            Self::Base64 => "base64",
            Self::Uri => "uri",
            Self::Mikey(error) => error.name(),
        }
    }
}

/// Reads what follows `a=key-mgmt:` (RFC 4567 §3.1).
///
/// # Errors
/// It is too long, of another protocol than MIKEY, or no message that is taken ([`KeyMgmtError`]).
pub fn read_attribute(value: &str) -> Result<Mikey, KeyMgmtError> {
    bounded(value)?;
    let (protocol, data) = value.trim().split_once(' ').ok_or(KeyMgmtError::Attribute)?;
    if !protocol.eq_ignore_ascii_case("mikey") {
        return Err(KeyMgmtError::Protocol);
    }
    message(data.trim_start())
}

/// What to put after `a=key-mgmt:` for this message.
///
/// # Errors
/// The message has more than [`MAX_STREAMS`](super::mikey::MAX_STREAMS) streams.
pub fn write_attribute(mikey: &Mikey, fresh: &Fresh) -> Result<Zeroizing<String>, KeyMgmtError> {
    let message = mikey.write(fresh)?;
    let mut text =
        Zeroizing::new(String::with_capacity(armour::encoded_len(message.len()).saturating_add(8)));
    text.push_str("mikey ");
    armour::encode_to(&message, &mut text);
    Ok(text)
}

/// One MIKEY entry of a `KeyMgmt` header.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The URL that the message is for: a track's, or the presentation's. Some peers leave it out.
    pub uri: Option<String>,
    /// The message.
    pub mikey: Mikey,
}

impl Entry {
    /// The entry in a header's value, without a space as GStreamer writes it. Several are joined by commas.
    ///
    /// GStreamer's server splits the value at every comma and semicolon, those of the URL as well.
    ///
    /// # Errors
    /// [`KeyMgmtError::Uri`] for a URL that cannot stand in a header; else as of [`write_attribute`].
    pub fn write(&self, fresh: &Fresh) -> Result<Zeroizing<String>, KeyMgmtError> {
        let message = self.mikey.write(fresh)?;
        let uri = self.uri.as_deref().unwrap_or_default();
        if !uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
            return Err(KeyMgmtError::Uri);
        }
        let room = armour::encoded_len(message.len()).saturating_add(uri.len()).saturating_add(64);
        let mut text = Zeroizing::new(String::with_capacity(room));
        text.push_str("prot=mikey;");
        if let Some(uri) = &self.uri {
            text.push_str("uri=\"");
            text.push_str(uri);
            text.push_str("\";");
        }
        text.push_str("data=\"");
        armour::encode_to(&message, &mut text);
        text.push('"');
        Ok(text)
    }
}

/// Reads the value of a `KeyMgmt` header (RFC 4567 §4.1): its MIKEY entries, at least one. Entries of other protocols
/// are passed over.
///
/// # Errors
/// It is too long, has more than [`MAX_ENTRIES`] or no MIKEY entry, or one that is not taken.
pub fn read_header(value: &str) -> Result<Vec<Entry>, KeyMgmtError> {
    bounded(value)?;
    let mut entries = Vec::new();
    let mut count = 0;
    let mut rest = value;
    loop {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(KeyMgmtError::TooManyEntries);
        }
        let (entry, end) = entry(rest)?;
        entries.extend(entry);
        match end {
            Some(after) => rest = after,
            None => break,
        }
    }
    if entries.is_empty() { Err(KeyMgmtError::Protocol) } else { Ok(entries) }
}

/// One entry, `None` if it is another protocol's, and what follows the comma after it.
fn entry(mut rest: &str) -> Result<(Option<Entry>, Option<&str>), KeyMgmtError> {
    let (mut protocol, mut uri, mut data) = (None, None, None);
    let after = loop {
        let (name, value) = rest.split_once('=').ok_or(KeyMgmtError::Header)?;
        let (value, left) = self::value(value.trim_start())?;
        let slot = match name.trim() {
            name if name.eq_ignore_ascii_case("prot") => Some(&mut protocol),
            name if name.eq_ignore_ascii_case("uri") => Some(&mut uri),
            name if name.eq_ignore_ascii_case("data") => Some(&mut data),
            _ => None,
        };
        if let Some(slot) = slot
            && slot.replace(value).is_some()
        {
            return Err(KeyMgmtError::Header);
        }
        let left = left.trim_start();
        match left.split_at_checked(1) {
            Some((";", left)) if !left.trim().is_empty() => rest = left,
            Some((",", left)) => break Some(left),
            // A semicolon at the end is no entry of its own.
            Some((";", _)) | None => break None,
            Some(_) => return Err(KeyMgmtError::Header),
        }
    };
    let (Some(protocol), Some(data)) = (protocol, data) else { return Err(KeyMgmtError::Header) };
    if !protocol.eq_ignore_ascii_case("mikey") {
        return Ok((None, after));
    }
    if !uri.unwrap_or_default().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KeyMgmtError::Uri);
    }
    Ok((Some(Entry { uri: uri.map(str::to_owned), mikey: message(data)? }), after))
}

/// A value, in quotes or up to the next separator, and what follows it.
fn value(text: &str) -> Result<(&str, &str), KeyMgmtError> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"').ok_or(KeyMgmtError::Header);
    }
    let end = text.find([';', ',']).unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end).ok_or(KeyMgmtError::Header)?;
    let value = value.trim_end();
    // Else it could not be written between quotes.
    if value.contains('"') { Err(KeyMgmtError::Header) } else { Ok((value, rest)) }
}

fn message(base64: &str) -> Result<Mikey, KeyMgmtError> {
    // Said here, before room is made for it.
    if base64.len() > armour::encoded_len(MAX_MESSAGE) {
        return Err(MikeyError::TooLong(base64.len() / 4 * 3).into());
    }
    let bytes = armour::decode(base64).ok_or(KeyMgmtError::Base64)?;
    Ok(Mikey::read(&bytes)?)
}

fn bounded(value: &str) -> Result<(), KeyMgmtError> {
    if value.len() > MAX_VALUE { Err(KeyMgmtError::TooLong(value.len())) } else { Ok(()) }
}

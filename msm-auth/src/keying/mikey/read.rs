//! Reading a message.

use zeroize::Zeroizing;

use super::policy::Policy;
use super::wire::{self, key_type, payload, validity};
use super::{MAX_MESSAGE, MAX_STREAMS, Mikey, MikeyError, Stream};
use crate::keying::Mki;
use crate::srtp::{MasterKey, Suite};

/// What is left to read, and the name of the part that is being read.
struct Reader<'a> {
    rest: &'a [u8],
    part: &'static str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], MikeyError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(MikeyError::Truncated(self.part))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MikeyError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(MikeyError::Truncated(self.part))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, MikeyError> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, MikeyError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, MikeyError> {
        self.array().map(u32::from_be_bytes)
    }
}

/// The bytes of the one key data sub-payload, until it is known which suite they are for.
struct KeyData<'a> {
    key: &'a [u8],
    salt: &'a [u8],
    mki: Option<Mki>,
}

pub(super) fn message(message: &[u8]) -> Result<Mikey, MikeyError> {
    if message.len() > MAX_MESSAGE {
        return Err(MikeyError::TooLong(message.len()));
    }
    let mut reader = Reader { rest: message, part: "header" };
    let (csb_id, streams, mut next) = header(&mut reader)?;
    let mut policies: Vec<(u8, Policy)> = Vec::new();
    let mut key = None;
    while next != payload::LAST {
        let this = next;
        reader.part = part(this).ok_or(MikeyError::Payload(this))?;
        next = reader.u8()?;
        match this {
            payload::TIMESTAMP => timestamp(&mut reader)?,
            payload::RAND => {
                let length = reader.u8()?;
                reader.take(length.into())?;
            }
            payload::POLICY => {
                let (number, read) = policy(&mut reader)?;
                if policies.iter().any(|(other, _)| *other == number) {
                    return Err(MikeyError::DuplicatePolicy(number));
                }
                policies.push((number, read));
            }
            payload::KEMAC => {
                if key.replace(kemac(&mut reader)?).is_some() {
                    return Err(MikeyError::SeveralKeys);
                }
            }
            // An identity or an extension: type, length, and nothing that matters here.
            _ => {
                reader.u8()?;
                let length = reader.u16()?;
                reader.take(length.into())?;
            }
        }
    }
    // Milestone XProtect ends its messages with one zero too many.
    if !matches!(reader.rest, [] | [0]) {
        return Err(MikeyError::Trailing(reader.rest.len()));
    }
    let suite = suite(&streams, &policies)?;
    let KeyData { key, salt, mki } = key.ok_or(MikeyError::NoKey)?;
    Ok(Mikey { csb_id, streams, key: master_key(suite, key, salt)?, mki })
}

/// The common header (RFC 3830 §6.1) and the type of the first payload.
fn header(reader: &mut Reader<'_>) -> Result<(u32, Vec<Stream>, u8), MikeyError> {
    let [version, data_type, next, prf] = reader.array()?;
    if version != wire::VERSION {
        return Err(MikeyError::Version(version));
    }
    if data_type != wire::PSK_INIT {
        return Err(MikeyError::DataType(data_type));
    }
    match prf {
        0 => {}
        1..=127 => return Err(MikeyError::Prf(prf)),
        _ => return Err(MikeyError::Verification),
    }
    let csb_id = reader.u32()?;
    let [count, map_type] = reader.array()?;
    if map_type != wire::SRTP_ID {
        return Err(MikeyError::MapType(map_type));
    }
    if usize::from(count) > MAX_STREAMS {
        return Err(MikeyError::TooManyStreams(count.into()));
    }
    let mut streams = Vec::with_capacity(count.into());
    for _ in 0..count {
        streams.push(Stream { policy: reader.u8()?, ssrc: reader.u32()?, roc: reader.u32()? });
    }
    Ok((csb_id, streams, next))
}

/// What errors call a payload; `None` for those that have no place in this message.
fn part(payload: u8) -> Option<&'static str> {
    Some(match payload {
        payload::KEMAC => "KEMAC payload",
        payload::TIMESTAMP => "T payload",
        payload::ID => "ID payload",
        payload::POLICY => "SP payload",
        payload::RAND => "RAND payload",
        payload::EXTENSION => "extension payload",
        _ => return None,
    })
}

/// RFC 3830 §6.6. TLS sees to replays, so that the time is of no use here.
fn timestamp(reader: &mut Reader<'_>) -> Result<(), MikeyError> {
    let length = match reader.u8()? {
        0 | 1 => 8,
        2 => 4,
        other => return Err(MikeyError::TimestampType(other)),
    };
    reader.take(length).map(|_| ())
}

/// RFC 3830 §6.10.
fn policy(reader: &mut Reader<'_>) -> Result<(u8, Policy), MikeyError> {
    let [number, protocol] = reader.array()?;
    if protocol != 0 {
        return Err(MikeyError::Protocol(protocol));
    }
    let length = reader.u16()?;
    let mut params = Reader { rest: reader.take(length.into())?, part: "policy parameters" };
    let mut policy = Policy::default();
    while !params.rest.is_empty() {
        let [kind, length] = params.array()?;
        policy.set(kind, params.take(length.into())?)?;
    }
    Ok((number, policy))
}

/// RFC 3830 §6.2, with NULL encryption and MAC alone.
fn kemac<'a>(reader: &mut Reader<'a>) -> Result<KeyData<'a>, MikeyError> {
    let cipher = reader.u8()?;
    let length = reader.u16()?;
    let data = reader.take(length.into())?;
    let mac = reader.u8()?;
    if cipher != 0 || mac != 0 {
        return Err(MikeyError::Protected { cipher, mac });
    }
    key_data(Reader { rest: data, part: "key data" })
}

/// RFC 3830 §6.13.
fn key_data<'a>(mut reader: Reader<'a>) -> Result<KeyData<'a>, MikeyError> {
    let [next, kinds] = reader.array()?;
    if next == payload::KEY_DATA {
        return Err(MikeyError::SeveralKeys);
    }
    if next != payload::LAST {
        return Err(MikeyError::Payload(next));
    }
    let (kind, kept) = (kinds >> 4, kinds & 0x0f);
    let length = reader.u16()?;
    let key = reader.take(length.into())?;
    let salt = match kind {
        key_type::TEK => &[],
        key_type::TEK_SALT => {
            let length = reader.u16()?;
            reader.take(length.into())?
        }
        other => return Err(MikeyError::KeyType(other)),
    };
    let mki = match kept {
        validity::NONE => None,
        validity::SPI => {
            let length = reader.u8()?;
            let spi = reader.take(length.into())?;
            Some(Mki::from_bytes(spi).ok_or(MikeyError::Spi(spi.len()))?)
        }
        other => return Err(MikeyError::Validity(other)),
    };
    if !reader.rest.is_empty() {
        return Err(MikeyError::Trailing(reader.rest.len()));
    }
    Ok(KeyData { key, salt, mki })
}

/// The one suite of all streams; without policies SRTP's default, without streams the first policy's.
fn suite(streams: &[Stream], policies: &[(u8, Policy)]) -> Result<Suite, MikeyError> {
    let Some((_, first)) = policies.first() else { return Policy::default().suite() };
    let Some(stream) = streams.first() else { return first.suite() };
    let of = |stream: &Stream| {
        let found = policies.iter().find(|(number, _)| *number == stream.policy);
        found.ok_or(MikeyError::NoPolicy(stream.policy))?.1.suite()
    };
    let suite = of(stream)?;
    for stream in streams {
        if of(stream)? != suite {
            return Err(MikeyError::MixedSuites);
        }
    }
    Ok(suite)
}

/// Key and salt come in one piece, or the salt by itself.
fn master_key(suite: Suite, key: &[u8], salt: &[u8]) -> Result<MasterKey, MikeyError> {
    if !salt.is_empty() && salt.len() != suite.salt_len() {
        return Err(MikeyError::Salt { suite, got: salt.len() });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(key.len().saturating_add(salt.len())));
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(salt);
    MasterKey::from_bytes(suite, &bytes).map_err(MikeyError::Key)
}

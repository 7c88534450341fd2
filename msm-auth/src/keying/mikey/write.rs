//! Writing a message: HDR, T, RAND, SP, KEMAC, in the order and with the values of GStreamer's.

use zeroize::Zeroizing;

use super::wire::{self, key_type, payload, validity};
use super::{Fresh, MAX_STREAMS, Mikey, MikeyError, policy};

/// Where the wiped buffer begins: no message is longer, so that it never moves and leaves a copy of the key.
const ROOM: usize = super::MAX_MESSAGE;

pub(super) fn message(mikey: &Mikey, fresh: &Fresh) -> Result<Zeroizing<Vec<u8>>, MikeyError> {
    let count = u8::try_from(mikey.streams.len()).ok().filter(|count| usize::from(*count) <= MAX_STREAMS);
    let count = count.ok_or(MikeyError::TooManyStreams(mikey.streams.len()))?;
    let mut out = Zeroizing::new(Vec::with_capacity(ROOM));

    out.extend_from_slice(&[wire::VERSION, wire::PSK_INIT, payload::TIMESTAMP, 0]);
    out.extend_from_slice(&mikey.csb_id.to_be_bytes());
    out.extend_from_slice(&[count, wire::SRTP_ID]);
    for stream in &mikey.streams {
        out.push(stream.policy);
        out.extend_from_slice(&stream.ssrc.to_be_bytes());
        out.extend_from_slice(&stream.roc.to_be_bytes());
    }

    // Type 0: NTP-UTC.
    out.extend_from_slice(&[payload::RAND, 0]);
    out.extend_from_slice(&fresh.ntp_time.to_be_bytes());

    out.extend_from_slice(&[payload::POLICY, 16]);
    out.extend_from_slice(&fresh.rand);

    let policies = policies(mikey);
    let mut rest = policies.iter().peekable();
    while let Some(number) = rest.next() {
        let next = if rest.peek().is_some() { payload::POLICY } else { payload::KEMAC };
        let params = policy::params(mikey.key.suite());
        out.extend_from_slice(&[next, *number, 0]);
        out.extend_from_slice(&len16(params.len().saturating_mul(3)));
        for (kind, value) in params {
            out.extend_from_slice(&[kind, 1, value]);
        }
    }

    kemac(mikey, &mut out);
    Ok(out)
}

/// The numbers that streams name; 0 where there are no streams.
fn policies(mikey: &Mikey) -> Vec<u8> {
    let mut numbers: Vec<u8> = mikey.streams.iter().map(|stream| stream.policy).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        numbers.push(0);
    }
    numbers
}

fn kemac(mikey: &Mikey, out: &mut Vec<u8>) {
    let key = mikey.key.key_and_salt();
    let spi = mikey.mki.map_or(0, |mki| mki.length().saturating_add(1));
    out.extend_from_slice(&[payload::LAST, 0]);
    out.extend_from_slice(&len16(key.len().saturating_add(spi).saturating_add(4)));
    let kept = if mikey.mki.is_some() { validity::SPI } else { validity::NONE };
    out.extend_from_slice(&[payload::LAST, (key_type::TEK << 4) | kept]);
    out.extend_from_slice(&len16(key.len()));
    out.extend_from_slice(key);
    if let Some(mki) = mikey.mki {
        out.push(u8::try_from(mki.length()).unwrap_or_default());
        mki.write_to(out);
    }
    // NULL MAC.
    out.push(0);
}

/// A length that is always far below 65536 here.
fn len16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or_default().to_be_bytes()
}

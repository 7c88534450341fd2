//! Keys of plain hops: made, told, and read.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use msm_auth::keying::key_mgmt::{self, Entry};
use msm_auth::keying::mikey::{Fresh, Mikey, Stream};
use msm_auth::keying::sdes::Crypto;
use msm_auth::keying::{MAX_MKI, Mki};
use msm_auth::srtp::{MasterKey, Receiver, ReceiverOptions, Sender, SenderOptions, Suite};
use msm_rtsp::message::Headers;
use msm_rtsp::sdp::{Keying, Track};
use zeroize::Zeroizing;

use crate::error::Error;

/// The suite of keys that we make: the one that every peer knows.
pub(crate) const SUITE: Suite = Suite::AesCm128HmacSha1_80;

/// Seconds from 1900, where NTP begins to count, to 1970.
const NTP_EPOCH: u64 = 2_208_988_800;

/// A new source for what we send.
///
/// # Errors
/// [`Error::Stopped`] if the system has no randomness.
pub(crate) fn random_ssrc() -> Result<u32, Error> {
    getrandom::u32().map_err(|_| Error::Stopped)
}

/// How a key came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `a=crypto`.
    Sdes,
    /// `a=key-mgmt`, `KeyMgmt`.
    Mikey,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sdes => "SDES",
            Self::Mikey => "MIKEY",
        })
    }
}

/// The key of what a peer sends on a track.
#[derive(Clone, Debug)]
pub(crate) struct PeerKey {
    pub(crate) key: MasterKey,
    pub(crate) protocol: Protocol,
    mki: Option<Mki>,
    /// Sources whose numbers have rolled over already.
    streams: Vec<Stream>,
}

/// The key of what we send on a track.
#[derive(Clone, Debug)]
pub(crate) struct OwnKey {
    pub(crate) key: MasterKey,
    /// The source that is protected.
    pub(crate) ssrc: u32,
    mki: Option<Mki>,
}

/// What a track's description says of its keys.
pub(crate) enum Described {
    /// It is not SRTP.
    Plain,
    /// It is SRTP under this key, or one that is told later.
    Secure(Option<PeerKey>),
}

impl Described {
    /// Reads the first key of a track that can be used; MIKEY before SDES, as it tells rollovers too.
    ///
    /// # Errors
    /// Why the first key cannot be used, where none can.
    pub(crate) fn read(track: &Track) -> Result<Self, String> {
        if !track.is_secure() {
            return Ok(Self::Plain);
        }
        let mut refused = None;
        let mikey = track.keying.key_mgmt.iter().map(|value| {
            key_mgmt::read_attribute(value).map(PeerKey::from).map_err(|error| error.to_string())
        });
        let sdes = track
            .keying
            .crypto
            .iter()
            .map(|value| Crypto::read(value).map(PeerKey::from).map_err(|error| error.to_string()));
        for read in mikey.chain(sdes) {
            match read {
                Ok(key) => return Ok(Self::Secure(Some(key))),
                Err(error) => _ = refused.get_or_insert(error),
            }
        }
        refused.map_or(Ok(Self::Secure(None)), Err)
    }
}

impl From<Mikey> for PeerKey {
    fn from(mikey: Mikey) -> Self {
        Self { key: mikey.key, protocol: Protocol::Mikey, mki: mikey.mki, streams: mikey.streams }
    }
}

impl From<Crypto> for PeerKey {
    fn from(crypto: Crypto) -> Self {
        Self { key: crypto.key, protocol: Protocol::Sdes, mki: crypto.mki, streams: Vec::new() }
    }
}

impl PeerKey {
    /// The key in the `KeyMgmt` header of a message about the track at `url`, if it has one: the entry that names the
    /// track, or the first, as some peers name no track or the presentation (`RFC 4567 §4.1`).
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn from_headers(headers: &Headers, url: &str) -> Result<Option<Self>, String> {
        let Some(value) = headers.get("KeyMgmt") else { return Ok(None) };
        let mut entries = key_mgmt::read_header(value).map_err(|error| error.to_string())?;
        let own = entries.iter().position(|entry| entry.uri.as_deref() == Some(url)).unwrap_or(0);
        Ok((own < entries.len()).then(|| entries.swap_remove(own).mikey.into()))
    }

    /// The key in each `KeyMgmt` header of a message about a presentation: of the tracks in their order. What comes after
    /// one that cannot be read is left out.
    pub(crate) fn all_from_headers(headers: &Headers) -> Vec<Self> {
        let entries = headers.all("KeyMgmt").map_while(|value| key_mgmt::read_header(value).ok());
        entries.flatten().map(|entry| entry.mikey.into()).collect()
    }

    /// Opens what the peer sends.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the cryptographic library fails.
    pub(crate) fn receiver(&self) -> Result<Receiver, Error> {
        let mki_len = self.mki.map_or(0, Mki::length);
        let mut receiver = Receiver::new(ReceiverOptions { mki_len, ..ReceiverOptions::default() });
        receiver.install(&self.key, mki(self.mki.as_ref(), &mut [0; MAX_MKI])).map_err(|_| Error::Stopped)?;
        for stream in self.streams.iter().filter(|stream| stream.roc != 0) {
            // There are no more streams in a message than a receiver has room for.
            let _ = receiver.set_roc(stream.ssrc, stream.roc);
        }
        Ok(receiver)
    }

    /// Our own key, for a peer that tells none of its own.
    pub(crate) fn of(own: &OwnKey) -> Self {
        Self { key: own.key.clone(), protocol: Protocol::Sdes, mki: own.mki, streams: Vec::new() }
    }

    /// The same key for what we send ourselves, where there is no way to tell the peer another: SSRCs keep the two
    /// apart.
    pub(crate) fn reuse(&self, ssrc: u32) -> OwnKey {
        OwnKey { key: self.key.clone(), ssrc, mki: self.mki }
    }
}

impl OwnKey {
    /// A new key of the suite.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the system has no randomness.
    pub(crate) fn new(suite: Suite, ssrc: u32) -> Result<Self, Error> {
        let mut bytes = Zeroizing::new(vec![0; suite.key_len() + suite.salt_len()]);
        getrandom::fill(&mut bytes).map_err(|_| Error::Stopped)?;
        let key = MasterKey::from_bytes(suite, &bytes).map_err(|_| Error::Stopped)?;
        Ok(Self { key, ssrc, mki: None })
    }

    /// The attributes of a description that tell it, in both ways.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the system has no randomness.
    pub(crate) fn attributes(&self) -> Result<Keying, Error> {
        let crypto = Crypto::new(1, self.key.clone()).map_err(|_| Error::Stopped)?;
        let mikey = key_mgmt::write_attribute(&self.mikey()?, &fresh()?).map_err(|_| Error::Stopped)?;
        Ok(Keying { crypto: vec![crypto.to_attribute()], key_mgmt: vec![mikey] })
    }

    /// The value of a `KeyMgmt` header that tells it for the track at `url`.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the system has no randomness.
    pub(crate) fn header(&self, url: &str) -> Result<Zeroizing<String>, Error> {
        // GStreamer's server divides the header at commas and semicolons, also in quotes. A URL that cannot stand there is
        // left out: the message is about one track anyway.
        let fits = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;".contains(&byte));
        let entry = Entry { uri: fits.then(|| url.to_owned()), mikey: self.mikey()? };
        entry.write(&fresh()?).map_err(|_| Error::Stopped)
    }

    fn mikey(&self) -> Result<Mikey, Error> {
        let csb_id = getrandom::u32().map_err(|_| Error::Stopped)?;
        let streams = vec![Stream { policy: 0, ssrc: self.ssrc, roc: 0 }];
        Ok(Mikey { csb_id, streams, key: self.key.clone(), mki: self.mki })
    }

    /// Protects what we send.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the cryptographic library fails.
    pub(crate) fn sender(&self) -> Result<Sender, Error> {
        let mki_len = self.mki.map_or(0, Mki::length);
        let mut sender = Sender::new(SenderOptions { mki_len, max_ssrcs: 1, ..SenderOptions::default() });
        let mut room = [0; MAX_MKI];
        let mki = mki(self.mki.as_ref(), &mut room);
        sender.install(&self.key, mki).and_then(|()| sender.switch(mki)).map_err(|_| Error::Stopped)?;
        Ok(sender)
    }
}

/// The identifier as packets have it.
fn mki<'a>(mki: Option<&Mki>, room: &'a mut [u8; MAX_MKI]) -> &'a [u8] {
    let Some(mki) = mki else { return &[] };
    *room = mki.to_be_bytes();
    room.get(MAX_MKI.saturating_sub(mki.length())..).unwrap_or_default()
}

fn fresh() -> Result<Fresh, Error> {
    let mut rand = [0; 16];
    getrandom::fill(&mut rand).map_err(|_| Error::Stopped)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs().wrapping_add(NTP_EPOCH) & 0xffff_ffff;
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    Ok(Fresh { rand, ntp_time: seconds << 32 | fraction })
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm_rtsp::limits::Limits;
    use msm_rtsp::sdp::{Description, TrackWay};

    const PLAIN: &str = "v=0\r\ns=x\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";

    fn described(keying: Keying) -> Result<Described, String> {
        let plain = Description::parse(PLAIN.as_bytes(), &Limits::default()).unwrap();
        let way = TrackWay { keying: Some(keying), ..TrackWay::default() };
        let text = plain.for_reader(false, &[way]);
        Described::read(&Description::parse(&text, &Limits::default()).unwrap().tracks[0])
    }

    fn peer(keying: Keying) -> PeerKey {
        match described(keying) {
            Ok(Described::Secure(Some(key))) => key,
            other => panic!("no key: {:?}", other.err()),
        }
    }

    #[test]
    fn what_is_told_is_what_protects() {
        for suite in [SUITE, Suite::AesCm128HmacSha1_32, Suite::AeadAes128Gcm, Suite::AeadAes256Gcm] {
            let own = OwnKey::new(suite, 7).unwrap();
            let both = own.attributes().unwrap();
            let headers = {
                let mut headers = Headers::default();
                headers.push("KeyMgmt", &own.header("rtsps://a/b/trackID=0").unwrap()).unwrap();
                headers
            };
            let told = [
                peer(both.clone()),
                peer(Keying { key_mgmt: Vec::new(), ..both.clone() }),
                PeerKey::from_headers(&headers, "rtsps://a/b/trackID=0").unwrap().unwrap(),
            ];
            assert_eq!(
                told.each_ref().map(|key| key.protocol),
                [Protocol::Mikey, Protocol::Sdes, Protocol::Mikey]
            );
            for key in told {
                let mut sender = own.sender().unwrap();
                let mut packet = [0; 64];
                packet[..13].copy_from_slice(&[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 42]);
                let length = sender.protect_rtp(&mut packet, 13).unwrap();
                let opened = key.receiver().unwrap().unprotect_rtp(&mut packet[..length]).unwrap();
                assert_eq!((opened.len, packet[12]), (13, 42), "{suite:?} by {}", key.protocol);
            }
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_says_why() {
        let crypto = |line: &str| Keying { crypto: vec![line.to_owned().into()], key_mgmt: Vec::new() };
        assert!(described(crypto("1 NULL_SUITE inline:AAAA")).is_err());
        assert!(matches!(described(Keying::default()), Ok(Described::Secure(None))));
        let good = OwnKey::new(SUITE, 1).unwrap().attributes().unwrap();
        let bad_first = Keying { crypto: good.crypto, key_mgmt: vec!["mikey AAAA".to_owned().into()] };
        assert_eq!(peer(bad_first).protocol, Protocol::Sdes);
        let mut headers = Headers::default();
        assert!(PeerKey::from_headers(&headers, "").unwrap().is_none());
        headers.push("KeyMgmt", "prot=mikey;data=\"AAAA\"").unwrap();
        assert!(PeerKey::from_headers(&headers, "").is_err());
    }

    #[test]
    fn a_header_for_several_tracks_has_the_key_of_each() {
        let keys = [7, 8].map(|ssrc| OwnKey::new(SUITE, ssrc).unwrap());
        let urls = ["rtsps://a/b/trackID=0", "rtsps://a/b/trackID=1"];
        let values = [0, 1].map(|track| keys[track].header(urls[track]).unwrap().to_string());
        let mut headers = Headers::default();
        headers.push("KeyMgmt", &values.join(",")).unwrap();
        let told = |url| PeerKey::from_headers(&headers, url).unwrap().unwrap();
        for (key, url) in keys.iter().zip(urls) {
            assert_eq!(told(url).key.key_and_salt(), key.key.key_and_salt(), "{url}");
        }
        assert_eq!(told("rtsps://a/b").key.key_and_salt(), keys[0].key.key_and_salt(), "named otherwise");
    }
}

//! What two members say to each other in RTSP beyond what any client and server do.
//!
//! A mesh hop is RTSP 1.0 over mutual TLS. Each request carries `Require: msm-hop-1`, so that a peer that is no member says
//! 551 and does nothing. The header `Msm-Hop` carries what the media's way needs:
//!
//! ```text
//! OPTIONS * RTSP/1.0                                   begins an association, or goes on with one on this connection
//! Require: msm-hop-1
//! Msm-Hop: association=9f86d081884c7d65;epoch=1;label=01000003;port=41000
//!
//! SETUP rtsp://b/live/news/track0 RTSP/1.0             sets a track up
//! Require: msm-hop-1
//! Transport: RTP/SAVP;unicast;rtcp-mux
//! Msm-Hop: token=60303ae22b998861;label=01000004;repair=01000005;latency=80
//! ```
//!
//! Answers carry the answering side's `label`, and its `port` where an association begins. Whoever receives the media names `repair` and
//! `latency` if it takes the protection that the description offers: a reader in its SETUP, which the answer's `latency` confirms; who
//! records in the answer to SETUP, in which the publisher proposed a `latency`. Whoever sends the media says with `latency` what its `first` number
//! is. `paths=duplicate` or `paths=spread` in SETUP says how the
//! track's packets use the association's paths, both ways. `fresh=1` in a reader's SETUP asks for nothing that was kept for late readers: who
//! checks whether a stream is live gets what is.
//!
//! ```text
//! OPTIONS * RTSP/1.0                                   opens another path of the association that the connection carries
//! Require: msm-hop-1
//! Msm-Hop: path=2;token=60303ae22b998862;label=01000005
//! ```

use std::fmt;

use msm_core::route::PathMode;

/// The feature tag of the hop (`RFC 2326 §12.32`).
pub const FEATURE: &str = "msm-hop-1";

/// The name of the header.
pub const HEADER: &str = "Msm-Hop";

/// The interleaved channel of a hop's packets where UDP does not pass: all flows, told apart by label.
pub const CHANNEL: u8 = 0;

/// First numbers are lower (`RFC 3711 §3.3.1`).
const FIRSTS: u16 = 1 << 15;

/// The longest header that is read.
const MAX_BYTES: usize = 256;

/// The header's parameters. Unknown ones are left out, so that later versions may add some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HopHeader {
    /// Names the association: the opening side's choice, 64 random bits.
    pub association: Option<u64>,
    /// Which of the association's TLS connections this is, from 1 on; keys are derived from it.
    pub epoch: Option<u32>,
    /// Names the session for the derivation of its keys: the opening side's choice, 64 random bits.
    pub token: Option<u64>,
    /// What the sender of this header calls the flow that the other side sends to it.
    pub label: Option<u32>,
    /// The UDP port of the sender of this header.
    pub port: Option<u16>,
    /// What the sender of this header calls the flow beside the media's, with repair packets and retransmissions: it takes the protection
    /// that the description offers.
    pub repair: Option<u32>,
    /// The latency budget of the media's receiver in milliseconds: what it is, or is proposed to be.
    pub latency: Option<u32>,
    /// The number of the first packet of the media, as its sender says: what is lost before any has come is missed, too.
    pub first: Option<u16>,
    /// The most that the receiver has sent beside the media, in percent of it.
    pub overhead: Option<u8>,
    /// Repair packets that the receiver always has sent, in percent of the media; 0: none. Without it, as many as are needed.
    pub fec: Option<u8>,
    /// Whether the receiver asks for what it lost.
    pub nack: Option<bool>,
    /// How the track's packets use the paths of the association, both ways; without it they go by one.
    pub paths: Option<PathMode>,
    /// Which further path of the association is opened, from 2 on: the first begins with it.
    pub path: Option<u8>,
    /// Whether the receiver wants what is sent from now on alone: what was kept of the stream does not say that it is live.
    pub fresh: Option<bool>,
}

impl HopHeader {
    /// Reads a header; `None` if it is too long, or a known parameter is not what it must be or comes twice.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > MAX_BYTES {
            return None;
        }
        let mut header = Self::default();
        for part in value.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            match name.trim().to_ascii_lowercase().as_str() {
                "association" => once(&mut header.association, hex(value, 16)?)?,
                "epoch" => once(&mut header.epoch, value.parse().ok().filter(|epoch| *epoch > 0)?)?,
                "token" => once(&mut header.token, hex(value, 16)?)?,
                "label" => once(&mut header.label, u32::try_from(hex(value, 8)?).ok()?)?,
                "repair" => once(&mut header.repair, u32::try_from(hex(value, 8)?).ok()?)?,
                "latency" => once(&mut header.latency, value.parse().ok().filter(|latency| *latency > 0)?)?,
                "first" => once(&mut header.first, value.parse().ok().filter(|first| *first < FIRSTS)?)?,
                "overhead" => once(&mut header.overhead, percent(value)?)?,
                "fec" => once(&mut header.fec, percent(value)?)?,
                "nack" => once(&mut header.nack, switch(value)?)?,
                "fresh" => once(&mut header.fresh, switch(value)?)?,
                "port" => once(&mut header.port, value.parse().ok().filter(|port| *port > 0)?)?,
                "paths" => once(&mut header.paths, mode(value)?)?,
                "path" => once(&mut header.path, value.parse().ok().filter(|path| *path > 1)?)?,
                _ => {}
            }
        }
        Some(header)
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn switch(value: &str) -> Option<bool> {
    matches!(value, "0" | "1").then_some(value == "1")
}

fn percent(value: &str) -> Option<u8> {
    value.parse().ok().filter(|share| *share <= 100)
}

const DUPLICATE: &str = "duplicate";
const SPREAD: &str = "spread";

fn mode(value: &str) -> Option<PathMode> {
    match value {
        DUPLICATE => Some(PathMode::Duplicate),
        SPREAD => Some(PathMode::Spread),
        _ => None,
    }
}

fn hex(value: &str, digits: usize) -> Option<u64> {
    let all_hex = value.len() == digits && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_hex.then(|| u64::from_str_radix(value, 16).ok())?
}

impl fmt::Display for HopHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let written = write!(f, "{separator}{text}");
            separator = ";";
            written
        };
        if let Some(association) = self.association {
            part(f, format_args!("association={association:016x}"))?;
        }
        if let Some(epoch) = self.epoch {
            part(f, format_args!("epoch={epoch}"))?;
        }
        if let Some(token) = self.token {
            part(f, format_args!("token={token:016x}"))?;
        }
        if let Some(label) = self.label {
            part(f, format_args!("label={label:08x}"))?;
        }
        if let Some(port) = self.port {
            part(f, format_args!("port={port}"))?;
        }
        if let Some(repair) = self.repair {
            part(f, format_args!("repair={repair:08x}"))?;
        }
        if let Some(latency) = self.latency {
            part(f, format_args!("latency={latency}"))?;
        }
        if let Some(first) = self.first {
            part(f, format_args!("first={first}"))?;
        }
        if let Some(overhead) = self.overhead {
            part(f, format_args!("overhead={overhead}"))?;
        }
        if let Some(fec) = self.fec {
            part(f, format_args!("fec={fec}"))?;
        }
        if let Some(nack) = self.nack {
            part(f, format_args!("nack={}", u8::from(nack)))?;
        }
        if let Some(paths) = self.paths {
            let mode = match paths {
                PathMode::Duplicate => DUPLICATE,
                PathMode::Spread => SPREAD,
            };
            part(f, format_args!("paths={mode}"))?;
        }
        if let Some(path) = self.path {
            part(f, format_args!("path={path}"))?;
        }
        if let Some(fresh) = self.fresh {
            part(f, format_args!("fresh={}", u8::from(fresh)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let header = HopHeader {
            association: Some(0x9f86_d081_884c_7d65),
            epoch: Some(3),
            token: Some(7),
            label: Some(0x0100_0003),
            port: Some(8050),
            repair: Some(0x0100_0004),
            latency: Some(80),
            first: Some(0x7fff),
            overhead: Some(50),
            fec: Some(20),
            nack: Some(false),
            path: Some(2),
            paths: Some(PathMode::Spread),
            fresh: Some(true),
        };
        let text = "association=9f86d081884c7d65;epoch=3;token=0000000000000007;label=01000003;port=8050;\
            repair=01000004;latency=80;first=32767;overhead=50;fec=20;nack=0;paths=spread;path=2;fresh=1";
        assert_eq!(header.to_string(), text);
        assert_eq!(HopHeader::parse(text), Some(header));
        assert_eq!(
            HopHeader::parse(" Label=01000003 ; later=1;"),
            Some(HopHeader { label: Some(0x0100_0003), ..Default::default() })
        );
        assert_eq!(HopHeader::default().to_string(), "");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "repair=1",
            "overhead=101",
            "fec=-1",
            "nack=2",
            "fresh=2",
            "latency=0",
            "first=32768",
            "first=-1",
            "label=1",
            "label=0100000g",
            "label=01000003;label=01000003",
            "label",
            "port=0",
            "port=65536",
            "path=1",
            "path=256",
            "paths=both",
            "epoch=0",
            "epoch=-1",
            "association=+f86d081884c7d65",
            "token=9f86d081884c7d6500",
        ] {
            assert_eq!(HopHeader::parse(text), None, "{text}");
        }
        assert_eq!(HopHeader::parse(&"x=1;".repeat(65)), None);
    }
}

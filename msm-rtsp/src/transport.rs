//! The Transport header (`RFC 2326 §12.39`, `RFC 7826 §18.54`), read leniently and written as peers accept it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use rtsp_types::Version;

use crate::profile::Profile;

/// Transports looked at in one header.
pub const MAX_SPECS: usize = 16;

/// What carries RTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lower {
    /// UDP, the default.
    #[default]
    Udp,
    /// Interleaved in the RTSP connection.
    Tcp,
}

/// One address of each, or a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// To one receiver.
    #[default]
    Unicast,
    /// To a group.
    Multicast,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// To read.
    #[default]
    Play,
    /// To publish.
    Record,
}

/// A pair of ports or channels, RTP first. A single one is taken with the next above it.
pub type Pair<T> = (T, T);

/// One transport.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransportSpec {
    /// The RTP profile.
    pub profile: Profile,
    /// UDP or TCP.
    pub lower: Lower,
    /// Unicast or multicast.
    pub delivery: Delivery,
    /// Where the group's or the client's packets go. Never honoured from a client.
    pub destination: Option<IpAddr>,
    /// Where they come from.
    pub source: Option<IpAddr>,
    /// Interleaved channels.
    pub interleaved: Option<Pair<u8>>,
    /// The client's ports.
    pub client_port: Option<Pair<u16>>,
    /// The server's ports.
    pub server_port: Option<Pair<u16>>,
    /// A group's ports.
    pub port: Option<Pair<u16>>,
    /// A group's time to live.
    pub ttl: Option<u8>,
    /// The synchronization source.
    pub ssrc: Option<u32>,
    /// To read or to publish.
    pub mode: Mode,
    /// RTP and RTCP on one port (2.0 `RTCP-mux`).
    pub rtcp_mux: bool,
    /// Addresses and ports came as `dest_addr` or `src_addr`. GStreamer's RTSP 2.0 knows only the parameters of 1.0, so
    /// an answer has the form of its request.
    pub has_addr: bool,
    /// One port was named for the receiver: that of RTCP is the next above it only if the peer thinks so too.
    pub single_port: bool,
    /// TCP by a connection for the media alone (2.0 `setup`, `connection` or `dest_addr` without `interleaved`).
    pub own_connection: bool,
}

impl TransportSpec {
    /// UDP unicast from a client with these ports.
    #[must_use]
    pub fn udp(client_port: Pair<u16>) -> Self {
        Self { client_port: Some(client_port), ..Self::default() }
    }

    /// Interleaved on these channels.
    #[must_use]
    pub fn tcp(interleaved: Pair<u8>) -> Self {
        Self { lower: Lower::Tcp, interleaved: Some(interleaved), ..Self::default() }
    }

    /// A group of the server's choice.
    #[must_use]
    pub fn multicast() -> Self {
        Self { delivery: Delivery::Multicast, ..Self::default() }
    }

    /// Whether it is RTP without encryption.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.profile.is_secure()
    }

    /// Reads one transport; `None` where it is no RTP transport, or its profile is not known.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = split_quoted(text, ';');
        let mut protocol = parts.next()?.trim().split('/');
        if !protocol.next()?.trim().eq_ignore_ascii_case("RTP") {
            return None;
        }
        let profile = Profile::from_token(protocol.next()?)?;
        let lower = match protocol.next().map(|lower| lower.trim().to_ascii_uppercase()).as_deref() {
            None | Some("UDP") => Lower::Udp,
            Some("TCP") => Lower::Tcp,
            Some(_) => return None,
        };
        let mut spec = Self { profile, lower, ..Self::default() };
        let (mut delivery, mut connects) = (None, false);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"').trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "unicast" => delivery = Some(Delivery::Unicast),
                "multicast" => delivery = Some(Delivery::Multicast),
                "destination" => spec.destination = value.parse().ok(),
                "source" => spec.source = value.parse().ok(),
                "interleaved" => spec.interleaved = pair(value),
                "client_port" => {
                    spec.single_port = !value.contains('-');
                    spec.client_port = pair(value);
                }
                "server_port" => spec.server_port = pair(value),
                "port" => spec.port = pair(value),
                "ttl" => spec.ttl = value.parse().ok(),
                "ssrc" => spec.ssrc = parse_ssrc(value),
                "rtcp-mux" => spec.rtcp_mux = true,
                "mode" => spec.mode = parse_mode(value),
                "dest_addr" => {
                    let (address, ports) = addresses(part);
                    spec.has_addr = true;
                    connects = true;
                    spec.single_port |= spec.client_port.is_none() && !part.contains('/');
                    spec.destination = spec.destination.or(address);
                    spec.client_port = spec.client_port.or(ports);
                }
                "src_addr" => {
                    let (address, ports) = addresses(part);
                    spec.has_addr = true;
                    spec.source = spec.source.or(address);
                    spec.server_port = spec.server_port.or(ports);
                }
                "setup" | "connection" => connects = true,
                _ => {}
            }
        }
        spec.own_connection = connects && lower == Lower::Tcp && spec.interleaved.is_none();
        // Without either word 1.0 means multicast, but whoever names ports or channels of its own means unicast.
        // A server's ports in an answer are of unicast too: those of a group are in `port`.
        let named = spec.client_port.is_some()
            || spec.interleaved.is_some()
            || lower == Lower::Tcp
            || (spec.server_port.is_some() && spec.port.is_none());
        spec.delivery = delivery.unwrap_or(if named { Delivery::Unicast } else { Delivery::Multicast });
        if spec.delivery == Delivery::Multicast && spec.port.is_none() {
            // 2.0 has no `port`: the group's ports are those of `dest_addr`.
            spec.port = spec.client_port;
        }
        Some(spec)
    }

    /// Reads a header: its transports in order of preference, those that are no RTP left out.
    #[must_use]
    pub fn parse_list(value: &str) -> Vec<Self> {
        split_quoted(value, ',').take(MAX_SPECS).filter_map(Self::parse).collect()
    }

    /// The header's value for a version; that of 2.0 has `dest_addr` and `src_addr` only where [`Self::has_addr`]. As
    /// peers accept it: UDP is not named (live555 answers 461 to `RTP/AVP/UDP`), and neither is the mode of a reader
    /// (some servers refuse `mode=play`).
    #[must_use]
    pub fn write(&self, version: Version) -> String {
        let mut text = self.profile.to_string();
        if self.lower == Lower::Tcp {
            text.push_str("/TCP");
        }
        text.push_str(if self.delivery == Delivery::Multicast { ";multicast" } else { ";unicast" });
        let mut add = |key: &str, value: String| {
            text.push(';');
            text.push_str(key);
            text.push('=');
            text.push_str(&value);
        };
        if let Some((rtp, rtcp)) = self.interleaved {
            add("interleaved", format!("{rtp}-{rtcp}"));
        }
        match version {
            Version::V2_0 if self.has_addr => {
                let client = if self.delivery == Delivery::Multicast { self.port } else { self.client_port };
                for (key, address, ports) in
                    [("dest_addr", self.destination, client), ("src_addr", self.source, self.server_port)]
                {
                    if let Some((rtp, rtcp)) = ports {
                        let one = |port| match address {
                            Some(address) => format!("\"{}\"", SocketAddr::new(address, port)),
                            None => format!("\":{port}\""),
                        };
                        add(key, format!("{}/{}", one(rtp), one(rtcp)));
                    }
                }
            }
            Version::V1_0 | Version::V2_0 => {
                if let Some(destination) = self.destination {
                    add("destination", destination.to_string());
                }
                if let Some(source) = self.source {
                    add("source", source.to_string());
                }
                for (key, ports) in [
                    ("port", self.port),
                    ("client_port", self.client_port),
                    ("server_port", self.server_port),
                ] {
                    // A group's ports were copied from 2.0's dest_addr, or belong to `port` alone.
                    if self.delivery == Delivery::Multicast && key != "port" {
                        continue;
                    }
                    if let Some((rtp, rtcp)) = ports {
                        add(key, format!("{rtp}-{rtcp}"));
                    }
                }
            }
        }
        if let Some(ttl) = self.ttl {
            add("ttl", ttl.to_string());
        }
        if let Some(ssrc) = self.ssrc {
            add("ssrc", format!("{ssrc:08X}"));
        }
        if self.mode == Mode::Record {
            add("mode", "record".into());
        }
        text
    }
}

impl fmt::Display for TransportSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.write(Version::V1_0))
    }
}

/// Splits at `separator` outside quotes.
fn split_quoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        if character == '"' {
            quoted = !quoted;
        }
        character == separator && !quoted
    })
}

fn pair<T: std::str::FromStr + Copy + Next>(value: &str) -> Option<Pair<T>> {
    match value.split_once('-') {
        Some((first, second)) => Some((first.trim().parse().ok()?, second.trim().parse().ok()?)),
        None => {
            let first: T = value.parse().ok()?;
            Some((first, first.next()?))
        }
    }
}

trait Next: Sized {
    fn next(self) -> Option<Self>;
}

impl Next for u8 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Next for u16 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// One to eight digits, with whatever padding cameras put around.
fn parse_ssrc(value: &str) -> Option<u32> {
    let first = value.split('/').next()?.trim();
    let first = first.strip_prefix("0x").or_else(|| first.strip_prefix("0X")).unwrap_or(first);
    u32::from_str_radix(first, 16).ok()
}

/// `PLAY`, `RECORD`, `receive`; any case, and lists of them.
fn parse_mode(value: &str) -> Mode {
    let is_record = |mode: &str| {
        let mode = mode.trim().trim_matches('"');
        mode.eq_ignore_ascii_case("record") || mode.eq_ignore_ascii_case("receive")
    };
    if value.split(',').any(is_record) { Mode::Record } else { Mode::Play }
}

/// `dest_addr="192.0.2.5:3456"/"192.0.2.5:3457"`, or ports only: `":3456"/":3457"`.
fn addresses(part: &str) -> (Option<IpAddr>, Option<Pair<u16>>) {
    let Some((_, value)) = part.split_once('=') else { return (None, None) };
    let mut found = value.split('/').map(|address| {
        let address = address.trim().trim_matches('"');
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        (host.trim_matches(['[', ']']).parse::<IpAddr>().ok(), port.parse::<u16>().ok())
    });
    let Some((address, Some(rtp))) = found.next() else { return (None, None) };
    let rtcp = found.next().and_then(|(_, port)| port).or_else(|| rtp.checked_add(1));
    (address, rtcp.map(|rtcp| (rtp, rtcp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_is_understood() {
        let ffmpeg = TransportSpec::parse("RTP/AVP/UDP;unicast;client_port=8000-8001").unwrap();
        assert_eq!(ffmpeg, TransportSpec::udp((8000, 8001)));
        assert_eq!(ffmpeg.write(Version::V1_0), "RTP/AVP;unicast;client_port=8000-8001");
        let gst = TransportSpec::parse("RTP/AVP/TCP;unicast;interleaved=0-1;mode=RECORD").unwrap();
        assert_eq!((gst.lower, gst.interleaved, gst.mode), (Lower::Tcp, Some((0, 1)), Mode::Record));
        for mode in ["mode=record", "mode=\"RECORD\"", "mode=receive", "mode=\"PLAY,RECORD\""] {
            let spec = TransportSpec::parse(&format!("RTP/AVP;unicast;client_port=2-3;{mode}")).unwrap();
            assert_eq!(spec.mode, Mode::Record, "{mode}");
        }
        assert_eq!(TransportSpec::parse("RTP/AVP/UDP;multicast").unwrap().delivery, Delivery::Multicast);
        assert_eq!(TransportSpec::parse("RTP/AVP").unwrap().delivery, Delivery::Multicast);
        assert_eq!(TransportSpec::parse("RTP/AVP/TCP").unwrap().delivery, Delivery::Unicast);
        assert_eq!(TransportSpec::parse("RAW/RAW/UDP;unicast;client_port=9"), None);
        // A profile becomes part of the answer: only known words are taken.
        assert_eq!(TransportSpec::parse("RTP/A\"V;unicast;client_port=8000-8001"), None);
        assert_eq!(TransportSpec::parse("RTP/XAVP;unicast;client_port=8000-8001"), None);
    }

    #[test]
    fn every_profile_is_known_over_udp_and_tcp() {
        for (text, profile, lower) in [
            ("RTP/AVPF/UDP;unicast;client_port=2-3", Profile::Avpf, Lower::Udp),
            ("RTP/SAVP;unicast;client_port=2-3", Profile::Savp, Lower::Udp),
            ("rtp/savp/tcp;unicast;interleaved=0-1", Profile::Savp, Lower::Tcp),
            ("RTP/SAVPF/TCP;unicast;interleaved=0-1", Profile::Savpf, Lower::Tcp),
        ] {
            let spec = TransportSpec::parse(text).unwrap();
            assert_eq!(
                (spec.profile, spec.lower, spec.is_plain()),
                (profile, lower, profile == Profile::Avpf)
            );
            assert_eq!(TransportSpec::parse(&spec.to_string()), Some(spec), "{text}");
        }
        let spec = TransportSpec { profile: Profile::Savpf, ..TransportSpec::tcp((0, 1)) };
        assert_eq!(spec.to_string(), "RTP/SAVPF/TCP;unicast;interleaved=0-1");
        // The first word that is known counts, not the first word.
        let list = TransportSpec::parse_list("RTP/XAVP;client_port=2-3,RTP/SAVP;client_port=2-3");
        assert_eq!(list.iter().map(|spec| spec.profile).collect::<Vec<_>>(), [Profile::Savp]);
    }

    #[test]
    fn version_two_has_quoted_addresses() {
        let text = "RTP/AVP/UDP;unicast;dest_addr=\":4588\"/\":4589\",RTP/AVP/TCP;unicast;interleaved=0-1";
        let list = TransportSpec::parse_list(text);
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].client_port, Some((4588, 4589)));
        let answer = TransportSpec {
            source: "192.0.2.1".parse().ok(),
            server_port: Some((8000, 8001)),
            ..list[0].clone()
        };
        assert_eq!(
            answer.write(Version::V2_0),
            "RTP/AVP;unicast;dest_addr=\":4588\"/\":4589\";src_addr=\"192.0.2.1:8000\"/\"192.0.2.1:8001\""
        );
        let v6 =
            TransportSpec::parse("RTP/AVP;unicast;src_addr=\"[2001:db8::1]:8000\"/\"[2001:db8::1]:8001\"")
                .unwrap();
        assert_eq!((v6.source, v6.server_port), ("2001:db8::1".parse().ok(), Some((8000, 8001))));
    }

    #[test]
    fn answers_have_the_form_of_their_request() {
        let answer = |request: &str| {
            let spec = TransportSpec::parse(request).unwrap();
            TransportSpec { server_port: Some((8000, 8001)), ..spec }.write(Version::V2_0)
        };
        // GStreamer with default-rtsp-version=2-0.
        assert_eq!(
            answer("RTP/AVP;unicast;client_port=5000-5001"),
            "RTP/AVP;unicast;client_port=5000-5001;server_port=8000-8001"
        );
        assert_eq!(
            answer("RTP/AVP;unicast;dest_addr=\":5000\"/\":5001\""),
            "RTP/AVP;unicast;dest_addr=\":5000\"/\":5001\";src_addr=\":8000\"/\":8001\""
        );
    }

    #[test]
    fn answers_of_cameras_are_tolerated() {
        let spec = TransportSpec::parse(
            "RTP/AVP/UDP; unicast ;client_port=5000-5001;server_port=6000-6001;ssrc= 1234abc;mode=\"play\";x=y",
        )
        .unwrap();
        assert_eq!((spec.server_port, spec.ssrc), (Some((6000, 6001)), Some(0x0123_4abc)));
        let group =
            TransportSpec::parse("RTP/AVP;multicast;destination=239.1.1.1;port=5000-5001;ttl=16").unwrap();
        assert_eq!((group.port, group.ttl), (Some((5000, 5001)), Some(16)));
        assert_eq!(group.to_string(), "RTP/AVP;multicast;destination=239.1.1.1;port=5000-5001;ttl=16");
    }

    #[test]
    fn writing_and_reading_agree() {
        let specs = [
            TransportSpec { server_port: Some((8000, 8001)), ssrc: Some(7), ..TransportSpec::udp((1, 2)) },
            TransportSpec { mode: Mode::Record, ..TransportSpec::tcp((2, 3)) },
            TransportSpec {
                port: Some((4, 5)),
                ttl: Some(1),
                destination: "239.0.0.1".parse().ok(),
                ..TransportSpec::multicast()
            },
        ];
        for spec in specs {
            assert_eq!(TransportSpec::parse(&spec.to_string()), Some(spec));
        }
    }

    #[test]
    fn garbage_is_no_transport() {
        for text in ["", ";", "=", "RTP", "RTP/", "\"", "RTP/AVP/SCTP", "RTP/AVP;client_port=99999-1;mode=\""]
        {
            let _ = TransportSpec::parse_list(text);
        }
        assert!(TransportSpec::parse_list("garbage;;=;").is_empty());
    }

    #[test]
    fn ports_of_a_server_mean_unicast() {
        let spec = TransportSpec::parse("RTP/AVP;server_port=6970-6971;ssrc=1").unwrap();
        assert_eq!(spec.delivery, Delivery::Unicast);
        let spec = TransportSpec::parse("RTP/AVP;destination=239.1.1.1;port=2-3;server_port=4-5").unwrap();
        assert_eq!(spec.delivery, Delivery::Multicast);
    }
}

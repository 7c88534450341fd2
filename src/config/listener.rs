//! `listeners`: where requests come in.

use super::units::{self, GroupPool, PortRange};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// One address where readers and publishers connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListenerConfig {
    /// The name in logs and metrics; unique.
    pub name: String,
    /// The TCP address for RTSP. `[::]` also takes IPv4, unless the host has no IPv6. Default: `[::]:8554`, and
    /// `[::]:8322` for rtsps.
    #[serde(with = "units::address")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The certificate for `protocol: rtsps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Describes media as SRTP (`RTP/SAVP`), with keys by SDES and MIKEY, so that players of `protocol: rtsps` can take it
    /// over UDP, through `ports`. Players that know no SRTP need a listener without. What publishers send may be SRTP
    /// in any case.
    pub srtp: bool,
    /// A file of users, `user:realm:secret` a line, who alone may read and publish here; read again when it changes.
    /// A secret is what `htdigest` writes (MD5), the same by SHA-256, or an Argon2id hash (`$argon2id$…`), whose user can
    /// log in over TLS only. Relative to the configuration file. Default: everybody may.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub users: Option<PathBuf>,
    /// The network interface for media to readers, such as `eth0`. Default: what the system routes by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The DSCP of media to readers, 0 to 63 (RFC 2474); 34 is AF41, usual for video. Default: unmarked.
    #[serde(deserialize_with = "units::dscp", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<u8>", range(max = 63)))]
    pub dscp: Option<u8>,
    /// The pair of UDP ports that plain readers see: RTP on the first, which is even, RTCP on the next. One pair serves all of them.
    /// Write the first (`8000`) or both (`8000-8001`). Each track of a publisher, and of a reader with `nat: same_ip`, has a pair of its own
    /// from 16384 to 32767.
    pub ports: PortRange,
    /// From where UDP of a session is accepted, and where it is sent to.
    pub nat: Nat,
    /// Readers that ask for multicast.
    pub multicast: MulticastConfig,
}

impl ListenerConfig {
    /// The default of `address`.
    pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8554);
    /// The default of `address` for `protocol: rtsps`, in a file.
    pub const TLS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8322);

    /// The default of `address` for `protocol: mesh`, in a file: TCP for signalling, UDP for media.
    pub const MESH_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8050);

    /// The UDP ports for RTP and RTCP.
    pub fn port_pair(&self) -> (u16, u16) {
        (self.ports.first, self.ports.first.saturating_add(1))
    }

    /// Whether plain readers are served through these. Without SRTP nobody is next to TLS, and members have their own port.
    pub(crate) fn serves_udp(&self) -> bool {
        match self.protocol {
            Protocol::Rtsp => true,
            Protocol::Rtsps => self.srtp,
            Protocol::Mesh => false,
        }
    }
}

impl Default for ListenerConfig {
    fn default() -> ListenerConfig {
        ListenerConfig {
            name: "rtsp".to_owned(),
            address: ListenerConfig::ADDRESS,
            protocol: Protocol::Rtsp,
            tls: None,
            srtp: false,
            users: None,
            interface: None,
            dscp: None,
            ports: PortRange { first: 8000, last: 8001 },
            nat: Nat::Strict,
            multicast: MulticastConfig::default(),
        }
    }
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Protocol {
    /// RTSP 1.0 and 2.0 over TCP, media over UDP, interleaved, or multicast.
    #[default]
    Rtsp,
    /// Mesh hops of other members: RTSP over mutual TLS on TCP, SRTP on the same port of UDP.
    Mesh,
    /// RTSP over TLS 1.3 or 1.2. Nothing goes in the clear: media is interleaved, or with `srtp: true` SRTP over UDP.
    Rtsps,
}

/// The files of a listener's TLS, in PEM. They are read again when they change. Relative to the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListenerTls {
    /// The certificate, and those between it and a root.
    pub certificate: PathBuf,
    /// The certificate's private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// The authorities of client certificates, which are required then. Default: clients show none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// How far a session's UDP peer may differ from what it negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Nat {
    /// Only the address of the RTSP connection and the ports of the Transport header.
    #[default]
    Strict,
    /// The address of the RTSP connection, any port: media follows the port that the peer sends from, as through a NAT.
    SameIp,
}

/// How multicast is offered to readers: one send for all readers of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MulticastConfig {
    /// The groups to take from, one for each stream.
    pub group_pool: GroupPool,
    /// How many routers a packet may pass, 1 to 255; 1 stays on the local network.
    #[serde(deserialize_with = "units::ttl")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 255)))]
    pub ttl: u8,
    /// The ports to take from, an even and an odd one for each track.
    pub ports: PortRange,
}

impl Default for MulticastConfig {
    fn default() -> MulticastConfig {
        MulticastConfig {
            group_pool: GroupPool { base: IpAddr::V4(Ipv4Addr::new(239, 255, 42, 0)), prefix: 24 },
            ttl: 1,
            ports: PortRange { first: 20_000, last: 20_999 },
        }
    }
}

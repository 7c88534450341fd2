//! What a route allows against loss on the hops behind it.

use std::net::IpAddr;
use std::time::Duration;

/// Protection under one latency budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// How much later than without loss a packet may be handed on; zero: no protection.
    pub latency: Duration,
    /// Everything that may be sent beside the media, as a share of it, in percent.
    pub overhead: u8,
    /// Forward error correction.
    pub fec: Fec,
    /// Whether lost packets are asked for again.
    pub nack: bool,
    /// Whether players, too, are told so that would take packets for lost that are only late.
    pub nack_eager: bool,
    /// The ways that media takes.
    pub paths: Paths,
}

/// Forward error correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fec {
    /// As much as is measured to be needed.
    #[default]
    Auto,
    /// None.
    Off,
    /// Always this share of the media, in percent.
    Share(u8),
}

/// Where a way begins on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathFrom {
    /// At an address.
    Address(IpAddr),
    /// At the address of an interface that is of the other end's family.
    Interface(String),
}

/// Several ways of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paths {
    /// Where they begin on this machine; nowhere in particular: one way, as the system routes.
    pub from: Vec<PathFrom>,
    /// How they are used.
    pub mode: PathMode,
}

impl Paths {
    /// How they are used, where there are several.
    pub fn mode(&self) -> Option<PathMode> {
        (self.from.len() > 1).then_some(self.mode)
    }
}

/// How several paths are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathMode {
    /// Everything goes by each of them.
    #[default]
    Duplicate,
    /// The media goes by one, what protects it by the others.
    Spread,
}

impl Protection {
    /// The default of [`latency`](Self::latency).
    pub const LATENCY: Duration = Duration::from_millis(100);
    /// The default of [`overhead`](Self::overhead).
    pub const OVERHEAD: u8 = 50;
    /// The most paths of one stream.
    pub const MAX_PATHS: usize = 4;

    /// Whether anything is done against loss.
    pub fn is_on(&self) -> bool {
        !self.latency.is_zero() && (self.nack || self.fec != Fec::Off || self.paths.from.len() > 1)
    }

    /// None at all.
    pub fn off() -> Self {
        Self { latency: Duration::ZERO, ..Self::default() }
    }
}

impl Default for Protection {
    fn default() -> Self {
        Self {
            latency: Self::LATENCY,
            overhead: Self::OVERHEAD,
            fec: Fec::Auto,
            nack: true,
            nack_eager: false,
            paths: Paths::default(),
        }
    }
}

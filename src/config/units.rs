//! How durations, sizes, port ranges, groups and addresses are written.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::de::quote;
use super::protection::{FecConfig, PathFrom};

/// Reads text, or a whole number as its text, by `FromStr`-like functions.
struct TextVisitor<T> {
    expecting: &'static str,
    parse: fn(&str) -> Result<T, String>,
    /// Whether a bare number may stand for the text.
    number: bool,
}

impl<T> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text)
            .map_err(|why| E::custom(format_args!("{}: {why}; write {}", quote(text), self.expecting)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        if self.number || number == 0 {
            return self.visit_str(&number.to_string());
        }
        Err(E::custom(format_args!("`{number}` has no unit; write {}", self.expecting)))
    }
}

/// Splits `80ms` into number and unit.
fn split_unit(text: &str) -> Result<(u64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = digits.parse().map_err(|_| "does not begin with a whole number".to_owned())?;
    Ok((number, unit.trim_start()))
}

/// Longest duration: a day.
const MAX_DURATION: Duration = Duration::from_secs(86_400);

fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text)?;
    let micros: u64 = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "" if number == 0 => 0,
        "" => return Err("has no unit".to_owned()),
        other => return Err(format!("{} is not a unit", quote(other))),
    };
    number
        .checked_mul(micros)
        .map(Duration::from_micros)
        .filter(|&duration| duration <= MAX_DURATION)
        .ok_or_else(|| "is longer than a day".to_owned())
}

/// Writes a duration in the largest unit that holds it exactly.
pub(crate) fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    for (unit, size) in [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)] {
        if micros > 0 && micros.is_multiple_of(size) {
            return format!("{}{unit}", micros / size);
        }
    }
    if micros == 0 { "0s".to_owned() } else { format!("{micros}us") }
}

/// `80ms`, `2s`, `1m`.
pub(super) mod duration {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&show_duration(*value))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let expecting = "a duration such as `80ms`, `2s` or `1m`";
        from.deserialize_any(TextVisitor { expecting, parse: parse_duration, number: false })
    }
}

/// A duration that need not be given.
pub(super) mod some_duration {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => duration::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        duration::deserialize(from).map(Some)
    }
}

fn parse_size(text: &str) -> Result<usize, String> {
    let (number, unit) = split_unit(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        other => return Err(format!("{} is not a unit", quote(other))),
    };
    number
        .checked_mul(factor)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| "is too large".to_owned())
}

/// Writes a size in the largest unit that holds it exactly.
pub(super) fn show_size(bytes: usize) -> String {
    for (unit, size) in [("GiB", 1024 * 1024 * 1024), ("MiB", 1024 * 1024), ("KiB", 1024)] {
        if bytes > 0 && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

/// `64KiB`, `2MiB`, `1500`.
pub(super) mod size {
    use super::*;

    // serde's `with` fixes the reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(in super::super) fn serialize<S: Serializer>(value: &usize, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&show_size(*value))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
        let expecting = "a size such as `64KiB` or `2MiB`";
        from.deserialize_any(TextVisitor { expecting, parse: parse_size, number: true })
    }
}

/// A range of UDP ports, both ends included: `30000-30999`, or one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port, not below the first.
    pub last: u16,
}

impl PortRange {
    /// How many ports the range has.
    pub fn count(self) -> usize {
        usize::from(self.last.saturating_sub(self.first)).saturating_add(1)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<PortRange, String> {
        let port = |text: &str| match text.trim().parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err("not ports from 1 to 65535".to_owned()),
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        if last < first {
            return Err("the last port is below the first".to_owned());
        }
        Ok(PortRange { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// Where an HTTP server listens: an address, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bind {
    /// Not at all.
    Off,
    /// At this address.
    At(SocketAddr),
}

impl Bind {
    /// The address; `None` when off.
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Bind::Off => None,
            Bind::At(address) => Some(address),
        }
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an IP address with a port".to_owned())
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Bind, String> {
        if text == "off" { Ok(Bind::Off) } else { parse_address(text).map(Bind::At) }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Off => f.write_str("off"),
            Bind::At(address) => address.fmt(f),
        }
    }
}

/// A pool of multicast groups: `239.255.42.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupPool {
    /// The first address of the pool; its host bits are zero.
    pub base: IpAddr,
    /// Length of the prefix, in bits.
    pub prefix: u8,
}

impl GroupPool {
    /// How many groups the pool has, at most `u32::MAX`.
    pub fn count(self) -> u32 {
        let width: u32 = if self.base.is_ipv4() { 32 } else { 128 };
        1_u32.checked_shl(width.saturating_sub(u32::from(self.prefix))).unwrap_or(u32::MAX)
    }

    /// The group with this index; `None` beyond [`GroupPool::count`].
    pub fn group(self, index: u32) -> Option<IpAddr> {
        if index >= self.count() {
            return None;
        }
        Some(match self.base {
            IpAddr::V4(base) => IpAddr::V4(base.to_bits().checked_add(index)?.into()),
            IpAddr::V6(base) => IpAddr::V6(base.to_bits().checked_add(u128::from(index))?.into()),
        })
    }
}

impl FromStr for GroupPool {
    type Err = String;

    fn from_str(text: &str) -> Result<GroupPool, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| "not an IP address".to_owned())?;
        let width: u8 = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => {
                prefix.parse().ok().filter(|bits| *bits <= width).ok_or("not a prefix length".to_owned())?
            }
            None => width,
        };
        let host_bits = u32::from(width - prefix.min(width));
        let clean = match base {
            IpAddr::V4(base) => base.to_bits().trailing_zeros() >= host_bits,
            IpAddr::V6(base) => base.to_bits().trailing_zeros() >= host_bits,
        };
        if !clean {
            return Err("the address has bits beyond its prefix".to_owned());
        }
        // The shortest prefixes whose whole range is multicast: RFC 5771 §3, RFC 4291 §2.7.
        let shortest = if base.is_ipv4() { 4 } else { 8 };
        if !base.is_multicast() || prefix < shortest {
            return Err("not multicast".to_owned());
        }
        Ok(GroupPool { base, prefix })
    }
}

impl fmt::Display for GroupPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// How many workers run media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Workers {
    /// One for each core.
    #[default]
    Auto,
    /// This many, 1 to 1024.
    Count(u16),
}

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Workers, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Workers::Auto),
            Ok(count @ 1..=1024) => Ok(Workers::Count(count)),
            _ => Err("not possible".to_owned()),
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Workers::Auto => f.write_str("auto"),
            Workers::Count(count) => count.fmt(f),
        }
    }
}

/// A share: `50%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Percent, String> {
        let number = text.strip_suffix('%').map(str::trim_end).ok_or_else(|| "has no `%`".to_owned())?;
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        match number.parse() {
            Ok(share @ 0..=100) if is_number => Ok(Percent(share)),
            _ => Err("not possible".to_owned()),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

macro_rules! as_text {
    ($($type:ty: $expecting:literal),* $(,)?) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                from.deserialize_any(TextVisitor { expecting: $expecting, parse: str::parse, number: true })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )*};
}

as_text! {
    PortRange: "a range of ports such as `30000-30999`",
    Bind: "an address such as `127.0.0.1:18000`, or `off`",
    GroupPool: "a range of multicast groups such as `239.255.42.0/24`",
    Workers: "`auto` or a number from 1 to 1024",
    Percent: "a share from `0%` to `100%`",
    FecConfig: "`auto`, `off` or a share such as `20%`",
    PathFrom: "an address of this machine such as `192.0.2.10`, or an interface such as `eth0`",
}

/// A socket address as text.
pub(super) mod address {
    use super::*;

    // serde's `with` fixes the reference.
    pub(in super::super) fn serialize<S: Serializer>(value: &SocketAddr, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
        let expecting = "an address such as `0.0.0.0:8554` or `[::]:8554`";
        from.deserialize_any(TextVisitor { expecting, parse: parse_address, number: true })
    }
}

/// A number in a range, with a message that says the range.
fn ranged<'de, D: Deserializer<'de>>(from: D, allowed: std::ops::RangeInclusive<u8>) -> Result<u8, D::Error> {
    let value = u64::deserialize(from)?;
    u8::try_from(value).ok().filter(|value| allowed.contains(value)).ok_or_else(|| {
        de::Error::custom(format_args!(
            "{value} is not possible; write a number from {} to {}",
            allowed.start(),
            allowed.end()
        ))
    })
}

/// A DSCP, 0 to 63 (RFC 2474 §3).
pub(super) fn dscp<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    ranged(from, 0..=63).map(Some)
}

/// A multicast TTL, 1 to 255.
pub(super) fn ttl<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    ranged(from, 1..=255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in
            [("80ms", 80), ("2s", 2000), ("1m", 60_000), ("1h", 3_600_000), ("0", 0), ("5 s", 5000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "s", "-1s", "1", "1 day", "1.5s", "25h", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["80ms", "2s", "1m", "3h", "150us", "0s"] {
            assert_eq!(show_duration(parse_duration(text).expect(text)), text);
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("2MiB"), Ok(2 << 20));
        assert_eq!(parse_size("1500"), Ok(1500));
        for text in ["", "KiB", "1KB", "1k", "-1", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for text in ["64KiB", "1GiB", "1500B"] {
            assert_eq!(show_size(parse_size(text).expect(text)), text);
        }
    }

    #[test]
    fn port_ranges() {
        assert_eq!("30000-30999".parse(), Ok(PortRange { first: 30_000, last: 30_999 }));
        assert_eq!("8000".parse(), Ok(PortRange { first: 8000, last: 8000 }));
        assert_eq!("30000-30999".parse::<PortRange>().map(PortRange::count), Ok(1000));
        for text in ["", "-", "0", "1-0", "9-8", "1-70000", "a-b", "1-2-3"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn group_pools() {
        let pool: GroupPool = "239.255.42.0/30".parse().expect("pool");
        assert_eq!(pool.count(), 4);
        assert_eq!(pool.group(3), Some("239.255.42.3".parse().expect("address")));
        assert_eq!(pool.group(4), None);
        let pool: GroupPool = "ff15::/16".parse().expect("pool");
        assert_eq!(pool.count(), u32::MAX);
        assert_eq!(pool.group(1), Some("ff15::1".parse().expect("address")));
        assert_eq!("239.1.2.3".parse::<GroupPool>().map(GroupPool::count), Ok(1));
        for text in
            ["", "10.0.0.0/8", "239.255.42.1/24", "224.0.0.0/3", "239.0.0.0/33", "ff00::/7", "239.0.0.0/x"]
        {
            assert!(text.parse::<GroupPool>().is_err(), "{text}");
        }
    }

    #[test]
    fn workers_and_binds() {
        assert_eq!("auto".parse(), Ok(Workers::Auto));
        assert_eq!("2".parse(), Ok(Workers::Count(2)));
        assert!("0".parse::<Workers>().is_err());
        assert!("1025".parse::<Workers>().is_err());
        assert_eq!("off".parse(), Ok(Bind::Off));
        assert!("18000".parse::<Bind>().is_err());
    }
}

//! One address that serves streams.

use crate::route::host::is_host_text;
use crate::route::pattern::{default_port, parse_port, split_authority};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// One address that serves streams: `rtsp://host:port`, or `rtsps://host:port` for TLS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// `rtsp` or `rtsps`.
    pub scheme: String,
    /// A name or address; an IPv6 address without brackets.
    pub host: String,
    /// The port, 1 to 65535.
    pub port: u16,
}

/// What is wrong with an endpoint's URL. The text never holds credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Neither `rtsp://…` nor `rtsps://…`.
    #[error("not an `rtsp://host:port` or `rtsps://host:port` URL")]
    Scheme,
    /// `user:password@`.
    #[error("has credentials in the URL; put them under the cluster's `auth`")]
    Credentials,
    /// The host is empty or has characters that no host has.
    #[error("the host is empty or not a name or address (IPv6 goes in brackets: `rtsp://[::1]:8554`)")]
    Host,
    /// The port is not 1 to 65535.
    #[error("the port is not 1 to 65535")]
    Port,
    /// A path, query or fragment.
    #[error("has a path; an endpoint is `rtsp://host:port`, the path comes from the route's `rewrite`")]
    Path,
}

impl Endpoint {
    /// Parses `rtsp://host[:port]`, port 554 unless given, 322 for `rtsps` (RFC 7826 §4.2). A lone `/` at the end is ignored.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn parse(url: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse_with_port(url, None)
    }

    /// The same with another port where none is given.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn parse_with_port(url: &str, default: Option<u16>) -> Result<Endpoint, EndpointError> {
        let (scheme, rest) = url.split_once("://").ok_or(EndpointError::Scheme)?;
        if !["rtsp", "rtsps"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(EndpointError::Scheme);
        }
        if rest.contains('@') {
            return Err(EndpointError::Credentials);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(EndpointError::Path);
        }
        let (host, port) = split_authority(authority);
        let port = match port {
            Some(text) => parse_port(text).ok_or(EndpointError::Port)?,
            None => default.or_else(|| default_port(scheme)).ok_or(EndpointError::Port)?,
        };
        let host = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().map_err(|_| EndpointError::Host)?.to_string(),
            None if is_host_text(host) => host.to_ascii_lowercase(),
            None => return Err(EndpointError::Host),
        };
        Ok(Endpoint { scheme: scheme.to_ascii_lowercase(), host, port })
    }

    /// `host:port` with brackets where needed: what a resolver or socket takes.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(url)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (given, shown) in [
            ("rtsp://10.0.0.11:8554", "rtsp://10.0.0.11:8554"),
            ("RTSP://Cam.Example/", "rtsp://cam.example:554"),
            ("rtsp://[::1]:8554", "rtsp://[::1]:8554"),
            ("rtsp://[0:0::1]", "rtsp://[::1]:554"),
        ] {
            assert_eq!(Endpoint::parse(given).expect(given).to_string(), shown);
        }
    }

    #[test]
    fn refusals() {
        use EndpointError as E;
        for (given, error) in [
            ("10.0.0.11:8554", E::Scheme),
            ("http://h", E::Scheme),
            ("rtsp://", E::Host),
            ("rtsp://h:0", E::Port),
            ("rtsp://h:+1", E::Port),
            ("rtsp://h:", E::Port),
            ("rtsp://h:99999", E::Port),
            ("rtsp://::1:8554", E::Host),
            ("rtsp://[::g]", E::Host),
            ("rtsp://u:secret@h", E::Credentials),
            ("rtsp://h/live", E::Path),
            ("rtsp://h?x", E::Path),
        ] {
            let got = Endpoint::parse(given).expect_err(given);
            assert_eq!(got, error, "{given}");
            assert!(!got.to_string().contains("secret"));
        }
    }
}

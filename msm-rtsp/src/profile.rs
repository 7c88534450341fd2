//! RTP profiles, by the names that `m=` lines and Transport headers give them.

use std::fmt;

/// An RTP profile: whether packets are encrypted, and whether feedback may come early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Plain RTP (`RFC 3551`), the default.
    #[default]
    Avp,
    /// Plain RTP with early feedback (`RFC 4585`).
    Avpf,
    /// SRTP (`RFC 3711 §12`).
    Savp,
    /// SRTP with early feedback (`RFC 5124`).
    Savpf,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 4] = [Self::Avp, Self::Avpf, Self::Savp, Self::Savpf];

    /// The name after `RTP/`.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Avp => "AVP",
            Self::Avpf => "AVPF",
            Self::Savp => "SAVP",
            Self::Savpf => "SAVPF",
        }
    }

    /// The profile of this name, compared without case as peers write it.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.token().eq_ignore_ascii_case(token.trim()))
    }

    /// The profile of an `m=` line's protocol: `RTP/SAVP`, with whatever some servers put after a slash as in a
    /// Transport header.
    #[must_use]
    pub fn from_protocol(protocol: &str) -> Option<Self> {
        let mut parts = protocol.split('/');
        parts.next().filter(|name| name.trim().eq_ignore_ascii_case("RTP"))?;
        Self::from_token(parts.next()?)
    }

    /// Whether its packets are SRTP.
    #[must_use]
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Savp | Self::Savpf)
    }

    /// The profile with the same feedback whose packets are plain.
    #[must_use]
    pub fn plain(self) -> Self {
        match self {
            Self::Avp | Self::Savp => Self::Avp,
            Self::Avpf | Self::Savpf => Self::Avpf,
        }
    }

    /// The profile with the same feedback whose packets are SRTP.
    #[must_use]
    pub fn secure(self) -> Self {
        match self {
            Self::Avp | Self::Savp => Self::Savp,
            Self::Avpf | Self::Savpf => Self::Savpf,
        }
    }
}

/// As in an `m=` line: `RTP/SAVP`.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RTP/{}", self.token())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for profile in Profile::ALL {
            assert_eq!(Profile::from_token(profile.token()), Some(profile));
            assert_eq!(Profile::from_protocol(&profile.to_string()), Some(profile));
            assert_eq!(
                Profile::from_protocol(&format!("rtp/{}/TCP", profile.token().to_lowercase())),
                Some(profile)
            );
        }
        for none in ["", "RTP", "RTP/", "RTP/AVPX", "AVP", "UDP/TLS/RTP/SAVPF", "TCP/RTP/AVP", "udp"] {
            assert_eq!(Profile::from_protocol(none), None, "{none}");
        }
    }

    #[test]
    fn plain_and_secure_keep_the_feedback() {
        use Profile::{Avp, Avpf, Savp, Savpf};
        assert_eq!(Profile::ALL.map(Profile::plain), [Avp, Avpf, Avp, Avpf]);
        assert_eq!(Profile::ALL.map(Profile::secure), [Savp, Savpf, Savp, Savpf]);
        assert_eq!(Profile::ALL.map(Profile::is_secure), [false, false, true, true]);
    }
}

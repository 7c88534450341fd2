//! Names and parameters in session descriptions (RFC 8866 §6.6, §6.15).

use std::time::Duration;

use super::payload::VERSION;

/// The encoding name in `a=rtpmap`. Names compare without case.
pub const ENCODING: &str = "x-msm-rs";

/// Clock rate in Hz of a repair stream whose source has none of its own to follow.
pub const CLOCK_RATE: u32 = 90_000;

/// Longest repair window that is taken from a peer.
pub const MAX_REPAIR_WINDOW: Duration = Duration::from_secs(10);

/// The parameters of `a=fmtp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// The longest time from a block's first source packet to its last repair packet.
    pub repair_window: Duration,
}

/// Why parameters are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// `version` is missing, or is not one that is known here.
    #[error("no version {VERSION} of {ENCODING}")]
    Version,
    /// `repair-window` is missing, is no number of microseconds, is zero or more than [`MAX_REPAIR_WINDOW`].
    #[error("no repair-window in microseconds up to {} s", MAX_REPAIR_WINDOW.as_secs())]
    RepairWindow,
    /// A parameter is there twice.
    #[error("a parameter twice")]
    Twice,
}

impl Parameters {
    /// Reads what stands behind the payload type in `a=fmtp`. Unknown parameters are ignored.
    ///
    /// # Errors
    ///
    /// One that is required is missing, or has no possible value.
    pub fn parse(text: &str) -> Result<Self, ParametersError> {
        let (mut version, mut window) = (None, None);
        for (name, value) in text.split(';').filter_map(|part| part.split_once('=')) {
            let place = match name.trim() {
                name if name.eq_ignore_ascii_case("version") => &mut version,
                name if name.eq_ignore_ascii_case("repair-window") => &mut window,
                _ => continue,
            };
            if place.replace(value.trim()).is_some() {
                return Err(ParametersError::Twice);
            }
        }
        // A sign is no digit.
        let number = |text: Option<&str>| {
            text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse::<u64>().ok())
        };
        if number(version) != Some(u64::from(VERSION)) {
            return Err(ParametersError::Version);
        }
        let repair_window = number(window).map(Duration::from_micros);
        let possible = repair_window.filter(|window| !window.is_zero() && *window <= MAX_REPAIR_WINDOW);
        Ok(Self { repair_window: possible.ok_or(ParametersError::RepairWindow)? })
    }
}

impl std::fmt::Display for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version={VERSION};repair-window={}", self.repair_window.as_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_they_are_written() {
        let parameters = Parameters { repair_window: Duration::from_millis(200) };
        assert_eq!(parameters.to_string(), "version=1;repair-window=200000");
        assert_eq!(Parameters::parse(&parameters.to_string()), Ok(parameters));
        assert_eq!(Parameters::parse(" Repair-Window = 200000 ; new=1;x; VERSION=1"), Ok(parameters));
        let document = include_str!("../../../docs/reed-solomon.md");
        assert!(document.contains(&format!("a=rtpmap:97 {ENCODING}/{CLOCK_RATE}")));
        assert!(document.contains(&format!("a=fmtp:97 {parameters}")));
    }

    #[test]
    fn what_is_required_is_not_guessed() {
        for (text, error) in [
            ("", ParametersError::Version),
            ("repair-window=5", ParametersError::Version),
            ("version=2;repair-window=5", ParametersError::Version),
            ("version=1", ParametersError::RepairWindow),
            ("version=1;repair-window=0", ParametersError::RepairWindow),
            ("version=1;repair-window=+5", ParametersError::RepairWindow),
            ("version=1;repair-window=5ms", ParametersError::RepairWindow),
            ("version=1;repair-window=10000001", ParametersError::RepairWindow),
            ("version=1;repair-window=99999999999999999999999", ParametersError::RepairWindow),
            ("version=1;repair-window=5;version=1", ParametersError::Twice),
        ] {
            assert_eq!(Parameters::parse(text), Err(error), "{text}");
        }
    }
}

//! `a=fmtp` of FlexFEC (RFC 8627 §5).

use std::fmt;
use std::time::Duration;

/// The one parameter that is negotiated: how long a repair packet and the packets that it protects may be apart.
///
/// Its standard counts it in microseconds (RFC 8627 §5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairWindow(pub Duration);

impl RepairWindow {
    /// Reads what stands behind the payload type in `a=fmtp`, or behind `a=fmtp:` as a whole. `None` without a window that is a
    /// number above 0.
    ///
    /// The examples of RFC 8627 §7 have `a=fmtp:98; repair-window=200000` and `repair-window:200000`: they are read, too.
    ///
    /// ```
    /// use msm_fec::xor::flexfec::RepairWindow;
    /// let window = RepairWindow::parse("98 repair-window=200000").unwrap();
    /// assert_eq!(window.0.as_millis(), 200);
    /// assert_eq!(window.to_string(), "repair-window=200000");
    /// ```
    #[must_use]
    pub fn parse(parameters: &str) -> Option<Self> {
        let value = parameters.split(';').find_map(|part| {
            let (name, value) = part.split_once(['=', ':'])?;
            // In front of the first name may stand the payload type.
            let name = name.split_whitespace().next_back()?;
            name.eq_ignore_ascii_case("repair-window").then(|| value.trim())
        })?;
        let microseconds: u32 = value.parse().ok().filter(|microseconds| *microseconds > 0)?;
        Some(Self(Duration::from_micros(u64::from(microseconds))))
    }
}

impl fmt::Display for RepairWindow {
    /// As it stands behind the payload type in `a=fmtp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let microseconds = self.0.as_micros().clamp(1, u128::from(u32::MAX));
        write!(f, "repair-window={microseconds}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_are_read_with_their_slips() {
        let window = Some(RepairWindow(Duration::from_micros(200_000)));
        for text in [
            "repair-window=200000",
            "98 repair-window=200000",
            "98; repair-window=200000",
            "98;repair-window=200000",
            "98 repair-window:200000",
            "98 L=5; D=10; Repair-Window=200000; x",
            "98 repair-window = 200000 ; L=5",
        ] {
            assert_eq!(RepairWindow::parse(text), window, "{text}");
        }
    }

    #[test]
    fn what_is_no_window_is_none() {
        for text in [
            "",
            "98",
            "98 repair-window",
            "98 repair-window=",
            "98 repair-window=0",
            "98 repair-window=-1",
            "98 repair-window=4294967296",
            "98 repair-window=200ms",
            "98 my-repair-windows=5",
            "98 =;:;",
            "é repair-window:é",
        ] {
            assert_eq!(RepairWindow::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (window, text) in
            [(Duration::from_millis(80), "80000"), (Duration::ZERO, "1"), (Duration::MAX, "4294967295")]
        {
            let written = RepairWindow(window).to_string();
            assert_eq!(written, format!("repair-window={text}"));
            assert_eq!(RepairWindow::parse(&written).unwrap().0.as_micros(), text.parse().unwrap());
        }
    }
}

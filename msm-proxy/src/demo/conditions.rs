//! What a person asks of the link: shares, times, and the link's settings made of them.

use std::time::Duration;

use clap::Args;
use msm_link::{Jitter, Loss, Reorder, Settings};

/// Variation of the delay where nothing else is said.
const JITTER: Duration = Duration::from_millis(2);
/// A packet that is held back is overtaken by so many, and waits so long at most.
const OVERTAKEN: (u32, Duration) = (3, Duration::from_millis(20));
/// The longest time that may be asked for.
const LONGEST: Duration = Duration::from_secs(10);

/// The link between the members.
#[derive(Clone, Debug, Args)]
pub struct LinkArgs {
    /// Share of the packets that the link loses, each way
    #[arg(long, value_name = "SHARE", default_value = "2%", value_parser = share)]
    pub loss: f64,
    /// How many are lost in a row, on average; with 1, each by itself
    #[arg(long, value_name = "PACKETS", default_value = "1", value_parser = burst)]
    pub burst: f64,
    /// Round trip: half of it each way
    #[arg(long, value_name = "TIME", default_value = "30ms", value_parser = time)]
    pub rtt: Duration,
    /// How much the delay varies, up and down; packets keep their order [default: 2ms, none with --rtt 0]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub jitter: Option<Duration>,
    /// Share of the packets that three others overtake
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub reorder: f64,
    /// Which packets meet all that: another number, another run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl LinkArgs {
    fn jitter(&self) -> Duration {
        self.jitter.unwrap_or(if self.rtt.is_zero() { Duration::ZERO } else { JITTER })
    }

    /// Whether packets would pass it as if it were not there.
    pub(crate) fn is_plain(&self) -> bool {
        self.loss <= 0.0 && self.reorder <= 0.0 && self.rtt.is_zero() && self.jitter().is_zero()
    }

    /// Of one direction: both have the same.
    pub(crate) fn settings(&self) -> Settings {
        let loss = if self.loss <= 0.0 {
            Loss::None
        } else if self.burst > 1.0 {
            Loss::bursts(self.loss, self.burst)
        } else {
            Loss::Random(self.loss)
        };
        let reorder = Reorder { probability: self.reorder, distance: OVERTAKEN.0, at_most: OVERTAKEN.1 };
        Settings {
            loss,
            delay: self.rtt / 2,
            jitter: if self.jitter().is_zero() { Jitter::None } else { Jitter::Uniform(self.jitter()) },
            reorder: (self.reorder > 0.0).then_some(reorder),
            ..Settings::default()
        }
    }

    /// In a few words.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("{} lost", percent(self.settings().loss.rate()));
        if self.loss > 0.0 && self.burst > 1.0 {
            text += &format!(" in runs of {}", self.burst);
        }
        text += &format!(", {} ms there and back", milliseconds(self.rtt));
        if !self.jitter().is_zero() {
            text += &format!(" ± {}", milliseconds(self.jitter()));
        }
        if self.reorder > 0.0 {
            text += &format!(", {} overtaken", percent(self.reorder));
        }
        text
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// `2 %`, `0.5 %`: as many digits as there are.
fn percent(share: f64) -> String {
    format!("{} %", (share * 1e6).round() / 1e4)
}

/// `5%`, or 0.
fn share(text: &str) -> Result<f64, String> {
    let wanted = "write a share such as `5%`";
    let number = text.strip_suffix('%').or((text == "0").then_some("0"));
    let number: f64 = number.and_then(|number| number.trim().parse().ok()).ok_or(wanted)?;
    if (0.0..=100.0).contains(&number) { Ok(number / 100.0) } else { Err(wanted.into()) }
}

fn burst(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (1.0..=1000.0).contains(number));
    number.ok_or_else(|| "write a number from 1 to 1000".into())
}

/// `40ms`, `2.5ms`, `1s`, or 0.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let seconds = units.iter().find_map(|(unit, size)| {
        let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(number * size)
    });
    let seconds = seconds.or((text == "0").then_some(0.0)).ok_or("write a time such as `40ms`")?;
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST);
    time.ok_or_else(|| format!("write a time from 0 to {} s", LONGEST.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        link: LinkArgs,
    }

    fn link(words: &[&str]) -> Result<LinkArgs, clap::Error> {
        Line::try_parse_from(["demo"].iter().chain(words)).map(|line| line.link)
    }

    #[test]
    fn words_become_settings() {
        let default = link(&[]).unwrap();
        let expected = Settings {
            loss: Loss::Random(0.02),
            delay: Duration::from_millis(15),
            jitter: Jitter::Uniform(JITTER),
            ..Settings::default()
        };
        assert_eq!(default.settings(), expected);
        assert_eq!(default.describe(), "2 % lost, 30 ms there and back ± 2");
        let words = ["--loss", "5%", "--burst", "3", "--rtt", "40ms", "--jitter", "0", "--reorder", "0.5 %"];
        let much = link(&words).unwrap();
        let settings = much.settings();
        assert_eq!(settings.loss, Loss::bursts(0.05, 3.0));
        assert_eq!((settings.delay, settings.jitter), (Duration::from_millis(20), Jitter::None));
        assert!(settings.reorder.is_some_and(|reorder| (reorder.probability - 0.005).abs() < 1e-12));
        assert_eq!(much.describe(), "5 % lost in runs of 3, 40 ms there and back, 0.5 % overtaken");
    }

    #[test]
    fn a_link_that_does_nothing_is_none() {
        assert!(link(&["--loss", "0", "--rtt", "0"]).unwrap().is_plain());
        assert!(link(&["--loss", "0%", "--rtt", "0ms"]).unwrap().is_plain());
        for words in [["--loss", "0"], ["--rtt", "0"]] {
            assert!(!link(&words).unwrap().is_plain(), "{words:?}");
        }
        assert!(!link(&["--loss", "0", "--rtt", "0", "--jitter", "1ms"]).unwrap().is_plain());
        assert!(!link(&["--loss", "0", "--rtt", "0", "--reorder", "1%"]).unwrap().is_plain());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for words in [
            ["--loss", "5"],
            ["--loss", "0.05"],
            ["--loss", "101%"],
            ["--loss", "-1%"],
            ["--loss", "nan%"],
            ["--loss", "%"],
            ["--burst", "0"],
            ["--burst", "inf"],
            ["--rtt", "40"],
            ["--rtt", "-1ms"],
            ["--rtt", "11s"],
            ["--rtt", "nans"],
            ["--jitter", "1e400s"],
            ["--reorder", "many"],
            ["--seed", "-1"],
        ] {
            assert!(link(&words).is_err(), "{words:?}");
        }
        assert_eq!(time("2.5ms"), Ok(Duration::from_micros(2500)));
        assert_eq!(time("1s"), Ok(Duration::from_secs(1)));
    }
}

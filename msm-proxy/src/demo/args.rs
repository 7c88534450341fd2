//! What `msm-proxy demo` can be asked for.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use msm::config::{FecConfig, NackConfig, ProtectionConfig};

use super::conditions::{LinkArgs, time};

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after this many seconds; without it, at Ctrl-C
    #[arg(short, long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Print one JSON object a second
    #[arg(long)]
    pub json: bool,
    /// Where the proxy listens; port 0 takes any, for media too
    #[arg(short, long, value_name = "HOST:PORT", default_value = "127.0.0.1:8554")]
    pub address: SocketAddr,
    /// How much later than it could have come a packet may come: all that protection has; 0 is none
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = time)]
    pub latency: Duration,
    /// Forward error correction: as much as it takes, none, or always a share such as 20%
    #[arg(long, value_name = "auto|off|SHARE", default_value = "auto", value_parser = fec)]
    pub fec: FecConfig,
    /// Whether lost packets are asked for again: while a round trip fits, or never
    #[arg(long, value_name = "auto|off", default_value = "auto", value_parser = nack)]
    pub nack: NackConfig,
    /// The link between the members
    #[command(flatten)]
    pub link: LinkArgs,
}

impl DemoArgs {
    /// Of both members: of two budgets the shorter one counts.
    pub(crate) fn protection(&self) -> ProtectionConfig {
        let default = ProtectionConfig::default();
        // Who asks for a share means it.
        let overhead = match self.fec {
            FecConfig::Share(share) => default.overhead.max(share),
            FecConfig::Auto | FecConfig::Off => default.overhead,
        };
        ProtectionConfig { latency: self.latency, fec: self.fec, nack: self.nack, overhead, ..default }
    }
}

fn fec(text: &str) -> Result<FecConfig, String> {
    text.parse().map_err(|_| "write `auto`, `off` or a whole share such as `20%`".into())
}

fn nack(text: &str) -> Result<NackConfig, String> {
    match text {
        "auto" => Ok(NackConfig::Auto),
        "off" => Ok(NackConfig::Off),
        _ => Err("write `auto` or `off`".into()),
    }
}

/// Shown by `msm-proxy demo --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  msm-proxy demo                                       some loss, and nothing of it reaches the reader
  msm-proxy demo --latency 0                           the same without protection
  msm-proxy demo --loss 10% --rtt 40ms --latency 120ms
  msm-proxy demo --loss 5% --burst 3 --rtt 40ms --latency 120ms
  msm-proxy demo --loss 5% --rtt 80ms --latency 60ms   no time to ask again: FEC alone
  msm-proxy demo --fec off                             asking again alone
  msm-proxy demo --loss 0 --rtt 0                      members with nothing between them
  msm-proxy demo --seconds 5 --json

JSON, since the start: `packets` the reader got; `lost` packets of the media that the link lost; of those
`recovered_by_fec`, `recovered_by_nack` (asked for again) and `recovered_by_path` came in time, `unrecovered` did not:
the reader missed them. `overhead` is what was sent beside the media, as a share of its bytes. Of the last second:
`latency_ms` from source to reader, `waited_ms` what of that is not the link's delay; median and 99th percentile.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use msm::config::Percent;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        demo: DemoArgs,
    }

    fn demo(words: &[&str]) -> Result<DemoArgs, clap::Error> {
        Line::try_parse_from(["demo"].iter().chain(words)).map(|line| line.demo)
    }

    #[test]
    fn a_share_that_is_asked_for_is_allowed() {
        for (share, overhead) in [("20%", 50), ("60%", 60), ("100%", 100)] {
            let protection = demo(&["--fec", share]).unwrap().protection();
            assert_eq!(protection.overhead, Percent(overhead), "{share}");
        }
    }

    #[test]
    fn what_is_no_share_is_told_what_one_is() {
        for words in [["--fec", "20"], ["--fec", "no"], ["--fec", "101%"], ["--fec", ""]] {
            let error = demo(&words).unwrap_err().to_string();
            assert!(
                error.contains("write `auto`, `off` or a whole share such as `20%`"),
                "{words:?}: {error}"
            );
        }
    }
}

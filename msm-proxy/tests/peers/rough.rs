//! A link between the servers and the proxy that takes its time and loses datagrams at random: nftables drops and counts them.

use crate::lab::{Lab, Place, SERVER, UP};
use crate::need::workspace;
use crate::process::Process;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);
/// The servers' end of the link; the proxy's is [`UP`].
const SERVER_END: &str = "srv0";

/// What an end does to datagrams that come to it by the link.
const RULES: &str = "
table inet rough
delete table inet rough
table inet rough {
  counter came { }
  counter lost { }
  counter flows_came { }
  counter flows_lost { }
  chain gone {
    counter name lost
    FLOWS counter name flows_lost
    drop
  }
  chain link {
    counter name came
    FLOWS counter name flows_came
    numgen random mod 1000 < LOSS jump gone
  }
  chain input {
    type filter hook input priority 0
    iifname INTERFACE meta l4proto udp jump link
  }
}
";

/// The link.
#[derive(Debug)]
pub(crate) struct Rough<'lab> {
    lab: &'lab Lab,
    /// `None`: without delay.
    delay: Option<Process>,
}

/// What came to one end, and was dropped there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Datagrams, those that were dropped among them.
    pub(crate) came: u64,
    pub(crate) lost: u64,
    /// Packets of the flows that were named.
    pub(crate) flows_came: u64,
    pub(crate) flows_lost: u64,
}

impl<'lab> Rough<'lab> {
    /// Puts the link in the place of the lab's, with this round trip and no losses yet.
    pub(crate) fn new(lab: &'lab Lab, rtt: Duration) -> Self {
        let (server, proxy) = (lab.namespace(Place::Server), lab.namespace(Place::Proxy));
        if rtt.is_zero() {
            // A datagram is lost by itself, not with those that were sent in one call.
            for (place, interface) in [(&server, SERVER_END), (&proxy, UP)] {
                ip(&format!("-n {place} link set dev {interface} gso_max_segs 1"));
            }
            return Self { lab, delay: None };
        }
        ip(&format!("-n {server} link del {SERVER_END}"));
        let mut command = Command::new("/usr/bin/python3");
        command.arg(workspace().join("msm-proxy/tests/peers/delay.py"));
        command.arg((rtt.as_secs_f64() * 500.0).to_string()).args([&server, SERVER_END, &proxy, UP]);
        let mut delay = lab.start("delay", command);
        delay.until(LIMIT, "delayed link", |delay| delay.out().contains("ready"));
        for (place, interface, address) in [(&server, SERVER_END, SERVER), (&proxy, UP, "10.71.0.2")] {
            ip(&format!("-n {place} addr add {address}/24 dev {interface}"));
            ip(&format!("-n {place} link set {interface} up"));
        }
        Self { lab, delay: Some(delay) }
    }

    /// By how much packets were later than the link is to have them, so far and where it is worth a word.
    pub(crate) fn late(&self) -> Vec<Duration> {
        let out = self.delay.as_ref().map(Process::out).unwrap_or_default();
        let late = out.lines().filter_map(|line| line.strip_prefix("late ")?.parse().ok());
        late.map(Duration::from_millis).collect()
    }

    /// From now on so many of a thousand datagrams are lost, each way. Packets of flows with these labels, which are their SSRCs,
    /// are counted apart.
    pub(crate) fn lose(&self, per_mille: u32, labels: &[u32]) {
        let labels = labels.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        // Behind eight bytes of UDP and eight of RTP. No label is 0.
        let flows = format!("@th,128,32 {{ {} }}", if labels.is_empty() { "0" } else { &labels });
        let rules = RULES.replace("FLOWS", &flows).replace("LOSS", &per_mille.to_string());
        for (place, interface) in [(Place::Server, SERVER_END), (Place::Proxy, UP)] {
            self.nft(place, &rules.replace("INTERFACE", interface));
        }
    }

    /// Ends the losses; what was counted at the servers' end, and at the proxy's.
    pub(crate) fn heal(&self) -> (Dropped, Dropped) {
        let at = |place| {
            self.nft(place, "flush chain inet rough link");
            let counters = self.nft(place, "list counters table inet rough");
            let count = |name: &str| {
                let (_, rest) = counters.split_once(&format!("counter {name} {{")).unwrap();
                let packets = rest.split_whitespace().nth(1).unwrap();
                packets.parse().unwrap_or_else(|_| panic!("{name} in {counters}"))
            };
            Dropped {
                came: count("came"),
                lost: count("lost"),
                flows_came: count("flows_came"),
                flows_lost: count("flows_lost"),
            }
        };
        (at(Place::Server), at(Place::Proxy))
    }

    fn nft(&self, place: Place, rules: &str) -> String {
        let file = self.lab.file("rough.nft");
        std::fs::write(&file, rules).unwrap();
        let mut command = self.lab.command(place, "nft");
        command.arg("-f").arg(&file);
        self.lab.run("nft", command, LIMIT).success().out
    }
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "{status}: ip {words}");
}

//! An independent judge of what is on the wire: tshark reads RTP headers and times, and the rest is arithmetic on them.

use crate::lab::{DOWN, Lab, Place};
use crate::process::Process;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// Bytes of each packet that are kept: all headers.
const SNAP: &str = "96";

/// A capture of UDP at the clients' interface.
#[derive(Debug)]
pub(crate) struct Capture<'lab> {
    lab: &'lab Lab,
    process: Process,
}

/// The packets of one source to one destination.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub(crate) payload_type: u8,
    /// Arrival in seconds, sequence number, timestamp; in order of arrival.
    pub(crate) packets: Vec<(f64, u16, u32)>,
}

/// What tells flows apart: destination address and port, SSRC.
pub(crate) type FlowKey = (String, u16, u32);

impl<'lab> Capture<'lab> {
    /// Starts to capture.
    pub(crate) fn start(lab: &'lab Lab) -> Capture<'lab> {
        // Datagrams that are sent in one call are to be cut apart before they are captured, not by the receiver.
        let mut command = lab.command(Place::Proxy, "ip");
        command.args(["link", "set", "dev", DOWN, "gso_max_segs", "1"]);
        lab.run("ip", command, Duration::from_secs(10)).success();
        let mut command = lab.command(Place::Client, "dumpcap");
        command.args(["-q", "-i", "cli0", "-s", SNAP, "-B", "64", "-f", "udp", "-w", "capture.pcapng"]);
        let mut process = lab.start("dumpcap", command);
        process.until(Duration::from_secs(10), "capture", |process| process.err().contains("File:"));
        Capture { lab, process }
    }

    /// Ends, and returns the flows of RTP that came from `source`.
    pub(crate) fn flows(self, source: &str) -> BTreeMap<FlowKey, Flow> {
        let finished = self.process.interrupt(Duration::from_secs(10));
        assert!(finished.err.contains("dropped on interface"), "{}", finished.err);
        let dropped =
            finished.err.split("dropped on interface").nth(1).and_then(|rest| rest.split('/').nth(1));
        assert!(
            dropped.is_some_and(|rest| rest.starts_with("0 ")),
            "dumpcap itself lost packets: {}",
            finished.err
        );

        let mut command = Command::new("tshark");
        command.arg("-r").arg(self.lab.file("capture.pcapng"));
        // The proxy sends unicast from one port; the rest is found by its looks.
        command.args(["-d", "udp.port==8000,rtp", "--enable-heuristic", "rtp_udp", "-T", "fields"]);
        command.args(["-Y", &format!("rtp && ip.src=={source}")]);
        for field in [
            "frame.time_epoch",
            "ip.dst",
            "udp.dstport",
            "rtp.ssrc",
            "rtp.p_type",
            "rtp.seq",
            "rtp.timestamp",
        ] {
            command.args(["-e", field]);
        }
        let finished = self.lab.run("tshark", command, Duration::from_secs(120)).success();
        let mut flows = BTreeMap::<FlowKey, Flow>::new();
        for line in finished.out.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let ssrc = u32::from_str_radix(fields[3].trim_start_matches("0x"), 16).unwrap();
            let payload_type: u8 = fields[4].parse().unwrap();
            if !(96..128).contains(&payload_type) {
                continue;
            }
            let flow = flows.entry((fields[1].to_owned(), fields[2].parse().unwrap(), ssrc)).or_default();
            flow.payload_type = payload_type;
            let number = |n: usize| fields[n].parse::<u64>().unwrap();
            flow.packets.push((fields[0].parse().unwrap(), number(5) as u16, number(6) as u32));
        }
        flows
    }
}

impl Flow {
    /// The sequence numbers that never came, between the first and the last one.
    pub(crate) fn lost(&self) -> usize {
        let mut seen = std::collections::BTreeSet::new();
        let Some(&(_, first, _)) = self.packets.first() else { return 0 };
        let mut highest = i64::from(first);
        for &(_, sequence, _) in &self.packets {
            let step = i64::from(sequence.wrapping_sub(highest as u16) as i16);
            seen.insert(highest + step);
            highest = highest.max(highest + step);
        }
        let lowest = seen.first().copied().unwrap_or_default();
        (highest - lowest + 1) as usize - seen.len()
    }

    /// The packets whose sequence number does not follow its predecessor's.
    pub(crate) fn out_of_order(&self) -> usize {
        self.packets.windows(2).filter(|pair| pair[1].1 != pair[0].1.wrapping_add(1)).count()
    }

    /// Interarrival jitter in seconds after the last packet, RFC 3550 §6.4.1. The first second is left out: a late reader
    /// gets what it missed faster than it was sent.
    pub(crate) fn jitter(&self, rate: f64) -> f64 {
        let Some(&(start, ..)) = self.packets.first() else { return 0.0 };
        let mut jitter = 0.0;
        let steady: Vec<_> = self.packets.iter().filter(|packet| packet.0 >= start + 1.0).collect();
        for pair in steady.windows(2) {
            let media = f64::from(pair[1].2.wrapping_sub(pair[0].2) as i32) / rate;
            let difference: f64 = (pair[1].0 - pair[0].0) - media;
            jitter += (difference.abs() - jitter) / 16.0;
        }
        jitter
    }

    /// Seconds of media for each second on the wire, without the first second.
    pub(crate) fn pace(&self, rate: f64) -> f64 {
        let start = self.packets.first().map_or(0.0, |packet| packet.0);
        let steady: Vec<_> = self.packets.iter().filter(|packet| packet.0 >= start + 1.0).collect();
        let (Some(first), Some(last)) = (steady.first(), steady.last()) else { return 0.0 };
        f64::from(last.2.wrapping_sub(first.2)) / rate / (last.0 - first.0)
    }

    /// The clock rate of our two formats.
    pub(crate) fn rate(&self) -> f64 {
        if self.payload_type == 96 { 90_000.0 } else { 48_000.0 }
    }
}

#[test]
fn the_judge_sees_loss_and_order() {
    let flow = |numbers: &[u16]| Flow {
        payload_type: 96,
        packets: numbers.iter().map(|&n| (f64::from(n), n, u32::from(n))).collect(),
    };
    assert_eq!(flow(&[65534, 65535, 0, 1]).lost(), 0);
    assert_eq!(flow(&[65534, 65535, 0, 1]).out_of_order(), 0);
    assert_eq!(flow(&[65534, 0, 1, 4]).lost(), 3);
    assert_eq!(flow(&[1, 3, 2, 4]).lost(), 0);
    assert_eq!(flow(&[1, 3, 2, 4]).out_of_order(), 3);
}

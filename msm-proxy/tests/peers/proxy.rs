//! The proxy under test.

use crate::lab::{DOWN, Lab, PROXY, Place, SERVER, UP};
use crate::process::{Finished, Process};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The program.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_msm-proxy");

/// What it logs when it has taken over from another process.
const TAKEN_OVER: &str = "serving in the place of another process";

/// A running `msm-proxy`.
#[derive(Debug)]
pub(crate) struct Proxy<'lab> {
    lab: &'lab Lab,
    process: Process,
}

/// The URL of a stream at the proxy, as clients write it.
pub(crate) fn url(path: &str) -> String {
    format!("rtsp://{PROXY}:8554/{path}")
}

/// The configuration that sends every path to one server, with `cluster` as further keys of its cluster.
pub(crate) fn forwarding(endpoint: &str, cluster: &str) -> String {
    format!(
        r#"routes:
  - {{name: all, match: {{url: "rtsp://*/{{path...}}"}}, rewrite: "/{{path}}", backends: [{{cluster: servers}}]}}
clusters:
  servers: {{endpoints: ["{endpoint}"], interface: {UP}{}{cluster}}}
"#,
        if cluster.is_empty() { "" } else { ", " }
    )
}

/// The same for the usual server and a transport towards it.
pub(crate) fn to_server(transport: &str) -> String {
    forwarding(&format!("rtsp://{SERVER}:8554"), &format!("transport: {transport}"))
}

/// The usual listener.
pub(crate) fn apps() -> String {
    format!("listeners: [{{name: apps, address: \"[::]:8554\", interface: {DOWN}}}]\n")
}

/// The configuration with a local route only: what is published is read.
pub(crate) const LOCAL: &str = "routes: [{name: local, match: {url: \"rtsp://*/{path...}\"}}]\n";

fn text(listeners: &str, config: &str) -> String {
    format!("{listeners}log: {{level: debug}}\n{config}")
}

impl<'lab> Proxy<'lab> {
    /// Starts it with the usual listener and `config`, and waits until it is ready.
    pub(crate) fn start(lab: &'lab Lab, config: &str) -> Proxy<'lab> {
        Proxy::with_listeners(lab, &apps(), config)
    }

    /// Starts it with these listeners and `config`, and waits until it is ready.
    pub(crate) fn with_listeners(lab: &'lab Lab, listeners: &str, config: &str) -> Proxy<'lab> {
        Proxy::of(lab, Path::new(BINARY), listeners, config)
    }

    /// The same, as a program that lies elsewhere.
    pub(crate) fn of(lab: &'lab Lab, program: &Path, listeners: &str, config: &str) -> Proxy<'lab> {
        fs::write(lab.file("msm.yaml"), text(listeners, config)).unwrap();
        let mut process = Proxy::run(lab, program, "msm-proxy");
        process.until(Duration::from_secs(10), "readiness", |_| lab.http(18_021, "/ready").is_some());
        Proxy { lab, process }
    }

    /// Starts another one with the same configuration, which is to take over from this one, and waits until it has.
    pub(crate) fn next(&self) -> Proxy<'lab> {
        let mut process = Proxy::run(self.lab, Path::new(BINARY), "msm-proxy-next");
        process.until(Duration::from_secs(10), "hand-over", |process| process.err().contains(TAKEN_OVER));
        Proxy { lab: self.lab, process }
    }

    fn run(lab: &Lab, program: &Path, name: &str) -> Process {
        let mut command = lab.command(Place::Proxy, program);
        command.args(["run", "--config"]).arg(lab.file("msm.yaml")).env_remove("RUST_LOG");
        lab.start(name, command)
    }

    /// Replaces the configuration by one with the usual listener, and has it read at once.
    pub(crate) fn reload(&self, config: &str) {
        let new = self.lab.file("msm.yaml.new");
        fs::write(&new, text(&apps(), config)).unwrap();
        fs::rename(new, self.lab.file("msm.yaml")).unwrap();
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }

    /// The sum of a metric over the series that have all of `labels`, such as `direction="rx"`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.lab.http(18_020, "/metrics").expect("the proxy serves /metrics");
        let mut sum = 0.0;
        for line in text.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            if found == name && labels.iter().all(|label| rest.contains(label)) {
                sum += value.parse::<f64>().unwrap_or_default();
            }
        }
        sum
    }

    /// Prints what it lost and dropped, for whoever reads why a test failed.
    pub(crate) fn print_losses(&self) {
        let text = self.lab.http(18_020, "/metrics").unwrap_or_default();
        let losses = ["msm_lost", "msm_unrecovered", "msm_reader_lost", "msm_dropped", "msm_packets"];
        for line in text.lines().filter(|line| losses.iter().any(|name| line.starts_with(name))) {
            println!("{line}");
        }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.err()
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn interrupt(self) -> Finished {
        self.process.interrupt(Duration::from_secs(15))
    }
}

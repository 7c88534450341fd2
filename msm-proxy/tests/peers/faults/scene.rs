//! Servers, the proxy, and the readers of one fault.

use super::crowd::{Player, Probes, READERS, players};
use super::names::{self, NAME};
use super::probe::Seen;
use super::table::Row;
use super::upgrade;
use crate::lab::{Lab, Place};
use crate::names::NameServer;
use crate::need::workspace;
use crate::process::Process;
use crate::proxy::{Proxy, url};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// Endpoints of the stream that the fault is done to, each in a namespace of its own. The server of another stream is where servers are.
pub(crate) const ENDPOINTS: [Place; 3] = [Place::Endpoint(0), Place::Endpoint(1), Place::Endpoint(2)];
const CALM: Place = Place::Server;
/// Readers of the other stream.
const CALM_READERS: usize = 4;
/// How long readers read before the fault, and after what is done is done.
const BEFORE: Duration = Duration::from_secs(4);
const AFTER: Duration = Duration::from_secs(6);

/// Something that happens to endpoints.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// How many endpoints there are.
    pub(crate) endpoints: usize,
    /// How the proxy reads from them.
    pub(crate) transport: &'static str,
    /// Further keys of the cluster.
    pub(crate) cluster: &'static str,
    /// Whether a name stands for the endpoints.
    pub(crate) named: bool,
    /// Whether another process may take the proxy's place.
    pub(crate) upgrades: bool,
    /// Options of the servers, one after the other.
    pub(crate) options: [&'static [&'static str]; 3],
    /// What is done, and how long that takes at most.
    pub(crate) act: fn(&mut Scene<'_>),
    pub(crate) lasts: Duration,
    /// The longest gap that a reader may see.
    pub(crate) bound: Duration,
    /// Whether the proxy has to leave an endpoint.
    pub(crate) leaves: bool,
    /// Whether not even a packet may be lost where the fault is done.
    pub(crate) lossless: bool,
}

/// What differs from the usual configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Other {
    /// Of the first of the endpoints.
    pub(crate) weight: Option<u32>,
    /// One more of them, by its URL.
    pub(crate) endpoint: Option<String>,
    /// Lines that are added.
    pub(crate) routes: String,
    pub(crate) clusters: String,
}

/// One fault's surroundings.
pub(crate) struct Scene<'lab> {
    pub(crate) fault: &'static Fault,
    pub(crate) servers: Vec<Option<Process>>,
    pub(crate) proxy: Option<Proxy<'lab>>,
    pub(crate) names: Option<NameServer>,
    /// The one that has taken the proxy's place.
    pub(crate) next: Option<Proxy<'lab>>,
    calm: Option<Process>,
    pub(crate) lab: &'lab Lab,
    /// When the endpoint was struck, where that is not at once.
    pub(crate) struck: Option<SystemTime>,
    pub(crate) wrong: Vec<String>,
}

impl<'lab> Scene<'lab> {
    /// Starts the servers, and the proxy in front of them.
    pub(crate) fn set(lab: &'lab Lab, fault: &'static Fault) -> Scene<'lab> {
        lab.add_endpoints(u8::try_from(ENDPOINTS.len()).unwrap());
        let mut scene = Scene {
            fault,
            servers: Vec::new(),
            proxy: None,
            names: fault.named.then(|| names::server(lab, fault.endpoints)),
            next: None,
            calm: None,
            lab,
            struck: None,
            wrong: Vec::new(),
        };
        for index in 0..fault.endpoints {
            let server = scene.server(index);
            scene.servers.push(Some(server));
        }
        scene.calm = Some(server(lab, "calm", CALM, &[]));
        scene.proxy = Some(Proxy::start(lab, &scene.config(&Other::default())));
        scene
    }

    /// The configuration.
    pub(crate) fn config(&self, other: &Other) -> String {
        let Fault { transport, cluster, endpoints, .. } = self.fault;
        let calm = CALM.address();
        let mut urls: Vec<String> = ENDPOINTS
            .iter()
            .take(*endpoints)
            .map(|place| format!("\"rtsp://{}:8554\"", place.address()))
            .collect();
        if let (Some(weight), Some(first)) = (other.weight, urls.first_mut()) {
            *first = format!("{{url: {first}, weight: {weight}}}");
        }
        urls.extend(other.endpoint.as_ref().map(|url| format!("\"{url}\"")));
        let source = match &self.names {
            Some(names) => format!("dns: {{name: {NAME}, servers: [\"{}\"], port: 8554}}", names.address),
            None => format!("endpoints: [{}]", urls.join(", ")),
        };
        let Other { routes, clusters, .. } = other;
        let upgrade = if self.fault.upgrades { upgrade::key(self.lab) } else { String::new() };
        format!(
            r#"{upgrade}routes:
{routes}  - {{name: calm, match: {{url: "rtsp://*/calm/{{path...}}"}}, rewrite: "/{{path}}", backends: [{{cluster: calm}}]}}
  - {{name: all, match: {{url: "rtsp://*/{{path...}}"}}, rewrite: "/{{path}}", backends: [{{cluster: servers}}]}}
clusters:
{clusters}  calm: {{endpoints: ["rtsp://{calm}:8554"], transport: tcp}}
  servers: {{{source}, transport: {transport}{cluster}}}
"#
        )
    }

    /// Starts the endpoint with this index.
    pub(crate) fn server(&self, index: usize) -> Process {
        server(self.lab, &format!("server-{index}"), ENDPOINTS[index], self.fault.options[index])
    }

    /// Runs a command in the namespace of an endpoint.
    pub(crate) fn at(&self, index: usize, program: &str, arguments: &[&str]) {
        let status = self.lab.command(ENDPOINTS[index], program).args(arguments).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    }

    /// Sends a signal to the endpoint with this index.
    pub(crate) fn signal(&self, index: usize, signal: &str) {
        let id = self.servers[index].as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Does the fault to readers, and measures.
    pub(crate) fn play(mut self) -> Row {
        let players = players(self.lab, &url("test"));
        let start = Instant::now();
        let end = start + BEFORE + self.fault.lasts + AFTER;
        let probes = Probes::start(self.lab, &url("test"), READERS - players.len(), end);
        let calm = Probes::start(self.lab, &url("calm/test"), CALM_READERS, end);
        sleep(BEFORE);
        let (fault, wall) = (Instant::now(), SystemTime::now());
        (self.fault.act)(&mut self);
        if fault.elapsed() > self.fault.lasts + AFTER / 2 {
            self.wrong.push(format!("it took {:?}, longer than readers stay", fault.elapsed()));
        }
        sleep(end.saturating_duration_since(Instant::now()).saturating_sub(Duration::from_secs(3)));
        let ended: Vec<String> = players.iter().filter_map(|player| Player::goes_on(player).err()).collect();
        let broken = ended.len();
        let mut wrong = std::mem::take(&mut self.wrong);
        wrong.extend(ended);
        let (seen, calm) = (probes.done(), calm.done());
        drop(players);
        let mut row = Row {
            fault: self.fault.name,
            about: self.fault.about,
            kept: READERS.saturating_sub(broken),
            gaps: Vec::new(),
            bound: self.fault.bound,
            elsewhere: calm.iter().flat_map(|seen| &seen.tracks).map(super::probe::Track::lost).sum(),
            detected: self.detected(self.struck.unwrap_or(wall)),
            growth: 0.0,
            lip_sync: 0.0,
            wrong,
        };
        for (number, seen) in seen.iter().enumerate() {
            judge(&mut row, number, seen, fault, end);
            let lost: u64 = seen.tracks.iter().map(super::probe::Track::lost).sum();
            if self.fault.lossless && lost > 0 {
                row.wrong.push(format!("probe {number}: {lost} packets lost"));
            }
        }
        row.gaps.sort();
        for (number, seen) in calm.iter().enumerate() {
            let why =
                seen.ended.clone().or_else(|| (!seen.flows(end)).then(|| "got nothing any more".to_owned()));
            row.wrong.extend(why.map(|why| format!("reader {number} of the other stream: {why}")));
        }
        if self.fault.leaves && row.detected.is_none() {
            row.wrong.push("the proxy says nothing of leaving the endpoint".to_owned());
        }
        if !row.is_well() {
            for proxy in self.proxy.iter().chain(&self.next) {
                let log = proxy.log();
                let lines: Vec<_> =
                    log.lines().filter(|line| line.starts_with("20") && !line.contains("DEBUG")).collect();
                println!("--- the proxy:\n{}", lines.join("\n"));
            }
        }
        row
    }

    /// How long after the fault the proxy says that it leaves an endpoint.
    fn detected(&self, fault: SystemTime) -> Option<Duration> {
        let fault = fault.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let log = self.proxy.as_ref().unwrap().log();
        let told = log
            .lines()
            .filter(|line| LEAVES.iter().any(|words| line.contains(words)))
            .filter_map(time_of_day);
        // Of one day: a run across midnight UTC would have to be repeated.
        let day =
            Duration::from_secs(fault.as_secs() % 86_400) + Duration::from_nanos(fault.subsec_nanos().into());
        told.filter(|told| *told >= day).map(|told| told - day).min()
    }
}

/// What the proxy's log says when a stream leaves its endpoint.
const LEAVES: [&str; 2] = ["source lost", "endpoint is left"];

/// The time at the beginning of a line of the log: `2026-11-29T15:58:58.919865Z`.
fn time_of_day(line: &str) -> Option<Duration> {
    let time = line.split_once('T')?.1.split_once('Z')?.0;
    let mut seconds = 0.0;
    for part in time.split(':') {
        seconds = seconds * 60.0 + part.parse::<f64>().ok()?;
    }
    Some(Duration::from_secs_f64(seconds))
}

/// What a probe says of the fault.
fn judge(row: &mut Row, number: usize, seen: &Seen, fault: Instant, end: Instant) {
    let breaks: Vec<_> = seen.tracks.iter().filter_map(super::probe::Track::breaks).collect();
    let why = match (&seen.ended, breaks.first()) {
        (Some(why), _) => Some(format!("ended: {why}")),
        (None, Some(why)) => Some(why.clone()),
        (None, None) => (!seen.flows(end)).then(|| "got nothing any more".to_owned()),
    };
    if let Some(why) = why {
        row.kept = row.kept.saturating_sub(1);
        row.wrong.push(format!("probe {number}: {why}"));
        return;
    }
    row.gaps.push(seen.gap(fault));
    if let Some([video, audio]) = seen.growth(fault) {
        row.growth = row.growth.max(video).max(audio);
        row.lip_sync = row.lip_sync.max((video - audio).abs());
    }
}

/// A real server.
fn server(lab: &Lab, name: &str, place: Place, options: &[&str]) -> Process {
    let mut command = lab.command(place, "/usr/bin/python3");
    let script = if options.first() == Some(&"--status") { "status_server.py" } else { "gst_server.py" };
    command.arg(workspace().join("msm-proxy/tests/peers").join(script));
    command.args(["--address", &place.address()]).args(options);
    let mut process = lab.start(name, command);
    process.until(Duration::from_secs(15), "ready", |process| process.out().contains("ready"));
    process
}

//! A cluster as a whole, in virtual time.

mod checks;
mod limits;
mod members;
mod outliers;
mod panic;
mod priorities;
mod properties;
mod shares;
mod slow_start;
mod zones;

use std::time::{Duration, Instant};

use super::*;

/// A cluster, and the time.
struct Bed {
    cluster: Cluster,
    start: Instant,
    now: Instant,
    number: u64,
}

fn specs(urls: &[&str]) -> Vec<EndpointSpec> {
    urls.iter().map(|url| EndpointSpec::new(Endpoint::parse(url).expect(url))).collect()
}

/// `a`, `b`, `c`, …, and so on with numbers.
fn named(count: usize) -> Vec<EndpointSpec> {
    let letter = |index: usize| char::from(b'a' + index as u8).to_string();
    (0..count)
        .map(|index| if index < 26 { letter(index) } else { format!("h{index}") })
        .map(|name| EndpointSpec::new(Endpoint::parse(&format!("rtsp://{name}")).unwrap()))
        .collect()
}

impl Bed {
    fn new(endpoints: Vec<EndpointSpec>, options: ClusterOptions) -> Self {
        let start = some_instant();
        let spec = ClusterSpec { name: "c".into(), endpoints, options };
        Bed { cluster: Cluster::new(&spec, 1, start), start, now: start, number: 0 }
    }

    fn id(&self, host: &str) -> EndpointId {
        self.cluster.endpoints().find(|(_, spec)| spec.endpoint.host == host).expect(host).0
    }

    fn health(&self, host: &str) -> Health {
        self.cluster.view(self.now).find(|view| view.spec.endpoint.host == host).expect(host).health
    }

    fn pick_without(&mut self, tried: &[EndpointId]) -> Result<String, PickError> {
        self.number += 1;
        let hash = crate::route::hash(&self.number.to_be_bytes());
        let key = PickKey { client: hash, url: hash };
        self.cluster.pick(self.now, key, tried).map(|(_, endpoint)| endpoint.host.clone())
    }

    fn pick(&mut self) -> Result<String, PickError> {
        self.pick_without(&[])
    }

    /// How many of `count` picks each gets, in order.
    fn counts(&mut self, count: u64) -> Vec<u64> {
        let picks: Vec<String> = (0..count).map(|_| self.pick().unwrap()).collect();
        let hosts: Vec<String> =
            self.cluster.endpoints().map(|(_, spec)| spec.endpoint.host.clone()).collect();
        hosts.iter().map(|host| picks.iter().filter(|pick| *pick == host).count() as u64).collect()
    }

    fn begin(&mut self, host: &str) {
        self.cluster.begin(self.id(host));
    }

    fn outcome(&mut self, host: &str, url: u64, outcome: Outcome) {
        let id = self.id(host);
        self.cluster.handle_outcome(self.now, id, url, outcome);
    }

    fn set_up(&mut self, host: &str, url: u64) {
        self.outcome(host, url, Outcome::SetUp { took: Duration::from_millis(20) });
    }

    fn events(&mut self) -> Vec<ClusterEvent> {
        std::iter::from_fn(|| self.cluster.poll_event()).collect()
    }

    /// The events' names and endpoints.
    fn news(&mut self) -> Vec<String> {
        self.events().iter().map(told).collect()
    }

    /// Until `millis` after the start, checks being answered by `answer`. Returns when each was asked for.
    fn run(
        &mut self,
        millis: u64,
        mut answer: impl FnMut(&Check, Duration) -> Option<Result<(), CheckFailure>>,
    ) -> Vec<(u64, String)> {
        let end = self.start + Duration::from_millis(millis);
        let mut asked = Vec::new();
        for _ in 0..1_000_000 {
            while let Some(check) = self.cluster.poll_check(self.now) {
                let since = self.now - self.start;
                asked.push((since.as_millis() as u64, check.endpoint.host.clone()));
                if let Some(answer) = answer(&check, since) {
                    self.cluster.handle_check(self.now, check.id, answer);
                }
            }
            match self.cluster.poll_timeout() {
                Some((at, _)) if at <= end => {
                    assert!(at > self.now, "no progress");
                    self.now = at;
                    self.cluster.handle_timeout(at);
                }
                _ => {
                    self.now = end;
                    return asked;
                }
            }
        }
        panic!("no end");
    }

    /// The same where all checks succeed.
    fn wait(&mut self, millis: u64) {
        self.run(millis, |_, _| Some(Ok(())));
    }
}

fn told(event: &ClusterEvent) -> String {
    match event {
        ClusterEvent::Removed { endpoint, .. } => format!("removed {}", endpoint.host),
        ClusterEvent::Unhealthy { endpoint, .. } => format!("unhealthy {}", endpoint.host),
        ClusterEvent::Healthy { endpoint, .. } => format!("healthy {}", endpoint.host),
        ClusterEvent::Ejected { endpoint, .. } => format!("ejected {}", endpoint.host),
        ClusterEvent::Returned { endpoint, .. } => format!("returned {}", endpoint.host),
        ClusterEvent::Panic { usable, of } => format!("panic {usable}/{of}"),
        ClusterEvent::Calm => "calm".into(),
    }
}

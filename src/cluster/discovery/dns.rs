//! Endpoints from DNS: A and AAAA, or SRV.

mod ask;
mod srv;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use msm_core::cluster::{Endpoint, EndpointSpec};

use self::ask::{Addresses, Failure, Hosts, resolver};
use super::schedule::Schedule;
use super::{Found, Source, settle};
use crate::config::{DnsConfig, DnsKind};

/// All questions of one round, with their repetitions.
const ROUND: Duration = Duration::from_secs(30);

/// What is asked, and what the answers lack.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DnsSpec {
    name: String,
    kind: DnsKind,
    scheme: &'static str,
    port: u16,
    interval: Option<Duration>,
    /// None: the system's.
    servers: Vec<SocketAddr>,
}

impl DnsSpec {
    /// `port` is that of endpoints without one, unless it is the scheme's.
    pub(crate) fn of(given: &DnsConfig, port: Option<u16>) -> Self {
        let scheme = given.scheme.name();
        let default = if scheme == "rtsps" { 322 } else { 554 };
        Self {
            name: given.name.clone(),
            kind: given.kind,
            scheme,
            port: given.port.or(port).unwrap_or(default),
            interval: Some(given.interval).filter(|interval| !interval.is_zero()),
            servers: given.servers.iter().filter_map(|text| DnsConfig::server(text)).collect(),
        }
    }

    fn endpoint(&self, address: IpAddr, port: u16, weight: u32) -> EndpointSpec {
        let host = address.to_canonical().to_string();
        let endpoint = Endpoint { scheme: self.scheme.to_owned(), host, port };
        EndpointSpec { weight, ..EndpointSpec::new(endpoint) }
    }
}

/// Asks again when an answer expires.
pub(crate) struct Dns {
    spec: DnsSpec,
    schedule: Schedule,
    /// Made anew after a failure: the system's name servers may be others by then.
    resolver: Option<TokioResolver>,
    hosts: Hosts,
}

/// A whole answer.
struct Answer {
    specs: Vec<EndpointSpec>,
    ttl: Duration,
    /// What was missing, and taken from before.
    problem: Option<String>,
}

impl Dns {
    pub(crate) fn new(spec: DnsSpec, seed: u64) -> Self {
        let schedule = Schedule::new(Instant::now(), spec.interval, seed);
        Self { spec, schedule, resolver: None, hosts: Hosts::default() }
    }

    async fn ask(&mut self) -> Result<Answer, Failure> {
        let resolver = match &self.resolver {
            Some(resolver) => resolver.clone(),
            None => {
                let servers = self.spec.servers.clone();
                let made = tokio::task::spawn_blocking(move || resolver(&servers)).await;
                let made = made.map_err(|_| Failure::new("the process ends"))??;
                self.resolver.insert(made).clone()
            }
        };
        match self.spec.kind {
            DnsKind::Address => {
                let names = vec![self.spec.name.clone()];
                let Addresses { mut by_name, ttl, problem, fresh } =
                    self.hosts.resolve(&resolver, names).await;
                let found = by_name.pop().map(|(_, addresses)| addresses).unwrap_or_default();
                if !fresh {
                    return Err(Failure::new(problem.unwrap_or_else(|| "no address".into())));
                }
                let specs =
                    found.into_iter().map(|address| self.spec.endpoint(address, self.spec.port, 1)).collect();
                Ok(Answer { specs, ttl: ttl.unwrap_or_default(), problem })
            }
            DnsKind::Srv => self.ask_service(&resolver).await,
        }
    }

    async fn ask_service(&mut self, resolver: &TokioResolver) -> Result<Answer, Failure> {
        let (targets, ttl) = ask::service(resolver, &self.spec.name).await?;
        let mut problem = None;
        let groups = srv::groups(targets, &mut problem);
        let names: BTreeSet<String> = groups.iter().flatten().map(|target| target.name.clone()).collect();
        let found = self.hosts.resolve(resolver, names.into_iter().collect()).await;
        let problem = problem.or(found.problem);
        if !found.fresh {
            return Err(Failure::new(
                problem.unwrap_or_else(|| "no target of the service has an address".into()),
            ));
        }
        let mut specs = Vec::new();
        for group in groups {
            let priority = group.first().map_or(0, |target| target.priority);
            let own = srv::weigh(&group, &found.by_name).into_iter().map(|(address, port, weight)| {
                EndpointSpec { priority, ..self.spec.endpoint(address, port, weight) }
            });
            specs.extend(own);
        }
        let ttl = found.ttl.map_or(ttl, |own| own.min(ttl));
        Ok(Answer { specs, ttl, problem })
    }
}

impl Source for Dns {
    const KIND: &'static str = "dns";

    fn describe(&self) -> String {
        let Self { spec: DnsSpec { name, kind, .. }, .. } = self;
        format!("{} of {name}", if *kind == DnsKind::Srv { "SRV" } else { "A, AAAA" })
    }

    async fn next(&mut self) -> Found {
        tokio::time::sleep_until(self.schedule.poll_timeout().into()).await;
        let asked = tokio::time::timeout(ROUND, self.ask()).await;
        let now = Instant::now();
        match asked.unwrap_or_else(|_| Err(Failure::new("not all answers came in time"))) {
            Ok(Answer { specs, ttl, mut problem }) => {
                self.schedule.handle_answer(now, ttl);
                let endpoints = Some(settle(specs, &mut problem));
                Found { endpoints, problem }
            }
            Err(failure) => {
                self.schedule.handle_failure(now);
                self.resolver = None;
                Found { endpoints: None, problem: Some(failure.0) }
            }
        }
    }
}

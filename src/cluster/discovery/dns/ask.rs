//! Questions, and what is kept where an answer does not come.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::srv::Target;

/// How long one name server is waited for, and how often it is asked again.
const TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 2;
/// Questions under way at once.
const AT_ONCE: usize = 16;

/// Why there is no answer, for people.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl Failure {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Who is asked. Waits for the disk.
pub(super) fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, Failure> {
    let unusable = |error: NetError| Failure::new(format!("the system's name servers: {error}"));
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio().map_err(unusable)?
    } else {
        let servers = servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.to_vec())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder
    };
    let options = builder.options_mut();
    // What is asked has expired; and answers are asked for in full, which EDNS makes room for.
    options.cache_size = 0;
    options.edns0 = true;
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    builder.build().map_err(unusable)
}

/// The addresses of some names.
pub(super) struct Addresses {
    /// In the order of the names; none for a name that has none.
    pub(super) by_name: Vec<(String, Vec<IpAddr>)>,
    /// Until the first of them expires.
    pub(super) ttl: Option<Duration>,
    /// The first that is wrong.
    pub(super) problem: Option<String>,
    /// Whether any name was answered with an address.
    pub(super) fresh: bool,
}

/// The last good answers, by name and kind.
#[derive(Default)]
pub(super) struct Hosts {
    known: BTreeMap<(String, bool), Vec<IpAddr>>,
}

impl Hosts {
    /// Asks for A and AAAA of each name. Where one of them, or both, do not come, those that were known before stay: a
    /// name server that loses questions takes no endpoint away.
    pub(super) async fn resolve(&mut self, resolver: &TokioResolver, names: Vec<String>) -> Addresses {
        let mut asking = JoinSet::new();
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        for (name, v6) in names.iter().flat_map(|name| [(name.clone(), false), (name.clone(), true)]) {
            let (resolver, at_once) = (resolver.clone(), Arc::clone(&at_once));
            asking.spawn_local(async move {
                let _turn = at_once.acquire().await;
                let kind = if v6 { RecordType::AAAA } else { RecordType::A };
                let answer = resolver.lookup(name.as_str(), kind).await;
                ((name, v6), answer)
            });
        }
        let mut ttl = None;
        let mut problems = BTreeMap::new();
        let mut fresh = BTreeMap::new();
        while let Some(asked) = asking.join_next().await {
            let Ok((key, answer)) = asked else { continue };
            match answer {
                Ok(lookup) => {
                    let found = lookup.answers().iter();
                    ttl = least(ttl, found.clone().map(|record| record.ttl));
                    let addresses = found.filter_map(|record| match &record.data {
                        RData::A(address) => Some(IpAddr::from(address.0)),
                        RData::AAAA(address) => Some(IpAddr::from(address.0)),
                        _ => None,
                    });
                    fresh.insert(key, addresses.collect());
                }
                Err(error) if error.is_no_records_found() => {
                    problems.insert(key.clone(), (true, texts(&error)));
                    fresh.insert(key, Vec::new());
                }
                Err(error) => {
                    problems.insert(key, (false, texts(&error)));
                }
            }
        }
        let mut problem = None;
        let any = fresh.values().any(|own: &Vec<IpAddr>| !own.is_empty());
        let by_name = names
            .into_iter()
            .map(|name| (self.settle(&name, &fresh, &problems, &mut problem), name))
            .map(|(addresses, name)| (name, addresses))
            .collect::<Vec<_>>();
        let is_asked = |name: &str| by_name.iter().any(|(asked, _)| asked == name);
        self.known.retain(|(name, _), _| is_asked(name));
        Addresses { by_name, ttl, problem, fresh: any }
    }

    /// What is to be used of one name.
    fn settle(
        &mut self,
        name: &str,
        fresh: &BTreeMap<(String, bool), Vec<IpAddr>>,
        problems: &BTreeMap<(String, bool), (bool, String)>,
        problem: &mut Option<String>,
    ) -> Vec<IpAddr> {
        let keys = [(name.to_owned(), false), (name.to_owned(), true)];
        let any = keys.iter().any(|key| fresh.get(key).is_some_and(|own| !own.is_empty()));
        let denied = keys.iter().all(|key| fresh.get(key).is_some_and(Vec::is_empty));
        let mut found = Vec::new();
        for key in keys {
            if denied && fresh.values().any(|own| !own.is_empty()) {
                // Other names have addresses: that this one has none is no accident.
                self.known.remove(&key);
            }
            if let Some((is_empty, why)) = problems.get(&key)
                // That a name has addresses of one kind alone is usual.
                && !(*is_empty && any)
            {
                problem.get_or_insert_with(|| format!("{}: {why}", name.trim_end_matches('.')));
            }
            match fresh.get(&key) {
                // That a name has none at all any more may be an accident, and is not believed.
                Some(own) if any => drop(self.known.insert(key.clone(), own.clone())),
                _ => {}
            }
            found.extend(self.known.get(&key).into_iter().flatten().copied());
        }
        found
    }
}

/// The targets of a service, and how long that holds.
pub(super) async fn service(
    resolver: &TokioResolver,
    name: &str,
) -> Result<(Vec<Target>, Duration), Failure> {
    let answer = resolver.lookup(name, RecordType::SRV).await;
    let lookup = answer.map_err(|error| Failure::new(format!("{name}: {}", texts(&error))))?;
    let ttl = least(None, lookup.answers().iter().map(|record| record.ttl)).unwrap_or_default();
    let targets = lookup.answers().iter().filter_map(|record| match &record.data {
        // "." says that there is no such service (RFC 2782).
        RData::SRV(own) if !own.target.is_root() && own.port != 0 => Some(Target {
            priority: own.priority,
            weight: own.weight,
            port: own.port,
            name: own.target.to_lowercase().to_ascii(),
        }),
        _ => None,
    });
    Ok((targets.collect(), ttl))
}

fn least(ttl: Option<Duration>, more: impl Iterator<Item = u32>) -> Option<Duration> {
    ttl.into_iter().chain(more.map(|seconds| Duration::from_secs(seconds.into()))).min()
}

/// An error for people.
pub(super) fn texts(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
            "the name does not exist (NXDOMAIN)".into()
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NoError => {
            "the name has no such records".into()
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            format!("the name server answered: {}", none.response_code)
        }
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server answered: {code}"),
        NetError::Timeout => "no answer from the name server".into(),
        other => other.to_string(),
    }
}

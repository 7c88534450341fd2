//! What a pick costs among a thousand endpoints, with weights, health and limits applied.
//!
//! A tenth of them is ill, and so many sessions are held that a fifth of the rest is full. A pick is `Cluster::pick` as a session calls it;
//! with its session it is the pick, the session's begin, and the end of another one. All kinds take turns within each round; figures are medians.

use std::hint::black_box;
use std::time::{Duration, Instant};

use msm_core::cluster::{
    ActiveOptions, BalanceKind, CheckFailure, CheckKind, Cluster, ClusterLimits, ClusterOptions, ClusterSpec,
    Endpoint, EndpointId, EndpointSpec, HashOn, OutlierOptions, PickKey,
};
use msm_core::route::hash;

use crate::Result;
use crate::report::{Limit, Report, median};

/// Nanoseconds a pick that are held.
const BOUND: f64 = 200.0;
const ENDPOINTS: usize = 1000;
const PICKS: u64 = 5_000;
const ROUNDS: usize = 101;
const LISTS: usize = 20;
/// Sessions that one endpoint may have.
const MOST: u32 = 10;

const KINDS: [BalanceKind; 6] = [
    BalanceKind::RoundRobin,
    BalanceKind::LeastStreams,
    BalanceKind::LeastBitrate,
    BalanceKind::Random,
    BalanceKind::PowerOfTwo,
    BalanceKind::Maglev { on: HashOn::Url, table: 65_537 },
];

struct Subject {
    cluster: Cluster,
    now: Instant,
    held: Vec<EndpointId>,
    next: usize,
}

/// Each picker's cost.
///
/// # Errors
///
/// A cluster has nobody to pick.
pub fn pickers(report: &mut Report) -> Result<()> {
    let mut subjects = KINDS.into_iter().map(Subject::new).collect::<Result<Vec<_>>>()?;
    println!(
        "medians of {ROUNDS} rounds of {PICKS} picks; {ENDPOINTS} endpoints, a tenth of them ill, a fifth of the rest full"
    );
    println!("{:<14} {:>10} {:>14} {:>22}", "", "ns a pick", "with session", "a new list, ms");
    let mut times = vec![(Vec::new(), Vec::new()); KINDS.len()];
    for _ in 0..ROUNDS {
        for (subject, (alone, whole)) in subjects.iter_mut().zip(&mut times) {
            alone.push(subject.round(false)?.as_nanos() as f64 / PICKS as f64);
            whole.push(subject.round(true)?.as_nanos() as f64 / PICKS as f64);
        }
    }
    for ((kind, subject), (alone, whole)) in KINDS.iter().zip(&mut subjects).zip(&times) {
        let name = kind.name();
        let (alone, whole) = (median(alone).unwrap_or(f64::NAN), median(whole).unwrap_or(f64::NAN));
        let list = subject.new_list();
        println!("{name:<14} {alone:>10.0} {whole:>14.0} {list:>22.2}");
        report.bound(format!("ns a pick among {ENDPOINTS}: {name}"), alone, Limit::Most(BOUND));
        report.figure(format!("ns a pick, a begin and an end among {ENDPOINTS}: {name}"), whole);
        report.figure(format!("ms for a list of {ENDPOINTS} that lacks one: {name}"), list);
    }
    Ok(())
}

fn specs() -> Result<Vec<EndpointSpec>> {
    (0..ENDPOINTS)
        .map(|index| {
            let url = format!("rtsp://10.0.{}.{}:8554", index / 250, index % 250 + 1);
            let endpoint = Endpoint::parse(&url).map_err(|error| error.to_string())?;
            let weight = 1 + (index % 3) as u32;
            Ok(EndpointSpec { weight, ..EndpointSpec::new(endpoint) })
        })
        .collect()
}

impl Subject {
    fn new(balance: BalanceKind) -> Result<Self> {
        let now = Instant::now();
        let options = ClusterOptions {
            balance,
            limits: ClusterLimits { sessions: Some(1_000_000), sessions_per_endpoint: Some(MOST) },
            active: Some(ActiveOptions::new(CheckKind::Tcp)),
            outlier: Some(OutlierOptions::default()),
            ..ClusterOptions::default()
        };
        let spec = ClusterSpec { name: "bench".into(), endpoints: specs()?, options };
        let mut cluster = Cluster::new(&spec, 1, now);
        let now = now + Duration::from_secs(2);
        let mut checks = 0;
        while let Some(check) = cluster.poll_check(now) {
            checks += 1;
            let outcome = if checks % 10 == 0 { Err(CheckFailure::Unreachable) } else { Ok(()) };
            cluster.handle_check(now, check.id, outcome);
        }
        while cluster.poll_event().is_some() {}
        let mut subject = Self { cluster, now, held: Vec::new(), next: 0 };
        let ids: Vec<EndpointId> = subject.cluster.endpoints().map(|(id, _)| id).collect();
        for id in ids.iter().step_by(5) {
            (0..MOST).for_each(|_| subject.cluster.begin(*id));
        }
        for number in 0..2_000 {
            let (id, _) = subject.cluster.pick(now, key(number), &[]).map_err(|error| error.to_string())?;
            subject.cluster.begin(id);
            subject.held.push(id);
        }
        Ok(subject)
    }

    fn round(&mut self, sessions: bool) -> Result<Duration> {
        let start = Instant::now();
        for number in 0..PICKS {
            let picked = self.cluster.pick(self.now, black_box(key(number)), &[]);
            let (id, _) = picked.map_err(|error| error.to_string())?;
            black_box(id);
            if sessions {
                self.cluster.begin(id);
                let held = self.held.get_mut(self.next).ok_or("no session")?;
                self.cluster.end(std::mem::replace(held, id));
                self.next = (self.next + 1) % self.held.len();
            }
        }
        Ok(start.elapsed())
    }

    /// How long a list takes that lacks one, or has it again: what sessions wait for at most.
    fn new_list(&mut self) -> f64 {
        let all: Vec<EndpointSpec> = self.cluster.endpoints().map(|(_, spec)| spec.clone()).collect();
        let fewer = all.split_last().map_or(&all[..], |(_, fewer)| fewer);
        let times: Vec<f64> = (0..LISTS)
            .map(|number| {
                let specs = if number % 2 == 0 { fewer } else { &all };
                let start = Instant::now();
                self.cluster.set_endpoints(self.now, specs);
                start.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        median(&times).unwrap_or(f64::NAN)
    }
}

/// Of the `number`th client and URL.
fn key(number: u64) -> PickKey {
    let hash = hash(&number.to_be_bytes());
    PickKey { client: hash, url: hash }
}

//! Who is in a cluster, and how that changes what is picked from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Instant;

use super::agenda::Agenda;
use super::level::Level;
use super::member::Member;
use super::outlier::{Known, OutlierOptions, Outliers, Packets};
use super::pick::Candidate;
use super::window::Window;
use super::{
    ClusterEvent, ClusterOptions, ClusterSpec, Endpoint, EndpointId, EndpointSpec, EndpointView, Reason,
};
use crate::rng::Rng;

/// The state of one cluster.
///
/// * **Inputs:** [`set_endpoints`](Self::set_endpoints), [`set_options`](Self::set_options), [`handle_outcome`](Self::handle_outcome),
///   [`handle_check`](Self::handle_check), [`handle_timeout`](Self::handle_timeout), [`set_bitrate`](Self::set_bitrate).
/// * **Questions:** [`pick`](Self::pick), which a [`begin`](Self::begin) and an [`end`](Self::end) follow for each session.
/// * **Outputs**, drained after each: [`poll_event`](Self::poll_event), [`poll_check`](Self::poll_check), then
///   [`poll_timeout`](Self::poll_timeout).
pub struct Cluster {
    pub(super) options: ClusterOptions,
    pub(super) members: Vec<Member>,
    /// Where each is in `members`.
    places: BTreeMap<EndpointId, usize>,
    /// Sessions of endpoints that are members no more.
    pub(super) gone: BTreeMap<EndpointId, u32>,
    /// All sessions, of those that have gone too.
    pub(super) sessions: u64,
    /// What all members send.
    pub(super) bitrate: u64,
    /// One for each priority, the first one first.
    pub(super) levels: Vec<Level>,
    /// Members that are usable.
    pub(super) usable: usize,
    /// So few are usable that all are used.
    pub(super) panic: bool,
    next_id: u64,
    pub(super) rng: Rng,
    pub(super) agenda: Agenda,
    pub(super) known: Known,
    /// Of all endpoints within the window of outliers.
    pub(super) packets: Window<Packets>,
    /// What all those windows count from.
    pub(super) origin: Instant,
    pub(super) events: VecDeque<ClusterEvent>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("options", &self.options)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster of these endpoints. `seed` decides what is random.
    pub fn new(spec: &ClusterSpec, seed: u64, now: Instant) -> Self {
        let mut cluster = Cluster {
            packets: Window::since(now, outlier(&spec.options).window),
            origin: now,
            options: spec.options.clone(),
            members: Vec::new(),
            places: BTreeMap::new(),
            gone: BTreeMap::new(),
            sessions: 0,
            bitrate: 0,
            levels: Vec::new(),
            usable: 0,
            panic: false,
            next_id: 0,
            rng: Rng::new(seed),
            agenda: Agenda::default(),
            known: Known::default(),
            events: VecDeque::new(),
        };
        cluster.set_endpoints(now, &spec.endpoints);
        cluster
    }

    /// Behaves otherwise from now on; what is known of the endpoints stays.
    pub fn set_options(&mut self, now: Instant, options: ClusterOptions) {
        if options == self.options {
            return;
        }
        if options.balance != self.options.balance {
            self.levels.iter_mut().for_each(|level| level.set_balance(options.balance));
        }
        if options.outlier != self.options.outlier {
            self.packets = Window::since(self.origin, outlier(&options).window);
            for member in &mut self.members {
                member.outliers = Outliers::new(outlier(&options), self.origin);
                if options.outlier.is_none() && member.ejections.now.is_some() {
                    member.ejections.end(now);
                    let (id, endpoint) = (member.id, member.spec.endpoint.clone());
                    self.events.push_back(ClusterEvent::Returned { id, endpoint });
                }
            }
        }
        self.options = options;
        if self.options.outlier.is_none() {
            self.agenda.clear(Reason::Return);
        }
        self.start_checks(now);
        (0..self.members.len()).for_each(|place| self.go_on_ramping(now, place));
        self.rebuild();
    }

    /// These are the members now. An endpoint is the same as before if it is at the same place: what is known of it, and its sessions, stay.
    pub fn set_endpoints(&mut self, now: Instant, specs: &[EndpointSpec]) {
        if self.members.iter().map(|member| &member.spec).eq(specs) {
            return;
        }
        let first = self.members.is_empty();
        let mut before: BTreeMap<Endpoint, Member> = std::mem::take(&mut self.members)
            .into_iter()
            .map(|member| (member.spec.endpoint.clone(), member))
            .collect();
        self.places.clear();
        for spec in specs {
            let (member, new) = match before.remove(&spec.endpoint) {
                Some(mut kept) => {
                    kept.spec = spec.clone();
                    (kept, false)
                }
                // Named twice: the first counts.
                None if self.members_at(&spec.endpoint) => continue,
                None => {
                    self.next_id += 1;
                    let outliers = Outliers::new(outlier(&self.options), self.origin);
                    (Member::new(EndpointId(self.next_id), spec.clone(), outliers), !first)
                }
            };
            let place = self.members.len();
            self.places.insert(member.id, place);
            self.members.push(member);
            if new {
                self.ramp(now, place);
            }
        }
        for member in before.into_values() {
            if member.sessions > 0 {
                self.gone.insert(member.id, member.sessions);
            }
            self.bitrate = self.bitrate.saturating_sub(member.bitrate);
            self.agenda.remove(member.id);
            self.events.push_back(ClusterEvent::Removed { id: member.id, endpoint: member.spec.endpoint });
        }
        self.start_checks(now);
        self.rebuild();
    }

    fn members_at(&self, endpoint: &Endpoint) -> bool {
        self.members.iter().any(|member| member.spec.endpoint == *endpoint)
    }

    /// The place of a member.
    pub(super) fn place(&self, id: EndpointId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// Sorts all members into pools, counts them and shows them to the pickers.
    pub(super) fn rebuild(&mut self) {
        let priorities: BTreeSet<u16> = self.members.iter().map(|member| member.spec.priority).collect();
        // What a picker knows of whose turn it is stays.
        self.levels.retain(|level| priorities.contains(&level.priority));
        for priority in priorities {
            if let Err(place) = self.levels.binary_search_by_key(&priority, |level| level.priority) {
                self.levels.insert(place, Level::new(priority, self.options.balance));
            }
        }
        for (number, level) in self.levels.iter_mut().enumerate() {
            level.set(number, &mut self.members, self.options.zone.as_ref());
        }
        self.judge_panic();
        self.show_all();
    }

    /// Tells whether so few of each priority are usable that all are to be used. Returns whether that has changed.
    fn judge_panic(&mut self) -> bool {
        let counts = self.levels.iter().map(Level::counts);
        let (weighted, usable) = counts.fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        self.usable = usable;
        // Those without a weight say nothing.
        let mut levels = self.levels.iter().filter(|level| level.counts().0 > 0);
        let panic = weighted > 0 && levels.all(|level| level.is_short(self.options.panic_threshold));
        if self.panic == panic {
            return false;
        }
        self.panic = panic;
        self.events.push_back(if self.panic {
            ClusterEvent::Panic { usable, of: weighted }
        } else {
            ClusterEvent::Calm
        });
        true
    }

    fn show_all(&mut self) {
        let (panic, most) = (self.panic, self.options.limits.sessions_per_endpoint);
        let as_candidate = |member: &Member| -> Candidate { member.candidate(panic, most) };
        self.levels.iter_mut().for_each(|level| level.show(&self.members, as_candidate));
    }

    /// Shows one member to its picker as it is now.
    pub(super) fn show(&mut self, place: usize) {
        let Some(member) = self.members.get(place) else { return };
        let candidate = member.candidate(self.panic, self.options.limits.sessions_per_endpoint);
        if let Some(level) = self.levels.get_mut(member.slot.level) {
            level.update(member.slot, &candidate);
        }
    }

    /// The health of a member has changed.
    pub(super) fn health_changed(&mut self, place: usize) {
        let Some(member) = self.members.get_mut(place) else { return };
        if let Some(level) = self.levels.get_mut(member.slot.level) {
            level.count(member);
        }
        if self.judge_panic() { self.show_all() } else { self.show(place) }
    }

    /// Whether sessions may stay with this endpoint; the reason if not.
    ///
    /// # Errors
    /// Why they are to leave, for people.
    pub fn check(&self, id: EndpointId) -> Result<(), &'static str> {
        match self.place(id).and_then(|place| self.members.get(place)) {
            None => Err("the endpoint is not in the cluster any more"),
            // Where nearly all are ill, the next one would be no better.
            Some(_) if self.panic => Ok(()),
            Some(member) if member.is_well() => Ok(()),
            Some(member) if member.ejections.now.is_some() => {
                Err("the endpoint is left out for a while, as too many of its sessions failed")
            }
            Some(_) => Err("the endpoint's checks fail"),
        }
    }

    /// Where the members are, in order.
    pub fn endpoints(&self) -> impl Iterator<Item = (EndpointId, &EndpointSpec)> {
        self.members.iter().map(|member| (member.id, &member.spec))
    }

    /// All members as they are, in order. Drain [`handle_timeout`](Self::handle_timeout) first for what is due at `now`.
    pub fn view(&self, _now: Instant) -> impl Iterator<Item = EndpointView<'_>> {
        self.members.iter().map(Member::view)
    }

    /// Whether so few endpoints are usable that all are used.
    pub fn is_panicking(&self) -> bool {
        self.panic
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<ClusterEvent> {
        self.events.pop_front()
    }
}

/// The rules of outliers, or those that would be.
pub(super) fn outlier(options: &ClusterOptions) -> &OutlierOptions {
    static DEFAULT: std::sync::LazyLock<OutlierOptions> = std::sync::LazyLock::new(OutlierOptions::default);
    options.outlier.as_ref().unwrap_or(&DEFAULT)
}

//! A stream goes on in a form that its readers were not told of. Clients are told by ANNOUNCE (`RFC 2326 §10.3`), and go over where they say yes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use msm_rtsp::message::{Request, Version};
use msm_rtsp::server::{Announce, reads_announcements};

use super::reader::{Form, Path, ReaderRole};
use super::requests::ways_in_the_clear;
use super::session::{Owner, Role, Session};
use crate::config::OnChange;
use crate::hub::handle::HubHandle;
use crate::routing::Resolved;
use crate::shared::Shared;
use crate::worker::Worker;

/// Clients that are told in one turn: each takes some microseconds, and packets wait meanwhile.
const AT_ONCE: usize = 32;

/// How long readers may take to go over once they have said yes.
const CROSSING: Duration = Duration::from_secs(12);

/// A stream that goes on otherwise.
#[derive(Clone)]
pub(crate) struct Change {
    /// What is read so far.
    pub(crate) from: u64,
    pub(crate) next: Arc<HubHandle>,
    pub(crate) cluster: String,
    /// How long a client may take to answer.
    pub(crate) within: Duration,
    /// Nothing comes of what was read so far.
    pub(crate) at_once: bool,
}

impl Change {
    /// A reader's URL leads to `next` now, while it still has what it reads; `None` where the cluster does not say that it is told.
    pub(super) fn of(resolved: &Resolved, from: u64, next: &Arc<HubHandle>) -> Option<Self> {
        let settings = resolved.settings().filter(|own| own.failover.on_change == OnChange::Announce)?;
        let within = settings.failover.announce_timeout;
        Some(Self { from, next: Arc::clone(next), cluster: settings.name.clone(), within, at_once: false })
    }
}

/// What became of a reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It goes on with the other form.
    Moved,
    Refused(u16),
    Unanswered,
    /// Its answer would say nothing, or it could not go over.
    NotAsked(&'static str),
    /// It said yes, and could not go over.
    Failed(String),
}

impl Way {
    /// The label `outcome` of `msm_announces_total`.
    fn name(&self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Refused(_) => "refused",
            Self::Unanswered => "unanswered",
            Self::NotAsked(_) => "not_asked",
            Self::Failed(_) => "failed",
        }
    }

    fn why(&self) -> String {
        match self {
            Self::Moved => "its client says yes".into(),
            Self::Refused(status) => format!("its client answers ANNOUNCE with {status}"),
            Self::Unanswered => "its client does not answer ANNOUNCE".into(),
            Self::NotAsked(why) => format!("it is not asked: {why}"),
            Self::Failed(why) => format!("its client says yes, and it cannot go over: {why}"),
        }
    }
}

/// Tells all sessions of the stream. Those that do not go over end, as soon as that is known.
pub(crate) async fn tell_readers(shared: &Arc<Shared>, change: &Change) {
    let places = (0..shared.worker_count()).map(|place| {
        let (shared, change) = (Arc::clone(shared), change.clone());
        tokio::task::spawn_local(async move {
            let Ok(worker) = shared.worker(place) else { return };
            let telling = worker.run(move |worker| async move { tell_own(&worker, change).await });
            let _ = telling.await;
        })
    });
    let places: Vec<_> = places.collect();
    let all = async {
        for place in places {
            let _ = place.await;
        }
    };
    // What is left then ends with the stream.
    let _ = tokio::time::timeout(change.within + CROSSING, all).await;
}

/// Those of this worker.
async fn tell_own(worker: &Rc<Worker>, change: Change) {
    let change = Rc::new(change);
    let mut telling = Vec::new();
    for sessions in worker.sessions.all().chunks(AT_ONCE) {
        telling.extend(sessions.iter().map(|session| {
            let (session, worker, change) = (Rc::clone(session), Rc::clone(worker), Rc::clone(&change));
            tokio::task::spawn_local(async move {
                let way = session.tell(&worker, &change).await;
                if way.is_some_and(|way| way != Way::Moved) {
                    session.end(&worker);
                }
            })
        }));
        tokio::task::yield_now().await;
    }
    for told in telling {
        let _ = told.await;
    }
}

impl Session {
    /// Tells the client that the stream goes on otherwise, and has it go over if it says yes. `None` of a session that does not read it.
    pub(super) async fn tell(self: &Rc<Self>, worker: &Rc<Worker>, change: &Change) -> Option<Way> {
        // Not held while the client is waited for, as its answer may come behind a request of its own.
        let state = self.state.lock().await;
        let Role::Reader(reader) = &state.role else { return None };
        if reader.lease.id != change.from {
            return None;
        }
        let request = self.announcement(reader, &state.url, &change.next);
        drop(state);
        let way = match request {
            Ok(request) => self.announce(worker, change, request).await,
            Err(why) => Way::NotAsked(why),
        };
        worker.sessions.get(&self.id)?;
        worker.shared.metrics.failovers.count_announce(&change.cluster, way.name());
        tracing::info!(
            session = %self.id,
            peer = %self.owner,
            hub = change.next.id,
            outcome = way.name(),
            why = way.why(),
            "the stream has another form"
        );
        Some(way)
    }

    async fn announce(self: &Rc<Self>, worker: &Rc<Worker>, change: &Change, request: Request) -> Way {
        let connection = self.connection().filter(|connection| connection.takes_requests());
        let Some(answer) = connection.map(|connection| connection.ask(request)) else {
            return Way::NotAsked("there is no connection that its client reads");
        };
        let form = Form::Told { at_once: change.at_once };
        match tokio::time::timeout(change.within, answer).await {
            Ok(Ok(200..300)) => match self.cross(worker, change.from, &change.next, form).await {
                Ok(true) => Way::Moved,
                Ok(false) => Way::Failed("it has ended".into()),
                Err(error) => Way::Failed(error.to_string()),
            },
            Ok(Ok(status)) => Way::Refused(status),
            Ok(Err(_)) | Err(_) => Way::Unanswered,
        }
    }

    /// What the client is told; the error is why it is not asked.
    fn announcement(
        &self,
        reader: &ReaderRole,
        url: &str,
        next: &HubHandle,
    ) -> Result<Request, &'static str> {
        let Owner::Address { ip, .. } = &self.owner else {
            return Err("a member asks again, and does as its own cluster says");
        };
        let user_agent = self.grant.headers.get("User-Agent");
        if self.grant.version != Version::V1_0 {
            return Err("RTSP 2.0 has no ANNOUNCE");
        }
        if !reads_announcements(user_agent) {
            return Err("its player says yes to everything and reads nothing of it");
        }
        if reader.tracks.iter().any(|track| matches!(track.path, Path::Group(_))) {
            return Err("a multicast group has one form for all who listen");
        }
        if reader.tracks.iter().any(|track| track.secure.is_some()) {
            return Err("keys of SRTP are told by DESCRIBE alone");
        }
        if !reader.fits(next) {
            return Err("the tracks that it has set up are not the other form's");
        }
        let ways = if self.grant.url.scheme() == "rtsp" {
            ways_in_the_clear(&reader.protection, user_agent, next.description.tracks.len())
        } else {
            Vec::new()
        };
        let description = next.description.for_reader(ip.is_ipv6(), &ways);
        Ok(Announce { url, session: &self.id, description: &description }.request())
    }
}

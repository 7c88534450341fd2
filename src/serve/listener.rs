//! Listeners: what is configured of each, and what its workers share.

mod accept;
mod bind;
mod listening;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use msm_rtsp::auth::users::Users;

pub(crate) use self::bind::{Bound, bind_all, without_v6};
pub(crate) use self::listening::{Listening, listen};
use crate::net::pair::PairRange;
use crate::net::tls::pem::ServerTls;
use crate::net::udp::SocketOptions;
use crate::serve::multicast::GroupPool;
use crate::upgrade::{ListenerKey, PassedListener};
use crate::watched::{Refresh, Watched};

/// A listener as configured.
#[derive(Clone)]
pub(crate) struct ListenerSettings {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) options: SocketOptions,
    /// RTP port of the pair that plain readers see; 0 takes any even one.
    pub(crate) reader_port: u16,
    /// A reader's or publisher's packets may come from any port of its address.
    pub(crate) same_ip: bool,
    pub(crate) multicast: Option<MulticastSettings>,
    /// Connections speak TLS by this.
    pub(crate) tls: Option<Arc<Watched<ServerTls>>>,
    /// Tracks are described as SRTP.
    pub(crate) srtp: bool,
    /// Other members of the mesh come in, by this.
    pub(crate) member: Option<Arc<rustls::ServerConfig>>,
    /// Only these may do more than ask for options.
    pub(crate) users: Option<Arc<Watched<Users>>>,
}

/// Where multicast readers of a listener are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MulticastSettings {
    pub(crate) first: IpAddr,
    pub(crate) last: IpAddr,
    /// RTP ports to take from, an even and an odd one a track.
    pub(crate) first_port: u16,
    pub(crate) last_port: u16,
    pub(crate) ttl: u8,
}

/// What the workers of a listener share.
pub(crate) struct ListenerShared {
    /// Names it on all workers as long as it is there, whatever its settings; never given to another one.
    pub(crate) id: usize,
    pub(crate) settings: ListenerSettings,
    /// Pairs for publishers, and for readers whose packets may come from another port than they named.
    pub(crate) ports: Arc<PairRange>,
    pub(crate) groups: Option<Arc<GroupPool>>,
    bound: AtomicU16,
    bound_pair: AtomicU16,
}

impl ListenerShared {
    pub(crate) fn new(settings: ListenerSettings) -> Arc<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            ports: Arc::new(PairRange::ephemeral()),
            groups: settings.multicast.as_ref().map(|groups| Arc::new(GroupPool::new(groups))),
            bound: AtomicU16::new(settings.address.port()),
            bound_pair: AtomicU16::new(settings.reader_port),
            settings,
        })
    }

    /// The same listener at the same sockets, with other settings.
    pub(crate) fn with(&self, settings: ListenerSettings) -> Arc<Self> {
        let groups = if settings.multicast == self.settings.multicast {
            self.groups.clone()
        } else {
            settings.multicast.as_ref().map(|groups| Arc::new(GroupPool::new(groups)))
        };
        Arc::new(Self {
            id: self.id,
            ports: Arc::clone(&self.ports),
            groups,
            bound: AtomicU16::new(self.bound.load(Ordering::Acquire)),
            bound_pair: AtomicU16::new(self.bound_pair.load(Ordering::Acquire)),
            settings,
        })
    }

    /// Whether a listener with these settings has the same sockets.
    pub(crate) fn has_sockets_of(&self, settings: &ListenerSettings) -> bool {
        let own = &self.settings;
        own.address == settings.address
            && own.options == settings.options
            && own.reader_port == settings.reader_port
            && own.member.is_some() == settings.member.is_some()
    }

    /// What makes it the same in another process.
    pub(crate) fn key(&self) -> ListenerKey {
        let own = &self.settings;
        ListenerKey {
            address: own.address,
            interface: own.options.interface.clone(),
            reader_port: own.reader_port,
            member: own.member.is_some(),
        }
    }

    /// What another process is told of it.
    pub(crate) fn passed(&self) -> PassedListener {
        let groups = self.groups.as_ref().map(|pool| pool.taken()).unwrap_or_default();
        PassedListener { id: self.id, name: self.settings.name.clone(), key: self.key(), groups }
    }

    /// What it has that is made of files.
    pub(crate) fn watched(&self) -> Vec<Arc<dyn Refresh>> {
        let tls = self.settings.tls.iter().map(|tls| Arc::clone(tls) as Arc<dyn Refresh>);
        tls.chain(self.settings.users.iter().map(|users| Arc::clone(users) as Arc<dyn Refresh>)).collect()
    }

    /// The address bound, once a worker has.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.settings.address.ip(), self.bound.load(Ordering::Acquire))
    }
}

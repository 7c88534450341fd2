//! Further paths of an association: by which of the own addresses, and how the dialling side opens them.

use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::str::FromStr;
use std::time::Duration;

use msm_core::hop::Label;
use msm_rtsp::hop::{FEATURE, HEADER, HopHeader};
use msm_rtsp::message::{Method, Request, Response};

use super::association::{Association, MAX_PATHS};
use super::dial::Peer;
use crate::error::Error;

/// How often paths are looked after: those that could not be opened, and interfaces that may have another address.
const LOOK: Duration = Duration::from_secs(5);

/// What a path leaves by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// One of the own addresses.
    Address(IpAddr),
    /// Whatever address the interface of this name has, of the other member's family.
    Interface(String),
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Interface(text.to_owned()), Self::Address))
    }
}

impl Source {
    /// The address, towards `remote`.
    ///
    /// # Errors
    /// [`Error::Configuration`] if there is none of that family.
    pub(crate) fn address(&self, remote: SocketAddr) -> Result<IpAddr, Error> {
        let fits = |ip: &IpAddr| ip.is_ipv4() == remote.is_ipv4();
        match self {
            Self::Address(ip) if fits(ip) => Ok(*ip),
            Self::Address(ip) => {
                Err(Error::Configuration(format!("paths.from: {remote} cannot be reached from {ip}")))
            }
            Self::Interface(name) => addresses(name).into_iter().find(fits).ok_or_else(|| {
                Error::Configuration(format!("paths.from: {name} has no address that reaches {remote}"))
            }),
        }
    }
}

/// The addresses of an interface, those for its own link last.
fn addresses(interface: &str) -> Vec<IpAddr> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let own = all.filter(|found| found.interface_name == interface).filter_map(|found| found.address);
    let mut addresses: Vec<IpAddr> = own
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
        })
        .collect();
    addresses.sort_by_key(|ip| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()));
    addresses
}

/// Those that have an address now before those that may have one later.
///
/// # Errors
/// None has.
pub(super) fn in_order(sources: &[Source], remote: SocketAddr) -> Result<Vec<Source>, Error> {
    let mut ordered = sources.to_vec();
    ordered.sort_by_key(|source| source.address(remote).is_err());
    match ordered.first().map(|first| first.address(remote)) {
        Some(Err(error)) => Err(error),
        _ => Ok(ordered),
    }
}

/// Opens the paths of an association that come behind the main one, each as soon as it can be, and follows interfaces to other
/// addresses.
pub(super) fn keep(peer: &Rc<Peer>, sources: Vec<Source>) {
    if sources.len() > 1 || matches!(sources.first(), Some(Source::Interface(_))) {
        tokio::task::spawn_local(run(Rc::downgrade(peer), sources));
    }
}

async fn run(peer: Weak<Peer>, sources: Vec<Source>) {
    let mut refused = [false; MAX_PATHS];
    let mut told = false;
    loop {
        for (number, source) in sources.iter().enumerate().take(MAX_PATHS) {
            if refused.get(number) == Some(&true) {
                continue;
            }
            // Held for no longer than it takes: an association that nobody uses ends.
            let Some(outcome) = look_after(&peer, number, source).await else { return };
            match outcome {
                Ok(()) => {}
                Err(Error::Refused(why)) => {
                    tracing::warn!(path = number + 1, ?source, why, "the member opens no such path");
                    if let Some(refused) = refused.get_mut(number) {
                        *refused = true;
                    }
                }
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(path = number + 1, ?source, %error, "path not open: it is tried again");
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Opens a path that is not open, and follows one that is. `None` once there is nobody to ask any more.
async fn look_after(peer: &Weak<Peer>, number: usize, source: &Source) -> Option<Result<(), Error>> {
    let association = Rc::clone(&peer.upgrade()?.association);
    if association.has_ended() {
        return None;
    }
    let local = match source.address(association.remote) {
        Ok(local) => local,
        Err(error) => return Some(Err(error)),
    };
    if association.has_path(number) {
        association.set_local(number, local);
        return Some(Ok(()));
    }
    // No use of the connection, which would keep it.
    let ask = |request| peer.upgrade().map(|peer| peer.send(request));
    Some(open(&association, number, local, ask).await)
}

async fn open<A: Future<Output = Result<Response, Error>>>(
    association: &Rc<Association>,
    number: usize,
    local: IpAddr,
    ask: impl FnOnce(Request) -> Option<A>,
) -> Result<(), Error> {
    let token = association.next_token();
    let inlet = association.path_inlet(number, token)?;
    let header = HopHeader {
        path: u8::try_from(number + 1).ok(),
        token: Some(token),
        label: Some(inlet.label.ssrc()),
        ..HopHeader::default()
    };
    let request =
        Request::new(Method::Options, "*").with("Require", FEATURE).with(HEADER, header.to_string());
    let answer = ask(request).ok_or(Error::StreamEnded)?.await?;
    if !answer.is_success() {
        return Err(Error::Refused(format!("it answered {} {}", answer.status, answer.reason)));
    }
    let label = answer.headers.get(HEADER).and_then(HopHeader::parse).and_then(|header| header.label);
    let label = label.ok_or_else(|| Error::Refused("its answer names no label".into()))?;
    association.open_path(number, token, inlet, Label::from_ssrc(label), Some(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_or_an_interface_that_has_one() {
        let remote = |text: &str| text.parse::<SocketAddr>().unwrap();
        let source = |text: &str| text.parse::<Source>().unwrap();
        assert_eq!(source("10.0.1.5"), Source::Address([10, 0, 1, 5].into()));
        assert_eq!(source("10.0.1.5").address(remote("10.9.9.9:1")).unwrap(), IpAddr::from([10, 0, 1, 5]));
        assert!(source("10.0.1.5").address(remote("[2001:db8::1]:1")).is_err());
        assert_eq!(source("lo"), Source::Interface("lo".into()));
        assert_eq!(source("lo").address(remote("127.0.0.9:1")).unwrap(), IpAddr::from([127, 0, 0, 1]));
        assert!(source("nosuch0").address(remote("127.0.0.9:1")).is_err());
    }
}

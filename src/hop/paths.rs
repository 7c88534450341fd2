//! Further paths of an association: how the dialling side opens them.

use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::Duration;

use msm_core::hop::Label;
use msm_core::route::PathFrom;
use msm_rtsp::hop::{FEATURE, HEADER, HopHeader};
use msm_rtsp::message::{Method, Request, Response};

use super::association::{Association, MAX_PATHS};
use super::dial::Peer;
use crate::error::Error;
use crate::net::interface;

/// How often a path is tried again that could not be opened.
const RETRY: Duration = Duration::from_secs(5);

/// The own addresses that ways begin at: of an interface all that it has now, of which one in a family will do.
///
/// # Errors
/// [`Error::Configuration`] if there is no such interface, or it has no address.
pub(super) fn resolve(from: &[PathFrom]) -> Result<Vec<IpAddr>, Error> {
    let mut addresses = Vec::new();
    for origin in from {
        match origin {
            PathFrom::Address(address) => addresses.push(*address),
            PathFrom::Interface(name) => {
                let own = interface::addresses(name);
                addresses.extend(own.map_err(|error| Error::Configuration(format!("paths.from: {error}")))?);
            }
        }
    }
    Ok(addresses)
}

/// Those of the own addresses that reach somewhere: of its family.
///
/// # Errors
/// [`Error::Configuration`] if there are some, and none of them does.
pub(super) fn towards(remote: SocketAddr, sources: &[IpAddr]) -> Result<Vec<IpAddr>, Error> {
    let fits = |ip: &&IpAddr| ip.is_ipv4() == remote.is_ipv4();
    let fitting: Vec<_> = sources.iter().filter(fits).copied().take(MAX_PATHS).collect();
    if fitting.is_empty() && !sources.is_empty() {
        return Err(Error::Configuration(format!("paths.from: no address there reaches {remote}")));
    }
    Ok(fitting)
}

/// Opens the paths of an association that come behind the main one, each as soon as it can be.
pub(super) fn open_all(peer: &Rc<Peer>, sources: &[IpAddr]) {
    for (number, source) in sources.iter().enumerate().skip(1) {
        tokio::task::spawn_local(keep_trying(Rc::downgrade(peer), number, *source));
    }
}

async fn keep_trying(peer: Weak<Peer>, number: usize, source: IpAddr) {
    loop {
        // Held for no longer than it takes: an association that nobody uses ends.
        let Some(association) = peer.upgrade().map(|peer| Rc::clone(&peer.association)) else { return };
        if association.has_ended() {
            return;
        }
        // No use of the connection, which would keep it.
        let ask = |request| peer.upgrade().map(|peer| peer.send(request));
        let path = number + 1;
        match open(&association, number, source, ask).await {
            Ok(()) => return,
            Err(Error::Refused(why)) => {
                tracing::warn!(path, %source, why, "the member opens no such path");
                return;
            }
            Err(error) => tracing::warn!(path, %source, %error, "path not open yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
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
    fn an_interface_stands_for_the_addresses_that_it_has() {
        let address = PathFrom::Address("192.0.2.1".parse().unwrap());
        let own = resolve(&[address, PathFrom::Interface("lo".into())]).unwrap();
        assert_eq!(own[..2], ["192.0.2.1".parse::<IpAddr>().unwrap(), "127.0.0.1".parse().unwrap()]);
        assert!(own.len() <= 3, "one of each family: {own:?}");
        let error = resolve(&[PathFrom::Interface("nosuch0".into())]).unwrap_err().to_string();
        assert!(error.contains("interface `nosuch0` has no address"), "{error}");
    }

    #[test]
    fn addresses_of_another_family_are_no_paths() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let remote = |text: &str| text.parse::<SocketAddr>().unwrap();
        let sources = [ip("2001:db8::5"), ip("10.0.1.5"), ip("10.0.2.5")];
        assert_eq!(towards(remote("10.9.9.9:1"), &sources).unwrap(), [ip("10.0.1.5"), ip("10.0.2.5")]);
        assert_eq!(towards(remote("[2001:db8::1]:1"), &sources).unwrap(), [ip("2001:db8::5")]);
        assert!(towards(remote("[2001:db8::1]:1"), &sources[1..]).is_err());
        assert!(towards(remote("10.9.9.9:1"), &[]).unwrap().is_empty());
    }
}

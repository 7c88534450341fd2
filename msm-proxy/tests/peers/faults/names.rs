//! Endpoints that a name stands for, and a name server that fails.

use super::acts;
use super::crowd::Probes;
use super::scene::{ENDPOINTS, Scene};
use crate::lab::{Lab, Place};
use crate::names::{A, AAAA, NXDOMAIN, NameServer, Reply, SERVFAIL};
use crate::proxy::url;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What stands for the endpoints.
pub(crate) const NAME: &str = "endpoints.test";
/// How long an answer holds, in seconds.
const TTL: u32 = 1;
/// When a failure must have been noticed: the proxy asks again after 8 s at most, and waits for four times 3 s.
const NOTICED_BY: Duration = Duration::from_secs(23);

/// A name server in the proxy's namespace that knows the endpoints.
pub(crate) fn server(lab: &Lab, endpoints: usize) -> NameServer {
    let namespace = format!("/run/netns/{}", lab.namespace(Place::Proxy));
    let start = move || {
        // Of this thread, and of those that it starts.
        setns(File::open(namespace).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        NameServer::start()
    };
    let server = std::thread::spawn(start).join().unwrap();
    let addresses: Vec<String> = ENDPOINTS.iter().take(endpoints).map(|place| place.address()).collect();
    server.set_addresses(NAME, TTL, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    server
}

/// The name server fails in each way, while readers come that need an endpoint; then the endpoint in use dies.
pub(crate) fn fail(scene: &mut Scene<'_>) {
    let failures = [
        (Reply::Code(SERVFAIL), "the name server answered: Server Failure"),
        (Reply::Silence, "no answer from the name server"),
        (Reply::Code(NXDOMAIN), "the name does not exist (NXDOMAIN)"),
    ];
    for (reply, told) in failures {
        let names = scene.names.as_ref().unwrap();
        names.set(NAME, A, reply.clone());
        names.set(NAME, AAAA, reply);
        let deadline = Instant::now() + NOTICED_BY;
        while !scene.proxy.as_ref().unwrap().log().contains(told) {
            if Instant::now() >= deadline {
                scene.wrong.push(format!("the proxy does not say that DNS fails: {told}"));
                break;
            }
            sleep(Duration::from_millis(50));
        }
        newcomers(scene, told);
    }
    acts::kill(scene);
    newcomers(scene, "DNS and an endpoint");
}

/// Readers that come meanwhile, of the stream that is there and of one that is not yet.
fn newcomers(scene: &mut Scene<'_>, what: &str) {
    let end = Instant::now() + Duration::from_millis(2500);
    let fresh = format!("test?of={}", what.len());
    let probes = [url("test"), url(&fresh)].map(|url| (Probes::start(scene.lab, &url, 2, end), url));
    for (probes, url) in probes {
        for seen in probes.done() {
            if seen.ended.is_some() || !seen.flows(end) {
                let why = seen.ended.as_deref().unwrap_or("nothing came");
                scene.wrong.push(format!("{what}: a new reader of {url}: {why}"));
            }
        }
    }
}

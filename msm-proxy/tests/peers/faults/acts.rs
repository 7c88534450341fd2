//! What is done to endpoints.

use super::scene::{ENDPOINTS, Scene};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

/// kill -9 of the endpoint in use.
pub(crate) fn kill(scene: &mut Scene<'_>) {
    scene.struck = Some(SystemTime::now());
    scene.signal(0, "-KILL");
}

pub(crate) fn stop(scene: &mut Scene<'_>) {
    scene.signal(0, "-STOP");
}

/// Nothing of the endpoint comes or goes any more.
pub(crate) fn cut(scene: &mut Scene<'_>) {
    let address = ENDPOINTS[0].address();
    scene.at(0, "nft", &["add table ip fault"]);
    for (chain, side) in [("input", "daddr"), ("output", "saddr")] {
        scene.at(
            0,
            "nft",
            &[&format!("add chain ip fault {chain} {{ type filter hook {chain} priority 0; }}")],
        );
        scene.at(0, "nft", &[&format!("add rule ip fault {chain} ip {side} {address} drop")]);
    }
}

/// Each endpoint ends and comes back, one after the other.
pub(crate) fn rolling(scene: &mut Scene<'_>) {
    for index in 0..scene.servers.len() {
        scene.signal(index, "-TERM");
        sleep(Duration::from_secs(1));
        scene.servers[index] = None;
        let server = scene.server(index);
        scene.servers[index] = Some(server);
        sleep(Duration::from_secs(4));
    }
}

//! The faults.

use super::scene::{ENDPOINTS, Fault, Scene};
use std::thread::sleep;
use std::time::Duration;

const WARM: &str = ", health: {media_timeout: 500ms}, failover: {standby: warm}";
const COLD: &str = ", health: {media_timeout: 500ms}";
const NONE: [&[&str]; 3] = [&[], &[], &[]];
/// Without a standby: the set-up, and one interval between keyframes.
const SET_UP: Duration = Duration::from_millis(1500);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "nothing",
        about: "nothing, to see what the machine does",
        endpoints: 2,
        cluster: COLD,
        options: NONE,
        act: |_| (),
        lasts: Duration::ZERO,
        bound: millis(150),
        leaves: false,
    },
    Fault {
        name: "kill-warm",
        about: "kill -9 of the endpoint, warm standby",
        endpoints: 2,
        cluster: WARM,
        options: NONE,
        act: kill,
        lasts: Duration::ZERO,
        bound: millis(150),
        leaves: true,
    },
    Fault {
        name: "kill-cold",
        about: "kill -9 of the endpoint, no standby",
        endpoints: 2,
        cluster: COLD,
        options: NONE,
        act: kill,
        lasts: Duration::ZERO,
        bound: SET_UP,
        leaves: true,
    },
    Fault {
        name: "stop-warm",
        about: "SIGSTOP of the endpoint (silence), warm standby",
        endpoints: 2,
        cluster: WARM,
        options: NONE,
        act: stop,
        lasts: Duration::ZERO,
        bound: millis(600),
        leaves: true,
    },
    Fault {
        name: "stop-cold",
        about: "SIGSTOP of the endpoint (silence), no standby",
        endpoints: 2,
        cluster: COLD,
        options: NONE,
        act: stop,
        lasts: Duration::ZERO,
        bound: millis(2000),
        leaves: true,
    },
    Fault {
        name: "cut",
        about: "network cut to the endpoint, warm standby",
        endpoints: 2,
        cluster: WARM,
        options: NONE,
        act: cut,
        lasts: Duration::ZERO,
        bound: millis(600),
        leaves: true,
    },
    Fault {
        name: "statuses",
        about: "kill -9, and the next endpoint answers 500",
        endpoints: 3,
        cluster: COLD,
        options: [&[], &["--status", "500"], &[]],
        act: kill,
        lasts: Duration::ZERO,
        bound: SET_UP,
        leaves: true,
    },
    Fault {
        name: "status-404",
        about: "kill -9, and the next endpoint answers 404",
        endpoints: 3,
        cluster: COLD,
        options: [&[], &["--status", "404"], &[]],
        act: kill,
        lasts: Duration::ZERO,
        bound: SET_UP,
        leaves: true,
    },
    Fault {
        name: "status-401",
        about: "kill -9, and the next endpoint answers 401",
        endpoints: 3,
        cluster: COLD,
        options: [&[], &["--auth", "digest"], &[]],
        act: kill,
        lasts: Duration::ZERO,
        bound: SET_UP,
        leaves: true,
    },
    Fault {
        name: "rolling",
        about: "rolling restart of all endpoints, warm standby",
        endpoints: 2,
        cluster: WARM,
        options: NONE,
        act: rolling,
        lasts: Duration::from_secs(14),
        bound: millis(150),
        leaves: true,
    },
];

/// kill -9 of the endpoint in use.
fn kill(scene: &mut Scene<'_>) {
    scene.signal(0, "-KILL");
}

fn stop(scene: &mut Scene<'_>) {
    scene.signal(0, "-STOP");
}

/// Nothing of the endpoint comes or goes any more.
fn cut(scene: &mut Scene<'_>) {
    let address = ENDPOINTS[0];
    scene.at_servers("nft", &["add table ip fault"]);
    for (chain, side) in [("input", "daddr"), ("output", "saddr")] {
        scene.at_servers(
            "nft",
            &[&format!("add chain ip fault {chain} {{ type filter hook {chain} priority 0; }}")],
        );
        scene.at_servers("nft", &[&format!("add rule ip fault {chain} ip {side} {address} drop")]);
    }
}

/// Each endpoint ends and comes back, one after the other.
fn rolling(scene: &mut Scene<'_>) {
    for index in 0..scene.servers.len() {
        scene.signal(index, "-TERM");
        sleep(Duration::from_secs(1));
        scene.servers[index] = None;
        let server = scene.server(index);
        scene.servers[index] = Some(server);
        sleep(Duration::from_secs(4));
    }
}

//! The faults.

use super::scene::Fault;
use super::{acts, garbage, names, reload, upgrade};
use std::time::Duration;

const WARM: &str = ", health: {media_timeout: 500ms}, failover: {standby: warm}";
const COLD: &str = ", health: {media_timeout: 500ms}";
/// Without a standby: the set-up, and one interval between keyframes.
const SET_UP: Duration = Duration::from_millis(1500);
/// On silence, with a standby: `media_timeout`, and 100 ms.
const SILENCE: Duration = Duration::from_millis(600);
/// Where nothing has to be waited for.
const AT_ONCE: Duration = Duration::from_millis(150);

/// kill -9, with a standby.
const KILL: Fault = Fault {
    name: "kill-warm",
    about: "kill -9 of the endpoint, warm standby",
    endpoints: 2,
    transport: "tcp",
    cluster: WARM,
    named: false,
    upgrades: false,
    options: [&[], &[], &[]],
    act: acts::kill,
    lasts: Duration::ZERO,
    bound: AT_ONCE,
    leaves: true,
    lossless: false,
};

/// Silence, with a standby.
const STOP: Fault = Fault {
    name: "stop-warm",
    about: "SIGSTOP of the endpoint (silence), warm standby",
    act: acts::stop,
    bound: SILENCE,
    ..KILL
};

/// kill -9, and the next endpoint is none.
const NEXT: Fault = Fault {
    name: "statuses",
    about: "kill -9, and the next endpoint answers 500",
    endpoints: 3,
    cluster: COLD,
    options: [&[], &["--status", "500"], &[]],
    bound: SET_UP,
    ..KILL
};

/// Garbage in the place of media, by UDP.
const GARBAGE: Fault = Fault {
    name: "garbage-bytes",
    about: "random bytes in the place of media, warm standby",
    transport: "udp",
    options: [&["--garbage", "bytes"], &[], &[]],
    act: garbage::instead,
    lasts: Duration::from_secs(2),
    ..STOP
};

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "nothing",
        about: "nothing, to see what the machine does",
        cluster: COLD,
        act: |_| (),
        leaves: false,
        ..KILL
    },
    KILL,
    Fault {
        name: "kill-cold",
        about: "kill -9 of the endpoint, no standby",
        cluster: COLD,
        bound: SET_UP,
        ..KILL
    },
    STOP,
    Fault {
        name: "stop-cold",
        about: "SIGSTOP of the endpoint (silence), no standby",
        cluster: COLD,
        bound: Duration::from_millis(2000),
        ..STOP
    },
    Fault { name: "cut", about: "network cut to the endpoint, warm standby", act: acts::cut, ..STOP },
    NEXT,
    Fault {
        name: "status-404",
        about: "kill -9, and the next endpoint answers 404",
        options: [&[], &["--status", "404"], &[]],
        ..NEXT
    },
    Fault {
        name: "status-401",
        about: "kill -9, and the next endpoint answers 401",
        options: [&[], &["--auth", "digest"], &[]],
        ..NEXT
    },
    GARBAGE,
    Fault {
        name: "garbage-types",
        about: "payload types that were not described, warm standby",
        options: [&["--garbage", "types"], &[], &[]],
        ..GARBAGE
    },
    Fault {
        name: "garbage-sources",
        about: "packets of other sources, warm standby",
        options: [&["--garbage", "sources"], &[], &[]],
        ..GARBAGE
    },
    Fault {
        name: "garbage-beside",
        about: "20 packets of garbage beside each of the media, until the endpoint is ejected",
        cluster: COLD,
        options: [&["--garbage", "beside"], &[], &[]],
        act: garbage::beside,
        lasts: Duration::from_secs(10),
        bound: AT_ONCE,
        lossless: true,
        ..GARBAGE
    },
    Fault {
        name: "dns",
        about: "DNS answers SERVFAIL, nothing, NXDOMAIN; then kill -9, no standby",
        cluster: COLD,
        named: true,
        act: names::fail,
        lasts: Duration::from_secs(50),
        bound: SET_UP,
        ..KILL
    },
    Fault {
        name: "reload",
        about: "the configuration changes 10 times a second for 30 s",
        act: reload::change,
        lasts: Duration::from_secs(31),
        leaves: false,
        lossless: true,
        ..KILL
    },
    Fault {
        name: "upgrade",
        about: "another process takes the proxy's place, readers come meanwhile",
        cluster: COLD,
        upgrades: true,
        act: upgrade::take_over,
        lasts: Duration::from_secs(15),
        leaves: false,
        lossless: true,
        ..KILL
    },
    Fault {
        name: "rolling",
        about: "rolling restart of all endpoints, warm standby",
        act: acts::rolling,
        lasts: Duration::from_secs(14),
        ..KILL
    },
];

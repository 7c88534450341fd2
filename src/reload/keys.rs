//! Keys outside of routes, clusters and listeners that two configurations differ in.

use super::Pinned;
use super::changes::Changes;
use crate::config::{AdminConfig, Config, LimitsConfig, LogConfig, UpgradeConfig};

/// Enters a key for each field that differs. All fields are named, so that none is forgotten that is added later.
macro_rules! compare {
    ($type:ident, $old:expr, $new:expr, $enter:expr, { $($field:ident => $key:literal),* $(,)? }) => {{
        let $type { $($field),* } = $old;
        $(if *$field != $new.$field { $enter($key); })*
    }};
}

/// What differs, and what of it takes a restart.
pub(super) fn compare(old: &Config, new: &Config, pinned: &Pinned, changes: &mut Changes) {
    // What is not looked at here is compared by `plan`.
    let Config {
        identity,
        listeners: _,
        admin,
        workers,
        real_time,
        routes: _,
        clusters: _,
        zone,
        limits,
        log,
        drain_delay,
        drain_timeout,
        upgrade,
    } = old;
    let keys = &mut changes.keys;
    let mut enter = |key: &str| keys.push(key.to_owned());
    if *zone != new.zone {
        enter("zone");
    }
    compare!(LimitsConfig, limits, new.limits, enter, {
        header_bytes => "limits.header_bytes",
        body_bytes => "limits.body_bytes",
        connections => "limits.connections",
        connections_per_peer => "limits.connections_per_peer",
        sessions_per_peer => "limits.sessions_per_peer",
        setup_rate => "limits.setup_rate",
        auth_failures => "limits.auth_failures",
        auth_failures_per_peer => "limits.auth_failures_per_peer",
        auth_failures_window => "limits.auth_failures_window",
        readers => "limits.readers",
        streams => "limits.streams",
        request_timeout => "limits.request_timeout",
        session_timeout => "limits.session_timeout",
        tcp_queue => "limits.tcp_queue",
        gop_cache => "limits.gop_cache",
    });
    let LogConfig { format, level } = log;
    if *level != new.log.level {
        enter("log.level");
    }
    if *drain_delay != new.drain_delay {
        enter("drain_delay");
    }
    if *drain_timeout != new.drain_timeout {
        enter("drain_timeout");
    }
    let (mut other_door, mut other_drain) = (upgrade.is_some() != new.upgrade.is_some(), false);
    if let (Some(UpgradeConfig { socket, drain_timeout }), Some(new)) = (upgrade, &new.upgrade) {
        (other_door, other_drain) = (*socket != new.socket, *drain_timeout != new.drain_timeout);
    }
    if other_drain {
        enter("upgrade.drain_timeout");
    }
    let restart = &mut changes.restart;
    let mut enter = |key: &str| restart.push(key.to_owned());
    if *format != new.log.format {
        enter("log.format");
    }
    compare!(AdminConfig, admin, new.admin, enter, {
        address => "admin.address",
        metrics => "admin.metrics",
        ready => "admin.ready",
    });
    if *workers != new.workers && !pinned.workers {
        enter("workers");
    }
    if *real_time != new.real_time {
        enter("real_time");
    }
    if other_door {
        enter("upgrade.socket");
    }
    if *identity != new.identity && !pinned.identity {
        enter("identity");
    }
}

/// The configuration that is in force once `new` is: what takes a restart is as it was.
pub(super) fn in_force(old: &Config, new: Config) -> Config {
    let mut upgrade = new.upgrade.clone().filter(|_| old.upgrade.is_some()).or_else(|| old.upgrade.clone());
    if let (Some(own), Some(old)) = (&mut upgrade, &old.upgrade) {
        own.socket.clone_from(&old.socket);
    }
    Config {
        upgrade,
        identity: old.identity.clone(),
        workers: old.workers,
        real_time: old.real_time,
        admin: old.admin.clone(),
        log: LogConfig { format: old.log.format, ..new.log },
        ..new
    }
}

//! What happens to endpoints, and what fifty readers see of it. Each fault is done to real servers with the proxy and its readers between
//! namespaces; `make fault-matrix` does all of them and prints the table.

mod acts;
mod crowd;
mod garbage;
mod list;
mod names;
mod probe;
mod reload;
mod scene;
mod table;
mod upgrade;

use self::scene::{Fault, Scene};
use self::table::Row;
use crate::lab::Lab;
use crate::need::{Peer, have};

/// What is always done; the others only where `MSM_FAULTS=all`.
const ALWAYS: [&str; 3] = ["kill-warm", "garbage-sources", "statuses"];

#[test]
fn readers_do_not_notice() {
    if !have(&[Peer::GstServer, Peer::Gstreamer, Peer::Ffmpeg, Peer::Nftables]) {
        return;
    }
    let wanted = std::env::var("MSM_FAULTS").unwrap_or_default();
    let is_wanted = |fault: &&Fault| match wanted.as_str() {
        "" => ALWAYS.contains(&fault.name),
        "all" => true,
        names => names.split(',').any(|name| name == fault.name),
    };
    let mut rows = Vec::new();
    for fault in list::FAULTS.iter().filter(is_wanted) {
        let lab = Lab::alone();
        let row = Scene::set(&lab, fault).play();
        println!("{row}");
        rows.push(row);
    }
    assert!(!rows.is_empty(), "MSM_FAULTS={wanted} names no fault");
    table::print(&rows);
    // Times are judged by who asks for the table, on a machine that has nothing else to do.
    let is_judged = |row: &&Row| if wanted.is_empty() { !row.is_kept() } else { !row.is_well() };
    let failed: Vec<&Row> = rows.iter().filter(is_judged).collect();
    assert!(failed.is_empty(), "{} of {} faults were noticed", failed.len(), rows.len());
}

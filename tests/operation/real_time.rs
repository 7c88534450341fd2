//! Workers that go before the rest of the machine.

use std::fs;

use crate::common::TestMesh;

/// `SCHED_RR`.
const ROUND_ROBIN: u32 = 2;

/// Policy and priority of the threads of this process that are called `name` and something, by `proc_pid_stat(5)`.
fn threads(name: &str) -> Vec<(u32, u32)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // Threads of other tests end meanwhile.
    let stats = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
    let own = |stat: String| {
        let (before, after) = stat.rsplit_once(") ")?;
        let (_, called) = before.split_once('(')?;
        // The first of these is the third.
        let field = |number: usize| after.split(' ').nth(number - 3)?.parse().ok();
        called.starts_with(name).then(|| Some((field(41)?, field(40)?)))?
    };
    stats.filter_map(own).collect()
}

fn real_time() -> usize {
    threads("msm-worker-").into_iter().filter(|own| *own == (ROUND_ROBIN, 1)).count()
}

#[test]
fn workers_are_real_time_where_that_is_wanted_and_allowed() {
    let allowed = std::thread::spawn(msm_udp::be_real_time).join().unwrap().is_ok();
    let mesh = TestMesh::start("workers: 3");
    assert_eq!(real_time(), 0);
    assert!(!mesh.block_on(mesh.mesh.status()).real_time);
    let mesh = TestMesh::start("workers: 3\nreal_time: true");
    assert_eq!(real_time(), if allowed { 3 } else { 0 });
    assert_eq!(mesh.block_on(mesh.mesh.status()).real_time, allowed);
}

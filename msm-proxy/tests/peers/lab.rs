//! Three network namespaces in a row, those of further servers, and the directory of one test.

use crate::process::{Finished, Process};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// The address of servers.
pub(crate) const SERVER: &str = "10.71.0.1";
/// The address of the proxy as clients see it.
pub(crate) const PROXY: &str = "10.72.0.1";
/// The same over IPv6.
pub(crate) const PROXY_V6: &str = "fd00:72::1";
/// The address of clients.
pub(crate) const CLIENT: &str = "10.72.0.2";
/// The proxy's interface towards servers.
pub(crate) const UP: &str = "up0";
/// The proxy's interface towards clients.
pub(crate) const DOWN: &str = "down0";

/// Tests at once: players and encoders keep time only while there is processor time left.
const TESTS_AT_ONCE: usize = 2;

/// Whether the servers stand in the proxy's place.
pub(crate) fn direct() -> bool {
    std::env::var_os("MSM_PEERS_DIRECT").is_some()
}

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Server,
    /// One of those that [`Lab::add_endpoints`] has made.
    Endpoint(u8),
    Proxy,
    Client,
}

impl Place {
    /// The address of a server that stands there.
    pub(crate) fn address(self) -> String {
        match self {
            Place::Server => SERVER.to_owned(),
            Place::Endpoint(number) => format!("10.73.{number}.1"),
            Place::Proxy => PROXY.to_owned(),
            Place::Client => CLIENT.to_owned(),
        }
    }
}

/// The surroundings of one test. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Lab {
    name: String,
    dir: TempDir,
    endpoints: AtomicU8,
    _slots: Slots,
}

impl Lab {
    /// Makes the namespaces, and waits for a turn.
    pub(crate) fn new() -> Lab {
        Lab::with_slots(1)
    }

    /// The same with the machine for itself, for a test that judges timing or needs all of it.
    pub(crate) fn alone() -> Lab {
        Lab::with_slots(TESTS_AT_ONCE)
    }

    fn with_slots(slots: usize) -> Lab {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let slots = Slots::take(slots);
        let name = format!("msm{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::Builder::new().prefix("msm-peers-").tempdir().unwrap();
        // VLC refuses to be root, so another user writes here.
        sh(&format!("chmod 777 {}", dir.path().display()));
        let lab = Lab { name, dir, endpoints: AtomicU8::new(0), _slots: slots };
        let [server, proxy, client] =
            [Place::Server, Place::Proxy, Place::Client].map(|at| lab.namespace(at));
        sh(&format!(
            "for n in {server} {proxy} {client}; do ip netns add $n; ip -n $n link set lo up; done
             ip link add srv0 netns {server} type veth peer name {UP} netns {proxy}
             ip link add cli0 netns {client} type veth peer name {DOWN} netns {proxy}
             ip -n {server} addr add {SERVER}/24 dev srv0
             ip -n {proxy} addr add 10.71.0.2/24 dev {UP}
             ip -n {proxy} addr add {PROXY}/24 dev {DOWN}
             ip -n {client} addr add {CLIENT}/24 dev cli0
             ip -n {proxy} addr add {PROXY_V6}/64 dev {DOWN} nodad
             ip -n {client} addr add fd00:72::2/64 dev cli0 nodad
             ip -n {server} link set srv0 up; ip -n {proxy} link set {UP} up
             ip -n {proxy} link set {DOWN} up; ip -n {client} link set cli0 up
             ip -n {server} route add default via 10.71.0.2
             ip -n {client} route add default via {PROXY}
             ip -n {proxy} route add 239.0.0.0/8 dev {DOWN}"
        ));
        if direct() {
            sh(&format!("ip netns exec {proxy} sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'"));
        }
        lab
    }

    /// Makes `count` further namespaces next to the proxy's: datagrams of a server come from the first address of its namespace.
    pub(crate) fn add_endpoints(&self, count: u8) {
        let proxy = self.namespace(Place::Proxy);
        for number in 0..count {
            self.endpoints.store(number + 1, Ordering::Relaxed);
            let (own, address) = (self.namespace(Place::Endpoint(number)), Place::Endpoint(number).address());
            let gateway = format!("10.73.{number}.2");
            sh(&format!(
                "ip netns add {own}; ip -n {own} link set lo up
                 ip link add srv0 netns {own} type veth peer name end{number} netns {proxy}
                 ip -n {own} addr add {address}/24 dev srv0
                 ip -n {proxy} addr add {gateway}/24 dev end{number}
                 ip -n {own} link set srv0 up; ip -n {proxy} link set end{number} up
                 ip -n {own} route add default via {gateway}"
            ));
        }
    }

    /// The directory of the test. In the sid chroot it is `/w`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the directory of the test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The name of a namespace.
    pub(crate) fn namespace(&self, place: Place) -> String {
        let name = &self.name;
        match place {
            Place::Server => format!("{name}s"),
            Place::Endpoint(number) => format!("{name}e{number}"),
            Place::Proxy => format!("{name}p"),
            Place::Client => format!("{name}c"),
        }
    }

    /// A command in a namespace, with the test's directory as its own.
    pub(crate) fn command(&self, place: Place, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(place)]).arg(program.as_ref());
        command
            .current_dir(self.dir())
            .env("LC_ALL", "C")
            .env("GST_DEBUG", "2")
            .env("GST_DEBUG_NO_COLOR", "1");
        command
    }

    /// A command in the Debian sid chroot.
    pub(crate) fn in_sid(&self, place: Place, program: &str) -> Command {
        let mut command = self.command(place, crate::need::workspace().join("scripts/in-sid.sh"));
        command.env("MSM_WORK", self.dir()).arg(program);
        command
    }

    /// Starts a process that ends with the returned value.
    pub(crate) fn start(&self, name: &str, command: Command) -> Process {
        Process::start(self.dir(), name, command)
    }

    /// Runs a process to its end.
    pub(crate) fn run(&self, name: &str, command: Command, limit: Duration) -> Finished {
        self.start(name, command).finish(limit)
    }

    /// Loses every so manieth of the datagrams that come to a namespace and meet `condition`.
    pub(crate) fn lose(&self, at: Place, one_in: u32, condition: &str) {
        let namespace = self.namespace(at);
        // Datagrams that are sent in one call are to be cut apart before they are lost.
        let proxy = self.namespace(Place::Proxy);
        sh(&format!(
            "ip -n {proxy} link set dev {DOWN} gso_max_segs 1
             ip netns exec {namespace} nft 'add table ip lossy'
             ip netns exec {namespace} nft 'add chain ip lossy in {{ type filter hook input priority 0; }}'
             ip netns exec {namespace} nft 'add rule ip lossy in {condition} numgen inc mod {one_in} == 0 counter drop'"
        ));
    }

    /// How many of them were lost so far.
    pub(crate) fn lost(&self, at: Place) -> u64 {
        let output = self.command(at, "nft").args(["list", "table", "ip", "lossy"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let count = text.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next());
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("nothing is counted: {text}"))
    }

    /// How many UDP datagrams came to sockets of a namespace or found no room in them, and how many multicast packets to the namespace.
    pub(crate) fn datagrams(&self, place: Place) -> Datagrams {
        let mut command = self.command(place, "cat");
        let output = command.args(["/proc/net/snmp", "/proc/net/netstat"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = |table: &str, key: &str| -> u64 {
            let mut rows = text.lines().filter(|line| line.starts_with(table));
            let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
            let at = names.split(' ').position(|name| name == key).unwrap();
            values.split(' ').nth(at).unwrap().parse().unwrap()
        };
        Datagrams {
            udp: value("Udp:", "InDatagrams"),
            no_room: value("Udp:", "RcvbufErrors"),
            multicast: value("IpExt:", "InMcastPkts"),
        }
    }

    /// The body of an HTTP answer 200, asked for in the proxy's namespace; `None` for any other answer.
    pub(crate) fn http(&self, port: u16, path: &str) -> Option<String> {
        self.http_at(Place::Proxy, port, path)
    }

    /// The same in any namespace.
    pub(crate) fn http_at(&self, place: Place, port: u16, path: &str) -> Option<String> {
        let mut command = self.command(place, "bash");
        let ask = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && cat <&3"
        );
        let output = command.args(["-c", &ask]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let endpoints = (0..self.endpoints.load(Ordering::Relaxed)).map(Place::Endpoint);
        for place in [Place::Server, Place::Proxy, Place::Client].into_iter().chain(endpoints) {
            let _ = Command::new("ip").args(["netns", "delete", &self.namespace(place)]).status();
        }
        if std::thread::panicking() && std::env::var_os("MSM_PEERS_KEEP").is_some() {
            self.dir.disable_cleanup(true);
            println!("kept {}", self.dir.path().display());
        }
    }
}

/// See [`Lab::datagrams`].
#[derive(Debug)]
pub(crate) struct Datagrams {
    pub(crate) udp: u64,
    pub(crate) no_room: u64,
    pub(crate) multicast: u64,
}

fn sh(script: &str) {
    let status = Command::new("sh").args(["-euc", script]).status().unwrap();
    assert!(status.success(), "{status}: {script}");
}

/// A share of the machine.
#[derive(Debug)]
struct Slots(usize);

static FREE: Mutex<usize> = Mutex::new(TESTS_AT_ONCE);
static FREED: Condvar = Condvar::new();

impl Slots {
    fn take(wanted: usize) -> Slots {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = FREED.wait_while(free, |free| *free < wanted).unwrap_or_else(PoisonError::into_inner);
        *free -= wanted;
        Slots(wanted)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += self.0;
        FREED.notify_all();
    }
}

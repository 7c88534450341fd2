//! A mesh in this process.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use msm::config::Config;
use msm::{Error, Mesh};

use crate::common::Rtsp;

/// A mesh that serves on loopback.
pub struct TestMesh {
    pub mesh: Mesh,
    pub address: SocketAddr,
    pub addresses: Vec<SocketAddr>,
    runtime: tokio::runtime::Runtime,
}

impl TestMesh {
    /// One listener on any port, whose routes publish and read in this process, plus `more` configuration.
    pub fn start(more: &str) -> Self {
        // Programs that this test has started take ports, too, and may take one between its being looked for and its being bound.
        (0..5)
            .find_map(|_| {
                let port = reader_port();
                let listener = format!("{{name: test, address: \"127.0.0.1:0\", ports: {port}}}");
                match Self::try_with(&format!("listeners:\n  - {listener}\n{more}\n"), |builder| builder) {
                    Err(Error::Socket { source, .. }) if source.kind() == ErrorKind::AddrInUse => None,
                    started => Some(started.unwrap()),
                }
            })
            .expect("ports are free")
    }

    /// A mesh with this configuration.
    pub fn from_yaml(yaml: &str) -> Self {
        Self::with(yaml, |builder| builder)
    }

    /// A mesh with this configuration, and whatever else its builder is given. Only a listener of it is served.
    pub fn with(yaml: &str, change: impl FnOnce(msm::Builder) -> msm::Builder) -> Self {
        Self::try_with(yaml, change).unwrap()
    }

    fn try_with(yaml: &str, change: impl FnOnce(msm::Builder) -> msm::Builder) -> Result<Self, Error> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = Config::from_yaml(yaml, "test.yaml", std::iter::empty()).unwrap();
        let (mesh, addresses) = runtime.block_on(async {
            let mesh = change(Mesh::builder().config(config)).build().await.unwrap();
            let serving = mesh.serve().await?;
            Ok::<_, Error>((mesh, serving.addresses().to_vec()))
        })?;
        Ok(Self { mesh, address: addresses[0], addresses, runtime })
    }

    pub fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.address)
    }

    pub fn connect(&self) -> Rtsp {
        Rtsp::connect(self.address)
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Waits until the gauges or counters that contain `needle` sum up to `wanted`.
    pub fn wait_value(&self, needle: &str, wanted: f64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while (self.counter(needle) - wanted).abs() > 0.1 {
            assert!(
                Instant::now() < deadline,
                "{needle} is {} after 10 s, wanted {wanted}",
                self.counter(needle)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn metrics(&self) -> String {
        self.block_on(self.mesh.metrics_text())
    }

    /// The value of a counter line whose text contains `needle`, 0 if there is none.
    pub fn counter(&self, needle: &str) -> f64 {
        self.metrics()
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains(needle))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a counter reaches `least`.
    pub fn wait_counter(&self, needle: &str, least: f64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.counter(needle) < least {
            assert!(
                Instant::now() < deadline,
                "{needle} is {} after 10 s, wanted {least}\n{}",
                self.counter(needle),
                self.metrics()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for TestMesh {
    fn drop(&mut self) {
        self.runtime.block_on(self.mesh.shutdown(Duration::from_millis(200)));
    }
}

/// A pair of ports for the readers of one mesh: tests of one binary run at the same time.
pub fn reader_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    /// Below what meshes take by themselves, and what the system hands out: nobody else takes one between its being looked for and its being bound.
    const PAIRS: u32 = 3000;
    // Test binaries of other processes look for ports, too, and members' sockets share a port with whoever has it: processes that
    // were started one after the other begin far apart.
    let first = (std::process::id() % PAIRS * 89 % PAIRS) as u16;
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(first);
        let port = 10_000 + 2 * (turn % PAIRS as u16);
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

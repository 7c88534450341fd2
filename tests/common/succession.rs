//! A mesh that serves, and another that takes over from it.

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use msm::upgrade::{Door, Takeover};
use msm::{Builder, Error, Mesh};
use tempfile::TempDir;

use crate::common::TestMesh;

/// A directory with the socket.
pub struct Way(TempDir);

impl Way {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("upgrade.sock")
    }

    /// Opens the door of a mesh; the thread ends when it has handed over once, or failed to.
    pub fn door(&self, mesh: &Mesh) -> JoinHandle<Result<(), Error>> {
        let (path, mesh) = (self.path(), mesh.clone());
        let (open, opened) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            on_runtime(async move {
                let mut door = Door::open(&path)?;
                open.send(()).unwrap();
                door.next(&mesh, &[]).await.hand_over(&mesh).await
            })
        });
        opened.recv().unwrap();
        thread
    }

    pub fn ask(&self) -> Result<Option<Takeover>, Error> {
        on_runtime(Takeover::ask(&self.path()))
    }

    /// Asks until the process that asked before has been seen to end.
    pub fn ask_again(&self) -> Takeover {
        let mut takeover = None;
        wait("the door", || {
            takeover = self.ask().unwrap_or_default();
            takeover.is_some()
        });
        takeover.unwrap()
    }

    /// A mesh that takes over, and is gone without a word when it is dropped.
    pub fn lost(&self, yaml: &str) -> Mesh {
        let takeover = self.ask().unwrap().expect("somebody serves");
        let config = msm::config::Config::from_yaml(yaml, "test.yaml", std::iter::empty()).unwrap();
        on_runtime(async {
            let mesh = Mesh::builder().config(config).take_over(takeover).build().await.unwrap();
            mesh.serve().await.unwrap();
            mesh
        })
    }

    /// A mesh that takes over.
    pub fn successor(&self, yaml: &str, change: impl FnOnce(Builder) -> Builder) -> TestMesh {
        let takeover = self.ask().unwrap().expect("somebody serves");
        TestMesh::with(yaml, |builder| change(builder.take_over(takeover)))
    }
}

pub fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Waits until something is so.
pub fn wait(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !look() {
        assert!(Instant::now() < deadline, "{what} did not come about in 10 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

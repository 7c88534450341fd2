use super::*;
use crate::admin::Later;
use msm::config::{AdminConfig, Bind};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

struct Fixed;

impl Source for Fixed {
    fn metrics(&self) -> Later<'_, String> {
        Box::pin(async { "# EOF\n".to_owned() })
    }

    fn status(&self) -> Later<'_, serde_json::Value> {
        Box::pin(async { serde_json::json!({}) })
    }

    fn ready(&self) -> bool {
        true
    }
}

/// A member whose drain ends when `end` says so.
struct Fake {
    draining: Mutex<Option<oneshot::Sender<()>>>,
    end: Mutex<Option<oneshot::Receiver<()>>>,
    asked: Arc<AtomicUsize>,
    times: Option<DrainTimes>,
}

impl Member for Fake {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(Fixed)
    }

    async fn follow(&self, asked: &Notify) -> Infallible {
        loop {
            asked.notified().await;
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn drain_times(&self) -> Option<DrainTimes> {
        self.times
    }

    async fn drain(&self, _timeout: Duration) {
        let draining = self.draining.lock().expect("lock").take().expect("once");
        let end = self.end.lock().expect("lock").take().expect("once");
        let _ = draining.send(());
        let _ = end.await;
    }
}

async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    listener.local_addr().expect("address")
}

async fn config() -> Config {
    Config {
        admin: AdminConfig { address: Bind::Off, metrics: Bind::Off, ready: Bind::At(free_port().await) },
        drain_timeout: Duration::from_millis(200),
        ..Config::default()
    }
}

fn fake() -> (Fake, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (draining, is_draining) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let (draining, ended) = (Mutex::new(Some(draining)), Mutex::new(Some(ended)));
    (Fake { draining, end: ended, asked: Arc::default(), times: None }, is_draining, end)
}

async fn ready_line(config: &Config) -> String {
    let address = config.admin.ready.address().expect("on");
    let mut text = String::new();
    for _ in 0..100 {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n").await.expect("write");
            text.clear();
            stream.read_to_string(&mut text).await.expect("read");
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    text.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn drains_after_the_first_signal() {
    let config = config().await;
    let (member, is_draining, end) = fake();
    let (sender, mut signals) = Signals::channel();
    let script = async {
        assert_eq!(ready_line(&config).await, "HTTP/1.0 200 OK");
        sender.send("SIGTERM").await.expect("running");
        is_draining.await.expect("drain was called");
        assert_eq!(ready_line(&config).await, "HTTP/1.0 503 Service Unavailable");
        end.send(()).expect("draining");
    };
    let start = async { Ok::<_, Infallible>(member) };
    let (result, ()) = tokio::join!(run(&config, Vec::new(), start, &mut signals), script);
    assert!(result.is_ok(), "{result:?}");
}

#[tokio::test]
async fn a_deadline_ends_the_drain() {
    let config = config().await;
    let (member, _draining, _end) = fake();
    let (sender, mut signals) = Signals::channel();
    let script = async {
        assert_eq!(ready_line(&config).await, "HTTP/1.0 200 OK");
        sender.send("SIGTERM").await.expect("running");
    };
    let start = async { Ok::<_, Infallible>(member) };
    let both = async { tokio::join!(run(&config, Vec::new(), start, &mut signals), script) };
    let result = tokio::time::timeout(Duration::from_secs(5), both).await;
    assert!(matches!(result, Ok((Ok(()), ()))), "{result:?}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut config = config().await;
    config.drain_timeout = Duration::from_secs(3600);
    let (member, is_draining, _end) = fake();
    let (sender, mut signals) = Signals::channel();
    let script = async {
        assert_eq!(ready_line(&config).await, "HTTP/1.0 200 OK");
        sender.send("SIGTERM").await.expect("running");
        is_draining.await.expect("drain was called");
        sender.send("SIGINT").await.expect("running");
    };
    let start = async { Ok::<_, Infallible>(member) };
    let (result, ()) = tokio::join!(run(&config, Vec::new(), start, &mut signals), script);
    assert!(matches!(result, Err(RunError::Killed("SIGINT"))), "{result:?}");
}

#[tokio::test]
async fn a_hangup_has_the_configuration_read_again_and_ends_nothing() {
    let config = config().await;
    let (member, is_draining, end) = fake();
    let asked = Arc::clone(&member.asked);
    let (sender, mut signals) = Signals::channel();
    let script = async {
        for wanted in 1..3 {
            sender.send(HANGUP).await.expect("running");
            while asked.load(Ordering::SeqCst) < wanted {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(ready_line(&config).await, "HTTP/1.0 200 OK");
        sender.send("SIGTERM").await.expect("running");
        is_draining.await.expect("drain was called");
        sender.send(HANGUP).await.expect("running");
        end.send(()).expect("draining");
    };
    let start = async { Ok::<_, Infallible>(member) };
    let (result, ()) = tokio::join!(run(&config, Vec::new(), start, &mut signals), script);
    assert!(result.is_ok(), "{result:?}");
}

#[tokio::test]
async fn not_ready_comes_before_the_drain_and_by_the_times_of_now() {
    let config = config().await;
    let (mut member, is_draining, end) = fake();
    let delay = Duration::from_millis(300);
    member.times = Some(DrainTimes { delay, timeout: Duration::from_secs(9), upgraded: Duration::ZERO });
    let (sender, mut signals) = Signals::channel();
    let script = async {
        assert_eq!(ready_line(&config).await, "HTTP/1.0 200 OK");
        let asked = Instant::now();
        sender.send("SIGTERM").await.expect("running");
        tokio::task::yield_now().await;
        assert_eq!(ready_line(&config).await, "HTTP/1.0 503 Service Unavailable");
        is_draining.await.expect("drain was called");
        assert!(asked.elapsed() >= delay, "{:?}", asked.elapsed());
        end.send(()).expect("draining");
    };
    let start = async { Ok::<_, Infallible>(member) };
    let (result, ()) = tokio::join!(run(&config, Vec::new(), start, &mut signals), script);
    assert!(result.is_ok(), "{result:?}");
}

#[tokio::test]
async fn a_port_in_use_names_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let mut config = config().await;
    config.admin.metrics = Bind::At(taken.local_addr().expect("address"));
    let (_sender, mut signals) = Signals::channel();
    let start = async {
        panic!("nothing starts before the ports are bound");
        #[expect(unreachable_code)]
        Ok::<Fake, Infallible>(fake().0)
    };
    let error = run(&config, Vec::new(), start, &mut signals).await.expect_err("in use").to_string();
    assert!(error.contains("admin.metrics"), "{error}");
}

#[tokio::test]
async fn a_signal_while_starting_ends_it() {
    let config = config().await;
    let (sender, mut signals) = Signals::channel();
    sender.send("SIGINT").await.expect("send");
    let start = std::future::pending::<Result<Fake, Infallible>>();
    let result =
        tokio::time::timeout(Duration::from_secs(5), run(&config, Vec::new(), start, &mut signals)).await;
    assert!(matches!(result, Ok(Ok(()))), "{result:?}");
}

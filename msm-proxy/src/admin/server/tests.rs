use super::*;
use crate::admin::Later;
use msm::config::Bind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Fixed;

impl Source for Fixed {
    fn metrics(&self) -> Later<'_, String> {
        Box::pin(async { "msm_packets_total 5\n# EOF\n".to_owned() })
    }

    fn status(&self) -> Later<'_, serde_json::Value> {
        Box::pin(async { serde_json::json!({"streams": 3}) })
    }

    fn ready(&self) -> bool {
        true
    }
}

fn loopback() -> Bind {
    Bind::At(SocketAddr::from(([127, 0, 0, 1], 0)))
}

async fn started() -> (AdminHandle, SocketAddr, SocketAddr) {
    let config = AdminConfig { address: loopback(), metrics: Bind::Off, ready: loopback() };
    let admin = Admin::bind(&config, Vec::new()).await.expect("bind");
    let addresses: Vec<_> = admin.addresses().collect();
    let [("admin.address", first), ("admin.ready", second)] = addresses[..] else { panic!("{addresses:?}") };
    (admin.serve(Arc::new(Fixed)), first, second)
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn serves_over_http() {
    let (handle, admin, ready) = started().await;
    let answer = ask(admin, "GET /metrics?x=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    let answer = ask(admin, "GET /status HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\n{\"streams\":3}"), "{answer}");
    let answer = ask(admin, "HEAD /live HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(ask(ready, "GET /status HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 404 "));
    assert!(ask(ready, "GET /ready HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
    handle.set_draining(true);
    assert!(ask(ready, "GET /ready HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 503 "));
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let (_handle, admin, _) = started().await;
    assert!(ask(admin, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let endless = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * MAX_HEADER_BYTES));
    assert!(ask(admin, &endless).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
    assert!(ask(admin, &many).await.starts_with("HTTP/1.1 431 "));
    // A body is announced but never read: the answer comes without it, and the connection closes.
    let post = "POST /status HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
    let answer = tokio::time::timeout(Duration::from_secs(10), ask(admin, post)).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn a_slow_request_ends() {
    let (_handle, admin, _) = started().await;
    let answer = tokio::time::timeout(HEADER_TIMEOUT * 2, ask(admin, "GET / HTTP/1.1\r\nX")).await;
    assert!(answer.is_ok(), "the connection was not closed");
}

#[tokio::test]
async fn servers_end_with_their_handle() {
    let (handle, admin, _) = started().await;
    let mut kept = TcpStream::connect(admin).await.expect("connect");
    kept.write_all(b"GET /live HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("write");
    let mut some = [0; 16];
    kept.read_exact(&mut some).await.expect("an answer");
    drop(handle);
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(2), kept.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "the kept connection outlived its server");
    tokio::task::yield_now().await;
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn who_was_let_in_before_a_pause_is_answered() {
    let (mut handle, admin, _) = started().await;
    let mut early = TcpStream::connect(admin).await.expect("connect");
    // The server takes connections in their order: when a later one is answered, this one is let in.
    assert!(ask(admin, "GET /live HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
    handle.pause().await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    early.write_all(b"GET /live HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("write");
    let mut answer = Vec::new();
    early.read_to_end(&mut answer).await.expect("the end, behind an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

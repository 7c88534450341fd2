//! Two members in this process: streams are published into the far one, and players come to the near one.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use msm_auth::identity::source::IdentitySource;

use crate::common::{Line, Publisher, Reader, TestMesh, reader_port, rtp};

/// Whatever plain publishers publish into the far member, the near one may read; and it may publish below `from/`.
pub const FAR_ROUTES: &str = "routes:\n\
  - {name: member, match: {url: '/from/{path...}'}, allow: ['spiffe://test.example/near']}\n\
  - {name: in, match: {url: '/{path...}', actions: [publish]}}\n\
  - {name: out, match: {url: '/{path...}', actions: [read]}, allow: ['spiffe://test.example/near']}\n";

/// The far member, with a plain and a mesh listener. The address is the mesh listener's, for TCP and UDP.
pub fn far<S: IdentitySource + 'static>(source: &Arc<S>, more: &str) -> (TestMesh, SocketAddr) {
    let yaml = format!(
        "workers: 2\nlisteners:\n  - {{name: plain, address: \"127.0.0.1:0\", ports: {}}}\n  \
         - {{name: mesh, address: \"127.0.0.1:{}\", protocol: mesh}}\n{}",
        reader_port(),
        free_port(&["127.0.0.1", "127.0.0.2"]),
        if more.is_empty() { FAR_ROUTES } else { more }
    );
    let source = Arc::clone(source) as Arc<dyn IdentitySource>;
    let mesh = TestMesh::with(&yaml, |builder| builder.identity(source));
    let hop = mesh.addresses[1];
    (mesh, hop)
}

/// A port that is free for TCP and UDP at these addresses: 127.0.0.2 is that of somebody on the path.
pub fn free_port(hosts: &[&str]) -> u16 {
    loop {
        let port = reader_port();
        let is_free =
            |host: &&str| TcpListener::bind((*host, port)).is_ok() && UdpSocket::bind((*host, port)).is_ok();
        if hosts.iter().all(is_free) {
            return port;
        }
    }
}

/// The near member, which has every stream from the far one.
pub fn near<S: IdentitySource + 'static>(source: &Arc<S>, hop: SocketAddr, more: &str) -> TestMesh {
    near_on(source, hop, 2, &format!("\n{more}"))
}

/// The same with so many workers; `more` goes on with the cluster.
pub fn near_on<S: IdentitySource + 'static>(
    source: &Arc<S>,
    hop: SocketAddr,
    workers: usize,
    more: &str,
) -> TestMesh {
    near_with(source, hop, workers, "", more)
}

/// The same; `more` goes on with the route.
pub fn near_by<S: IdentitySource + 'static>(source: &Arc<S>, hop: SocketAddr, more: &str) -> TestMesh {
    near_with(source, hop, 2, more, "")
}

fn near_with<S: IdentitySource + 'static>(
    source: &Arc<S>,
    hop: SocketAddr,
    workers: usize,
    route: &str,
    cluster: &str,
) -> TestMesh {
    let yaml = format!(
        "workers: {workers}\nlisteners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {}}}\n\
         routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: far}}], idle_timeout: 500ms{route}}}\n\
         clusters:\n  far:\n    endpoints: [\"rtsp://{hop}\"]\n    hop: mesh\n    peers: [\"spiffe://test.example/far\"]{cluster}\n",
        reader_port()
    );
    let source = Arc::clone(source) as Arc<dyn IdentitySource>;
    TestMesh::with(&yaml, |builder| builder.identity(source))
}

/// The packets of a stream: the first is a keyframe, and the number is in the payload too.
pub fn numbered(number: u16) -> Vec<u8> {
    let mut packet = rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 1000);
    packet[20..22].copy_from_slice(&number.to_be_bytes());
    packet
}

/// Sends packets and sees each of them arrive, once and in order; `next` is the first one's number.
pub fn pass(ends: (&Publisher, &Reader), line: &mut Line, next: &mut u16, packets: u16) {
    for _ in 0..packets {
        let packet = numbered(*next);
        *next += 1;
        ends.0.send(&packet);
        line.check(&ends.1.recv(), &packet);
        std::thread::sleep(Duration::from_millis(1));
    }
}

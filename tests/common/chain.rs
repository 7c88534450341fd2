//! Members that have streams from endpoints, and a member that has them from these.

use std::net::SocketAddr;
use std::sync::Arc;

use msm_auth::identity::source::IdentitySource;

use crate::common::endpoint::Endpoint;
use crate::common::member::Ca;
use crate::common::{TestMesh, backend, pair};

/// A member that has all streams from this endpoint.
pub fn far(ca: &Ca, endpoint: &Endpoint) -> (TestMesh, SocketAddr) {
    let more = format!(
        "routes: [{{name: all, match: {{url: '/{{path...}}'}}, allow: ['spiffe://test.example/near'], backends: [{{cluster: cam}}]}}]\n\
         clusters: {{cam: {{endpoints: [\"{}\"], transport: tcp}}}}\n",
        endpoint.url()
    );
    pair::far(&ca.member("/far"), &more)
}

/// A member that has all streams from these; `more` goes on with their cluster, which is `back`.
pub fn near(ca: &Ca, hops: &[SocketAddr], more: &str) -> TestMesh {
    let endpoints = backend::list(hops.iter().map(|hop| format!("rtsp://{hop}")));
    let peers = "[\"spiffe://test.example/far\"]";
    let yaml = backend::yaml(&format!("endpoints: [{endpoints}], hop: mesh, peers: {peers}{more}"));
    let source = ca.member("/near") as Arc<dyn IdentitySource>;
    TestMesh::with(&yaml, |builder| builder.identity(source))
}

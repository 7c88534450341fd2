//! Meshes that have every stream from the cluster `back`.

use std::fmt::Display;

use crate::common::{TestMesh, reader_port};

/// URLs as a list in YAML has them.
pub fn list(urls: impl IntoIterator<Item = impl Display>) -> String {
    let urls: Vec<_> = urls.into_iter().map(|url| format!("\"{url}\"")).collect();
    urls.join(", ")
}

/// The configuration of such a mesh; `cluster` is what stands in the cluster's braces.
pub fn yaml(cluster: &str) -> String {
    format!(
        "workers: 2\nlisteners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {}}}\n\
         routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}], idle_timeout: 500ms}}\n\
         clusters:\n  back: {{{cluster}}}\n",
        reader_port()
    )
}

pub fn mesh(cluster: &str) -> TestMesh {
    TestMesh::from_yaml(&yaml(cluster))
}

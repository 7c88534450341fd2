//! The Media Streaming Mesh proxy.

fn main() {}

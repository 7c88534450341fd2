//! The Media Streaming Mesh proxy.

use std::process::ExitCode;

fn main() -> ExitCode {
    msm_proxy::cli::main()
}

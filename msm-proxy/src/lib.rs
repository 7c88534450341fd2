//! The parts of the `msm-proxy` binary: command line, admin servers, logs, signals. What it does with media is the
//! [`msm`] library's, and any application can do the same.

pub mod admin;
pub mod check;
pub mod cli;
mod demo;
pub mod explain;
pub mod logging;
pub mod member;
pub mod run;
pub mod signals;
pub mod status;
mod watch;

/// Exit code for success.
pub const EXIT_OK: u8 = 0;
/// Exit code for a failure at run time.
pub const EXIT_RUNTIME: u8 = 1;
/// Exit code for a wrong command line or configuration.
pub const EXIT_CONFIG: u8 = 2;

//! Media Streaming Mesh for C and C++: what `msm.h` declares. `make install` makes `libmsm.so` and `libmsm.a` of it.
//!
//! * **Names** are `msm_<type>_<verb>`, with the handle first and outputs last. An output is written only on success.
//! * **Handles** (`msm_mesh *`, `msm_reader *`, `msm_publisher *`) are numbers that look like pointers, and nothing is where they point. Each is looked up where it is
//!   used: one that was freed, or is of another type, is refused as `MSM_RESULT_INVALID_HANDLE`, not followed. So a handle may
//!   be freed while other threads are in calls with it: they return.
//! * **Threads**: each function may be called from any thread, with any handle, at any time; what is otherwise says so.
//! * **Panics** end at each function, as `MSM_RESULT_PANIC`.
//! * **Strings** are UTF-8, ended by a zero.
//! * **Waiting**: a `timeout_ms` below zero waits as long as it takes, zero does not wait.
#![allow(non_camel_case_types, reason = "types are called what C calls them")]

mod boundary;
mod burst;
mod event;
mod handle;
mod held;
mod log;
mod mesh;
mod options;
mod pointer;
mod publisher;
mod reader;
mod ready;
mod result;
mod stats;
mod version;

pub use burst::{msm_burst, msm_burst_packet, msm_burst_release, msm_packet};
pub use event::{msm_event, msm_event_callback, msm_event_kind, msm_mesh_on_event};
pub use log::{msm_log_callback, msm_log_level, msm_log_to};
pub use mesh::{
    msm_mesh, msm_mesh_free, msm_mesh_listener, msm_mesh_metrics, msm_mesh_reload, msm_mesh_serve,
    msm_mesh_shutdown, msm_mesh_start, msm_mesh_start_file, msm_mesh_status, msm_string_free,
};
pub use options::{msm_options, msm_options_init};
pub use publisher::{
    msm_mesh_publish, msm_publisher, msm_publisher_close, msm_publisher_fd, msm_publisher_forward,
    msm_publisher_free, msm_publisher_readers, msm_publisher_send, msm_publisher_send_burst,
    msm_publisher_send_rtcp, msm_publisher_stats,
};
pub use reader::{
    msm_mesh_open, msm_reader, msm_reader_end_cause, msm_reader_fd, msm_reader_free, msm_reader_pause,
    msm_reader_recv, msm_reader_recv_burst, msm_reader_resume, msm_reader_sdp, msm_reader_stats,
    msm_reader_track, msm_reader_tracks, msm_track,
};
pub use result::{msm_last_error, msm_result, msm_result_name};
pub use stats::{msm_publisher_statistics, msm_reader_statistics};
pub use version::{msm_version, msm_version_number};

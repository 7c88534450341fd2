//! The socket calls of Media Streaming Mesh that no crate offers safely, for Linux.
//!
//! * [`Socket::recv`]: one `recvmmsg` with GRO, ECN, destination address and the kernel's drop counter
//!   (`SO_RXQ_OVFL`), which tells loss on the network from loss in the own socket buffer.
//! * [`Socket::send`]: one `sendmsg` with GSO, ECN and source address, that reports every error. The DSCP of the
//!   socket stays as set, which an `IP_TOS` control message without it would clear.
//! * [`Socket::send_queue`]: one `sendmmsg` for sends to several destinations.
//! * [`steer_by_label`]: which of the sockets that share a port gets a datagram (`SO_ATTACH_REUSEPORT_CBPF`).
//! * [`join_source_group_v6`]: source-specific multicast (RFC 4607) for IPv6.
//! * [`send_descriptors`], [`recv_descriptors`], [`peer`]: sockets that go to another process (`SCM_RIGHTS`, `SO_PEERCRED`).
//! * [`give_way`], [`take_short_turns`], [`be_real_time`]: who goes first where several threads want one core (`sched_setattr`).
//!
//! No call of the way of a packet allocates or takes a lock. This is the only crate of the workspace that calls the system with `unsafe` code: what the
//! kernel writes (addresses, control messages) is parsed as plain bytes, so that only the system calls
//! themselves need it.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
compile_error!("msm-udp uses recvmmsg, UDP_GRO, UDP_SEGMENT and SO_RXQ_OVFL: it is for Linux only");

mod address;
mod buffers;
mod control;
mod multicast;
mod pass;
mod priority;
mod queue;
mod recv;
mod send;
mod socket;
mod steer;

pub use buffers::{MAX_SLOTS, Received, RecvBuffers, SLOT_BYTES};
pub use control::Ecn;
pub use multicast::{join_source_group_v6, leave_source_group_v6};
pub use pass::{MAX_DESCRIPTORS, Peer, own_uid, peer, recv_descriptors, send_descriptors};
pub use priority::{be_real_time, give_way, take_short_turns};
pub use queue::{MAX_QUEUED, MAX_QUEUED_BYTES, SendQueue};
pub use send::Transmit;
pub use socket::Socket;
pub use steer::steer_by_label;

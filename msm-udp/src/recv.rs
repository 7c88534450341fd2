//! `recvmmsg`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::address;
use crate::buffers::{MAX_SLOTS, Meta, RecvBuffers, SLOT_BYTES};
use crate::control::{self, RECV_BYTES};

/// Fills the slots with one call, which is repeated only if a signal interrupts it.
///
/// Returns the last value of the drop counter among the messages, if any carried one.
pub(crate) fn recv(fd: BorrowedFd<'_>, buffers: &mut RecvBuffers) -> io::Result<Option<u32>> {
    buffers.filled = 0;
    // SAFETY: iovec is plain data; all zeroes is a valid value of it.
    let mut vectors: [libc::iovec; MAX_SLOTS] = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: mmsghdr is plain data; all zeroes is a valid value of it.
    let mut headers: [libc::mmsghdr; MAX_SLOTS] = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut slots = 0;
    for ((((header, vector), slot), name), control) in headers
        .iter_mut()
        .zip(&mut vectors)
        .zip(buffers.bytes.chunks_exact_mut(SLOT_BYTES))
        .zip(&mut buffers.names)
        .zip(&mut buffers.controls)
    {
        vector.iov_base = slot.as_mut_ptr().cast();
        vector.iov_len = slot.len();
        header.msg_hdr.msg_name = name.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = name.len() as libc::socklen_t;
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = RECV_BYTES as _;
        slots += 1;
    }

    let filled = loop {
        // SAFETY: the first `slots` headers point to an iovec, a slot, a name and a control buffer each, all
        // alive, disjoint and not otherwise borrowed until the call returns, with their true lengths.
        let filled = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                slots,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        match usize::try_from(filled) {
            Ok(filled) => break filled,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };

    let mut drops = None;
    for (((header, meta), name), control) in
        headers.iter().take(filled).zip(&mut buffers.metas).zip(&buffers.names).zip(&buffers.controls)
    {
        // socklen_t with musl.
        #[allow(clippy::unnecessary_cast)]
        let control_length = (header.msg_hdr.msg_controllen as usize).min(RECV_BYTES);
        let name_length = (header.msg_hdr.msg_namelen as usize).min(name.len());
        let info = control::decode(control.0.get(..control_length).unwrap_or_default());
        // An IP socket always names the source; if it did not, the unspecified address matches no peer.
        let source = address::decode(name.get(..name_length).unwrap_or_default())
            .unwrap_or_else(|| std::net::SocketAddr::from(([0; 4], 0)));
        drops = info.drops.or(drops);
        *meta = Meta {
            length: (header.msg_len as usize).min(SLOT_BYTES),
            source,
            info,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            control_truncated: header.msg_hdr.msg_flags & libc::MSG_CTRUNC != 0,
        };
    }
    buffers.filled = filled;
    Ok(drops)
}

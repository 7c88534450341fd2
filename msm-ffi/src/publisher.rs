//! A publisher as C holds it.

use std::ffi::{c_char, c_int};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_sink::Sink;
use msm::{Burst, Error, Publisher, blocking::wait};

use crate::boundary::{DONE, Outcome, boundary};
use crate::burst::msm_burst;
use crate::handle::Handles;
use crate::held::{Held, patience};
use crate::mesh::{self, msm_mesh};
use crate::options::{self, msm_options};
use crate::pointer::{Out, at, bytes, text};
use crate::result::{Failure, msm_result};
use crate::stats::msm_publisher_statistics;

/// A stream that is published. What is sent waits in a queue of 512 packets or bursts for the mesh's threads.
#[derive(Debug)]
pub struct msm_publisher(());

static PUBLISHERS: Handles<msm_publisher, Held<Publisher>> = Handles::new(3, "publisher");

/// Publishes a stream with the given description (SDP): into this process where the route is local, otherwise to a server, which has agreed to record it when this
/// returns. `options` may be NULL.
///
/// # Safety
/// `url` and `sdp` are strings; `options` is NULL or points to options; `publisher` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_mesh_publish(
    mesh: *const msm_mesh,
    url: *const c_char,
    sdp: *const c_char,
    options: *const msm_options,
    publisher: *mut *mut msm_publisher,
) -> msm_result {
    boundary(|| {
        let entry = mesh::get(mesh)?;
        // SAFETY: the caller promises it.
        let (out, url) = unsafe { (Out::new(publisher, "publisher")?, text(url, "url")?) };
        // SAFETY: the same.
        let (sdp, options) = unsafe { (text(sdp, "sdp")?, options::read(options)?) };
        let published = entry.mesh.publish_with(url, sdp, &options)?.into_async();
        out.write(PUBLISHERS.give(Held::new(published))?);
        DONE
    })
}

/// Sends one RTP packet of `track` (index of its `m=` section), header included, once there is room for it; its bytes are copied. Threads take turns.
///
/// \return MSM_RESULT_AGAIN where there is no room and `timeout_ms` is 0, MSM_RESULT_TIMED_OUT where there was none by then: nothing was sent; MSM_RESULT_ENDED when the
/// stream is over.
///
/// # Safety
/// `packet` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_publisher_send(
    publisher: *const msm_publisher,
    track: usize,
    packet: *const u8,
    length: usize,
    timeout_ms: i64,
) -> msm_result {
    boundary(|| {
        let held = PUBLISHERS.get(publisher)?;
        // SAFETY: the caller promises it.
        let packet = unsafe { bytes(packet, length, "packet")? };
        send(&held, Burst::new(track, Bytes::copy_from_slice(packet), length)?, timeout_ms)
    })
}

/// Sends packets of `track` that lie one after the other, each `segment` bytes but the last, which may be shorter: cheaper than one by one. Their bytes are copied.
///
/// \return As of msm_publisher_send.
///
/// # Safety
/// `packets` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_publisher_send_burst(
    publisher: *const msm_publisher,
    track: usize,
    packets: *const u8,
    length: usize,
    segment: usize,
    timeout_ms: i64,
) -> msm_result {
    boundary(|| {
        let held = PUBLISHERS.get(publisher)?;
        // SAFETY: the caller promises it.
        let packets = unsafe { bytes(packets, length, "packets")? };
        send(&held, Burst::new(track, Bytes::copy_from_slice(packets), segment)?, timeout_ms)
    })
}

/// Sends what was read, as another track or the same: nothing is copied. The burst stays the program's, to be released.
///
/// \return As of msm_publisher_send.
///
/// # Safety
/// `burst` was got from this library and not released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_publisher_forward(
    publisher: *const msm_publisher,
    track: usize,
    burst: *const msm_burst,
    timeout_ms: i64,
) -> msm_result {
    boundary(|| {
        let held = PUBLISHERS.get(publisher)?;
        // SAFETY: the caller promises it.
        let burst = unsafe { at(burst, "burst")? };
        send(&held, Burst::new(track, burst.held()?.clone(), burst.segment)?, timeout_ms)
    })
}

fn send(held: &Held<Publisher>, burst: Burst, timeout_ms: i64) -> Outcome {
    let mut burst = Some(burst);
    let sent = held.turn(patience(timeout_ms), |publisher: &mut Publisher, cx: &mut Context<'_>| {
        let mut sink = Pin::new(publisher);
        ready!(Sink::<Burst>::poll_ready(sink.as_mut(), cx))?;
        Poll::Ready(burst.take().map_or(Ok(()), |burst| Sink::<Burst>::start_send(sink, burst)))
    });
    match sent {
        Ok(Ok(())) => DONE,
        Ok(Err(Error::StreamEnded)) => Ok(msm_result::Ended),
        Ok(Err(error)) => Err(error.into()),
        Err(result) => Ok(result),
    }
}

/// Sends a compound RTCP packet of `track`: sender reports carry the stream's wall clock to readers. Does not wait for room: what there is none for is dropped, and counted.
///
/// \return MSM_RESULT_ENDED when the stream is over.
///
/// # Safety
/// `datagram` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_publisher_send_rtcp(
    publisher: *const msm_publisher,
    track: usize,
    datagram: *const u8,
    length: usize,
) -> msm_result {
    boundary(|| {
        let held = PUBLISHERS.get(publisher)?;
        // SAFETY: the caller promises it.
        let datagram = unsafe { bytes(datagram, length, "datagram")? };
        held.own().send_rtcp(track, Bytes::copy_from_slice(datagram))?;
        DONE
    })
}

/// A descriptor to poll: readable (POLLIN) when a call with a timeout of 0 may find room. It is not to be read, written or closed; stop polling it before the publisher
/// is freed. It is not for a publisher that other threads wait for at the same time.
///
/// # Safety
/// `descriptor` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_publisher_fd(
    publisher: *const msm_publisher,
    descriptor: *mut c_int,
) -> msm_result {
    boundary(|| {
        let held = PUBLISHERS.get(publisher)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(descriptor, "descriptor")? };
        out.write(held.descriptor()?);
        DONE
    })
}

/// Readers in this process that hold the stream now.
///
/// # Safety
/// `readers` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_publisher_readers(
    publisher: *const msm_publisher,
    readers: *mut usize,
) -> msm_result {
    boundary(|| {
        let held = PUBLISHERS.get(publisher)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(readers, "readers")? };
        out.write(held.own().readers());
        DONE
    })
}

/// What was sent so far, and what the stream has.
///
/// # Safety
/// `statistics` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_publisher_stats(
    publisher: *const msm_publisher,
    statistics: *mut msm_publisher_statistics,
) -> msm_result {
    boundary(|| {
        let held = PUBLISHERS.get(publisher)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(statistics, "statistics")? };
        let stats = wait(held.own().stats(), None).ok_or(Error::Stopped)?.map_err(Failure::from)?;
        out.write(stats.into());
        DONE
    })
}

/// As msm_publisher_free, and waits until another publisher is let in at the URL: who publishes there right after freeing may be told that it is published already.
///
/// \return MSM_RESULT_TIMED_OUT where that was not so by then: the publisher is freed, and the stream ends, all the same.
#[unsafe(no_mangle)]
pub extern "C" fn msm_publisher_close(publisher: *mut msm_publisher, timeout_ms: i64) -> msm_result {
    boundary(|| {
        let held = PUBLISHERS.free(publisher)?;
        held.close();
        let vacated = held.own().vacated();
        drop(held);
        match wait(vacated, patience(timeout_ms)) {
            Some(()) => DONE,
            None => Ok(msm_result::TimedOut),
        }
    })
}

/// Ends the stream once what was sent is on its way, and frees the publisher; calls that wait for room return with MSM_RESULT_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn msm_publisher_free(publisher: *mut msm_publisher) -> msm_result {
    boundary(|| {
        PUBLISHERS.free(publisher)?.close();
        DONE
    })
}

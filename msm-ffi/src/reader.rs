//! A reader as C holds it.

use std::ffi::{CString, c_char, c_int};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use msm::{Description, Reader, blocking::wait};

use crate::boundary::{DONE, Outcome, boundary};
use crate::burst::msm_burst;
use crate::handle::Handles;
use crate::held::{Held, patience};
use crate::mesh::{self, msm_mesh};
use crate::options::{self, msm_options};
use crate::pointer::{Out, text};
use crate::result::{Failure, msm_result, without_zeros};
use crate::stats::msm_reader_statistics;

/// A stream that is read. Whoever takes its packets too slowly loses the newest: 512 bursts wait.
#[derive(Debug)]
pub struct msm_reader(());

/// What a track is. Its strings are valid until the reader is freed.
#[repr(C)]
#[derive(Debug)]
pub struct msm_track {
    /// `video`, `audio`, …
    pub media: *const c_char,
    /// The encoding of its first format, such as `H264`.
    pub encoding: *const c_char,
    /// Timestamp units a second.
    pub clock_rate: u32,
    /// The payload type.
    pub payload_type: u8,
}

struct Track {
    media: CString,
    encoding: CString,
    clock_rate: u32,
    payload_type: u8,
}

/// What is behind it.
struct Entry {
    held: Held<Reader>,
    sdp: CString,
    tracks: Vec<Track>,
}

static READERS: Handles<msm_reader, Entry> = Handles::new(2, "reader");

impl Entry {
    fn of(reader: Reader) -> Self {
        let sdp = sdp(reader.description());
        let tracks = reader.description().tracks.iter().map(|track| {
            let format = track.formats.first();
            Track {
                media: without_zeros(&track.media),
                encoding: without_zeros(format.map_or("", |format| &format.encoding)),
                clock_rate: format.map_or(0, |format| format.clock_rate),
                payload_type: format.map_or(0, |format| format.number),
            }
        });
        let tracks = tracks.collect();
        Self { held: Held::new(reader), sdp, tracks }
    }
}

fn sdp(description: &Description) -> CString {
    without_zeros(&String::from_utf8_lossy(&description.for_reader(false, &[])))
}

/// Opens a stream for reading: routed, and shared with other readers of it where it is live. Returns when it plays; what is waited for has limits, which the
/// configuration sets. `options` may be NULL.
///
/// # Safety
/// `url` is a string; `options` is NULL or points to options; `reader` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_mesh_open(
    mesh: *const msm_mesh,
    url: *const c_char,
    options: *const msm_options,
    reader: *mut *mut msm_reader,
) -> msm_result {
    boundary(|| {
        let entry = mesh::get(mesh)?;
        // SAFETY: the caller promises it.
        let (out, url, options) =
            unsafe { (Out::new(reader, "reader")?, text(url, "url")?, options::read(options)?) };
        let opened = entry.mesh.open_with(url, &options)?.into_async();
        out.write(READERS.give(Entry::of(opened))?);
        DONE
    })
}

/// The next packets, all of one track, in the order of arrival: those that came together. The burst is the program's until msm_burst_release. Threads take turns.
///
/// \return MSM_RESULT_AGAIN where nothing is there and `timeout_ms` is 0, MSM_RESULT_TIMED_OUT where nothing came by then; MSM_RESULT_ENDED when the stream is over
/// and all that came of it was taken; MSM_RESULT_CLOSED where another thread frees the reader meanwhile.
///
/// # Safety
/// `burst` can be written to, and holds none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_reader_recv_burst(
    reader: *const msm_reader,
    timeout_ms: i64,
    burst: *mut msm_burst,
) -> msm_result {
    boundary(|| {
        let entry = READERS.get(reader)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(burst, "burst")? };
        let next = |reader: &mut Reader, cx: &mut Context<'_>| pin!(reader.recv_burst()).poll(cx);
        receive(&entry, timeout_ms, next, |next| out.write(msm_burst::of(&next)))
    })
}

/// The next packet: a burst of one, to be released as one. Costs more for each packet than msm_reader_recv_burst does.
///
/// \return As of msm_reader_recv_burst.
///
/// # Safety
/// As of msm_reader_recv_burst.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_reader_recv(
    reader: *const msm_reader,
    timeout_ms: i64,
    packet: *mut msm_burst,
) -> msm_result {
    boundary(|| {
        let entry = READERS.get(reader)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(packet, "packet")? };
        let next = |reader: &mut Reader, cx: &mut Context<'_>| pin!(reader.next()).poll(cx);
        receive(&entry, timeout_ms, next, |next| out.write(msm_burst::of_one(&next)))
    })
}

fn receive<T>(
    entry: &Entry,
    timeout_ms: i64,
    next: impl FnMut(&mut Reader, &mut Context<'_>) -> Poll<Result<Option<T>, msm::Error>>,
    write: impl FnOnce(T),
) -> Outcome {
    match entry.held.turn(patience(timeout_ms), next) {
        Ok(Ok(Some(next))) => {
            write(next);
            DONE
        }
        Ok(Ok(None)) => Ok(msm_result::Ended),
        Ok(Err(error)) => Err(error.into()),
        Err(result) => Ok(result),
    }
}

/// A descriptor to poll: readable (POLLIN) when a call with a timeout of 0 may have something to give, the end included. It is not to be read, written or closed; stop
/// polling it before the reader is freed. It is not for a reader that other threads wait for at the same time.
///
/// # Safety
/// `descriptor` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_reader_fd(reader: *const msm_reader, descriptor: *mut c_int) -> msm_result {
    boundary(|| {
        let entry = READERS.get(reader)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(descriptor, "descriptor")? };
        out.write(entry.held.descriptor()?);
        DONE
    })
}

/// What the stream is made of, as SDP. Valid until the reader is freed.
///
/// # Safety
/// `sdp` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_reader_sdp(reader: *const msm_reader, sdp: *mut *const c_char) -> msm_result {
    boundary(|| {
        let entry = READERS.get(reader)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(sdp, "sdp")? };
        out.write(entry.sdp.as_ptr());
        DONE
    })
}

/// How many tracks there are.
///
/// # Safety
/// `count` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_reader_tracks(reader: *const msm_reader, count: *mut usize) -> msm_result {
    boundary(|| {
        let entry = READERS.get(reader)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(count, "count")? };
        out.write(entry.tracks.len());
        DONE
    })
}

/// What a track is, in the order of the description's `m=` sections.
///
/// \return MSM_RESULT_ENDED past the last one.
///
/// # Safety
/// `track` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_reader_track(
    reader: *const msm_reader,
    index: usize,
    track: *mut msm_track,
) -> msm_result {
    boundary(|| {
        let entry = READERS.get(reader)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(track, "track")? };
        let Some(own) = entry.tracks.get(index) else { return Ok(msm_result::Ended) };
        let (media, encoding) = (own.media.as_ptr(), own.encoding.as_ptr());
        let (clock_rate, payload_type) = (own.clock_rate, own.payload_type);
        out.write(msm_track { media, encoding, clock_rate, payload_type });
        DONE
    })
}

/// What the reader has had so far, and what its stream has.
///
/// \return MSM_RESULT_ENDED when the stream is over.
///
/// # Safety
/// `statistics` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_reader_stats(
    reader: *const msm_reader,
    statistics: *mut msm_reader_statistics,
) -> msm_result {
    boundary(|| {
        let entry = READERS.get(reader)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(statistics, "statistics")? };
        let stats = finish(entry.held.own().stats())?;
        out.write(stats.into());
        DONE
    })
}

/// Why the stream is over, in words, once it is. To be freed with msm_string_free.
///
/// \return MSM_RESULT_AGAIN while it is not.
///
/// # Safety
/// `cause` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_reader_end_cause(
    reader: *const msm_reader,
    cause: *mut *mut c_char,
) -> msm_result {
    boundary(|| {
        let entry = READERS.get(reader)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(cause, "cause")? };
        let Some(cause) = entry.held.own().end_cause() else { return Ok(msm_result::Again) };
        out.write(without_zeros(&cause.to_string()).into_raw());
        DONE
    })
}

/// Pauses: nothing comes until msm_reader_resume. On a stream of this reader's own (VOD) the source pauses too. Waits for it.
#[unsafe(no_mangle)]
pub extern "C" fn msm_reader_pause(reader: *const msm_reader) -> msm_result {
    boundary(|| {
        finish(READERS.get(reader)?.held.own().pause())?;
        DONE
    })
}

/// Goes on after msm_reader_pause. Waits for it.
#[unsafe(no_mangle)]
pub extern "C" fn msm_reader_resume(reader: *const msm_reader) -> msm_result {
    boundary(|| {
        finish(READERS.get(reader)?.held.own().resume())?;
        DONE
    })
}

/// Leaves the stream, and frees the reader. Bursts that were got from it stay valid; calls that wait for it return with MSM_RESULT_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn msm_reader_free(reader: *mut msm_reader) -> msm_result {
    boundary(|| {
        let entry: Arc<Entry> = READERS.free(reader)?;
        entry.held.close();
        DONE
    })
}

/// Waits for what the mesh's threads answer at once.
fn finish<T>(answer: impl Future<Output = Result<T, msm::Error>>) -> Result<T, Failure> {
    let patience: Option<Duration> = None;
    wait(answer, patience).ok_or(msm::Error::Stopped)?.map_err(Failure::from)
}

//! Packets that came together, lent to C until it gives them back.

use std::ffi::c_void;
use std::mem::transmute;
use std::sync::OnceLock;
use std::time::Instant;

use bytes::Bytes;
use msm::{Burst, Packet};
use nix::time::{ClockId, clock_gettime};

use crate::boundary::{DONE, boundary};
use crate::pointer::{Out, at};
use crate::result::{Failure, msm_result};

/// RTP packets of one track that came together, one after the other in one piece of memory. It is the program's until msm_burst_release, whatever becomes of the reader;
/// nothing was copied for it. A copy of the struct is the same burst: only one of them may be released.
#[repr(C)]
#[derive(Debug)]
pub struct msm_burst {
    /// The first packet; the next one is `segment` bytes further. NULL once it was released.
    pub bytes: *const u8,
    /// Bytes of all packets.
    pub length: usize,
    /// Bytes of each packet but the last, which may be shorter.
    pub segment: usize,
    /// How many packets there are.
    pub count: usize,
    /// Index of the track, in the order of the description's `m=` sections.
    pub track: usize,
    /// When they came into this process, in nanoseconds of CLOCK_MONOTONIC.
    pub arrival_ns: u64,
    /// The library's.
    pub owner: [*const c_void; 4],
}

/// One RTP packet of a burst, and what its header says. It points into the burst.
#[repr(C)]
#[derive(Debug)]
pub struct msm_packet {
    /// The packet as it came: header, extensions, payload and padding.
    pub raw: *const u8,
    /// Its bytes.
    pub raw_length: usize,
    /// The payload, without header, extensions and padding.
    pub payload: *const u8,
    /// Its bytes.
    pub payload_length: usize,
    /// Index of the track, in the order of the description's `m=` sections.
    pub track: usize,
    /// When it came into this process, in nanoseconds of CLOCK_MONOTONIC.
    pub arrival_ns: u64,
    /// Timestamp, in units of the track's clock rate.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Sequence number.
    pub sequence: u16,
    /// Payload type, as the description maps it to a codec.
    pub payload_type: u8,
    /// For most video, whether it is the last packet of a frame.
    pub marker: bool,
}

type Owner = [*const c_void; 4];
const _: () = assert!(size_of::<Bytes>() == size_of::<Owner>() && align_of::<Bytes>() == align_of::<Owner>());

impl msm_burst {
    pub(crate) fn of(burst: &Burst) -> Self {
        Self::lend(burst.bytes(), burst.segment(), burst.track(), burst.arrival())
    }

    pub(crate) fn of_one(packet: &Packet) -> Self {
        Self::lend(packet.raw(), packet.raw().len(), packet.track, packet.arrival)
    }

    fn lend(bytes: &Bytes, segment: usize, track: usize, arrival: Instant) -> Self {
        // A clone's words stay as they are, whoever clones it in turn; those of bytes that were never cloned do not.
        let bytes = bytes.clone();
        let segment = segment.max(1);
        Self {
            bytes: bytes.as_ptr(),
            length: bytes.len(),
            segment,
            count: bytes.len().div_ceil(segment),
            track,
            arrival_ns: monotonic(arrival),
            // SAFETY: both are four words, and any four words are pointers.
            owner: unsafe { transmute::<Bytes, Owner>(bytes) },
        }
    }

    const fn released() -> Self {
        Self {
            bytes: std::ptr::null(),
            length: 0,
            segment: 0,
            count: 0,
            track: 0,
            arrival_ns: 0,
            owner: [std::ptr::null(); 4],
        }
    }

    /// What is lent.
    pub(crate) fn held(&self) -> Result<&Bytes, Failure> {
        if self.bytes.is_null() || self.owner.iter().all(|word| word.is_null()) {
            return Err(Failure::new(msm_result::InvalidArgument, "the burst was released already"));
        }
        // SAFETY: `owner` is what `lend` has made of `Bytes`, of the same size and alignment, as the struct is only changed by this library. It is looked at
        // where it is: a copy might not learn what becomes of the other one.
        Ok(unsafe { &*(&raw const self.owner).cast::<Bytes>() })
    }
}

/// What the clock said when `instant` was, which is what `Instant` tells from.
fn monotonic(instant: Instant) -> u64 {
    static BEGIN: OnceLock<(Instant, u64)> = OnceLock::new();
    let (begin, at) = *BEGIN.get_or_init(|| {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
        (Instant::now(), now.map_or(0, nanos))
    });
    match instant.checked_duration_since(begin) {
        Some(after) => at.saturating_add(nanos(after)),
        None => at.saturating_sub(nanos(begin.saturating_duration_since(instant))),
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Looks at one packet of a burst, from 0 to `count` - 1.
///
/// \return MSM_RESULT_ENDED past the last one; MSM_RESULT_INVALID_ARGUMENT of a burst that was released.
///
/// # Safety
/// `burst` was got from this library and not released; `packet` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_burst_packet(
    burst: *const msm_burst,
    index: usize,
    packet: *mut msm_packet,
) -> msm_result {
    boundary(|| {
        // SAFETY: the caller promises it.
        let (burst, packet) = unsafe { (at(burst, "burst")?, Out::new(packet, "packet")?) };
        let bytes = burst.held()?;
        let raw = index.checked_mul(burst.segment).and_then(|from| bytes.get(from..)).unwrap_or_default();
        let raw = raw.get(..burst.segment).unwrap_or(raw);
        if raw.is_empty() {
            return Ok(msm_result::Ended);
        }
        let parsed = Packet::new(burst.track, bytes.slice_ref(raw))?;
        packet.write(msm_packet {
            raw: raw.as_ptr(),
            raw_length: raw.len(),
            payload: parsed.payload.as_ptr(),
            payload_length: parsed.payload.len(),
            track: burst.track,
            arrival_ns: burst.arrival_ns,
            timestamp: parsed.timestamp,
            ssrc: parsed.ssrc,
            sequence: parsed.sequence,
            payload_type: parsed.payload_type,
            marker: parsed.marker,
        });
        DONE
    })
}

/// Gives a burst back; the struct is cleared. May be called from any thread.
///
/// \return MSM_RESULT_INVALID_ARGUMENT where it was released already, by the same struct.
///
/// # Safety
/// `burst` was got from this library, or is all zeros; no copy of it was released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_burst_release(burst: *mut msm_burst) -> msm_result {
    boundary(|| {
        // SAFETY: the caller promises it.
        let (own, place) = unsafe { (at(burst, "burst")?, Out::new(burst, "burst")?) };
        own.held()?;
        // SAFETY: it holds them, as was looked at; and nothing does any more once it is written to.
        let bytes = unsafe { transmute::<Owner, Bytes>(own.owner) };
        place.write(msm_burst::released());
        drop(bytes);
        DONE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16, length: usize) -> Vec<u8> {
        let mut packet = vec![0x80, 0xe0];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 9]);
        packet.resize(length, sequence as u8);
        packet
    }

    #[test]
    fn packets_are_where_the_burst_says_until_it_is_given_back() {
        let bytes = Bytes::from([packet(1, 20), packet(2, 20), packet(3, 15)].concat());
        let mut burst = msm_burst::of(&Burst::new(2, bytes.clone(), 20).unwrap());
        assert_eq!((burst.count, burst.length, burst.segment, burst.track), (3, 55, 20, 2));
        for (index, length) in [(0, 8), (1, 8), (2, 3)] {
            let mut out = std::mem::MaybeUninit::<msm_packet>::uninit();
            // SAFETY: the burst is lent, and the place is this function's.
            let result = unsafe { msm_burst_packet(&raw const burst, index, out.as_mut_ptr()) };
            assert_eq!(result, msm_result::Ok);
            // SAFETY: it was written.
            let packet = unsafe { out.assume_init() };
            assert_eq!(
                (packet.payload_length, usize::from(packet.sequence), packet.track),
                (length, index + 1, 2)
            );
            assert_eq!((packet.timestamp, packet.ssrc, packet.payload_type, packet.marker), (7, 9, 96, true));
            // SAFETY: it points into the burst.
            let payload = unsafe { std::slice::from_raw_parts(packet.payload, packet.payload_length) };
            assert!(payload.iter().all(|byte| usize::from(*byte) == index + 1));
        }
        let mut none = std::mem::MaybeUninit::<msm_packet>::uninit();
        // SAFETY: as above; the second call's place is the first one's.
        let (past, far) = unsafe {
            let past = msm_burst_packet(&raw const burst, 3, none.as_mut_ptr());
            (past, msm_burst_packet(&raw const burst, usize::MAX, none.as_mut_ptr()))
        };
        assert_eq!((past, far), (msm_result::Ended, msm_result::Ended));
        assert!(!bytes.is_unique());
        // SAFETY: it is lent, and then it is not.
        let (first, second) =
            unsafe { (msm_burst_release(&raw mut burst), msm_burst_release(&raw mut burst)) };
        assert_eq!((first, second), (msm_result::Ok, msm_result::InvalidArgument));
        assert!(burst.bytes.is_null() && bytes.is_unique());
    }

    #[test]
    fn times_are_those_of_the_monotonic_clock() {
        let clock = || nanos(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into());
        let _ = monotonic(Instant::now());
        let (before, now, after) = (clock(), monotonic(Instant::now()), clock());
        // They are read one after the other, and the first pair of them was.
        assert!(now + 1_000_000 >= before && now <= after + 1_000_000, "{before} {now} {after}");
    }
}

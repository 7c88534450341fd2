//! What a relay must know of a payload: does decoding start here, and are there parameter sets in it.
//!
//! Nothing is decoded. [`inspect`] looks at the few header bits that each payload format puts in front, so that the
//! hub can keep the last keyframe and everything since, and start a late reader there. Payloads of all other codecs
//! pass without being looked at.
//!
//! What counts as a keyframe is what every decoder can start at without an error: an IDR picture (H.264), an IRAP
//! picture (H.265), a new coded video sequence (AV1), a key frame (VP8, VP9). Streams that refresh gradually (H.264
//! recovery point SEI without IDR) have no such picture; the hub starts their readers at a live packet after a while.

pub(crate) mod av1;
mod h264;
mod h265;
pub(crate) mod vp8;
pub(crate) mod vp9;

#[cfg(test)]
mod tests;

/// The payload format of a track, as far as the relay tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264/AVC, RFC 6184.
    H264,
    /// H.265/HEVC, RFC 7798.
    H265,
    /// AV1, the AOMedia RTP payload specification.
    Av1,
    /// VP8, RFC 7741.
    Vp8,
    /// VP9, RFC 9628.
    Vp9,
    /// Any audio codec: each packet can be decoded from there on.
    Audio,
    /// Anything else: data, or video whose pictures are not looked at (JPEG, MPEG-TS, …).
    Other,
}

/// Encoding names of audio formats that are seen in practice, lower case.
const AUDIO_NAMES: &[&str] = &[
    "opus",
    "pcmu",
    "pcma",
    "mpeg4-generic",
    "mp4a-latm",
    "l8",
    "l16",
    "l20",
    "l24",
    "g722",
    "g723",
    "g726-16",
    "g726-24",
    "g726-32",
    "g726-40",
    "aal2-g726-16",
    "aal2-g726-24",
    "aal2-g726-32",
    "aal2-g726-40",
    "g728",
    "g729",
    "gsm",
    "mpa",
    "mpa-robust",
    "ac3",
    "eac3",
    "amr",
    "amr-wb",
    "vorbis",
    "speex",
    "ilbc",
    "dvi4",
    "lpc",
    "qcelp",
    "evs",
    "flac",
    "multiopus",
    "telephone-event",
    "cn",
    "red",
];

impl Codec {
    /// Finds the codec of an SDP encoding name (`a=rtpmap:96 H264/90000` → `H264`), whatever its letter case
    /// (RFC 4855 §3).
    pub fn from_encoding_name(name: &str) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("H264") {
            Codec::H264
        } else if is("H265") || is("HEVC") {
            Codec::H265
        } else if is("AV1") {
            Codec::Av1
        } else if is("VP8") {
            Codec::Vp8
        } else if is("VP9") {
            Codec::Vp9
        } else if AUDIO_NAMES.iter().any(|audio| is(audio)) {
            Codec::Audio
        } else {
            Codec::Other
        }
    }

    /// Finds the codec of a static payload type (RFC 3551 §6), for media sections without `a=rtpmap`.
    pub fn from_static_payload_type(number: u8) -> Option<Self> {
        match number {
            0 | 3..=18 => Some(Codec::Audio),
            25 | 26 | 28 | 31..=34 => Some(Codec::Other),
            _ => None,
        }
    }

    /// Whether decoding can only start at certain packets, which [`inspect`] finds.
    pub fn has_keyframes(self) -> bool {
        matches!(self, Codec::H264 | Codec::H265 | Codec::Av1 | Codec::Vp8 | Codec::Vp9)
    }
}

/// What [`inspect`] saw in one RTP payload. All false: nothing special, or not a payload of that format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PayloadInfo {
    /// The first slice (or tile, or partition) of a keyframe begins in this payload. A later slice or fragment of the
    /// same keyframe does not count, so a keyframe whose beginning was lost is not taken for one.
    pub starts_keyframe: bool,
    /// The payload holds a parameter set (VPS, SPS, PPS, AV1 sequence header).
    pub parameter_sets: bool,
    /// The payload begins coded picture data of a frame: its first slice, partition or OBU.
    pub frame_start: bool,
    /// The payload holds nothing but parameter sets (and delimiters or SEI beside them).
    pub only_parameter_sets: bool,
}

/// Looks into one RTP payload of `codec`. Never panics; a payload that is cut short is taken as far as it goes.
///
/// ```
/// use msm_core::codec::{Codec, inspect};
/// // RFC 6184 §5.8: FU-A, start bit, IDR slice; its first bit says that it is the first slice of the picture.
/// assert!(inspect(Codec::H264, &[0x7c, 0x85, 0x88, 0x84]).starts_keyframe);
/// ```
#[inline]
pub fn inspect(codec: Codec, payload: &[u8]) -> PayloadInfo {
    match codec {
        Codec::H264 => h264::inspect(payload),
        Codec::H265 => h265::inspect(payload),
        Codec::Av1 => av1::inspect(payload),
        Codec::Vp8 => vp8::inspect(payload),
        Codec::Vp9 => vp9::inspect(payload),
        Codec::Audio | Codec::Other => PayloadInfo::default(),
    }
}

/// What the NAL units of one payload add up to; shared by H.264 and H.265.
#[derive(Default)]
struct Units {
    keyframe: bool,
    parameters: bool,
    picture: bool,
    frame_start: bool,
}

impl Units {
    fn info(&self) -> PayloadInfo {
        PayloadInfo {
            starts_keyframe: self.keyframe,
            parameter_sets: self.parameters,
            frame_start: self.frame_start,
            only_parameter_sets: self.parameters && !self.picture,
        }
    }
}

/// Walks the `length(16) NAL unit` pairs of an aggregation packet; stops where a length lies, and says whether none does.
pub(crate) fn aggregated(mut rest: &[u8], mut each: impl FnMut(&[u8])) -> bool {
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let Some((unit, next)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
            return false;
        };
        each(unit);
        rest = next;
    }
    rest.is_empty()
}

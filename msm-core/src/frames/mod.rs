//! From packets to what a decoder takes: access units, without I/O.
//!
//! An [`Assembler`] is fed with the RTP packets of one track, and polled for frames after each. It puts packets that come out of order in order,
//! leaves out frames of which something is missing, and says so with the next one. Nothing is decoded.

mod aac;
mod av1;
mod h264;
mod h265;
mod order;
#[cfg(test)]
mod tests;
mod vpx;

use std::collections::VecDeque;

use bytes::Bytes;

pub use self::aac::AacFormat;
use self::order::Order;
use crate::codec::{Codec, aggregated, inspect};
use crate::rtp::RtpView;

/// Bytes of a frame, unless [`Assembler::set_max_bytes`] says otherwise: a frame that has more is left out.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// What begins each NAL unit (ITU-T H.264 annex B).
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// How a track's frames lie in its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// H.264 (`RFC 6184`, modes 0 and 1): frames are NAL units, each after a start code (ITU-T H.264 annex B).
    H264,
    /// H.265 (`RFC 7798`, without `sprop-max-don-diff`): the same, by ITU-T H.265.
    H265,
    /// AV1 (the AOMedia RTP payload specification): a temporal unit of OBUs that have sizes, from its delimiter on.
    Av1,
    /// VP8 (`RFC 7741`): frames as the decoder takes them.
    Vp8,
    /// VP9 (`RFC 9628`): the same; the spatial layers of a picture are one frame.
    Vp9,
    /// AAC (`RFC 3640`): access units without a header of their own.
    Aac(AacFormat),
    /// Each packet's payload is a frame: Opus (`RFC 7587`), G.711, and whatever else does not span packets.
    Whole,
}

impl Format {
    /// Of an encoding name of SDP, such as `H264`; `parameters` are those of its `a=fmtp`, without the payload type. `None` for what packets cannot be put
    /// together of here: AAC, H.264 and H.265 in modes that are not looked into.
    #[must_use]
    pub fn of(encoding: &str, parameters: &str) -> Option<Self> {
        let is_interleaved = parameters
            .split(';')
            .filter_map(|parameter| parameter.trim().split_once('='))
            .any(|(key, value)| match key.trim().to_ascii_lowercase().as_str() {
                "packetization-mode" => value.trim() == "2",
                "sprop-max-don-diff" => value.trim() != "0",
                _ => false,
            });
        if is_interleaved {
            return None;
        }
        if encoding.eq_ignore_ascii_case("mpeg4-generic") {
            return AacFormat::of(parameters).map(Self::Aac);
        }
        Some(match Codec::from_encoding_name(encoding) {
            Codec::H264 => Self::H264,
            Codec::H265 => Self::H265,
            Codec::Av1 => Self::Av1,
            Codec::Vp8 => Self::Vp8,
            Codec::Vp9 => Self::Vp9,
            Codec::Audio | Codec::Other => Self::Whole,
        })
    }

    const fn codec(self) -> Codec {
        match self {
            Self::H264 => Codec::H264,
            Self::H265 => Codec::H265,
            Self::Av1 => Codec::Av1,
            Self::Vp8 => Codec::Vp8,
            Self::Vp9 => Codec::Vp9,
            Self::Aac(_) | Self::Whole => Codec::Audio,
        }
    }
}

/// What a decoder takes in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The payload type of its packets.
    pub payload_type: u8,
    /// When it is to be shown, in units of the track's clock rate.
    pub timestamp: u32,
    /// Decoding can begin here. Of audio, each frame.
    pub keyframe: bool,
    /// Something was lost between the frame before and this one.
    pub after_loss: bool,
    /// Its bytes, as [`Format`] says.
    pub data: Bytes,
}

/// Puts packets of one track together. Inputs are [`Self::handle_packet`] and [`Self::handle_end`]; after each, [`Self::poll_frame`] is to be called until
/// there is no more.
#[derive(Debug)]
pub struct Assembler {
    format: Format,
    max_bytes: usize,
    /// Those that frames are made of; none: all.
    payload_types: Vec<u8>,
    /// Of the packet that was last looked at.
    payload_type: u8,
    /// Parameter sets, each after a start code.
    sets: Vec<u8>,
    order: Order,
    building: Option<Building>,
    /// The packet before was the last of its frame, and nothing is missing since.
    follows: bool,
    /// Some packets have a marker: a frame without one has not ended.
    marks: bool,
    lost_since: bool,
    left_out: u64,
    ready: VecDeque<Frame>,
}

/// A frame that has begun.
#[derive(Debug)]
struct Building {
    timestamp: u32,
    keyframe: bool,
    /// A sequence parameter set is among it, or none is needed.
    has_sets: bool,
    /// Something of it is missing or wrong: the rest is not kept.
    damaged: bool,
    parts: Parts,
}

/// What there is of a frame.
#[derive(Debug, Default)]
struct Parts {
    data: Vec<u8>,
    /// A unit has begun and not ended: what is there of it, where it cannot go to `data` before it is whole.
    fragment: Option<Vec<u8>>,
}

impl Assembler {
    /// One for a track of this format.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            max_bytes: MAX_FRAME_BYTES,
            payload_types: Vec::new(),
            payload_type: 0,
            sets: Vec::new(),
            order: Order::default(),
            building: None,
            // Whoever reads from the beginning has the beginning.
            follows: true,
            marks: false,
            lost_since: false,
            left_out: 0,
            ready: VecDeque::new(),
        }
    }

    /// Leaves out frames of more bytes than this.
    pub const fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Makes frames of packets of these payload types; of no others, which may lie between them.
    pub fn set_payload_types(&mut self, payload_types: Vec<u8>) {
        self.payload_types = payload_types;
    }

    /// NAL units that a decoder needs, such as those that a description has (`sprop-parameter-sets`, `sprop-vps` and so on): keyframes begin with them that
    /// come without. Of H.264 and H.265 alone.
    pub fn set_parameter_sets<'a>(&mut self, sets: impl IntoIterator<Item = &'a [u8]>) {
        self.sets = sets.into_iter().flat_map(|set| START_CODE.iter().chain(set)).copied().collect();
    }

    /// Frames that were left out, as something of them was missing, wrong, or too much.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// A packet has come, header included. What is no RTP is left out.
    pub fn handle_packet(&mut self, packet: &Bytes) {
        let Ok(view) = RtpView::parse(packet) else { return };
        self.order.insert(view.sequence(), packet.clone());
        self.drain(false);
    }

    /// No more come: what waits for one that is missing waits no longer.
    pub fn handle_end(&mut self) {
        self.drain(true);
        if self.marks
            && let Some(building) = &mut self.building
        {
            building.damage();
        }
        self.finish();
    }

    /// The next frame.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    fn drain(&mut self, is_end: bool) {
        while let Some((is_gap, packet)) = self.order.take(is_end) {
            let Ok(view) = RtpView::parse(&packet) else { continue };
            let payload_type = view.payload_type();
            let is_other = !self.payload_types.is_empty() && !self.payload_types.contains(&payload_type);
            let payload = if is_other { Bytes::new() } else { packet.slice_ref(view.payload()) };
            if !is_other {
                self.payload_type = payload_type;
            }
            self.handle_next(is_gap, &payload, view.timestamp(), view.marker());
        }
    }

    /// The next packet in order.
    fn handle_next(&mut self, is_gap: bool, payload: &Bytes, timestamp: u32, marker: bool) {
        if is_gap {
            self.follows = false;
            self.lost_since = true;
            if let Some(building) = &mut self.building {
                building.damage();
            }
        }
        match self.format {
            // Nothing but padding.
            _ if payload.is_empty() => return,
            Format::Whole => return self.push(timestamp, true, payload.clone()),
            Format::Aac(_) | Format::H264 | Format::H265 | Format::Av1 | Format::Vp8 | Format::Vp9 => {}
        }
        if self.building.as_ref().is_some_and(|building| building.timestamp != timestamp) {
            // No marker: what was before was all of it where frames have none, and this packet is the very next one. A source that another one took over
            // from may have left off anywhere.
            let always_marks = matches!(self.format, Format::Av1 | Format::Vp8 | Format::Vp9);
            if (self.marks || always_marks)
                && let Some(building) = &mut self.building
            {
                building.damage();
            }
            self.follows = !is_gap;
            self.finish();
        }
        if let Format::Aac(format) = self.format {
            return self.handle_aac(format, payload, timestamp, marker);
        }
        let info = inspect(self.format.codec(), payload);
        let begins = match self.format {
            // Their descriptors say so.
            Format::Vp8 | Format::Vp9 => info.frame_start,
            // So does a unit that only stands before the first slice.
            Format::H264 => info.frame_start || h264::begins(payload),
            Format::H265 => info.frame_start || h265::begins(payload),
            _ => self.follows || info.starts_keyframe,
        };
        let building = self.building.get_or_insert_with(|| Building::new(timestamp, !begins));
        let has_sets = match self.format {
            Format::H264 => h264::has_sps(payload),
            Format::H265 => h265::has_sps(payload),
            _ => true,
        };
        if info.starts_keyframe && !building.has_sets && !has_sets {
            // Of what is there before the first slice, only a delimiter is to stand before them.
            let delimiter = match (self.format, building.parts.data.get(START_CODE.len())) {
                (Format::H264, Some(header)) if header & 0x1f == 9 => START_CODE.len() + 2,
                (Format::H265, Some(header)) if header >> 1 & 0x3f == 35 => START_CODE.len() + 3,
                _ => 0,
            };
            let at = delimiter.min(building.parts.data.len());
            building.parts.data.splice(at..at, self.sets.iter().copied());
            building.has_sets = true;
        }
        building.has_sets |= has_sets;
        building.keyframe |= info.starts_keyframe;
        let taken = building.damaged
            || match self.format {
                Format::H264 => h264::append(payload, &mut building.parts),
                Format::H265 => h265::append(payload, &mut building.parts),
                Format::Av1 => av1::append(payload, &mut building.parts),
                Format::Vp8 => vpx::append_vp8(payload, &mut building.parts),
                Format::Vp9 => vpx::append_vp9(payload, &mut building.parts),
                Format::Aac(_) | Format::Whole => true,
            };
        if !taken || building.parts.len() > self.max_bytes {
            building.damage();
        }
        self.follows = false;
        if marker {
            self.marks = true;
            self.finish();
            self.follows = true;
        }
    }

    fn handle_aac(&mut self, format: AacFormat, payload: &Bytes, timestamp: u32, marker: bool) {
        let fragment = self.building.take();
        match format.units(payload, fragment.is_some()) {
            Some(aac::Units::Whole(units)) if fragment.is_none() => {
                for (index, unit) in units.enumerate() {
                    let later = format.duration.wrapping_mul(index as u32);
                    self.push(timestamp.wrapping_add(later), true, unit);
                }
            }
            Some(aac::Units::Fragment { unit, size }) => {
                let mut building =
                    fragment.unwrap_or_else(|| Building::new(timestamp, !self.follows && self.lost_since));
                building.keyframe = true;
                if !building.damaged {
                    building.parts.data.extend_from_slice(unit);
                }
                if building.parts.len() > self.max_bytes.min(size) {
                    building.damage();
                }
                let is_whole = building.parts.len() == size;
                self.building = Some(building);
                if marker || is_whole {
                    if !is_whole && let Some(building) = &mut self.building {
                        building.damage();
                    }
                    self.finish();
                }
            }
            Some(aac::Units::Whole(_)) | None => self.leave_out(),
        }
        self.follows = true;
    }

    /// The frame that has begun has ended.
    fn finish(&mut self) {
        let Some(Building { timestamp, keyframe, damaged, parts, .. }) = self.building.take() else { return };
        if damaged || parts.fragment.is_some() || parts.data.is_empty() {
            self.leave_out();
        } else {
            self.push(timestamp, keyframe, parts.data.into());
        }
    }

    fn leave_out(&mut self) {
        self.left_out += 1;
        self.lost_since = true;
    }

    fn push(&mut self, timestamp: u32, keyframe: bool, data: Bytes) {
        let after_loss = std::mem::take(&mut self.lost_since);
        let payload_type = self.payload_type;
        self.ready.push_back(Frame { payload_type, timestamp, keyframe, after_loss, data });
    }
}

impl Building {
    fn new(timestamp: u32, damaged: bool) -> Self {
        Self { timestamp, keyframe: false, has_sets: false, damaged, parts: Parts::default() }
    }

    fn damage(&mut self) {
        self.damaged = true;
        self.parts = Parts::default();
    }
}

impl Parts {
    fn len(&self) -> usize {
        self.data.len() + self.fragment.as_ref().map_or(0, Vec::len)
    }

    /// A NAL unit, after a start code (ITU-T H.264 annex B).
    fn add_unit(&mut self, header: &[u8], rest: &[u8]) {
        self.data.extend_from_slice(&START_CODE);
        self.data.extend_from_slice(header);
        self.data.extend_from_slice(rest);
    }

    /// The NAL units of an aggregate, behind its header. Whether they are all there is.
    fn add_aggregate(&mut self, units: &[u8]) -> bool {
        let mut has_empty = units.is_empty();
        let is_whole = aggregated(units, |unit| {
            has_empty |= unit.is_empty();
            self.add_unit(&[], unit);
        });
        is_whole && !has_empty
    }

    /// A piece of a NAL unit: its first one has the unit's header, and only that. Whether it fits to what was before.
    fn add_piece(&mut self, is_start: bool, is_end: bool, header: &[u8], piece: &[u8]) -> bool {
        // A unit of one piece is not to be sent as a piece (RFC 6184 §5.8, RFC 7798 §4.4.3).
        if is_start && is_end || is_start == self.fragment.is_some() || piece.is_empty() {
            return false;
        }
        if is_start {
            self.add_unit(header, piece);
        } else {
            self.data.extend_from_slice(piece);
        }
        self.fragment = (!is_end).then(Vec::new);
        true
    }
}

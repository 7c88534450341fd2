//! Reading frames instead of packets.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use msm_core::frames::{Assembler, Format};
use msm_rtsp::sdp::Description;

use super::burst::Burst;
use super::reader::Reader;
use crate::error::Error;

/// An access unit: what a decoder takes in one go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Frame {
    /// Index of the track, in the order of the description's `m=` sections.
    pub track: usize,
    /// The payload type of its packets, as the description maps it to a codec.
    pub payload_type: u8,
    /// When it is to be shown, in units of the track's clock rate.
    pub timestamp: u32,
    /// Decoding can begin here. Of audio, each frame.
    pub keyframe: bool,
    /// Something was lost between the track's frame before and this one.
    pub after_loss: bool,
    /// Its bytes. H.264 and H.265: NAL units, each after a start code, keyframes with parameter sets; AV1: a temporal unit of OBUs with sizes; VP8, VP9, Opus, AAC and everything
    /// else: as the decoder takes them.
    pub data: Bytes,
    /// When its last packet came into this process.
    pub arrival: Instant,
}

/// The frames of a stream's tracks, from [`Reader::frames`]. A [`Stream`](futures_core::Stream) as well.
#[derive(Debug)]
pub struct Frames {
    reader: Reader,
    /// Of each track, unless its frames cannot be put together here: AAC, H.264 and H.265 in modes that change the order of units.
    tracks: Vec<Option<Assembler>>,
    ready: VecDeque<Frame>,
    ended: bool,
}

impl Reader {
    /// Reads frames from now on: packets are put in order and together. H.264, H.265, AV1, VP8, VP9 and AAC (RFC 3640) are looked into; of what else there
    /// is, Opus among it, each packet is a frame. Of payload types that are put together in another way than the track's first one there are none. A frame of which something is missing, or that has more than 16 MiB, is left out and counted
    /// ([`Frames::left_out`]), and the next one says that something was lost. A packet that is late is waited for until 16 others have come.
    #[must_use]
    pub fn frames(self) -> Frames {
        let tracks = (0..self.description().tracks.len()).map(|track| assembler(self.description(), track));
        Frames { tracks: tracks.collect(), reader: self, ready: VecDeque::new(), ended: false }
    }
}

fn assembler(description: &Description, track: usize) -> Option<Assembler> {
    let formats = &description.tracks.get(track)?.formats;
    let first = formats.first()?;
    let parameters = description.parameters(track).unwrap_or_default();
    let format = Format::of(&first.encoding, parameters);
    if format.is_none() {
        tracing::warn!(
            track,
            encoding = first.encoding,
            parameters,
            "frames of this mode cannot be put together"
        );
    }
    let own = format?;
    let mut assembler = Assembler::new(own);
    // Others of the track have frames, too, where these are put together in the same way; but tones and silence are none.
    let is_none =
        |encoding: &str| ["telephone-event", "cn"].iter().any(|none| encoding.eq_ignore_ascii_case(none));
    let same = formats.iter().filter(|other| !is_none(&other.encoding));
    let same =
        same.filter(|other| other.number == first.number || Format::of(&other.encoding, "") == Some(own));
    assembler.set_payload_types(same.map(|other| other.number).collect());
    if let Some((number, sets)) = description.parameter_sets(track)
        && number == first.number
    {
        assembler.set_parameter_sets(sets.iter().map(Vec::as_slice));
    }
    Some(assembler)
}

impl Frames {
    /// The next frame, of any track. `None` when the stream has ended.
    ///
    /// Cancel safe: a frame is either returned or still there for the next call.
    ///
    /// # Errors
    /// As of [`Reader::next`].
    pub async fn next(&mut self) -> Result<Option<Frame>, Error> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Frames of a track that were left out so far, as something of them was missing, wrong, or too much.
    #[must_use]
    pub fn left_out(&self, track: usize) -> u64 {
        self.tracks.get(track).and_then(Option::as_ref).map_or(0, Assembler::left_out)
    }

    /// The reader, for what else it can. Bursts that are read there are missing here.
    #[must_use]
    pub const fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, Error>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.reader.poll_burst(cx))? {
                Some(burst) => self.handle(burst),
                None => self.end(),
            }
        }
    }

    fn handle(&mut self, burst: Burst) {
        let (track, arrival) = (burst.track(), burst.arrival());
        let Some(Some(assembler)) = self.tracks.get_mut(track) else { return };
        for packet in burst {
            assembler.handle_packet(packet.raw());
            drain(assembler, track, arrival, &mut self.ready);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        let arrival = Instant::now();
        for (track, assembler) in self.tracks.iter_mut().enumerate() {
            if let Some(assembler) = assembler {
                assembler.handle_end();
                drain(assembler, track, arrival, &mut self.ready);
            }
        }
    }
}

fn drain(assembler: &mut Assembler, track: usize, arrival: Instant, ready: &mut VecDeque<Frame>) {
    while let Some(frame) = assembler.poll_frame() {
        let msm_core::frames::Frame { payload_type, timestamp, keyframe, after_loss, data } = frame;
        ready.push_back(Frame { track, payload_type, timestamp, keyframe, after_loss, data, arrival });
    }
}

/// As [`Frames::next`].
impl futures_core::Stream for Frames {
    type Item = Result<Frame, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_frame(cx).map(Result::transpose)
    }
}

//! Labels: what a member calls each flow that is sent to it. A label is the SSRC on the hop.

/// The most workers that a label can tell apart.
pub const MAX_WORKERS: usize = 256;

const GENERATION_BITS: u32 = 4;
const INDEX_BITS: u32 = 20;
/// Processes that labels can tell apart.
pub const GENERATIONS: u8 = 1 << GENERATION_BITS;
/// One more than the highest index: flows that one worker can have at a time.
pub const MAX_FLOWS: u32 = 1 << INDEX_BITS;

/// Names one flow to the member that it is sent to: `worker (8 bits) ‖ generation (4) ‖ index (20)`.
///
/// The kernel steers datagrams to sockets by the worker's bits, so a flow's packets come to the thread that owns it.
/// The generation tells processes apart that follow each other on one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(u32);

impl Label {
    /// A label; `None` if the worker or the index has no room in it. Of the generation the low bits count.
    pub fn new(worker: usize, generation: u8, index: u32) -> Option<Label> {
        let worker = u8::try_from(worker).ok()?;
        let generation = u32::from(generation) & ((1 << GENERATION_BITS) - 1);
        (index < MAX_FLOWS).then_some(Label(
            u32::from(worker) << (GENERATION_BITS + INDEX_BITS) | generation << INDEX_BITS | index,
        ))
    }

    /// The label of an SSRC.
    pub const fn from_ssrc(ssrc: u32) -> Label {
        Label(ssrc)
    }

    /// The SSRC that packets of this flow have on the hop.
    pub const fn ssrc(self) -> u32 {
        self.0
    }

    /// The worker that owns the flow.
    pub const fn worker(self) -> usize {
        (self.0 >> (GENERATION_BITS + INDEX_BITS)) as usize
    }

    /// The generation of the process that gave it, of which there are [`GENERATIONS`].
    pub const fn generation(self) -> u8 {
        (self.0 >> INDEX_BITS) as u8 & GENERATIONS - 1
    }

    /// The flow's place at its worker, generation included.
    pub const fn flow(self) -> u32 {
        self.0 & ((1 << (GENERATION_BITS + INDEX_BITS)) - 1)
    }

    /// The label that a datagram is for: the SSRC of RTP, or of the sender in RTCP (`RFC 5761 §4` tells them apart).
    /// `None` for what is too short to be either.
    #[inline]
    pub fn of(datagram: &[u8]) -> Option<Label> {
        let at = if crate::rtp::is_rtcp(*datagram.get(1)?) { 4 } else { 8 };
        let bytes = datagram.get(at..at + 4)?;
        Some(Label(u32::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_worker_generation_and_flow() {
        let label = Label::new(3, 0x1f, 77).unwrap();
        assert_eq!((label.worker(), label.ssrc()), (3, 0x03f0_004d));
        assert_eq!(Label::from_ssrc(label.ssrc()), label);
        assert_eq!((label.to_string().as_str(), label.generation()), ("03f0004d", 0xf));
        assert_eq!(Label::new(255, 3, MAX_FLOWS - 1).unwrap().generation(), 3);
        assert_eq!(Label::new(256, 0, 0), None);
        assert_eq!(Label::new(0, 0, MAX_FLOWS), None);
    }

    #[test]
    fn rtp_and_rtcp_have_it_in_their_own_places() {
        let rtp = [0x80, 96, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4];
        assert_eq!(Label::of(&rtp), Some(Label(0x0102_0304)));
        let rtcp = [0x80, 201, 0, 1, 5, 6, 7, 8];
        assert_eq!(Label::of(&rtcp), Some(Label(0x0506_0708)));
        assert_eq!(Label::of(&rtp[..11]), None);
        assert_eq!(Label::of(&[]), None);
    }
}

//! [`Report`] and [`Next`] on a mesh hop: RTCP APP packets (RFC 3550 §6.7) named `MSMP`, of the flow that they travel on.
//!
//! ```text
//! subtype 0, Next      next index (48 bits) ‖ hold-off in 1/4 ms (16) ‖ 1 if it answers a report (8) ‖ that report (8) ‖ 0 (16)
//! subtype 1, Report    report (8) ‖ 1 if the round trip is known (8) ‖ loss in 1/65536 (16) ‖ mean run in 1/16 (16) ‖ 0 (16)
//!                      ‖ round trip in µs (32) ‖ reordering in µs (32)
//! ```

use std::time::Duration;

use msm_core::rtcp::packet_type;

use super::{Next, Report};

const NAME: [u8; 4] = *b"MSMP";
const NEXT: u8 = 0;
const REPORT: u8 = 1;
/// Header, SSRC, name.
const HEAD: usize = 12;
/// Quarters of a millisecond.
const HOLD_OFF: u128 = 250;

/// Bytes of a [`Next`].
pub const NEXT_BYTES: usize = HEAD + 12;
/// Bytes of a [`Report`].
pub const REPORT_BYTES: usize = HEAD + 16;

/// What one packet says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Message {
    /// From the sender of the media.
    Next(Next),
    /// From its receiver.
    Report(Report),
}

impl Message {
    /// The packet, as the flow's.
    #[must_use]
    pub fn write(&self, ssrc: u32) -> Packet {
        match self {
            Self::Next(next) => {
                let index: [u8; 8] = (next.next & 0xffff_ffff_ffff).to_be_bytes();
                let hold_off = u16::try_from(next.hold_off.as_micros() / HOLD_OFF).unwrap_or(u16::MAX);
                let [_, _, index @ ..] = index;
                let echo = [u8::from(next.echo.is_some()), next.echo.unwrap_or(0), 0, 0];
                Packet::new(NEXT, ssrc, [&index[..], &hold_off.to_be_bytes(), &echo])
            }
            Self::Report(report) => {
                let share = |value: f64, unit: f64| {
                    // A cast of what is out of range stops at the end of it.
                    (value * unit).round() as u16
                };
                let loss = share(report.loss, 65_536.0).to_be_bytes();
                let burst = share(report.burst, 16.0).to_be_bytes();
                let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
                let [l0, l1] = loss;
                let [b0, b1] = burst;
                let head = [report.id, u8::from(report.rtt.is_some()), l0, l1, b0, b1, 0, 0];
                let rtt = micros(report.rtt.unwrap_or_default()).to_be_bytes();
                Packet::new(REPORT, ssrc, [&head[..], &rtt, &micros(report.reorder).to_be_bytes()])
            }
        }
    }

    /// Reads one RTCP packet; `None` if it is none of these.
    #[must_use]
    pub fn read(packet: &[u8]) -> Option<Self> {
        let (head, body) = packet.split_at_checked(HEAD)?;
        let [first, kind, ..] = *head else { return None };
        let words = usize::from(u16::from_be_bytes([*head.get(2)?, *head.get(3)?]));
        if kind != packet_type::APP || head.get(8..) != Some(&NAME[..]) || packet.len() != 4 * (words + 1) {
            return None;
        }
        match (first, body) {
            (first, [i0, i1, i2, i3, i4, i5, h0, h1, answers, id, ..])
                if first == 0x80 | NEXT && packet.len() >= NEXT_BYTES =>
            {
                Some(Self::Next(Next {
                    next: u64::from_be_bytes([0, 0, *i0, *i1, *i2, *i3, *i4, *i5]),
                    hold_off: Duration::from_micros(
                        u64::from(u16::from_be_bytes([*h0, *h1])) * HOLD_OFF as u64,
                    ),
                    echo: (*answers == 1).then_some(*id),
                }))
            }
            (first, [id, known, l0, l1, b0, b1, _, _, t0, t1, t2, t3, r0, r1, r2, r3, ..])
                if first == 0x80 | REPORT =>
            {
                let micros = |bytes| Duration::from_micros(u64::from(u32::from_be_bytes(bytes)));
                Some(Self::Report(Report {
                    id: *id,
                    loss: f64::from(u16::from_be_bytes([*l0, *l1])) / 65_536.0,
                    burst: f64::from(u16::from_be_bytes([*b0, *b1])) / 16.0,
                    rtt: (*known == 1).then(|| micros([*t0, *t1, *t2, *t3])),
                    reorder: micros([*r0, *r1, *r2, *r3]),
                }))
            }
            _ => None,
        }
    }

    /// What a compound of RTCP packets has of these, in its order.
    pub fn all(compound: &[u8]) -> impl Iterator<Item = Self> + '_ {
        let mut rest = compound;
        std::iter::from_fn(move || {
            let [_, _, high, low] = *rest.first_chunk()?;
            let (packet, behind) =
                rest.split_at_checked(4 + 4 * usize::from(u16::from_be_bytes([high, low])))?;
            rest = behind;
            Some(Self::read(packet))
        })
        .flatten()
    }
}

/// A packet that was written.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    bytes: [u8; REPORT_BYTES],
    len: usize,
}

impl Packet {
    fn new(subtype: u8, ssrc: u32, body: [&[u8]; 3]) -> Self {
        let mut bytes = [0; REPORT_BYTES];
        let len = HEAD + body.iter().map(|part| part.len()).sum::<usize>();
        let words = (len / 4 - 1) as u8;
        let head: [&[u8]; 3] = [&[0x80 | subtype, packet_type::APP, 0, words], &ssrc.to_be_bytes(), &NAME];
        for (place, byte) in bytes.iter_mut().zip(head.into_iter().chain(body).flatten()) {
            *place = *byte;
        }
        Self { bytes, len }
    }
}

impl AsRef<[u8]> for Packet {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            id: 7,
            loss: 0.125,
            burst: 2.5,
            rtt: Some(Duration::from_micros(40_250)),
            reorder: Duration::from_millis(3),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let next = Next { next: 0xffff_0000_0001, hold_off: Duration::from_micros(5_250), echo: Some(9) };
        for message in [
            Message::Next(next),
            Message::Next(Next { echo: None, ..next }),
            Message::Report(report()),
            Message::Report(Report { rtt: None, ..report() }),
        ] {
            let packet = message.write(5);
            assert_eq!(Message::read(packet.as_ref()), Some(message));
            let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 5];
            compound.extend(packet.as_ref());
            compound.extend(packet.as_ref());
            assert!(Message::all(&compound).eq([message, message]));
            for length in 0..packet.as_ref().len() {
                assert_eq!(Message::read(&packet.as_ref()[..length]), None);
            }
        }
    }

    #[test]
    fn what_cannot_be_told_is_told_as_far_as_it_can() {
        let told = |report| match Message::read(Message::Report(report).write(1).as_ref()) {
            Some(Message::Report(read)) => read,
            other => panic!("{other:?}"),
        };
        let much = Report {
            loss: 1.0,
            burst: f64::INFINITY,
            rtt: Some(Duration::MAX),
            reorder: Duration::MAX,
            ..report()
        };
        assert!(told(much).loss > 0.9999 && told(much).burst > 4095.0);
        assert_eq!(told(much).rtt, Some(Duration::from_micros(u64::from(u32::MAX))));
        let nonsense = Report { loss: f64::NAN, burst: -1.0, ..report() };
        assert_eq!((told(nonsense).loss, told(nonsense).burst), (0.0, 0.0));
        let next = Next { next: u64::MAX, hold_off: Duration::MAX, echo: None };
        let read = Message::read(Message::Next(next).write(1).as_ref());
        assert!(matches!(read, Some(Message::Next(next)) if next.hold_off > Duration::from_secs(16)));
    }

    #[test]
    fn other_packets_are_none_of_these() {
        let packet = Message::Report(report()).write(5);
        for at in [0, 1, 3, 8, 11] {
            let mut other = packet.as_ref().to_vec();
            other[at] ^= 0x40;
            assert_eq!(Message::read(&other), None, "{at}");
        }
    }
}

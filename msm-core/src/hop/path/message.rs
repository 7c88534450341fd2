//! What two members say about the way between them: RTCP APP packets (`RFC 3550 §6.7`) named `MSMP`.

use crate::rtcp::packet_type;

/// The name of the packets.
const NAME: [u8; 4] = *b"MSMP";
/// Header, SSRC, name, nonce, size.
const BYTES: usize = 4 + 4 + 4 + 16 + 4;

/// What a message is for. The subtype of the APP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Are you there, at this address, which is not in use yet? Answered there, or not at all.
    Challenge = 1,
    /// I am: the challenge's nonce.
    Response = 2,
    /// Does a datagram of this size come through?
    Probe = 3,
    /// It does: the probe's nonce and size.
    ProbeAck = 4,
    /// Nothing comes from you. Goes by another way than the one that it speaks of.
    Blocked = 5,
    /// Are you still there, at the address in use? Answered by that, whatever this came by.
    Check = 6,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub kind: Kind,
    /// Unpredictable, and used for one question.
    pub nonce: [u8; 16],
    /// Of a probe and its answer: bytes of UDP payload.
    pub size: u16,
}

impl Message {
    /// The shortest message in bytes.
    pub const MIN_BYTES: usize = BYTES;

    /// Writes the message, padded to `pad_to` bytes where that is longer: a multiple of four. The bytes written, `None` if
    /// they have no room.
    pub fn write(&self, ssrc: u32, pad_to: usize, out: &mut [u8]) -> Option<usize> {
        let length = BYTES.max(pad_to & !3);
        let room = out.get_mut(..length)?;
        room.fill(0);
        let words = u16::try_from(length / 4 - 1).ok()?.to_be_bytes();
        let [high, low] = words;
        room.get_mut(..4)?.copy_from_slice(&[0x80 | self.kind as u8, packet_type::APP, high, low]);
        room.get_mut(4..8)?.copy_from_slice(&ssrc.to_be_bytes());
        room.get_mut(8..12)?.copy_from_slice(&NAME);
        room.get_mut(12..28)?.copy_from_slice(&self.nonce);
        room.get_mut(28..30)?.copy_from_slice(&self.size.to_be_bytes());
        Some(length)
    }

    /// Reads a message at the start of a compound.
    pub fn read(compound: &[u8]) -> Option<Message> {
        let [first, kind, high, low] = *compound.first_chunk()?;
        let length = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        let packet = compound.get(..length)?;
        if kind != packet_type::APP || first & 0xe0 != 0x80 || packet.get(8..12)? != NAME {
            return None;
        }
        let kind = match first & 0x1f {
            1 => Kind::Challenge,
            2 => Kind::Response,
            3 => Kind::Probe,
            4 => Kind::ProbeAck,
            5 => Kind::Blocked,
            6 => Kind::Check,
            _ => return None,
        };
        let nonce = packet.get(12..28)?.try_into().ok()?;
        let size = u16::from_be_bytes(packet.get(28..30)?.try_into().ok()?);
        Some(Message { kind, nonce, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_cut_short() {
        for kind in [Kind::Challenge, Kind::Response, Kind::Probe, Kind::ProbeAck, Kind::Blocked, Kind::Check]
        {
            let message = Message { kind, nonce: [9; 16], size: 1472 };
            let mut out = [0xff; 600];
            for pad_to in [0, 33, 400] {
                let length = message.write(7, pad_to, &mut out).unwrap();
                assert_eq!(length, BYTES.max(pad_to & !3));
                assert_eq!(Message::read(&out[..length]), Some(message));
                for cut in 0..length {
                    assert_eq!(Message::read(&out[..cut]), None);
                }
            }
            assert_eq!(message.write(7, 700, &mut out), None);
        }
        assert_eq!(Message::read(&[0x85, 204, 0, 7]), None);
    }
}

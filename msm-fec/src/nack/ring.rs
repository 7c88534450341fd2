//! A ring of bytes for those who keep packets nowhere else.

/// Where a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Bytes written before it, ever.
    at: u64,
    len: u32,
}

/// The last bytes of packets that were put in, each packet in one piece. It never grows: the oldest packets are written over.
#[derive(Debug)]
pub struct ByteRing {
    bytes: Vec<u8>,
    written: u64,
}

impl ByteRing {
    /// A ring of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], written: 0 }
    }

    /// Copies a packet in; `None` if it is longer than the ring.
    pub fn push(&mut self, packet: &[u8]) -> Option<Place> {
        let size = u64::try_from(self.bytes.len()).ok().filter(|size| *size > 0)?;
        let len = u32::try_from(packet.len()).ok().filter(|len| u64::from(*len) <= size)?;
        let left = size - self.written % size;
        if left < u64::from(len) {
            // In one piece: the rest of this round stays empty.
            self.written += left;
        }
        let at = self.written;
        let start = (at % size) as usize;
        self.bytes.get_mut(start..start + packet.len())?.copy_from_slice(packet);
        self.written += u64::from(len);
        Some(Place { at, len })
    }

    /// The packet, unless it was written over.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<&[u8]> {
        let size = u64::try_from(self.bytes.len()).ok().filter(|size| *size > 0)?;
        let oldest = self.written.saturating_sub(size);
        let end = place.at.checked_add(u64::from(place.len))?;
        if place.at < oldest || end > self.written {
            return None;
        }
        let start = (place.at % size) as usize;
        self.bytes.get(start..start.checked_add(place.len as usize)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stay_whole_until_they_are_written_over() {
        let mut ring = ByteRing::new(100);
        assert_eq!(ring.push(&[0; 101]), None);
        let mut places = Vec::new();
        for number in 0..200_u8 {
            let packet = vec![number; usize::from(number % 37)];
            places.push((ring.push(&packet).unwrap(), packet));
            let kept: Vec<bool> = places
                .iter()
                .map(|(place, packet)| ring.get(*place).inspect(|found| assert_eq!(found, packet)).is_some())
                .collect();
            assert!(kept.last() == Some(&true));
            // Not one that is gone behind one that is there (an empty one is always there).
            let first = kept.iter().zip(&places).position(|(kept, (_, packet))| *kept && !packet.is_empty());
            assert!(kept.iter().zip(&places).skip(first.unwrap_or(0)).all(|(kept, _)| *kept));
        }
        assert_eq!(ByteRing::new(0).push(&[]), None);
        assert_eq!(ring.get(Place { at: u64::MAX, len: 9 }), None);
    }
}

//! Where the packets of a protected track are that may be sent again: in the hub, once for all its readers, or here.

use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use msm_core::hop::Trailer;
use msm_core::hub::{History, ReaderId};
use msm_fec::nack::{Kept, Store};

use crate::hub::shard::Shard;

/// A hub keeps packets for so long at most (`FanoutConfig::history`).
const HUB_AGE: Duration = Duration::from_secs(2);

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    /// In the hub: what the hop made of it is made again.
    Hub { position: u64, trailer: Trailer },
    /// Here, as it was.
    Here(Kept),
}

/// Keeps the packets of one track.
pub(super) struct Keeper {
    store: Store,
    age: Duration,
    hub: Option<(Weak<Shard>, ReaderId, usize)>,
}

impl Keeper {
    pub(super) fn new(bytes: usize, age: Duration) -> Self {
        Self { store: Store::new(bytes, age), age, hub: None }
    }

    /// Looks for packets in the hub from now on, of which this is a reader's track.
    pub(super) fn keep_in(&mut self, shard: &Rc<Shard>, id: ReaderId, track: usize) {
        if self.age <= HUB_AGE {
            let history = History { age: self.age, answers: false, at_once: true };
            shard.set_history(Instant::now(), id, track, history);
            self.hub = Some((Rc::downgrade(shard), id, track));
        }
    }

    /// A packet of the hop, as it is before SRTP, which the hub keeps at this position, if it does.
    #[inline]
    pub(super) fn push(
        &mut self,
        now: Instant,
        packet: &[u8],
        position: Option<u64>,
        trailer: Trailer,
    ) -> Option<Sent> {
        match position.filter(|_| self.hub.is_some()) {
            Some(position) => Some(Sent::Hub { position, trailer }),
            None => self.store.push(now, packet).map(Sent::Here),
        }
    }

    /// Writes the packet with this index on the hop to `room`, as it was sent; `None` if it is not kept any more.
    pub(super) fn write(&self, index: u64, sent: Sent, room: &mut Vec<u8>) -> Option<()> {
        room.clear();
        match sent {
            Sent::Here(kept) => room.extend_from_slice(self.store.get(kept)?),
            Sent::Hub { position, trailer } => {
                let (shard, id, track) = self.hub.as_ref()?;
                let shard = shard.upgrade()?;
                shard.with_packet(*id, *track, position, |kept| {
                    let length = kept.bytes.len();
                    room.resize(length + trailer.len(), 0);
                    kept.write(room)?;
                    trailer.write(room.get_mut(length..)?)?;
                    // The hop's own number.
                    room.get_mut(2..4)?.copy_from_slice(&(index as u16).to_be_bytes());
                    Some(())
                })??;
            }
        }
        Some(())
    }
}

//! The sender's side.

mod group;
mod types;

use std::collections::VecDeque;

use super::kernel::{Batch, Kernel};
pub use super::shape::{Shape, ShapeError};
use group::Group;
pub use types::{EncoderConfig, MAX_PACKET_BYTES, MAX_WAITING_GROUPS, Repair, SourceError};

/// Makes repair packets of source packets as these are sent.
///
/// * [`handle_source`](Self::handle_source), or [`handle_burst`](Self::handle_burst), which costs a third of it a packet, for each packet in the
///   order of indices. Nothing is kept of a packet but what it adds to the repairs, so it can be sent at once.
/// * [`finish`](Self::finish) ends blocks that are not full, when waiting for more packets would make repairs too late.
/// * [`poll_repair`](Self::poll_repair) until `None`, after either. The oldest are dropped and counted where they would take more than
///   the memory that is allowed, or are of more than [`MAX_WAITING_GROUPS`].
///
/// Memory of a group of blocks that are filled in turn is `depth × repairs × (packet_bytes + 127)` bytes, and `sources × (repairs + 2 × depth)`.
/// There are two where repairs are polled after each block: it is filled while the repairs of the one before are sent. It is
/// allocated when there are more groups, or larger ones, than ever before.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    kernel: Kernel,
    shape: Option<Shape>,
    /// What is filled, what is polled from, and memory for either.
    open: Box<Group>,
    ready: VecDeque<Box<Group>>,
    #[expect(clippy::vec_box, reason = "groups go from one place to the other")]
    spare: Vec<Box<Group>>,
    /// The index that comes next.
    next: u64,
    dropped: u64,
}

impl Encoder {
    /// An encoder with `shape`; with `None` nothing is protected.
    ///
    /// # Errors
    ///
    /// As of [`set_shape`](Self::set_shape).
    pub fn new(config: EncoderConfig, shape: Option<Shape>) -> Result<Self, ShapeError> {
        Self::with_kernel(config, shape, Kernel::detect())
    }

    /// As [`new`](Self::new), with a kernel of choice.
    ///
    /// # Errors
    ///
    /// As of [`set_shape`](Self::set_shape).
    pub fn with_kernel(
        config: EncoderConfig,
        shape: Option<Shape>,
        kernel: Kernel,
    ) -> Result<Self, ShapeError> {
        let config = EncoderConfig { packet_bytes: config.packet_bytes.min(MAX_PACKET_BYTES), ..config };
        let mut encoder = Self {
            config,
            kernel,
            shape: None,
            open: Box::default(),
            ready: VecDeque::new(),
            spare: Vec::new(),
            next: 0,
            dropped: 0,
        };
        encoder.set_shape(shape)?;
        Ok(encoder)
    }

    /// The shape of blocks to come, from the next one on that begins.
    ///
    /// # Errors
    ///
    /// It takes more memory than configured. Nothing is changed then.
    pub fn set_shape(&mut self, shape: Option<Shape>) -> Result<(), ShapeError> {
        if let Some(shape) = shape {
            let needed = 2 * Group::memory_of(shape, self.config.packet_bytes);
            if needed > self.config.memory_bytes {
                return Err(ShapeError::Memory { needed, allowed: self.config.memory_bytes });
            }
        }
        self.shape = shape;
        Ok(())
    }

    /// The shape of blocks to come.
    #[must_use]
    pub const fn shape(&self) -> Option<Shape> {
        self.shape
    }

    /// Bytes that are kept for blocks.
    #[must_use]
    pub fn memory(&self) -> usize {
        let groups = self.ready.iter().chain(&self.spare);
        self.open.memory() + groups.map(|group| group.memory()).sum::<usize>()
    }

    /// Repairs that were never sent because nobody polled them in time.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Source packets of blocks that are not full yet.
    #[must_use]
    pub fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// A source packet that is sent. An index that is not the one after the last ends the blocks that are open.
    ///
    /// # Errors
    ///
    /// It is empty or too long: it is not protected, and ends the blocks that are open.
    pub fn handle_source(&mut self, index: u64, packet: &[u8]) -> Result<(), SourceError> {
        self.handle_burst(index, [packet])
    }

    /// Source packets that are sent, with consecutive indices from `first` on.
    ///
    /// # Errors
    ///
    /// One is empty or too long, and not protected. The others are.
    pub fn handle_burst<'a>(
        &mut self,
        first: u64,
        packets: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), SourceError> {
        let mut result = Ok(());
        let mut batch = Batch::default();
        let mut start = first;
        for packet in packets {
            if packet.is_empty() || packet.len() > self.config.packet_bytes {
                self.take(start, &batch);
                start += batch.len() as u64 + 1;
                batch.clear();
                result = result.and(Err(if packet.is_empty() {
                    SourceError::Empty
                } else {
                    SourceError::Long { length: packet.len(), allowed: self.config.packet_bytes }
                }));
                continue;
            }
            batch.push(packet);
            if batch.is_full() {
                self.take(start, &batch);
                start += batch.len() as u64;
                batch.clear();
            }
        }
        self.take(start, &batch);
        result
    }

    fn take(&mut self, first: u64, batch: &Batch<'_>) {
        if batch.is_empty() {
            return;
        }
        if first != self.next {
            self.finish();
        }
        self.next = first + batch.len() as u64;
        let mut taken = 0;
        while taken < batch.len() {
            if self.open.is_empty() {
                let Some(shape) = self.shape else { return };
                self.make_room(shape);
                self.open.begin(shape, self.config.packet_bytes, first + taken as u64);
            }
            let room = self.open.room();
            if taken == 0 && batch.len() <= room {
                taken = batch.len();
                self.open.add(self.kernel, batch);
            } else {
                let part: Batch<'_> = batch.sources().iter().skip(taken).take(room).copied().collect();
                taken += part.len();
                self.open.add(self.kernel, &part);
            }
            if self.open.room() == 0 {
                self.finish();
            }
        }
    }

    /// Ends the blocks that are open; all their repairs can be polled.
    pub fn finish(&mut self) {
        self.finish_with(u8::MAX);
    }

    /// Ends the blocks that are open; at most `repairs` of each can be polled.
    pub fn finish_with(&mut self, repairs: u8) {
        if self.open.is_empty() {
            return;
        }
        self.recycle();
        if self.ready.len() == MAX_WAITING_GROUPS {
            self.drop_oldest();
        }
        let mut group = std::mem::replace(&mut self.open, self.spare.pop().unwrap_or_default());
        group.close(repairs);
        self.ready.push_back(group);
        self.open.clear();
    }

    /// Takes back the memory of what has been polled.
    fn recycle(&mut self) {
        while self.ready.front().is_some_and(|group| group.waiting() == 0) {
            self.spare.extend(self.ready.pop_front());
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(group) = self.ready.pop_front() {
            self.dropped += group.waiting();
            self.spare.push(group);
        }
    }

    /// Frees memory, that of others first, until a group of `shape` has room.
    fn make_room(&mut self, shape: Shape) {
        let needed = Group::memory_of(shape, self.config.packet_bytes);
        while self.open.memory() < needed
            && self.memory() - self.open.memory() + needed > self.config.memory_bytes
        {
            if self.spare.pop().is_none() {
                if self.ready.is_empty() {
                    return;
                }
                self.drop_oldest();
            }
        }
    }

    /// The next repair to send.
    pub fn poll_repair(&mut self) -> Option<Repair<'_>> {
        self.recycle();
        self.ready.front_mut()?.poll()
    }
}

#[cfg(test)]
mod tests;

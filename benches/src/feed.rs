//! A source that never pauses, for streams that are read one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::rtsp::Publisher;

/// Sends a packet a millisecond into the stream that is measured.
#[derive(Debug)]
pub struct Feed {
    stream: Arc<AtomicUsize>,
    sent: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Feed {
    /// Begins with the first of these.
    pub fn start(mut publishers: Vec<Publisher>) -> Self {
        let (stream, sent, over): (Arc<AtomicUsize>, Arc<AtomicU32>, Arc<AtomicBool>) = Default::default();
        let own = (Arc::clone(&stream), Arc::clone(&sent), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let (stream, sent, over) = own;
            let mut due = Instant::now();
            while !over.load(Ordering::Relaxed) {
                due += Duration::from_millis(1);
                sleep(due.saturating_duration_since(Instant::now()));
                let Some(publisher) = publishers.get_mut(stream.load(Ordering::SeqCst)) else { continue };
                let source = publisher.source();
                let _ = source.send(1);
                sent.store(source.sent().0, Ordering::SeqCst);
            }
        });
        Self { stream, sent, over, thread: Some(thread) }
    }

    /// Sends into this stream from now on.
    pub fn switch(&self, stream: usize) {
        self.stream.store(stream, Ordering::SeqCst);
    }

    /// Packets that the stream has got.
    pub fn sent(&self) -> u32 {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

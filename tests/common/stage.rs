//! Two members and somebody between them, with a stream that flows.

use std::time::{Duration, Instant};

use crate::common::member::Ca;
use crate::common::pair::{far, near_by, numbered, pass};
use crate::common::relay::{Relay, Way};
use crate::common::{Line, Publisher, Reader, TestMesh};

/// Two members, what is between them, a publisher and a reader whose first packet came.
pub struct Stage {
    pub reader: Reader,
    pub publisher: Publisher,
    pub line: Line,
    pub next: u16,
    pub near: TestMesh,
    pub far: TestMesh,
    pub relay: Relay,
}

impl Stage {
    pub fn new() -> Self {
        Self::by("")
    }

    /// The same, with `more` for the near member's route.
    pub fn by(more: &str) -> Self {
        Self::behind(more, |_| ())
    }

    /// The same, with what `prepare` does to the relay before anything passes.
    pub fn behind(more: &str, prepare: impl FnOnce(&Relay)) -> Self {
        let ca = Ca::new("test.example");
        let (far, hop) = far(&ca.member("/far"), "");
        let relay = Relay::start(hop);
        prepare(&relay);
        let near = near_by(&ca.member("/near"), relay.address, more);
        let publisher = Publisher::start(&far, "live/one");
        let reader = Reader::start(&near, "live/one");
        let mut stage = Self { reader, publisher, line: Line::default(), next: 0, near, far, relay };
        stage.pass(50);
        stage
    }

    /// Sends packets and sees each of them arrive, once and in order.
    pub fn pass(&mut self, packets: u16) {
        pass((&self.publisher, &self.reader), &mut self.line, &mut self.next, packets);
    }

    /// From now on each two packets of media change places.
    pub fn swap(&self) {
        let mut held: Option<Vec<u8>> = None;
        self.relay.set(move |way, datagram| {
            if way == Way::ToAcceptor || !is_rtp(datagram) || datagram[1] & 0x7f != 96 {
                return vec![datagram.to_vec()];
            }
            match held.take() {
                Some(earlier) => vec![datagram.to_vec(), earlier],
                None => {
                    held = Some(datagram.to_vec());
                    vec![]
                }
            }
        });
    }

    /// Sends two packets, and not as one burst: whoever is between would see them, and the members, in any grouping.
    pub fn send_two(&mut self) -> [Vec<u8>; 2] {
        [(); 2].map(|()| {
            let packet = numbered(self.next);
            self.next += 1;
            self.publisher.send(&packet);
            std::thread::sleep(Duration::from_millis(1));
            packet
        })
    }

    /// How the near member's packets go.
    pub fn way(&self) -> String {
        let status = self.near.block_on(self.near.mesh.status());
        assert_eq!(status.hops.len(), 1, "{status:?}");
        status.hops[0].way.clone()
    }

    /// How the far member's packets go.
    pub fn far_way(&self) -> String {
        let status = self.far.block_on(self.far.mesh.status());
        assert_eq!(status.hops.len(), 1, "{status:?}");
        status.hops[0].way.clone()
    }

    /// Waits until both members' packets go this way. UDP that does not pass is known within two seconds; that it passes again,
    /// within five.
    pub fn wait_way(&self, start: &str) {
        let patience = Duration::from_secs(if start == "tcp" { 2 } else { 6 });
        // A machine that is busy is late, too.
        let deadline = Instant::now() + patience + Duration::from_secs(1);
        while !self.way().starts_with(start) || !self.far_way().starts_with(start) {
            assert!(Instant::now() < deadline, "{}, {}, not {start}", self.way(), self.far_way());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub fn is_rtp(datagram: &[u8]) -> bool {
    !(192..=223).contains(&datagram[1])
}

use super::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;

const OVERHEAD: usize = 21;

/// A datagram under way: whose it is, from and to where, its bytes, and what it says.
type Datagram = (usize, Ends, Ends, usize, Message);

/// Two paths and a link between them, in one thread under virtual time.
struct Net {
    now: Instant,
    paths: [Path; 2],
    /// Where each really is, and so what its packets' source is.
    at: [Ends; 2],
    delay: Duration,
    /// Larger datagrams vanish.
    mtu: usize,
    /// Whether anything passes from each side.
    open: [bool; 2],
    /// What one side says of the way by another way, and when it is heard.
    words: Vec<(Instant, usize)>,
    /// One packet in so many is lost; 0 for none.
    lose: u32,
    rng: Rng,
    sent: usize,
    /// By the time of arrival.
    wire: BTreeMap<(Instant, usize), Datagram>,
    events: [Vec<PathEvent>; 2],
    /// Bytes sent to each address.
    to: BTreeMap<SocketAddr, usize>,
    /// The times of [`PathEvent::Validated`].
    validated: [Option<Instant>; 2],
}

fn address(port: u16) -> Ends {
    SocketAddr::from(([10, 0, 0, 1], port)).into()
}

#[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
fn net(ceiling: usize) -> Net {
    let now = Instant::now();
    let config = PathConfig { overhead: OVERHEAD, ceiling, ..PathConfig::default() };
    let mut paths = [Path::new(config.clone(), 1, now), Path::new(config, 2, now)];
    paths[0].add_remote(address(2));
    Net {
        now,
        paths,
        at: [address(1), address(2)],
        delay: Duration::from_millis(10),
        mtu: 1500,
        open: [true; 2],
        words: Vec::new(),
        lose: 0,
        rng: Rng::new(3),
        sent: 0,
        wire: BTreeMap::new(),
        events: [Vec::new(), Vec::new()],
        to: BTreeMap::new(),
        validated: [None, None],
    }
}

impl Net {
    fn start(&mut self) {
        for side in [1, 0] {
            self.paths[side].start(self.now);
            self.drain(side);
        }
    }

    fn drain(&mut self, side: usize) {
        while let Some(Transmit { to, message, pad_to }) = self.paths[side].poll_transmit(self.now) {
            let mut out = [0; 9216];
            let bytes = message.write(5, pad_to, &mut out).unwrap() + OVERHEAD;
            *self.to.entry(to.remote).or_default() += bytes;
            self.sent += 1;
            let lost = self.lose > 0 && self.rng.next_u32().is_multiple_of(self.lose);
            if !self.open[side] || bytes > self.mtu || lost {
                continue;
            }
            let key = (self.now + self.delay, self.sent);
            self.wire.insert(key, (1 - side, self.at[side], to, bytes, message));
        }
        while let Some(event) = self.paths[side].poll_event() {
            if matches!(event, PathEvent::Validated(_)) {
                self.validated[side] = Some(self.now);
            }
            if event == (PathEvent::Blocked { told: false }) {
                self.words.push((self.now + self.delay, 1 - side));
            }
            self.events[side].push(event);
        }
    }

    /// Delivers a datagram: whoever has the address gets it.
    fn deliver(&mut self, to_side: usize, from: Ends, to: Ends, bytes: usize, message: &Message) {
        if self.at[to_side] == to {
            self.paths[to_side].handle_message(self.now, from, bytes, message);
            self.drain(to_side);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            let arrival = self.wire.first_key_value().map(|(key, _)| key.0);
            let timers = [0, 1].map(|side| self.paths[side].poll_timeout(self.now).map(|(due, _)| due));
            let word = self.words.iter().map(|(heard, _)| *heard).min();
            let Some(next) = arrival
                .into_iter()
                .chain(timers.into_iter().flatten())
                .chain(word)
                .min()
                .filter(|next| *next <= end)
            else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            let now = self.now;
            for (_, side) in self.words.extract_if(.., |(heard, _)| *heard <= now).collect::<Vec<_>>() {
                self.paths[side].handle_blocked(now);
                self.drain(side);
            }
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (side, from, to, bytes, message) = entry.remove();
                self.deliver(side, from, to, bytes, &message);
            }
            for side in [0, 1] {
                if self.paths[side].poll_timeout(self.now).is_some_and(|(due, _)| due <= self.now) {
                    self.paths[side].handle_timeout(self.now);
                    self.drain(side);
                    let after = self.paths[side].poll_timeout(self.now);
                    assert!(after.is_none_or(|(due, _)| due > self.now), "{after:?} after {:?}", self.now);
                }
            }
        }
        panic!("the timers spin");
    }
}

#[test]
fn both_sides_know_the_way_after_a_round_trip_and_a_half() {
    let mut net = net(1472);
    let began = net.now;
    net.start();
    net.run(Duration::from_millis(200));
    assert_eq!(net.validated[0].unwrap() - began, Duration::from_millis(20));
    assert_eq!(net.validated[1].unwrap() - began, Duration::from_millis(30));
    assert_eq!(net.paths.each_ref().map(Path::destination), [Some(address(2)), Some(address(1))]);
    assert_eq!(net.paths[0].rtt(), Some(Duration::from_millis(20)));
    assert_eq!(net.paths[1].rtt(), Some(Duration::from_millis(20)));
}

#[test]
fn the_largest_datagram_is_found_by_few_probes_whatever_it_is() {
    for (mtu, ceiling) in [(1472, 1472), (1400, 1472), (1280, 1472), (1200, 1472), (8972, 8972), (1452, 8972)]
    {
        let mut net = net(ceiling);
        net.mtu = mtu;
        net.start();
        net.run(Duration::from_secs(10));
        for path in &net.paths {
            let found = path.max_datagram();
            assert!(found <= mtu && found + 16 >= mtu, "{found} of {mtu}");
        }
        assert!(net.sent < 140, "{} messages for {mtu}", net.sent);
        assert!(net.events[0].iter().all(|event| *event != PathEvent::Blocked { told: false }));
    }
}

#[test]
fn a_way_that_becomes_narrow_is_noticed() {
    let mut net = net(1472);
    net.start();
    net.run(Duration::from_secs(5));
    assert_eq!(net.paths[0].max_datagram(), 1472);
    net.mtu = 1300;
    net.run(Duration::from_secs(9));
    let found = net.paths[0].max_datagram();
    assert!((1284..=1300).contains(&found), "{found}");
    net.mtu = 1472;
    net.run(Duration::from_secs(700));
    assert_eq!(net.paths[0].max_datagram(), 1472);
    // And what the kernel says counts at once.
    net.paths[0].handle_too_large(net.now, 1400);
    assert_eq!(net.paths[0].max_datagram(), 1200);
}

#[test]
fn where_udp_does_not_pass_that_is_known_within_a_second_and_taken_back_later() {
    let mut net = net(1472);
    net.open = [false; 2];
    net.start();
    net.run(Duration::from_millis(1001));
    assert_eq!(
        net.events,
        [vec![PathEvent::Blocked { told: false }], vec![PathEvent::Blocked { told: false }]]
    );
    net.run(Duration::from_secs(20));
    assert!(net.sent < 60, "{} messages into the void", net.sent);
    net.open = [true; 2];
    net.run(Duration::from_secs(6));
    assert!(net.events[0].contains(&PathEvent::Validated(address(2))), "{:?}", net.events[0]);
    assert!(net.events[1].contains(&PathEvent::Validated(address(1))), "{:?}", net.events[1]);
    // A way that ends is noticed within two seconds.
    net.run(Duration::from_millis(500));
    net.open = [false; 2];
    net.run(Duration::from_millis(1900));
    assert!(matches!(net.events[0].last(), Some(PathEvent::Blocked { .. })), "{:?}", net.events[0]);
    assert_eq!(net.paths[0].destination(), None);
    net.open = [true; 2];
    net.run(Duration::from_secs(6));
    assert_eq!(net.paths[0].destination(), Some(address(2)));
}

#[test]
fn a_way_that_ends_in_one_direction_is_left_by_both_sides_within_two_seconds() {
    for deaf in [0, 1] {
        let mut net = net(1472);
        net.start();
        net.run(Duration::from_secs(3));
        net.open[1 - deaf] = false;
        // Media goes on in the direction that passes, and keeps the other side sure of the way.
        for _ in 0..199 {
            net.run(Duration::from_millis(10));
            if net.paths[deaf].destination().is_some() {
                net.paths[1 - deaf].handle_authenticated(net.now, net.at[deaf], 1000);
            }
        }
        assert_eq!(net.events[deaf].last(), Some(&PathEvent::Blocked { told: false }));
        assert_eq!(net.events[1 - deaf].last(), Some(&PathEvent::Blocked { told: true }));
        net.run(Duration::from_secs(20));
        assert_eq!(net.paths.each_ref().map(Path::destination), [None, None], "{deaf}");
        net.open = [true; 2];
        net.run(Duration::from_secs(6));
        assert_eq!(net.paths.each_ref().map(Path::destination), [Some(address(2)), Some(address(1))]);
    }
}

#[test]
fn a_way_that_takes_short_datagrams_alone_is_none() {
    let mut net = net(1472);
    net.mtu = 1100;
    net.start();
    net.run(Duration::from_millis(1001));
    assert_eq!(
        net.events,
        [vec![PathEvent::Blocked { told: false }], vec![PathEvent::Blocked { told: false }]]
    );
    net.run(Duration::from_secs(20));
    assert_eq!(net.paths.each_ref().map(Path::destination), [None, None]);
    // And one that becomes like that is left, and not taken back.
    net.mtu = 1500;
    net.run(Duration::from_secs(8));
    assert_eq!(net.paths[0].max_datagram(), 1472);
    net.mtu = 1100;
    net.run(Duration::from_secs(9));
    assert_eq!(net.paths.each_ref().map(Path::destination), [None, None]);
    net.run(Duration::from_secs(20));
    assert_eq!(net.paths.each_ref().map(Path::destination), [None, None]);
}

#[test]
fn of_two_addresses_that_signalling_names_the_one_that_answers_is_used() {
    for place in [2, 3] {
        let mut net = net(1472);
        net.paths[0].add_remote(address(3));
        net.paths[0].add_remote(address(4));
        net.at[1] = address(place);
        net.start();
        net.run(Duration::from_millis(200));
        assert_eq!(net.paths[0].destination(), Some(address(place)));
        assert!(!net.to.contains_key(&address(4).remote), "two at most");
    }
}

#[test]
fn a_member_behind_another_address_is_followed() {
    let mut net = net(1472);
    net.start();
    net.run(Duration::from_secs(2));
    net.at[0] = address(77);
    // Its next packet of any kind.
    net.paths[1].handle_authenticated(net.now, address(77), 200);
    net.drain(1);
    net.run(Duration::from_secs(1));
    assert_eq!(net.paths[1].destination(), Some(address(77)));
    assert!(net.events[1].contains(&PathEvent::Moved { from: address(1), to: address(77) }));
}

#[test]
fn copies_from_a_victims_address_move_nothing_and_cost_the_victim_little() {
    let mut net = net(1472);
    net.start();
    net.run(Duration::from_secs(2));
    let victim = address(666);
    let mut copied = 0;
    for round in 0..500 {
        // Genuine packets, raced from the victim's address: media, and questions.
        match round % 4 {
            0 | 1 => net.paths[1].handle_authenticated(net.now, victim, 60),
            kind => {
                let kind = if kind == 2 { Kind::Challenge } else { Kind::Probe };
                net.paths[1].handle_message(net.now, victim, 60, &Message { kind, nonce: [7; 16], size: 60 });
                true
            }
        };
        copied += 60;
        net.drain(1);
        net.run(Duration::from_millis(20));
        assert_eq!(net.paths[1].destination(), Some(address(1)));
    }
    let reached = net.to.get(&victim.remote).copied().unwrap_or(0);
    assert!(reached > 0 && reached <= 3 * copied, "{reached} of {copied}");
}

#[test]
fn an_answer_vouches_for_the_address_that_was_asked_and_for_no_other() {
    let mut net = net(1472);
    net.start();
    let Some((_, (_, _, _, _, challenge))) = net.wire.pop_first() else { panic!("no challenge") };
    let answer = Message { kind: Kind::Response, ..challenge };
    let other = Message { nonce: [0; 16], ..answer };
    net.paths[0].handle_message(net.now, address(2), 80, &other);
    assert_eq!(net.paths[0].destination(), None);
    assert_eq!(net.paths[0].rejected(), 1);
    // Somebody sent a copy on from elsewhere, and it was there first.
    net.paths[0].handle_message(net.now, address(9), 80, &answer);
    assert_eq!(net.paths[0].destination(), Some(address(2)));
    net.paths[0].handle_message(net.now, address(2), 80, &answer);
    assert_eq!(net.paths[0].rejected(), 2, "a nonce counts once");
}

#[test]
fn whoever_races_every_answer_does_not_silence_the_way() {
    let mut net = net(1472);
    net.start();
    net.run(Duration::from_secs(2));
    let keeps = net.paths[1].destination();
    for _ in 0..500 {
        net.now += Duration::from_millis(20);
        net.paths[1].handle_timeout(net.now);
        while let Some(transmit) = net.paths[1].poll_transmit(net.now) {
            if Some(transmit.to) == keeps {
                let probe = transmit.message.kind == Kind::Probe;
                let kind = if probe { Kind::ProbeAck } else { Kind::Response };
                let answer = Message { kind, ..transmit.message };
                net.paths[1].handle_message(net.now, address(666), 80, &answer);
            }
        }
        assert_eq!(net.paths[1].destination(), keeps);
    }
}

#[test]
fn strangers_without_number_cost_no_memory_and_questions_without_number_few_answers() {
    let mut net = net(1472);
    net.start();
    net.run(Duration::from_secs(1));
    for port in 1000..11_000 {
        net.paths[1].handle_authenticated(net.now, address(port), 1000);
    }
    assert_eq!(net.paths[1].candidates.len(), 3);
    net.drain(1);
    let before = net.sent;
    for _ in 0..5000 {
        let question = Message { kind: Kind::Challenge, nonce: [1; 16], size: 0 };
        net.paths[1].handle_message(net.now, address(1), 60, &question);
    }
    net.drain(1);
    assert!(net.sent - before <= ANSWERS_PER_SECOND as usize, "{}", net.sent - before);
    net.run(Duration::from_secs(20));
    assert_eq!(net.paths[1].destination(), Some(address(1)));
}

#[test]
fn loss_delays_and_breaks_nothing() {
    for seed in 0..50 {
        let mut net = net(1472);
        net.lose = 6;
        net.rng = Rng::new(seed);
        net.start();
        net.run(Duration::from_secs(30));
        assert_eq!(net.paths[0].destination(), Some(address(2)), "{seed}: {:?}", net.events[0]);
        assert!(!net.events[0].contains(&PathEvent::Blocked { told: false }), "{seed}: {:?}", net.events[0]);
    }
}

#[test]
fn the_round_trip_is_measured_again_while_media_flows_and_while_it_does_not() {
    for flows in [true, false] {
        let mut net = net(1472);
        net.start();
        net.run(Duration::from_secs(2));
        assert_eq!(net.paths[0].rtt(), Some(Duration::from_millis(20)));
        net.delay = Duration::from_millis(150);
        for _ in 0..1500 {
            if flows {
                // Media: nobody is silent, so nobody is asked for that.
                let [first, second] = net.at;
                net.paths[0].handle_authenticated(net.now, second, 1000);
                net.paths[1].handle_authenticated(net.now, first, 1000);
            }
            net.run(Duration::from_millis(10));
        }
        for (path, events) in net.paths.iter().zip(&net.events) {
            assert_eq!(path.rtt(), Some(Duration::from_millis(300)));
            let told = |rtt| events.iter().filter(|event| **event == PathEvent::RoundTrip(rtt)).count();
            assert_eq!(told(Duration::from_millis(20)), 1, "{events:?}");
            assert!((1..=2).contains(&told(Duration::from_millis(300))), "{events:?}");
        }
        net.open = [false; 2];
        net.run(Duration::from_secs(3));
        assert_eq!(net.paths[0].rtt(), None, "of a way that is no more");
    }
}

#[test]
fn an_answer_that_is_lost_or_late_measures_nothing() {
    let mut net = net(1472);
    net.start();
    net.run(Duration::from_secs(9));
    // The questions go, and nothing comes back for them.
    let before = net.events[0].len();
    net.lose = 1;
    for _ in 0..150 {
        // Media does.
        let [first, second] = net.at;
        net.paths[0].handle_authenticated(net.now, second, 1000);
        net.paths[1].handle_authenticated(net.now, first, 1000);
        net.run(Duration::from_millis(10));
    }
    net.lose = 0;
    net.run(Duration::from_millis(500));
    assert_eq!(net.paths[0].rtt(), Some(Duration::from_millis(20)));
    let told = |event: &PathEvent| matches!(event, PathEvent::RoundTrip(_));
    assert!(!net.events[0][before..].iter().any(told), "{:?}", net.events[0]);
    net.run(Duration::from_secs(10));
    assert!(net.events[0][before..].iter().any(told), "asked again");
}

#[test]
fn whoever_races_every_packet_does_not_silence_the_way() {
    for by_another_path in [false, true] {
        let mut net = net(1472);
        net.start();
        net.run(Duration::from_secs(2));
        let keeps = net.paths.each_ref().map(Path::destination);
        let deadline = net.now + Duration::from_secs(20);
        while net.now < deadline {
            net.now += Duration::from_millis(20);
            for side in [0, 1] {
                net.paths[side].handle_timeout(net.now);
                let mut sent = Vec::new();
                while let Some(transmit) = net.paths[side].poll_transmit(net.now) {
                    if Some(transmit.to) == keeps[side] {
                        sent.push(transmit);
                    }
                }
                for Transmit { message, pad_to, .. } in sent {
                    // The packet itself comes later, and is a replay by then.
                    let (other, bytes) = (1 - side, pad_to.max(Message::MIN_BYTES) + OVERHEAD);
                    if by_another_path {
                        net.paths[other].handle_elsewhere(net.now, bytes, &message);
                    } else {
                        net.paths[other].handle_message(net.now, address(666), bytes, &message);
                    }
                }
            }
            for (path, keeps) in net.paths.iter().zip(keeps) {
                assert_eq!(path.destination(), keeps);
            }
        }
    }
}

#[test]
fn of_two_own_addresses_the_one_that_was_reached_answers() {
    let mut net = net(1472);
    let own = |last: u8| Some([10, 0, last, 9].into());
    net.start();
    net.run(Duration::from_secs(2));
    assert_eq!(net.paths[1].destination(), Some(address(1)));
    // The dialling member's packets come to another of our addresses: it is asked from there, and answered from there.
    let there = Ends { local: own(2), ..address(1) };
    net.paths[1].handle_authenticated(net.now, there, 1500);
    let asked: Vec<_> = std::iter::from_fn(|| net.paths[1].poll_transmit(net.now)).collect();
    assert!(asked.iter().all(|transmit| transmit.to == there), "{asked:?}");
    let challenge = asked[0].message;
    let answer = Message { kind: Kind::Response, ..challenge };
    net.paths[1].handle_message(net.now, there, 1200, &answer);
    assert_eq!(net.paths[1].destination(), Some(there));
    assert!(
        std::iter::from_fn(|| net.paths[1].poll_event())
            .any(|event| event == PathEvent::Moved { from: address(1), to: there })
    );
}

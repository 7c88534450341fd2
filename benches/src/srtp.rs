//! What SRTP costs beside its cipher.
//!
//! A packet is protected and opened with AEAD_AES_128_GCM, and the same bytes are sealed and opened by the cryptographic
//! library alone, with the same additional data; forgeries are refused by both. The two take turns within each of many rounds, so that what else the machine
//! does meets both; figures are medians of the rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use msm_auth::srtp::{MasterKey, Receiver, ReceiverOptions, Sender, SenderOptions, Suite};

use crate::Result;
use crate::report::{Limit, Report, median};

/// The ratio to the cipher alone that is held.
const BOUND: f64 = 1.3;
const HEADER: usize = 12;
const TAG: usize = 16;
/// Packets that are timed at a time.
const BURST: u64 = 32;
/// Bursts of each kind in a round.
const BURSTS: u64 = 25;
const ROUNDS: u64 = 301;
const SSRC: u32 = 0xcafe_babe;

/// Payloads of 160 and of 1200 bytes, each way.
///
/// # Errors
///
/// A packet is refused.
pub fn srtp(report: &mut Report) -> Result<()> {
    println!("{}: medians of {ROUNDS} rounds of {} packets", Suite::AeadAes128Gcm.name(), BURST * BURSTS);
    println!("payload  direction   msm ns  cipher ns  ratio");
    for payload in [160, 1200] {
        let mut subject = Subject::new(payload)?;
        let mut rounds: [Vec<f64>; 6] = Default::default();
        for round in 0..ROUNDS {
            let times = subject.round(round % 2 == 1)?;
            for (all, time) in rounds.iter_mut().zip(times) {
                all.push(time.as_nanos() as f64 / (BURST * BURSTS) as f64);
            }
        }
        let [protect, seal, unprotect, open, forged, fail] =
            rounds.map(|times| median(&times).unwrap_or(f64::NAN));
        for (direction, own, bare) in
            [("protect", protect, seal), ("unprotect", unprotect, open), ("a forgery", forged, fail)]
        {
            let ratio = own / bare;
            println!("{payload:7}  {direction:9}  {own:7.1}  {bare:9.1}  {ratio:5.2}");
            report.bound(
                format!("SRTP {direction} over the cipher, {payload} bytes"),
                ratio,
                Limit::Most(BOUND),
            );
        }
    }
    Ok(())
}

/// A session and a bare key, and the packets that both are fed.
struct Subject {
    sender: Sender,
    receiver: Receiver,
    key: LessSafeKey,
    index: u64,
    plain: Vec<u8>,
    own: Vec<Vec<u8>>,
    bare: Vec<(Vec<u8>, [u8; TAG])>,
    forged: Vec<Vec<u8>>,
    bare_forged: Vec<(Vec<u8>, [u8; TAG])>,
}

impl Subject {
    fn new(payload: usize) -> Result<Self> {
        let master = MasterKey::from_bytes(Suite::AeadAes128Gcm, &[7; 28])?;
        let mut sender = Sender::new(SenderOptions { mki_len: 1, ..Default::default() });
        let mut receiver = Receiver::new(ReceiverOptions { mki_len: 1, ..Default::default() });
        sender.install(&master, &[1])?;
        sender.switch(&[1])?;
        receiver.install(&master, &[1])?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).map_err(|_| "no key")?);
        let mut plain = vec![0x80, 96, 0, 0, 0, 0, 0, 1];
        plain.extend_from_slice(&SSRC.to_be_bytes());
        plain.resize(HEADER + payload, 0x5a);
        let own = vec![vec![0; plain.len() + sender.rtp_overhead()]; BURST as usize];
        let bare = vec![(plain.clone(), [0; TAG]); BURST as usize];
        let (forged, bare_forged) = (own.clone(), bare.clone());
        Ok(Self { sender, receiver, key, index: 0, plain, own, bare, forged, bare_forged })
    }

    /// Times of protecting, sealing, unprotecting and opening, and of forgeries that are tried and refused.
    fn round(&mut self, bare_first: bool) -> Result<[Duration; 6]> {
        let mut sums = [Duration::ZERO; 6];
        for _ in 0..BURSTS {
            self.prepare();
            let (own, bare) = if bare_first {
                let bare = self.bare()?;
                (self.own()?, bare)
            } else {
                (self.own()?, self.bare()?)
            };
            let times = [own[0], bare[0], own[1], bare[1], own[2], bare[2]];
            for (sum, time) in sums.iter_mut().zip(times) {
                *sum += time;
            }
            self.index += BURST;
        }
        Ok(sums)
    }

    /// Plain packets with the next numbers.
    fn prepare(&mut self) {
        for (number, (own, (bare, _))) in (self.index..).zip(self.own.iter_mut().zip(&mut self.bare)) {
            let [low, high] = (number as u16).to_le_bytes();
            if let Some(place) = self.plain.get_mut(2..4) {
                place.copy_from_slice(&[high, low]);
            }
            if let Some(room) = own.get_mut(..self.plain.len()) {
                room.copy_from_slice(&self.plain);
            }
            bare.copy_from_slice(&self.plain);
        }
    }

    /// Times of protecting, of forgeries, and of unprotecting.
    fn own(&mut self) -> Result<[Duration; 3]> {
        let len = self.plain.len();
        let start = Instant::now();
        for packet in &mut self.own {
            black_box(self.sender.protect_rtp(black_box(packet), len))?;
        }
        let protect = start.elapsed();
        self.forge();
        let start = Instant::now();
        for packet in &mut self.forged {
            if self.receiver.unprotect_rtp(black_box(packet)).is_ok() {
                return Err("a forgery was opened".into());
            }
        }
        let forged = start.elapsed();
        let start = Instant::now();
        for packet in &mut self.own {
            black_box(self.receiver.unprotect_rtp(black_box(packet)))?;
        }
        Ok([protect, start.elapsed(), forged])
    }

    /// Copies of what was protected, with a bit changed.
    fn forge(&mut self) {
        for (forged, own) in self.forged.iter_mut().zip(&self.own) {
            forged.copy_from_slice(own);
            if let Some(byte) = forged.get_mut(HEADER) {
                *byte ^= 1;
            }
        }
    }

    fn bare(&mut self) -> Result<[Duration; 3]> {
        let start = Instant::now();
        for (number, (packet, place)) in (self.index..).zip(&mut self.bare) {
            let (header, body) = black_box(packet).split_at_mut(HEADER);
            let sealed = self.key.seal_in_place_separate_tag(nonce(number), Aad::from(&*header), body);
            place.copy_from_slice(sealed.map_err(|_| "not sealed")?.as_ref());
        }
        let seal = start.elapsed();
        for ((packet, tag), (copy, other)) in self.bare.iter().zip(&mut self.bare_forged) {
            copy.copy_from_slice(packet);
            other.copy_from_slice(tag);
            if let Some(byte) = copy.get_mut(HEADER) {
                *byte ^= 1;
            }
        }
        let start = Instant::now();
        for (number, (packet, tag)) in (self.index..).zip(&mut self.bare_forged) {
            let (header, body) = black_box(packet).split_at_mut(HEADER);
            let opened = self.key.open_in_place_separate_tag(nonce(number), Aad::from(&*header), tag, body);
            if opened.is_ok() {
                return Err("a forgery was opened".into());
            }
        }
        let fail = start.elapsed();
        let start = Instant::now();
        for (number, (packet, tag)) in (self.index..).zip(&mut self.bare) {
            let (header, body) = black_box(packet).split_at_mut(HEADER);
            let opened = self.key.open_in_place_separate_tag(nonce(number), Aad::from(&*header), tag, body);
            let _ = black_box(opened.map_err(|_| "not opened")?);
        }
        Ok([seal, start.elapsed(), fail])
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    if let Some(place) = bytes.get_mut(4..) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    Nonce::assume_unique_for_key(bytes)
}

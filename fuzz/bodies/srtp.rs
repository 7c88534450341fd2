//! SRTP and SRTCP from anybody: no panic, no state that grows, and nothing opens that was not sealed.
#![allow(clippy::panic, clippy::unwrap_used)]

use msm_auth::srtp::{MasterKey, Opened, Receiver, ReceiverOptions, Sender, SenderOptions, SrtpError, Suite};

const MKI_LENGTHS: [usize; 3] = [0, 1, 4];

/// Takes `data` as one packet, as it is and as what a sender seals.
pub fn run(data: &[u8]) {
    for suite in Suite::ALL {
        for mki_len in MKI_LENGTHS {
            let (mut sender, mut receiver) = pair(suite, mki_len);
            let before = format!("{receiver:?}");
            for open in [Receiver::unprotect_rtp, Receiver::unprotect_rtcp] {
                let mut packet = data.to_vec();
                let opened = open(&mut receiver, &mut packet);
                assert!(opened.is_err(), "{suite:?} opens {} bytes that nobody sealed", data.len());
            }
            assert_eq!(format!("{receiver:?}"), before, "{suite:?}");

            let overhead = sender.rtp_overhead();
            sealed(data, overhead, &mut sender, Sender::protect_rtp, &mut receiver, Receiver::unprotect_rtp);
            let overhead = sender.rtcp_overhead();
            sealed(
                data,
                overhead,
                &mut sender,
                Sender::protect_rtcp,
                &mut receiver,
                Receiver::unprotect_rtcp,
            );
        }
    }
}

/// What is sealed opens as it was, once, and not with a bit changed.
fn sealed(
    data: &[u8],
    overhead: usize,
    sender: &mut Sender,
    protect: fn(&mut Sender, &mut [u8], usize) -> Result<usize, SrtpError>,
    receiver: &mut Receiver,
    open: fn(&mut Receiver, &mut [u8]) -> Result<Opened, SrtpError>,
) {
    let mut packet = data.to_vec();
    packet.resize(data.len() + overhead, 0);
    let Ok(len) = protect(sender, &mut packet, data.len()) else { return };
    assert_eq!(len, data.len() + overhead);
    let mut changed = packet.clone();
    // Which bit, the data says.
    let bit = data.iter().fold(0, |bit: usize, byte| bit.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    if let Some(byte) = changed.get_mut(bit / 8 % len) {
        *byte ^= 1 << (bit % 8);
    }
    assert!(open(receiver, &mut changed).is_err(), "bit {bit}");
    let mut replayed = packet.clone();
    let opened = open(receiver, &mut packet).unwrap();
    assert_eq!(packet.get(..opened.len), Some(data));
    assert_eq!(open(receiver, &mut replayed), Err(SrtpError::Replayed));
}

fn pair(suite: Suite, mki_len: usize) -> (Sender, Receiver) {
    let material: Vec<u8> = (0x30..).take(suite.key_len() + suite.salt_len()).collect();
    let key = MasterKey::from_bytes(suite, &material).unwrap();
    let mki = vec![1; mki_len];
    let mut sender = Sender::new(SenderOptions { mki_len, ..Default::default() });
    let options = ReceiverOptions { mki_len, allow_unencrypted_rtcp: true, ..Default::default() };
    let mut receiver = Receiver::new(options);
    sender.install(&key, &mki).unwrap();
    sender.switch(&mki).unwrap();
    receiver.install(&key, &mki).unwrap();
    (sender, receiver)
}

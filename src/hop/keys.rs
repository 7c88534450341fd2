//! Keys of a hop's flows, from the TLS connection that both members hold.

use msm_auth::srtp::{MasterKey, Suite};
use msm_core::hop::Label;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::net::tcp::Connection;

/// The exporter's label. RFC 5705 §4 lets anybody use those that begin with `EXPERIMENTAL`.
const EXPORTER: &[u8] = b"EXPERIMENTAL-msm-hop-1";

/// The suite between members: hardware does it, and the peer of nearly every deployment has that hardware.
pub(crate) const SUITE: Suite = Suite::AeadAes128Gcm;

/// Bytes of the MKI: the epoch's low bits. Few epochs live at a time, so they cannot be mistaken.
pub(crate) const MKI_BYTES: usize = 1;

/// What protection adds to an RTP packet.
pub(crate) const RTP_OVERHEAD: usize = SUITE.rtp_tag_len() + MKI_BYTES;

/// What protection adds to an RTCP packet: tag, index word, MKI.
pub(crate) const RTCP_OVERHEAD: usize = SUITE.rtcp_tag_len() + 4 + MKI_BYTES;

/// Which side of the TLS connection sends a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The side that opened the association.
    FromDialler,
    /// The side that accepted it.
    FromAcceptor,
}

/// What tells the keys of one flow from all others of its association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowKey {
    /// The session's, or the association's for its control flow.
    pub(crate) token: u64,
    /// What the receiving side calls the flow.
    pub(crate) label: Label,
    pub(crate) direction: Direction,
}

impl FlowKey {
    /// The context of the exporter: each part with its length before it, so that no two lists of parts give the same bytes.
    fn context(&self, epoch: u32) -> Vec<u8> {
        let direction: &[u8] = match self.direction {
            Direction::FromDialler => b"dialler",
            Direction::FromAcceptor => b"acceptor",
        };
        let mut context = Vec::with_capacity(64);
        for part in [
            &self.token.to_be_bytes()[..],
            &self.label.ssrc().to_be_bytes(),
            direction,
            &epoch.to_be_bytes(),
            SUITE.name().as_bytes(),
        ] {
            context.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            context.extend_from_slice(part);
        }
        context
    }

    /// The flow's key in the epoch that `connection` is.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the handshake is not done, or the connection has no TLS.
    pub(crate) fn derive(&self, connection: &Connection, epoch: u32) -> Result<MasterKey, Error> {
        let mut material = Zeroizing::new([0u8; SUITE.key_len() + SUITE.salt_len()]);
        let tls = connection.tls().ok_or(Error::Stopped)?;
        tls.export_keying_material(EXPORTER, Some(&self.context(epoch)), &mut material[..])
            .map_err(|_| Error::Stopped)?;
        MasterKey::from_bytes(SUITE, &material[..]).map_err(|_| Error::Stopped)
    }
}

/// The MKI of an epoch.
pub(crate) fn mki(epoch: u32) -> [u8; MKI_BYTES] {
    let [.., low] = epoch.to_be_bytes();
    [low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_flows_or_epochs_have_one_context() {
        let label = |ssrc| Label::from_ssrc(ssrc);
        let of =
            |token, ssrc, direction, epoch| FlowKey { token, label: label(ssrc), direction }.context(epoch);
        let one = of(1, 2, Direction::FromDialler, 3);
        assert_eq!(one.len(), 5 + 8 + 4 + 7 + 4 + 16);
        for other in [
            of(2, 2, Direction::FromDialler, 3),
            of(1, 3, Direction::FromDialler, 3),
            of(1, 2, Direction::FromAcceptor, 3),
            of(1, 2, Direction::FromDialler, 4),
        ] {
            assert_ne!(one, other);
        }
    }
}

//! The choice among the transports that a client offers.

use crate::transport::{Delivery, Lower, Mode, TransportSpec};

/// What a listener can do for this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// UDP to the client's ports without encryption; with it there is no need to ask.
    pub udp: bool,
    /// Interleaved in the connection.
    pub tcp: bool,
    /// A group.
    pub multicast: bool,
    /// Whether it can be SRTP.
    pub srtp: Srtp,
}

/// Whether a track's packets are SRTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Srtp {
    /// They are not: nobody has a key.
    #[default]
    Never,
    /// They are if the client asks for it.
    IfAsked,
    /// They are, as they were described so. A client that names the plain profile gets them all the same: ffmpeg takes
    /// the keys of the description, and asks for `RTP/AVP`.
    Always,
}

/// The first transport of the client's list that can be served, or 461 (`RFC 2326 §11.3.14`).
///
/// What only the server may say is taken out of the client's words: `destination` and `dest_addr` addresses, or anybody
/// could have media sent to somebody else (`RFC 2326 §16`, `RFC 7826 §21.2.1`), `source`, `server_port`, `ssrc`. Media
/// goes to the address that the request came from.
///
/// # Errors
/// 461: none can be served, nothing in the header is a transport, or there is no Transport header.
pub fn negotiate(header: Option<&str>, offer: Offer) -> Result<TransportSpec, u16> {
    let specs = TransportSpec::parse_list(header.ok_or(461_u16)?);
    let is_secure = |spec: &TransportSpec| !spec.is_plain() || offer.srtp == Srtp::Always;
    let usable = |spec: &&TransportSpec| {
        (offer.srtp != Srtp::Never || spec.is_plain())
            && match (spec.lower, spec.delivery) {
                (Lower::Udp, Delivery::Unicast) => {
                    // RTCP gets a port of its own, which whoever names one and means both does not listen to.
                    let no_rtcp = spec.rtcp_mux && spec.single_port;
                    let may = offer.udp || is_secure(spec);
                    may && !no_rtcp && spec.client_port.is_some_and(|ports| ports.0 != 0)
                }
                (Lower::Udp, Delivery::Multicast) => {
                    offer.multicast && !is_secure(spec) && spec.mode == Mode::Play
                }
                (Lower::Tcp, Delivery::Unicast) => offer.tcp && !spec.own_connection,
                (Lower::Tcp, Delivery::Multicast) => false,
            }
    };
    let chosen = specs.iter().find(usable).cloned().ok_or(461_u16)?;
    let profile = if is_secure(&chosen) { chosen.profile.secure() } else { chosen.profile };
    Ok(TransportSpec { profile, destination: None, source: None, server_port: None, ssrc: None, ..chosen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    const ALL: Offer = Offer { udp: true, tcp: true, multicast: true, srtp: Srtp::Never };

    #[test]
    fn the_server_s_words_are_not_taken_from_the_client() {
        for header in [
            "RTP/AVP;unicast;destination=203.0.113.7;source=203.0.113.8;client_port=2-3;server_port=4-5;ssrc=1",
            "RTP/AVP;unicast;dest_addr=\"203.0.113.7:2\"/\"203.0.113.7:3\";src_addr=\"203.0.113.8:4\"/\":5\"",
        ] {
            let spec = negotiate(Some(header), ALL).unwrap();
            assert_eq!(spec.client_port, Some((2, 3)));
            assert_eq!(
                (spec.destination, spec.source, spec.server_port, spec.ssrc),
                (None, None, None, None)
            );
        }
        assert_eq!(
            negotiate(Some("RTP/AVP;multicast;destination=239.9.9.9"), ALL).unwrap().destination,
            None
        );
    }

    #[test]
    fn the_first_that_can_be_served_is_taken() {
        let header = "RTP/SAVP;unicast;client_port=4-5,RTP/AVP;multicast,RTP/AVP/TCP;interleaved=0-1";
        assert_eq!(negotiate(Some(header), ALL).unwrap().delivery, Delivery::Multicast);
        assert_eq!(negotiate(Some(header), Offer { multicast: false, ..ALL }).unwrap().lower, Lower::Tcp);
        assert_eq!(negotiate(Some(header), Offer { multicast: false, tcp: false, ..ALL }), Err(461));
        assert_eq!(negotiate(None, ALL), Err(461));
        assert_eq!(negotiate(Some("RTP/AVP;unicast"), ALL), Err(461));
        assert_eq!(negotiate(Some("RTP/AVP;unicast;client_port=0-1"), ALL), Err(461));
        assert_eq!(negotiate(Some("RTP/AVP;multicast;mode=record"), ALL), Err(461));
    }

    #[test]
    fn srtp_is_served_where_there_are_keys() {
        let plain = "RTP/AVP;unicast;client_port=2-3";
        let both = format!("RTP/SAVPF;unicast;client_port=4-5,{plain}");
        let tls = |srtp| Offer { udp: false, tcp: true, multicast: true, srtp };
        let chosen =
            |header: &str, offer| negotiate(Some(header), offer).map(|spec| (spec.profile, spec.lower));
        assert_eq!(chosen(&both, ALL), Ok((Profile::Avp, Lower::Udp)));
        assert_eq!(chosen(&both, tls(Srtp::Never)), Err(461));
        assert_eq!(chosen(&both, tls(Srtp::IfAsked)), Ok((Profile::Savpf, Lower::Udp)));
        assert_eq!(chosen(plain, tls(Srtp::IfAsked)), Err(461), "nothing in the clear next to TLS");
        assert_eq!(chosen(plain, tls(Srtp::Always)), Ok((Profile::Savp, Lower::Udp)));
        let tcp = "RTP/AVPF/TCP;interleaved=0-1";
        assert_eq!(chosen(tcp, tls(Srtp::IfAsked)), Ok((Profile::Avpf, Lower::Tcp)));
        assert_eq!(chosen(tcp, tls(Srtp::Always)), Ok((Profile::Savpf, Lower::Tcp)));
        let group = "RTP/SAVP;multicast,RTP/AVP;multicast";
        assert_eq!(chosen(group, tls(Srtp::IfAsked)), Ok((Profile::Avp, Lower::Udp)));
        assert_eq!(chosen(group, tls(Srtp::Always)), Err(461), "a group's readers have no key in common");
    }

    #[test]
    fn a_connection_for_the_media_is_not_this_one() {
        for own in
            [";dest_addr=\":9\"/\":9\";setup=active;connection=new", ";setup=active", ";connection=new"]
        {
            let header = format!("RTP/AVP/TCP;unicast{own}");
            assert_eq!(negotiate(Some(&header), ALL), Err(461), "{header}");
            let header = format!("{header},RTP/AVP/TCP;unicast;interleaved=2-3;connection=existing");
            assert_eq!(negotiate(Some(&header), ALL).unwrap().interleaved, Some((2, 3)), "{header}");
        }
    }

    #[test]
    fn rtcp_goes_to_no_port_that_was_not_named() {
        for one in ["dest_addr=\":4588\"", "client_port=4588"] {
            for header in
                [format!("RTP/AVP;unicast;{one};RTCP-mux"), format!("RTP/AVP;unicast;RTCP-mux;{one}")]
            {
                assert_eq!(negotiate(Some(&header), ALL), Err(461), "{header}");
            }
        }
        let both = "RTP/AVP;unicast;dest_addr=\":4588\"/\":4589\";RTCP-mux";
        assert_eq!(negotiate(Some(both), ALL).unwrap().client_port, Some((4588, 4589)));
        assert_eq!(negotiate(Some("RTP/AVP;client_port=2"), ALL).unwrap().client_port, Some((2, 3)));
    }
}

//! What the answers of servers mean.

use crate::error::MessageError;
use crate::limits::Limits;
use crate::message::Response;
use crate::sdp::{Description, SdpError};
use crate::transport::TransportSpec;
use crate::url::{ControlPolicy, RtspUrl, check_control, join_control};

/// A presentation as its server describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The description.
    pub description: Description,
    /// The URL for PLAY, PAUSE and TEARDOWN.
    pub aggregate: String,
    /// The URL for each track's SETUP.
    pub setup: Vec<String>,
}

/// Reads the answer to DESCRIBE, asked at `url`. Base of relative controls is Content-Base, then Content-Location,
/// then the URL asked for (`RFC 2326 App. C.1.1`); that of tracks is the presentation's own control where it is an
/// absolute URL, as ffmpeg has it.
///
/// # Errors
/// The description is refused, or a control in it.
pub fn described(
    response: &Response,
    url: &RtspUrl,
    policy: ControlPolicy,
    limits: &Limits,
) -> Result<Described, SdpError> {
    let description = Description::parse(&response.body, limits)?;
    let controls = description.tracks.iter().map(|track| track.control.as_deref());
    for control in controls.chain([description.control.as_deref()]).flatten() {
        check_control(control)
            .map_err(|_| SdpError::BadControl { control: control.chars().take(40).collect() })?;
    }
    let absolute = |value: &str| RtspUrl::parse(value).is_ok().then(|| value.to_owned());
    let base = response
        .headers
        .get("Content-Base")
        .and_then(absolute)
        .or_else(|| response.headers.get("Content-Location").and_then(absolute))
        .unwrap_or_else(|| url.to_string());
    let aggregate = match description.control.as_deref() {
        None | Some("*" | "") => base.clone(),
        Some(control) => join_control(&base, control, policy),
    };
    let is_absolute = description.control.as_deref().is_some_and(|control| RtspUrl::parse(control).is_ok());
    let track_base = if is_absolute { &aggregate } else { &base };
    let setup = description
        .tracks
        .iter()
        .map(|track| match track.control.as_deref() {
            // A presentation with one track may have no control for it.
            None => track_base.clone(),
            Some(control) => join_control(track_base, control, policy),
        })
        .collect();
    Ok(Described { description, aggregate, setup })
}

/// The transport that a server chose.
///
/// # Errors
/// The answer has no RTP transport.
pub fn setup_answer(response: &Response) -> Result<TransportSpec, MessageError> {
    let value = response.headers.get("Transport").unwrap_or_default();
    TransportSpec::parse_list(value).into_iter().next().ok_or(MessageError::BadHeader {
        line: 0,
        reason: "the answer to SETUP has no Transport that is RTP",
    })
}

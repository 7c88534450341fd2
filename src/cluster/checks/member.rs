//! Whether RTP of a stream comes from another member.

use std::time::Duration;

use msm_core::cluster::CheckFailure;
use msm_rtsp::client::Described;
use msm_rtsp::message::{Method, Request};

use super::ask::Failed;
use super::flow::best;
use crate::hop::inlet::Target;
use crate::hop::pull::{Coming, Member, Wanted};

/// How often it is looked whether something came.
const LOOK: Duration = Duration::from_millis(10);

/// A session that is left whatever ends the check: the association outlives it.
struct Leaving {
    member: Member,
    aggregate: String,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.member.leave(&self.aggregate);
    }
}

/// Reads one track of the stream, unprotected against loss, until a genuine packet has come: one of now, as the member may have kept a
/// keyframe of a source that is dead.
pub(super) async fn flows(
    member: Member,
    described: &Described,
    until: tokio::time::Instant,
) -> Result<(), Failed> {
    let url = described.setup.get(best(&described.description.tracks)).ok_or(CheckFailure::Protocol)?;
    let mut session = Leaving { member, aggregate: described.aggregate.clone() };
    let flowing = async {
        // What comes is counted by the flow itself, and is for nobody.
        let (coming, answer) = session.member.set_up(url, "", Target::Nobody, Wanted::Fresh, None)?;
        let played = session.member.ask(Request::new(Method::Play, session.aggregate.clone()));
        let Coming { inlet, .. } = coming;
        let answer = answer.await?;
        let _back = session.member.set_outlet(&answer, &inlet)?;
        session.member.set_session(answer.session);
        played.await?;
        while inlet.report().is_none() {
            tokio::time::sleep(LOOK).await;
        }
        Ok::<_, Failed>(())
    };
    tokio::time::timeout_at(until, flowing).await.unwrap_or(Err(CheckFailure::Silent.into()))
}

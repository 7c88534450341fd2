//! A source on a mesh hop: a session with another member, and its flows.

use std::rc::Rc;
use std::time::{Duration, Instant};

use msm_rtsp::client::Described;
use msm_rtsp::message::{Method, Request};

use super::inlet::{Inlet, Target};
use super::outlet::Outlet;
use super::protect::{self, ReceivePlan};
use super::pull::{Coming, Member, Wanted};
use crate::error::Error;
use crate::hub::dest::Dest;
use crate::hub::handle::{ParameterAnswer, ParameterRequest, PlayAnswer, PlayRequest};
use crate::hub::home::Home;
use crate::upstream::play;
use crate::upstream::pull::source::{Lost, Making, Reason};

/// See the [module](self).
pub(crate) struct MemberSource {
    making: Rc<Making>,
    member: Member,
    described: Described,
    home: Option<Rc<Home>>,
    flows: Vec<(Rc<Inlet>, Rc<Outlet>)>,
}

impl MemberSource {
    pub(crate) fn new(making: Rc<Making>, member: Member, described: Described) -> Self {
        Self { making, member, described, home: None, flows: Vec::new() }
    }

    pub(crate) fn name(&self) -> String {
        self.member.url.to_string()
    }

    pub(crate) fn described(&self) -> &Described {
        &self.described
    }

    pub(crate) fn attach(&mut self, home: &Rc<Home>) {
        for (track, (inlet, outlet)) in self.flows.iter().enumerate() {
            inlet.set_target(Target::Media { home: Rc::downgrade(home), track });
            home.set_secure(track, Dest::Hop(Rc::clone(outlet)), None, 0);
        }
        for track in 0..self.described.setup.len() {
            // The hop has means of its own.
            home.set_mend(track, None);
        }
        self.home = Some(Rc::clone(home));
    }

    pub(crate) fn detach(&mut self) {
        for (inlet, _) in &self.flows {
            inlet.set_target(Target::Nobody);
        }
    }

    /// Sets the tracks up and plays, in one go.
    pub(crate) async fn play(&mut self, request: &PlayRequest, first: bool) -> Result<PlayAnswer, Error> {
        let home = self.home.clone().ok_or(Error::StreamEnded)?;
        let mut pending = Vec::new();
        if self.flows.is_empty() {
            for (track, url) in self.described.setup.iter().enumerate() {
                let target = Target::Media { home: Rc::downgrade(&home), track };
                let plan = self.receive_plan(track);
                let wanted = plan
                    .as_ref()
                    .map_or(Wanted::Nothing, |plan| Wanted::Received(protect::wishes(&plan.protection)));
                let paths = self.making.protection().paths.mode();
                let (coming, answer) = self.member.set_up(url, "", target, wanted, paths)?;
                let Coming { inlet, beside } = coming;
                // Media may overtake the answer.
                if let (Some(beside), Some(plan)) = (beside, plan) {
                    protect::receive(&inlet, beside, plan);
                }
                pending.push((inlet, answer));
            }
        }
        let headers = play::headers(request, self.making.handle.unshared, first);
        let asked = headers
            .iter()
            .fold(Request::new(Method::Play, self.described.aggregate.clone()), |asked, (name, value)| {
                asked.with(name, value)
            });
        // All are on their way before the first answer comes.
        let played = self.member.ask(asked);
        for (track, (inlet, answer)) in pending.into_iter().enumerate() {
            let answer = answer.await?;
            match answer.header.latency {
                Some(latency) => {
                    inlet.agree(Duration::from_millis(latency.into()));
                    if let Some(first) = answer.header.first {
                        inlet.begin(first);
                    }
                }
                None => inlet.unprotect(Instant::now()),
            }
            let outlet = self.member.set_outlet(&answer, &inlet)?;
            home.set_secure(track, Dest::Hop(Rc::clone(&outlet)), None, 0);
            self.member.set_session(answer.session);
            self.flows.push((inlet, outlet));
        }
        let answer = play::answer(&played.await?, &self.described);
        home.handle_rtp_info(Instant::now(), &answer.rtp_info);
        Ok(answer)
    }

    pub(crate) async fn pause(&mut self) -> Result<(), Error> {
        let request = Request::new(Method::Pause, self.described.aggregate.clone());
        self.member.ask(request).await.map(|_| ())
    }

    pub(crate) async fn parameter(&mut self, request: ParameterRequest) -> Result<ParameterAnswer, Error> {
        let method = if request.set { Method::SetParameter } else { Method::GetParameter };
        let kind = request.content_type.unwrap_or_else(|| "text/parameters".into());
        let asked = Request::new(method, self.described.aggregate.clone()).with_body(&kind, request.body);
        match self.member.ask(asked).await {
            Ok(response) => Ok(ParameterAnswer {
                status: response.status,
                content_type: response.headers.get("Content-Type").map(str::to_owned),
                body: response.body.to_vec(),
            }),
            Err(Error::UpstreamStatus { status, .. }) => {
                Ok(ParameterAnswer { status, content_type: None, body: Vec::new() })
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn next(&mut self) -> Lost {
        self.member.ended().await;
        self.look_after().err().unwrap_or_else(|| Lost::new(Reason::Ended, "the member ended it"))
    }

    pub(crate) fn look_after(&self) -> Result<(), Lost> {
        if self.member.peer.association.has_ended() {
            return Err(Lost::new(Reason::Reset, "the member is gone"));
        }
        Ok(())
    }

    pub(crate) fn leave(self) {
        self.member.leave(&self.described.aggregate);
    }

    /// How a track is to be protected, if its sender offers that.
    fn receive_plan(&self, track: usize) -> Option<ReceivePlan> {
        let described = self.described.description.tracks.get(track)?;
        protect::receive_plan(described, self.making.protection(), None, &self.making.handle.name)
    }
}

impl Drop for MemberSource {
    fn drop(&mut self) {
        // What still comes has nobody to go to.
        self.detach();
    }
}

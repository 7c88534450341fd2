//! The states of a session (`RFC 2326 App. A.2`), as a table.

use std::time::Duration;

use rtsp_types::Method;

use crate::headers::SessionHeader;
use crate::transport::Mode;

/// An identifier that cannot be guessed.
pub type SessionId = String;

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Tracks are set up, nothing flows.
    Ready,
    /// The client reads.
    Playing,
    /// The client publishes.
    Recording,
}

/// One session, from its first SETUP to its TEARDOWN.
#[derive(Clone, Debug)]
pub struct Session {
    id: SessionId,
    timeout: Duration,
    mode: Mode,
    state: State,
    tracks: Vec<usize>,
}

impl Session {
    /// A session whose first track is being set up. `random` are at least 64 bits that cannot be guessed
    /// (`RFC 7826 §4.3`).
    #[must_use]
    pub fn new(random: u128, timeout: Duration, mode: Mode) -> Self {
        Self { id: format!("{random:032x}"), timeout, mode, state: State::Ready, tracks: Vec::new() }
    }

    /// The identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The Session header of answers.
    #[must_use]
    pub fn header(&self) -> String {
        SessionHeader { id: self.id.clone(), timeout: self.timeout }.write()
    }

    /// To read or to publish.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The tracks that were set up.
    #[must_use]
    pub fn tracks(&self) -> &[usize] {
        &self.tracks
    }

    /// Whether `method` may come now.
    ///
    /// | state | allowed |
    /// |---|---|
    /// | Ready | SETUP, TEARDOWN, and PLAY of a reader or RECORD of a publisher |
    /// | Playing | PLAY (resume, seek), PAUSE, TEARDOWN |
    /// | Recording | RECORD, PAUSE, TEARDOWN |
    ///
    /// # Errors
    /// 455: not valid in this state.
    pub fn check(&self, method: &Method) -> Result<(), u16> {
        let allowed = match (method, self.state) {
            (Method::Setup, State::Ready) | (Method::Teardown, _) => true,
            (Method::Play, State::Ready | State::Playing) => {
                self.mode == Mode::Play && !self.tracks.is_empty()
            }
            (Method::Record, State::Ready | State::Recording) => {
                self.mode == Mode::Record && !self.tracks.is_empty()
            }
            (Method::Pause, State::Playing | State::Recording) => true,
            (Method::GetParameter | Method::SetParameter | Method::Options | Method::Describe, _) => true,
            _ => false,
        };
        if allowed { Ok(()) } else { Err(455) }
    }

    /// Whether `method` may act on `track` alone; `None` is the whole presentation, which is always allowed here.
    ///
    /// Tracks are played, paused and recorded together: their clocks are one (`RFC 2326 §10.5`). One of several may be
    /// torn down while nothing flows (`RFC 7826 §13.7.1`).
    ///
    /// # Errors
    /// 404: the track is not set up. 460: only all tracks together.
    pub fn check_target(&self, method: &Method, track: Option<usize>) -> Result<(), u16> {
        let Some(track) = track else { return Ok(()) };
        if !self.tracks.contains(&track) {
            return if *method == Method::Setup { Ok(()) } else { Err(404) };
        }
        let together = match method {
            Method::Play | Method::Pause | Method::Record => true,
            Method::Teardown => self.state != State::Ready,
            _ => false,
        };
        if together && self.tracks.len() > 1 { Err(460) } else { Ok(()) }
    }

    /// A track was torn down alone; whether others are left. Without any the session is over.
    pub fn torn_down(&mut self, track: usize) -> bool {
        self.tracks.retain(|own| *own != track);
        !self.tracks.is_empty()
    }

    /// A track was set up.
    ///
    /// # Errors
    /// 455 for a mode other than the session's, or a track that is set up already: its transport is not changed.
    pub fn set_up(&mut self, track: usize, mode: Mode) -> Result<(), u16> {
        if mode != self.mode || self.tracks.contains(&track) {
            return Err(455);
        }
        self.tracks.push(track);
        Ok(())
    }

    /// `method` succeeded.
    pub fn done(&mut self, method: &Method) {
        match method {
            Method::Play => self.state = State::Playing,
            Method::Record => self.state = State::Recording,
            Method::Pause => self.state = State::Ready,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_come_in_their_order() {
        let mut session = Session::new(7, Duration::from_secs(60), Mode::Play);
        assert!(session.id().len() >= 16);
        assert_eq!(session.header(), format!("{};timeout=60", session.id()));
        assert_eq!(session.check(&Method::Play), Err(455));
        session.set_up(0, Mode::Play).unwrap();
        assert_eq!(session.set_up(0, Mode::Play), Err(455));
        assert_eq!(session.set_up(1, Mode::Record), Err(455));
        assert_eq!(session.check(&Method::Pause), Err(455));
        assert_eq!(session.check(&Method::Record), Err(455));
        session.check(&Method::Play).unwrap();
        session.done(&Method::Play);
        assert_eq!(session.check(&Method::Setup), Err(455));
        session.check(&Method::Pause).unwrap();
        session.done(&Method::Pause);
        assert_eq!(session.state(), State::Ready);
        session.check(&Method::Teardown).unwrap();
    }

    /// Every method in every state, so that no change of the table goes unseen.
    #[test]
    fn the_table_is_complete() {
        let methods = [
            Method::Setup,
            Method::Play,
            Method::Pause,
            Method::Record,
            Method::Teardown,
            Method::Announce,
            Method::GetParameter,
            Method::SetParameter,
            Method::Options,
            Method::Describe,
        ];
        let session = |mode, through: &[Method]| {
            let mut session = Session::new(7, Duration::from_secs(60), mode);
            session.set_up(0, mode).unwrap();
            for method in through {
                session.check(method).unwrap();
                session.done(method);
            }
            session
        };
        for (mode, through, allowed) in [
            //                                                           S  P  Pa R  T  A  G  Se O  D
            (Mode::Play, &[][..], [1, 1, 0, 0, 1, 0, 1, 1, 1, 1]),
            (Mode::Play, &[Method::Play], [0, 1, 1, 0, 1, 0, 1, 1, 1, 1]),
            (Mode::Play, &[Method::Play, Method::Pause], [1, 1, 0, 0, 1, 0, 1, 1, 1, 1]),
            (Mode::Record, &[], [1, 0, 0, 1, 1, 0, 1, 1, 1, 1]),
            (Mode::Record, &[Method::Record], [0, 0, 1, 1, 1, 0, 1, 1, 1, 1]),
            (Mode::Record, &[Method::Record, Method::Pause], [1, 0, 0, 1, 1, 0, 1, 1, 1, 1]),
        ] {
            let session = session(mode, through);
            for (method, allowed) in methods.iter().zip(allowed) {
                let expected = if allowed == 1 { Ok(()) } else { Err(455) };
                assert_eq!(session.check(method), expected, "{method:?} of {mode:?} after {through:?}");
            }
        }
    }

    #[test]
    fn tracks_go_together() {
        let mut session = Session::new(7, Duration::from_secs(60), Mode::Play);
        session.set_up(0, Mode::Play).unwrap();
        assert_eq!(session.check_target(&Method::Play, Some(0)), Ok(()), "the only track is all of them");
        assert_eq!(session.check_target(&Method::Play, Some(1)), Err(404));
        assert_eq!(session.check_target(&Method::Setup, Some(1)), Ok(()));
        session.set_up(1, Mode::Play).unwrap();
        assert_eq!(session.check_target(&Method::Play, Some(0)), Err(460));
        assert_eq!(session.check_target(&Method::Play, None), Ok(()));
        session.done(&Method::Play);
        assert_eq!(session.check_target(&Method::Pause, Some(1)), Err(460));
        assert_eq!(session.check_target(&Method::Teardown, Some(1)), Err(460));
        session.done(&Method::Pause);
        assert_eq!(session.check_target(&Method::Teardown, Some(1)), Ok(()));
        assert!(session.torn_down(1));
        assert_eq!(session.tracks(), [0]);
        assert!(!session.torn_down(0));
    }
}

//! Whose turn it is to serve: this process's, or that of one that took over from it.

use super::{Gone, Member};
use crate::admin::AdminHandle;
use msm::upgrade::Successor;
use std::pin::Pin;
use tracing::warn;

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// This process.
    Own,
    /// Another one.
    Another,
    /// Nobody, as another one did and was asked to end.
    Nobody,
}

/// Whose turn it is, and the admin servers, which go with it.
pub(super) struct Turn<'a, M: Member> {
    member: &'a M,
    admin: AdminHandle,
    whose: Whose,
    /// Another process that asks; none while one has the sockets.
    next: Option<Pin<Box<dyn Future<Output = Successor> + 'a>>>,
    /// This process was asked to end.
    ends: bool,
}

/// What has happened.
pub(super) enum Change {
    Asked(Successor),
    Gone(Gone),
}

impl<'a, M: Member> Turn<'a, M> {
    pub(super) fn new(member: &'a M, admin: AdminHandle) -> Self {
        let mut turn = Self { member, admin, whose: Whose::Own, next: None, ends: false };
        turn.wait();
        turn
    }

    /// Another process may ask from now on.
    fn wait(&mut self) {
        let own = self.admin.sockets().unwrap_or_else(|error| {
            warn!(%error, "another process would have to wait for the admin servers' ports");
            Vec::new()
        });
        self.next = Some(Box::pin(self.member.successor(own)));
    }

    /// This process was asked to end, or has nothing left to do: it may be followed, but is not ready for anybody new.
    pub(super) fn end(&mut self) {
        self.ends = true;
        self.admin.set_draining(true);
        self.member.will_end();
    }

    /// Waits until another process is ready to serve, or the one that serves is gone. Cancel safe.
    pub(super) async fn changes(&mut self) -> Change {
        match &mut self.next {
            Some(next) => Change::Asked(next.await),
            None => Change::Gone(self.member.gone().await),
        }
    }

    /// Does what that takes; whose turn it is then. Not to be cancelled.
    pub(super) async fn change(&mut self, change: Change) -> Whose {
        match change {
            Change::Asked(successor) => {
                self.next = None;
                self.admin.pause().await;
                if self.member.hand_over(successor).await {
                    self.whose = Whose::Another;
                    return self.whose;
                }
            }
            Change::Gone(Gone::Lost) => self.whose = Whose::Own,
            Change::Gone(Gone::Left) => self.whose = Whose::Nobody,
        }
        self.admin.set_draining(self.ends || self.whose == Whose::Nobody);
        self.admin.go_on();
        self.wait();
        self.whose
    }
}

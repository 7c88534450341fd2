//! What peers want to do with streams.

use std::fmt;

/// What a peer wants to do with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// DESCRIBE, SETUP, PLAY, PAUSE.
    Read,
    /// ANNOUNCE, SETUP, RECORD.
    Publish,
}

impl Action {
    /// `read` or `publish`, as in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Publish => "publish",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of [`Action`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions {
    /// Readers are routed.
    pub read: bool,
    /// Publishers are routed.
    pub publish: bool,
}

impl Actions {
    /// Both.
    pub const ALL: Actions = Actions { read: true, publish: true };

    /// Whether `action` is in the set.
    pub fn contains(self, action: Action) -> bool {
        match action {
            Action::Read => self.read,
            Action::Publish => self.publish,
        }
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Actions {
        let mut set = Actions { read: false, publish: false };
        for action in actions {
            match action {
                Action::Read => set.read = true,
                Action::Publish => set.publish = true,
            }
        }
        set
    }
}

//! What a new configuration has changed.

use std::fmt;

use serde::Serialize;

/// Names of one kind that a log line has at most.
const SHOWN: usize = 8;

/// What [`Mesh::reload`](crate::Mesh::reload) has changed, by name. [`Display`](fmt::Display) writes it in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Changes {
    /// Routes.
    pub routes: Difference,
    /// Whether the order of routes has changed.
    pub order: bool,
    /// Clusters.
    pub clusters: Difference,
    /// Endpoints of clusters that were there before and after: `cluster/URL`.
    pub endpoints: Difference,
    /// Listeners.
    pub listeners: Difference,
    /// Other keys, which are in force for what begins from now on.
    pub keys: Vec<String>,
    /// Keys that are not in force before a restart.
    pub restart: Vec<String>,
    /// Sessions that the new routes would not have let in, and that were ended.
    pub ended: usize,
    /// Sessions that the new routes send elsewhere, and whose clients are asked to leave.
    pub redirected: usize,
}

/// What has changed among things that have names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Those that were not there.
    pub added: Vec<String>,
    /// Those that are not there any more.
    pub removed: Vec<String>,
    /// Those that are other than they were.
    pub changed: Vec<String>,
}

impl Difference {
    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Changes {
    /// Whether nothing has changed. What takes a restart is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let all = [&self.routes, &self.clusters, &self.endpoints, &self.listeners];
        all.into_iter().all(Difference::is_empty) && !self.order && self.keys.is_empty()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let named = [
            ("routes", &self.routes),
            ("clusters", &self.clusters),
            ("endpoints", &self.endpoints),
            ("listeners", &self.listeners),
        ];
        for (what, difference) in named {
            let Difference { added, removed, changed } = difference;
            for (how, names) in [("added", added), ("removed", removed), ("changed", changed)] {
                if !names.is_empty() {
                    parts.push(format!("{what} {how}: {}", list(names)));
                }
            }
        }
        if self.order {
            parts.push("routes in another order".to_owned());
        }
        if !self.keys.is_empty() {
            parts.push(format!("keys: {}", list(&self.keys)));
        }
        if parts.is_empty() {
            parts.push("nothing".to_owned());
        }
        if self.ended > 0 {
            parts.push(format!("sessions ended: {}", self.ended));
        }
        if self.redirected > 0 {
            parts.push(format!("sessions sent elsewhere: {}", self.redirected));
        }
        f.write_str(&parts.join("; "))
    }
}

fn list(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_changed_and_stays_short() {
        let mut changes = Changes::default();
        assert!(changes.is_empty());
        assert_eq!(changes.to_string(), "nothing");
        changes.routes.added = (0..10).map(|number| format!("r{number}")).collect();
        changes.endpoints.removed = vec!["cams/rtsp://h:554".to_owned()];
        changes.restart = vec!["workers".to_owned()];
        assert!(!changes.is_empty());
        assert_eq!(
            changes.to_string(),
            "routes added: r0, r1, r2, r3, r4, r5, r6, r7 and 2 more; endpoints removed: cams/rtsp://h:554"
        );
    }
}

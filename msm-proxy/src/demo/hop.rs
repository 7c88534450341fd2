//! The hop as the members see it: who is at its ends, what protects its packets, and what brings lost ones back.

use std::time::Duration;

use msm::HopStatus;
use serde_json::{Value, json};

use super::conditions::milliseconds;
use super::members::Members;
use super::protection::{self, Totals};
use super::relay::{Direction, Passed};

/// Both members' view at one moment.
pub(crate) struct Hop {
    identity: Option<String>,
    edge: HopStatus,
    studio: Option<HopStatus>,
    passed: Option<Passed>,
}

impl Hop {
    /// `None` while there is no hop.
    pub(crate) async fn of(members: &Members) -> Option<Self> {
        let studio = members.studio.status().await.hops.into_iter().next();
        let passed = members.passed();
        let status = members.edge.status().await;
        let edge = status.hops.into_iter().next()?;
        Some(Self { identity: status.identity, edge, studio, passed })
    }

    /// What was lost, and brought back.
    pub(crate) fn totals(&self) -> Totals {
        Totals::of(&self.edge, self.studio.as_ref(), self.passed.as_ref())
    }

    /// What is done for each track, and why.
    pub(crate) fn plans(&self) -> Vec<String> {
        self.studio.as_ref().map(protection::plans).unwrap_or_default()
    }

    /// See [`Passed::late`].
    pub(crate) fn late(&self) -> Duration {
        self.passed.as_ref().map(|passed| passed.late).unwrap_or_default()
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.edge.epoch
    }

    /// For people: a few lines.
    pub(crate) fn describe(&self) -> String {
        let Self { identity, edge, .. } = self;
        let way = match edge.way.as_str() {
            "tcp" => "the TLS connection, where nothing is lost, as UDP does not pass",
            way => way,
        };
        format!(
            "  studio  {}\n  edge    {}\n  hop     {}\n  media   {} by {}, up to {} bytes, key epoch {}\n",
            edge.peer,
            identity.as_deref().unwrap_or("-"),
            edge.tls,
            edge.srtp,
            way,
            edge.max_datagram,
            edge.epoch,
        )
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "edge": self.identity,
            "studio": self.edge.peer,
            "tls": self.edge.tls,
            "srtp": self.edge.srtp,
            "epoch": self.edge.epoch,
            "way": self.edge.way,
            "max_datagram": self.edge.max_datagram,
            "rtt_ms": self.edge.rtt_ms,
            // The edge knows what came back, the studio what that took.
            "protection": self.edge.protection,
            "studio_protection": self.studio.as_ref().map(|studio| &studio.protection),
        })
    }

    /// What passed the link, in datagrams; `None` without one.
    pub(crate) fn link(&self) -> Option<Value> {
        let passed = self.passed.as_ref()?;
        let direction = |direction: &Direction| {
            let flows: Vec<Value> = direction.flows.iter().map(|(label, flow)| {
                json!({"label": label, "packets": flow.packets, "bytes": flow.bytes, "lost": flow.lost})
            }).collect();
            let all = direction.all;
            json!({"packets": all.packets, "bytes": all.bytes, "lost": all.lost, "flows": flows})
        };
        Some(json!({
            "to_edge": direction(&passed.to_edge),
            "to_studio": direction(&passed.to_studio),
            "late_ms": milliseconds(passed.late),
        }))
    }
}

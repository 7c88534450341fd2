//! Associations that other members open with this one.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use msm_auth::identity::svid::PeerIdentity;
use msm_core::hop::Label;
use msm_core::route::Protection;
use msm_rtsp::hop::{HEADER, HopHeader};
use msm_rtsp::message::Response;
use msm_rtsp::sdp::Track;

use super::association::{Association, Side};
use super::inlet::{Inlet, Target};
use super::members;
use super::outlet::Outlet;
use super::port::HopPort;
use super::protect;
use crate::error::Error;
use crate::net::tcp::Connection;
use crate::serve::session;
use crate::worker::Worker;

/// How long a member may take to come back by another connection before its sessions end.
const GRACE: Duration = Duration::from_secs(15);
/// How often the peer's identity is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Which worker each association lives on: the next connection of one may come to another.
#[derive(Default)]
pub(crate) struct AssociationDirectory(Mutex<HashMap<u64, usize>>);

impl AssociationDirectory {
    /// The worker of an association, if there is one.
    pub(crate) fn worker_of(&self, id: u64) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    /// Associations of all workers, those among them whose connection is lost and may come back.
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn insert(&self, id: u64, worker: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, worker);
    }

    fn remove(&self, id: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// Who a connection of a mesh listener is with.
pub(crate) struct Caller<'a> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) connection: &'a Rc<Connection>,
    pub(crate) identity: &'a PeerIdentity,
    pub(crate) remote: std::net::SocketAddr,
    /// The association that the connection carries already.
    pub(crate) carries: Option<u64>,
}

/// Begins an association on a connection, or goes on with one there. The answer tells our label and port.
///
/// # Errors
/// [`Error::Refused`] for a header that says too little, or an association that is somebody else's.
pub(crate) async fn begin(
    caller: Caller<'_>,
    header: &HopHeader,
) -> Result<(Response, Rc<Association>), Error> {
    let HopHeader { association: Some(id), epoch: Some(epoch), label: Some(label), port: Some(_), .. } =
        *header
    else {
        return Err(Error::Refused("Msm-Hop needs association, epoch, label and port".into()));
    };
    let Caller { worker, connection, identity, remote, carries } = caller;
    if carries.is_some_and(|carried| carried != id) {
        return Err(Error::Refused("the connection carries another association".into()));
    }
    let local = HopPort::address(worker).await?;
    let port = worker.hop_port().ok_or(Error::Stopped)?;
    let known = worker.associations.borrow().get(&id).and_then(std::rc::Weak::upgrade);
    let (association, control) = match known.filter(|known| !known.has_ended()) {
        Some(association) => {
            association.prepare(connection, epoch, identity.clone())?;
            // The dialling side opened the new epoch before it asked.
            association.switch()?;
            let control = association.control_inlet().ok_or(Error::Stopped)?;
            (association, control)
        }
        None if epoch == 1 => {
            let limit = worker.shared.admission.max_connections();
            if worker.shared.hop.associations.len() >= limit {
                return Err(Error::Capacity {
                    what: "associations with members",
                    limit,
                    key: "limits.connections",
                });
            }
            let association = Association::new(
                worker,
                &port,
                Side::Acceptor,
                id,
                identity.clone(),
                (Rc::clone(connection), epoch),
                remote,
            );
            let control = association.inlet(id, Target::Control)?;
            association.open_control(Rc::clone(&control), Label::from_ssrc(label), &[], None)?;
            enter(worker, &association);
            association.tell_connected();
            (association, control)
        }
        None => return Err(Error::Refused("the association is not known, or has ended".into())),
    };
    let answer =
        HopHeader { label: Some(control.label.ssrc()), port: Some(local.port()), ..HopHeader::default() };
    Ok((Response::new(200).with(HEADER, answer.to_string()), association))
}

/// Opens a further path of an association, or opens it anew. The answer tells our label.
///
/// # Errors
/// [`Error::Refused`] for a header that says too little, a token that was used, or more paths than there may be.
pub(crate) fn open_path(association: &Rc<Association>, header: &HopHeader) -> Result<Response, Error> {
    let HopHeader { path: Some(told), token: Some(token), label: Some(label), .. } = *header else {
        return Err(Error::Refused("Msm-Hop needs path, token and label".into()));
    };
    association.take_token(token)?;
    let number = usize::from(told).saturating_sub(1);
    let inlet = association.path_inlet(number, token)?;
    let answer = HopHeader { label: Some(inlet.label.ssrc()), ..HopHeader::default() };
    association.open_path(number, token, inlet, Label::from_ssrc(label), None)?;
    Ok(Response::new(200).with(HEADER, answer.to_string()))
}

fn enter(worker: &Rc<Worker>, association: &Rc<Association>) {
    let id = association.id;
    worker.associations.borrow_mut().insert(id, Rc::downgrade(association));
    worker.shared.hop.associations.insert(id, worker.id);
    let at = Rc::downgrade(worker);
    association.on_end(Box::new(move || {
        let Some(worker) = at.upgrade() else { return };
        worker.associations.borrow_mut().remove(&id);
        worker.shared.hop.associations.remove(id);
        session::end_association(&worker, id);
    }));
    tokio::task::spawn_local(watch(Rc::clone(worker), Rc::clone(association)));
}

/// Holds the association while one of its connections lives, and a grace longer; ends it when its peer is trusted no more.
async fn watch(worker: Rc<Worker>, association: Rc<Association>) {
    let Some(source) = worker.shared.hop.source.clone() else { return };
    let mut changes = source.changes();
    let mut tick = tokio::time::interval(TICK);
    let mut stopping = worker.shared.stopping.subscribe();
    let mut gone = Duration::ZERO;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            changed = changes.changed() => if changed.is_err() { tick.tick().await; },
            _ = stopping.wait_for(|stopping| *stopping) => return association.end("shutdown"),
        }
        if association.has_ended() {
            return;
        }
        let closed = association.connection().is_closed();
        if let Err(why) = members::check(&*source, &association) {
            if closed && !session::uses_association(&worker, association.id) {
                // Whoever dialled has let it go, and renews nothing by it.
                return association.end("its connection was closed, and nobody used it");
            }
            tracing::error!(peer = %association.peer().id, why, "the member is trusted no more: its sessions end");
            return association.end("the member is trusted no more");
        }
        gone = if closed { gone + TICK } else { Duration::ZERO };
        if gone > GRACE {
            return association.end("its connection was lost");
        }
    }
}

/// The two flows of a track, as SETUP asks for them.
///
/// # Errors
/// [`Error::Refused`] for a header that says too little.
pub(crate) fn flows(
    association: &Rc<Association>,
    header: &HopHeader,
) -> Result<(Rc<Inlet>, Rc<Outlet>), Error> {
    let (Some(token), Some(label)) = (header.token, header.label) else {
        return Err(Error::Refused("Msm-Hop needs token and label".into()));
    };
    association.take_token(token)?;
    let inlet = association.inlet(token, Target::Nobody)?;
    let outlet = association.outlet(token, Label::from_ssrc(label), &inlet)?;
    if let Some(mode) = header.paths {
        outlet.set_paths(mode);
        inlet.expect_copies(mode, header.latency.map(|latency| Duration::from_millis(latency.into())));
    }
    Ok((inlet, outlet))
}

/// Protects what is sent to a member that asks for it in SETUP; the budget in milliseconds that both agreed to, if it does.
///
/// # Errors
/// The flow beside the track cannot be made.
pub(crate) fn protect_reader(
    (association, header): (&Rc<Association>, &HopHeader),
    outlet: &Rc<Outlet>,
    track: &Track,
    own: &Protection,
    stream: &str,
) -> Result<Option<u32>, Error> {
    let (Some(token), Some(repair)) = (header.token, header.repair) else { return Ok(None) };
    let Some(plan) = protect::send_plan(track, own, header, stream) else { return Ok(None) };
    let latency = protect::milliseconds(plan.protection.latency);
    protect::send(association, token, outlet, repair, plan)?;
    Ok(latency)
}

/// Protects what is received from a member that offers it; what the answer tells: our label of the flow beside the track, and what is
/// wished.
///
/// # Errors
/// [`Error::Capacity`] if the worker has no label left.
pub(crate) fn protect_publisher(
    (association, header): (&Rc<Association>, &HopHeader),
    inlet: &Rc<Inlet>,
    track: &Track,
    own: &Protection,
    stream: &str,
) -> Result<HopHeader, Error> {
    let (Some(token), Some(plan)) = (header.token, protect::receive_plan(track, own, header.latency, stream))
    else {
        return Ok(HopHeader::default());
    };
    let beside = association.inlet(token, Target::Nobody)?;
    if let Some(mode) = header.paths {
        beside.expect_copies(mode, Some(plan.protection.latency));
    }
    let wishes = HopHeader { repair: Some(beside.label.ssrc()), ..protect::wishes(&plan.protection) };
    protect::receive(inlet, beside, plan);
    if let Some(first) = header.first {
        inlet.begin(first);
    }
    Ok(wishes)
}

//! What happens, told to C.

use std::ffi::{c_char, c_void};
use std::sync::PoisonError;
use std::thread;

use msm::{Event, EventKind, blocking::Events};

use crate::boundary::{DONE, boundary};
use crate::mesh::{self, msm_mesh};
use crate::result::{Failure, msm_result, without_zeros};

/// What happened. There may come to be more kinds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum msm_event_kind {
    /// The stream goes by this server now, which `text` names: its first source, or where it is published to.
    Connected = 1,
    /// Another source has taken the place of the stream's; `text` says which, and why. Readers go on.
    Spliced = 2,
    /// A flow to another member is protected in another way than before; `text` says how, and why.
    ProtectionChanged = 3,
    /// Another member has proven who it is: `name` is its SPIFFE ID, `text` its address.
    PeerConnected = 4,
    /// There is no connection to it any more, and what lived on it has ended; `text` says why.
    PeerLost = 5,
    /// The stream is over; `text` says why.
    Ended = 6,
    /// So many events came while the program was busy with one that some are lost to it; `text` says how many.
    Missed = 7,
    /// Something that has no number yet; `text` says what.
    Other = 99,
}

/// Something that happened.
#[repr(C)]
#[derive(Debug)]
pub struct msm_event {
    /// What it is.
    pub kind: msm_event_kind,
    /// The number of the stream that it happened to, which the log calls `hub`; 0 for what is of no one stream.
    pub stream: u64,
    /// For people: the stream's name, or the other member's.
    pub name: *const c_char,
    /// For people: what there is to say of it, in one line.
    pub text: *const c_char,
}

/// Who is told what happens. The event is there only during the call, which must return: no exception, no longjmp.
pub type msm_event_callback = Option<unsafe extern "C" fn(event: *const msm_event, user_data: *mut c_void)>;

/// What a program wants back with each call, on whichever thread.
pub(crate) struct UserData(pub(crate) *mut c_void);

// SAFETY: it is only handed back to the program, which promises that any thread may have it.
unsafe impl Send for UserData {}
// SAFETY: the same.
unsafe impl Sync for UserData {}

/// Has `callback` called with each event of the mesh from now on, on a thread that does nothing else: a slow one holds up nobody, and misses what comes when 256 events
/// wait. Once for each mesh. It may call this library.
///
/// # Safety
/// `callback` can be called, with `user_data`, from another thread, until msm_mesh_free has returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_mesh_on_event(
    mesh: *const msm_mesh,
    callback: msm_event_callback,
    user_data: *mut c_void,
) -> msm_result {
    boundary(|| {
        let entry = mesh::get(mesh)?;
        let Some(callback) = callback else {
            return Err(Failure::new(msm_result::NullPointer, "`callback` is NULL"));
        };
        let mut teller = entry.teller.lock().unwrap_or_else(PoisonError::into_inner);
        if teller.is_some() {
            return Err(Failure::new(msm_result::Already, "the mesh's events are told already"));
        }
        let (events, user_data) = (entry.mesh.events(), UserData(user_data));
        let thread = thread::Builder::new().name("msm-events".into());
        let thread = thread.spawn(move || tell(events, callback, &user_data));
        *teller = Some(thread.map_err(|error| Failure::system("a thread for events", error))?);
        DONE
    })
}

fn tell(
    events: Events,
    callback: unsafe extern "C" fn(event: *const msm_event, user_data: *mut c_void),
    user_data: &UserData,
) {
    for Event { stream, name, kind, .. } in events {
        let (kind, text) = words(kind);
        let (name, text) = (without_zeros(&name), without_zeros(&text));
        let event = msm_event { kind, stream: stream.unwrap_or(0), name: name.as_ptr(), text: text.as_ptr() };
        // SAFETY: the program promises that it can be called until the mesh is freed, which waits for this thread.
        unsafe { callback(&raw const event, user_data.0) };
    }
}

fn words(kind: EventKind) -> (msm_event_kind, String) {
    match kind {
        EventKind::Connected { endpoint } => (msm_event_kind::Connected, endpoint),
        EventKind::Spliced { from, to, reason, .. } => {
            (msm_event_kind::Spliced, format!("from {from} to {to}: {reason}"))
        }
        EventKind::ProtectionChanged { label, plan } => {
            (msm_event_kind::ProtectionChanged, format!("flow {label}: {plan}"))
        }
        EventKind::PeerConnected { remote } => (msm_event_kind::PeerConnected, remote.to_string()),
        EventKind::PeerLost { remote, reason } => (msm_event_kind::PeerLost, format!("{remote}: {reason}")),
        EventKind::Ended { cause } => (msm_event_kind::Ended, cause.to_string()),
        EventKind::Missed { events } => (msm_event_kind::Missed, format!("{events} events")),
        other => (msm_event_kind::Other, format!("{other:?}")),
    }
}

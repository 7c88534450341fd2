//! What a call came to.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

use msm::Error;

/// What a call came to: nought to 99 is no error. Numbers stay what they are; there may come to be more.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum msm_result {
    /// Done.
    Ok = 0,
    /// It would have to wait, and was not to: nothing is there, or there is no room.
    Again = 1,
    /// What was waited for did not come in time.
    TimedOut = 2,
    /// The stream is over; or there is no such item.
    Ended = 3,
    /// Another thread has freed the handle meanwhile.
    Closed = 4,

    /// The program's mistake: a pointer is NULL that must not be.
    NullPointer = 100,
    /// The program's mistake: no such handle, or it was freed already.
    InvalidHandle = 101,
    /// The program's mistake: a value that is none.
    InvalidArgument = 102,
    /// The program's mistake: a string is not UTF-8.
    NotUtf8 = 103,
    /// The URL is not one that the mesh serves.
    BadUrl = 110,
    /// The configuration was refused.
    BadConfiguration = 111,
    /// The SDP cannot be used.
    BadDescription = 112,
    /// What the state or kind of the stream does not allow.
    Refused = 113,
    /// It was done before, and cannot be done twice.
    Already = 114,
    /// The mesh was shut down.
    Stopped = 115,
    /// There are as many handles as there can be.
    TooManyHandles = 116,

    /// The mesh's answer: no route matches the URL and action.
    NoRoute = 200,
    /// The mesh's answer: the route does not serve this program.
    Denied = 201,
    /// The mesh's answer: nobody publishes there.
    NotPublished = 202,
    /// The mesh's answer: another publisher holds the URL.
    AlreadyPublished = 203,
    /// The mesh's answer: the route sends whoever asks to another URL.
    Redirected = 204,
    /// The mesh's answer: a limit is reached.
    Limit = 205,

    /// The other side: no endpoint of the cluster can be asked.
    NoEndpoint = 300,
    /// The other side could not be reached.
    Unreachable = 301,
    /// The other side did not answer in time.
    UpstreamTimeout = 302,
    /// The other side answered with an error.
    UpstreamStatus = 303,
    /// The other side broke the protocol.
    UpstreamProtocol = 304,
    /// No TLS with the other side.
    UpstreamTls = 305,
    /// The other side sends its sessions where they are not to go.
    UpstreamRedirect = 306,
    /// The other side is no member.
    NotAMember = 307,

    /// The machine: a socket, a thread or a descriptor could not be had.
    System = 400,

    /// A mistake of this library's. Please report it, with the message.
    Panic = 900,
    /// An error that has no number yet; the message says what it is.
    Other = 901,
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) result: msm_result,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(result: msm_result, message: impl Into<String>) -> Self {
        Self { result, message: message.into() }
    }

    pub(crate) fn system(what: &str, error: impl std::fmt::Display) -> Self {
        Self::new(msm_result::System, format!("{what}: {error}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let result = match &error {
            Error::BadUrl { .. } => msm_result::BadUrl,
            Error::NoRoute { .. } => msm_result::NoRoute,
            Error::Denied { .. } => msm_result::Denied,
            Error::Redirected { .. } => msm_result::Redirected,
            Error::NotPublished { .. } => msm_result::NotPublished,
            Error::AlreadyPublished => msm_result::AlreadyPublished,
            Error::BadDescription(_) => msm_result::BadDescription,
            Error::Refused(_) => msm_result::Refused,
            Error::NoEndpoint { .. } => msm_result::NoEndpoint,
            Error::ClusterFull { .. } | Error::Capacity { .. } => msm_result::Limit,
            Error::Unreachable { .. } => msm_result::Unreachable,
            Error::UpstreamTimeout { .. } => msm_result::UpstreamTimeout,
            Error::UpstreamStatus { .. } => msm_result::UpstreamStatus,
            Error::UpstreamRedirect { .. } => msm_result::UpstreamRedirect,
            Error::UpstreamProtocol { .. } => msm_result::UpstreamProtocol,
            Error::UpstreamTls { .. } => msm_result::UpstreamTls,
            Error::NotAMember { .. } => msm_result::NotAMember,
            Error::Upgrade { .. } | Error::Socket { .. } => msm_result::System,
            Error::Configuration(_) => msm_result::BadConfiguration,
            Error::TimedOut => msm_result::TimedOut,
            Error::StreamEnded => msm_result::Ended,
            Error::Stopped => msm_result::Stopped,
            _ => msm_result::Other,
        };
        Self::new(result, error.to_string())
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Keeps what went wrong for [`msm_last_error`].
pub(crate) fn keep(message: &str) {
    // A thread that ends has nobody left to ask.
    let _ = LAST.try_with(|last| *last.borrow_mut() = without_zeros(message));
}

/// As C has it: a zero would end it.
pub(crate) fn without_zeros(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// What went wrong in this thread's last call that failed (a result of 100 or more), in words; empty before the first. It stays valid until the thread's next call that
/// fails, or the thread's end.
#[unsafe(no_mangle)]
pub extern "C" fn msm_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// A result's name, such as `no_route`: for logs. Valid forever. Of a number that is no result it is `unknown`.
#[unsafe(no_mangle)]
pub extern "C" fn msm_result_name(result: i32) -> *const c_char {
    name(result).as_ptr()
}

macro_rules! names {
    ($($variant:ident $name:literal),+ $(,)?) => {
        fn name(result: i32) -> &'static CStr {
            $(if result == msm_result::$variant as i32 {
                return $name;
            })+
            c"unknown"
        }

        #[cfg(test)]
        const ALL: &[msm_result] = &[$(msm_result::$variant),+];
    };
}

names! {
    Ok c"ok",
    Again c"again",
    TimedOut c"timed_out",
    Ended c"ended",
    Closed c"closed",
    NullPointer c"null_pointer",
    InvalidHandle c"invalid_handle",
    InvalidArgument c"invalid_argument",
    NotUtf8 c"not_utf8",
    BadUrl c"bad_url",
    BadConfiguration c"bad_configuration",
    BadDescription c"bad_description",
    Refused c"refused",
    Already c"already",
    Stopped c"stopped",
    TooManyHandles c"too_many_handles",
    NoRoute c"no_route",
    Denied c"denied",
    NotPublished c"not_published",
    AlreadyPublished c"already_published",
    Redirected c"redirected",
    Limit c"limit",
    NoEndpoint c"no_endpoint",
    Unreachable c"unreachable",
    UpstreamTimeout c"upstream_timeout",
    UpstreamStatus c"upstream_status",
    UpstreamProtocol c"upstream_protocol",
    UpstreamTls c"upstream_tls",
    UpstreamRedirect c"upstream_redirect",
    NotAMember c"not_a_member",
    System c"system",
    Panic c"panic",
    Other c"other",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_has_a_name_of_its_own() {
        let mut names: Vec<_> = ALL.iter().map(|result| name(*result as i32)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert_eq!((name(-1), name(99)), (c"unknown", c"unknown"));
    }

    #[test]
    fn a_message_is_kept_for_its_thread_and_cannot_be_cut_short() {
        let last = || {
            // SAFETY: it is a string that this thread keeps.
            unsafe { CStr::from_ptr(msm_last_error()) }.to_str().unwrap().to_owned()
        };
        keep("one\0two");
        assert_eq!(last(), "one\u{fffd}two");
        std::thread::spawn(move || assert_eq!(last(), "")).join().unwrap();
    }
}

//! What the library has to say, told to C.

use std::ffi::{c_char, c_void};
use std::io::{self, Write};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::boundary::{DONE, boundary};
use crate::event::UserData;
use crate::pointer::text;
use crate::result::{Failure, msm_result, without_zeros};

/// How much something matters.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum msm_log_level {
    /// Somebody has to do something.
    Error = 1,
    /// Somebody may have to.
    Warn = 2,
    /// What an operator wants to know.
    Info = 3,
    /// What a developer wants to know.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// Who is told a line of the log. It is there only during the call, which must return: no exception, no longjmp.
pub type msm_log_callback =
    Option<unsafe extern "C" fn(level: msm_log_level, line: *const c_char, user_data: *mut c_void)>;

/// Has `callback` called with each line of the log that `filter` lets through, such as `info` or `warn,msm::upstream=debug`; for the whole process, once. It is called on whichever
/// thread has something to say, those of the media among them, so it has to be quick, and must not call this library.
///
/// # Safety
/// `filter` is a string; `callback` can be called, with `user_data`, from any thread, as long as the process lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_log_to(
    filter: *const c_char,
    callback: msm_log_callback,
    user_data: *mut c_void,
) -> msm_result {
    boundary(|| {
        // SAFETY: the caller promises it.
        let filter = unsafe { text(filter, "filter")? };
        let Some(callback) = callback else {
            return Err(Failure::new(msm_result::NullPointer, "`callback` is NULL"));
        };
        let filter = EnvFilter::try_new(filter)
            .map_err(|error| Failure::new(msm_result::InvalidArgument, format!("`filter`: {error}")))?;
        let told = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_level(false)
            .without_time()
            .with_writer(Told { callback, user_data: UserData(user_data) });
        told.try_init().map_err(|_| {
            Failure::new(msm_result::Already, "this process's log is told to somebody already")
        })?;
        DONE
    })
}

struct Told {
    callback: unsafe extern "C" fn(level: msm_log_level, line: *const c_char, user_data: *mut c_void),
    user_data: UserData,
}

impl<'a> MakeWriter<'a> for Told {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { told: self, level: msm_log_level::Info, text: Vec::new() }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        let level = match *about.level() {
            Level::ERROR => msm_log_level::Error,
            Level::WARN => msm_log_level::Warn,
            Level::INFO => msm_log_level::Info,
            Level::DEBUG => msm_log_level::Debug,
            Level::TRACE => msm_log_level::Trace,
        };
        Line { told: self, level, text: Vec::new() }
    }
}

/// One line, told when it is whole.
struct Line<'a> {
    told: &'a Told,
    level: msm_log_level,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = without_zeros(String::from_utf8_lossy(&self.text).trim_end());
        // SAFETY: the program promises that it can be called as long as the process lives.
        unsafe { (self.told.callback)(self.level, line.as_ptr(), self.told.user_data.0) };
    }
}

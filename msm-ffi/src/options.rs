//! What a program may ask of a stream beside its URL.

use std::time::Duration;

use msm::Options;

use crate::boundary::{DONE, boundary};
use crate::pointer::{Out, at};
use crate::result::{Failure, msm_result};

/// How a stream is opened or published. Begin with msm_options_init.
#[repr(C)]
#[derive(Debug)]
pub struct msm_options {
    /// The delay, in milliseconds, that can be afforded against loss on the hop to the other member; 0 turns protection off, less than 0 leaves it to the route.
    pub latency_ms: i64,
    /// Zero; for what a newer library can be asked.
    pub reserved: [u64; 7],
}

/// Sets the defaults.
///
/// # Safety
/// `options` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_options_init(options: *mut msm_options) -> msm_result {
    boundary(|| {
        // SAFETY: the caller promises it.
        let place = unsafe { Out::new(options, "options")? };
        place.write(msm_options { latency_ms: -1, reserved: [0; 7] });
        DONE
    })
}

/// What C asks; the defaults for NULL.
///
/// # Safety
/// `own` is NULL, or points to options.
pub(crate) unsafe fn read(own: *const msm_options) -> Result<Options, Failure> {
    if own.is_null() {
        return Ok(Options::default());
    }
    // SAFETY: the caller promises it.
    let own = unsafe { at(own, "options")? };
    if own.reserved != [0; 7] {
        let message = "`options` asks for what this library does not know: begin with msm_options_init";
        return Err(Failure::new(msm_result::InvalidArgument, message));
    }
    let options = Options::default();
    Ok(match u64::try_from(own.latency_ms) {
        Ok(latency) => options.latency(Duration::from_millis(latency)),
        Err(_) => options,
    })
}

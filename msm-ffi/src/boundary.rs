//! What stands around each function that C calls.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::result::{Failure, keep, msm_result};

/// What a function's body comes to.
pub(crate) type Outcome = Result<msm_result, Failure>;

/// Done.
pub(crate) const DONE: Outcome = Ok(msm_result::Ok);

/// Runs a function's body. What goes wrong is kept for `msm_last_error`; a panic goes no further.
pub(crate) fn boundary(body: impl FnOnce() -> Outcome) -> msm_result {
    // What a panic has left half done is nobody's but this library's, whose locks outlive it.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(result)) => result,
        Ok(Err(Failure { result, message })) => {
            // What is no failure leaves the words of the last one as they are.
            if result as i32 >= 100 {
                keep(&message);
            }
            result
        }
        Err(panic) => {
            let words = panic.downcast_ref::<&str>().copied();
            let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            keep(&format!("a mistake of libmsm's: {}", words.unwrap_or("a panic without a word")));
            // What it holds may panic as it goes.
            std::mem::forget(panic);
            msm_result::Panic
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;
    use crate::result::msm_last_error;

    #[test]
    fn a_panic_goes_no_further() {
        assert_eq!(boundary(|| panic!("number {}", 7)), msm_result::Panic);
        // SAFETY: it is a string that this thread keeps.
        let message = unsafe { CStr::from_ptr(msm_last_error()) };
        assert_eq!(message.to_str().unwrap(), "a mistake of libmsm's: number 7");
        assert_eq!(boundary(|| std::panic::panic_any(7)), msm_result::Panic);
        assert_eq!(boundary(|| DONE), msm_result::Ok);
    }
}

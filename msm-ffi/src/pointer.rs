//! What C hands over: strings, bytes, and places for what it gets.

use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

use crate::result::{Failure, msm_result};

fn null(what: &str) -> Failure {
    Failure::new(msm_result::NullPointer, format!("`{what}` is NULL"))
}

/// A string, which errors call `what`.
///
/// # Safety
/// `text` is NULL, or a string that ends with a zero and stays as it is while it is in use.
pub(crate) unsafe fn text<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(null(what));
    }
    // SAFETY: it is not NULL, so it is a string, as the caller promises.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str()
        .map_err(|error| Failure::new(msm_result::NotUtf8, format!("`{what}` is not UTF-8: {error}")))
}

/// The same of one that may be NULL.
///
/// # Safety
/// As of [`text`].
pub(crate) unsafe fn text_or_none<'a>(own: *const c_char, what: &str) -> Result<Option<&'a str>, Failure> {
    if own.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller promises the same.
    unsafe { text(own, what) }.map(Some)
}

/// Bytes, which errors call `what`; at least one.
///
/// # Safety
/// `bytes` is NULL, or there are `length` bytes, which stay as they are while they are in use.
pub(crate) unsafe fn bytes<'a>(bytes: *const u8, length: usize, what: &str) -> Result<&'a [u8], Failure> {
    if bytes.is_null() {
        return Err(null(what));
    }
    if length == 0 || isize::try_from(length).is_err() {
        let message = format!("`{what}` cannot be {length} bytes long");
        return Err(Failure::new(msm_result::InvalidArgument, message));
    }
    // SAFETY: it is not NULL, so there are so many bytes, as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(bytes, length) })
}

/// A place for an output, looked at before anything is done.
#[derive(Debug)]
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// The place, which errors call `what`.
    ///
    /// # Safety
    /// `place` is NULL, or a `T` can be written there until this function's caller returns to C.
    pub(crate) unsafe fn new(place: *mut T, what: &str) -> Result<Self, Failure> {
        let place = NonNull::new(place).ok_or_else(|| null(what))?;
        if !place.is_aligned() {
            let message = format!("`{what}` is not aligned to its type");
            return Err(Failure::new(msm_result::InvalidArgument, message));
        }
        Ok(Self(place))
    }

    /// Writes the output.
    pub(crate) fn write(self, value: T) {
        // SAFETY: it is not NULL and aligned, and a `T` can be written there, as `new`'s caller has promised.
        unsafe { self.0.write(value) }
    }
}

impl Out<c_char> {
    /// Writes a string, whose zero is among the `bytes`.
    ///
    /// # Errors
    /// There are more of them than `size`, of which there is room.
    pub(crate) fn write_all(self, bytes: &[u8], size: usize) -> Result<(), Failure> {
        if bytes.len() > size {
            let message = format!("{size} bytes are too few: it takes {}", bytes.len());
            return Err(Failure::new(msm_result::InvalidArgument, message));
        }
        // SAFETY: there is room for `size` bytes, as `new`'s caller has promised, and what is read is this library's.
        unsafe { self.0.as_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }
}

/// What is at a place of C's.
///
/// # Safety
/// `place` is NULL, or there is a `T`, which stays as it is while it is in use.
pub(crate) unsafe fn at<'a, T>(place: *const T, what: &str) -> Result<&'a T, Failure> {
    if place.is_null() || !place.is_aligned() {
        return Err(null(what));
    }
    // SAFETY: it is not NULL and aligned, so there is a `T`, as the caller promises.
    Ok(unsafe { &*place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_null_or_none_is_refused_by_name() {
        // SAFETY: each is NULL, or what it says it is.
        let failures = unsafe {
            [
                text(std::ptr::null(), "url").unwrap_err(),
                text(c"\xff".as_ptr(), "url").unwrap_err(),
                bytes(std::ptr::null(), 4, "packet").unwrap_err(),
                bytes(b"one".as_ptr(), 0, "packet").unwrap_err(),
                bytes(b"one".as_ptr(), usize::MAX, "packet").unwrap_err(),
                Out::<u32>::new(std::ptr::null_mut(), "count").unwrap_err(),
            ]
        };
        let results = failures.each_ref().map(|failure| failure.result);
        use msm_result::{InvalidArgument, NotUtf8, NullPointer};
        assert_eq!(
            results,
            [NullPointer, NotUtf8, NullPointer, InvalidArgument, InvalidArgument, NullPointer]
        );
        assert!(failures.iter().all(|failure| failure.message.starts_with('`')), "{failures:?}");
        // SAFETY: it is NULL, which it may be.
        assert!(unsafe { text_or_none(std::ptr::null(), "sdp") }.unwrap().is_none());
    }
}

//! Which library this is.

use std::ffi::{CStr, c_char};

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// The version of the library that the program runs with, such as `0.1.0`. Valid forever.
#[unsafe(no_mangle)]
pub extern "C" fn msm_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The same as a number: major × 1,000,000 + minor × 1,000 + patch.
#[unsafe(no_mangle)]
pub extern "C" fn msm_version_number() -> u32 {
    let mut parts = env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    part() * 1_000_000 + part() * 1_000 + part()
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_say_the_same() {
        let number = super::msm_version_number();
        let text = format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000);
        assert_eq!(super::VERSION.to_str().unwrap(), text);
    }
}

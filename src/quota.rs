//! How many of a thing the process holds at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;

/// A limit of the process, shared by its threads.
pub(crate) struct Quota {
    what: &'static str,
    /// The configuration key that sets it.
    key: &'static str,
    limit: usize,
    used: AtomicUsize,
}

/// One of them, given back on drop.
pub(crate) struct QuotaPass(Arc<Quota>);

impl Quota {
    pub(crate) fn new(what: &'static str, key: &'static str, limit: usize) -> Arc<Self> {
        Arc::new(Self { what, key, limit, used: AtomicUsize::new(0) })
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`Error::Capacity`] that names the key to raise.
    pub(crate) fn take(self: &Arc<Self>) -> Result<QuotaPass, Error> {
        let below = |used: usize| (used < self.limit).then_some(used + 1);
        match self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, below) {
            Ok(_) => Ok(QuotaPass(Arc::clone(self))),
            Err(_) => Err(Error::Capacity { what: self.what, limit: self.limit, key: self.key }),
        }
    }
}

impl Drop for QuotaPass {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let quota = Quota::new("readers", "limits.readers", 1);
        let pass = quota.take().unwrap_or_else(|_| panic!("one is free"));
        let text = quota.take().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("limit of 1") && text.contains("`limits.readers`"), "{text}");
        drop(pass);
        assert!(quota.take().is_ok());
    }
}

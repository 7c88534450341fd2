//! How many of a thing the process holds at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;

/// A limit of the process, shared by its threads.
pub(crate) struct Quota {
    what: &'static str,
    /// The configuration key that sets it.
    key: &'static str,
    limit: AtomicUsize,
    used: AtomicUsize,
}

/// One of them, given back on drop.
pub(crate) struct QuotaPass(Arc<Quota>);

impl Quota {
    pub(crate) fn new(what: &'static str, key: &'static str, limit: usize) -> Arc<Self> {
        Arc::new(Self { what, key, limit: AtomicUsize::new(limit), used: AtomicUsize::new(0) })
    }

    /// Another limit from now on; what is taken stays taken.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`Error::Capacity`] that names the key to raise.
    pub(crate) fn take(self: &Arc<Self>) -> Result<QuotaPass, Error> {
        let limit = self.limit.load(Ordering::Relaxed);
        let below = |used: usize| (used < limit).then_some(used + 1);
        match self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, below) {
            Ok(_) => Ok(QuotaPass(Arc::clone(self))),
            Err(_) => Err(Error::Capacity { what: self.what, limit, key: self.key }),
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
        let first = quota.take();
        assert!(first.is_ok());
        quota.set_limit(2);
        let second = quota.take();
        assert!(second.is_ok() && quota.take().is_err());
        quota.set_limit(1);
        drop(second);
        assert!(quota.take().is_err(), "what is taken counts");
    }
}

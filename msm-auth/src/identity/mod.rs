//! Who a member is: SPIFFE IDs, X.509-SVIDs, and where they come from.
//!
//! A [`source`] gives the current [`source::Snapshot`]: the own SVID and the bundles. [`tls`] makes configurations that
//! ask for it at each handshake, so a renewed SVID or a withdrawn bundle counts from the next connection on. Which peer
//! is welcome is said with [`id::IdMatch`].

pub mod bundle;
mod cert;
pub mod ephemeral;
pub mod error;
pub mod files;
pub mod id;
pub mod source;
pub mod svid;
#[cfg(test)]
mod testing;
pub mod tls;
mod verify;
#[cfg(feature = "workload-api")]
pub mod workload;

pub use cert::expiry;
pub use rustls_pki_types::UnixTime;

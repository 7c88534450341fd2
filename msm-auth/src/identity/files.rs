//! An identity from PEM files, as a Kubernetes secret, cert-manager or a SPIFFE helper writes them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use zeroize::{Zeroize, Zeroizing};

use super::bundle::{Bundle, BundleSet};
use super::error::SvidError;
use super::id::TrustDomain;
use super::source::{Current, IdentitySource, Snapshot, SourceError, Task};
use super::svid::X509Svid;

/// The most bytes of one file.
pub const MAX_FILE: u64 = 1 << 20;
/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(1);
/// How long new content has to stay the same before it is judged: a writer may be in the middle of it.
const SETTLE: Duration = Duration::from_millis(50);

/// Which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePaths {
    /// The leaf and its intermediates.
    pub chain: PathBuf,
    /// The leaf's key, as PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// The authorities of the own trust domain.
    pub bundle: PathBuf,
    /// The authorities of each federated trust domain.
    pub federated: BTreeMap<TrustDomain, PathBuf>,
}

/// An identity from files, which are read again each second.
///
/// What counts is the content, so a swapped symbolic link is seen as well as a written file. A change is taken as a
/// whole or not at all.
pub struct Files {
    watched: Arc<Watched>,
    _task: Task,
}

struct Watched {
    paths: FilePaths,
    current: Current,
}

impl Files {
    /// Reads the files and watches them from then on. To be called inside a tokio runtime; dropping the source ends
    /// the watch.
    ///
    /// # Errors
    ///
    /// What keeps the first identity from being read.
    pub async fn open(paths: FilePaths) -> Result<Self, SourceError> {
        let watched = Arc::new(Watched { paths, current: Current::new() });
        let mut contents = Contents::read(&watched.paths).await?;
        let mut seen = contents.hash();
        while let Err(e) = watched.take(&contents) {
            tokio::time::sleep(SETTLE).await;
            contents = Contents::read(&watched.paths).await?;
            if std::mem::replace(&mut seen, contents.hash()) == seen {
                return Err(e);
            }
        }
        let task = Task(tokio::spawn(watch(watched.clone(), seen)));
        Ok(Self { watched, _task: task })
    }
}

async fn watch(watched: Arc<Watched>, first: Hash) {
    // None while the files cannot be read, so that what comes then is judged.
    let mut seen = Some(first);
    loop {
        tokio::time::sleep(POLL).await;
        let contents = match Contents::read(&watched.paths).await {
            Ok(contents) => contents,
            Err(e) => {
                seen = None;
                watched.current.fail(e);
                continue;
            }
        };
        let hash = contents.hash();
        if seen == Some(hash) {
            continue;
        }
        tokio::time::sleep(SETTLE).await;
        match Contents::read(&watched.paths).await {
            Ok(again) if again.hash() == hash => {}
            _ => continue,
        }
        seen = Some(hash);
        if let Err(e) = watched.take(&contents) {
            watched.current.fail(e);
        }
    }
}

impl Watched {
    fn take(&self, contents: &Contents) -> Result<(), SourceError> {
        let FilePaths { chain, key, bundle, federated } = &self.paths;
        let place =
            |error| SourceError::Svid { place: format!("{}, {}", chain.display(), key.display()), error };
        let mut private = private_key(key, &contents.key)?;
        let svid = X509Svid::with_key(certificates(chain, &contents.chain)?, &private);
        private.zeroize();
        let svid = svid.map_err(place)?;
        let mut bundles = BundleSet::new();
        bundles.insert(read_bundle(svid.id().trust_domain().clone(), bundle, &contents.bundle)?);
        for (trust_domain, content) in &contents.federated {
            if trust_domain == svid.id().trust_domain() {
                return Err(SourceError::OwnFederated(trust_domain.clone()));
            }
            let path = federated.get(trust_domain).unwrap_or(bundle);
            bundles.insert(read_bundle(trust_domain.clone(), path, content)?);
        }
        self.current.publish(Arc::new(svid), bundles);
        Ok(())
    }
}

impl IdentitySource for Files {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.watched.current.snapshot()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.watched.current.changes()
    }

    fn problem(&self) -> Option<Arc<SourceError>> {
        self.watched.current.problem()
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("paths", &self.watched.paths).finish_non_exhaustive()
    }
}

type Hash = [u8; digest::SHA256_OUTPUT_LEN];

struct Contents {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    bundle: Vec<u8>,
    federated: BTreeMap<TrustDomain, Vec<u8>>,
}

impl Contents {
    async fn read(paths: &FilePaths) -> Result<Self, SourceError> {
        let (chain, paths) = (paths.chain.clone(), paths.clone());
        let read = tokio::task::spawn_blocking(move || Self::read_blocking(&paths));
        read.await.unwrap_or_else(|e| Err(SourceError::Read { path: chain, error: io::Error::other(e) }))
    }

    /// Not by tokio's own files, whose buffers would keep the key.
    fn read_blocking(paths: &FilePaths) -> Result<Self, SourceError> {
        let mut federated = BTreeMap::new();
        for (trust_domain, path) in &paths.federated {
            federated.insert(trust_domain.clone(), read(path)?.to_vec());
        }
        Ok(Self {
            chain: read(&paths.chain)?.to_vec(),
            key: read(&paths.key)?,
            bundle: read(&paths.bundle)?.to_vec(),
            federated,
        })
    }

    fn hash(&self) -> Hash {
        let mut context = digest::Context::new(&digest::SHA256);
        let own: [&[u8]; 3] = [&self.chain, &self.key, &self.bundle];
        for content in own.into_iter().chain(self.federated.values().map(Vec::as_slice)) {
            context.update(&content.len().to_be_bytes());
            context.update(content);
        }
        let mut hash = Hash::default();
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    let failed = |error: io::Error| SourceError::Read { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > MAX_FILE {
        return Err(SourceError::FileTooLarge { path: path.to_owned() });
    }
    // The room is there beforehand: a buffer that grows leaves pieces of the key behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_FILE {
        return Err(SourceError::FileTooLarge { path: path.to_owned() });
    }
    Ok(content)
}

fn certificates(path: &Path, content: &[u8]) -> Result<Vec<Vec<u8>>, SourceError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(content).map(|der| der.map(|der| der.to_vec())).collect();
    let found = found.map_err(|e| pem_error(path, &e))?;
    if found.is_empty() {
        let reason = "no certificate (-----BEGIN CERTIFICATE-----) in it".to_owned();
        return Err(SourceError::Pem { path: path.to_owned(), reason });
    }
    Ok(found)
}

fn private_key(path: &Path, content: &[u8]) -> Result<PrivateKeyDer<'static>, SourceError> {
    PrivateKeyDer::from_pem_slice(content).map_err(|e| match e {
        pem::Error::NoItemsFound => SourceError::Pem {
            path: path.to_owned(),
            reason: "no unencrypted private key (-----BEGIN PRIVATE KEY-----) in it".to_owned(),
        },
        other => pem_error(path, &other),
    })
}

fn pem_error(path: &Path, error: &pem::Error) -> SourceError {
    SourceError::Pem { path: path.to_owned(), reason: error.to_string() }
}

fn read_bundle(trust_domain: TrustDomain, path: &Path, content: &[u8]) -> Result<Bundle, SourceError> {
    let place = |error: SvidError| SourceError::Svid { place: path.display().to_string(), error };
    Bundle::new(trust_domain, &certificates(path, content)?).map_err(place)
}

#[cfg(test)]
mod tests;

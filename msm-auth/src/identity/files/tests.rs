use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::{FilePaths, Files, MAX_FILE, POLL, SETTLE};
use crate::identity::source::IdentitySource;
use crate::identity::testing::{Ca, leaf, signer, td};

const WEB: &str = "spiffe://td/web";
const NEXT: &str = "spiffe://td/next";

fn pem(kind: &str, ders: &[&[u8]]) -> String {
    let one =
        |der: &&[u8]| format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der));
    ders.iter().map(one).collect()
}

fn paths(dir: &Path) -> FilePaths {
    let [chain, key, bundle] = ["tls.crt", "tls.key", "ca.crt"].map(|name| dir.join(name));
    FilePaths { chain, key, bundle, federated: [].into() }
}

/// Writes an identity, and gives the key's PEM.
fn write(dir: &Path, ca: &Ca, id: &'static str) -> String {
    let (cert, key) = ca.sign(&leaf(id));
    let key = pem("PRIVATE KEY", &[&key.serialize_der()]);
    fs::write(dir.join("tls.crt"), pem("CERTIFICATE", &[&cert])).expect("chain");
    fs::write(dir.join("tls.key"), &key).expect("key");
    fs::write(dir.join("ca.crt"), pem("CERTIFICATE", &[&ca.der])).expect("bundle");
    key
}

struct Setup {
    dir: TempDir,
    ca: Ca,
    files: Files,
}

impl Setup {
    async fn new() -> Self {
        let dir = TempDir::new().expect("dir");
        let ca = Ca::of("spiffe://td");
        write(dir.path(), &ca, WEB);
        let files = Files::open(paths(dir.path())).await.expect("opened");
        Self { dir, ca, files }
    }

    fn id(&self) -> String {
        self.files.snapshot().expect("a snapshot").svid.id().to_string()
    }

    fn version(&self) -> u64 {
        self.files.snapshot().expect("a snapshot").version
    }

    fn problem(&self) -> Option<&'static str> {
        self.files.problem().map(|p| p.name())
    }

    async fn polls(&self, count: u32) {
        sleep(POLL * count + Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_identity_is_there_when_open_returns() {
    let setup = Setup::new().await;
    let snapshot = setup.files.snapshot().expect("a snapshot");
    assert_eq!((setup.id().as_str(), snapshot.version), (WEB, 1));
    assert_eq!(snapshot.bundles.get(&td("td")).map(|b| b.len()), Some(1));
    setup.polls(3).await;
    assert_eq!((setup.version(), setup.problem()), (1, None), "the same content is no change");
}

#[tokio::test(start_paused = true)]
async fn rewritten_files_are_taken_within_two_polls() {
    let setup = Setup::new().await;
    let mut changes = setup.files.changes();
    changes.mark_unchanged();
    write(setup.dir.path(), &setup.ca, NEXT);
    timeout(POLL * 2, changes.changed()).await.expect("in time").expect("the source lives");
    assert_eq!((setup.id().as_str(), *changes.borrow(), setup.version()), (NEXT, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_kubernetes_symlink_swap_is_seen() {
    let dir = TempDir::new().expect("dir");
    let ca = Ca::of("spiffe://td");
    let version = |name: &str, id| {
        let path = dir.path().join(name);
        fs::create_dir(&path).expect("dir");
        write(&path, &ca, id);
    };
    version("..v1", WEB);
    symlink("..v1", dir.path().join("..data")).expect("link");
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        symlink(PathBuf::from("..data").join(name), dir.path().join(name)).expect("link");
    }
    let files = Files::open(paths(dir.path())).await.expect("opened");
    let mut changes = files.changes();
    changes.mark_unchanged();
    version("..v2", NEXT);
    symlink("..v2", dir.path().join("..data_tmp")).expect("link");
    fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).expect("swapped");
    fs::remove_dir_all(dir.path().join("..v1")).expect("the old one goes");
    timeout(POLL * 2, changes.changed()).await.expect("in time").expect("the source lives");
    assert_eq!(files.snapshot().expect("a snapshot").svid.id().to_string(), NEXT);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_does_not_fit_leaves_the_old_identity() {
    let setup = Setup::new().await;
    let old_key = fs::read(setup.dir.path().join("tls.key")).expect("read");
    let new_key = write(setup.dir.path(), &setup.ca, NEXT);
    fs::write(setup.dir.path().join("tls.key"), old_key).expect("written");
    setup.polls(2).await;
    assert_eq!((setup.id().as_str(), setup.version(), setup.problem()), (WEB, 1, Some("key_mismatch")));
    let message = setup.files.problem().expect("reported").to_string();
    assert!(message.contains("tls.key") && message.contains(NEXT), "{message}");

    fs::write(setup.dir.path().join("tls.key"), new_key).expect("written");
    setup.polls(2).await;
    assert_eq!((setup.id().as_str(), setup.version(), setup.problem()), (NEXT, 2, None));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_leaves_the_old_identity() {
    let setup = Setup::new().await;
    fs::remove_file(setup.dir.path().join("ca.crt")).expect("removed");
    setup.polls(2).await;
    assert_eq!((setup.id().as_str(), setup.problem()), (WEB, Some("read")));
    write(setup.dir.path(), &setup.ca, NEXT);
    setup.polls(2).await;
    assert_eq!((setup.id().as_str(), setup.problem()), (NEXT, None));
}

#[tokio::test(start_paused = true)]
async fn a_file_in_the_middle_of_a_write_is_not_judged() {
    let setup = Setup::new().await;
    sleep(POLL - Duration::from_millis(10)).await;
    write(setup.dir.path(), &setup.ca, NEXT);
    let whole = fs::read(setup.dir.path().join("tls.crt")).expect("read");
    fs::write(setup.dir.path().join("tls.crt"), &whole[..whole.len() / 2]).expect("written");
    sleep(Duration::from_millis(35)).await;
    fs::write(setup.dir.path().join("tls.crt"), whole).expect("written");
    sleep(Duration::from_millis(100)).await;
    assert_eq!((setup.version(), setup.problem()), (1, None), "neither taken nor complained about");
    setup.polls(1).await;
    assert_eq!((setup.id().as_str(), setup.problem()), (NEXT, None));
}

#[tokio::test(start_paused = true)]
async fn federated_bundles_have_their_own_files() {
    let dir = TempDir::new().expect("dir");
    let (ca, abroad) = (Ca::of("spiffe://td"), Ca::of("spiffe://abroad"));
    write(dir.path(), &ca, WEB);
    let mut paths = paths(dir.path());
    let federated = dir.path().join("abroad.crt");
    fs::write(&federated, pem("CERTIFICATE", &[&abroad.der, &Ca::of("spiffe://abroad").der]))
        .expect("written");
    paths.federated.insert(td("abroad"), federated.clone());
    let files = Files::open(paths).await.expect("opened");
    let sizes = || {
        let snapshot = files.snapshot().expect("a snapshot");
        ["td", "abroad"].map(|name| snapshot.bundles.get(&td(name)).map(|b| b.len()))
    };
    assert_eq!(sizes(), [Some(1), Some(2)]);
    fs::write(&federated, pem("CERTIFICATE", &[&abroad.der])).expect("written");
    sleep(POLL * 2).await;
    assert_eq!(sizes(), [Some(1), Some(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_federated_bundle_cannot_replace_the_own() {
    let dir = TempDir::new().expect("dir");
    write(dir.path(), &Ca::of("spiffe://td"), WEB);
    let mut paths = paths(dir.path());
    paths.federated.insert(td("td"), paths.bundle.clone());
    assert_eq!(Files::open(paths).await.expect_err("refused").name(), "own_federated");
}

#[tokio::test(start_paused = true)]
async fn a_swap_during_the_first_read_is_waited_out() {
    let dir = TempDir::new().expect("dir");
    let ca = Ca::of("spiffe://td");
    let key = write(dir.path(), &ca, WEB);
    fs::write(dir.path().join("tls.key"), "half a key").expect("written");
    let opening = tokio::spawn(Files::open(paths(dir.path())));
    sleep(SETTLE / 2).await;
    fs::write(dir.path().join("tls.key"), key).expect("written");
    assert!(opening.await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_in_the_form_of_openssl_is_taken() {
    let dir = TempDir::new().expect("dir");
    let ca = Ca::of("spiffe://td");
    write(dir.path(), &ca, WEB);
    let (cert, key) = ca.sign(&leaf(WEB));
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).expect("a key");
    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().expect("encoded");
    fs::write(dir.path().join("tls.crt"), pem("CERTIFICATE", &[&cert])).expect("chain");
    fs::write(dir.path().join("tls.key"), pem("EC PRIVATE KEY", &[sec1.as_ref()])).expect("key");
    assert!(Files::open(paths(dir.path())).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_at_the_start_is_said_with_the_file() {
    let dir = TempDir::new().expect("dir");
    let ca = Ca::of("spiffe://td");
    let refused = async |name: &'static str, content: Option<&[u8]>| {
        write(dir.path(), &ca, WEB);
        let path = dir.path().join(name);
        match content {
            Some(content) => fs::write(&path, content).expect("written"),
            None => fs::remove_file(&path).expect("removed"),
        }
        let error = Files::open(paths(dir.path())).await.expect_err("refused");
        assert!(error.to_string().contains(name), "{error}");
        error.name()
    };
    let (other, _) = signer("spiffe://td").self_signed();
    assert_eq!(refused("tls.crt", None).await, "read");
    assert_eq!(refused("tls.crt", Some(b"no PEM")).await, "pem");
    assert_eq!(refused("tls.crt", Some(pem("CERTIFICATE", &[&other]).as_bytes())).await, "leaf_is_ca");
    assert_eq!(refused("tls.crt", Some(pem("CERTIFICATE", &[b"junk"]).as_bytes())).await, "malformed");
    assert_eq!(refused("tls.key", Some(b"")).await, "pem");
    assert_eq!(refused("tls.key", Some(pem("PRIVATE KEY", &[b"junk"]).as_bytes())).await, "bad_key");
    assert_eq!(refused("tls.key", Some(pem("ENCRYPTED PRIVATE KEY", &[b"x"]).as_bytes())).await, "pem");
    assert_eq!(refused("ca.crt", Some(b"")).await, "pem");
    let too_large = vec![b'\n'; usize::try_from(MAX_FILE).expect("fits") + 1];
    assert_eq!(refused("ca.crt", Some(&too_large)).await, "file_too_large");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_source_ends_the_watch() {
    let setup = Setup::new().await;
    let mut changes = setup.files.changes();
    changes.mark_unchanged();
    drop(setup.files);
    let ended = timeout(POLL * 3, changes.changed()).await.expect("the sender is gone");
    assert!(ended.is_err());
}

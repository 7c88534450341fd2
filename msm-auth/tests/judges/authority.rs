//! A trust domain as large ones have it: two roots, one of which is to come, and an intermediate that signs members.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use x509_parser::parse_x509_certificate;

use crate::agent::{State, Svid};

/// Every certificate is valid from then until then.
const VALID: [i32; 2] = [2024, 2094];

pub(crate) struct Authority {
    domain: &'static str,
    issuer: Issuer<'static, KeyPair>,
    intermediate: Vec<u8>,
    /// Both roots in DER, one behind the other.
    pub(crate) bundle: Vec<u8>,
}

fn params(uri: &str, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ascii"))];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    [params.not_before, params.not_after] = VALID.map(|year| date_time_ymd(year, 1, 1));
    params
}

fn signer(domain: &str, name: &str) -> CertificateParams {
    let mut params = params(&format!("spiffe://{domain}"), name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

impl Authority {
    pub(crate) fn new(domain: &'static str) -> Self {
        let root = |name: &str| {
            let (params, key) = (signer(domain, name), key());
            let certificate = params.self_signed(&key).expect("signed").der().to_vec();
            (certificate, Issuer::new(params, key))
        };
        let ((first, root), (second, _)) = (root("root of today"), root("root of tomorrow"));
        let (below, below_key) = (signer(domain, "intermediate"), key());
        let intermediate = below.signed_by(&below_key, &root).expect("signed").der().to_vec();
        let bundle = [first, second].concat();
        Self { domain, issuer: Issuer::new(below, below_key), intermediate, bundle }
    }

    /// A new SVID for a path, with its chain and bundle.
    pub(crate) fn svid(&self, path: &str) -> Svid {
        let spiffe_id = format!("spiffe://{}{path}", self.domain);
        let mut params = params(&spiffe_id, "member");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = key();
        let leaf = params.signed_by(&key, &self.issuer).expect("signed").der().to_vec();
        Svid {
            spiffe_id,
            x509_svid: [leaf, self.intermediate.clone()].concat(),
            x509_svid_key: key.serialize_der(),
            bundle: self.bundle.clone(),
            hint: String::new(),
        }
    }
}

/// What a judge has to say of a state: see `go-spiffe/main.go` and `python/judge.py`.
pub(crate) fn line(state: &State) -> String {
    let svid = &state.svids[0];
    let (_, leaf) = parse_x509_certificate(&svid.x509_svid).expect("a leaf");
    let serial: String = leaf.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
    let domain = svid.spiffe_id.split('/').nth(2).expect("a trust domain");
    let mut bundles = vec![format!("{domain}:{}", count(&svid.bundle))];
    for (id, bundle) in &state.federated_bundles {
        bundles.push(format!("{}:{}", id.trim_start_matches("spiffe://"), count(bundle)));
    }
    bundles.sort();
    format!(
        "svid {} certificates {} serial {} bundles {} expires {}",
        svid.spiffe_id,
        count(&svid.x509_svid),
        serial.trim_start_matches('0'),
        bundles.join(","),
        leaf.validity().not_after.timestamp(),
    )
}

/// How many certificates lie one behind the other.
fn count(mut der: &[u8]) -> usize {
    let mut count = 0;
    while !der.is_empty() {
        (der, _) = parse_x509_certificate(der).expect("a certificate");
        count += 1;
    }
    count
}

//! What an X.509 certificate says, and the rules of `X509-SVID` for leaves and signing certificates.

use std::time::Duration;

use rustls_pki_types::UnixTime;
use x509_parser::prelude::{
    ASN1Time, FromDer, GeneralName, KeyUsage, ParsedExtension, X509Certificate, X509Extension,
};

use super::error::{Position, SvidError};
use super::id::SpiffeId;

/// What the rules of `X509-SVID` are about.
pub(crate) struct Facts {
    /// Each URI SAN in its order. One that is no text stays as an error.
    uris: Vec<Result<String, String>>,
    san_critical: bool,
    subject_empty: bool,
    is_ca: bool,
    key_usage: Option<(KeyUsage, bool)>,
    extended: Option<Extended>,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
    /// SubjectPublicKeyInfo in DER.
    pub(crate) public_key: Vec<u8>,
}

struct Extended {
    server_auth: bool,
    client_auth: bool,
}

impl Facts {
    /// Parses one certificate and nothing behind it (`RFC 5280 §4.1`).
    pub(crate) fn read(der: &[u8], position: Position) -> Result<Self, SvidError> {
        let malformed = |reason: String| SvidError::Malformed { position, reason };
        let (rest, cert) = X509Certificate::from_der(der).map_err(|e| malformed(e.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} bytes follow it", rest.len())));
        }
        let mut facts = Self {
            uris: Vec::new(),
            san_critical: false,
            subject_empty: cert.subject().iter_rdn().next().is_none(),
            is_ca: false,
            key_usage: None,
            extended: None,
            not_before: time(&cert.validity().not_before),
            not_after: time(&cert.validity().not_after),
            public_key: cert.public_key().raw.to_vec(),
        };
        // Refuses an extension that is there twice (RFC 5280 §4.2).
        cert.extensions_map().map_err(|e| malformed(e.to_string()))?;
        for extension in cert.extensions() {
            facts.take(extension).map_err(malformed)?;
        }
        Ok(facts)
    }

    fn take(&mut self, extension: &X509Extension<'_>) -> Result<(), String> {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                self.san_critical = extension.critical;
                self.uris = names.general_names.iter().filter_map(uri).collect();
            }
            ParsedExtension::BasicConstraints(constraints) => self.is_ca = constraints.ca,
            ParsedExtension::KeyUsage(usage) => self.key_usage = Some((*usage, extension.critical)),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.extended =
                    Some(Extended { server_auth: usage.server_auth, client_auth: usage.client_auth });
            }
            ParsedExtension::ParseError { error } => {
                return Err(format!("extension {}: {error}", extension.oid));
            }
            _ => {}
        }
        Ok(())
    }

    /// The rules for a leaf (`X509-SVID §2`, `§3.1`, `§4`, `§5.2`), validity and path aside.
    pub(crate) fn check_leaf(&self) -> Result<SpiffeId, SvidError> {
        let position = Position::Leaf;
        // First, as the certificate of a CA in this place is a mistake of its own.
        if self.is_ca {
            return Err(SvidError::LeafIsCa);
        }
        let id = match self.uris.as_slice() {
            [] => return Err(SvidError::NoUriSan),
            [uri] => read_id(uri, position)?,
            several => return Err(SvidError::SeveralUriSans(several.len())),
        };
        if id.is_trust_domain() {
            return Err(SvidError::LeafWithoutPath(id));
        }
        if self.subject_empty && !self.san_critical {
            return Err(SvidError::SanNotCritical);
        }
        let (usage, critical) = self.key_usage.as_ref().ok_or(SvidError::NoKeyUsage(position))?;
        if !critical {
            return Err(SvidError::KeyUsageNotCritical(position));
        }
        if !usage.digital_signature() {
            return Err(SvidError::KeyUsageLacks { position, bit: "digitalSignature" });
        }
        if usage.key_cert_sign() {
            return Err(SvidError::LeafMaySign("keyCertSign"));
        }
        if usage.crl_sign() {
            return Err(SvidError::LeafMaySign("cRLSign"));
        }
        match &self.extended {
            Some(Extended { server_auth: false, .. }) => Err(SvidError::ExtendedKeyUsageLacks("serverAuth")),
            Some(Extended { client_auth: false, .. }) => Err(SvidError::ExtendedKeyUsageLacks("clientAuth")),
            _ => Ok(id),
        }
    }

    /// The rules for a signing certificate (`X509-SVID §3.2`, `§4.1`, `§4.3`), validity and path aside.
    ///
    /// One without a SPIFFE ID is no SVID, as a company's root may be: the rule that key usage is critical is not for it.
    pub(crate) fn check_signer(&self) -> Result<(), SvidError> {
        let position = Position::Signer;
        if !self.is_ca {
            return Err(SvidError::SignerIsNoCa);
        }
        let (usage, critical) = self.key_usage.as_ref().ok_or(SvidError::NoKeyUsage(position))?;
        if !usage.key_cert_sign() {
            return Err(SvidError::KeyUsageLacks { position, bit: "keyCertSign" });
        }
        // Other URIs may stand in a CA certificate that is no SVID; one that means SPIFFE has to be right.
        let spiffe = |uri: &&Result<String, String>| {
            uri.as_ref()
                .is_ok_and(|uri| uri.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("spiffe:")))
        };
        if let Some(uri) = self.uris.iter().find(spiffe) {
            if self.uris.len() > 1 {
                return Err(SvidError::SeveralUriSans(self.uris.len()));
            }
            let id = read_id(uri, position)?;
            if !id.is_trust_domain() {
                return Err(SvidError::SignerWithPath(id));
            }
            if !critical {
                return Err(SvidError::KeyUsageNotCritical(position));
            }
        }
        Ok(())
    }

    /// Whether `now` lies within the validity, ends included (`RFC 5280 §4.1.2.5`).
    pub(crate) fn check_time(&self, position: Position, now: UnixTime) -> Result<(), SvidError> {
        let (not_before, not_after) = (self.not_before, self.not_after);
        if now < not_before {
            return Err(SvidError::NotYetValid { position, not_before, now });
        }
        if now > not_after {
            return Err(SvidError::Expired { position, not_after, now });
        }
        Ok(())
    }
}

/// `notAfter` of any certificate in DER, SVID or not (`RFC 5280 §4.1.2.5`). `None` for what is no certificate.
#[must_use]
pub fn expiry(der: &[u8]) -> Option<UnixTime> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| time(&certificate.validity().not_after))
}

fn uri(name: &GeneralName<'_>) -> Option<Result<String, String>> {
    // uniformResourceIdentifier is [6] (RFC 5280 §4.2.1.6).
    match name {
        GeneralName::URI(uri) => Some(Ok((*uri).to_owned())),
        GeneralName::Invalid(tag, _) if tag.0 == 6 => Some(Err("a URI SAN that is no text".to_owned())),
        _ => None,
    }
}

fn read_id(uri: &Result<String, String>, position: Position) -> Result<SpiffeId, SvidError> {
    let uri = uri.as_ref().map_err(|reason| SvidError::Malformed { position, reason: reason.clone() })?;
    SpiffeId::parse(uri).map_err(|reason| SvidError::BadId { position, reason })
}

/// Times before 1970 become 1970: nothing is valid then.
fn time(at: &ASN1Time) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or(0)))
}

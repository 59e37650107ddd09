//! A CA, and the certificates that it issues: good ones, and bad ones for faults.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::{ClientIdentity, provider};

/// Certificates are valid for this long before and after they are made.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The names that clients on this machine use.
const NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];
/// A name that this machine does not have (RFC 6761).
const ELSEWHERE: &[&str] = &["elsewhere.test"];
const GATEWAY: &str = "Clientlet test gateway";

/// A CA whose key this crate has.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// In PEM.
    certificate: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = generate();
        // Clients must be able to tell two CAs apart, also if they go by the name alone.
        let number: String =
            key.public_key_raw()[1..5].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut params = params(&[], &format!("Clientlet test CA {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("a key of this crate can sign").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for the names of this machine.
    pub(super) fn server(&self) -> CertifiedKey {
        self.certify(server(NAMES))
    }

    pub(super) fn for_elsewhere(&self) -> CertifiedKey {
        self.certify(server(ELSEWHERE))
    }

    pub(super) fn expired(&self) -> CertifiedKey {
        let mut params = server(NAMES);
        params.not_before -= 2 * DAY;
        params.not_after -= 2 * DAY;
        self.certify(params)
    }

    pub(super) fn not_yet_valid(&self) -> CertifiedKey {
        let mut params = server(NAMES);
        params.not_before += 2 * DAY;
        params.not_after += 2 * DAY;
        self.certify(params)
    }

    pub(super) fn for_clients(&self) -> CertifiedKey {
        self.certify(leaf(NAMES, GATEWAY, ExtendedKeyUsagePurpose::ClientAuth))
    }

    pub(super) fn client(&self, name: &str) -> ClientIdentity {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        let (certificate, key) = self.issue(leaf(&[], name, usage));
        ClientIdentity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn certify(&self, params: CertificateParams) -> CertifiedKey {
        let (certificate, key) = self.issue(params);
        certified(&certificate, &key)
    }

    fn issue(&self, mut params: CertificateParams) -> (rcgen::Certificate, KeyPair) {
        params.use_authority_key_identifier_extension = true;
        let key = generate();
        let certificate =
            params.signed_by(&key, &self.issuer).expect("a key of this crate can sign");
        (certificate, key)
    }
}

/// A certificate for the names of this machine that is its own issuer.
pub(super) fn self_signed() -> CertifiedKey {
    let key = generate();
    let certificate = server(NAMES).self_signed(&key).expect("a key of this crate can sign");
    certified(&certificate, &key)
}

fn certified(certificate: &rcgen::Certificate, key: &KeyPair) -> CertifiedKey {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = provider().key_provider.load_private_key(key).expect("ring knows its own keys");
    CertifiedKey::new(vec![certificate.der().clone()], key)
}

/// What is in a certificate of a gateway.
fn server(names: &[&str]) -> CertificateParams {
    leaf(names, GATEWAY, ExtendedKeyUsagePurpose::ServerAuth)
}

/// What is in a certificate that is no CA's.
fn leaf(names: &[&str], subject: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = params(names, subject);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params
}

/// What all certificates have.
fn params(names: &[&str], subject: &str) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("the names are plain ASCII");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY).into();
    params
}

/// A key on the curve P-256, which every client knows.
fn generate() -> KeyPair {
    KeyPair::generate().expect("the system has random numbers")
}

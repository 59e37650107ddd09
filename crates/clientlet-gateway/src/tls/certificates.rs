//! A CA, and the certificates that it issues.

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
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

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
        self.certify(params(&NAMES, "Clientlet test gateway"), ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub(super) fn client(&self, name: &str) -> ClientIdentity {
        let (certificate, key) = self.issue(params(&[], name), ExtendedKeyUsagePurpose::ClientAuth);
        ClientIdentity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn certify(&self, params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> CertifiedKey {
        let (certificate, key) = self.issue(params, usage);
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = provider().key_provider.load_private_key(key).expect("ring knows its own keys");
        CertifiedKey::new(vec![certificate.der().clone()], key)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> (rcgen::Certificate, KeyPair) {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = generate();
        let certificate =
            params.signed_by(&key, &self.issuer).expect("a key of this crate can sign");
        (certificate, key)
    }
}

/// What certificates have in common.
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

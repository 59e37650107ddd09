//! TLS to a receiver, by `OTEL_EXPORTER_OTLP_CERTIFICATE` and the variables for the client's certificate.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;

use super::endpoint::Protocol;
use super::variables::Named;
use crate::report::Failure;

/// Trusts the certificates in the file `authorities`, and without one the system's roots, or Mozilla's where
/// the system has none. `certificate` and `key` are the files of the client's own certificate.
///
/// # Errors
/// When a file cannot be used.
pub(super) fn connector(
    protocol: Protocol,
    authorities: Option<&Named>,
    certificate: Option<&Named>,
    key: Option<&Named>,
) -> Result<TlsConnector, Failure> {
    let provider = Arc::new(ring::default_provider());
    let verifier = match authorities {
        Some(file) => trusting(file, &provider)?,
        None => of_system(&provider)?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(format!("TLS for OTLP: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (certificate, key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(&key.value)
                .map_err(|error| unusable(key, "the file has no private key", &error))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| unusable(key, "the key does not fit the certificate", &error))?
        }
        (Some(one), None) | (None, Some(one)) => {
            return Err(one.malformed("a client's certificate and its key are given together"));
        }
    };
    config.alpn_protocols = match protocol {
        Protocol::Grpc => vec![b"h2".to_vec()],
        Protocol::Http => vec![b"http/1.1".to_vec()],
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn trusting(
    file: &Named,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        let added = roots.add(certificate);
        added
            .map_err(|error| unusable(file, "a certificate in the file cannot be used", &error))?;
    }
    webpki(roots, provider)
}

fn of_system(provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
    match Verifier::new(Arc::clone(provider)) {
        Ok(verifier) => Ok(Arc::new(verifier)),
        // The system has no roots, as in many containers.
        Err(_) => webpki(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(), provider),
    }
}

fn webpki(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
    let built = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
    match built.build() {
        Ok(verifier) => Ok(verifier),
        Err(error) => Err(Failure::failed(format!("TLS for OTLP: {error}"))),
    }
}

/// # Errors
/// When the file cannot be read, or has no certificate.
fn certificates(file: &Named) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(&file.value).and_then(Iterator::collect);
    let certificates: Vec<_> =
        read.map_err(|error| unusable(file, "the file has no certificates in PEM", &error))?;
    match certificates.is_empty() {
        true => Err(file.malformed("the file has no certificates in PEM")),
        false => Ok(certificates),
    }
}

fn unusable(file: &Named, what: &str, error: &dyn fmt::Display) -> Failure {
    file.malformed(&format!("{what}: {error}"))
}

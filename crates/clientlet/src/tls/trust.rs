//! Which certificates are trusted.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::Verifier;

use super::fault::UnknownIssuer;

/// Trusts these authorities, each with what messages call it, and with `system` the system's roots, too.
///
/// # Errors
/// What is wrong with an authority's certificate, or with the system's roots.
pub(super) fn verifier(
    authorities: &[(String, Vec<CertificateDer<'static>>)],
    system: bool,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let mut given = RootCertStore::empty();
    for (shown, certificates) in authorities {
        for (index, certificate) in certificates.iter().enumerate() {
            given.add(certificate.clone()).map_err(|error| {
                format!("certificate {} of {shown} cannot be used: {error}", index + 1)
            })?;
        }
    }
    let extra = authorities.iter().flat_map(|(_, certificates)| certificates).cloned();
    let of_system = system.then(|| Verifier::new_with_extra_roots(extra, provider.clone()));
    let checking: Arc<dyn ServerCertVerifier> = match of_system {
        Some(Ok(verifier)) => Arc::new(verifier),
        failed => {
            if failed.is_some() {
                // The system has no roots, as in many containers.
                given.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(given), provider.clone())
                .build()
                .map_err(|error| error.to_string())?
        }
    };
    Ok(Arc::new(Trust { checking: Some(checking), provider }))
}

/// Trusts every certificate whose key the server has.
pub(super) fn anything(provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Trust { checking: None, provider })
}

#[derive(Debug)]
struct Trust {
    /// Checks the server's certificate; `None` if every certificate is accepted.
    checking: Option<Arc<dyn ServerCertVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Trust {
    /// Names the issuer of a certificate that is not trusted, which rustls does not.
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(checking) = &self.checking else { return Ok(ServerCertVerified::assertion()) };
        let checked = checking.verify_server_cert(certificate, intermediates, name, ocsp, now);
        checked.map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                let chain = [certificate].into_iter().chain(intermediates);
                let unknown = Arc::new(UnknownIssuer::of(chain));
                Error::InvalidCertificate(CertificateError::Other(OtherError(unknown)))
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

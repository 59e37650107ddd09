//! The certificate and the settings with which a gateway speaks TLS.

mod certificates;
mod handshake;
mod server;
mod subject;

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use self::certificates::Authority;
pub use self::handshake::Handshake;
pub(crate) use self::server::Server;

/// The certificate, the key and the settings with which a gateway speaks TLS on all its ports
/// ([`GatewayBuilder::tls`](crate::GatewayBuilder::tls)).
///
/// ```
/// use clientlet_gateway::{Gateway, Tls};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::self_signed();
/// let gateway = Gateway::builder().tls(tls.clone()).start().await?;
/// assert!(gateway.http_url().starts_with("https://"));
///
/// // The client under test trusts this CA.
/// assert!(tls.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Tls {
    certified: Arc<CertifiedKey>,
    /// The CA that issued the certificate, if this crate made both.
    authority: Option<Arc<Authority>>,
    minimum: TlsVersion,
    maximum: TlsVersion,
    /// Who issues the certificates that clients must show.
    clients: Option<Arc<RootCertStore>>,
    announces_end: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// A certificate and its key, in PEM, with which a client shows who it is.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientIdentity {
    /// The certificate.
    pub certificate: String,
    /// The private key, in PKCS #8.
    pub key: String,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("is_self_signed", &self.authority.is_some())
            .field("minimum", &self.minimum)
            .field("maximum", &self.maximum)
            .field("requires_client_certificate", &self.clients.is_some())
            .field("close_notify", &self.announces_end)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Makes a CA, and a certificate of this CA for `localhost`, 127.0.0.1 and ::1. Each call makes
    /// another CA; clones have the same one. The certificate is valid for a day before and after
    /// the call.
    pub fn self_signed() -> Self {
        let authority = Authority::new();
        let certified = authority.server();
        Self { authority: Some(Arc::new(authority)), ..Self::new(certified) }
    }

    /// Uses a certificate, followed by the certificates of its issuers if there are any, and its
    /// private key (PKCS #8, PKCS #1 or SEC1), both in PEM.
    ///
    /// # Errors
    ///
    /// One of the texts does not hold what it should, or the key is not the certificate's.
    pub fn from_pem(
        certificates: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, TlsError> {
        let chain = read_certificates(certificates.as_ref()).map_err(TlsError::certificate)?;
        let key = read_key(key.as_ref()).map_err(TlsError::key)?;
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_| TlsError::key("the private key is of a kind that TLS does not use"))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok(Self::new(certified)),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(TlsError::key("the private key is not the certificate's"))
            }
            Err(error) => Err(TlsError::certificate(&format!("it cannot be read: {error}"))),
        }
    }

    /// Uses a certificate and its key from files; see [`from_pem`](Self::from_pem).
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](Self::from_pem), or a file cannot be read. The error names the file.
    pub fn from_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let (certificates, key) = (certificates.as_ref(), key.as_ref());
        let chain = std::fs::read(certificates)
            .map_err(|error| TlsError::certificate(&error.to_string()).of(certificates))?;
        let secret =
            std::fs::read(key).map_err(|error| TlsError::key(&error.to_string()).of(key))?;
        Self::from_pem(chain, secret).map_err(|error| {
            let file = if error.is_about_key() { key } else { certificates };
            error.of(file)
        })
    }

    fn new(certified: CertifiedKey) -> Self {
        Self {
            certified: Arc::new(certified),
            authority: None,
            minimum: TlsVersion::V1_2,
            maximum: TlsVersion::V1_3,
            clients: None,
            announces_end: false,
        }
    }

    /// The oldest version that the gateway speaks; TLS 1.2 by default.
    pub fn minimum_version(mut self, version: TlsVersion) -> Self {
        self.minimum = version;
        self
    }

    /// The newest version that the gateway speaks; TLS 1.3 by default.
    pub fn maximum_version(mut self, version: TlsVersion) -> Self {
        self.maximum = version;
        self
    }

    /// Whether the gateway announces the end of a connection (`close_notify`), as nginx does; off by
    /// default, because uvicorn and grpcio end connections without it.
    pub fn close_notify(mut self, announce: bool) -> Self {
        self.announces_end = announce;
        self
    }

    /// Accepts only clients with a certificate that one of these CAs, in PEM, has issued.
    ///
    /// # Errors
    ///
    /// The text holds no certificate, or one that cannot be a CA's.
    pub fn require_client_certificate(
        mut self,
        issuers: impl AsRef<[u8]>,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for issuer in read_certificates(issuers.as_ref()).map_err(TlsError::certificate)? {
            roots
                .add(issuer)
                .map_err(|error| TlsError::certificate(&format!("it cannot be read: {error}")))?;
        }
        self.clients = Some(Arc::new(roots));
        Ok(self)
    }

    /// The certificate of the CA, in PEM, which clients are to trust.
    ///
    /// # Panics
    ///
    /// If the certificate was not made by [`self_signed`](Self::self_signed).
    pub fn ca_pem(&self) -> &str {
        self.authority().certificate()
    }

    /// Makes a certificate of the CA for a client. Its subject is this common name.
    ///
    /// # Panics
    ///
    /// If the CA was not made by [`self_signed`](Self::self_signed).
    pub fn client_identity(&self, name: &str) -> ClientIdentity {
        self.authority().client(name)
    }

    fn authority(&self) -> &Authority {
        self.authority.as_deref().expect("the CA is known only after `Tls::self_signed()`")
    }
}

/// Why a certificate or a key cannot be used, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    file: Option<PathBuf>,
    is_about_key: bool,
    reason: String,
}

impl TlsError {
    fn certificate(reason: &str) -> Self {
        Self { file: None, is_about_key: false, reason: reason.to_owned() }
    }

    fn key(reason: &str) -> Self {
        Self { is_about_key: true, ..Self::certificate(reason) }
    }

    fn of(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    /// Whether the private key is to blame, and not a certificate.
    pub fn is_about_key(&self) -> bool {
        self.is_about_key
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: ", file.display().to_string().escape_debug())?,
            None if self.is_about_key => f.write_str("the key: ")?,
            None => f.write_str("the certificate: ")?,
        }
        f.write_str(&self.reason)
    }
}

impl Error for TlsError {}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        Ok(_) if PrivateKeyDer::from_pem_slice(pem).is_ok() => {
            Err("it holds a private key and no certificate")
        }
        Ok(_) => Err("it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"),
        Err(_) => Err("it is not well-formed PEM"),
    }
}

fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        if pem.windows(9).any(|text| text == b"ENCRYPTED") {
            "the private key is encrypted with a passphrase; remove it with `openssl pkey`"
        } else if read_certificates(pem).is_ok() {
            "it holds a certificate and no private key"
        } else {
            "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----)"
        }
    })
}

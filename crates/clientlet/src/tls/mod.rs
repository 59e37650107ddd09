//! How connections are secured: the caller's settings, and what rustls is told.

mod fault;
mod pem;
mod trust;

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, KeyLogFile, SupportedProtocolVersion};

pub(crate) use self::fault::{Fault, of_end, told};
pub use self::pem::Pem;
use crate::address::Protocol;
use crate::error::Error;
use crate::log;

/// How connections to `https://`, `wss://` and `grpcs://` addresses are secured.
///
/// By default the server's certificate must be issued by one of the roots that the system trusts (by
/// Mozilla's roots where a system has none) for the address's host, and TLS 1.2 or 1.3 is spoken. Sessions
/// are resumed; no data is sent before a handshake is complete. For other addresses these settings are
/// neither checked nor used.
///
/// ```no_run
/// use clientlet::{Client, Pem, Tls};
///
/// let tls = Tls::new()
///     .ca(Pem::file("ca.pem"))
///     .client_certificate(Pem::file("client.pem"), Pem::file("client.key"));
/// let client = Client::builder("grpcs://flow.example").tls(tls).build()?;
/// # Ok::<(), clientlet::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "settings do nothing before they are given to a client"]
pub struct Tls {
    authorities: Vec<Pem>,
    without_system_roots: bool,
    identity: Option<(Pem, Pem)>,
    server_name: Option<String>,
    min_version: TlsVersion,
    key_log: bool,
    danger_accept_invalid_certs: bool,
}

/// What errors call the settings.
const CA: &str = "the CA";
const CERTIFICATE: &str = "the client certificate";
const KEY: &str = "the client certificate's key";

/// A version of TLS.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// The newest first.
static ALL_VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

impl TlsVersion {
    fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            TlsVersion::V1_2 => ALL_VERSIONS,
            TlsVersion::V1_3 => &ALL_VERSIONS[..1],
        }
    }
}

impl Tls {
    /// The default settings.
    pub fn new() -> Tls {
        Tls::default()
    }

    /// Trusts these certificates of authorities beside the system's roots. May be given again for
    /// further ones.
    pub fn ca(mut self, certificates: Pem) -> Tls {
        self.authorities.push(certificates);
        self
    }

    /// Whether only the certificates given with [`ca`](Tls::ca) are trusted, and not the system's roots;
    /// off by default.
    pub fn without_system_roots(mut self, without: bool) -> Tls {
        self.without_system_roots = without;
        self
    }

    /// The client's own certificate, with the certificates between it and the root, and its private
    /// key; for servers that ask for one.
    pub fn client_certificate(mut self, chain: Pem, key: Pem) -> Tls {
        self.identity = Some((chain, key));
        self
    }

    /// The name that the server's certificate must be for, and that the server is told, in place of the
    /// address's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Tls {
        self.server_name = Some(name.into());
        self
    }

    /// The oldest version of TLS that is spoken; 1.2 by default.
    pub fn min_version(mut self, version: TlsVersion) -> Tls {
        self.min_version = version;
        self
    }

    /// Whether the secrets of each connection are written to the file that the environment variable
    /// `SSLKEYLOGFILE` names, with which others can read all that is sent; off by default.
    pub fn key_log(mut self, log: bool) -> Tls {
        self.key_log = log;
        self
    }

    /// Whether any certificate is accepted, from anyone and for any name; off by default. Then anybody on
    /// the way can read and change all that is sent. Each client that is built with this logs a
    /// warning.
    pub fn danger_accept_invalid_certs(mut self, accept: bool) -> Tls {
        self.danger_accept_invalid_certs = accept;
        self
    }

    /// Checks the settings and reads the files.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the setting and the file.
    pub(crate) fn prepare(&self, protocol: Protocol) -> Result<Prepared, Error> {
        let wrong = |what: String| Error::config(what);
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.min_version.and_later())
            .map_err(|error| wrong(format!("TLS cannot be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let certificates = chain.certificates(CERTIFICATE).map_err(wrong)?;
                let private = key.key(KEY).map_err(wrong)?;
                let (chain, key) = (chain.shown(CERTIFICATE), key.shown(KEY));
                builder.with_client_auth_cert(certificates, private).map_err(
                    |error| match error {
                        rustls::Error::InconsistentKeys(_) => {
                            wrong(format!("{key} is not the key of {chain}"))
                        }
                        error => wrong(format!("{chain} or {key} cannot be used: {error}")),
                    },
                )?
            }
        };
        config.alpn_protocols = vec![application(protocol)];
        if self.key_log {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        let server_name = self.server_name.as_deref().map(|name| {
            ServerName::try_from(name.to_owned()).map_err(|_| {
                wrong(format!("the server name {name:?} is neither a name nor an IP address"))
            })
        });
        Ok(Prepared { config: Arc::new(config), server_name: server_name.transpose()? })
    }

    /// The same for connections to a proxy, whose name is its own, and which is not shown the certificate that
    /// is for the gateway.
    ///
    /// # Errors
    /// As [`prepare`](Tls::prepare).
    #[cfg(feature = "proxy")]
    pub(crate) fn prepare_for_proxy(&self) -> Result<Prepared, Error> {
        Tls { server_name: None, identity: None, ..self.clone() }.prepare(Protocol::Http)
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        if self.danger_accept_invalid_certs {
            log::tls_unchecked();
            return Ok(trust::anything(provider));
        }
        let mut authorities = Vec::new();
        for pem in &self.authorities {
            let certificates = pem.certificates(CA).map_err(Error::config)?;
            authorities.push((pem.shown(CA), certificates));
        }
        if self.without_system_roots && authorities.is_empty() {
            return Err(Error::config(
                "without_system_roots is set and no CA is given: no certificate could be trusted",
            ));
        }
        trust::verifier(&authorities, !self.without_system_roots, provider).map_err(Error::config)
    }
}

/// Settings that accept every server, to find out what is spoken at an address. Nothing may be sent with
/// them. Without a protocol any is agreed on.
pub(crate) fn probe(protocol: Option<Protocol>) -> Prepared {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(ALL_VERSIONS)
        .expect("ring has cipher suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(trust::anything(provider))
        .with_no_client_auth();
    config.alpn_protocols = protocol.map(application).into_iter().collect();
    Prepared { config: Arc::new(config), server_name: None }
}

/// The ALPN name of what is spoken over TLS (RFC 7301).
fn application(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Http | Protocol::Websocket => b"http/1.1".to_vec(),
        Protocol::Grpc => b"h2".to_vec(),
    }
}

/// Settings that were checked, for addresses of one protocol.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) config: Arc<ClientConfig>,
    /// The name to ask for, in place of the address's host.
    pub(crate) server_name: Option<ServerName<'static>>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

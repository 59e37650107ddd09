//! The server's side of TLS: what is offered on each port.

use std::io;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::{Tls, TlsVersion, provider};
use crate::world::Protocol;

/// The names of protocols in ALPN (RFC 7301).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// What a gateway offers on each of its ports. Each has a memory of sessions of its own.
#[derive(Debug)]
pub(crate) struct Server {
    http1: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
    both: Arc<ServerConfig>,
}

impl Server {
    /// # Errors
    ///
    /// No version is left between the oldest and the newest one.
    pub(crate) fn new(tls: &Tls) -> io::Result<Self> {
        let config = |alpn| config(tls, Arc::clone(&tls.certified), alpn).map(Arc::new);
        Ok(Self {
            http1: config(&[HTTP1])?,
            http2: config(&[HTTP2])?,
            both: config(&[HTTP2, HTTP1])?,
        })
    }

    /// What is offered on a port of this protocol.
    pub(super) fn config(&self, protocol: Protocol) -> Arc<ServerConfig> {
        let config = match protocol {
            Protocol::Http | Protocol::WebSocket => &self.http1,
            Protocol::Grpc => &self.http2,
            Protocol::All => &self.both,
        };
        Arc::clone(config)
    }
}

fn config(tls: &Tls, certified: Arc<CertifiedKey>, alpn: &[&[u8]]) -> io::Result<ServerConfig> {
    let known = [(TlsVersion::V1_2, &TLS12), (TlsVersion::V1_3, &TLS13)];
    let spoken: Vec<&'static SupportedProtocolVersion> = known
        .into_iter()
        .filter(|(version, _)| (tls.minimum..=tls.maximum).contains(version))
        .map(|(_, version)| version)
        .collect();
    let builder =
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&spoken)
            .map_err(|_| invalid("the minimum version of TLS is newer than the maximum version"))?;
    let builder = match &tls.clients {
        Some(issuers) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(issuers), provider())
                    .build()
                    .map_err(|error| invalid(&error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

//! The server's side of TLS: what is offered on each port, and in place of it for a fault.

use std::io;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::certificates::{Authority, self_signed};
use super::{Tls, TlsVersion, provider};
use crate::fault::{Fault, FaultKind};
use crate::world::Protocol;

/// The names of protocols in ALPN (RFC 7301).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// What a gateway offers.
#[derive(Debug)]
pub(crate) struct Server {
    usual: Ports,
    /// What is offered for a fault.
    struck: Vec<(FaultKind, Ports)>,
    /// Whether connections end with a `close_notify`.
    pub(super) announces_end: bool,
}

/// What is offered on each port. Each has a memory of sessions of its own.
#[derive(Debug)]
struct Ports {
    http1: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
    both: Arc<ServerConfig>,
}

impl Server {
    /// # Errors
    ///
    /// No version is left between the oldest and the newest one, or a fault needs the CA's key.
    pub(crate) fn new(tls: &Tls, faults: &[Fault]) -> io::Result<Self> {
        let mut struck = Vec::new();
        for fault in faults.iter().filter(|fault| fault.is_for_handshakes()) {
            if let Some(ports) = Ports::struck(tls, fault)? {
                struck.push((fault.kind().clone(), ports));
            }
        }
        Ok(Self { usual: Ports::new(tls)?, struck, announces_end: tls.announces_end })
    }

    /// What is offered on a port of this protocol, under this fault.
    pub(super) fn config(
        &self,
        protocol: Protocol,
        fault: Option<&FaultKind>,
    ) -> Arc<ServerConfig> {
        let struck = self.struck.iter().find(|(kind, _)| Some(kind) == fault);
        let ports = struck.map_or(&self.usual, |(_, ports)| ports);
        let config = match protocol {
            Protocol::Http | Protocol::WebSocket => &ports.http1,
            Protocol::Grpc => &ports.http2,
            Protocol::All => &ports.both,
        };
        Arc::clone(config)
    }
}

impl Ports {
    fn new(tls: &Tls) -> io::Result<Self> {
        let config = |alpn| config(tls, alpn).map(Arc::new);
        Ok(Self {
            http1: config(&[HTTP1])?,
            http2: config(&[HTTP2])?,
            both: config(&[HTTP2, HTTP1])?,
        })
    }

    /// What a fault offers; `None` if the fault strikes before anything is offered.
    fn struck(tls: &Tls, fault: &Fault) -> io::Result<Option<Self>> {
        let authority = || {
            tls.authority.as_ref().ok_or_else(|| {
                invalid(&format!(
                    "fault `{fault}` needs a certificate of `Tls::self_signed()`, whose CA it uses"
                ))
            })
        };
        let certified = match fault.kind() {
            FaultKind::WrongName => authority()?.for_elsewhere(),
            FaultKind::Expired => authority()?.expired(),
            FaultKind::NotYetValid => authority()?.not_yet_valid(),
            FaultKind::WrongUsage => authority()?.for_clients(),
            FaultKind::UnknownIssuer => Authority::new().server(),
            FaultKind::SelfSigned => self_signed(),
            FaultKind::OnlyTls(minor @ (2 | 3)) => {
                let version = if *minor == 2 { TlsVersion::V1_2 } else { TlsVersion::V1_3 };
                let tls = tls.clone().minimum_version(version).maximum_version(version);
                return Self::new(&tls).map(Some);
            }
            FaultKind::Alpn(name) => {
                let names: Vec<_> = name.iter().map(String::as_bytes).collect();
                let config = Arc::new(config(tls, &names)?);
                let [http1, http2, both] = [(); 3].map(|()| Arc::clone(&config));
                return Ok(Some(Self { http1, http2, both }));
            }
            _ => return Ok(None),
        };
        Self::new(&Tls { certified: Arc::new(certified), ..tls.clone() }).map(Some)
    }
}

fn config(tls: &Tls, alpn: &[&[u8]]) -> io::Result<ServerConfig> {
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
    let certified = Arc::clone(&tls.certified);
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

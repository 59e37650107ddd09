//! The connections of the bare transports: TCP, or rustls on TCP, as hyper-rustls puts it there for
//! programs that use hyper.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use ::http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::serve::Addresses;

/// A connection, for hyper.
pub(super) type Connection = MaybeHttpsStream<TokioIo<TcpStream>>;

/// The names of protocols in ALPN (RFC 7301).
pub(super) const HTTP1: &str = "http/1.1";
pub(super) const HTTP2: &str = "h2";

/// Opens connections with the client's settings; with TLS to URIs of the scheme `https`.
pub(super) fn connector(
    addresses: &Addresses,
    application: &str,
) -> Result<HttpsConnector<HttpConnector>, Box<dyn Error>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(Duration::from_secs(10)));
    let mut roots = RootCertStore::empty();
    if let Some(ca) = &addresses.ca {
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    }
    // The client's cipher suites and their order.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![application.as_bytes().to_vec()];
    Ok(HttpsConnector::from((tcp, tls)))
}

/// Opens a connection.
pub(super) async fn open(
    addresses: &Addresses,
    uri: Uri,
    application: &str,
) -> Result<Connection, Box<dyn Error>> {
    let mut connector = connector(addresses, application)?;
    Ok(connector.call(uri).await.map_err(|error| error.to_string())?)
}

/// The address of a gateway as a URI of HTTP, whatever the protocol.
pub(super) fn origin(addresses: &Addresses, url: &str) -> Result<Uri, Box<dyn Error>> {
    let (_, host) = url.split_once("://").ok_or("the gateway's address has no scheme")?;
    let scheme = if addresses.ca.is_some() { "https" } else { "http" };
    Ok(Uri::builder()
        .scheme(scheme)
        .authority(host.trim_end_matches('/'))
        .path_and_query("/")
        .build()?)
}

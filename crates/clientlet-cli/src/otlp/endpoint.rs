//! The URL of a receiver.

use std::fmt;

use http::Uri;
use http::uri::Scheme;

use super::variables::{Named, Signal};
use crate::report::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf over HTTP/1.1.
    Http,
}

/// Where one signal is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) protocol: Protocol,
    pub(super) is_tls: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The host and the port as the URL has them.
    pub(super) authority: String,
    /// The path with its query.
    pub(super) path: String,
}

/// The port for OTLP over gRPC; the one for HTTP is 4318.
const GRPC_PORT: u16 = 4317;

impl Endpoint {
    /// The endpoint of a signal. Over HTTP a URL from the variable of one signal is used as it is, and any
    /// other one is the base of the signal's path. The scheme `grpc` or `grpcs` asks for gRPC; otherwise `protocol` decides; without it, a URL with port
    /// 4317 and without a path means gRPC, and every other one HTTP.
    ///
    /// # Errors
    /// When the URL cannot be used. The error names the option or variable, and does not show the URL.
    pub(super) fn new(
        url: &Named,
        signal: Signal,
        protocol: Option<Protocol>,
    ) -> Result<Endpoint, Failure> {
        let wrong = |what: &str| url.malformed(what);
        let (scheme, rest) = url.value.split_once("://").unwrap_or_default();
        let (asks_for_grpc, is_tls) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, false),
            "https" => (false, true),
            "grpc" => (true, false),
            "grpcs" => (true, true),
            _ => return Err(wrong("a receiver's URL is http://HOST:PORT, or https:// over TLS")),
        };
        // The type does not know the other schemes.
        let known = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
        let uri = format!("{known}://{rest}").parse::<Uri>().ok();
        let Some((uri, authority)) = uri.as_ref().and_then(|uri| Some((uri, uri.authority()?)))
        else {
            return Err(wrong("it is not a URL such as http://HOST:4317"));
        };
        if authority.host().is_empty() {
            return Err(wrong("it has no host; write http://HOST:4317"));
        }
        if authority.as_str().contains('@') {
            let place = "credentials are given in OTEL_EXPORTER_OTLP_HEADERS";
            return Err(wrong(&format!("a user or password in it is not sent; {place}")));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let has_port = authority.as_str().len() > authority.host().len();
        // The type reads a port with a sign before it.
        let port = authority.port().filter(|port| !port.as_str().starts_with('+'));
        let port = match (port.map(|port| port.as_u16()), has_port) {
            (Some(port), _) if port > 0 => port,
            (None, false) => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            _ => return Err(wrong("its port is not a number from 1 to 65535")),
        };
        let path = uri.path().trim_end_matches('/');
        let has_path = !path.is_empty() || uri.query().is_some();
        let by_port = if port == GRPC_PORT && !has_path { Protocol::Grpc } else { Protocol::Http };
        let protocol = if asks_for_grpc { Protocol::Grpc } else { protocol.unwrap_or(by_port) };
        let path = match protocol {
            Protocol::Grpc if has_path => {
                return Err(wrong("a URL for OTLP over gRPC has no path"));
            }
            Protocol::Grpc => grpc_path(signal).to_owned(),
            Protocol::Http => {
                let path = match url.name == signal.variable("ENDPOINT") {
                    true => uri.path().to_owned(),
                    false => format!("{path}/v1/{}", signal.name()),
                };
                uri.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"))
            }
        };
        let authority = authority.as_str().to_owned();
        Ok(Endpoint { protocol, is_tls, host, port, authority, path })
    }
}

fn grpc_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

/// The URL without its path and query, which may contain a key.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP };
        write!(f, "{scheme}://{}", self.authority)
    }
}

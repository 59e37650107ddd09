//! The TLS handshake on a new connection.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio_rustls::TlsConnector;

use super::dial::Io;
use crate::error::{AttemptError, Event, Hint};
use crate::tls::{Fault, Prepared, told};

/// The ALPN name of HTTP/2 (RFC 9113, 3.2).
const HTTP2: &[u8] = b"h2";

/// Secures a connection to `host`. Returns the version of TLS as well, for the log.
///
/// # Errors
/// If the server's certificate is not accepted, the two sides have nothing in common, the other side does
/// not speak TLS, or the connection ends meanwhile.
pub(super) async fn handshake(
    io: Box<dyn Io>,
    tls: &Prepared,
    host: &str,
) -> Result<(Box<dyn Io>, &'static str), AttemptError> {
    let name = match &tls.server_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(host.to_owned()).map_err(|_| {
            let what = format!("no certificate can be for the host {host:?}; set a server name");
            AttemptError::new(Event::TlsFailed, what)
        })?,
    };
    let connecting = TlsConnector::from(tls.config.clone()).connect(name, io).await;
    let wanted = tls.config.alpn_protocols.first().map(Vec::as_slice);
    let stream = connecting.map_err(|error| failed(error, wanted == Some(HTTP2)))?;
    let session = stream.get_ref().1;
    let agreed = session.alpn_protocol();
    // A server that agrees on no protocol speaks HTTP/1.1.
    if wanted == Some(HTTP2) && agreed != Some(HTTP2) {
        return Err(other_protocol(true));
    }
    let version = match (session.protocol_version(), session.handshake_kind()) {
        (Some(ProtocolVersion::TLSv1_2), Some(HandshakeKind::Resumed)) => "1.2, resumed",
        (Some(ProtocolVersion::TLSv1_2), _) => "1.2",
        (_, Some(HandshakeKind::Resumed)) => "1.3, resumed",
        _ => "1.3",
    };
    Ok((Box::new(stream), version))
}

fn failed(error: io::Error, is_http2: bool) -> AttemptError {
    let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref()).map(told) else {
        let what = format!("the connection was lost in the TLS handshake: {error}");
        return AttemptError::new(Event::ConnectFailed, what).with_source(error);
    };
    // These messages say all that the error says.
    match fault {
        Fault::Final(what, hint) => {
            let error = AttemptError::new(Event::TlsFailed, what);
            hint.into_iter().fold(error, AttemptError::with_hint)
        }
        Fault::Passing(what) => AttemptError::new(Event::ConnectFailed, what),
        Fault::OtherProtocol => other_protocol(is_http2),
        Fault::NotTls => {
            let hint = Hint::PortWithoutTls;
            AttemptError::new(Event::TlsFailed, hint.found()).with_hint(hint)
        }
    }
}

/// The server does not take the protocol that the address is for.
fn other_protocol(is_http2: bool) -> AttemptError {
    let (wanted, hint) = match is_http2 {
        true => ("HTTP/2, which gRPC needs", Hint::PortForHttpOrWebsocket),
        false => ("HTTP/1.1", Hint::PortForGrpc),
    };
    let what = format!("the server does not speak {wanted}, over TLS (ALPN); {hint}");
    AttemptError::new(Event::TlsFailed, what).with_hint(hint)
}

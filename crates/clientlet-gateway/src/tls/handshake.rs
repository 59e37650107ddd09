//! The handshake of a connection, and the record of it.

use std::io;

use rustls::server::{Acceptor, ClientHello};
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;

use super::{Server, TlsVersion, subject};
use crate::fault::FaultKind;
use crate::listener::Listener;
use crate::stream::Stream;
use crate::world::{Protocol, World};

/// A TLS handshake that succeeded or failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Handshake {
    /// The number of the connection, from 1.
    pub connection: u64,
    /// The name of the server that the client asked for (SNI); `None` if the client uses an IP
    /// address.
    pub server_name: Option<String>,
    /// The protocols that the client offered (ALPN), in its order.
    pub offered: Vec<String>,
    /// The protocol that was agreed on; `None` if the client offered none, or if the handshake
    /// failed before.
    pub agreed: Option<String>,
    /// The version that was agreed on; `None` if the handshake failed before.
    pub version: Option<TlsVersion>,
    /// Whether the client resumed an earlier session.
    pub is_resumed: bool,
    /// The client's certificate, in DER. A resumed session has that of its first handshake.
    pub client_certificate: Option<Vec<u8>>,
    /// The common name of the client's certificate.
    pub client_name: Option<String>,
    /// The fault that struck the handshake.
    pub fault: Option<FaultKind>,
    /// Why the handshake failed, such as the alert that the client sent. `None` if it succeeded. A
    /// client may refuse the gateway's certificate without an alert, by ending the connection.
    pub error: Option<String>,
}

impl Handshake {
    fn begin(connection: u64) -> Self {
        Self {
            connection,
            server_name: None,
            offered: Vec::new(),
            agreed: None,
            version: None,
            is_resumed: false,
            client_certificate: None,
            client_name: None,
            fault: None,
            error: None,
        }
    }

    fn hear(&mut self, hello: &ClientHello<'_>) {
        self.server_name = hello.server_name().map(str::to_owned);
        self.offered = hello.alpn().into_iter().flatten().map(text).collect();
    }

    fn end(&mut self, connection: &ServerConnection) {
        self.agreed = connection.alpn_protocol().map(text);
        self.version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Some(TlsVersion::V1_2),
            Some(ProtocolVersion::TLSv1_3) => Some(TlsVersion::V1_3),
            _ => None,
        };
        self.is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        self.client_name = certificate.and_then(|der| subject::common_name(der));
        self.client_certificate = certificate.map(|der| der.to_vec());
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

impl Server {
    /// Makes a connection secret, and notes the handshake in the journal. Returns `None` if the
    /// handshake fails or takes longer than a connection may be idle, or if the gateway stops.
    pub(crate) async fn shake<L: Listener>(
        &self,
        world: &World,
        io: L::Io,
        protocol: Protocol,
        number: u64,
    ) -> Option<Stream<L>> {
        let mut handshake = Handshake::begin(number);
        handshake.fault = world.schedule.of_handshake(number).cloned();
        let stream = tokio::select! {
            stream = self.agree::<L>(io, protocol, &mut handshake) => stream,
            () = world.stops() => Err(io::ErrorKind::ConnectionAborted.into()),
            () = world.idles() => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = &stream {
            handshake.error = Some(error.to_string());
        }
        world.journal.shook(handshake);
        stream.ok()
    }

    async fn agree<L: Listener>(
        &self,
        io: L::Io,
        protocol: Protocol,
        handshake: &mut Handshake,
    ) -> io::Result<Stream<L>> {
        if handshake.fault == Some(FaultKind::Plain) {
            handshake.error = Some("a fault has left the handshake out".into());
            return Ok(Stream::Plain(io));
        }
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        handshake.hear(&start.client_hello());
        strike::<L>(&mut start.io, handshake.fault.as_ref()).await?;
        let config = self.config(protocol, handshake.fault.as_ref());
        let stream = start.into_stream(config).await?;
        handshake.end(stream.get_ref().1);
        let stream = Box::new(stream);
        Ok(match self.announces_end {
            true => Stream::Tls(stream),
            false => Stream::TlsWithoutEnd(stream),
        })
    }
}

/// Does what a fault does in place of the handshake.
///
/// # Errors
///
/// The fault has ended the handshake, or the client has.
async fn strike<L: Listener>(io: &mut L::Io, fault: Option<&FaultKind>) -> io::Result<()> {
    match fault {
        Some(FaultKind::ResetAfter) => L::reset_on_drop(io),
        Some(FaultKind::Stall) => ignore(io).await,
        Some(FaultKind::Drop) => {
            io.shutdown().await?;
            ignore(io).await;
        }
        Some(FaultKind::OnlyTls(1)) => {
            io.write_all(&hello_of_tls_1_1()).await?;
            io.flush().await?;
            ignore(io).await;
        }
        _ => return Ok(()),
    }
    Err(io::Error::other("a fault has ended the handshake"))
}

/// Reads until the client leaves.
async fn ignore(io: &mut (impl AsyncRead + Unpin)) {
    let mut ignored = [0; 1024];
    while io.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}

/// The first message of a server that speaks TLS 1.1.
fn hello_of_tls_1_1() -> Vec<u8> {
    // A record (22) with a ServerHello (2), each with its version and length.
    let mut hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([0; 32]); // The server's random bytes.
    hello.extend([0, 0xc0, 0x13, 0]); // No session, a cipher suite of TLS 1.1, no compression.
    hello
}

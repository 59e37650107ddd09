//! A proxy that records what it hears, and fails when it is told to.

use std::sync::{Arc, Mutex};

use clientlet_interop::Certificate;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What is spoken to the proxy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Http,
    Https,
    Socks,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Http, Kind::Https, Kind::Socks];

    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks => "socks5h",
        }
    }
}

/// What the proxy does with a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    /// Connects to the gateway.
    Works,
    /// In SOCKS: connects, waits until the gateway speaks unasked, and sends its bytes with the answer.
    Coalesces,
    /// Says that it has connected to the gateway, and answers in its place.
    AnswersItself,
    ClosesAtOnce,
    /// Closes when the client has said something.
    ClosesAfterTheRequest,
    NeverAnswers,
    AnswersGarbage,
    /// Answers with a head that has no end.
    EndlessHead,
}

/// A running proxy.
pub(crate) struct Proxy {
    kind: Kind,
    address: String,
    /// For a proxy over TLS.
    pub(crate) certificate: Certificate,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

/// What a proxy has heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// What clients said to the proxy itself: a head, or the messages of SOCKS.
    pub(crate) words: Vec<Vec<u8>>,
    /// The number of clients that have shown a certificate.
    pub(crate) certificates: usize,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn start(kind: Kind, mood: Mood) -> Proxy {
        Proxy::asking(kind, mood, None).await
    }

    /// Starts a proxy that asks its clients for a certificate of this CA, in PEM.
    pub(crate) async fn asking(kind: Kind, mood: Mood, clients: Option<&str>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let certificate = Certificate::new().unwrap();
        let tls = acceptor(&certificate, clients);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let ear = heard.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if mood == Mood::ClosesAtOnce {
                    continue;
                }
                tokio::spawn(serve(stream, kind, mood, tls.clone(), ear.clone()));
            }
        });
        Proxy { kind, address, certificate, heard, task }
    }

    /// The proxy's URL with credentials, such as `user:password@`.
    pub(crate) fn url(&self, userinfo: &str) -> String {
        format!("{}://{userinfo}{}", self.kind.scheme(), self.address)
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

fn acceptor(certificate: &Certificate, clients: Option<&str>) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(certificate.certificate()).unwrap()];
    let key = PrivateKeyDer::from_pem_file(certificate.key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = verifier.allow_unauthenticated().build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}

/// Ends when either side has ended.
async fn serve(
    stream: TcpStream,
    kind: Kind,
    mood: Mood,
    tls: TlsAcceptor,
    heard: Arc<Mutex<Heard>>,
) {
    if kind != Kind::Https {
        return speak(stream, kind, mood, &heard).await;
    }
    // A client that does not trust the certificate ends the handshake.
    let Ok(stream) = tls.accept(stream).await else { return };
    let has_shown = stream.get_ref().1.peer_certificates().is_some();
    heard.lock().unwrap().certificates += usize::from(has_shown);
    speak(stream, kind, mood, &heard).await;
}

/// The end of a connection is no error of the proxy's.
async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    kind: Kind,
    mood: Mood,
    heard: &Mutex<Heard>,
) {
    let said = match (mood, kind) {
        (Mood::Works | Mood::Coalesces | Mood::AnswersItself, Kind::Socks) => {
            return socks(stream, mood, heard).await;
        }
        (_, Kind::Socks) => {
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await.map(|_| greeting.to_vec())
        }
        (_, Kind::Http | Kind::Https) => head(&mut stream).await,
    };
    let Ok(said) = said else { return };
    heard.lock().unwrap().words.push(said.clone());
    match mood {
        Mood::Works | Mood::Coalesces => http(stream, &said).await,
        Mood::AnswersItself => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let _ = stream.write_all(PAGE).await;
            let _ = stream.flush().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Mood::ClosesAtOnce | Mood::ClosesAfterTheRequest => {}
        Mood::NeverAnswers => std::future::pending().await,
        Mood::AnswersGarbage => {
            let _ = stream.write_all(b"\0\x01garbage\xff\r\n\r\n").await;
            let _ = stream.flush().await;
            // The client ends the connection.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Mood::EndlessHead => {
            let mut line: &[u8] = b"HTTP/1.1 200 OK\r\n";
            while stream.write_all(line).await.is_ok() {
                line = b"X-More: and more and more\r\n";
            }
        }
    }
}

/// Reads up to the empty line, and not beyond it.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

async fn http<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, head: &[u8]) {
    let text = std::str::from_utf8(head).unwrap();
    let target = text.split(' ').nth(1).unwrap();
    let is_tunnel = text.starts_with("CONNECT ");
    let authority = match is_tunnel {
        true => target,
        false => target.strip_prefix("http://").unwrap().split('/').next().unwrap(),
    };
    let mut gateway = TcpStream::connect(authority).await.unwrap();
    let begun = match is_tunnel {
        true => stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await,
        false => {
            // The credentials were for this proxy. Without the header the next request, which may
            // come on this connection, would have it: each request gets a connection.
            let lines = text.trim_end().split("\r\n");
            let kept = lines.filter(|line| !line.to_lowercase().starts_with("proxy-"));
            let kept: Vec<&str> = kept.collect();
            let head = format!("{}\r\nConnection: close\r\n\r\n", kept.join("\r\n"));
            gateway.write_all(head.as_bytes()).await
        }
    };
    if begun.is_ok() {
        let _ = copy_bidirectional(&mut stream, &mut gateway).await;
    }
}

/// What a portal answers to everything.
const PAGE: &[u8] = b"<html>log in first</html>";

async fn socks<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, mood: Mood, heard: &Mutex<Heard>) {
    let mut said = vec![0; 2];
    stream.read_exact(&mut said).await.unwrap();
    let mut methods = vec![0; said[1].into()];
    stream.read_exact(&mut methods).await.unwrap();
    let by_password = methods.contains(&2);
    said.extend(methods);
    stream.write_all(&[5, if by_password { 2 } else { 0 }]).await.unwrap();
    if by_password {
        for skipped in [1, 0] {
            let mut text = vec![0; skipped];
            stream.read_exact(&mut text).await.unwrap();
            let length = stream.read_u8().await.unwrap();
            text.resize(length.into(), 0);
            stream.read_exact(&mut text).await.unwrap();
            said.extend(text);
        }
        stream.write_all(&[1, 0]).await.unwrap();
    }
    // Version, command, zero, IPv4, address and port.
    let mut request = [0; 10];
    stream.read_exact(&mut request).await.unwrap();
    said.extend(request);
    heard.lock().unwrap().words.push(said);
    let ip: [u8; 4] = request[4..8].try_into().unwrap();
    let port = u16::from_be_bytes([request[8], request[9]]);
    if mood == Mood::AnswersItself {
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        stream.write_all(PAGE).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        return;
    }
    let mut gateway = TcpStream::connect((std::net::Ipv4Addr::from(ip), port)).await.unwrap();
    // With a name as the bound address, whose length the client must read.
    let mut answer = b"\x05\0\0\x03\x05proxy\0\x01".to_vec();
    if mood == Mood::Coalesces {
        gateway.read_buf(&mut answer).await.unwrap();
    }
    stream.write_all(&answer).await.unwrap();
    let _ = copy_bidirectional(&mut stream, &mut gateway).await;
}

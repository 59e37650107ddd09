//! A server or a proxy that answers without end takes no memory of the client: header lines, interim
//! answers, blocks of headers in HTTP/2, certificates. This test has a binary of its own, because the
//! counting allocator applies to the whole process, including the server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use clientlet::{Client, DocArray, Document, ErrorKind, Pem, RetryPolicy, Tls};
use clientlet_interop::Certificate;
use peak_alloc::PeakAlloc;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// What a server sends without end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flood {
    /// Header lines after a status.
    Lines,
    /// One header line.
    Line,
    /// Answers with status 102, each of which is complete.
    Interim,
    /// The headers of one answer in HTTP/2, in frames that go on.
    Continuation,
    /// Answers with status 102 in HTTP/2.
    Interim2,
}

impl Flood {
    /// What comes once, and what comes again and again.
    fn bytes(self) -> (Vec<u8>, Vec<u8>) {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        match self {
            Flood::Lines => (b"HTTP/1.1 200 OK\r\n".to_vec(), b"x-more: and more\r\n".to_vec()),
            Flood::Line => (b"HTTP/1.1 200 OK\r\nx-more: ".to_vec(), b"and more".to_vec()),
            Flood::Interim => {
                (Vec::new(), b"HTTP/1.1 102 Processing\r\nx-more: 1\r\n\r\n".to_vec())
            }
            Flood::Continuation => {
                // A literal header field without indexing, by RFC 7541: x-more: and more.
                let field = [&[0, 6][..], b"x-more", &[8], b"and more"].concat();
                let block = field.repeat(60);
                let [.., high, low] = block.len().to_be_bytes();
                let head = [&settings[..], &[0, high, low, 1, 0, 0, 0, 0, 1], &block].concat();
                (head, [&[0, high, low, 9, 0, 0, 0, 0, 1][..], &block].concat())
            }
            Flood::Interim2 => {
                let block = [&[0x48, 3][..], b"102"].concat();
                (settings.to_vec(), [&[0, 0, 5, 1, 4, 0, 0, 0, 1][..], &block].concat())
            }
        }
    }
}

/// The limit covers the server's side as well.
const MOST: usize = 6 << 20;
/// The longest time of an attempt, where only the time ends it.
const ATTEMPT: Duration = Duration::from_millis(500);
/// Within this time a call ends, also on a busy machine.
const SOON: Duration = Duration::from_secs(20);

async fn flood(
    what: Flood,
    mut client: impl AsyncRead + AsyncWrite + Unpin,
) -> std::io::Result<()> {
    // The beginning of a request, so that it counts as sent.
    client.read_exact(&mut [0; 16]).await?;
    let (once, again) = what.bytes();
    client.write_all(&once).await?;
    let again = again.repeat(1 + (8 << 10) / again.len());
    loop {
        client.write_all(&again).await?;
    }
}

/// A server with this certificate, which it shows this number of times in its chain.
fn acceptor(certificate: &Certificate, times: usize) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate.certificate()).unwrap();
    let chain: Vec<_> = chain.map(Result::unwrap).collect();
    let last = chain.last().unwrap().clone();
    let chain = chain.into_iter().chain(std::iter::repeat_n(last, times - 1)).collect();
    let key = PrivateKeyDer::from_pem_file(certificate.key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Serves floods, over TLS if there is an acceptor. Returns the address.
async fn serve(what: Flood, acceptor: Option<TlsAcceptor>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            // An error says that the client has left.
            tokio::spawn(async move {
                match acceptor {
                    Some(acceptor) => flood(what, acceptor.accept(client).await.ok()?).await.ok(),
                    None => flood(what, client).await.ok(),
                }
            });
        }
    });
    address
}

/// Posts once. Returns the kind of the error, after checking the memory and the time.
async fn post(
    what: &str,
    url: &str,
    certificate: &Certificate,
    proxy: Option<String>,
) -> ErrorKind {
    let tls = Tls::new().ca(Pem::text(certificate.ca_pem())).without_system_roots(true);
    let builder = Client::builder(url).docarray(DocArray::V1).tls(tls);
    let builder = match proxy {
        Some(proxy) => builder.proxy(proxy),
        None => builder,
    };
    let client = builder.attempt_timeout(ATTEMPT).build().unwrap();
    let (before, began) = (PEAK.current_usage(), Instant::now());
    PEAK.reset_peak_usage();
    let call = client.post("/").documents([Document::text("hey")]).retry(RetryPolicy::new());
    let error = call.send().await.into_result().unwrap_err();
    let peak = PEAK.peak_usage().saturating_sub(before);
    let what = format!("{what} at {url}: {peak} bytes, {:?}, {error}", began.elapsed());
    assert!(peak <= MOST && began.elapsed() < SOON, "{what}");
    error.kind()
}

// There is only one test, because another test at the same time would allocate memory, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_end_take_no_memory_and_end_in_time() {
    let certificate = Certificate::new().unwrap();
    for is_secure in [false, true] {
        let tls = || is_secure.then(|| acceptor(&certificate, 1));
        for (flood, protocols, kind) in [
            (Flood::Lines, &["http", "ws"][..], ErrorKind::TooLarge),
            (Flood::Line, &["http", "ws"], ErrorKind::TooLarge),
            (Flood::Interim, &["http", "ws"], ErrorKind::Timeout),
            (Flood::Continuation, &["grpc"], ErrorKind::Transport),
            (Flood::Interim2, &["grpc"], ErrorKind::Transport),
        ] {
            let address = serve(flood, tls()).await;
            for protocol in protocols {
                let s = if is_secure { "s" } else { "" };
                let url = format!("{protocol}{s}://{address}");
                let met = post(&format!("{flood:?}"), &url, &certificate, None).await;
                assert_eq!(met, kind, "{flood:?} at {url}");
            }
        }
        // A proxy that is asked for a connection.
        for (flood, kind) in
            [(Flood::Lines, ErrorKind::Connect), (Flood::Interim, ErrorKind::Timeout)]
        {
            let scheme = if is_secure { "https" } else { "http" };
            let proxy = format!("{scheme}://{}", serve(flood, tls()).await);
            let what = format!("{flood:?} of {scheme} proxy");
            let met = post(&what, "wss://flow.example", &certificate, Some(proxy)).await;
            assert_eq!(met, kind, "{what}");
        }
    }
    // About 1 MB of certificates, of which a chain needs two or three.
    let address = serve(Flood::Lines, Some(acceptor(&certificate, 2000))).await;
    for protocol in ["https", "wss", "grpcs"] {
        let url = format!("{protocol}://{address}");
        let met = post("certificates", &url, &certificate, None).await;
        assert_eq!(met, ErrorKind::Tls, "{url}");
    }
}

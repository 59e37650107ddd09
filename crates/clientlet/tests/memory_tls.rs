//! A server that sends TLS without end takes no memory of the client: a handshake that never ends, or new
//! keys. This test has a binary of its own, because the counting allocator applies to the
//! whole process, including the server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::sync::Arc;
use std::time::Duration;

use clientlet::{Client, DocArray, Document, ErrorKind, Pem, RetryPolicy, Tls};
use clientlet_interop::Certificate;
use peak_alloc::PeakAlloc;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// What a server sends without end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flood {
    /// One message of the handshake, of 16 MiB, which is the most that its length can say.
    Handshake,
    /// New keys.
    Keys,
}

/// The limit covers the server's side as well.
const MOST: usize = 4 << 20;

/// Far more than a server may take.
const ATTEMPT: Duration = Duration::from_secs(30);

async fn flood(flood: Flood, acceptor: TlsAcceptor, mut client: TcpStream) -> std::io::Result<()> {
    if flood == Flood::Handshake {
        client.read_exact(&mut [0; 5]).await?;
        // Records of a handshake (22); the message is a ServerHello (2).
        let mut record = [&[22, 3, 3, 0x40, 0][..], &[0; 1 << 14]].concat();
        record[5..9].copy_from_slice(&[2, 0xff, 0xff, 0xff]);
        loop {
            client.write_all(&record).await?;
            record[5..9].fill(0);
        }
    }
    let mut client = acceptor.accept(client).await?;
    loop {
        let (io, tls) = client.get_mut();
        tls.refresh_traffic_keys().map_err(std::io::Error::other)?;
        let mut record = Vec::new();
        tls.write_tls(&mut record)?;
        io.write_all(&record).await?;
    }
}

async fn serve(what: Flood, certificate: &Certificate) -> String {
    let chain = CertificateDer::pem_file_iter(certificate.certificate()).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificate.key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            // An error says that the client has left.
            tokio::spawn(async move { flood(what, acceptor, client).await.ok() });
        }
    });
    url
}

// There is only one test, because another test at the same time would allocate memory, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_handshakes_and_keys_take_no_memory_and_end_in_time() {
    let certificate = Certificate::new().unwrap();
    for what in [Flood::Handshake, Flood::Keys] {
        let url = serve(what, &certificate).await;
        let tls = Tls::new().ca(Pem::text(certificate.ca_pem())).without_system_roots(true);
        let builder = Client::builder(&url).docarray(DocArray::V1).tls(tls);
        let client = builder.attempt_timeout(ATTEMPT).build().unwrap();
        let before = PEAK.current_usage();
        PEAK.reset_peak_usage();
        let document = Document::text("hey");
        let call = client.post("/").document(&document).retry(RetryPolicy::new());
        let error = call.send().await.into_result().unwrap_err();
        let peak = PEAK.peak_usage().saturating_sub(before);
        println!("{what:?}: {peak} bytes, {error}");
        // rustls ends a connection whose keys change all the time.
        let kind = match what {
            Flood::Handshake => ErrorKind::Tls,
            Flood::Keys => ErrorKind::Transport,
        };
        assert_eq!(error.kind(), kind, "{what:?}: {error}");
        assert!(peak <= MOST, "{what:?}: {peak} bytes");
    }
}

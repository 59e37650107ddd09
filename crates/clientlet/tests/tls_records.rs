//! Faults in the records of TLS, between a client and the embedded gateway, whose journal is the witness:
//! connections that end without a close_notify, records that were changed, bytes behind the end, new keys.
//! And servers that have lost their sessions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod events;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clientlet::{Client, Delivery, DocArray as Docs, Document, ErrorKind, Pem, RetryPolicy, Tls};
use clientlet_gateway::{DocArray, Gateway};
use clientlet_interop::Certificate;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A way to a gateway: the scheme, and whether each request is a unary call.
type Way = (&'static str, bool);
const WAYS: [Way; 4] = [("https", false), ("wss", false), ("grpcs", false), ("grpcs", true)];

const DOCUMENTS: usize = 20;

/// What happens to a connection after some bytes for the client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The connection ends without a close_notify.
    Cut,
    /// The connection ends with a close_notify.
    Closed,
    /// The connection goes on after a close_notify.
    ClosedAndGoesOn,
    /// A record comes that was changed on the way.
    Changed,
    /// A record with a type that TLS does not have.
    Foreign,
    /// The server changes its key, which TLS 1.3 allows at any time. Nothing is lost.
    NewKey,
}

const FAULTS: [Fault; 6] = [
    Fault::Cut,
    Fault::Closed,
    Fault::ClosedAndGoesOn,
    Fault::Changed,
    Fault::Foreign,
    Fault::NewKey,
];

/// The number of the client's bytes after which a fault strikes: before the first one, in the answer to an
/// upgrade or in the first frames of HTTP/2, and within answers.
const PLACES: [usize; 6] = [0, 1, 70, 200, 420, 1500];

/// The connection that a fault strikes, from 0. Over HTTP the first one is used for a question, which may be
/// asked again whatever happens to it.
fn victim(way: Way) -> usize {
    usize::from(way.0 == "https")
}

/// Ends TLS before a gateway that has none. Returns the port.
async fn terminate(
    gateway: SocketAddr,
    config: ServerConfig,
    victim: usize,
    fault: (Fault, usize),
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        for number in 0.. {
            let (client, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            let fault = (number == victim).then_some(fault);
            // An error says that a side ended the connection, which is the purpose.
            tokio::spawn(async move { serve(acceptor, client, gateway, fault).await.ok() });
        }
    });
    port
}

fn client(certificate: &Certificate, way: Way, port: u16) -> Client {
    let tls = Tls::new().ca(Pem::text(certificate.ca_pem())).without_system_roots(true);
    let url = format!("{}://127.0.0.1:{port}", way.0);
    Client::builder(&url).unary(way.1).tls(tls).docarray(Docs::V1).build().unwrap()
}

/// What a server with this certificate offers.
fn config(certificate: &Certificate, protocol: &[u8]) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(certificate.certificate()).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificate.key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

async fn serve(
    acceptor: TlsAcceptor,
    client: TcpStream,
    gateway: SocketAddr,
    mut fault: Option<(Fault, usize)>,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = acceptor.accept(client).await?;
    let mut gateway = TcpStream::connect(gateway).await?;
    gateway.set_nodelay(true)?;
    let (mut there, mut back) = ([0; 4096], [0; 4096]);
    let mut passed = 0;
    loop {
        if let Some((kind, 0)) = fault {
            // Before anything is passed on, but after the request has come.
            let read = client.read(&mut there).await?;
            gateway.write_all(&there[..read]).await?;
            fault = None;
            if strike(&mut client, kind).await? {
                return Ok(());
            }
        }
        tokio::select! {
            read = client.read(&mut there) => match read? {
                0 => return Ok(()),
                read => gateway.write_all(&there[..read]).await?,
            },
            read = gateway.read(&mut back) => {
                let read = read?;
                if read == 0 {
                    return client.shutdown().await;
                }
                let mut rest = &back[..read];
                if let Some((kind, after)) = fault
                    && passed + read > after
                {
                    let (before, behind) = rest.split_at(after.saturating_sub(passed));
                    client.write_all(before).await?;
                    client.flush().await?;
                    rest = behind;
                    fault = None;
                    if strike(&mut client, kind).await? {
                        return Ok(());
                    }
                }
                passed += read;
                client.write_all(rest).await?;
                client.flush().await?;
            }
        }
    }
}

/// Does what the fault says. Returns whether the connection is to end.
async fn strike(client: &mut TlsStream<TcpStream>, fault: Fault) -> std::io::Result<bool> {
    match fault {
        Fault::Cut => client.get_mut().0.shutdown().await?,
        Fault::Closed => client.shutdown().await?,
        Fault::ClosedAndGoesOn => {
            let (io, tls) = client.get_mut();
            tls.send_close_notify();
            let mut records = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut records)?;
            }
            io.write_all(&records).await?;
            return Ok(false);
        }
        Fault::Changed => {
            let record = [&[0x17, 3, 3, 0, 40][..], &[0x5a; 40]].concat();
            client.get_mut().0.write_all(&record).await?;
        }
        Fault::Foreign => client.get_mut().0.write_all(&[0x63, 3, 3, 0, 1, 0]).await?,
        Fault::NewKey => {
            client.get_mut().1.refresh_traffic_keys().unwrap();
            return Ok(false);
        }
    }
    // Until the client has left, so that no reset takes its place.
    let mut ignored = [0; 1024];
    let left =
        async { while client.get_mut().0.read(&mut ignored).await.is_ok_and(|read| read > 0) {} };
    let _ = tokio::time::timeout(Duration::from_secs(5), left).await;
    Ok(true)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_records_nothing_is_lost_and_nothing_counts_as_sent_or_unsent_wrongly()
{
    events::watch();
    let certificate = Certificate::new().unwrap();
    let builder = Gateway::builder().docarray(DocArray::V1).journal_bytes(0);
    let gateway = builder.websocket(true).grpc(true).start().await.unwrap();
    for way in WAYS {
        for fault in FAULTS {
            for after in PLACES {
                for retries in [false, true] {
                    run(&gateway, &certificate, way, (fault, after), retries).await;
                }
            }
        }
    }
}

async fn run(
    gateway: &Gateway,
    certificate: &Certificate,
    way: Way,
    fault: (Fault, usize),
    retries: bool,
) {
    let what = format!("{way:?}, {fault:?}, retries: {retries}");
    let (address, protocol): (_, &[u8]) = match way.0 {
        "https" => (gateway.http_address(), b"http/1.1"),
        "wss" => (gateway.websocket_address(), b"http/1.1"),
        _ => (gateway.grpc_address(), b"h2"),
    };
    let port = terminate(address, config(certificate, protocol), victim(way), fault).await;
    let client = client(certificate, way, port);
    let policy = RetryPolicy::new().initial_backoff(Duration::ZERO).max_backoff(Duration::ZERO);
    let policy = policy.max_attempts(if retries { 5 } else { 1 });
    let documents = (0..DOCUMENTS).map(|n| Document::text("a").with_id(n.to_string()));
    let call = client.post("/upper").documents(documents).request_size(1).prefetch(4);
    let results = call.retry(policy).timeout(Duration::from_secs(30)).send().await;

    let mut ended = vec![0; DOCUMENTS];
    let arrivals = gateway.journal().arrivals();
    let arrived = |id: &str| arrivals.get(id).copied().unwrap_or_default() as usize;
    for result in results {
        let input = match result {
            Ok(response) => {
                let back: Vec<Document> = response.documents().unwrap();
                let own = (Some(response.input().start.to_string()), Some("A".to_owned()));
                assert_eq!((back[0].id.clone(), back[0].text.clone()), own, "{what}");
                let arrived = arrived(response.request_id());
                let attempts = response.attempts() as usize;
                assert!((1..=attempts).contains(&arrived), "{what}: {arrived} of {attempts}");
                response.input()
            }
            Err(error) => {
                assert!(!retries && fault.0 != Fault::NewKey, "{what}: {error}");
                assert_eq!(error.kind(), ErrorKind::Transport, "{what}: {error}");
                let arrived = error.request_id().map_or(0, arrived);
                assert!(arrived <= 1, "{what}: {arrived}");
                let is_unsent = error.delivery() == Delivery::NotSent;
                assert!(!is_unsent || arrived == 0, "{what}: it arrived, {error}");
                assert_eq!(error.may_have_run(), !is_unsent, "{what}: {error}");
                error.input().unwrap()
            }
        };
        ended[usize::try_from(input.start).unwrap()] += 1;
    }
    assert!(ended.iter().all(|times| *times == 1), "{what}: {ended:?}");
}

/// An answer whose length only its end tells, and what follows from it when the end is announced by a
/// close_notify.
const ENDLESS: [(&str, bool); 2] = [
    ("", true),
    // The last chunk is missing, whatever TLS says.
    ("transfer-encoding: chunked\r\n", false),
];

const ANSWER: &str =
    r#"{"header":{"requestId":"r","status":{"code":0}},"data":[{"id":"0","text":"A"}]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_only_the_end_of_the_connection_ends_counts_only_if_the_end_is_announced() {
    let certificate = Certificate::new().unwrap();
    for (header, is_complete) in ENDLESS {
        for announces in [false, true] {
            let what = format!("{header:?}, close_notify: {announces}");
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let acceptor = TlsAcceptor::from(Arc::new(config(&certificate, b"http/1.1")));
            tokio::spawn(async move {
                while let Ok((peer, _)) = listener.accept().await {
                    // An error says that the client has left.
                    answer(&acceptor, peer, header, announces).await.ok();
                }
            });
            let client = client(&certificate, ("https", false), port);
            let document = Document::text("a").with_id("0");
            let call = client.post("/upper").document(&document);
            let ended = call.retry(RetryPolicy::new()).send().await.into_result();
            match ended {
                Ok(answers) => {
                    assert!(is_complete && announces, "{what}");
                    let back: Vec<Document> = answers[0].documents().unwrap();
                    assert_eq!(back[0].text.as_deref(), Some("A"), "{what}");
                }
                Err(error) => {
                    assert!(!(is_complete && announces), "{what}: {error}");
                    let ending = (error.kind(), error.delivery(), error.may_have_run());
                    let lost = (ErrorKind::Transport, Delivery::Unknown, true);
                    assert_eq!(ending, lost, "{what}: {error}");
                }
            }
        }
    }
}

/// Whether a request has come with its whole body.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse().unwrap())
}

/// Answers one request, and a question with 404.
async fn answer(
    acceptor: &TlsAcceptor,
    client: TcpStream,
    header: &str,
    announces: bool,
) -> std::io::Result<()> {
    let mut client = acceptor.accept(client).await?;
    let mut request = Vec::new();
    while !is_whole(&request) {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let text = match request.starts_with(b"GET") {
        true => {
            "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned()
        }
        false => {
            let body = match header {
                "" => ANSWER.to_owned(),
                _ => format!("{:x}\r\n{ANSWER}\r\n", ANSWER.len()),
            };
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{header}\r\n{body}")
        }
    };
    client.write_all(text.as_bytes()).await?;
    client.flush().await?;
    match announces {
        true => client.shutdown().await,
        false => client.get_mut().0.shutdown().await,
    }
}

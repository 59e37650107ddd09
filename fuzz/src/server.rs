//! A gateway that sends the fuzzer's input on every connection. The client runs over the real hyper, h2
//! and tokio-websockets.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clientlet::clientlets::ClientletOptions;
use clientlet::{Client, DocArray, Document, RetryPolicy};
use sha1_smol::Sha1;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::{check_error, check_response};

/// How the gateway sends its bytes and what the client asks. The input's first two bytes choose both.
#[derive(Clone, Copy, Debug)]
struct Manner {
    docarray: DocArray,
    /// Selects requests, questions or a stream of documents.
    asks: u8,
    /// Whether the gateway closes after its bytes. Otherwise it stays silent.
    closes: bool,
    /// Whether the gateway stops reading after a few bytes.
    is_deaf: bool,
    /// The number of bytes that come at a time.
    piece: usize,
}

impl Manner {
    fn new(flags: u8, piece: u8) -> Manner {
        Manner {
            docarray: if flags & 1 == 0 { DocArray::V2 } else { DocArray::V1 },
            asks: flags >> 1 & 3,
            closes: flags & 8 == 0,
            is_deaf: flags & 16 != 0,
            piece: usize::from(piece).max(1) * 8,
        }
    }
}

/// Longer than any bounded operation of the client takes in its paused time.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Runs a client against the gateway over the URL's protocol. Each request must end once.
pub fn check_server(url: &str, input: &[u8]) {
    let Some((&[flags, piece], script)) = input.split_first_chunk() else { return };
    let manner = Manner::new(flags, piece);
    let script: Arc<[u8]> = script.into();
    let is_upgraded = url.starts_with("ws");
    let mut options = ClientletOptions::new()
        .retry(RetryPolicy::new().max_attempts(2))
        .attempt_timeout(Duration::from_secs(50))
        .answer_limit(1 << 16)
        .docarray(manner.docarray);
    if url.ends_with("unary") {
        options = options.unary(true);
    }
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let dial = move || Server::new(manner, script.clone(), is_upgraded);
        let client = clientlet::fuzzing::client(url, &options, dial);
        timeout(FOR_EVER, ask(&client, manner)).await.expect("it ends");
        drop(client);
        // Lets the client's remaining tasks end.
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
}

async fn ask(client: &Client, manner: Manner) {
    match manner.asks {
        0 | 1 => {
            let documents = [Document::text("one"), Document::text("two"), Document::text("three")];
            let call = client.post("/").documents(documents).request_size(1).prefetch(3);
            let answers = call.send().await.into_iter().collect::<Vec<_>>();
            assert_eq!(answers.len(), 3, "each request ends once: {answers:?}");
            for answer in &answers {
                match answer {
                    Ok(response) => check_response(manner.docarray, response),
                    Err(error) => check_error(error),
                }
            }
        }
        2 => {
            let asked = [
                client.ready().await.err(),
                client.status().await.err(),
                client.endpoints().await.err(),
                client.health("").await.err(),
            ];
            asked.iter().flatten().for_each(check_error);
        }
        _ => {
            let mut stream =
                client.stream_document("/", &Document::text("one")).stream::<Document>();
            let mut is_ended = false;
            while let Some(document) = stream.next().await {
                assert!(!is_ended, "an error is the last item");
                if let Err(error) = document {
                    check_error(&error);
                    // A document that does not fit does not end the stream.
                    is_ended = !error.message().contains("does not fit");
                }
            }
        }
    }
}

/// The gateway's end of a connection. The gateway sends nothing before it has read something.
#[derive(Debug)]
struct Server {
    manner: Manner,
    answer: Vec<u8>,
    at: usize,
    is_asked: bool,
    /// The bytes read so far of a request to upgrade, since the answer depends on the request.
    upgrade: Option<Vec<u8>>,
    script: Arc<[u8]>,
    taken: usize,
    reader: Option<Waker>,
}

/// The number of bytes that a deaf gateway reads.
const MOST_TAKEN: usize = 600;

impl Server {
    fn new(manner: Manner, script: Arc<[u8]>, is_upgraded: bool) -> Server {
        Server {
            manner,
            answer: if is_upgraded { Vec::new() } else { script.to_vec() },
            at: 0,
            is_asked: false,
            upgrade: is_upgraded.then(Vec::new),
            script,
            taken: 0,
            reader: None,
        }
    }

    /// Reads bytes from the client, and answers an upgrade as a gateway does.
    fn take(&mut self, bytes: &[u8]) {
        let Some(head) = &mut self.upgrade else {
            self.is_asked = true;
            return;
        };
        head.extend_from_slice(bytes);
        if !head.ends_with(b"\r\n\r\n") {
            return;
        }
        let text = String::from_utf8_lossy(head);
        let key = text.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
        let mut sha1 = Sha1::new();
        sha1.update(key.unwrap_or_default().as_bytes());
        sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let accept = STANDARD.encode(sha1.digest().bytes());
        self.answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        self.answer.extend_from_slice(&self.script);
        self.upgrade = None;
        self.is_asked = true;
    }
}

impl AsyncRead for Server {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_over = self.at == self.answer.len();
        if !self.is_asked || is_over && !self.manner.closes {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let most = buffer.remaining().min(self.manner.piece);
        let end = self.answer.len().min(self.at + most);
        buffer.put_slice(&self.answer[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = match self.manner.is_deaf {
            true => MOST_TAKEN.saturating_sub(self.taken),
            false => usize::MAX,
        };
        if room == 0 {
            // Pending for ever: no wake-up follows.
            return Poll::Pending;
        }
        let taken = bytes.len().min(room);
        self.taken += taken;
        self.take(&bytes[..taken]);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

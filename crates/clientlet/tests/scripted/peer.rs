//! A peer that speaks HTTP/2 and sends whatever a test scripts, unlike any real gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Headers = &'static [(&'static str, &'static [u8])];

/// The answer to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Headers,
    pub(crate) data: &'static [u8],
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The stream ends with the head or the data.
    Plain,
    Trailers(Headers),
    Reset(Reason),
    /// The stream is reset before the head.
    ResetAtOnce(Reason),
}

pub(crate) struct Peer {
    pub(crate) url: String,
    calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

pub(crate) const GRPC: (&str, &[u8]) = ("content-type", b"application/grpc");

/// The questions that a client asks before it sends documents.
const QUESTIONS: [&str; 2] =
    ["/jina.JinaDiscoverEndpointsRPC/endpoint_discovery", "/jina.JinaInfoRPC/_status"];
const UNIMPLEMENTED: Answer =
    Answer { status: 200, head: &[GRPC], data: b"", end: End::Trailers(&[("grpc-status", b"12")]) };

impl Peer {
    /// Starts a peer that gives these answers in turn, and then repeats the last one forever.
    pub(crate) async fn start(answers: Vec<Answer>) -> Peer {
        crate::events::watch();
        Peer::over(answers, false).await
    }

    /// Starts a peer like `start`, but without a status and without a list of endpoints.
    pub(crate) async fn without_questions(answers: Vec<Answer>) -> Peer {
        crate::events::watch();
        Peer::over(answers, true).await
    }

    async fn over(answers: Vec<Answer>, has_no_questions: bool) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("grpc://{}", listener.local_addr().unwrap());
        let calls = Arc::<AtomicUsize>::default();
        let counter = calls.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(
                    socket,
                    answers.clone(),
                    has_no_questions,
                    counter.clone(),
                ));
            }
        });
        Peer { url, calls, task }
    }

    /// Returns the number of calls that have come.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    socket: TcpStream,
    answers: Vec<Answer>,
    has_no_questions: bool,
    calls: Arc<AtomicUsize>,
) {
    let mut connection = h2::server::handshake(socket).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let answer = match has_no_questions && QUESTIONS.contains(&request.uri().path()) {
            true => UNIMPLEMENTED,
            false => {
                let number = calls.fetch_add(1, Ordering::SeqCst);
                answers[number.min(answers.len() - 1)]
            }
        };
        // An error means that the client is gone, which is fine.
        tokio::spawn(async move { reply(request, respond, answer).await.ok() });
    }
}

async fn reply(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: Answer,
) -> Result<(), h2::Error> {
    // Waits for a message.
    let mut body = request.into_body();
    let _message = body.data().await.transpose()?;
    if let End::ResetAtOnce(reason) = answer.end {
        respond.send_reset(reason);
        return Ok(());
    }
    let mut head = Response::new(());
    *head.status_mut() = answer.status.try_into().unwrap();
    *head.headers_mut() = headers(answer.head);
    let is_plain = matches!(answer.end, End::Plain);
    let mut stream = respond.send_response(head, is_plain && answer.data.is_empty())?;
    if !answer.data.is_empty() {
        stream.send_data(Bytes::from_static(answer.data), is_plain)?;
    }
    match answer.end {
        End::Plain | End::ResetAtOnce(_) => {}
        End::Trailers(trailers) => stream.send_trailers(headers(trailers))?,
        End::Reset(reason) => stream.send_reset(reason),
    }
    // If the body were dropped earlier, a reset would refuse the rest of the request.
    while body.data().await.transpose()?.is_some() {}
    Ok(())
}

fn headers(pairs: Headers) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static [u8])| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

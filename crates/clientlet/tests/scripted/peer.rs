//! A peer that speaks HTTP/2 and otherwise whatever a test has it say: no gateway answers so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Headers = &'static [(&'static str, &'static [u8])];

/// The answer to every call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Headers,
    pub(crate) data: &'static [u8],
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The head or the data end the stream.
    Plain,
    Trailers(Headers),
    Reset(Reason),
    /// Reset before the head.
    ResetAtOnce(Reason),
}

pub(crate) struct Peer {
    pub(crate) url: String,
    calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

pub(crate) const GRPC: (&str, &[u8]) = ("content-type", b"application/grpc");

/// What is asked before documents are sent.
const QUESTIONS: [&str; 2] =
    ["/jina.JinaDiscoverEndpointsRPC/endpoint_discovery", "/jina.JinaInfoRPC/_status"];
const UNIMPLEMENTED: Answer =
    Answer { status: 200, head: &[GRPC], data: b"", end: End::Trailers(&[("grpc-status", b"12")]) };

impl Peer {
    /// Gives these answers, one after the other, and the last one for ever.
    pub(crate) async fn start(answers: Vec<Answer>) -> Peer {
        Peer::over(answers, false).await
    }

    /// The same but for its status and the list of endpoints, which it does not have.
    pub(crate) async fn without_questions(answers: Vec<Answer>) -> Peer {
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

    /// How many calls have come.
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
        // A client that is gone has seen enough.
        tokio::spawn(async move { reply(request, respond, answer).await.ok() });
    }
}

async fn reply(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: Answer,
) -> Result<(), h2::Error> {
    // A message has come.
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
    // Dropped sooner, the rest of the request would be refused by a reset.
    while body.data().await.transpose()?.is_some() {}
    Ok(())
}

fn headers(pairs: Headers) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static [u8])| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

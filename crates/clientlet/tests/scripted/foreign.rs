//! gRPC from peers that break its rules or do not speak it. On every way of calling, such an answer
//! is an error that describes the answer. It is never a panic, and never reported as a status that
//! the gateway sent.

use std::time::Duration;

use clientlet::clientlets::{ClientletOptions, DataRequest, GrpcClientlet};
use clientlet::{
    Client, ClientBuilder, Delivery, DocArray, Document, Error, ErrorKind, GrpcCode, RetryPolicy,
};
use h2::Reason;

use crate::call::{one, retrying};
use crate::peer::{Answer, End, GRPC, Peer};

/// The ways of asking a gateway for something.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Unary,
    Stream,
    Documents,
    Exchange,
    Status,
    Endpoints,
    Health,
    DryRun,
}

use Way::{Documents, DryRun, Endpoints, Exchange, Health, Status, Stream, Unary};

/// All ways.
const WAYS: &[Way] = &[Unary, Stream, Documents, Exchange, Status, Endpoints, Health, DryRun];

/// The ways on which documents are sent.
const WITH_DOCUMENTS: &[Way] = &[Unary, Stream, Documents, Exchange];

const LIMIT: Duration = Duration::from_secs(20);

/// Starts a peer that gives these answers to requests on this way. The questions that a client asks
/// before it sends documents are answered separately.
async fn peer(way: Way, answers: Vec<Answer>) -> Peer {
    match WITH_DOCUMENTS.contains(&way) {
        true => Peer::without_questions(answers).await,
        false => Peer::start(answers).await,
    }
}

/// Returns the error that follows from an answer.
async fn error(answer: Answer, way: Way) -> Error {
    let peer = peer(way, vec![answer]).await;
    let answered = tokio::time::timeout(LIMIT, ask(&peer.url, way)).await;
    let answered = answered.unwrap_or_else(|_| panic!("{way:?} did not end"));
    answered.expect_err("this cannot be an answer")
}

async fn ask(url: &str, way: Way) -> Result<(), Error> {
    let is_unary = way == Unary;
    let builder = Client::builder(url).docarray(DocArray::V2);
    let client = if is_unary { builder.unary(true) } else { builder }.build()?;
    let mut clientlet = GrpcClientlet::new(url, &ClientletOptions::new())?;
    let request = DataRequest::proto(DocArray::V2, "/upper").document(&Document::text("x"))?;
    match way {
        Unary | Stream => one(&client, RetryPolicy::new()).await.map(drop),
        Documents => {
            let call = client.stream_document("/stream", &Document::text("x"));
            let mut documents = call.stream::<Document>();
            documents.next().await.expect("the stream does not end as if all were well").map(drop)
        }
        Exchange => {
            clientlet.start().await?;
            clientlet.send_message(&request).await.map(drop)
        }
        Status => client.status().await.map(drop),
        Endpoints => client.endpoints().await.map(drop),
        Health => client.health("").await.map(drop),
        DryRun => client.ready().await,
    }
}

const GARBLED: (&str, &[u8]) = ("grpc-status-details-bin", b"!!!");

const fn grpc(data: &'static [u8], end: End) -> Answer {
    Answer { status: 200, head: &[GRPC], data, end }
}

const fn head(status: u16, head: &'static [(&'static str, &'static [u8])]) -> Answer {
    Answer { status, head, data: b"", end: End::Plain }
}

#[tokio::test]
async fn an_answer_that_is_not_grpc_is_described() {
    use ErrorKind::{Decode, Transport};
    let refused: &[(&str, &[u8])] = &[("grpc-status", b"3"), GARBLED];
    let fine: &[(&str, &[u8])] = &[("grpc-status", b"0"), GARBLED];
    let no_number: &[(&str, &[u8])] = &[("grpc-status", b"fine")];
    let ok = End::Trailers(&[("grpc-status", b"0")]);
    let table = [
        // Details that are not base64: at the end, in place of an answer, and with status OK.
        (grpc(b"", End::Trailers(refused)), Decode, "not base64"),
        (grpc(b"", End::Trailers(fine)), Decode, "not base64"),
        (head(200, &[GRPC, ("grpc-status", b"3"), GARBLED]), Decode, "not base64"),
        (grpc(b"", End::Trailers(no_number)), Decode, "not a number"),
        (head(200, &[GRPC, ("grpc-status", b"\xff")]), Decode, "not a number"),
        // Compressed and cut, in a way that the client cannot read, and without naming the compression.
        (
            Answer {
                head: &[GRPC, ("grpc-encoding", b"gzip")],
                ..grpc(b"\x01\0\0\0\x02\x1f\x8b", ok)
            },
            Decode,
            "the answer cannot be read: its gzip data end too early",
        ),
        (
            Answer { head: &[GRPC, ("grpc-encoding", b"snappy")], ..grpc(b"\x01\0\0\0\x01a", ok) },
            Decode,
            "compressed as \"snappy\", which the client cannot read; it reads gzip and deflate",
        ),
        (grpc(b"\x01\0\0\0\x02\x1f\x8b", ok), Decode, "flag"),
        (grpc(b"\x07\0\0\0\x01a", ok), Decode, "flag"),
        // Cut, with and without a message before, in good order and by a reset.
        (grpc(b"", End::Plain), Transport, "without a status"),
        (grpc(b"\0\0\0\0\x05ab", End::Plain), Transport, "within a message"),
        (grpc(b"\0\0\0", End::Trailers(&[("grpc-status", b"0")])), Transport, "within a message"),
        // The head may or may not come before the reset.
        (grpc(b"", End::Reset(Reason::NO_ERROR)), Transport, ""),
        (grpc(b"", End::Reset(Reason::CANCEL)), Transport, "lost"),
        (
            head(200, &[("content-type", b"text/html")]),
            Decode,
            "not application/grpc, and is empty",
        ),
        (
            Answer {
                head: &[("content-type", b"text/html")],
                ..grpc(b"<html>\n\x1b[31mSign in\xff</html>", End::Plain)
            },
            Decode,
            "not application/grpc, and begins with `<html> \\u{1b}[31mSign in\u{fffd}</html>`",
        ),
        (head(204, &[]), Decode, "204"),
    ];
    for (answer, kind, said) in table {
        for way in WAYS {
            let error = error(answer, *way).await;
            let context = format!("{answer:?} by {way:?}: {error:?}");
            assert_eq!(error.kind(), kind, "{context}");
            assert!(error.message().contains(said), "{context}");
            assert!(!error.message().contains("the gateway answered"), "{context}");
            assert!(error.message().len() < 400, "{context}");
            // A question runs no executor.
            assert_eq!(error.may_have_run(), WITH_DOCUMENTS.contains(way), "{context}");
        }
        // A clientlet's stream ends with a status, an equivalent code, or an error.
        let (error, code, message) = duplex(answer).await;
        assert!(error.is_none_or(|error| error.kind() == kind), "{answer:?}");
        assert!(
            code.is_some_and(|code| code != GrpcCode::Ok) && message.contains(said),
            "{answer:?}: {message}"
        );
    }
}

/// Returns the end of a clientlet's stream: the error, if there was one, a code and a message.
async fn duplex(answer: Answer) -> (Option<Error>, Option<GrpcCode>, String) {
    let peer = Peer::without_questions(vec![answer]).await;
    let mut clientlet = GrpcClientlet::new(&peer.url, &ClientletOptions::new()).unwrap();
    clientlet.start().await.unwrap();
    let request = DataRequest::proto(DocArray::V2, "/upper").document(&Document::text("x"));
    let mut stream = clientlet.open_stream().await.unwrap();
    stream.send_message(&request.unwrap()).await.unwrap();
    let mut responses = stream.recv_message();
    let next = tokio::time::timeout(LIMIT, responses.next()).await.expect("it ends");
    let error = next.map(|response| response.expect_err("this cannot be an answer"));
    (error, stream.status_code(), stream.status_message().unwrap_or_default())
}

#[tokio::test]
async fn an_end_without_an_answer_is_not_reported_as_a_status_of_the_gateway() {
    let answer = grpc(b"", End::Trailers(&[("grpc-status", b"0")]));
    for (way, kind) in [
        (Unary, ErrorKind::Decode),
        (Exchange, ErrorKind::Decode),
        (Status, ErrorKind::Decode),
        (Stream, ErrorKind::Transport),
    ] {
        let error = error(answer, way).await;
        assert_eq!(error.kind(), kind, "{way:?}: {error}");
        assert!(!error.message().contains("answered"), "{way:?}: {error}");
        assert_eq!(error.may_have_run(), way != Status, "{way:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_status_counts_even_with_invalid_metadata() {
    // A message that is not text, invalid metadata, an undefined code.
    let odd: &[(&str, &[u8])] =
        &[("grpc-status", b"16"), ("grpc-message", b"%FF\xfe%"), ("x-bin", b"!!!")];
    for (end, said) in [
        (End::Trailers(odd), "UNAUTHENTICATED"),
        (End::Trailers(&[("grpc-status", b"16"), ("grpc-status-details-bin", b"CBA")]), "UNAUTH"),
        (End::Trailers(&[("grpc-status", b"4711"), ("grpc-message", b"odd")]), "UNKNOWN: odd"),
    ] {
        for way in WAYS {
            let error = error(grpc(b"", end), *way).await;
            assert_eq!(error.kind(), ErrorKind::Gateway, "{way:?}: {error}");
            assert!(error.message().contains(said), "{way:?}: {error}");
        }
    }
}

#[tokio::test]
async fn the_status_of_a_proxy_is_reported_and_its_wait_is_kept() {
    const BUSY: &[(&str, &[u8])] = &[("content-type", b"text/html"), ("retry-after", b"1")];
    for status in [429, 503, 502] {
        for way in WAYS {
            let error = error(head(status, BUSY), *way).await;
            assert_eq!(
                error.http_status().map(|status| status.as_u16()),
                Some(status),
                "{way:?}: {error}"
            );
        }
    }
    let unary: fn(ClientBuilder) -> ClientBuilder = |client| client.unary(true);
    for way in [unary, |stream| stream] {
        // The same for a proxy that speaks gRPC, with either header.
        let limited: [&'static [(&'static str, &'static [u8])]; 3] = [
            BUSY,
            &[GRPC, ("grpc-status", b"8"), ("retry-after", b"1")],
            &[GRPC, ("grpc-status", b"14"), ("grpc-retry-pushback-ms", b"1000")],
        ];
        for (headers, status) in limited.into_iter().zip([429, 200, 200]) {
            let peer = Peer::without_questions(vec![head(status, headers), head(404, &[])]).await;
            let client = way(Client::builder(&peer.url).docarray(DocArray::V2)).build().unwrap();
            let error = one(&client, retrying(2)).await.unwrap_err();
            assert_eq!((error.attempts().len(), peer.calls()), (2, 2), "{error:?}");
            let waited = error.attempts()[1].started - error.attempts()[0].took;
            assert!(waited >= Duration::from_secs(1), "{waited:?}: {error:?}");
            assert_eq!(
                error.http_status().map(|status| status.as_u16()),
                Some(404),
                "the error of the last attempt"
            );
        }
    }
}

#[tokio::test]
async fn a_request_is_not_retried_if_the_server_forbids_it() {
    let unary: fn(ClientBuilder) -> ClientBuilder = |client| client.unary(true);
    for pushback in [&b"-1"[..], b"never", b""] {
        let pushback: &'static [(&'static str, &'static [u8])] = Box::leak(Box::new([
            ("grpc-status", &b"14"[..]),
            ("grpc-retry-pushback-ms", pushback),
        ]));
        for way in [unary, |stream| stream] {
            let peer = Peer::without_questions(vec![grpc(b"", End::Trailers(pushback))]).await;
            let client = way(Client::builder(&peer.url).docarray(DocArray::V2)).build().unwrap();
            let error = one(&client, retrying(5)).await.unwrap_err();
            assert_eq!((error.attempts().len(), peer.calls()), (1, 1), "{error:?}");
        }
        let answers = vec![grpc(b"", End::Trailers(pushback))];
        let peer = Peer::without_questions(answers).await;
        let client = Client::builder(&peer.url).docarray(DocArray::V2).build().unwrap();
        let call = client.stream_document("/stream", &Document::text("x")).retry(retrying(5));
        call.stream::<Document>().next().await.unwrap().unwrap_err();
        assert_eq!(peer.calls(), 1);
    }
}

#[tokio::test]
async fn a_stream_of_documents_that_ends_without_a_status_is_an_error() {
    // One whole document, and nothing after it.
    let document = grpc(b"\0\0\0\0\x02\x22\0", End::Plain);
    let peer = Peer::without_questions(vec![document]).await;
    let client = Client::builder(&peer.url).docarray(DocArray::V2).build().unwrap();
    let call = client.stream_document("/stream", &Document::text("x"));
    let mut documents = call.stream::<serde_json::Value>();
    let mut end = None;
    while let Some(document) = documents.next().await {
        end = document.err();
    }
    let error = end.expect("the stream does not end as if all were well");
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
    assert!(error.may_have_run(), "{error}");
}

#[tokio::test]
async fn a_call_that_the_peer_refuses_unprocessed_begins_anew_at_once_and_uncounted() {
    let refused = grpc(b"", End::ResetAtOnce(Reason::REFUSED_STREAM));
    let answers = || vec![refused, head(404, &[])];
    for way in WAYS {
        let peer = peer(*way, answers()).await;
        let error = ask(&peer.url, *way).await.unwrap_err();
        assert_eq!(
            (error.http_status().map(|status| status.as_u16()), peer.calls()),
            (Some(404), 2),
            "{way:?}: {error:?}"
        );
        let attempts = error.attempts().len();
        assert!(attempts <= 1, "{way:?}: {error:?}");
    }
    // After any other reset the request may have been processed.
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let peer =
            Peer::without_questions(vec![grpc(b"", End::ResetAtOnce(reason)), head(404, &[])])
                .await;
        let error = ask(&peer.url, Unary).await.unwrap_err();
        assert_eq!((error.delivery(), peer.calls()), (Delivery::Unknown, 1), "{error:?}");
    }
}

//! An error gives what the gateway sent in the terms of its protocol, and a hint, so that no
//! program has to parse its message.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "events/mod.rs"]
mod events;

use std::time::Duration;

use clientlet::{Client, Document, Error, ErrorKind, GrpcCode, Hint};
use clientlet_gateway::{DocArray, Gateway};

/// The expected fields of an error.
#[derive(Debug, Default, PartialEq)]
struct Told {
    http: Option<u16>,
    grpc: Option<GrpcCode>,
    close: Option<u16>,
    retry_after: Option<u64>,
    hint: Option<Hint>,
    is_retryable: bool,
    has_headers: bool,
}

impl Told {
    fn of(error: &Error) -> Told {
        Told {
            http: error.http_status().map(|status| status.as_u16()),
            grpc: error.grpc_code(),
            close: error.close_code(),
            retry_after: error.retry_after().map(|wait| wait.as_secs()),
            hint: error.hint(),
            is_retryable: error.is_retryable(),
            has_headers: error.headers().is_some_and(|headers| !headers.is_empty()),
        }
    }

    fn http(status: u16) -> Told {
        Told { http: Some(status), has_headers: true, ..Told::default() }
    }

    fn grpc(code: GrpcCode) -> Told {
        Told { grpc: Some(code), has_headers: true, ..Told::default() }
    }

    fn close(code: u16) -> Told {
        Told { close: Some(code), is_retryable: true, ..Told::default() }
    }
}

/// Returns the error of posting one document to a gateway with this fault.
async fn error(protocol: &str, fault: &str, limit: usize) -> Error {
    events::watch();
    let builder = Gateway::builder().docarray(DocArray::V2).websocket(true).grpc(true);
    let builder = if fault.is_empty() { builder } else { builder.fault(fault.parse().unwrap()) };
    let gateway = builder.start().await.unwrap();
    let url = match protocol {
        "http" => gateway.http_url(),
        "ws" => gateway.websocket_url(),
        _ => gateway.grpc_url(),
    };
    let builder = Client::builder(&url).answer_limit(limit);
    let client = if protocol == "unary" { builder.unary(true) } else { builder }.build().unwrap();
    let long = Document::text("x".repeat(2000));
    client.post("/upper").documents([long]).send().await.into_result().unwrap_err()
}

#[tokio::test]
async fn an_error_has_the_gateways_answer_in_the_terms_of_its_protocol() {
    let retryable = |told: Told| Told { is_retryable: true, ..told };
    let hinting = |hint, told: Told| Told { hint: Some(hint), ..told };
    let (credentials, large) = (Hint::Credentials, Hint::RequestTooLarge);
    let exhausted = Told::grpc(GrpcCode::ResourceExhausted);
    for (protocols, fault, told) in [
        (
            &["http"][..],
            "status:429:7@1-9",
            Told { retry_after: Some(7), ..retryable(Told::http(429)) },
        ),
        (&["http"], "status:401@1-9", hinting(credentials, Told::http(401))),
        (&["http"], "status:403@1-9", hinting(credentials, Told::http(403))),
        (&["http"], "status:413@1-9", hinting(large, Told::http(413))),
        (&["http"], "status:503@1-9", retryable(Told::http(503))),
        (&["http", "grpc", "unary"], "status:501@1-9", Told::http(501)),
        (&["ws"], "status:501@1-9,on=upgrade", Told::http(501)),
        (&["ws"], "status:500@1-9,on=upgrade", retryable(Told::http(500))),
        (&["http"], "status:422@1-9", Told::http(422)),
        (&["http"], "reset-after@1-9", retryable(Told::default())),
        (
            &["ws"],
            "status:429:7@1-9,on=upgrade",
            Told { retry_after: Some(7), ..retryable(Told::http(429)) },
        ),
        (&["ws"], "status:401@1-9,on=upgrade", hinting(credentials, Told::http(401))),
        (&["ws"], "status:403@1-9,on=upgrade", hinting(Hint::UpgradeForbidden, Told::http(403))),
        (&["ws"], "close:1009@1-9", hinting(large, Told::close(1009))),
        (&["ws"], "close:1013@1-9", Told::close(1013)),
        (&["ws"], "close:4000@1-9", Told { is_retryable: false, ..Told::close(4000) }),
        (&["ws"], "drop@1-9", retryable(Told::default())),
        (
            &["grpc", "unary"],
            "grpc-status:16:who are you@1-9",
            hinting(credentials, Told::grpc(GrpcCode::Unauthenticated)),
        ),
        (
            &["grpc", "unary"],
            "grpc-status:8:Received message larger than max (9 vs. 4)@1-9",
            hinting(large, retryable(exhausted)),
        ),
        (
            &["grpc", "unary"],
            "grpc-status:14:busy@1-9,pushback=7000",
            Told { retry_after: Some(7), ..retryable(Told::grpc(GrpcCode::Unavailable)) },
        ),
        (
            &["grpc", "unary"],
            "grpc-status:14:gone@1-9,pushback=-1",
            Told::grpc(GrpcCode::Unavailable),
        ),
    ] {
        for protocol in protocols {
            let error = error(protocol, fault, 64 << 20).await;
            assert_eq!(Told::of(&error), told, "{protocol} {fault}: {error}");
            let copy = error.clone();
            assert_eq!(Told::of(&copy), told);
            assert_eq!((copy.to_string(), copy.attempts().len()), (error.to_string(), 1));
        }
    }
}

#[tokio::test]
async fn an_answer_beyond_the_limit_has_a_hint_on_every_protocol() {
    for protocol in ["http", "ws", "grpc", "unary"] {
        let error = error(protocol, "", 1500).await;
        assert_eq!(error.hint(), Some(Hint::AnswerTooLarge), "{protocol}: {error}");
        let hint = error.hint().unwrap().to_string();
        assert!(hint.contains("answer_limit"), "{hint}");
    }
}

#[tokio::test]
async fn metadata_and_headers_come_with_the_failure() {
    let error = error("http", "status:429:7@1-9", 64 << 20).await;
    assert_eq!(error.headers().unwrap()["retry-after"], "7");
    let error = self::error("grpc", "grpc-status:14:busy@1-9,pushback=7000", 64 << 20).await;
    assert_eq!(error.headers().unwrap()["grpc-retry-pushback-ms"], "7000");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(error.grpc_code().unwrap().name(), "UNAVAILABLE");
}

#[tokio::test]
async fn a_gateway_without_a_status_has_a_hint() {
    let gateway = Gateway::builder().hide_status(true).start().await.unwrap();
    let client = Client::new(&gateway.http_url()).unwrap();
    let answers = client.post("/upper").documents([Document::text("x")]).send().await;
    let error = answers.into_result().unwrap_err();
    assert_eq!((error.hint(), error.is_retryable()), (Some(Hint::NoStatus), false), "{error}");
}

#[tokio::test]
async fn a_question_that_a_protocol_does_not_have_is_an_error_of_the_caller() {
    events::watch();
    for url in ["http://127.0.0.1:1", "ws://127.0.0.1:1"] {
        let error = Client::new(url).unwrap().health("").await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Config, false), "{error}");
    }
}

#[tokio::test]
async fn a_status_of_http_is_told_on_every_protocol() {
    for status in [308, 408, 425, 429, 502, 503, 504] {
        for (protocol, at) in [("http", ""), ("ws", ",on=upgrade"), ("grpc", ""), ("unary", "")] {
            let error = error(protocol, &format!("status:{status}@1-9{at}"), 64 << 20).await;
            let told = error.http_status().map(|status| status.as_u16());
            assert_eq!(told, Some(status), "{protocol}: {error}");
            assert_eq!(error.is_retryable(), status != 308, "{protocol}: {error}");
        }
    }
}

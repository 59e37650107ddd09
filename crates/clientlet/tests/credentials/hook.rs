//! `before_attempt`: headers that change.

use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clientlet::clientlets::{
    ClientletOptions, DataRequest, GrpcClientlet, HttpClientlet, WebsocketClientlet,
};
use clientlet::{Client, Delivery, DocArray, Document, ErrorKind, GrpcCode, Hint, NextAttempt};
use clientlet_gateway::Gateway;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::ways::{WAYS, Way, one, post};

type Added = Result<HeaderMap, Box<dyn std::error::Error + Send + Sync>>;

/// An issuer of tokens, which keeps what it was asked.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<Vec<NextAttempt>>>);

impl Issuer {
    /// Returns the token `old` until an attempt was refused, then `new`.
    fn add(&self, next: NextAttempt) -> Added {
        let mut asked = self.0.lock().unwrap();
        asked.push(next);
        let is_new = asked.iter().any(|next| next.was_refused);
        bearer(if is_new { "new" } else { "old" })
    }

    fn asked(&self) -> Vec<NextAttempt> {
        self.0.lock().unwrap().clone()
    }
}

fn bearer(token: &str) -> Added {
    Ok(HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse()?)]))
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_request_sent_once_more_uncounted() {
    for way in WAYS {
        let (gateway, builder) = way.serve(|g| g.require_authorization("Bearer new")).await;
        let issuer = Issuer::default();
        let hook = issuer.clone();
        let hook = move |next| std::future::ready(hook.add(next));
        let client = builder.before_attempt(hook).build().unwrap();
        for answer in post(&client, 6).await {
            assert_eq!(answer.unwrap().attempts(), 1, "{way:?}");
        }
        let refused = gateway.journal().unauthorized();
        assert!(refused > 0, "{way:?}");
        // The next calls have the new token from the beginning.
        post(&client, 3).await.into_iter().for_each(|answer| drop(answer.unwrap()));
        client.ready().await.unwrap();
        assert_eq!(gateway.journal().unauthorized(), refused, "{way:?}");
    }
}

#[tokio::test]
async fn requests_on_a_stream_whose_token_expires_are_all_sent_once_more() {
    let (gateway, builder) = Way::Stream.serve(|g| g.require_authorization("Bearer new")).await;
    let issuer = Issuer::default();
    let hook = issuer.clone();
    let hook = move |next| std::future::ready(hook.add(next));
    let client = builder.docarray(DocArray::V1).before_attempt(hook).build().unwrap();
    for answer in post(&client, 20).await {
        assert_eq!(answer.unwrap().attempts(), 1);
    }
    let streams: Vec<_> =
        issuer.asked().into_iter().filter(|next| next.uri.path().ends_with("/Call")).collect();
    assert!(streams.len() <= 2, "{streams:?}");
    assert!(gateway.journal().arrivals().values().all(|count| *count == 1));
}

#[tokio::test]
async fn a_request_that_is_refused_twice_fails() {
    for way in WAYS {
        let (gateway, builder) = way.serve(|g| g.require_authorization("Bearer other")).await;
        let issuer = Issuer::default();
        let hook = issuer.clone();
        let hook = move |next| std::future::ready(hook.add(next));
        let client = builder.docarray(DocArray::V1).before_attempt(hook).build().unwrap();
        let error = one(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.hint()), (ErrorKind::Gateway, Some(Hint::Credentials)));
        let code = error.grpc_code() == Some(GrpcCode::Unauthenticated);
        assert!(code || error.http_status().unwrap() == 401, "{way:?}: {error}");
        assert!(!error.may_have_run() && error.attempts().len() == 1, "{way:?}: {error:?}");
        let asked: Vec<bool> = issuer.asked().iter().map(|next| next.was_refused).collect();
        assert_eq!(asked.len() as u64, gateway.journal().unauthorized(), "{way:?}");
        assert!(asked.chunks(2).all(|pair| pair == [false, true]), "{way:?}: {asked:?}");
    }
}

#[tokio::test]
async fn without_a_hook_a_refusal_is_final() {
    for way in WAYS {
        let (gateway, builder) = way.serve(|g| g.require_authorization("Bearer other")).await;
        let client = builder.docarray(DocArray::V1).bearer_token("wrong").build().unwrap();
        assert_eq!(client.ready().await.unwrap_err().hint(), Some(Hint::Credentials), "{way:?}");
        assert_eq!(gateway.journal().unauthorized(), 1, "{way:?}");
    }
}

#[tokio::test]
async fn the_hook_sees_the_attempt_and_its_headers_arrive() {
    for way in WAYS {
        let (gateway, builder) = way.serve(|g| g).await;
        let issuer = Issuer::default();
        let hook = issuer.clone();
        let hook = move |next| std::future::ready(hook.add(next));
        let builder = builder.header("x-tenant", "a").bearer_token("replaced");
        let client = builder.before_attempt(hook).build().unwrap();
        one(&client).await.unwrap();
        let asked = issuer.asked();
        let last = asked.last().unwrap();
        let (method, path, has_body) = match way {
            Way::Http => ("POST", "/post", true),
            Way::Websocket => ("GET", "/", false),
            Way::Stream => ("POST", "/jina.JinaRPC/Call", false),
            Way::Unary => ("POST", "/jina.JinaSingleDataRequestRPC/process_single_data", true),
        };
        assert_eq!((last.method.as_str(), last.uri.path()), (method, path), "{way:?}");
        assert!(last.uri.port_u16().is_some(), "{way:?}");
        assert_eq!(last.headers["x-tenant"], "a", "{way:?}");
        assert_eq!(!last.body.is_empty(), has_body, "{way:?}");
        assert!(!last.was_refused && !format!("{last:?}").contains("replaced"), "{way:?}");
        let journal = gateway.journal();
        let arrived = journal.entries().into_iter().chain(journal.gets()).collect::<Vec<_>>();
        let with = arrived.iter().filter(|entry| entry.header("authorization").is_some());
        assert!(with.clone().count() > 0, "{way:?}");
        for entry in with {
            assert_eq!(entry.header("authorization"), Some("Bearer old"), "{way:?}");
        }
    }
}

#[derive(Debug, PartialEq)]
struct IssuerDown;

impl std::fmt::Display for IssuerDown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the issuer is down")
    }
}

impl std::error::Error for IssuerDown {}

fn header(name: &'static str, value: &[u8]) -> Added {
    Ok(HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_bytes(value)?)]))
}

#[tokio::test]
async fn if_the_hook_fails_nothing_is_sent() {
    type Hook = fn() -> Added;
    let hooks: [(Hook, &str); 6] = [
        (|| Err(Box::new(IssuerDown)), "before_attempt failed: the issuer is down"),
        (|| panic!("it went off"), "before_attempt panicked: it went off"),
        (|| header("x-key", b"s3cr3t\xff"), "header x-key cannot be sent: it is not ASCII"),
        (|| header("content-length", b"1"), "content-length is set by the client itself"),
        (|| header("grpc-timeout", b"1S"), "grpc-timeout is set by the client itself"),
        (|| header("sec-websocket-key", b"k"), "sec-websocket-key is set by the client itself"),
    ];
    for way in WAYS {
        for (hook, said) in hooks {
            let (gateway, builder) = way.serve(|g| g).await;
            let builder = builder.before_attempt(move |_| async move { hook() });
            let client = builder.build().unwrap();
            let error = one(&client).await.unwrap_err();
            let context = format!("{way:?}: {error:?}");
            assert_eq!(
                (error.kind(), error.delivery()),
                (ErrorKind::Input, Delivery::NotSent),
                "{context}"
            );
            assert!(error.message().contains(said), "{context}");
            assert!(!context.contains("s3cr3t"), "{context}");
            if said.contains("issuer") {
                let source = error.source().unwrap().downcast_ref::<IssuerDown>();
                assert_eq!(source, Some(&IssuerDown), "{context}");
            }
            let journal = gateway.journal();
            assert!(journal.is_empty() && journal.gets().is_empty(), "{context}");
        }
    }
}

#[tokio::test]
async fn a_hook_that_panics_for_one_call_harms_no_other() {
    for way in WAYS {
        let (_gateway, builder) = way.serve(|g| g).await;
        let hook = |next: NextAttempt| async move {
            assert!(!next.headers.contains_key("x-bad"), "a bad call");
            bearer("token")
        };
        let client = builder.before_attempt(hook).build().unwrap();
        let bad =
            client.post("/upper").documents([Document::text("x")]).header("x-bad", "1").send();
        let (bad, good) = tokio::join!(bad, post(&client, 5));
        assert!(bad.errors().all(|error| error.message().contains("panicked")), "{way:?}");
        good.into_iter().for_each(|answer| drop(answer.unwrap()));
    }
}

#[tokio::test]
async fn a_hook_that_does_not_end_takes_only_the_attempts_time() {
    for way in WAYS {
        let (gateway, builder) = way.serve(|g| g).await;
        let builder = builder.attempt_timeout(Duration::from_millis(50));
        let client = builder.before_attempt(|_| std::future::pending()).build().unwrap();
        let error = one(&client).await.unwrap_err();
        let context = format!("{way:?}: {error}");
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
        let told = "the hook before_attempt did not end within ";
        assert!(error.message().contains(told), "{context}");
        assert!(gateway.journal().is_empty() && gateway.journal().gets().is_empty(), "{context}");
    }
}

fn options(issuer: &Issuer) -> ClientletOptions {
    let hook = issuer.clone();
    ClientletOptions::new().before_attempt(move |next| std::future::ready(hook.add(next)))
}

#[tokio::test]
async fn clientlets_have_the_hook_as_well() {
    let builder = Gateway::builder().docarray(clientlet_gateway::DocArray::V1);
    let builder = builder.websocket(true).grpc(true).require_authorization("Bearer new");
    let gateway = builder.start().await.unwrap();
    let json = DataRequest::new(DocArray::V1, "/upper").document(&Document::text("x")).unwrap();
    let proto = DataRequest::proto(DocArray::V1, "/upper").document(&Document::text("x")).unwrap();

    let url = format!("{}/post", gateway.http_url());
    let mut http = HttpClientlet::new(&url, &options(&Issuer::default())).unwrap();
    http.start().await.unwrap();
    assert_eq!(http.send_message(&json).await.unwrap().status(), 200);

    let url = gateway.websocket_url();
    let mut ws = WebsocketClientlet::new(&url, &options(&Issuer::default())).unwrap();
    ws.start().await.unwrap();
    ws.send_message(&proto).await.unwrap();
    ws.recv_message().next().await.unwrap().unwrap();

    let mut grpc = GrpcClientlet::new(&gateway.grpc_url(), &options(&Issuer::default())).unwrap();
    grpc.start().await.unwrap();
    grpc.send_message(&proto).await.unwrap();

    let issuer = Issuer::default();
    let mut grpc = GrpcClientlet::new(&gateway.grpc_url(), &options(&issuer)).unwrap();
    grpc.start().await.unwrap();
    let mut stream = grpc.open_stream().await.unwrap();
    // The gateway may end the stream before or after it takes the message.
    let _ = stream.send_message(&proto).await;
    let mut answers = stream.recv_message();
    while let Some(Ok(_)) = answers.next().await {}
    assert_eq!(answers.status_code(), Some(GrpcCode::Unauthenticated));
    let mut stream = grpc.open_stream().await.unwrap();
    stream.send_message(&proto).await.unwrap();
    stream.recv_message().next().await.unwrap().unwrap();
    let asked: Vec<bool> = issuer.asked().iter().map(|next| next.was_refused).collect();
    assert_eq!(asked, [false, true]);
}

#[tokio::test]
async fn the_hook_runs_again_for_the_target_of_a_redirect() {
    let fault = "redirect:307:/post?again@1".parse().unwrap();
    let (gateway, builder) = Way::Http.serve(|g| g.fault(fault)).await;
    let hook = |next: NextAttempt| async move {
        header("x-signed", next.uri.path_and_query().unwrap().as_str().as_bytes())
    };
    let client: Client = builder.before_attempt(hook).build().unwrap();
    one(&client).await.unwrap();
    let entries = gateway.journal().entries();
    let signed: Vec<_> = entries.iter().map(|entry| entry.header("x-signed").unwrap()).collect();
    assert_eq!(signed, ["/post", "/post?again"]);
}

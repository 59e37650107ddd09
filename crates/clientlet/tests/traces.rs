//! The events of a call for `tracing`. These tests have a program of their own, because tracing asks the
//! subscribers of all threads which events they want.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::{Arc, Mutex};

use clientlet::{Client, NextAttempt};
use clientlet_gateway::{DocArray, Gateway};
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps the messages of the events about requests.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

impl Subscriber for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "clientlet::pipeline::observer"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn each_request_begins_once_and_ends_once_on_each_way() {
    // Over HTTP each attempt has a future; over WebSocket only the first attempt has one.
    for scheme in ["http", "ws"] {
        let builder = Gateway::builder().http(scheme == "http").websocket(scheme == "ws");
        let gateway = builder.docarray(DocArray::V1).start().await.unwrap();
        let url = if scheme == "http" { gateway.http_url() } else { gateway.websocket_url() };
        let client = Client::new(&url).unwrap();
        let documents = (0..4).map(|n| json!({"id": n.to_string()}));
        let call = client.post("/fail").documents(documents).request_size(2);
        let told = Told::default();
        let guard = tracing::subscriber::set_default(told.clone());
        let answers = call.send().await;
        drop(guard);
        let told = told.0.lock().unwrap();
        let count = |begin: &str| told.iter().filter(|told| told.starts_with(begin)).count();
        assert_eq!(count("a request begins"), 2, "{scheme}: {told:?}");
        let errors = answers.errors().count();
        assert_eq!(count("a request fails: "), errors, "{scheme}: {told:?}");
        assert_eq!(count("a request is answered") + errors, 2, "{scheme}: {told:?}");
    }
}

/// Keeps everything that any crate tells at any level.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<String>>);

impl Visit for Heard {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        *self.0.lock().unwrap() += &format!("{field}={value:?}\n");
    }
}

impl Subscriber for Heard {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn no_secret_of_a_hook_a_cookie_or_a_url_is_told() {
    // The gateway has a thread of its own, since its crates may tell what arrives.
    let gateways = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let heard = Heard::default();
    let _guard = tracing::subscriber::set_default(heard.clone());
    for (scheme, is_unary) in [("http", false), ("ws", false), ("grpc", false), ("grpc", true)] {
        for (token, fault) in [
            ("s3cr3t-wrong", "stall@100"),
            ("s3cr3t", "reset-after@1-9"),
            ("s3cr3t", "malformed@1-9"),
            ("s3cr3t", "redirect:307:https://u:s3cr3t@flow.example/?t=s3cr3t@1-9"),
            ("s3cr3t", "stall@100"),
        ] {
            let builder = Gateway::builder().http(true).websocket(true).grpc(true);
            let builder = builder.docarray(DocArray::V1).set_cookie("route=s3cr3t; Path=/");
            let builder = builder.require_authorization("Bearer s3cr3t");
            let builder = builder.fault(fault.parse().unwrap());
            let gateway = gateways.block_on(async { builder.start().await.unwrap() });
            let url = match scheme {
                "http" => gateway.http_url(),
                "ws" => gateway.websocket_url(),
                _ => gateway.grpc_url(),
            };
            let url = url.replace("://", "://user:s3cr3t@");
            let seen = heard.clone();
            let hook = move |next: NextAttempt| {
                *seen.0.lock().unwrap() += &format!("{next:?}");
                async move {
                    let value = format!("Bearer {token}").parse()?;
                    Ok(HeaderMap::from_iter([
                        (AUTHORIZATION, value),
                        (COOKIE, "own=s3cr3t".parse()?),
                    ]))
                }
            };
            let builder = Client::builder(&url).unary(is_unary).before_attempt(hook);
            let builder = builder.docarray(clientlet::DocArray::V1).header("x-key", "s3cr3t");
            let mut shown = format!("{builder:?}");
            let client = builder.build().unwrap();
            runtime.block_on(async {
                for n in 0..2 {
                    let call = client.post("/upper").documents([json!({"id": "1"})]);
                    let answers = call.header("x-call", n.to_string()).send().await;
                    for error in answers.errors() {
                        shown += &format!("{error} {error:?}");
                    }
                }
            });
            shown += &format!("{client:?}");
            let context = format!("{scheme} {is_unary} {token} {fault}: {shown}");
            assert!(!shown.contains("s3cr3t"), "{context}");
            let mut heard = heard.0.lock().unwrap();
            assert!(heard.contains("before_attempt") || heard.contains("NextAttempt"));
            for line in heard.lines() {
                // The URL's user and password become basic auth: `user:s3cr3t` in base64.
                let is_told = line.contains("s3cr3t") || line.contains("dXNlcjpzM2NyM3Q");
                assert!(!is_told, "{context}: {line}");
            }
            heard.clear();
        }
    }
}

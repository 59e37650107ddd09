//! The events of a call for `tracing`. These tests have a program of their own, because tracing asks the
//! subscribers of all threads which events they want.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::{Arc, Mutex};

use clientlet::Client;
use clientlet_gateway::{DocArray, Gateway};
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
        metadata.name().starts_with("clientlet.request.")
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
        assert_eq!(count("a request failed"), errors, "{scheme}: {told:?}");
        assert_eq!(count("a request is answered") + errors, 2, "{scheme}: {told:?}");
    }
}

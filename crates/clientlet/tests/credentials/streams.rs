//! Streams of documents, with tokens and cookies.

use std::sync::{Arc, Mutex};

use clientlet::{Client, Document, NextAttempt};
use clientlet_gateway::{DocArray, Gateway, StreamScript};
use http::HeaderMap;
use http::header::AUTHORIZATION;

#[tokio::test]
async fn a_stream_of_documents_that_is_refused_is_asked_for_once_more() {
    for scheme in ["http", "grpc"] {
        let builder = Gateway::builder().docarray(DocArray::V2).grpc(true);
        let builder = builder.stream_endpoint("/stream", StreamScript::new(3));
        let builder = builder.set_cookie("route=a1; Path=/");
        let gateway = builder.require_authorization("Bearer first").start().await.unwrap();
        let url = if scheme == "http" { gateway.http_url() } else { gateway.grpc_url() };
        let told = Arc::<Mutex<Vec<bool>>>::default();
        let hook = told.clone();
        let hook = move |next: NextAttempt| {
            hook.lock().unwrap().push(next.was_refused);
            let token = if next.was_refused { "Bearer second" } else { "Bearer first" };
            async move { Ok(HeaderMap::from_iter([(AUTHORIZATION, token.parse()?)])) }
        };
        let client = Client::builder(&url).before_attempt(hook).build().unwrap();
        let call = || client.stream_document("/stream", &Document::text("x"));
        for token in ["Bearer first", "Bearer second"] {
            gateway.control().require_authorization(Some(token));
            let mut documents = call().stream::<Document>();
            let mut count = 0;
            while let Some(document) = documents.next().await {
                document.unwrap();
                count += 1;
            }
            assert_eq!(count, 3, "{scheme} {token}");
        }
        assert_eq!(gateway.journal().unauthorized(), 1, "{scheme}");
        let told = told.lock().unwrap();
        assert_eq!(told.iter().filter(|was_refused| **was_refused).count(), 1, "{scheme}");
        let journal = gateway.journal();
        let entries = if scheme == "http" { journal.gets() } else { journal.entries() };
        assert_eq!(entries.last().unwrap().header("cookie"), Some("route=a1"), "{scheme}");
    }
}

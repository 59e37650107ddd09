//! The whole way of a call but for the network, for counting its instructions:
//! `RUSTFLAGS="--cfg clientlet_bench" cargo bench -p clientlet --bench instructions`.

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde::Serialize;
use tokio::time::Instant;

use crate::client::Client;
use crate::discovery::Gateway;
use crate::error::{AttemptError, Error};
use crate::message::{
    AnswerParts, Connections, DocArray, Encoding, GatewayStatus, RawAnswer, Request, Status,
};
use crate::options::ClientletOptions;
use crate::transport::{BoxFuture, Kept, Terms, Transport};

/// Answers each request at once, without documents.
struct AtOnce;

impl Transport for AtOnce {
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        _: Bytes,
        _: Terms<'a>,
    ) -> BoxFuture<'a, Result<RawAnswer, AttemptError>> {
        Box::pin(ready(Ok(RawAnswer::from(AnswerParts {
            docarray: request.route.docarray,
            encoding: Encoding::Json,
            request_id: String::new(),
            status: Status::default(),
            routes: None,
            parameters: None,
            documents: Some(Bytes::from_static(b"[]")),
        }))))
    }

    fn describe<'a>(
        &'a self,
        _: &'a HeaderMap,
        _: &'a Kept,
        _: Option<Instant>,
    ) -> BoxFuture<'a, Result<Gateway, AttemptError>> {
        Box::pin(ready(Ok(Gateway::by_name(DocArray::V1))))
    }

    fn status<'a>(
        &'a self,
        _: &'a HeaderMap,
        _: Option<Instant>,
    ) -> BoxFuture<'a, Result<GatewayStatus, AttemptError>> {
        Box::pin(ready(Ok(GatewayStatus::default())))
    }

    fn dry_run<'a>(
        &'a self,
        _: &'a HeaderMap,
        _: Option<Instant>,
    ) -> BoxFuture<'a, Result<Status, AttemptError>> {
        Box::pin(ready(Ok(Status::default())))
    }

    fn encoding(&self) -> Encoding {
        Encoding::Json
    }

    fn most_documents(&self, _: DocArray) -> Option<usize> {
        None
    }

    fn uri(&self, _: &str) -> Result<Uri, Error> {
        Ok(Uri::from_static("http://127.0.0.1/post"))
    }

    fn protocol(&self) -> &'static str {
        "http"
    }

    fn address(&self) -> String {
        "http://127.0.0.1".to_owned()
    }

    fn connections(&self) -> Connections {
        Connections::default()
    }
}

/// Sends `documents` through batches, the retry loop and the order; tells how many requests there
/// were.
pub fn call<D: Serialize>(documents: &[D], request_size: usize, is_in_order: bool) -> usize {
    let options = ClientletOptions::new().attempt_timeout(None);
    let config = options.check("http://127.0.0.1").expect("the address is a good one");
    let client = Client::over(config, Arc::new(AtOnce));
    let mut call = client.post("/").documents(documents).request_size(request_size);
    if is_in_order {
        call = call.in_order(true);
    }
    let mut answers = call.stream();
    let mut count = 0;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing of the system");
    runtime.block_on(async {
        while let Some(answer) = answers.next().await {
            count += usize::from(answer.is_ok());
        }
    });
    count
}

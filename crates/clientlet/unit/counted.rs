//! A whole call without the network, for counting its instructions: `RUSTFLAGS="--cfg
//! clientlet_bench" cargo bench -p clientlet --bench instructions`.

use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;

use crate::client::Client;

use crate::message::{
    AnswerParts, Connections, Encoding, GatewayStatus, RawAnswer, Request, Status,
};
use crate::options::ClientletOptions;
use crate::telemetry::Medium;
use crate::transport::{Answer, Ask, Facts, Questions, Terms, Transport};

/// Answers each request immediately, without documents.
struct AtOnce(Facts);

impl Transport for AtOnce {
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        _: Bytes,
        terms: Terms<'a>,
    ) -> Answer<'a, RawAnswer> {
        if self.0.medium == Medium::Http {
            let mut headers = HeaderMap::clone(&request.route.headers);
            terms.trace.add_to(&mut headers);
            black_box(headers);
        }
        Box::pin(ready(Ok(RawAnswer::from(AnswerParts {
            docarray: request.route.docarray,
            encoding: Encoding::Json,
            request_id: String::new(),
            status: Status::default(),
            whole: Bytes::new(),
            routes: None,
            parameters: None,
            documents: Some(Bytes::from_static(b"[]")),
        }))))
    }

    fn facts(&self) -> &Facts {
        &self.0
    }

    fn questions(&self) -> &dyn Questions {
        self
    }

    fn connections(&self) -> Connections {
        Connections::default()
    }
}

impl Questions for AtOnce {
    fn status<'a>(&'a self, _: Ask<'a>) -> Answer<'a, GatewayStatus> {
        let release = ("docarray".to_owned(), "0.21.0".to_owned());
        Box::pin(ready(Ok(GatewayStatus { jina: [release].into(), ..GatewayStatus::default() })))
    }

    fn dry_run<'a>(&'a self, _: Ask<'a>) -> Answer<'a, Status> {
        Box::pin(ready(Ok(Status::default())))
    }
}

/// Sends `documents` through batches, the retry loop and the order. Returns the number of requests.
pub fn call<D: Serialize>(documents: &[D], request_size: usize, is_in_order: bool) -> usize {
    call_with(ClientletOptions::new(), documents, request_size, is_in_order, true)
}

/// The same with these options, as over HTTP, where each request has headers, or as over WebSocket, where
/// requests share those of the connection.
pub fn call_with<D: Serialize>(
    options: ClientletOptions,
    documents: &[D],
    request_size: usize,
    is_in_order: bool,
    has_headers: bool,
) -> usize {
    let options = options.attempt_timeout(None);
    let config = options.check("http://127.0.0.1").expect("the address is valid");
    let medium = if has_headers { Medium::Http } else { Medium::Websocket };
    let facts = Facts::new(&config.address, medium, Encoding::Json);
    let client = Client::over(config, Arc::new(AtOnce(facts)));
    let mut call = client.post("/").documents(documents).request_size(request_size);
    if is_in_order {
        call = call.in_order(true);
    }
    let mut answers = call.stream();
    let mut count = 0;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing from the system");
    runtime.block_on(async {
        while let Some(answer) = answers.next().await {
            count += usize::from(answer.is_ok());
        }
    });
    count
}

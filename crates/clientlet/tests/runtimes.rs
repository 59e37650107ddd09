//! A client in several tokio runtimes, one after the other and at the same time, and without a
//! runtime.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "events/mod.rs"]
mod events;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use clientlet::clientlets::{
    ClientletOptions, DataRequest, GrpcClientlet, HttpClientlet, WebsocketClientlet,
};
use clientlet::{Client, Delivery, DocArray, Document, Error, ErrorKind, Response, RetryPolicy};
use clientlet_gateway::Gateway;
use tokio::runtime::{Builder, Runtime};

/// A gateway in a runtime of its own, which always runs.
struct Served {
    gateway: Option<Gateway>,
    runtime: Runtime,
}

impl Served {
    fn start() -> Served {
        events::watch();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let builder =
            Gateway::builder().docarray(clientlet_gateway::DocArray::V2).websocket(true).grpc(true);
        let gateway = Some(runtime.block_on(builder.start()).unwrap());
        Served { gateway, runtime }
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// Returns a client for each way in which requests travel.
    fn clients(&self) -> Vec<Client> {
        let gateway = self.gateway();
        let urls = [gateway.http_url(), gateway.websocket_url(), gateway.grpc_url()];
        let mut clients: Vec<Client> = urls.iter().map(|url| Client::new(url).unwrap()).collect();
        clients.push(Client::builder(&gateway.grpc_url()).unary(true).build().unwrap());
        clients
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let gateway = self.gateway.take().unwrap();
        self.runtime.block_on(gateway.stop());
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Posts with one attempt, so everything has to happen within that attempt.
async fn post(client: &Client) -> Result<Response, Error> {
    let call = client.post("/upper").documents([Document::text("x")]).retry(RetryPolicy::new());
    call.send().await.into_iter().next().unwrap()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future as a runtime other than tokio does.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut future, mut cx) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Checks that the result is the error that says what to do.
fn is_told<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Config, Delivery::NotSent), "{error}");
    assert!(!error.may_have_run());
    assert!(
        error.message().contains("no tokio runtime here; call this inside a runtime"),
        "{error}"
    );
}

#[test]
fn outside_of_a_runtime_every_call_is_an_error() {
    let served = Served::start();
    for client in served.clients() {
        for is_known in [false, true] {
            is_told(block_on(post(&client)));
            let results = block_on(async {
                let documents = (0..5).map(|_| Document::text("x"));
                let mut call = client.post("/upper").documents(documents).request_size(2).stream();
                let mut results = Vec::new();
                while let Some(result) = call.next().await {
                    results.push(result);
                }
                results
            });
            assert_eq!(results.len(), 3, "each request has a result");
            results.into_iter().for_each(is_told);
            is_told(block_on(client.ready()));
            is_told(block_on(client.status()));
            is_told(block_on(client.endpoints()));
            is_told(block_on(client.wait_ready(Duration::from_secs(1))));
            if client.gateway().starts_with("grpc") {
                is_told(block_on(client.health("")));
            }
            if !client.gateway().starts_with("ws") {
                let mut call =
                    client.stream_document("/stream", &Document::text("x")).stream::<Document>();
                is_told(block_on(call.next()).unwrap());
                assert!(block_on(call.next()).is_none());
            }
            if !is_known {
                // The same holds once the gateway is known and connections exist.
                let runtime = current_thread();
                runtime.block_on(post(&client)).unwrap();
            }
        }
    }
    assert_eq!(
        served.gateway().journal().len(),
        4,
        "the requests that were posted inside a runtime"
    );
}

#[test]
fn outside_of_a_runtime_every_call_of_a_clientlet_is_an_error() {
    let served = Served::start();
    let gateway = served.gateway();
    let options = ClientletOptions::new();
    let json = DataRequest::new(DocArray::V2, "/").document(&Document::text("x")).unwrap();
    let proto = DataRequest::proto(DocArray::V2, "/").document(&Document::text("x")).unwrap();

    let mut http = HttpClientlet::new(&gateway.http_url(), &options).unwrap();
    block_on(http.start()).unwrap();
    is_told(block_on(async { http.send_message(&json).await }));
    is_told(block_on(async { http.send_dry_run().await }));
    block_on(http.close());

    let mut websocket = WebsocketClientlet::new(&gateway.websocket_url(), &options).unwrap();
    is_told(block_on(websocket.start()));
    let runtime = current_thread();
    runtime.block_on(websocket.start()).unwrap();
    is_told(block_on(websocket.send_message(&proto)));
    is_told(block_on(websocket.send_dry_run()));
    is_told(block_on(websocket.send_eoi()));
    block_on(websocket.close());

    let mut grpc = GrpcClientlet::new(&gateway.grpc_url(), &options).unwrap();
    is_told(block_on(grpc.start()));
    runtime.block_on(grpc.start()).unwrap();
    is_told(block_on(async { grpc.send_message(&proto).await }));
    is_told(block_on(grpc.open_stream()));
    is_told(block_on(grpc.send_dry_run()));
    is_told(block_on(grpc.status()));
    is_told(block_on(grpc.endpoints()));
    is_told(block_on(grpc.health("")));
    let stream = runtime.block_on(grpc.open_stream()).unwrap();
    is_told(block_on(stream.send_message(&proto)));
    block_on(grpc.close());
    assert!(gateway.journal().is_empty());
}

#[test]
fn calls_in_one_runtime_do_not_wait_for_an_idle_runtime() {
    let served = Served::start();
    for client in served.clients() {
        let (first, second) = (current_thread(), current_thread());
        for _ in 0..3 {
            // While one runtime runs, the other runtime's connections are neither read nor written.
            for runtime in [&first, &second] {
                let answer = runtime.block_on(post(&client)).unwrap();
                assert_eq!(answer.attempts(), 1);
                runtime.block_on(client.ready()).unwrap();
                runtime.block_on(client.status()).unwrap();
            }
        }
        drop(first);
        second.block_on(post(&client)).unwrap();
    }
}

#[test]
fn a_started_clientlet_serves_calls_from_several_runtimes() {
    let served = Served::start();
    let (first, second) = (current_thread(), current_thread());
    let options = ClientletOptions::new();
    let json = DataRequest::new(DocArray::V2, "/").document(&Document::text("x")).unwrap();
    let proto = DataRequest::proto(DocArray::V2, "/").document(&Document::text("x")).unwrap();
    let mut http = HttpClientlet::new(&served.gateway().http_url(), &options).unwrap();
    let mut grpc = GrpcClientlet::new(&served.gateway().grpc_url(), &options).unwrap();
    first.block_on(http.start()).unwrap();
    first.block_on(grpc.start()).unwrap();
    for runtime in [&first, &second, &first] {
        runtime.block_on(async { http.send_message(&json).await }).unwrap();
        runtime.block_on(async { grpc.send_message(&proto).await }).unwrap();
    }
}

#[test]
fn dropping_a_runtime_during_a_call_does_not_affect_another_runtime() {
    let served = Served::start();
    let slow = async |client: &Client, seconds: f64| {
        let parameters = serde_json::json!({"seconds": seconds});
        let call = client.post("/slow").parameters(parameters).documents([Document::text("x")]);
        call.send().await.into_iter().next().unwrap()
    };
    for client in served.clients() {
        let (lives, dies) = (current_thread(), current_thread());
        dies.block_on(post(&client)).unwrap();
        let arrived = served.gateway().journal().len();
        let both = served.gateway().journal().wait_for(arrived + 2);
        let (doomed, other) = (client.clone(), client.clone());
        let under_way = dies.spawn(async move { slow(&doomed, 600.0).await });
        let answered = lives.spawn(async move { slow(&other, 0.5).await });
        // Both requests are sent before one of the runtimes is dropped.
        dies.block_on(served.gateway().journal().wait_for(arrived + 1));
        lives.block_on(both);
        drop(dies);
        assert!(block_on(under_way).unwrap_err().is_cancelled());
        assert_eq!(lives.block_on(answered).unwrap().unwrap().attempts(), 1);
        assert_eq!(lives.block_on(post(&client)).unwrap().attempts(), 1);
    }
}

#[test]
fn a_client_works_for_many_calls_with_a_new_runtime_each() {
    let served = Served::start();
    for client in served.clients() {
        for _ in 0..40 {
            assert_eq!(current_thread().block_on(post(&client)).unwrap().attempts(), 1);
        }
    }
}

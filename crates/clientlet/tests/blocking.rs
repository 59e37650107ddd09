//! The client for programs without an async runtime.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "events/mod.rs"]
mod events;

use std::cell::RefCell;
use std::env;
use std::io::{self, Write as _};
use std::panic::resume_unwind;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use clientlet::blocking::{Client, GrpcClientlet, HttpClientlet, WebsocketClientlet};
use clientlet::clientlets::{ClientletOptions, DataRequest};
use clientlet::{Delivery, DocArray, Document, Error, ErrorKind, GrpcCode, Response};
use clientlet_gateway::Gateway;
use tokio::runtime::{Builder, Runtime};

/// A gateway in a runtime of its own.
struct Served {
    gateway: Option<Gateway>,
    runtime: Runtime,
}

impl Served {
    fn start(fault: Option<&str>) -> Served {
        events::watch();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut builder =
            Gateway::builder().docarray(clientlet_gateway::DocArray::V2).websocket(true).grpc(true);
        if let Some(fault) = fault {
            builder = builder.fault(fault.parse().unwrap());
        }
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
        let unary = Client::builder(&gateway.grpc_url()).unary(true);
        clients.push(unary.build_blocking().unwrap());
        clients
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let gateway = self.gateway.take().unwrap();
        self.runtime.block_on(gateway.stop());
    }
}

fn texts(response: &Response) -> Vec<String> {
    let documents: Vec<Document> = response.documents().unwrap();
    documents.into_iter().map(|document| document.text.unwrap()).collect()
}

#[test]
fn a_thousand_calls_from_eight_threads_are_all_answered() {
    const THREADS: usize = 8;
    const CALLS: usize = 125;
    let served = Served::start(None);
    for client in served.clients() {
        let answered = AtomicUsize::new(0);
        thread::scope(|scope| {
            for number in 0..THREADS {
                let (client, answered) = (client.clone(), &answered);
                scope.spawn(move || {
                    for call in 0..CALLS {
                        let text = format!("{number} x {call}");
                        let answers =
                            client.post("/upper").document(&Document::text(&*text)).send();
                        let back: Vec<Document> = answers.documents().unwrap();
                        assert_eq!(back[0].text.as_deref(), Some(&*text.to_uppercase()));
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(answered.into_inner(), THREADS * CALLS);
        assert!(client.connections().opened <= 2 * THREADS as u64, "{:?}", client.connections());
    }
}

#[test]
fn answers_come_one_by_one_and_hold_back_the_documents() {
    let served = Served::start(None);
    for client in served.clients() {
        let read = AtomicUsize::new(0);
        let documents = (0..1000).map(|n| {
            read.fetch_add(1, Ordering::Relaxed);
            Document::text(n.to_string())
        });
        let call = client.post("/upper").documents(documents).request_size(10).prefetch(2);
        let mut answers = call.in_order(true).stream();
        assert_eq!(texts(&answers.next().unwrap().unwrap())[9], "9");
        assert!(read.load(Ordering::Relaxed) <= 50, "{read:?} documents were read");
        assert_eq!(
            answers.by_ref().map(|answer| texts(&answer.unwrap()).len()).sum::<usize>(),
            990
        );
        assert_eq!((answers.documents_read(), answers.documents_sent()), (1000, 1000));
        assert!(answers.next().is_none());
    }
}

#[test]
fn a_failed_request_does_not_end_the_answers() {
    let served = Served::start(Some("status:503@2"));
    let client = Client::new(&served.gateway().http_url()).unwrap();
    let documents = (0..30).map(|n| Document::text(n.to_string()));
    let call = client.post("/upper").documents(documents).request_size(10).prefetch(1);
    let results: Vec<Result<Response, Error>> = call.stream().collect();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(
        results[1].as_ref().unwrap_err().http_status().map(|status| status.as_u16()),
        Some(503)
    );
}

#[test]
fn the_gateway_can_be_asked() {
    let served = Served::start(None);
    for client in served.clients() {
        client.ready().unwrap();
        client.wait_ready(Duration::from_secs(10)).unwrap();
        assert!(!client.status().unwrap().jina.is_empty());
        assert!(client.endpoints().is_ok());
        assert_eq!(client.health("").is_ok(), client.gateway().starts_with("grpc"));
    }
}

#[test]
fn a_generators_documents_come_one_by_one() {
    let served = Served::start(None);
    let gateway = served.gateway();
    for url in [gateway.http_url(), gateway.grpc_url()] {
        let client = Client::new(&url).unwrap();
        let call = client.stream_document("/stream", &Document::text("hello"));
        let mut documents = call.timeout(Duration::from_secs(20)).stream::<Document>();
        assert_eq!(documents.by_ref().map(Result::unwrap).count(), 3);
        assert_eq!((documents.documents_given(), documents.repeats_dropped()), (3, 0));
    }
}

/// Everything that waits, each of which is refused with this error.
fn refusals(served: &Served) -> Vec<Error> {
    let options = ClientletOptions::new();
    let gateway = served.gateway();
    let request = DataRequest::new(DocArray::V2, "/upper").document(&Document::text("x")).unwrap();
    let mut errors = Vec::new();
    for client in served.clients() {
        errors
            .extend(client.post("/upper").document(&Document::text("x")).send().errors().cloned());
        let mut answers = client.post("/upper").documents([Document::text("x")]).stream();
        errors.push(answers.next().unwrap().unwrap_err());
        assert!(answers.next().is_none());
        errors.push(client.ready().unwrap_err());
        errors.push(client.wait_ready(Duration::from_secs(1)).unwrap_err());
        errors.push(client.status().unwrap_err());
        errors.push(client.endpoints().unwrap_err());
        errors.push(client.health("").unwrap_err());
    }
    let client = Client::new(&gateway.grpc_url()).unwrap();
    let mut documents =
        client.stream_document("/stream", &Document::text("x")).stream::<Document>();
    errors.push(documents.next().unwrap().unwrap_err());
    assert!(documents.next().is_none());

    let mut http = HttpClientlet::new(&gateway.http_url(), &options).unwrap();
    errors.push(http.start().unwrap_err());
    errors.push(http.send_message(&request).unwrap_err());
    errors.push(http.close().unwrap_err());
    let mut websocket = WebsocketClientlet::new(&gateway.websocket_url(), &options).unwrap();
    errors.push(websocket.start().unwrap_err());
    errors.push(websocket.sender().send_eoi().unwrap_err());
    errors.push(websocket.recv_message().next().unwrap().unwrap_err());
    let mut grpc = GrpcClientlet::new(&gateway.grpc_url(), &options).unwrap();
    errors.push(grpc.start().unwrap_err());
    errors
}

#[test]
fn in_an_async_task_every_call_is_an_error_and_nothing_is_sent() {
    let served = Served::start(None);
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let runtime = builder.enable_all().build().unwrap();
        for error in runtime.block_on(async { refusals(&served) }) {
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::Config, Delivery::NotSent));
            assert!(error.to_string().contains("async task"), "{error}");
        }
        // Dropping a client in a task is no fault either.
        runtime.block_on(async { drop(Client::new(&served.gateway().http_url()).unwrap()) });
    }
    assert_eq!(served.gateway().journal().len(), 0);
    assert_eq!(served.gateway().journal().connections(), 0);
}

#[test]
fn a_call_that_goes_on_in_an_async_task_stops_and_accounts_for_each_request() {
    let served = Served::start(None);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for client in served.clients() {
        let documents = (0..50).map(|n| Document::text(n.to_string()));
        let call = client.post("/upper").documents(documents).request_size(1).in_order(true);
        let mut answers = call.prefetch(4).stream();
        answers.next().unwrap().unwrap();
        let sent = answers.documents_sent();
        let rest: Vec<_> = runtime.block_on(async { answers.by_ref().collect() });
        assert_eq!(rest[0].as_ref().unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(rest.len() as u64, sent, "one was taken before, and one is the error");
        assert!(
            rest[1..]
                .iter()
                .flat_map(|end| end.as_ref().err())
                .all(|error| { error.kind() == ErrorKind::Cancelled })
        );
    }
}

#[test]
fn threads_of_a_runtime_that_may_block_may_call() {
    let served = Served::start(None);
    let client = Client::new(&served.gateway().http_url()).unwrap();
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let post = move || client.post("/upper").document(&Document::text("x")).send().len();
    let other = post.clone();
    let blocking = async { tokio::task::spawn_blocking(post).await.unwrap() };
    assert_eq!(runtime.block_on(blocking), 1);
    let in_place = async { tokio::task::block_in_place(other) };
    assert_eq!(runtime.block_on(async { tokio::spawn(in_place).await.unwrap() }), 1);
}

#[test]
fn the_clientlets_send_and_receive_on_different_threads() {
    const REQUESTS: usize = 100;
    let served = Served::start(None);
    let gateway = served.gateway();
    let options = ClientletOptions::new();
    let request = |text: &str| {
        DataRequest::proto(DocArray::V2, "/upper").document(&Document::text(text)).unwrap()
    };

    let json = DataRequest::new(DocArray::V2, "/upper").document(&Document::text("x")).unwrap();
    let url = format!("{}/upper", gateway.http_url());
    let mut http = HttpClientlet::new(&url, &options).unwrap();
    http.start().unwrap();
    let answer = http.message(&json).header("x-test", "1").send().unwrap();
    assert_eq!(texts(&answer.response(DocArray::V2).unwrap()), ["X"]);
    http.close().unwrap();
    assert!(!http.is_open());

    let mut websocket = WebsocketClientlet::new(&gateway.websocket_url(), &options).unwrap();
    websocket.start().unwrap();
    let sender = websocket.sender();
    thread::scope(|scope| {
        scope.spawn(|| {
            (0..REQUESTS).for_each(|_| sender.send_message(&request("x")).unwrap());
            sender.send_eoi().unwrap();
        });
        let mut answers = websocket.recv_message();
        assert_eq!(
            answers.by_ref().map(|answer| texts(&answer.unwrap()).len()).sum::<usize>(),
            REQUESTS
        );
        assert_eq!(answers.close_code(), Some(1000));
    });

    let mut grpc = GrpcClientlet::new(&gateway.grpc_url(), &options).unwrap();
    grpc.start().unwrap();
    assert_eq!(texts(&grpc.send_message(&request("x")).unwrap()), ["X"]);
    let mut stream = grpc.open_stream().unwrap();
    let sender = stream.sender();
    thread::scope(|scope| {
        scope.spawn(|| {
            (0..REQUESTS).for_each(|_| sender.send_message(&request("x")).unwrap());
            sender.send_eoi().unwrap();
        });
        let mut answers = stream.recv_message();
        assert_eq!(
            answers.by_ref().map(|answer| texts(&answer.unwrap()).len()).sum::<usize>(),
            REQUESTS
        );
        assert_eq!(answers.status_code(), Some(GrpcCode::Ok));
    });
}

#[test]
fn a_websocket_is_closed_in_good_order_by_the_last_handle() {
    let served = Served::start(None);
    let client = Client::new(&served.gateway().websocket_url()).unwrap();
    assert_eq!(client.post("/upper").document(&Document::text("x")).send().len(), 1);
    let other = client.clone();
    drop(client);
    assert_eq!(other.post("/upper").document(&Document::text("x")).send().len(), 1);
    assert_eq!(other.connections().opened, 1);
}

/// Set for the process of which the next test watches the end.
const CHILD: &str = "CLIENTLET_TEST_ENDS";

#[test]
fn a_program_ends_at_once_while_a_thread_waits() {
    if let Ok(url) = env::var(CHILD) {
        let client = Client::new(&url).unwrap();
        let post = move || client.post("/upper").document(&Document::text("x")).send().len();
        post();
        // This request is never answered.
        thread::spawn(post);
        io::stdin().read_line(&mut String::new()).unwrap();
        process::exit(7);
    }
    for url in [Gateway::http_url, Gateway::websocket_url, Gateway::grpc_url] {
        let served = Served::start(Some("stall@2"));
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_program_ends_at_once_while_a_thread_waits"])
            .env(CHILD, url(served.gateway()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        served.runtime.block_on(served.gateway().journal().wait_for(2));
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let began = Instant::now();
        assert_eq!(child.wait().unwrap().code(), Some(7));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

/// A test that hangs would name no reason.
fn within_a_minute<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || done.send(what()));
    match finished.recv_timeout(Duration::from_secs(60)) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
    }
}

#[test]
fn documents_may_come_from_a_thread_that_calls_with_the_same_client() {
    within_a_minute(|| {
        let served = Served::start(None);
        for client in served.clients() {
            client.ready().unwrap();
            let (found, documents) = mpsc::channel();
            let other = client.clone();
            let finder = thread::spawn(move || {
                for n in 0..10 {
                    let document = Document::text(n.to_string());
                    let answers = other.post("/upper").document(&document).send();
                    let back: Vec<Document> = answers.documents().unwrap();
                    found.send(back.into_iter().next().unwrap()).unwrap();
                }
            });
            let answers = client.post("/upper").documents(documents).request_size(1).send();
            let back: Vec<Document> = answers.documents().unwrap();
            assert_eq!(back.len(), 10, "{}", client.gateway());
            finder.join().unwrap();
        }
    });
}

#[test]
fn documents_may_be_answers_of_other_calls_of_the_same_client() {
    within_a_minute(|| {
        let served = Served::start(None);
        for client in served.clients() {
            let first = (0..30).map(|n| Document::text(format!("x{n}")));
            let first = client.post("/upper").documents(first).request_size(3).stream();
            let second = first.flat_map(|answer| answer.unwrap().documents::<Document>().unwrap());
            let answers = client.post("/upper").documents(second).request_size(5).send();
            let back: Vec<Document> = answers.documents().unwrap();
            assert_eq!(back.len(), 30, "{}", client.gateway());
        }
    });
}

#[test]
fn a_call_while_a_thread_ends_is_answered_or_refused() {
    struct AtTheEnd(Client, mpsc::Sender<bool>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let answers = self.0.post("/upper").document(&Document::text("x")).send();
            let kind = answers.documents::<Document>().map_err(|error| error.kind());
            let _ = self.1.send(kind.is_ok() || kind.is_err_and(|kind| kind == ErrorKind::Config));
        }
    }
    thread_local!(static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) });
    within_a_minute(|| {
        let served = Served::start(None);
        for client in served.clients() {
            for is_first in [true, false] {
                let (told, ended) = mpsc::channel();
                let client = client.clone();
                // What is used first is destroyed last.
                thread::spawn(move || {
                    if !is_first {
                        client.ready().unwrap();
                    }
                    LAST.set(Some(AtTheEnd(client.clone(), told)));
                    client.ready().unwrap();
                })
                .join()
                .unwrap();
                assert!(ended.recv().unwrap());
            }
        }
    });
}

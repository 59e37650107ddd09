//! Clientlets whose connections another event loop drives.

use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use clientlet::clientlets::{
    ClientletOptions, DataRequest, Driver, HttpClientlet, Readiness, WebsocketClientlet,
};
use clientlet::{DocArray, Document};
use clientlet_gateway::Gateway;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Polls tasks by the runtime, and watches copies of the sockets.
#[derive(Debug, Default)]
struct Loop {
    tasks: AtomicUsize,
    sockets: AtomicUsize,
}

impl Driver for Loop {
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(task);
    }

    fn watch(&self, socket: BorrowedFd<'_>, readiness: &Arc<Readiness>) -> io::Result<()> {
        self.sockets.fetch_add(1, Ordering::Relaxed);
        let copy = std::net::TcpStream::from(socket.try_clone_to_owned()?);
        let copy = TcpStream::from_std(copy)?;
        tokio::spawn(tell(copy, Arc::downgrade(readiness)));
        Ok(())
    }
}

async fn tell(socket: TcpStream, readiness: Weak<Readiness>) {
    loop {
        let Ok(ready) = socket.ready(Interest::READABLE | Interest::WRITABLE).await else { return };
        // Nothing is read here, so each change is reported once.
        for interest in [Interest::READABLE, Interest::WRITABLE] {
            let _ = socket.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
        let Some(readiness) = readiness.upgrade() else { return };
        if ready.is_read_closed() || ready.is_write_closed() {
            readiness.ended();
            return;
        }
        if ready.is_readable() {
            readiness.readable();
        }
        if ready.is_writable() {
            readiness.writable();
        }
    }
}

fn options() -> (Arc<Loop>, ClientletOptions) {
    let driver = Arc::new(Loop::default());
    (driver.clone(), ClientletOptions::new().driver(driver))
}

fn seen(driver: &Loop) -> (usize, usize) {
    (driver.tasks.load(Ordering::Relaxed), driver.sockets.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_driver_polls_and_watches_the_connections_of_an_http_clientlet() {
    let gateway = Gateway::builder().start().await.unwrap();
    let (driver, options) = options();
    let mut clientlet =
        HttpClientlet::new(&format!("{}/post", gateway.http_url()), &options).unwrap();
    clientlet.start().await.unwrap();
    // The last does not fit into what the kernel takes at a time.
    for size in [1, 10, 4 << 20] {
        let text = "a".repeat(size);
        let request = DataRequest::new(DocArray::V1, "/upper");
        let request = request.document(&Document::text(&*text)).unwrap();
        let answer = clientlet.send_message(&request).await.unwrap();
        let documents = answer.response(DocArray::V1).unwrap().documents::<Document>().unwrap();
        assert_eq!(documents[0].text.as_ref().map(String::len), Some(size));
    }
    assert_eq!(seen(&driver), (1, 1), "one connection served all");
}

#[tokio::test]
async fn a_driver_polls_and_watches_the_connection_of_a_websocket_clientlet() {
    let gateway = Gateway::builder().websocket(true).start().await.unwrap();
    let (driver, options) = options();
    let mut clientlet = WebsocketClientlet::new(&gateway.websocket_url(), &options).unwrap();
    clientlet.start().await.unwrap();
    for size in [1, 10, 4 << 20] {
        let text = "a".repeat(size);
        let request = DataRequest::proto(DocArray::V1, "/upper");
        let request = request.document(&Document::text(&*text)).unwrap();
        clientlet.send_message(&request).await.unwrap();
    }
    clientlet.send_eoi().await.unwrap();
    let (mut messages, mut sizes) = (clientlet.recv_bytes(), Vec::new());
    while let Some(message) = messages.next().await {
        let response = clientlet::Response::from_proto(DocArray::V1, &message.unwrap()).unwrap();
        let documents = response.documents::<Document>().unwrap();
        sizes.push(documents[0].text.as_ref().map_or(0, String::len));
    }
    assert_eq!(messages.close_code(), Some(1000));
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 10, 4 << 20]);
    assert_eq!(seen(&driver), (1, 1));
}

#[tokio::test]
async fn a_task_that_a_driver_drops_is_a_lost_connection() {
    #[derive(Debug)]
    struct Gone;
    impl Driver for Gone {
        fn spawn(&self, _: Pin<Box<dyn Future<Output = ()> + Send>>) {}

        fn watch(&self, _: BorrowedFd<'_>, _: &Arc<Readiness>) -> io::Result<()> {
            unreachable!("no task is polled")
        }
    }
    let gateway = Gateway::builder().websocket(true).start().await.unwrap();
    let options = ClientletOptions::new().driver(Arc::new(Gone));
    let mut clientlet = WebsocketClientlet::new(&gateway.websocket_url(), &options).unwrap();
    clientlet.start().await.unwrap();
    let error = clientlet.send_message(&DataRequest::proto(DocArray::V1, "/")).await.unwrap_err();
    assert!(error.to_string().contains("the connection was dropped"), "{error}");
    assert!(clientlet.recv_bytes().next().await.is_none());
}

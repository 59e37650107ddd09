//! One bidirectional stream and the requests in flight on it.
//!
//! HTTP/2 itself asks for the next request when there is room for it. A task of the stream reads
//! the answers. The stream ends with its last handle.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request as Call, Status};

use super::super::multiplex::{Desk, Ending, Handle, InFlight, Notice, Orders};
use super::channel::Channel;
use super::codec::Raw;
use super::messages::Messages;
use super::{CALL, failure, path};
use crate::error::Event;
use crate::message::{RawAnswer, RequestId};
use crate::panics::unless_it_panics;

/// The longest time for a gateway to end the stream once everything has been answered.
const CLOSING: Duration = Duration::from_secs(5);

/// Opens the envelope of an answer.
pub(super) type Read = Box<dyn Fn(&Bytes) -> Result<RawAnswer, String> + Send + Sync>;

/// Opens a stream and starts its task. The metadata is the call's.
pub(super) fn open(
    grpc: Grpc<Channel>,
    channel: Channel,
    metadata: MetadataMap,
    in_flight: InFlight,
    read: Read,
) -> Handle {
    let (handle, Desk { orders, notice }) = Handle::new(in_flight.progress(), true);
    let traffic = Arc::new(Mutex::new(Traffic { orders, in_flight, writer: None }));
    let requests = Requests(traffic.clone());
    let call = Call::from_parts(metadata, Extensions::default(), requests);
    tokio::spawn(async move {
        let answering = async {
            match answers(grpc, call, &traffic, &read).await {
                Ok(ending) => ending,
                Err(status) => failure::ending(&status, &channel),
            }
        };
        let answering = until_left(answering, &channel, &traffic);
        // If this task panicked, HTTP/2 would keep the client's half of the stream open, with the
        // requests on it.
        let ending = unless_it_panics(until_deserted(answering, &notice, &traffic)).await;
        let ending = ending.unwrap_or_else(|what| Ending::new(Event::StreamDropped, what));
        let ending = Arc::new(ending);
        notice.tell(ending.clone());
        lock(&traffic).in_flight.fail(&ending);
        let_go(&traffic).await;
    });
    handle
}

/// Releases the queued requests, and lets HTTP/2 see that no more will come. Otherwise the client's
/// half of the stream would stay open, and the connection with it.
async fn let_go(traffic: &Mutex<Traffic>) {
    poll_fn(|cx| lock(traffic).orders.poll_let_go(cx)).await;
    let writer = lock(traffic).writer.take();
    if let Some(writer) = writer {
        writer.wake();
    }
}

/// Gives answers to their requests until the stream ends.
async fn answers(
    mut grpc: Grpc<Channel>,
    call: Call<Requests>,
    traffic: &Mutex<Traffic>,
    read: &Read,
) -> Result<Ending, Status> {
    // A gateway may send no headers before the first answer.
    let mut messages = Messages::new(grpc.streaming(call, path(CALL), Raw).await?.into_inner());
    while let Some(message) = messages.next().await? {
        let outcome = match read(&message) {
            Ok(answer) => lock(traffic).in_flight.answer(answer),
            Err(what) => Err(format!("an answer cannot be read: {what}")),
        };
        if let Err(what) = outcome {
            return Ok(Ending::new(Event::StreamGarbled, what));
        }
    }
    Ok(Ending::new(Event::StreamDropped, "the gateway ended the stream"))
}

/// Reads to the end. When the gateway takes no new requests on the connection, the stream takes
/// none either: queued requests are released for another stream, and requests in flight are
/// answered before the gateway ends this stream.
async fn until_left(
    answering: impl Future<Output = Ending>,
    channel: &Channel,
    traffic: &Mutex<Traffic>,
) -> Ending {
    let mut answering = std::pin::pin!(answering);
    tokio::select! {
        biased;
        ending = &mut answering => return ending,
        () = channel.left() => {}
    }
    let_go(traffic).await;
    answering.await
}

/// Reads until the last handle is gone. If no request is then unanswered, reads until the gateway
/// has ended the stream as well. Dropping `answering` cancels the stream.
async fn until_deserted(
    answering: impl Future<Output = Ending>,
    notice: &Notice,
    traffic: &Mutex<Traffic>,
) -> Ending {
    let mut answering = std::pin::pin!(answering);
    tokio::select! {
        biased;
        ending = &mut answering => return ending,
        () = notice.deserted() => {}
    }
    let given_up = || Ending::new(Event::StreamDropped, "the call was given up");
    let is_answered = lock(traffic).in_flight.is_empty();
    match is_answered {
        false => given_up(),
        true => timeout(CLOSING, answering).await.unwrap_or_else(|_| given_up()),
    }
}

/// The requests to write and the requests to answer.
struct Traffic {
    orders: Orders<RequestId, RawAnswer>,
    in_flight: InFlight,
    /// The waker of HTTP/2 while it waits for a request. The queue forgets the waker when it is
    /// read for another reason.
    writer: Option<Waker>,
}

impl Traffic {
    /// Returns the next request that was not given up; `None` if no more will come.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let Poll::Ready(order) = self.orders.poll_next(cx) else {
                self.writer = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let Some(order) = order else { return Poll::Ready(None) };
            if let Some(body) = self.in_flight.enter(order) {
                return Poll::Ready(Some(body));
            }
        }
    }
}

/// The requests as HTTP/2 asks for them. Their end is the end of the client's half of the stream.
struct Requests(Arc<Mutex<Traffic>>);

impl Stream for Requests {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        lock(&self.0).poll_request(cx)
    }
}

impl Drop for Requests {
    /// HTTP/2 asks for no more requests, whatever happens to the answers.
    fn drop(&mut self) {
        lock(&self.0).orders.close();
    }
}

fn lock(traffic: &Mutex<Traffic>) -> MutexGuard<'_, Traffic> {
    traffic.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use ::http::Uri;
    use clientlet_gateway::{DocArray, Gateway};

    use super::super::channel::Register;
    use super::*;
    use crate::connect::memory::network::network;
    use crate::transport::Time;
    use crate::transport::multiplex::Progress;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_fail_at_once_when_the_streams_task_panics() {
        let (connector, accepted, _) = network();
        let builder = Gateway::builder().http(false).grpc(true).docarray(DocArray::V1);
        // The second request is still in flight when the first one is answered.
        let builder = builder.fault("stall@2".parse().unwrap());
        let gateway = builder.serve(accepted).unwrap();
        let uri = Uri::from_static("http://h/");
        let channel = Channel::open(&connector, &uri, &Register::default()).await.unwrap();
        let grpc = Grpc::with_origin(channel.clone(), uri);
        let in_flight = InFlight::new(7, Progress::default(), Arc::default());
        let read = Box::new(|_: &Bytes| panic!("it cannot be read"));
        let handle = open(grpc, channel, MetadataMap::new(), in_flight, read);
        let handle = Arc::new(handle);
        let exchange = async |sequence| {
            let body = Bytes::from_static(b"\x0a\x03\x1a\x01/");
            let id = RequestId { nonce: 7, sequence };
            handle.exchange(id, body, &mut Time::until(None)).await
        };
        let both =
            timeout(Duration::from_secs(1), futures_util::future::join(exchange(0), exchange(1)));
        let (one, other) = both.await.expect("at once");
        for error in [one.unwrap_err(), other.unwrap_err()] {
            assert_eq!(error.event, Event::StreamDropped);
            assert!(error.message.contains("it cannot be read"), "{}", error.message);
        }
        assert!(!handle.is_open());
        drop(gateway);
    }

    #[tokio::test]
    async fn the_clients_half_of_the_stream_ends_with_the_answers() {
        let in_flight = InFlight::new(7, Progress::default(), Arc::default());
        let (_handle, Desk { orders, .. }) = Handle::new(in_flight.progress(), true);
        let traffic = Arc::new(Mutex::new(Traffic { orders, in_flight, writer: None }));
        let mut requests = Requests(traffic.clone());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut requests).poll_next(&mut cx).is_pending());
        let_go(&traffic).await;
        assert!(woken.0.load(Ordering::Relaxed));
        assert_eq!(Pin::new(&mut requests).poll_next(&mut cx), Poll::Ready(None));
    }
}

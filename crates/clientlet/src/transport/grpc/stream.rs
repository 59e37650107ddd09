//! One bidirectional stream and the requests in flight on it.
//!
//! HTTP/2 itself asks for the next request when there is room for it. A task of the stream reads
//! the answers. The stream ends with its last handle.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use tokio::time::timeout;

use super::super::multiplex::{Ending, Handle, InFlight, Notice, Order, Orders};
use super::channel::Channel;
use super::messages::Messages;
use super::requests::{Shared, Traffic};
use crate::error::Event;
use crate::message::{RawAnswer, RequestId};
use crate::panics::unless_it_panics;

/// The longest time for a gateway to end the stream once everything has been answered.
const CLOSING: Duration = Duration::from_secs(5);

/// Opens the envelope of an answer.
pub(super) type Read = Box<dyn Fn(&Bytes) -> Result<RawAnswer, String> + Send + Sync>;

/// The requests to write and the requests to answer.
struct Calls {
    orders: Orders<RequestId, RawAnswer>,
    in_flight: InFlight,
}

impl Traffic for Calls {
    type What = RequestId;
    type Reply = RawAnswer;

    fn orders(&mut self) -> &mut Orders<RequestId, RawAnswer> {
        &mut self.orders
    }

    fn enter(&mut self, order: Order<RequestId, RawAnswer>) -> Option<Bytes> {
        self.in_flight.enter(order)
    }
}

/// Opens a stream and starts its task. The headers are the call's. The time-out is for a stream of a
/// single request; requests that share a stream have no common one.
pub(super) fn open(
    channel: Channel,
    headers: &HeaderMap,
    timeout: Option<Duration>,
    in_flight: InFlight,
    read: Read,
) -> Handle {
    let (handle, orders, notice) = Handle::new(in_flight.progress(), true);
    let calls = Shared::new(Calls { orders, in_flight });
    let messages = Messages::new(channel.clone(), headers, timeout, calls.requests());
    tokio::spawn(async move {
        let answering = until_left(answers(messages, &calls, &read), &channel, &calls);
        // If this task panicked, HTTP/2 would keep the client's half of the stream open, with the
        // requests on it.
        let ending = unless_it_panics(until_deserted(answering, &notice, &calls)).await;
        let ending = Arc::new(ending.unwrap_or_else(dropped));
        notice.tell(ending.clone());
        calls.with(|calls| calls.in_flight.fail(&ending));
        calls.let_go().await;
    });
    handle
}

fn dropped(what: impl Into<String>) -> Ending {
    Ending::new(Event::StreamDropped, what)
}

/// Gives answers to their requests until the stream ends.
async fn answers(mut messages: Messages, calls: &Shared<Calls>, read: &Read) -> Ending {
    loop {
        let message = match messages.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return dropped("the gateway ended the stream"),
            Err(ending) => return ending,
        };
        let outcome = match read(&message) {
            Ok(answer) => calls.with(|calls| calls.in_flight.answer(answer)),
            Err(what) => Err(format!("an answer cannot be read: {what}")),
        };
        if let Err(what) = outcome {
            return Ending::new(Event::StreamGarbled, what);
        }
    }
}

/// Reads to the end. When the gateway takes no new requests on the connection, the stream takes
/// none either: queued requests are released for another stream, and requests in flight are
/// answered before the gateway ends this stream.
async fn until_left(
    answering: impl Future<Output = Ending>,
    channel: &Channel,
    calls: &Shared<Calls>,
) -> Ending {
    let mut answering = pin!(answering);
    tokio::select! {
        biased;
        ending = &mut answering => return ending,
        () = channel.left() => {}
    }
    calls.let_go().await;
    answering.await
}

/// Reads until the last handle is gone. If no request is then unanswered, reads until the gateway
/// has ended the stream as well. Dropping `answering` cancels the stream.
async fn until_deserted(
    answering: impl Future<Output = Ending>,
    notice: &Notice,
    calls: &Shared<Calls>,
) -> Ending {
    let mut answering = pin!(answering);
    tokio::select! {
        biased;
        ending = &mut answering => return ending,
        () = notice.deserted() => {}
    }
    let closing = match calls.with(|calls| calls.in_flight.is_empty()) {
        true => timeout(CLOSING, answering).await.ok(),
        false => None,
    };
    closing.unwrap_or_else(|| dropped("the call was given up"))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use ::http::Uri;
    use clientlet_gateway::{DocArray, Gateway};
    use futures_core::Stream;

    use super::super::channel::{Register, Settings};
    use super::*;
    use crate::address::Protocol;
    use crate::config::Credentials;
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
        let credentials = Arc::new(Credentials::new(Protocol::Grpc, None, false, Arc::default()));
        let settings = Settings {
            is_gzipped: false,
            #[cfg(feature = "compression")]
            accepts_compression: false,
            answer_limit: 1 << 20,
            idle_timeout: None,
            credentials,
        };
        let opening = Channel::open(&connector, &uri, &Register::default(), settings).await;
        let channel = opening.unwrap();
        let in_flight = InFlight::new(7, Progress::default(), Arc::default());
        let read = Box::new(|_: &Bytes| panic!("it cannot be read"));
        let handle = open(channel, &HeaderMap::new(), None, in_flight, read);
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
        let (_handle, orders, _) = Handle::new(in_flight.progress(), true);
        let calls = Shared::new(Calls { orders, in_flight });
        let mut requests = calls.requests();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut requests).poll_next(&mut cx).is_pending());
        calls.let_go().await;
        assert!(woken.0.load(Ordering::Relaxed));
        assert_eq!(Pin::new(&mut requests).poll_next(&mut cx), Poll::Ready(None));
    }
}

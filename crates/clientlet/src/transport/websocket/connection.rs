//! A WebSocket and the requests in flight on it.
//!
//! The connection has a task of its own. The task always reads, because pings must be answered even
//! while no request waits. It writes in batches: all requests that are ready are sent with one
//! flush, and none waits for more to come. The connection ends with its last owner, after the
//! end-of-input marker and the server's close.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::super::multiplex::{Ending, Handle, InFlight, Order, Orders};
use super::line::Line;
use crate::message::{RawAnswer, RequestId};
use crate::panics::unless_it_panics;

/// Opens the envelope of an answer.
pub(super) type Read = Arc<dyn Fn(&Bytes) -> Result<RawAnswer, String> + Send + Sync>;

/// Starts the task of a connection.
pub(super) fn start(line: Line, in_flight: InFlight, read: Read) -> Handle {
    let (handle, orders, notice) = Handle::new(in_flight.progress(), false);
    let task = Task { line, in_flight, read, queue: Some(orders), next: None, has_ended: false };
    tokio::spawn(async move {
        let (ending, mut task) = task.run().await;
        let ending = Arc::new(ending);
        notice.tell(ending.clone());
        task.in_flight.fail(&ending);
        let Task { line, queue, next, .. } = task;
        drop(next);
        if let Some(mut queue) = queue {
            poll_fn(|cx| queue.poll_let_go(cx)).await;
        }
        line.finish().await;
    });
    handle
}

struct Task {
    line: Line,
    in_flight: InFlight,
    read: Read,
    /// `None` once the last handle is gone.
    queue: Option<Orders<RequestId, RawAnswer>>,
    /// The order that was taken from the queue but not yet by the socket.
    next: Option<Order<RequestId, RawAnswer>>,
    /// Whether the end of input was sent.
    has_ended: bool,
}

impl Task {
    async fn run(mut self) -> (Ending, Task) {
        let ending = unless_it_panics(poll_fn(|cx| self.poll(cx))).await;
        (ending.unwrap_or_else(Ending::dropped), self)
    }

    /// Reads, writes and watches the clock until the connection ends.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let Poll::Ready(ending) = self.poll_read(cx) {
            return Poll::Ready(ending);
        }
        if let Poll::Ready(Err(ending)) = self.poll_write(cx) {
            return Poll::Ready(ending);
        }
        self.line.poll_alarm(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let taken = match ready!(self.line.poll_message(cx)) {
                Ok(message) => self.take(&message),
                Err(ending) => Err(ending),
            };
            if let Err(ending) = taken {
                return Poll::Ready(ending);
            }
        }
    }

    /// Gives an answer to its request.
    fn take(&mut self, message: &Bytes) -> Result<(), Ending> {
        let answer = (self.read)(message)
            .map_err(|what| Ending::garbled(format!("an answer cannot be read: {what}")))?;
        self.in_flight.answer(answer).map_err(Ending::garbled)
    }

    /// Hands all waiting orders to the socket, then flushes once.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        loop {
            if self.next.is_none() {
                match self.queue.as_mut().map(|queue| queue.poll_next(cx)) {
                    Some(Poll::Ready(Some(order))) => self.next = Some(order),
                    Some(Poll::Ready(None)) => {
                        // The last handle is gone, and with it all senders that waited.
                        self.queue = None;
                        self.in_flight.desert();
                        // From here on the close has a time limit, even if the gateway does not
                        // take the end of input.
                        self.line.expect_close();
                    }
                    Some(Poll::Pending) | None => {}
                }
            }
            let wants_to_close = self.queue.is_none() && !self.has_ended;
            if self.next.is_none() && !wants_to_close {
                return self.line.poll_flush(cx);
            }
            ready!(self.line.poll_room(cx))?;
            match self.next.take() {
                Some(order) => {
                    if let Some(body) = self.in_flight.enter(order) {
                        self.line.send(body)?;
                    }
                }
                None => {
                    self.has_ended = true;
                    self.line.send_end()?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clientlet_gateway::{Gateway, Listener};
    use http::{HeaderMap, Uri};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf};
    use tokio::time::{Instant, sleep, timeout};
    use tokio_websockets::ServerBuilder;

    use super::super::{Subprotocol, open};
    use super::*;
    use crate::address::Protocol;
    use crate::config::Credentials;
    use crate::connect::memory::network::network;
    use crate::envelope::read_proto_answer;
    use crate::error::Event;
    use crate::message::DocArray;
    use crate::transport::Time;
    use crate::transport::multiplex::Progress;

    #[tokio::test(start_paused = true)]
    async fn a_request_fails_at_once_when_the_connections_task_panics() {
        let (connector, accepted, _) = network();
        let builder = Gateway::builder()
            .http(false)
            .websocket(true)
            .docarray(clientlet_gateway::DocArray::V1);
        let _gateway = builder.serve(accepted).unwrap();
        let uri = Uri::from_static("http://h/");
        let headers = HeaderMap::new();
        let none = Credentials::new(Protocol::Websocket, None, false, Arc::default());
        let line = open(&connector, &none, &uri, &headers, Subprotocol::Bytes, 1 << 20);
        let in_flight = InFlight::new(7, Progress::default(), Arc::default());
        let handle =
            start(line.await.unwrap(), in_flight, Arc::new(|_| panic!("it cannot be read")));
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
            assert_eq!(error.event, Event::SocketDropped);
            assert!(error.message.contains("it cannot be read"), "{}", error.message);
        }
        assert!(!handle.is_open());
    }

    /// Opens a connection and returns the gateway's side of it after the upgrade.
    async fn connected() -> (Handle, DuplexStream) {
        let (connector, mut accepted, _) = network();
        let gateway = tokio::spawn(async move {
            let stream = accepted.accept().await.unwrap();
            ServerBuilder::new().accept(stream).await.unwrap().1.into_inner()
        });
        let (uri, headers) = (Uri::from_static("http://h/"), HeaderMap::new());
        let none = Credentials::new(Protocol::Websocket, None, false, Arc::default());
        let line =
            open(&connector, &none, &uri, &headers, Subprotocol::Bytes, 1 << 20).await.unwrap();
        let in_flight = InFlight::new(7, Progress::default(), Arc::default());
        let read = Arc::new(|message: &Bytes| read_proto_answer(DocArray::V1, message));
        (start(line, in_flight, read), gateway.await.unwrap())
    }

    const PING: [u8; 127] = {
        let mut frame = [b'p'; 127];
        (frame[0], frame[1]) = (0x89, 125);
        frame
    };

    /// Sends pings as long as the client takes them. Returns the number of bytes that were taken.
    async fn flood(gateway: &mut DuplexStream) -> usize {
        // The loop ends for a client that takes all pings and would use up all memory.
        for written in (0..16 << 20).step_by(PING.len()) {
            let taken = timeout(Duration::from_secs(100), gateway.write_all(&PING)).await;
            if !matches!(taken, Ok(Ok(()))) {
                return written;
            }
        }
        16 << 20
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_pings_and_takes_no_pongs_is_not_read_and_times_out() {
        let (handle, mut gateway) = connected().await;
        let flooding = tokio::spawn(async move { flood(&mut gateway).await });
        let (began, body) = (Instant::now(), Bytes::from_static(b"x"));
        let id = RequestId { nonce: 7, sequence: 0 };
        let mut time = Time::until(None);
        let error = Arc::new(handle).exchange(id, body, &mut time).await.unwrap_err();
        assert!(error.message.contains("took no pong for 40 s"), "{}", error.message);
        assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
        let written = flooding.await.unwrap();
        // The size of the two pipes and of one read.
        assert!(written < 256 << 10, "{written} bytes were taken");
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_pings_is_answered_while_the_gateway_takes_the_pongs() {
        let (_handle, gateway) = connected().await;
        let (mut reading, mut writing) = tokio::io::split(gateway);
        let pinging = async {
            for _ in 0..1000 {
                writing.write_all(&PING).await.unwrap();
            }
        };
        // A pong is as long as its ping, plus the mask.
        let mut pongs = vec![0; 1000 * (PING.len() + 4)];
        let (_, read) = futures_util::future::join(pinging, reading.read_exact(&mut pongs)).await;
        assert_eq!(read.unwrap(), pongs.len());
        assert!(pongs.chunks(PING.len() + 4).all(|pong| pong[0] == 0x8a));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_connection_ends_in_time_whatever_the_gateway_sends() {
        // An answer with an id of this client for which no request waits.
        let mut late = vec![0x82, 22, 0x0a, 20, 0x0a, 18];
        late.extend_from_slice(b"0000000000000007-9");
        for (name, frame, rest) in
            [("pings", &PING[..], 1), ("late answers", &late, 1), ("a flood of pings", &PING, 0)]
        {
            let (handle, gateway) = connected().await;
            drop(handle);
            let (began, (mut reading, mut writing)) = (Instant::now(), tokio::io::split(gateway));
            let sending = async {
                // Until the connection is gone or takes no more bytes.
                let write = async |writing: &mut WriteHalf<_>| {
                    timeout(Duration::from_secs(60), writing.write_all(frame)).await
                };
                while matches!(write(&mut writing).await, Ok(Ok(()))) {
                    sleep(Duration::from_secs(rest)).await;
                }
            };
            let taking = async {
                let mut sink = vec![0; 64 << 10];
                while rest > 0 && reading.read(&mut sink).await.is_ok_and(|n| n > 0) {}
            };
            let both = futures_util::future::join(sending, taking);
            timeout(Duration::from_secs(1000), both).await.expect(name);
            let took = began.elapsed();
            assert!(took < Duration::from_secs(10), "{name}: {took:?}");
        }
    }
}

//! The idle time-out: how long a request waits for its answer while nothing comes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::time::{AWAY, MOST_EXCUSED, seconds};
use crate::connect::Heard;
use crate::error::{AttemptError, Event};

/// The wait for an answer on one connection. The end of the time moves with each sign of life, but no
/// timer does: the end is computed when a timer rings.
#[derive(Debug)]
pub(crate) struct Silence {
    allowed: Duration,
    heard: Heard,
    began: Instant,
    /// The number of bytes that the connection had brought by then.
    before: u64,
    /// The last time at which the time began anew because the caller had not polled.
    since: Instant,
    /// How often it began anew in a row, and the bytes that had come by the last time.
    excused: (u32, u64),
}

impl Silence {
    pub(super) fn new(allowed: Duration, heard: &Heard) -> Silence {
        heard.watch();
        let (began, before) = (Instant::now(), heard.bytes());
        Silence { allowed, heard: heard.clone(), began, before, since: began, excused: (0, before) }
    }

    /// Returns the end of the time if nothing more comes; `None` if it cannot be represented.
    pub(super) fn end(&self) -> Option<Instant> {
        self.since.max(self.heard.last()).checked_add(self.allowed)
    }

    /// Whether the time is over. Time in which the caller did not poll does not count, because what
    /// has come may not have been read meanwhile: the time begins anew, but not endlessly.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let Some(end) = self.end().filter(|end| *end <= now) else { return false };
        let bytes = self.heard.bytes();
        if bytes > self.excused.1 {
            self.excused = (0, bytes);
        }
        if now.duration_since(end) < AWAY || self.excused.0 >= MOST_EXCUSED {
            return true;
        }
        self.excused.0 += 1;
        self.since = now;
        false
    }

    /// Returns the error of a request whose time is over.
    pub(super) fn error(&self, is_sent: bool) -> AttemptError {
        let (allowed, whole) = (seconds(self.allowed), seconds(self.began.elapsed()));
        if !is_sent {
            let what = format!(
                "the connection took nothing of the request for {allowed}, the idle time-out"
            );
            return AttemptError::new(Event::TimedOutUnsent, what);
        }
        let what = match self.heard.bytes() - self.before {
            0 => format!("nothing came for {allowed}, the idle time-out"),
            bytes => format!(
                "nothing came for {allowed}, the idle time-out; {bytes} bytes had come, {whole} after the request was sent"
            ),
        };
        AttemptError::new(Event::IdleTimedOut, what)
    }
}

/// The idle time-out of an attempt, which applies while the attempt waits for an answer on a
/// connection.
#[derive(Clone, Debug)]
pub(super) struct Idle(Arc<State>);

#[derive(Debug)]
struct State {
    allowed: Duration,
    waiting: Mutex<Option<Silence>>,
}

impl Idle {
    pub(super) fn new(allowed: Duration) -> Idle {
        Idle(Arc::new(State { allowed, waiting: Mutex::default() }))
    }

    /// The attempt waits for an answer on this connection from now on.
    pub(super) fn wait_on(&self, heard: &Heard) {
        *self.waiting() = Some(Silence::new(self.0.allowed, heard));
    }

    /// The attempt waits for something else: its turn, a connection, the caller's hook.
    pub(super) fn pause(&self) {
        *self.waiting() = None;
    }

    pub(super) fn end(&self) -> Option<Instant> {
        self.waiting().as_ref().and_then(Silence::end)
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.waiting().as_mut().is_some_and(|silence| silence.is_over(now))
    }

    pub(super) fn error(&self, is_sent: bool) -> Option<AttemptError> {
        self.waiting().as_ref().map(|silence| silence.error(is_sent))
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Silence>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of something that a connection brings. Its idle time-out applies while the caller waits
/// for the next item, since nothing is read before that.
pub(super) struct Watched<S> {
    items: Pin<Box<S>>,
    allowed: Option<Duration>,
    heard: Heard,
    waiting: Option<(Silence, Pin<Box<Sleep>>)>,
}

impl<S> Watched<S> {
    pub(super) fn new(items: S, allowed: Option<Duration>, heard: Heard) -> Watched<S> {
        Watched { items: Box::pin(items), allowed, heard, waiting: None }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<AttemptError> {
        let Some(allowed) = self.allowed else { return Poll::Pending };
        let (silence, alarm) = self.waiting.get_or_insert_with(|| {
            let silence = Silence::new(allowed, &self.heard);
            let alarm = Box::pin(sleep_until(silence.end().unwrap_or_else(Instant::now)));
            (silence, alarm)
        });
        loop {
            std::task::ready!(alarm.as_mut().poll(cx));
            if silence.is_over(Instant::now()) {
                return Poll::Ready(silence.error(true));
            }
            let Some(end) = silence.end() else { return Poll::Pending };
            alarm.as_mut().reset(end);
        }
    }
}

impl<S, T> Stream for Watched<S>
where
    S: Stream<Item = Result<T, AttemptError>>,
{
    type Item = Result<T, AttemptError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(item) = self.items.as_mut().poll_next(cx) {
            self.waiting = None;
            return Poll::Ready(item);
        }
        self.poll_over(cx).map(|error| Some(Err(error)))
    }
}

#[cfg(test)]
#[cfg(all(feature = "grpc", feature = "websocket"))]
mod tests {
    use std::io;
    use std::net::SocketAddr;

    use clientlet_gateway::{DocArray, Gateway, GatewayBuilder, Listener, StreamScript};
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, split};
    use tokio::time::sleep;

    use super::*;
    use crate::DocArray::{V1, V2};
    use crate::builder::transport;
    use crate::connect::memory::network::{Accepted, network};
    use crate::document::Document;
    use crate::error::{Delivery, Error, ErrorKind};
    use crate::options::ClientletOptions;
    use crate::{Client, Response};

    type Way = (&'static str, bool);
    const WAYS: [Way; 4] = [("http", false), ("ws", false), ("grpc", false), ("grpc", true)];

    /// A network that brings a byte of the gateway at a time, and nothing more after a number of them.
    struct Trickle(Accepted, usize, Duration);

    /// The time from one byte to the next.
    const PAUSE: Duration = Duration::from_millis(20);

    impl Listener for Trickle {
        type Io = DuplexStream;

        async fn accept(&mut self) -> io::Result<DuplexStream> {
            let client = self.0.accept().await?;
            let (near, far) = duplex(64 << 10);
            let ((mut of_client, mut to_client), (mut of_gateway, mut to_gateway)) =
                (split(client), split(near));
            let (most, pause) = (self.1, self.2);
            tokio::spawn(async move { copy(&mut of_client, &mut to_gateway).await });
            tokio::spawn(async move {
                for _ in 0..most {
                    let byte = of_gateway.read_u8().await?;
                    sleep(pause).await;
                    to_client.write_u8(byte).await?;
                }
                std::future::pending::<io::Result<()>>().await
            });
            Ok(far)
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            self.0.local_addr()
        }
    }

    /// Makes a client with this idle time-out, and a gateway behind a network that brings this number of bytes.
    fn client(
        (scheme, is_unary): Way,
        docarray: crate::DocArray,
        idle: Duration,
        most: Option<usize>,
        set: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> (Gateway, Client) {
        let (connector, accepted, _) = network();
        let builder = Gateway::builder().http(scheme == "http").websocket(scheme == "ws");
        let builder = set(builder.grpc(scheme == "grpc"));
        let gateway = match most {
            Some(most) => {
                // Documents v2 come after long lists of endpoints.
                let pause = if docarray == V2 { PAUSE / 20 } else { PAUSE };
                builder.serve(Trickle(accepted, most, pause)).unwrap()
            }
            None => builder.serve(accepted).unwrap(),
        };
        let options = ClientletOptions::new().unary(is_unary).idle_timeout(idle);
        let config = options
            .attempt_timeout(None)
            .docarray(docarray)
            .check(&format!("{scheme}://h:80"))
            .unwrap();
        let transport = transport(connector, &config, false).unwrap();
        (gateway, Client::over(config, transport))
    }

    /// Posts two requests, one after the other. The first opens the connection, and the second is
    /// handed to it.
    async fn post(client: &Client) -> Vec<Result<Response, Error>> {
        let documents = (0..2).map(|n| Document::text("x".repeat(400)).with_id(n.to_string()));
        let call = client.post("/upper").documents(documents).request_size(1).prefetch(1);
        call.send().await.into_iter().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_to_which_nothing_comes_ends_although_pings_are_answered() {
        for way in WAYS {
            for which in [1, 2] {
                for idle in [5, 50] {
                    let idle = Duration::from_secs(idle);
                    let fault = format!("stall@{which}").parse().unwrap();
                    let set = |g: GatewayBuilder| g.docarray(DocArray::V1).fault(fault);
                    let (_gateway, client) = client(way, V1, idle, None, set);
                    let began = Instant::now();
                    let mut answers = post(&client).await;
                    let error = answers.swap_remove(which - 1).unwrap_err();
                    let what = format!("{way:?} {which} {idle:?}: {error}");
                    let told =
                        format!("nothing came for {:.1} s, the idle time-out", idle.as_secs_f64());
                    assert_eq!(error.message(), told, "{what}");
                    assert_eq!(
                        (error.kind(), error.delivery()),
                        (ErrorKind::Timeout, Delivery::Unknown)
                    );
                    let took = began.elapsed();
                    assert!((idle..idle + PAUSE).contains(&took), "{what} after {took:?}");
                    assert!(answers.remove(0).is_ok(), "{what}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_goes_on_coming_may_take_longer() {
        let idle = Duration::from_secs(2);
        for way in WAYS {
            let set = |g: GatewayBuilder| g.docarray(DocArray::V1);
            let (_gateway, client) = client(way, V1, idle, Some(usize::MAX), set);
            let began = Instant::now();
            for answer in post(&client).await {
                answer.unwrap();
            }
            assert!(began.elapsed() > 3 * idle, "{way:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_stops_ends_with_the_number_of_its_bytes() {
        let idle = Duration::from_secs(5);
        for (way, most) in WAYS.into_iter().zip([1000, 600, 600, 600]) {
            let set = |g: GatewayBuilder| g.docarray(DocArray::V1);
            let (_gateway, client) = client(way, V1, idle, Some(most), set);
            let answers = post(&client).await;
            let error = answers.into_iter().find_map(Result::err).unwrap();
            let (_, came) = error.message().split_once("the idle time-out; ").expect("bytes came");
            let (bytes, rest) = came.split_once(' ').unwrap();
            let bytes: usize = bytes.parse().unwrap();
            assert!((50..1000).contains(&bytes), "{way:?}: {error}");
            assert!(rest.starts_with("bytes had come, "), "{way:?}: {error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_documents_ends_when_nothing_more_comes_and_not_while_it_is_not_read() {
        let idle = Duration::from_secs(5);
        for (way, most) in [(("http", false), 40_000), (("grpc", false), 80_000)] {
            let set = |g: GatewayBuilder| {
                g.docarray(DocArray::V2).stream_endpoint("/stream", StreamScript::new(2000))
            };
            let (_gateway, client) = client(way, V2, idle, Some(most), set);
            let call = client.stream_document("/stream", &json!({"text": "x"})).idle_timeout(None);
            let mut documents = call.stream::<Value>();
            let mut given = 0;
            let error = loop {
                match documents.next().await.unwrap() {
                    Ok(_) => given += 1,
                    Err(error) => break error,
                }
                if given == 1 {
                    sleep(3 * idle).await;
                }
            };
            assert!(given > 1, "{way:?}: {given} documents, {error}");
            let told = "nothing came for 5.0 s, the idle time-out";
            assert!(error.message().starts_with(told), "{way:?}: {error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_did_not_poll_has_the_time_again_but_not_endlessly() {
        let idle = Duration::from_secs(5);
        let mut silence = Silence::new(idle, &Heard::default());
        for _ in 0..MOST_EXCUSED {
            tokio::time::advance(2 * idle).await;
            assert!(!silence.is_over(Instant::now()));
        }
        tokio::time::advance(2 * idle).await;
        assert!(silence.is_over(Instant::now()));
        let mut silence = Silence::new(idle, &Heard::default());
        tokio::time::advance(idle).await;
        assert!(silence.is_over(Instant::now()), "it was noticed at once");
    }
}

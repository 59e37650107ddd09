//! gRPC as a gateway speaks it, on HTTP/2 itself. A gRPC library would hide the resets, GOAWAYs and
//! half messages that faults need, and it would cost more for each request than the five bytes of
//! framing do.

mod documents;
mod finish;
mod inbox;
mod outbox;
mod services;
mod session;
mod status;
mod stream;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use tokio::time::timeout;

use crate::listener::Listener;
use crate::wire::{Line, Wire};
use crate::world::World;

/// The bytes that a client may send ahead, on a stream and on a connection. They are large enough
/// that clients never wait.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// The largest frame that a client may send.
const LARGEST_FRAME: u32 = 1 << 20;
const LARGEST_HEAD: u32 = 64 << 10;
/// The most bytes of a stream that are handed to HTTP/2 before the client has taken them.
const SEND_BUFFER: usize = 1 << 20;
const MOST_STREAMS: u32 = 10_000;
/// The most streams that may be cancelled before they are accepted. Clients may cancel many.
const MOST_CANCELLED: usize = 10_000;
/// How long the gateway waits for the client to end its side of a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Gone,
    /// By a GOAWAY with this error code. With 0 the connection does not end yet: open streams go
    /// on.
    GoAway(u32),
    /// By FIN, without a GOAWAY.
    Drop,
    Reset,
    /// By the client, after a GOAWAY and the end of the last stream.
    Left,
    /// The connection stays open, but the gateway neither reads nor writes.
    HalfOpen,
}

/// What the streams of a connection share.
struct Shared {
    world: Arc<World>,
    line: Arc<Line>,
    /// The number of the connection.
    number: u64,
    /// The end of the connection that a stream has caused.
    end: Mutex<Option<End>>,
    /// The last stream that was processed.
    heard: AtomicU32,
    /// The last stream that may be processed, which a GOAWAY has named.
    last: AtomicU32,
    /// Whether h2 has sent a GOAWAY itself. The last stream of a second GOAWAY must not be higher,
    /// and h2 does not tell which stream the first one named.
    is_going: AtomicBool,
}

/// The value of `last` while no GOAWAY has named a last stream.
const NONE: u32 = u32::MAX;

impl Shared {
    fn new(world: Arc<World>, line: Arc<Line>, number: u64) -> Self {
        Self {
            world,
            line,
            number,
            end: Mutex::default(),
            heard: AtomicU32::new(0),
            last: AtomicU32::new(NONE),
            is_going: AtomicBool::new(false),
        }
    }

    fn hear(&self, stream: u32) {
        self.heard.fetch_max(stream, Relaxed);
    }

    /// Whether the stream may be processed, because it is not above the last one.
    fn hears(&self, stream: u32) -> bool {
        stream <= self.last.load(Relaxed)
    }

    fn is_left(&self) -> bool {
        self.last.load(Relaxed) != NONE
    }

    /// Sends a GOAWAY, at most one for each connection. The GOAWAY names the last stream that was
    /// processed, or, if that is later, the stream before `fresh`, which was not processed.
    fn leave(&self, code: u32, fresh: Option<u32>) {
        if self.is_left() || self.is_going.load(Relaxed) {
            return;
        }
        // The streams of a client have odd numbers.
        let before = fresh.map_or(0, |fresh| fresh.saturating_sub(2));
        let last = self.heard.load(Relaxed).max(before);
        self.last.store(last, Relaxed);
        self.line.insert(goaway(last, code));
    }

    fn end(&self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    fn take_end(&self) -> Option<End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A GOAWAY frame.
fn goaway(last: u32, code: u32) -> Bytes {
    let mut frame = BytesMut::new();
    // The length, type and flags, then stream 0, which stands for the connection.
    frame.put_slice(&[0, 0, 8, 7, 0]);
    frame.put_u32(0);
    frame.put_u32(last);
    frame.put_u32(code);
    frame.freeze()
}

/// A stream that is not processed. It is kept, because dropping it would reset it.
type Unheard = (RecvStream, SendResponse<Bytes>);

/// The streams of a connection. They run in the task of the connection, so they end with it, and no
/// data goes between threads.
type Streams = FuturesUnordered<BoxFuture<'static, Option<Unheard>>>;

/// Serves an HTTP/2 connection to its end.
pub(crate) async fn serve<L: Listener>(
    world: Arc<World>,
    line: Arc<Line>,
    wire: Wire<L>,
    number: u64,
) {
    let handshake = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(LARGEST_FRAME)
        .max_header_list_size(LARGEST_HEAD)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_streams(MOST_STREAMS)
        .max_pending_accept_reset_streams(MOST_CANCELLED)
        // Frames may still arrive for streams that a fault has ended. They are not errors of the
        // client.
        .max_local_error_reset_streams(None)
        .handshake(wire);
    let handshake = tokio::select! {
        biased;
        () = world.stops() => return,
        handshake = handshake => handshake,
    };
    let Ok(mut connection) = handshake else { return };
    world.journal.began_grpc();
    let shared = Arc::new(Shared::new(world, line, number));
    let mut streams = Streams::new();
    let mut unheard = Vec::new();
    match run(&shared, &mut connection, &mut streams, &mut unheard).await {
        End::Gone => {}
        End::Reset => shared.line.reset(),
        End::HalfOpen => shared.world.stops().await,
        // The data of the last streams may still be on its way, even when the gateway stops.
        End::Left => {
            let _ = timeout(PATIENCE, async {
                while let Some(Ok((request, respond))) = connection.accept().await {
                    unheard.push((request.into_body(), respond));
                }
            })
            .await;
        }
        end @ (End::Drop | End::GoAway(_)) => {
            match end {
                End::GoAway(code) => connection.abrupt_shutdown(code.into()),
                _ => shared.line.mute(),
            }
            // The streams are kept, since dropping them would send resets first.
            tokio::select! {
                () = shared.world.stops() => {}
                _ = timeout(PATIENCE, async {
                    while let Some(Ok(_)) = connection.accept().await {}
                }) => {}
            }
        }
    }
}

/// Serves streams until the connection is to end.
async fn run<L: Listener>(
    shared: &Arc<Shared>,
    connection: &mut Connection<Wire<L>, Bytes>,
    streams: &mut Streams,
    unheard: &mut Vec<Unheard>,
) -> End {
    let mut count = 0;
    let mut is_announced = false;
    let mut stops = pin!(shared.world.stops());
    let mut is_stopping = false;
    std::future::poll_fn(|cx| {
        if !is_stopping && stops.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            if !shared.is_left() {
                shared.is_going.store(true, Relaxed);
                connection.graceful_shutdown();
            }
        }
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond))))
                    if !shared.hears(respond.stream_id().as_u32()) =>
                {
                    unheard.push((request.into_body(), respond));
                }
                Poll::Ready(Some(Ok((request, respond)))) => {
                    count += 1;
                    let shared = Arc::clone(shared);
                    streams.push(Box::pin(stream::serve(shared, count, request, respond)));
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(End::Gone),
                Poll::Pending => break,
            }
        }
        // When streams write, this task is woken, so that the connection sends the data.
        while let Poll::Ready(Some(silent)) = streams.poll_next_unpin(cx) {
            unheard.extend(silent);
        }
        let is_left = shared.is_left();
        if is_left && !is_announced {
            // The GOAWAY is written by the next flush, which needs another poll of the connection.
            is_announced = true;
            cx.waker().wake_by_ref();
        }
        match shared.take_end() {
            None if is_left && streams.is_empty() => Poll::Ready(End::Left),
            None => Poll::Pending,
            // HTTP/2's own GOAWAY would name a stream above the last one.
            Some(End::GoAway(0)) if is_left => Poll::Pending,
            Some(End::GoAway(_)) if is_left => Poll::Ready(End::Drop),
            Some(End::GoAway(0)) => {
                shared.is_going.store(true, Relaxed);
                connection.graceful_shutdown();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(end) => Poll::Ready(end),
        }
    })
    .await
}

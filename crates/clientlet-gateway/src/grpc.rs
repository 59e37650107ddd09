//! gRPC as a gateway speaks it, on HTTP/2 itself: a library above it would hide the resets, GOAWAYs and
//! half messages that faults are made of, and cost more for each request than the five bytes before a
//! message do.

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

/// How much a client may send ahead on a stream and on a connection: so much that nobody waits for it.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// Frames as large as a client likes to make them.
const LARGEST_FRAME: u32 = 1 << 20;
const LARGEST_HEAD: u32 = 64 << 10;
/// So much is handed to HTTP/2 before the client has taken it, for each stream.
const SEND_BUFFER: usize = 1 << 20;
const MOST_STREAMS: u32 = 10_000;
/// Streams that were cancelled before they were looked at; clients that cancel many are welcome.
const MOST_CANCELLED: usize = 10_000;
/// How long the client's part in an ending is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Gone,
    /// With this error code. 0 is no end yet: streams that are open go on.
    GoAway(u32),
    /// By FIN, without a GOAWAY.
    Drop,
    Reset,
    /// By the client, after a GOAWAY and the end of the last stream.
    Left,
    /// Not at all, but nothing is read or written any more.
    HalfOpen,
}

/// What the streams of a connection share.
struct Shared {
    world: Arc<World>,
    line: Arc<Line>,
    /// The number of the connection.
    number: u64,
    /// The end that a stream has brought about.
    end: Mutex<Option<End>>,
    /// The last stream that was processed.
    heard: AtomicU32,
    /// The last stream that may be processed, as a GOAWAY has named it.
    last: AtomicU32,
    /// Whether HTTP/2 has sent a GOAWAY by itself. A second one must not name a stream below the
    /// first one's last stream, which h2 does not tell.
    is_going: AtomicBool,
}

/// The value as long as no GOAWAY has named a last stream.
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

    /// Leaves the connection by a GOAWAY. It names the last stream that was processed, or the
    /// stream before `fresh`, which was not processed, if that one is later. There is one GOAWAY
    /// for each connection.
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

/// A stream that is not processed. Dropping it would reset it.
type Unheard = (RecvStream, SendResponse<Bytes>);

/// Streams run in their connection's task: nothing outlives it, and nothing is sent between threads.
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
        // Streams that a fault ends early leave frames on their way; none of those is the client's fault.
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
        // The last streams' data may still be on its way, also when the gateway stops.
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
            // The streams stay as they are, or their resets would go out first.
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
        // What they write wakes this task, for the connection to send it.
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

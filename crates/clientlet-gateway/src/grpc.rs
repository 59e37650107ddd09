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
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use h2::server::{Builder, Connection};
use tokio::time::timeout;

use crate::gateway::World;
use crate::listener::Listener;
use crate::wire::{Line, Wire};

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
}

impl Shared {
    fn end(&self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    fn take_end(&self) -> Option<End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Streams run in their connection's task: nothing outlives it, and nothing is sent between threads.
type Streams = FuturesUnordered<BoxFuture<'static, ()>>;

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
        .handshake(wire);
    let handshake = tokio::select! {
        biased;
        () = world.stops() => return,
        handshake = handshake => handshake,
    };
    let Ok(mut connection) = handshake else { return };
    world.journal.began_grpc();
    let shared = Arc::new(Shared { world, line, number, end: Mutex::default() });
    let mut streams = Streams::new();
    match run(&shared, &mut connection, &mut streams).await {
        End::Gone => {}
        End::Reset => shared.line.reset(),
        End::HalfOpen => shared.world.stops().await,
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
) -> End {
    let mut count = 0;
    let mut stops = pin!(shared.world.stops());
    let mut is_stopping = false;
    std::future::poll_fn(|cx| {
        if !is_stopping && stops.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            connection.graceful_shutdown();
        }
        loop {
            match connection.poll_accept(cx) {
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
        while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {}
        match shared.take_end() {
            None => Poll::Pending,
            Some(End::GoAway(0)) => {
                connection.graceful_shutdown();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(end) => Poll::Ready(end),
        }
    })
    .await
}

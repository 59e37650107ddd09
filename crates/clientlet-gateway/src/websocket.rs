//! WebSocket as a gateway speaks it. Each message is a request in protobuf or JSON; answers come as
//! they are ready.

mod ending;
mod handshake;
mod messages;
mod session;

use std::sync::Arc;

use futures_util::SinkExt;
use http::HeaderMap;
use tokio_websockets::{Config, Limits, Message, ServerBuilder, WebSocketStream};

use self::ending::{End, finish};
use self::handshake::Path;
pub(crate) use self::handshake::{Upgrade, agree, is_upgrade, response};
use self::session::Session;
use crate::listener::Listener;
use crate::outage::Outage;
use crate::wire::{Line, Wire};
use crate::world::World;

/// The largest message, as with real gateways.
const LARGEST: usize = 1 << 30;
/// The bytes that are written together, if there are that many.
const WRITE: usize = 64 * 1024;

/// The kind of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subprotocol {
    /// Binary messages of protobuf.
    Bytes,
    /// Text messages of JSON.
    Json,
}

impl Subprotocol {
    /// A message of this kind.
    fn message(self, content: impl Into<tokio_websockets::Payload>) -> Message {
        match self {
            Self::Bytes => Message::binary(content),
            Self::Json => Message::text(content),
        }
    }

    /// The other subprotocol, for a fault.
    fn other(self) -> Self {
        match self {
            Self::Bytes => Self::Json,
            Self::Json => Self::Bytes,
        }
    }
}

/// A connection that became a WebSocket.
struct Link<L: Listener> {
    world: Arc<World>,
    line: Arc<Line>,
    stream: WebSocketStream<Wire<L>>,
    subprotocol: Subprotocol,
    /// The number of the connection.
    number: u64,
    /// The headers of the handshake.
    headers: HeaderMap,
}

/// Serves a WebSocket to its end.
pub(crate) async fn serve<L: Listener>(
    world: Arc<World>,
    line: Arc<Line>,
    wire: Wire<L>,
    number: u64,
    upgrade: Upgrade,
) {
    let stream = ServerBuilder::new()
        // Messages are never sent in fragments, as by real gateways.
        .config(Config::default().frame_size(usize::MAX).flush_threshold(WRITE))
        .limits(Limits::default().max_payload_len(Some(LARGEST)))
        .serve(wire);
    let Upgrade { path, subprotocol, headers } = upgrade;
    let mut link = Link { world, line, stream, subprotocol, number, headers };
    match path {
        Path::Data => {
            let mut session = Session::new(link);
            let end = session.run().await;
            finish(session.into_link(), end).await;
        }
        Path::DryRun => {
            let end = dry_run(&mut link).await;
            finish(link, end).await;
        }
    }
}

/// Reports at once whether the executor is well.
async fn dry_run<L: Listener>(link: &mut Link<L>) -> End {
    if let Some(outage) = Outage::now(&link.world.control) {
        return End::Close { code: 1011, reason: outage.close_reason().into() };
    }
    let message = match link.subprotocol {
        // A status of success has no bytes.
        Subprotocol::Bytes => Message::binary(&b""[..]),
        Subprotocol::Json => Message::text("{}"),
    };
    match link.stream.send(message).await {
        Ok(()) => End::Close { code: 1000, reason: String::new() },
        Err(_) => End::Gone,
    }
}

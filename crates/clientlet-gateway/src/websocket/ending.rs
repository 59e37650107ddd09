//! The ways in which a WebSocket ends.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::{Link, WRITE};
use crate::listener::Listener;

/// How long the gateway waits for the client to end its side.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest content of a control frame (RFC 6455, 5.5).
const LARGEST_PING: usize = 125;

/// How a WebSocket ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client is gone, has closed the WebSocket, or broke the protocol.
    Gone,
    /// With a close frame.
    Close {
        code: u16,
        reason: String,
    },
    /// By FIN, without a close frame.
    Drop,
    Reset,
    /// Half of this message's frame is sent, then FIN or a reset.
    Cut {
        message: Bytes,
        is_text: bool,
        reset: bool,
    },
    /// The connection stays open, but the gateway neither reads nor writes.
    HalfOpen,
    /// The connection stays open until the client ends it. The gateway does not read, and sends
    /// pings without end.
    PingFlood,
}

/// Ends a WebSocket. Answers that are ready are sent first.
pub(super) async fn finish<L: Listener>(mut link: Link<L>, end: End) {
    let _ = timeout(PATIENCE, link.stream.flush()).await;
    let lingers = matches!(end, End::Drop | End::Cut { .. });
    match end {
        End::HalfOpen => return link.world.stops().await,
        End::Reset => return link.line.reset(),
        End::PingFlood => {
            let world = link.world;
            tokio::select! {
                () = world.stops() => {}
                () = flood(link.stream.get_mut()) => {}
            }
            return;
        }
        End::Gone => {
            // The loop ends when the answer to the client's close frame was sent.
            let _ = timeout(PATIENCE, async { while link.stream.next().await.is_some() {} }).await;
        }
        End::Drop => {}
        End::Close { code, reason } => {
            // The frame is made by hand, because faults may have codes that are not allowed.
            let content = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            let frame = [&frame_head(0x88, content.len())[..], &content].concat();
            let _ = timeout(PATIENCE, async {
                link.stream.get_mut().write_all(&frame).await.ok()?;
                link.stream.get_mut().flush().await.ok()?;
                while let Some(Ok(message)) = link.stream.next().await {
                    if message.is_close() {
                        break;
                    }
                }
                Some(())
            })
            .await;
        }
        End::Cut { message, is_text, reset } => {
            let head = frame_head(if is_text { 0x81 } else { 0x82 }, message.len());
            let frame = [&head[..], &message].concat();
            let _ = timeout(PATIENCE, async {
                link.stream.get_mut().write_all(&frame[..frame.len() / 2]).await.ok()?;
                link.stream.get_mut().flush().await.ok()
            })
            .await;
            if reset {
                return link.line.reset();
            }
        }
    }
    let mut wire = link.stream.into_inner();
    let _ = timeout(PATIENCE, wire.shutdown()).await;
    if lingers {
        // A connection that is dropped with unread bytes ends by a reset and not by FIN.
        let mut unread = vec![0; 64 * 1024];
        tokio::select! {
            () = link.world.stops() => {}
            _ = timeout(PATIENCE, async { while wire.read(&mut unread).await? > 0 {} ; io::Result::Ok(()) }) => {}
        }
    }
}

/// Writes pings of the largest size until the client is gone.
async fn flood(wire: &mut (impl AsyncWrite + Unpin)) {
    let ping = [&frame_head(0x89, LARGEST_PING)[..], &[b'.'; LARGEST_PING]].concat();
    let pings = ping.repeat(WRITE / ping.len());
    while wire.write_all(&pings).await.is_ok() && wire.flush().await.is_ok() {}
}

/// The beginning of a frame that is not masked.
fn frame_head(first: u8, length: usize) -> Vec<u8> {
    let mut head = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => head.push(length),
        (_, Ok(length)) => {
            head.push(126);
            head.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_begins_with_its_length() {
        assert_eq!(frame_head(0x82, 125), [0x82, 125]);
        assert_eq!(frame_head(0x82, 126), [0x82, 126, 0, 126]);
        assert_eq!(frame_head(0x82, 65_535), [0x82, 126, 0xff, 0xff]);
        assert_eq!(frame_head(0x82, 65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}

//! The ways in which a WebSocket ends.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::{Link, WRITE};
use crate::listener::Listener;

/// How long the client's part in an ending is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that a control frame may hold (RFC 6455, 5.5).
const LARGEST_PING: usize = 125;

/// How a WebSocket ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client went, or closed it, or broke the protocol.
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
    /// Not at all, but nothing is read or written any more.
    HalfOpen,
    /// Not before the client ends it: nothing is read any more, and pings are sent without end.
    PingFlood,
}

/// Ends a WebSocket. What was answered before goes out first.
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
            // Goes on until the answer to the client's close frame is out.
            let _ = timeout(PATIENCE, async { while link.stream.next().await.is_some() {} }).await;
        }
        End::Drop => {}
        End::Close { code, reason } => {
            // Made by hand because the codes of faults need not be legal.
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
        // A connection that is dropped with bytes unread ends by a reset instead of FIN.
        let mut unread = vec![0; 64 * 1024];
        tokio::select! {
            () = link.world.stops() => {}
            _ = timeout(PATIENCE, async { while wire.read(&mut unread).await? > 0 {} ; io::Result::Ok(()) }) => {}
        }
    }
}

/// Writes the largest pings that there are until the client has gone.
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

//! tokio-websockets over an upgrade by hand. All messages that are ready are written with one flush.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use super::connection::{Connection, HTTP1, open, origin};
use crate::contest::IN_FLIGHT;
use crate::serve::Addresses;

#[derive(Debug)]
pub(crate) struct Bare(WebSocketStream<TokioIo<Connection>>);

/// The maximum length of an answer to an upgrade, in bytes. Gateways send less.
const MOST_HEAD: usize = 4096;

impl Bare {
    pub(super) async fn connect(addresses: &Addresses) -> Result<Bare, Box<dyn Error>> {
        let origin = origin(addresses, &addresses.websocket)?;
        let host = origin.authority().ok_or("the gateway's address has no host")?.as_str();
        let mut stream = TokioIo::new(open(addresses, origin.clone(), HTTP1).await?);
        let request = format!(
            "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: bytes\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // Byte by byte, because the bytes after the head belong to WebSocket.
        while !head.ends_with(b"\r\n\r\n") && head.len() < MOST_HEAD {
            head.push(stream.read_u8().await?);
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(format!("no upgrade: {}", String::from_utf8_lossy(&head)).into());
        }
        Ok(Bare(ClientBuilder::new().take_over(stream)))
    }

    pub(super) async fn post(
        &mut self,
        body: &Bytes,
        requests: usize,
    ) -> Result<Bytes, Box<dyn Error>> {
        let (mut sent, mut answered) = (0, 0);
        let mut last = Bytes::new();
        while answered < requests {
            while sent < requests.min(answered + IN_FLIGHT) {
                self.0.feed(Message::binary(body.clone())).await?;
                sent += 1;
            }
            self.0.flush().await?;
            let mut next = Some(self.0.next().await);
            // Reads every answer that has come before writing more.
            while let Some(message) = next {
                let message = message.ok_or("the gateway closed the connection")??;
                if message.is_close() || message.is_text() {
                    return Err("the bare transport was answered with no bytes".into());
                }
                if message.is_binary() {
                    last = BytesMut::from(message.into_payload()).freeze();
                    answered += 1;
                }
                next = self.0.next().now_or_never();
            }
        }
        Ok(last)
    }
}

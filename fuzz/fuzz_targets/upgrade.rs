//! A gateway's answer to the upgrade, and the bytes after it.
#![no_main]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Builder;

/// The answer of a gateway that accepts the upgrade, with the key of RFC 6455's example.
const AGREED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fuzz_target!(|input: (bool, &[u8])| {
    let (is_agreed, rest) = input;
    let mut answer = if is_agreed { AGREED.to_vec() } else { Vec::new() };
    answer.extend_from_slice(rest);
    let is_whole_frame = is_agreed
        && matches!(rest, [0x82, length @ 0..=125, content @ ..] if content.len() == usize::from(*length));
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let is_read = runtime.block_on(async {
        let gateway = Gateway { answer, at: 0, is_asked: false, reader: None };
        clientlet::fuzzing::read_upgrade(TokioIo::new(gateway)).await
    });
    assert!(is_read || !is_whole_frame, "a binary message is read");
});

/// A gateway that sends nothing before it has read something.
struct Gateway {
    answer: Vec<u8>,
    at: usize,
    is_asked: bool,
    reader: Option<Waker>,
}

impl AsyncRead for Gateway {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let end = self.answer.len().min(self.at + buffer.remaining());
        buffer.put_slice(&self.answer[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gateway {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

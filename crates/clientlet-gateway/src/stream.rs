//! The byte stream of a connection: as the listener gave it, or inside TLS.

use std::io;
use std::pin::Pin;
#[cfg(feature = "tls")]
use std::task::ready;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use crate::listener::Listener;

pub(crate) enum Stream<L: Listener> {
    Plain(L::Io),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<L::Io>>),
    /// TLS whose end is not announced (`close_notify`).
    #[cfg(feature = "tls")]
    TlsWithoutEnd(Box<TlsStream<L::Io>>),
}

impl<L: Listener> Stream<L> {
    /// Prepares the connection so that dropping it is a reset.
    pub(crate) fn reset_on_drop(&self) {
        match self {
            Self::Plain(io) => L::reset_on_drop(io),
            #[cfg(feature = "tls")]
            Self::Tls(tls) | Self::TlsWithoutEnd(tls) => L::reset_on_drop(tls.get_ref().0),
        }
    }
}

/// Calls a method of the stream below.
macro_rules! below {
    ($this:expr, $method:ident($($argument:expr),*)) => {
        match $this {
            Stream::Plain(io) => Pin::new(io).$method($($argument),*),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) | Stream::TlsWithoutEnd(tls) => Pin::new(&mut **tls).$method($($argument),*),
        }
    };
}

impl<L: Listener> AsyncRead for Stream<L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        below!(&mut *self, poll_read(cx, buffer))
    }
}

impl<L: Listener> AsyncWrite for Stream<L> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        below!(&mut *self, poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        below!(&mut *self, poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) | Self::TlsWithoutEnd(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        below!(&mut *self, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        #[cfg(feature = "tls")]
        if let Self::TlsWithoutEnd(tls) = &mut *self {
            ready!(Pin::new(&mut **tls).poll_flush(cx))?;
            return Pin::new(tls.get_mut().0).poll_shutdown(cx);
        }
        below!(&mut *self, poll_shutdown(cx))
    }
}

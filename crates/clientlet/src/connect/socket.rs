//! A TCP socket that a driver can take over from the runtime.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket. It belongs to the runtime until a task of a driver polls it; from then on the driver watches it.
#[derive(Debug)]
pub(super) enum Socket {
    OfRuntime(TcpStream),
    #[cfg(unix)]
    OfDriver(watched::Watched),
    /// It could not be handed over.
    Lost,
}

impl Socket {
    /// Hands the socket to the driver that polls it, if there is one.
    fn hand_over(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        if let Socket::OfRuntime(_) = self
            && let Some(driver) = crate::driver::present()
            && let Socket::OfRuntime(stream) = std::mem::replace(self, Socket::Lost)
        {
            *self = Socket::OfDriver(watched::Watched::new(stream, &*driver)?);
        }
        Ok(())
    }
}

fn lost() -> io::Error {
    io::Error::other("the socket could not be handed to the event loop")
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.hand_over()?;
        match &mut *self {
            Socket::OfRuntime(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(unix)]
            Socket::OfDriver(socket) => socket.poll_read(cx, buffer),
            Socket::Lost => Poll::Ready(Err(lost())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.hand_over()?;
        match &mut *self {
            Socket::OfRuntime(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(unix)]
            Socket::OfDriver(socket) => socket.poll_write(cx, &[IoSlice::new(bytes)]),
            Socket::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.hand_over()?;
        match &mut *self {
            Socket::OfRuntime(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            #[cfg(unix)]
            Socket::OfDriver(socket) => socket.poll_write(cx, slices),
            Socket::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Socket::OfRuntime(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Socket::OfDriver(socket) => Poll::Ready(socket.shutdown()),
            Socket::Lost => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(unix)]
mod watched {
    use std::io::{self, IoSlice, Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use crate::driver::{Driver, Readiness};

    /// A socket that a driver watches. It does not block.
    #[derive(Debug)]
    pub(in crate::connect) struct Watched {
        stream: TcpStream,
        readiness: Arc<Readiness>,
    }

    impl Watched {
        pub(super) fn new(
            stream: tokio::net::TcpStream,
            driver: &dyn Driver,
        ) -> io::Result<Watched> {
            let (stream, readiness) = (stream.into_std()?, Arc::<Readiness>::default());
            driver.watch(stream.as_fd(), &readiness)?;
            // What has come by now may not be reported.
            readiness.read_again();
            Ok(Watched { stream, readiness })
        }

        pub(super) fn poll_read(
            &mut self,
            cx: &Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if !self.readiness.begin_to_read(cx) {
                return Poll::Pending;
            }
            let room = buffer.initialize_unfilled();
            let size = room.len();
            match without_interrupts(|| self.stream.read(room)) {
                Poll::Ready(Ok(read)) => {
                    // A read that leaves room has taken everything, and what comes later is reported.
                    if read == size {
                        self.readiness.read_again();
                    }
                    buffer.advance(read);
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        }

        pub(super) fn poll_write(
            &mut self,
            cx: &Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let written = without_interrupts(|| self.stream.write_vectored(slices));
            if written.is_ready() {
                return written;
            }
            // Room that was made before this would not be reported to this task.
            self.readiness.begin_to_write(cx);
            without_interrupts(|| self.stream.write_vectored(slices))
        }

        pub(super) fn shutdown(&self) -> io::Result<()> {
            match self.stream.shutdown(Shutdown::Write) {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                done => done,
            }
        }
    }

    /// Does something that does not block, and is done again if a signal has interrupted it.
    fn without_interrupts(mut what: impl FnMut() -> io::Result<usize>) -> Poll<io::Result<usize>> {
        loop {
            match what() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                done => return Poll::Ready(done),
            }
        }
    }
}

//! Pipes that never block.
//!
//! Whether a pipe blocks is a property of its open file description, which other processes share,
//! so making stdin non-blocking would break them. Linux can open a pipe anew by its name below
//! `/proc`, which gives this process a description of its own. On other systems a thread waits for
//! pipes.

#[cfg(target_os = "linux")]
pub(crate) use self::linux::{Receiver, Sender, receiver, sender};
#[cfg(not(target_os = "linux"))]
pub(crate) use self::other::{Receiver, Sender, receiver, sender};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use tokio::net::unix::pipe::OpenOptions;
    pub(crate) use tokio::net::unix::pipe::{Receiver, Sender};

    /// Opens the reading end of a pipe. Returns `None` if the file is not a pipe, or may not be opened
    /// anew, such as another user's pipe.
    pub(crate) fn receiver(file: &File) -> Option<Receiver> {
        OpenOptions::new().open_receiver(name(file)).ok()
    }

    /// Opens the writing end of a pipe. Returns `None` like [`receiver`], and if no process reads from
    /// the pipe.
    pub(crate) fn sender(file: &File) -> Option<Sender> {
        OpenOptions::new().open_sender(name(file)).ok()
    }

    fn name(file: &File) -> String {
        format!("/proc/self/fd/{}", file.as_raw_fd())
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::convert::Infallible;
    use std::fs::File;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    /// Never made: only Linux can open pipes anew.
    pub(crate) struct Receiver(Infallible);
    pub(crate) struct Sender(Infallible);

    pub(crate) fn receiver(_: &File) -> Option<Receiver> {
        None
    }

    pub(crate) fn sender(_: &File) -> Option<Sender> {
        None
    }

    impl AsyncRead for Receiver {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0 {}
        }
    }

    impl AsyncWrite for Sender {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            match self.0 {}
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.0 {}
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.0 {}
        }
    }
}

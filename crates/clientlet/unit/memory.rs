//! Connections in memory, for tests and the fuzzer.

use std::fmt;

use futures_util::future::ready;

use super::dial::{Dial, Dialling, Io, Step};

/// A network whose connections are made by a function.
pub(crate) struct Memory<F>(pub(crate) F);

impl<F: Fn() -> T + Send + Sync + 'static, T: Io> Dial for Memory<F> {
    fn dial<'d>(&'d self, _: &'d str, _: u16, _: &'d Step) -> Dialling<'d> {
        Box::pin(ready(Ok(Box::new((self.0)()) as Box<dyn Io>)))
    }
}

impl<F> fmt::Debug for Memory<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

/// A network in memory with an embedded gateway. Its connections can be made to panic.
#[cfg(test)]
pub(crate) mod network {
    use std::io;
    use std::net::SocketAddr;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use clientlet_gateway::Listener;
    use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::Memory;
    use crate::connect::Connector;

    /// Receives the gateway's sides of new connections.
    pub(crate) struct Accepted(UnboundedReceiver<DuplexStream>);

    impl Listener for Accepted {
        type Io = DuplexStream;

        async fn accept(&mut self) -> io::Result<DuplexStream> {
            match self.0.recv().await {
                Some(stream) => Ok(stream),
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 80).into())
        }
    }

    /// Makes the connections of one network panic.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Bomb(Arc<(AtomicBool, Mutex<Vec<Waker>>)>);

    impl Bomb {
        pub(crate) fn go_off(&self) {
            self.0.0.store(true, Ordering::Release);
            self.0.1.lock().unwrap().drain(..).for_each(Waker::wake);
        }

        fn check(&self, waker: &Waker) {
            self.0.1.lock().unwrap().push(waker.clone());
            assert!(!self.0.0.load(Ordering::Acquire), "it went off");
        }
    }

    /// The client's side of a connection that a [`Bomb`] can make panic.
    #[derive(Debug)]
    struct Bombed(DuplexStream, Bomb);

    impl AsyncRead for Bombed {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1.check(cx.waker());
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Bombed {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    pub(crate) fn network() -> (Connector, Accepted, Bomb) {
        let (tell, accepted) = unbounded_channel();
        let bomb = Bomb::default();
        let of_connections = bomb.clone();
        let dial = Memory(move || {
            let (client, gateway) = duplex(64 << 10);
            // If the gateway is gone, the client's side reads the end.
            let _ = tell.send(gateway);
            // The bomb applies to the connections that exist when it goes off.
            let is_over = of_connections.0.0.load(Ordering::Acquire);
            Bombed(client, if is_over { Bomb::default() } else { of_connections.clone() })
        });
        (Connector::over(dial, Duration::from_secs(1)), Accepted(accepted), bomb)
    }
}

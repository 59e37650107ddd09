//! The client's half of a stream: its messages, as HTTP/2 asks for them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::super::multiplex::{Order, Orders};

/// The orders of a stream, and how they become messages.
pub(crate) trait Traffic: Send + 'static {
    type What: Send;
    type Reply: Send;

    fn orders(&mut self) -> &mut Orders<Self::What, Self::Reply>;

    /// Returns the message of an order; `None` if nothing is to be written.
    fn enter(&mut self, order: Order<Self::What, Self::Reply>) -> Option<Bytes>;
}

/// The traffic of a stream, which its task and HTTP/2 share.
pub(crate) struct Shared<T>(Arc<Mutex<Writing<T>>>);

struct Writing<T> {
    traffic: T,
    /// The waker of HTTP/2 while it waits for a message. The queue forgets the waker when it is
    /// read for another reason.
    writer: Option<Waker>,
}

impl<T: Traffic> Shared<T> {
    pub(crate) fn new(traffic: T) -> Shared<T> {
        Shared(Arc::new(Mutex::new(Writing { traffic, writer: None })))
    }

    /// Returns the messages. Their end is the end of the client's half of the stream.
    pub(crate) fn requests(&self) -> Requests<T> {
        Requests(Shared(self.0.clone()))
    }

    /// Uses the traffic under its lock.
    pub(crate) fn with<R>(&self, what: impl FnOnce(&mut T) -> R) -> R {
        what(&mut self.lock().traffic)
    }

    /// Releases the queued orders, and lets HTTP/2 see that no more will come. Otherwise the
    /// client's half of the stream would stay open, and the connection with it.
    pub(crate) async fn let_go(&self) {
        poll_fn(|cx| self.lock().traffic.orders().poll_let_go(cx)).await;
        let writer = self.lock().writer.take();
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writing<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The messages of a stream.
pub(crate) struct Requests<T: Traffic>(Shared<T>);

impl<T: Traffic> Stream for Requests<T> {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Writing { traffic, writer } = &mut *self.0.lock();
        loop {
            let next = traffic.orders().poll_next(cx);
            if next.is_pending() {
                *writer = Some(cx.waker().clone());
            }
            let Some(order) = ready!(next) else { return Poll::Ready(None) };
            if let Some(message) = traffic.enter(order) {
                return Poll::Ready(Some(message));
            }
        }
    }
}

impl<T: Traffic> Drop for Requests<T> {
    /// HTTP/2 asks for no more messages, whatever happens to the answers.
    fn drop(&mut self) {
        self.0.with(|traffic| traffic.orders().close());
    }
}

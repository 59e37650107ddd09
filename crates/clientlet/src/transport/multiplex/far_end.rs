//! The other end of a handle, for tests.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{Ending, Handle, InFlight, Notice, Orders, Progress};
use crate::error::Event;
use crate::message::{RawAnswer, RequestId};

#[derive(Debug)]
pub(crate) struct FarEnd {
    orders: Orders<RequestId, RawAnswer>,
    notice: Notice,
    in_flight: InFlight,
}

impl FarEnd {
    /// Opens a connection for requests whose ids have this nonce.
    pub(crate) fn open(nonce: u64) -> (Arc<Handle>, FarEnd) {
        let in_flight = InFlight::new(nonce, Progress::default(), Arc::default());
        let (handle, orders, notice) = Handle::new(in_flight.progress(), false);
        (Arc::new(handle), FarEnd { orders, notice, in_flight })
    }

    /// Writes the queued requests. Returns their bytes.
    pub(crate) fn write(&mut self) -> Vec<Bytes> {
        let mut cx = Context::from_waker(Waker::noop());
        let orders = std::iter::from_fn(|| match self.orders.poll_next(&mut cx) {
            Poll::Ready(order) => order,
            Poll::Pending => None,
        });
        orders.filter_map(|order| self.in_flight.enter(order)).collect()
    }

    pub(crate) fn answer(&mut self, answer: RawAnswer) {
        self.in_flight.answer(answer).expect("it was sent");
    }

    /// Ends the connection: requests that were written fail, and queued requests are released.
    pub(crate) async fn end(mut self) {
        let ending = Arc::new(Ending::new(Event::SocketDropped, "the connection was dropped"));
        let mut orders = self.orders;
        self.notice.tell(ending.clone());
        self.in_flight.fail(&ending);
        std::future::poll_fn(|cx| orders.poll_let_go(cx)).await;
        // The queue of a gRPC stream may outlive its connection for a while. No sender may wait for
        // it.
        mem::forget(orders);
    }
}

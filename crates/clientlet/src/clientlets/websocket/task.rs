//! A WebSocket of a clientlet: its task writes what is sent, keeps what comes and answers pings.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Uri;
use tokio::sync::{mpsc, oneshot};

use super::AGAIN;
use crate::clientlets::duplex::{self, Closing, Desk, Inbox, Opener, Order, Outgoing, Session};
use crate::config::Config;
use crate::connect::Connector;
use crate::error::{AttemptError, Error};
use crate::panics::unless_it_panics;
use crate::transport::BoxFuture;
use crate::transport::poll_let_go;
use crate::transport::websocket::{Ending, Line, Subprotocol, open};

/// Connects and upgrades.
#[derive(Debug)]
pub(super) struct Upgrade {
    config: Arc<Config>,
    connector: Connector,
    uri: Uri,
}

impl Upgrade {
    pub(super) fn new(config: &Arc<Config>) -> Result<Upgrade, Error> {
        let connector = Connector::new(config);
        Ok(Upgrade { connector, uri: config.address.as_given()?, config: config.clone() })
    }
}

impl Opener for Upgrade {
    fn open<'a>(&'a self, inbox: &'a Arc<Inbox>) -> BoxFuture<'a, Result<Session, AttemptError>> {
        Box::pin(async move {
            let Config { headers, answer_limit, .. } = &*self.config;
            let opening =
                open(&self.connector, &self.uri, headers, Subprotocol::Bytes, *answer_limit);
            Ok(start(opening.await?, inbox))
        })
    }

    fn again(&self) -> &'static str {
        AGAIN
    }

    fn protocol(&self) -> &'static str {
        "ws"
    }
}

fn start(line: Line, inbox: &Arc<Inbox>) -> Session {
    let (session, Desk { queue, mut notice }) = Session::new(inbox);
    notice.begin();
    let task = Task {
        line,
        inbox: inbox.clone(),
        queue,
        next: None,
        flushing: Vec::new(),
        has_ended: false,
        has_closed: false,
    };
    tokio::spawn(async move {
        let (ending, task) = task.run().await;
        let Task { line, mut queue, next, flushing, .. } = task;
        notice.end(ending.into());
        drop((next, flushing));
        poll_fn(|cx| poll_let_go(&mut queue, cx)).await;
        line.finish().await;
    });
    session
}

impl From<Ending> for duplex::Ending {
    fn from(ending: Ending) -> duplex::Ending {
        let is_fault = ending.is_fault();
        let Ending { event, what, closing, is_by_frame } = ending;
        let closing = Closing { code: closing.code, reason: closing.reason };
        duplex::Ending { event, what, closing, is_said: is_by_frame, is_fault }
    }
}

struct Task {
    line: Line,
    inbox: Arc<Inbox>,
    queue: mpsc::Receiver<Order>,
    /// Taken from the queue, not yet taken by the socket.
    next: Option<Order>,
    /// Taken by the socket, not yet out.
    flushing: Vec<oneshot::Sender<Result<(), AttemptError>>>,
    /// Whether the end of input was sent.
    has_ended: bool,
    /// Whether our close frame was sent.
    has_closed: bool,
}

impl Task {
    async fn run(mut self) -> (Ending, Task) {
        let ending = unless_it_panics(poll_fn(|cx| self.poll(cx))).await;
        (ending.unwrap_or_else(Ending::dropped), self)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let is_reading = match self.poll_read(cx) {
            Poll::Ready(Err(ending)) => return Poll::Ready(ending),
            Poll::Ready(Ok(())) => false,
            Poll::Pending => true,
        };
        if let Poll::Ready(Err(ending)) = self.poll_write(cx) {
            return Poll::Ready(ending);
        }
        if !is_reading {
            self.line.rest();
        }
        self.line.poll_alarm(cx)
    }

    /// Keeps what comes; ready without an ending when there is no room for more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        loop {
            let has_room = self.inbox.poll_room(cx).is_ready();
            if !has_room && !self.line.is_closing() {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.line.poll_message(cx)) {
                // Nobody will ask for it.
                Ok(_) if self.line.is_closing() => {}
                Ok(message) => self.inbox.push(message),
                Err(ending) => return Poll::Ready(Err(ending)),
            }
        }
    }

    /// Hands over to the socket whatever is there, then flushes once.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let mut is_over = self.inbox.is_hung_up();
        loop {
            if self.next.is_none() {
                match self.queue.poll_recv(cx) {
                    Poll::Ready(Some(order)) => self.next = Some(order),
                    Poll::Ready(None) => is_over = true,
                    Poll::Pending => {}
                }
            }
            if is_over && !self.line.is_closing() {
                self.line.expect_close();
            }
            let wants_to_close = self.line.is_closing() && !self.has_closed;
            if !wants_to_close && (self.next.is_none() || self.has_closed) {
                break;
            }
            ready!(self.line.poll_room(cx))?;
            if wants_to_close {
                self.has_closed = true;
                self.line.send_close()?;
            } else if let Some(order) = self.next.take() {
                self.enter(order)?;
            }
        }
        ready!(self.line.poll_flush(cx))?;
        for done in self.flushing.drain(..) {
            // Whoever gave up meanwhile need not know.
            let _ = done.send(Ok(()));
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a message whole or not at all.
    fn enter(&mut self, order: Order) -> Result<(), Ending> {
        if self.has_ended && matches!(order.what, Outgoing::Message(_)) {
            order.refuse(AGAIN);
            return Ok(());
        }
        if !order.enter() {
            return Ok(());
        }
        self.flushing.push(order.done);
        match order.what {
            Outgoing::Message(body) => self.line.send(body),
            Outgoing::EndOfInput => {
                self.has_ended = true;
                self.line.send_end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clientlet_gateway::{Gateway, Listener};
    use tokio::io::AsyncWriteExt;
    use tokio::time::{Instant, timeout};
    use tokio_websockets::ServerBuilder;

    use super::*;
    use crate::clientlets::DataRequest;
    use crate::clientlets::duplex::{Link, Messages};
    use crate::connect::memory::network::network;
    use crate::message::DocArray;
    use crate::options::ClientletOptions;

    #[tokio::test(start_paused = true)]
    async fn the_receiver_hears_at_once_of_a_panic_below() {
        let (connector, accepted, bomb) = network();
        let builder = Gateway::builder().http(false).docarray(clientlet_gateway::DocArray::V1);
        let builder = builder.websocket(true).fault("stall@1".parse().unwrap());
        let gateway = builder.serve(accepted).unwrap();
        let config = Arc::new(ClientletOptions::new().check("ws://h:80").unwrap());
        let (uri, config_too) = (config.address.as_given().unwrap(), config.clone());
        let opener = Upgrade { config: config_too, connector, uri };
        let link = Arc::new(Link::new(&config, opener));
        link.start().await.unwrap();
        link.send_message(&DataRequest::proto(DocArray::V1, "/")).await.unwrap();
        gateway.journal().wait_for(1).await;
        bomb.go_off();
        let mut messages = Messages::responses(&link);
        let all = async { while poll_fn(|cx| messages.poll_message(cx)).await.is_some() {} };
        timeout(Duration::from_secs(1), all).await.expect("at once");
        let closing = messages.closing().unwrap();
        assert_eq!(closing.code, 1006);
        assert!(closing.reason.contains("it went off"), "{closing:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_closed_ends_in_its_time_whatever_the_gateway_sends() {
        let (connector, mut accepted, _) = network();
        let gateway = tokio::spawn(async move {
            let stream = accepted.accept().await.unwrap();
            let mut stream = ServerBuilder::new().accept(stream).await.unwrap().1.into_inner();
            // This gateway does not answer the close, but pings every second.
            while stream.write_all(&[0x89, 0]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let config = Arc::new(ClientletOptions::new().check("ws://h:80").unwrap());
        let (uri, config_too) = (config.address.as_given().unwrap(), config.clone());
        let link = Link::new(&config, Upgrade { config: config_too, connector, uri });
        link.start().await.unwrap();
        let began = Instant::now();
        link.close().await;
        timeout(Duration::from_secs(100), gateway).await.expect("it ends").unwrap();
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
}

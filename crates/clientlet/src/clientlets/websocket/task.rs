//! A WebSocket of a clientlet. Its task writes the messages, keeps the incoming ones and answers
//! pings.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Uri;

use super::AGAIN;
use crate::clientlets::duplex::{Mailbox, Opener, Outgoing, Report, Session, refuse, session};
use crate::config::Config;
use crate::connect::Connector;
use crate::error::Error;
use crate::panics::unless_it_panics;
use crate::telemetry::AttemptTrace;
use crate::transport::websocket::{Line, Subprotocol, open};
use crate::transport::{Answer, Ending, Order, Orders, Ticket};

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
    fn open<'a>(
        &'a self,
        mailbox: &'a Arc<Mailbox>,
        trace: &'a AttemptTrace,
    ) -> Answer<'a, Session> {
        Box::pin(async move {
            let Config { headers, answer_limit, credentials, .. } = &*self.config;
            let (connector, uri) = (&self.connector, &self.uri);
            let headers = trace.headers().unwrap_or(headers);
            let bytes = Subprotocol::Bytes;
            let opening = open(connector, credentials, uri, headers, bytes, *answer_limit);
            Ok(start(opening.await?, mailbox, connector))
        })
    }

    fn again(&self) -> &'static str {
        AGAIN
    }
}

fn start(line: Line, mailbox: &Arc<Mailbox>, connector: &Connector) -> Session {
    let (session, orders, mut report) = session(mailbox);
    report.begin();
    let task = Task {
        line,
        mailbox: mailbox.clone(),
        orders,
        next: None,
        flushing: Vec::new(),
        has_ended: false,
        has_closed: false,
    };
    connector.spawn(run(task, report));
    session
}

async fn run(mut task: Task, report: Report) {
    let ending = unless_it_panics(poll_fn(|cx| task.poll(cx))).await;
    report.end(ending.unwrap_or_else(Ending::dropped));
    let Task { line, mut orders, next, flushing, .. } = task;
    drop((next, flushing));
    poll_fn(|cx| orders.poll_let_go(cx)).await;
    line.finish().await;
}

struct Task {
    line: Line,
    mailbox: Arc<Mailbox>,
    orders: Orders<Outgoing, ()>,
    /// The order that was taken from the queue but not yet by the socket.
    next: Option<Order<Outgoing, ()>>,
    /// The tickets of messages that the socket has taken but not yet written.
    flushing: Vec<Ticket<()>>,
    /// Whether the end of input was sent.
    has_ended: bool,
    /// Whether the client's close frame was sent.
    has_closed: bool,
}

impl Task {
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

    /// Keeps incoming messages. Ready without an ending when there is no room for more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        loop {
            let has_room = self.mailbox.poll_room(cx).is_ready();
            if !has_room && !self.line.is_closing() {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.line.poll_message(cx)) {
                // No receiver will take this message.
                Ok(_) if self.line.is_closing() => {}
                Ok(message) => self.mailbox.push(message),
                Err(ending) => return Poll::Ready(Err(ending)),
            }
        }
    }

    /// Hands all waiting messages to the socket, then flushes once.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let mut is_over = self.mailbox.is_hung_up();
        loop {
            if self.next.is_none() {
                match self.orders.poll_next(cx) {
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
        self.flushing.drain(..).for_each(|ticket| ticket.send(Ok(())));
        Poll::Ready(Ok(()))
    }

    /// Sends a message whole or not at all.
    fn enter(&mut self, order: Order<Outgoing, ()>) -> Result<(), Ending> {
        if self.has_ended && matches!(order.what, Outgoing::Message(_)) {
            refuse(order, AGAIN);
            return Ok(());
        }
        if !order.passage.enter() {
            return Ok(());
        }
        self.flushing.push(order.ticket);
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
        let ending = messages.ending().unwrap();
        assert_eq!(ending.code, 1006);
        assert!(ending.reason().contains("it went off"), "{ending:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_connection_ends_in_time_whatever_the_gateway_sends() {
        let (connector, mut accepted, _) = network();
        let gateway = tokio::spawn(async move {
            let stream = accepted.accept().await.unwrap();
            let mut stream = ServerBuilder::new().accept(stream).await.unwrap().1.into_inner();
            // This gateway does not answer the close, but sends a ping every second.
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

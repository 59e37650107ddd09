//! A bidirectional stream of a clientlet. HTTP/2 asks for the next message when it can write one. A
//! task of the stream keeps the incoming messages.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::HeaderMap;

use crate::clientlets::duplex::{Mailbox, Opener, Outgoing, Session, refuse, session};
use crate::error::Event;
use crate::panics::unless_it_panics;
use crate::telemetry::AttemptTrace;
use crate::transport::grpc::{GrpcTransport, Messages, SharedTraffic, Traffic};
use crate::transport::{Answer, Ending, Order, Orders};

/// The advice for a stream on which nothing can be sent any more.
const AGAIN: &str = "open another stream";

const OK: u16 = 0;
const CANCELLED: u16 = 1;
const INTERNAL: u16 = 13;

/// Opens streams over a connection of the clientlet.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) transport: Arc<GrpcTransport>,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) was_refused: Arc<AtomicBool>,
}

impl Opener for Streams {
    fn open<'a>(
        &'a self,
        mailbox: &'a Arc<Mailbox>,
        trace: &'a AttemptTrace,
    ) -> Answer<'a, Session> {
        Box::pin(async move {
            let (session, orders, mut report) = session(mailbox);
            let traffic = SharedTraffic::new(Outbound { orders, has_ended: false });
            let was_refused = self.was_refused.swap(false, Ordering::AcqRel);
            let headers = trace.headers().unwrap_or(&self.headers);
            let opening = self.transport.duplex(headers, was_refused, trace, traffic.requests());
            let messages = opening.await?;
            let refused = self.was_refused.clone();
            report.begin();
            let (transport, mailbox) = (self.transport.clone(), mailbox.clone());
            tokio::spawn(async move {
                let ending = unless_it_panics(async {
                    tokio::select! {
                        biased;
                        () = poll_fn(|cx| mailbox.poll_hung_up(cx)) => {
                            given_up("the stream was given up")
                        }
                        ending = receive(messages, &mailbox) => ending,
                    }
                });
                let ending = ending.await.unwrap_or_else(failed);
                if ending.detail.is_unauthorized() {
                    refused.store(true, Ordering::Release);
                }
                report.end(match transport.is_closed() {
                    true => given_up("the clientlet was closed"),
                    false => ending,
                });
                traffic.let_go().await;
            });
            Ok(session)
        })
    }

    fn again(&self) -> &'static str {
        AGAIN
    }
}

/// Keeps incoming messages while there is room for them.
async fn receive(mut messages: Messages, mailbox: &Mailbox) -> Ending {
    loop {
        poll_fn(|cx| mailbox.poll_room(cx)).await;
        match messages.next().await {
            Ok(Some(message)) => mailbox.push(message),
            Ok(None) => return in_order(),
            Err(ending) => return ending,
        }
    }
}

fn in_order() -> Ending {
    let ending = Ending::new(Event::StreamDropped, "the gateway ended the stream");
    Ending { code: OK, said: Some(String::new()), ..ending }
}

fn given_up(what: &str) -> Ending {
    Ending { code: CANCELLED, ..Ending::new(Event::SessionClosed, what) }
}

/// Returns the ending of a stream whose task panicked.
fn failed(what: String) -> Ending {
    Ending { code: INTERNAL, is_fault: true, ..Ending::new(Event::StreamDropped, what) }
}

/// The messages to send.
struct Outbound {
    orders: Orders<Outgoing, ()>,
    /// Whether the end of input was sent.
    has_ended: bool,
}

impl Traffic for Outbound {
    type What = Outgoing;
    type Reply = ();

    fn orders(&mut self) -> &mut Orders<Outgoing, ()> {
        &mut self.orders
    }

    fn enter(&mut self, order: Order<Outgoing, ()>) -> Option<Bytes> {
        if self.has_ended {
            refuse(order, AGAIN);
        } else if order.passage.enter() {
            order.ticket.send(Ok(()));
            match order.what {
                Outgoing::Message(body) => return Some(body),
                // The messages that are in the queue by now are refused before the client's half
                // ends.
                Outgoing::EndOfInput => {
                    self.has_ended = true;
                    self.orders.close();
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clientlet_gateway::Gateway;
    use tokio::time::timeout;

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
        let builder = builder.grpc(true).fault("stall@1".parse().unwrap());
        let gateway = builder.serve(accepted).unwrap();
        let config = Arc::new(ClientletOptions::new().check("grpc://h:80").unwrap());
        let transport = Arc::new(GrpcTransport::new(connector, &config));
        let (headers, was_refused) = Default::default();
        let opener = Streams { transport, headers, was_refused };
        let link = Arc::new(Link::new(&config, opener));
        link.start().await.unwrap();
        link.send_message(&DataRequest::proto(DocArray::V1, "/")).await.unwrap();
        gateway.journal().wait_for(1).await;
        bomb.go_off();
        let mut messages = Messages::responses(&link);
        let all = async { while poll_fn(|cx| messages.poll_message(cx)).await.is_some() {} };
        timeout(Duration::from_secs(1), all).await.expect("at once");
        assert!(messages.ending().is_some_and(|ending| ending.code != OK));
    }
}

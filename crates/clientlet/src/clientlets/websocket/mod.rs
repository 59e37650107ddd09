//! WebSocket: messages out, messages in, and how the connection was closed.

mod receiver;
mod task;

use std::sync::Arc;

use bytes::Bytes;

pub use self::receiver::{WsMessages, WsResponses, WsStatuses};
use self::task::Upgrade;
use super::DataRequest;
use super::duplex::Link;
use crate::address::Protocol;
use crate::config::Config;
use crate::error::Error;
use crate::options::ClientletOptions;

/// What helps where nothing can be sent any more.
const AGAIN: &str = "start the clientlet again";

/// Python's `WebsocketClientlet`: sends requests over one connection and receives answers, each by
/// itself and both at the same time.
///
/// The URL is `ws://host:port/` for requests and `ws://host:port/dry_run` for a dry run. Requests are
/// protobuf, begun with [`DataRequest::proto`]. Answers come as they are ready, told apart by their
/// request's id. [`Client`](crate::Client) does more of the work: it knows which requests are
/// unanswered and sends them again.
///
/// ```
/// use clientlet::clientlets::{ClientletOptions, DataRequest, WebsocketClientlet};
/// use clientlet::{DocArray, Document};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), clientlet::Error> {
/// # let gateway = clientlet_gateway::Gateway::builder().websocket(true).start().await.unwrap();
/// # let url = gateway.websocket_url();
/// // let url = "ws://localhost:8081";
/// let mut clientlet = WebsocketClientlet::new(&url, &ClientletOptions::new())?;
/// clientlet.start().await?;
/// for text in ["hello", "world"] {
///     let request = DataRequest::proto(DocArray::V1, "/upper").document(&Document::text(text))?;
///     clientlet.send_message(&request).await?;
/// }
/// clientlet.send_eoi().await?;
///
/// let mut responses = clientlet.recv_message();
/// let mut texts = Vec::new();
/// while let Some(response) = responses.next().await {
///     for document in response?.documents::<Document>()? {
///         texts.extend(document.text);
///     }
/// }
/// assert_eq!(responses.close_code(), Some(1000), "everything was answered");
/// texts.sort();
/// assert_eq!(texts, ["HELLO", "WORLD"]);
/// clientlet.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # A connection that is lost
///
/// A message that could not be sent is tried again as the options say, once by default; from the second
/// attempt on over a fresh connection where the old one is lost. The answers of the old connection that
/// had come by then are received first, then the stream ends with that connection's close code, and
/// the next [`recv_message`](WebsocketClientlet::recv_message) goes on with the fresh one. What was
/// sent on the old one and not answered by then never will be; it is the caller's to send again.
///
/// # Bounds
///
/// Answers that nobody takes are kept, 1024 of them and not more bytes than one answer may have
/// ([`answer_limit`](ClientletOptions::answer_limit)) and one more answer; beyond that the connection
/// is not read, which stops the gateway. After 40 s of that a gateway closes, as its pings lie unread.
/// While there is room pings are answered, whatever the caller does. Sending waits until the message is
/// out, for a gateway that does not read up to
/// [`attempt_timeout`](ClientletOptions::attempt_timeout).
#[derive(Debug)]
pub struct WebsocketClientlet {
    config: Arc<Config>,
    link: Arc<Link>,
}

impl WebsocketClientlet {
    /// A clientlet for `url`, path and query included; not open yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the first setting that is wrong.
    pub fn new(url: &str, options: &ClientletOptions) -> Result<WebsocketClientlet, Error> {
        let config = Arc::new(options.check(url)?);
        if config.address.protocol() != Protocol::Websocket {
            return Err(Error::config(format!("{} is no address of WebSocket", config.address)));
        }
        let link = Arc::new(Link::new(&config, Upgrade::new(&config)?));
        Ok(WebsocketClientlet { config, link })
    }

    /// Another hand to send with, while this one receives.
    ///
    /// It serves until the clientlet is closed, or started again after its end of input.
    pub fn sender(&self) -> WebsocketSender {
        WebsocketSender { link: self.link.clone() }
    }

    /// Sends a request; see [`WebsocketSender::send_message`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.sender().send_message(request).await
    }

    /// Asks for a dry run; see [`WebsocketSender::send_dry_run`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_dry_run(&self) -> Result<(), Error> {
        self.sender().send_dry_run().await
    }

    /// Says that nothing more will be sent; see [`WebsocketSender::send_eoi`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_eoi(&self) -> Result<(), Error> {
        self.sender().send_eoi().await
    }

    /// The answers, as they come. There is one receiver at a time.
    pub fn recv_message(&mut self) -> WsResponses<'_> {
        receiver::responses(&self.link)
    }

    /// The answers to a dry run; there is one at most.
    pub fn recv_dry_run(&mut self) -> WsStatuses<'_> {
        receiver::statuses(&self.link)
    }

    /// How the connection that ended last was closed; see [`WsMessages::close_code`].
    pub fn close_code(&self) -> Option<u16> {
        self.link.mailbox.closing().map(|closing| closing.code)
    }

    /// Why the connection that ended last was closed; see [`WsMessages::close_message`].
    pub fn close_message(&self) -> Option<String> {
        self.link.mailbox.closing().map(|closing| closing.reason)
    }
}

impl WebsocketClientlet {
    /// The address, without user information and query.
    pub fn url(&self) -> String {
        self.config.address.to_string()
    }

    /// Connects and upgrades, once. A connection that lives is kept; after an end of input or a close a
    /// new one begins, and answers that were not taken are gone.
    ///
    /// # Errors
    /// Why there is no connection; of an answer other than 101 its status and its body.
    pub async fn start(&mut self) -> Result<(), Error> {
        if self.link.is_spent() {
            self.link.hang_up();
            self.link = Arc::new(Link::new(&self.config, Upgrade::new(&self.config)?));
        }
        self.link.start().await
    }

    /// Closes the connection, waiting some seconds for the gateway to agree. What it has not answered
    /// is lost: send the end of input before, and receive until the end, to have it all.
    pub async fn close(&mut self) {
        self.link.close().await;
    }

    /// Whether there is a connection, or an answer that was not taken.
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }
}

impl Drop for WebsocketClientlet {
    fn drop(&mut self) {
        self.link.hang_up();
    }
}

/// Sends over the connection of a [`WebsocketClientlet`], of which it is a cheap handle.
#[derive(Clone, Debug)]
pub struct WebsocketSender {
    link: Arc<Link>,
}

impl WebsocketSender {
    /// Sends a request, and waits until it is out. Sending is tried again as the options say, over a
    /// fresh connection where the old one is lost. A future that is dropped has sent the request whole
    /// or not at all.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`](crate::ErrorKind::Encode) for a request that is not protobuf, or of other
    /// documents than the one before; otherwise why it could not be sent, and by its
    /// [`delivery`](Error::delivery) whether it may have arrived.
    pub async fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.link.send_message(request).await
    }

    /// Asks for a dry run by an empty message, where the URL's path is `/dry_run`. A gateway answers
    /// there without being asked, so one that has closed by now is no error. It is not tried again.
    ///
    /// # Errors
    /// Why it could not be sent.
    pub async fn send_dry_run(&self) -> Result<(), Error> {
        self.link.send_unless_ended(Bytes::new()).await
    }

    /// Says that nothing more will be sent: the gateway answers what it has, then closes with 1000. It
    /// is not tried again.
    ///
    /// # Errors
    /// Why it could not be sent.
    pub async fn send_eoi(&self) -> Result<(), Error> {
        self.link.send_end_of_input().await
    }
}

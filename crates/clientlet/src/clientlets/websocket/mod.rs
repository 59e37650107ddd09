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

/// The advice for a connection on which nothing can be sent any more.
const AGAIN: &str = "start the clientlet again";

/// Python's `WebsocketClientlet`: sends requests and receives answers over one connection,
/// independently and at the same time.
///
/// The URL is `ws://host:port/` for requests and `ws://host:port/dry_run` for a dry run. Requests
/// are protobuf, begun with [`DataRequest::proto`]. Answers come as they are ready, and belong to
/// the request with the same id. [`Client`](crate::Client) does more of the work: it knows which
/// requests are unanswered and resends them.
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
/// A message that could not be sent is retried as the options say, by default not at all. From the
/// second attempt on a new connection is used if the old one is lost. The answers of the old
/// connection that came by then are received first. Then the stream ends with that connection's
/// close code, and the next [`recv_message`](WebsocketClientlet::recv_message) continues with the
/// new connection. Requests that were sent on the old connection and not answered by then never
/// will be; the caller may send them again.
///
/// # Bounds
///
/// Answers that the caller does not take are kept: up to 1024 of them, and up to the bytes that one
/// answer may have ([`answer_limit`](ClientletOptions::answer_limit)) plus one more answer. Beyond
/// that the connection is not read, which stops the gateway. After 40 s the gateway closes, because
/// its pings are not answered. While there is room, pings are answered, whatever the caller does.
/// Sending waits until the message is written. If the gateway does not read, sending waits up to
/// [`attempt_timeout`](ClientletOptions::attempt_timeout).
#[derive(Debug)]
pub struct WebsocketClientlet {
    config: Arc<Config>,
    link: Arc<Link>,
}

impl WebsocketClientlet {
    /// Makes a clientlet for `url`, including its path and query. The clientlet is not open yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the first wrong setting.
    pub fn new(url: &str, options: &ClientletOptions) -> Result<WebsocketClientlet, Error> {
        let config = options.check_as(url, Protocol::Websocket)?;
        let link = Arc::new(Link::new(&config, Upgrade::new(&config)?));
        Ok(WebsocketClientlet { config, link })
    }

    /// Returns a handle for sending, while this one receives.
    ///
    /// It works until the clientlet is closed, or started again after its end of input.
    pub fn sender(&self) -> WebsocketSender {
        WebsocketSender { link: self.link.clone() }
    }

    /// Sends a request; see [`WebsocketSender::send_message`].
    ///
    /// # Errors
    /// The errors of [`WebsocketSender::send_message`].
    pub async fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.sender().send_message(request).await
    }

    /// Asks for a dry run; see [`WebsocketSender::send_dry_run`].
    ///
    /// # Errors
    /// The errors of [`WebsocketSender::send_dry_run`].
    pub async fn send_dry_run(&self) -> Result<(), Error> {
        self.sender().send_dry_run().await
    }

    /// Announces the end of input; see [`WebsocketSender::send_eoi`].
    ///
    /// # Errors
    /// The errors of [`WebsocketSender::send_eoi`].
    pub async fn send_eoi(&self) -> Result<(), Error> {
        self.sender().send_eoi().await
    }

    /// Returns the answers as they come. There is one receiver at a time.
    pub fn recv_message(&mut self) -> WsResponses<'_> {
        receiver::responses(&self.link)
    }

    /// Returns the messages as they come, unread: each is a `DataRequestProto`, or a `StatusProto` after
    /// a dry run.
    pub fn recv_bytes(&mut self) -> WsMessages<'_, Bytes> {
        receiver::unread(&self.link)
    }

    /// Returns the answers to a dry run, of which there is at most one.
    pub fn recv_dry_run(&mut self) -> WsStatuses<'_> {
        receiver::statuses(&self.link)
    }

    /// Returns how the last connection that ended was closed; see [`WsMessages::close_code`].
    pub fn close_code(&self) -> Option<u16> {
        self.sender().close_code()
    }

    /// Returns why the last connection that ended was closed; see [`WsMessages::close_message`].
    pub fn close_message(&self) -> Option<String> {
        self.sender().close_message()
    }
}

impl WebsocketClientlet {
    /// Returns the address without user information and query.
    pub fn url(&self) -> String {
        self.config.address.to_string()
    }

    /// Connects and upgrades, once. A live connection is kept. After an end of input or a close a
    /// new connection is made, and answers that were not taken are lost.
    ///
    /// # Errors
    /// The reason why there is no connection. For an answer other than 101, its status and body.
    pub async fn start(&mut self) -> Result<(), Error> {
        self.renew()?;
        self.link.start().await
    }

    /// Connects and upgrades like [`start`](WebsocketClientlet::start), and retries this as the options
    /// say: for a gateway that is still starting.
    ///
    /// # Errors
    /// The reason why there is no connection, after all attempts.
    pub async fn start_retrying(&mut self) -> Result<(), Error> {
        self.renew()?;
        self.link.start_retrying().await
    }

    fn renew(&mut self) -> Result<(), Error> {
        if self.link.is_spent() {
            self.link.hang_up();
            self.link = Arc::new(Link::new(&self.config, Upgrade::new(&self.config)?));
        }
        Ok(())
    }

    /// Closes the connection, and waits some seconds for the gateway to agree. Requests that the
    /// gateway has not answered are lost. To get all answers, send the end of input first, and
    /// receive until the end.
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

/// A handle for sending over the connection of a [`WebsocketClientlet`], cheap to clone.
#[derive(Clone, Debug)]
pub struct WebsocketSender {
    link: Arc<Link>,
}

impl WebsocketSender {
    /// Sends a request, and waits until it is written. Sending is retried as the options say, over
    /// a new connection if the old one is lost. A dropped future has sent the request whole or not
    /// at all.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`](crate::ErrorKind::Encode) for a request that is not protobuf, or that
    /// has another generation of documents than the request before. Otherwise the reason why the
    /// request could not be sent; its [`delivery`](Error::delivery) says whether it may have
    /// arrived.
    pub async fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.link.send_message(request).await
    }

    /// Asks for a dry run with an empty message, if the URL's path is `/dry_run`. A gateway answers
    /// on this path without being asked, so it is not an error if the gateway has already closed.
    /// It is not retried.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub async fn send_dry_run(&self) -> Result<(), Error> {
        self.link.send_unless_ended(Bytes::new()).await
    }

    /// Announces the end of input: the gateway answers the remaining requests, then closes with
    /// 1000. The announcement is not retried.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub async fn send_eoi(&self) -> Result<(), Error> {
        self.link.send_end_of_input().await
    }

    /// Closes the connection, like [`WebsocketClientlet::close`], also while another task receives: its
    /// stream of messages ends.
    pub async fn close(&self) {
        self.link.close().await;
    }

    /// Returns how the last connection that ended was closed; see [`WsMessages::close_code`].
    pub fn close_code(&self) -> Option<u16> {
        self.link.mailbox.ending().map(|ending| ending.code)
    }

    /// Returns why the last connection that ended was closed; see [`WsMessages::close_message`].
    pub fn close_message(&self) -> Option<String> {
        self.link.mailbox.ending().map(|ending| ending.reason().to_owned())
    }

    /// Whether there is a connection, or an answer that was not taken.
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }
}

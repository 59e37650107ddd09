//! WebSocket, blocking.

use std::sync::Arc;

use crate::blocking::driver::{Driver, Items};
use crate::clientlets::{self, ClientletOptions, DataRequest};
use crate::error::Error;
use crate::message::StatusMessage;
use crate::response::Response;

/// The WebSocket clientlet, like [`clientlets::WebsocketClientlet`]: one thread receives, and
/// [`sender`](WebsocketClientlet::sender)s send on others.
#[derive(Debug)]
pub struct WebsocketClientlet {
    clientlet: clientlets::WebsocketClientlet,
    driver: Arc<Driver>,
}

impl WebsocketClientlet {
    /// Makes a clientlet for `url`, including its path and query. The clientlet is not open yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the first wrong setting.
    pub fn new(url: &str, options: &ClientletOptions) -> Result<WebsocketClientlet, Error> {
        let clientlet = clientlets::WebsocketClientlet::new(url, options)?;
        Ok(WebsocketClientlet { clientlet, driver: Driver::start()? })
    }

    /// Returns a handle for sending on another thread, while this one receives.
    pub fn sender(&self) -> WebsocketSender {
        WebsocketSender { sender: self.clientlet.sender(), driver: self.driver.clone() }
    }

    /// Sends a request, and waits until it is written; see
    /// [`clientlets::WebsocketSender::send_message`].
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.driver.call(self.clientlet.send_message(request))
    }

    /// Asks for a dry run.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub fn send_dry_run(&self) -> Result<(), Error> {
        self.driver.call(self.clientlet.send_dry_run())
    }

    /// Announces the end of input.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub fn send_eoi(&self) -> Result<(), Error> {
        self.driver.call(self.clientlet.send_eoi())
    }

    /// Returns the answers as they come.
    pub fn recv_message(&mut self) -> WsResponses<'_> {
        WsMessages::of(self.clientlet.recv_message(), &self.driver)
    }

    /// Returns the answers to a dry run, of which there is at most one.
    pub fn recv_dry_run(&mut self) -> WsStatuses<'_> {
        WsMessages::of(self.clientlet.recv_dry_run(), &self.driver)
    }

    /// Returns how the last connection that ended was closed.
    pub fn close_code(&self) -> Option<u16> {
        self.clientlet.close_code()
    }

    /// Returns why the last connection that ended was closed.
    pub fn close_message(&self) -> Option<String> {
        self.clientlet.close_message()
    }

    /// Returns the address without user information and query.
    pub fn url(&self) -> String {
        self.clientlet.url()
    }

    /// Connects and upgrades, once.
    ///
    /// # Errors
    /// The reason why there is no connection.
    pub fn start(&mut self) -> Result<(), Error> {
        self.driver.call(self.clientlet.start())
    }

    /// Closes the connection, and waits some seconds for the gateway to agree.
    ///
    /// # Errors
    /// Inside an async task.
    pub fn close(&mut self) -> Result<(), Error> {
        self.driver.wait(self.clientlet.close())
    }

    /// Whether there is a connection, or an answer that was not taken.
    pub fn is_open(&self) -> bool {
        self.clientlet.is_open()
    }
}

/// A handle for sending over the connection of a [`WebsocketClientlet`], cheap to clone.
#[derive(Clone, Debug)]
pub struct WebsocketSender {
    sender: clientlets::WebsocketSender,
    driver: Arc<Driver>,
}

impl WebsocketSender {
    /// Sends a request, and waits until it is written.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.driver.call(self.sender.send_message(request))
    }

    /// Asks for a dry run.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub fn send_dry_run(&self) -> Result<(), Error> {
        self.driver.call(self.sender.send_dry_run())
    }

    /// Announces the end of input.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub fn send_eoi(&self) -> Result<(), Error> {
        self.driver.call(self.sender.send_eoi())
    }
}

/// The answers to requests, in the order in which the gateway sends them. Dropping the iterator
/// loses no answer: the next one continues.
pub type WsResponses<'a> = WsMessages<'a, Response>;

/// The answers to a dry run: one status, or none if the connection is closed with the reason.
pub type WsStatuses<'a> = WsMessages<'a, StatusMessage>;

/// Incoming messages, read as [`WsResponses`] or [`WsStatuses`]. In an async task the only item is
/// the error that says so.
#[must_use = "a message is kept until it is taken"]
#[derive(Debug)]
pub struct WsMessages<'a, T> {
    messages: Items<clientlets::WsMessages<'a, T>>,
    driver: &'a Driver,
}

impl<'a, T> WsMessages<'a, T> {
    fn of(messages: clientlets::WsMessages<'a, T>, driver: &'a Driver) -> WsMessages<'a, T> {
        WsMessages { messages: Items::of(messages), driver }
    }

    /// Returns how the connection was closed, once the messages have ended.
    pub fn close_code(&self) -> Option<u16> {
        self.messages.stream.close_code()
    }

    /// Returns why the connection was closed, once the messages have ended.
    pub fn close_message(&self) -> Option<&str> {
        self.messages.stream.close_message()
    }
}

impl<T> Iterator for WsMessages<'_, T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.messages.next(self.driver)
    }
}

//! HTTP, blocking.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;

use crate::blocking::driver::Driver;
use crate::blocking::same_options;
use crate::clientlets::{self, ClientletOptions, DataRequest, HttpAnswer};
use crate::error::Error;

/// The HTTP clientlet, like [`clientlets::HttpClientlet`]. It has no `recv_message` and no
/// `recv_dry_run`, which would wait for ever: over HTTP the answer comes from
/// [`send_message`](HttpClientlet::send_message).
#[derive(Debug)]
pub struct HttpClientlet {
    clientlet: clientlets::HttpClientlet,
    driver: Arc<Driver>,
}

impl HttpClientlet {
    /// Makes a clientlet for `url`, including its path and query. The clientlet is not open yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the first wrong setting.
    pub fn new(url: &str, options: &ClientletOptions) -> Result<HttpClientlet, Error> {
        let clientlet = clientlets::HttpClientlet::new(url, options)?;
        Ok(HttpClientlet { clientlet, driver: Driver::start()? })
    }

    /// Posts a request; see [`clientlets::HttpClientlet::send_message`].
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub fn send_message(&self, request: &DataRequest) -> Result<HttpAnswer, Error> {
        self.message(request).send()
    }

    /// Begins a request with headers or a time-out of its own.
    pub fn message<'a>(&'a self, request: &'a DataRequest) -> Exchange<'a> {
        Exchange { call: self.clientlet.message(request), driver: &self.driver }
    }

    /// Sends a GET to the URL, which should be the URL of the gateway's dry run.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub fn send_dry_run(&self) -> Result<HttpAnswer, Error> {
        self.dry_run().send()
    }

    /// Begins a dry run with headers or a time-out of its own.
    pub fn dry_run(&self) -> Exchange<'_> {
        Exchange { call: self.clientlet.dry_run(), driver: &self.driver }
    }

    /// Returns the address without user information and query.
    pub fn url(&self) -> String {
        self.clientlet.url()
    }

    /// Opens the session. A connection is made only when something is sent.
    ///
    /// # Errors
    /// Inside an async task.
    pub fn start(&mut self) -> Result<(), Error> {
        self.driver.call(self.clientlet.start())
    }

    /// Closes the session and its connections. Dropping the clientlet does so, too.
    ///
    /// # Errors
    /// Inside an async task.
    pub fn close(&mut self) -> Result<(), Error> {
        self.driver.wait(self.clientlet.close())
    }

    /// Whether the session is open.
    pub fn is_open(&self) -> bool {
        self.clientlet.is_open()
    }
}

/// A message that is about to be sent, with settings for this message only.
#[must_use = "nothing is sent before `send`"]
pub struct Exchange<'a> {
    call: clientlets::Exchange<'a>,
    driver: &'a Driver,
}

impl Exchange<'_> {
    /// Sends the message.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub fn send(self) -> Result<HttpAnswer, Error> {
        self.driver.call(self.call.send())
    }
}

same_options! {
    Exchange<'a> of crate::clientlets::Exchange:
    /// Sets a header for this message.
    header(name: impl Into<String>, value: impl Into<String>);
    /// Sets headers for this message.
    headers(headers: HeaderMap);
    /// Sets the time limit of an attempt.
    timeout(timeout: impl Into<Option<Duration>>);
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}

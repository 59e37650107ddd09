//! gRPC, blocking.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use serde::Serialize;

use crate::blocking::StreamDocument;
use crate::blocking::driver::{Driver, Items};
use crate::blocking::same_options;
use crate::clientlets::{self, ClientletOptions, DataRequest};
use crate::error::{Error, GrpcCode};
use crate::message::{Endpoints, GatewayStatus, Health, StatusMessage};
use crate::response::Response;

/// The gRPC clientlet, like [`clientlets::GrpcClientlet`].
#[derive(Debug)]
pub struct GrpcClientlet {
    clientlet: clientlets::GrpcClientlet,
    driver: Arc<Driver>,
}

impl GrpcClientlet {
    /// Makes a clientlet for `url`, such as `grpc://localhost:8082`. The clientlet is not open yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the first wrong setting.
    pub fn new(url: &str, options: &ClientletOptions) -> Result<GrpcClientlet, Error> {
        let clientlet = clientlets::GrpcClientlet::new(url, options)?;
        Ok(GrpcClientlet { clientlet, driver: Driver::start()? })
    }

    /// Sends a unary request and waits for its answer.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub fn send_message(&self, request: &DataRequest) -> Result<Response, Error> {
        self.message(request).send()
    }

    /// Begins a request with metadata or a time-out of its own.
    pub fn message<'a>(&'a self, request: &'a DataRequest) -> GrpcExchange<'a> {
        GrpcExchange { call: self.clientlet.message(request), driver: &self.driver }
    }

    /// Opens a stream of requests and answers. Several streams may be open at a time.
    ///
    /// # Errors
    /// The reason why there is no connection.
    pub fn open_stream(&self) -> Result<GrpcStream, Error> {
        let stream = self.driver.call(self.clientlet.open_stream())?;
        Ok(GrpcStream { stream, driver: self.driver.clone() })
    }

    /// Begins a call for a stream of documents.
    ///
    /// # Errors
    /// If the clientlet is not open.
    pub fn stream_document<D>(
        &self,
        endpoint: impl Into<String>,
        document: &D,
    ) -> Result<StreamDocument, Error>
    where
        D: Serialize + ?Sized,
    {
        let call = self.clientlet.stream_document(endpoint, document)?;
        Ok(StreamDocument::new(call, self.driver.clone()))
    }

    /// Sends a request without documents through all executors and returns the resulting status.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub fn send_dry_run(&self) -> Result<StatusMessage, Error> {
        self.driver.call(self.clientlet.send_dry_run())
    }

    /// Asks for the gateway's status.
    ///
    /// # Errors
    /// If the gateway could not be asked, or its answer is not a status.
    pub fn status(&self) -> Result<GatewayStatus, Error> {
        self.driver.call(self.clientlet.status())
    }

    /// Asks for the endpoints that can be posted to.
    ///
    /// # Errors
    /// If the gateway could not be asked.
    pub fn endpoints(&self) -> Result<Endpoints, Error> {
        self.driver.call(self.clientlet.endpoints())
    }

    /// Asks the health service about the gateway, `""`, or about one of its services.
    ///
    /// # Errors
    /// If the gateway could not be asked.
    pub fn health(&self, service: &str) -> Result<Health, Error> {
        self.driver.call(self.clientlet.health(service))
    }

    /// Returns the address without user information and query.
    pub fn url(&self) -> String {
        self.clientlet.url()
    }

    /// Connects, once.
    ///
    /// # Errors
    /// The reason why there is no connection.
    pub fn start(&mut self) -> Result<(), Error> {
        self.driver.call(self.clientlet.start())
    }

    /// Closes the connection immediately, with everything on it.
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

/// A unary request that is about to be sent, with settings for this request only.
#[must_use = "nothing is sent before `send`"]
pub struct GrpcExchange<'a> {
    call: clientlets::GrpcExchange<'a>,
    driver: &'a Driver,
}

impl GrpcExchange<'_> {
    /// Sends the request.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub fn send(self) -> Result<Response, Error> {
        self.driver.call(self.call.send())
    }
}

same_options! {
    GrpcExchange<'a> of crate::clientlets::GrpcExchange:
    /// Sets metadata for this request.
    header(name: impl Into<String>, value: impl Into<String>);
    /// Sets metadata for this request.
    headers(headers: HeaderMap);
    /// Sets the time limit of an attempt.
    timeout(timeout: impl Into<Option<Duration>>);
}

impl fmt::Debug for GrpcExchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}

/// A stream of requests and answers: one thread receives, and [`sender`](GrpcStream::sender)s send on
/// others.
#[derive(Debug)]
#[must_use = "dropping the stream gives it up"]
pub struct GrpcStream {
    stream: clientlets::GrpcStream,
    driver: Arc<Driver>,
}

impl GrpcStream {
    /// Returns a handle for sending on another thread, while this one receives.
    pub fn sender(&self) -> GrpcSender {
        GrpcSender { sender: self.stream.sender(), driver: self.driver.clone() }
    }

    /// Sends a request, and waits until it is taken.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.driver.call(self.stream.send_message(request))
    }

    /// Announces the end of input.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub fn send_eoi(&self) -> Result<(), Error> {
        self.driver.call(self.stream.send_eoi())
    }

    /// Returns the answers as they come.
    pub fn recv_message(&mut self) -> GrpcResponses<'_> {
        GrpcResponses { responses: Items::of(self.stream.recv_message()), driver: &self.driver }
    }

    /// Returns the status with which the stream ended.
    pub fn status_code(&self) -> Option<GrpcCode> {
        self.stream.status_code()
    }

    /// Returns the message of that status.
    pub fn status_message(&self) -> Option<String> {
        self.stream.status_message()
    }
}

/// A handle for sending on a [`GrpcStream`], cheap to clone.
#[derive(Clone, Debug)]
pub struct GrpcSender {
    sender: clientlets::GrpcSender,
    driver: Arc<Driver>,
}

impl GrpcSender {
    /// Sends a request, and waits until it is taken.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.driver.call(self.sender.send_message(request))
    }

    /// Announces the end of input.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub fn send_eoi(&self) -> Result<(), Error> {
        self.driver.call(self.sender.send_eoi())
    }
}

/// The answers of a [`GrpcStream`]. Dropping the iterator loses no answer: the next one continues.
/// In an async task the only item is the error that says so.
#[must_use = "a message is kept until it is taken"]
#[derive(Debug)]
pub struct GrpcResponses<'a> {
    responses: Items<clientlets::GrpcResponses<'a>>,
    driver: &'a Driver,
}

impl GrpcResponses<'_> {
    /// Returns the status with which the stream ended, once the answers have ended.
    pub fn status_code(&self) -> Option<GrpcCode> {
        self.responses.stream.status_code()
    }

    /// Returns the message of that status.
    pub fn status_message(&self) -> Option<&str> {
        self.responses.stream.status_message()
    }
}

impl Iterator for GrpcResponses<'_> {
    type Item = Result<Response, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.responses.next(self.driver)
    }
}

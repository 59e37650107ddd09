//! The client, blocking.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::driver::Driver;
use super::{Post, StreamDocument};
use crate::builder::ClientBuilder;
use crate::error::Error;
use crate::input::NoDocuments;
use crate::message::{Connections, Endpoints, GatewayStatus, Health};
use crate::telemetry::Statistics;

/// A client of one gateway, like [`clientlet::Client`](crate::Client), for threads that wait. A cheap
/// clone, shared between threads as it is.
#[derive(Clone, Debug)]
pub struct Client {
    client: crate::Client,
    driver: Arc<Driver>,
}

impl Client {
    /// A client of the gateway at `url`, as [`clientlet::Client::new`](crate::Client::new) makes it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the URL cannot be used, or if the system
    /// gives no thread.
    pub fn new(url: &str) -> Result<Client, Error> {
        Client::builder(url).build_blocking()
    }

    /// The settings of a client. [`build_blocking`](ClientBuilder::build_blocking) makes the blocking client
    /// of them; [`build`](ClientBuilder::build) makes an async one.
    pub fn builder(url: &str) -> ClientBuilder {
        crate::Client::builder(url)
    }

    /// Makes a blocking client of another client. They share what is known of the gateway, but no
    /// connections.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the system gives no thread.
    pub fn over(client: crate::Client) -> Result<Client, Error> {
        Ok(Client { client, driver: Driver::start()? })
    }

    /// Begins a call of an executor's endpoint, such as `/search`.
    pub fn post(&self, endpoint: impl Into<String>) -> Post<NoDocuments> {
        Post::new(self.client.post(endpoint), self.driver.clone())
    }

    /// Begins a call of an executor's endpoint that takes one document and gives many; see
    /// [`clientlet::Client::stream_document`](crate::Client::stream_document).
    pub fn stream_document<D>(&self, endpoint: impl Into<String>, document: &D) -> StreamDocument
    where
        D: Serialize + ?Sized,
    {
        let call = self.client.stream_document(endpoint, document);
        StreamDocument::new(call, self.driver.clone())
    }

    /// Whether the gateway and its executors can work; see
    /// [`clientlet::Client::ready`](crate::Client::ready).
    ///
    /// # Errors
    /// Why they cannot.
    pub fn ready(&self) -> Result<(), Error> {
        self.driver.call(self.client.ready())
    }

    /// Waits until the gateway is ready, for no longer than `timeout`; see
    /// [`clientlet::Client::wait_ready`](crate::Client::wait_ready).
    ///
    /// # Errors
    /// Why it was not ready when it was asked last.
    pub fn wait_ready(&self, timeout: Duration) -> Result<(), Error> {
        self.driver.call(self.client.wait_ready(timeout))
    }

    /// Asks gRPC's health service; see [`clientlet::Client::health`](crate::Client::health).
    ///
    /// # Errors
    /// Why it could not be asked.
    pub fn health(&self, service: &str) -> Result<Health, Error> {
        self.driver.call(self.client.health(service))
    }

    /// What the gateway says of itself.
    ///
    /// # Errors
    /// Why it could not be asked, or that its answer is no status.
    pub fn status(&self) -> Result<GatewayStatus, Error> {
        self.driver.call(self.client.status())
    }

    /// What can be posted to, asked anew.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub fn endpoints(&self) -> Result<Endpoints, Error> {
        self.driver.call(self.client.endpoints())
    }

    /// The gateway's address, without user information.
    pub fn gateway(&self) -> String {
        self.client.gateway()
    }

    /// What has become of the connections of this client and its clones.
    pub fn connections(&self) -> Connections {
        self.client.connections()
    }

    /// The numbers of this client and its clones, and of the client that it was made of.
    pub fn statistics(&self) -> Statistics {
        self.client.statistics()
    }
}

impl ClientBuilder {
    /// Makes a [blocking client](Client), for programs without an async runtime.
    ///
    /// # Errors
    /// As for [`build`](ClientBuilder::build), or if the system gives no thread.
    pub fn build_blocking(self) -> Result<Client, Error> {
        Client::over(self.build()?)
    }
}

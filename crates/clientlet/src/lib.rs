//! The client for [Jina](https://github.com/jina-ai/serve) gateways.

mod batch;
mod builder;
mod client;
mod clientlets;
mod config;
mod connect;
mod discovery;
mod document;
mod endpoint;
mod envelope;
mod error;
mod message;
mod options;
mod order;
mod pipeline;
mod post;
mod retry;
mod transport;
mod window;

pub use builder::ClientBuilder;
pub use client::Client;
pub use clientlets::{Clientlet, DataRequest, Exchange, HttpAnswer, HttpClientlet};
pub use document::{Blob, Document, Dtype, Element, NamedScore, Tensor, TensorError, Value};
pub use error::{Attempt, Delivery, Error, ErrorKind};
pub use message::{
    DocArray, Endpoints, Exception, GatewayStatus, Response, RouteTimes, Status, StatusMessage,
};
pub use options::ClientletOptions;
pub use post::{Answers, Documents, NoDocuments, Post, Responses};
pub use retry::RetryPolicy;

//! tonic over an HTTP/2 connection of hyper, with encoded messages.

use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::uri::PathAndQuery;
use ::http::{Request as HttpRequest, Response as HttpResponse};
use bytes::{Buf, BufMut, Bytes};
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status, body::Body};
use tower_service::Service;

use super::connection::{HTTP2, open, origin};
use crate::contest::IN_FLIGHT;
use crate::serve::Addresses;

const CALL: &str = "/jina.JinaRPC/Call";
const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

#[derive(Debug)]
pub(crate) struct Bare(Grpc<Channel>);

impl Bare {
    pub(super) async fn connect(addresses: &Addresses) -> Result<Bare, Box<dyn Error>> {
        let origin = origin(addresses, &addresses.grpc)?;
        let stream = open(addresses, origin.clone(), HTTP2).await?;
        // The windows are the client's, so that flow control limits both equally.
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .handshake(stream)
            .await?;
        tokio::spawn(connection);
        Ok(Bare(Grpc::with_origin(Channel(sender), origin)))
    }

    /// Sends all requests on one stream. Each call opens another stream.
    pub(super) async fn stream(
        &mut self,
        body: &Bytes,
        requests: usize,
    ) -> Result<Bytes, Box<dyn Error>> {
        let (sender, mut receiver) = mpsc::channel(IN_FLIGHT);
        for _ in 0..requests.min(IN_FLIGHT) {
            sender.send(body.clone()).await?;
        }
        let mut left = requests.saturating_sub(IN_FLIGHT);
        let bodies = stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let path = PathAndQuery::from_static(CALL);
        let mut answers = self.0.streaming(Request::new(bodies), path, Raw).await?.into_inner();
        let (mut sender, mut answered) = (Some(sender), 0);
        let mut last = Bytes::new();
        loop {
            if left == 0 {
                // Ends our half of the stream.
                sender = None;
            }
            let Some(answer) = answers.message().await? else { break };
            answered += 1;
            last = answer;
            if let Some(sender) = &sender {
                sender.send(body.clone()).await?;
                left -= 1;
            }
        }
        match answered == requests {
            true => Ok(last),
            false => Err(format!("{requests} requests got {answered} answers").into()),
        }
    }

    /// Sends each request as a call of its own.
    pub(super) async fn unary(
        &mut self,
        body: &Bytes,
        requests: usize,
    ) -> Result<Bytes, Box<dyn Error>> {
        let left = Cell::new(requests);
        let mut loops: FuturesUnordered<_> =
            (0..IN_FLIGHT).map(|_| ask_while_any_is_left(self.0.clone(), body, &left)).collect();
        let mut last = Bytes::new();
        while let Some(result) = loops.next().await {
            last = result?;
        }
        Ok(last)
    }
}

async fn ask_while_any_is_left(
    mut grpc: Grpc<Channel>,
    body: &Bytes,
    left: &Cell<usize>,
) -> Result<Bytes, Status> {
    let mut last = Bytes::new();
    while let Some(others) = left.get().checked_sub(1) {
        left.set(others);
        let path = PathAndQuery::from_static(SINGLE);
        last = grpc.unary(Request::new(body.clone()), path, Raw).await?.into_inner();
    }
    Ok(last)
}

/// An HTTP/2 connection in the form that tonic needs.
#[derive(Clone, Debug)]
struct Channel(SendRequest<Body>);

impl Service<HttpRequest<Body>> for Channel {
    type Response = HttpResponse<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A codec that passes bytes through.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(message.len());
        out.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

/// The client's settings.
fn settings() -> BufferSettings {
    BufferSettings::new(1 << 10, 32 << 10)
}

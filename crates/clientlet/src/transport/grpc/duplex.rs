//! Streams and unary requests for the clientlets.

use std::pin::pin;

use ::http::HeaderMap;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{TryStreamExt, stream};
use tokio::time::Instant;
use tonic::{Extensions, Request as Call};

use super::super::multiplex::Ending;
use super::super::{Terms, Time};
use super::codec::Raw;
use super::messages::Messages;
use super::{CALL, GrpcTransport, failure, metadata, of_another, path};
use crate::envelope::outcome;
use crate::error::AttemptError;
use crate::message::{DocArray, RawAnswer};
use crate::stop::Stop;

impl GrpcTransport {
    /// Connects, unless there is a connection.
    pub(crate) async fn connect(&self, deadline: Option<Instant>) -> Result<(), AttemptError> {
        Time::until(deadline).opening(pin!(self.shared.channel())).await.map(drop)
    }

    /// Sends one request with this id as a unary call. An executor's exception is an error.
    pub(crate) async fn send_one(
        &self,
        id: &str,
        docarray: DocArray,
        headers: &HeaderMap,
        body: Bytes,
        deadline: Option<Instant>,
    ) -> Result<RawAnswer, AttemptError> {
        let stop = Stop::never();
        let terms = Terms { began: Instant::now(), deadline, is_alone: false, stop };
        let answer = self.single(docarray, headers, body, terms).await?;
        if answer.request_id != id {
            return Err(of_another(&answer));
        }
        outcome(answer)
    }

    /// Opens a stream for these requests; when they end, the client's half of the stream ends. The
    /// messages end when the gateway has ended the stream with OK; any other end is an error.
    /// Dropping the messages cancels the stream.
    pub(crate) async fn duplex(
        &self,
        headers: &HeaderMap,
        requests: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<impl Stream<Item = Result<Bytes, Ending>> + Send + 'static, AttemptError> {
        let channel = self.shared.channel().await?;
        let mut grpc = self.shared.grpc(&channel);
        let call = Call::from_parts(metadata(headers), Extensions::default(), requests);
        // A gateway may send no headers before the first answer, and no answer before the first
        // request.
        let opening = async move {
            grpc.streaming(call, path(CALL), Raw).await.map(tonic::Response::into_inner)
        };
        let messages = stream::try_unfold(State::Opening(Box::pin(opening)), async |state| {
            let mut messages = match state {
                State::Opening(opening) => Box::new(Messages::new(opening.await?)),
                State::Open(messages) => messages,
            };
            Ok(messages.next().await?.map(|message| (message, State::Open(messages))))
        });
        Ok(messages.map_err(move |status| failure::ending(&status, &channel)))
    }

    /// Ends the connection and everything on it. No other connection is opened afterwards.
    pub(crate) fn close(&self) {
        self.shared.register.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.register.is_closed()
    }
}

enum State<O> {
    Opening(O),
    Open(Box<Messages>),
}

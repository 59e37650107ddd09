//! Streams and unary requests for the clientlets.

use std::pin::pin;

use ::http::HeaderMap;
use bytes::Bytes;
use futures_core::Stream;
use tokio::time::Instant;

use super::super::{Terms, Time};
use super::messages::Messages;
use super::{GrpcTransport, of_another};
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
        let terms = Terms { began: Instant::now(), deadline, failed: 0, is_alone: false, stop };
        let answer = self.single(docarray, headers, body, terms).await?;
        if answer.request_id != id {
            return Err(of_another(&answer));
        }
        outcome(answer)
    }

    /// Opens a stream for these requests; when they end, the client's half of the stream ends.
    pub(crate) async fn duplex(
        &self,
        headers: &HeaderMap,
        requests: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Messages, AttemptError> {
        Ok(Messages::new(self.shared.channel().await?, headers, requests))
    }

    /// Ends the connection and everything on it. No other connection is opened afterwards.
    pub(crate) fn close(&self) {
        self.shared.register.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.register.is_closed()
    }
}

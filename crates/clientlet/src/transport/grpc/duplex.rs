//! Streams and unary requests for the clientlets.

use std::pin::pin;

use ::http::HeaderMap;
use bytes::Bytes;
use futures_core::Stream;
use tokio::time::Instant;

use super::super::{Terms, Time};
use super::messages::Messages;
use super::{CALL, GrpcTransport, of_another};
use crate::envelope::outcome;
use crate::error::AttemptError;
use crate::message::{DocArray, RawAnswer};
use crate::stop::Stop;
use crate::telemetry::AttemptTrace;

impl GrpcTransport {
    /// Connects, unless there is a connection.
    pub(crate) async fn connect(
        &self,
        deadline: Option<Instant>,
        trace: &AttemptTrace,
    ) -> Result<(), AttemptError> {
        Time::until(deadline).opening(pin!(self.shared.channel(trace))).await.map(drop)
    }

    /// Sends one request with this id as a unary call. An executor's exception is an error.
    pub(crate) async fn send_one(
        &self,
        id: &str,
        docarray: DocArray,
        headers: &HeaderMap,
        body: Bytes,
        deadline: Option<Instant>,
        trace: AttemptTrace,
    ) -> Result<RawAnswer, AttemptError> {
        let stop = Stop::never();
        let terms = Terms {
            began: Instant::now(),
            deadline,
            idle_timeout: self.shared.settings.idle_timeout,
            failed: 0,
            is_alone: false,
            was_refused: false,
            stop,
            trace,
        };
        let answer = self.single(docarray, headers, body, &terms).await?;
        if answer.request_id != id {
            return Err(of_another(&answer));
        }
        outcome(answer)
    }

    /// Opens a stream for these requests, after another that `was_refused`; when they end, the client's half of the stream ends.
    pub(crate) async fn duplex(
        &self,
        headers: &HeaderMap,
        was_refused: bool,
        trace: &AttemptTrace,
        requests: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Messages, AttemptError> {
        let channel = self.shared.channel(trace).await?;
        let own = channel.completed(CALL, headers, &Bytes::new(), was_refused).await?;
        Ok(Messages::new(channel, own.as_ref().unwrap_or(headers), None, requests))
    }

    /// Ends the connection and everything on it. No other connection is opened afterwards.
    pub(crate) fn close(&self) {
        self.shared.register.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.register.is_closed()
    }
}

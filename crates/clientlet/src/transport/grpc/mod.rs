//! Jina's gRPC protocol: a stream for each call, or unary requests, over one HTTP/2 connection for
//! all calls.

mod answers;
mod call;
mod channel;
mod documents;
mod duplex;
mod failure;
mod goaway;
mod head;
#[cfg(feature = "compression")]
mod inflating;
mod interim;
mod messages;
mod outgoing;
mod requests;
mod status;
mod stream;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, Uri};
use bytes::Bytes;
use clientlet_proto::health::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
};
use clientlet_proto::prost::Message;
use clientlet_proto::v1::jina::JinaInfoProto;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use self::channel::{Channel, Register, Settings};
#[cfg(test)]
pub(super) use self::failure::recorded;
pub(crate) use self::messages::Messages;
pub(crate) use self::requests::{Shared as SharedTraffic, Traffic};
use super::multiplex::{Handle, InFlight};
use super::{Answer, Ask, Facts, Listing, Questions, Streams, Tally, Terms, Time, Transport};
use crate::config::Config;
use crate::connect::Connector;
use crate::envelope::{outcome, read_proto_answer, read_proto_status};
use crate::error::{AttemptError, Event};
use crate::foreign::{shorten, told};
use crate::message::{
    Connections, DocArray, Encoding, GatewayStatus, Health, RawAnswer, Request, Status,
};
use crate::runtime::{self, PerRuntime};
use crate::telemetry::{AttemptTrace, Medium};

// The methods of a gateway's services.
const CALL: &str = "/jina.JinaRPC/Call";
pub(crate) const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";
const DRY_RUN: &str = "/jina.JinaGatewayDryRunRPC/dry_run";
const STATUS: &str = "/jina.JinaInfoRPC/_status";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const ENDPOINTS: &str = "/jina.JinaDiscoverEndpointsRPC/endpoint_discovery";

/// The header that tells a gateway how many requests of a stream to work on at a time.
const PREFETCH: HeaderName = HeaderName::from_static("__prefetch__");

/// The transport of a client, or of one call by [`open_call`](Transport::open_call). A call has a
/// stream of its own.
pub(crate) struct GrpcTransport {
    shared: Arc<Shared>,
    /// The call's stream, opened with the first request, and again if it was lost. The lock is held
    /// while the stream is opened.
    stream: tokio::sync::Mutex<Option<Arc<Handle>>>,
    /// The number of the stream's requests that a gateway works on at a time.
    prefetch: usize,
}

/// The state that all calls of a client share.
struct Shared {
    connector: Connector,
    facts: Facts,
    settings: Settings,
    is_unary: bool,
    /// The shared connection of each runtime.
    channel: PerRuntime<Slot>,
    /// Permits for connections that carry a single request.
    alone: Semaphore,
    register: Register,
    tally: Arc<Tally>,
}

/// The connection of all calls, opened if it is missing or lost. The lock is held while the
/// connection is opened, so only one is opened at a time, however many calls wait.
type Slot = Arc<tokio::sync::Mutex<Option<Channel>>>;

impl GrpcTransport {
    pub(crate) fn new(connector: Connector, config: &Config) -> GrpcTransport {
        let medium = match config.grpc.is_unary {
            true => Medium::GrpcUnary(SINGLE),
            false => Medium::GrpcStream(CALL),
        };
        let shared = Shared {
            connector,
            facts: Facts {
                renews: config.credentials.has_hook(),
                ..Facts::new(&config.address, medium, Encoding::Proto)
            },
            settings: Settings {
                is_gzipped: config.grpc.is_gzipped,
                #[cfg(feature = "compression")]
                accepts_compression: config.accepts_compression,
                answer_limit: config.answer_limit,
                idle_timeout: config.idle_timeout,
                credentials: config.credentials.clone(),
            },
            is_unary: config.grpc.is_unary,
            channel: PerRuntime::default(),
            alone: Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)),
            register: Register::default(),
            tally: Tally::new(config),
        };
        GrpcTransport::of(Arc::new(shared), 0)
    }

    fn of(shared: Arc<Shared>, prefetch: usize) -> GrpcTransport {
        GrpcTransport { shared, stream: tokio::sync::Mutex::default(), prefetch }
    }

    /// Makes an attempt on a stream: the call's, or one of its own.
    async fn stream_attempt(
        &self,
        request: &Request,
        body: Bytes,
        terms: Terms<'_>,
    ) -> Result<RawAnswer, AttemptError> {
        let mut time = terms.time();
        let credentials = &self.shared.settings.credentials;
        let mut was_refused = terms.was_refused;
        loop {
            let (stream, _place) = match self.stream_now(terms.is_alone) {
                Some(stream) => (stream, None),
                None => {
                    // Boxed, because this future is rare and large.
                    let opening = Box::pin(async {
                        if !terms.is_alone {
                            return Ok((self.stream(request, &terms).await?, None));
                        }
                        let (channel, place) = self.shared.open_alone(&terms.trace).await?;
                        let left = terms.deadline;
                        let opening = self.open_stream(channel, request, &terms, was_refused, left);
                        let stream = opening.await?;
                        Ok((Arc::new(stream), Some(place)))
                    });
                    time.opening_with_hook(credentials, opening).await?
                }
            };
            match stream.exchange(request.id, body.clone(), &mut time).await {
                Err(error) if credentials.renews(&error, &mut was_refused) => {}
                answer => return answer,
            }
        }
    }

    /// Returns the call's stream if it is open. Nearly every request finds it open.
    fn stream_now(&self, is_alone: bool) -> Option<Arc<Handle>> {
        let slot = if is_alone { None } else { self.stream.try_lock().ok() }?;
        slot.as_ref().filter(|stream| stream.is_open()).cloned()
    }

    /// Makes an attempt as a unary call.
    async fn unary_attempt(
        &self,
        request: &Request,
        body: Bytes,
        terms: Terms<'_>,
    ) -> Result<RawAnswer, AttemptError> {
        let docarray = request.route.docarray;
        let answer = self.single(docarray, &request.route.headers, body, &terms).await?;
        if answer.request_id != request.id_text {
            return Err(of_another(&answer));
        }
        outcome(answer)
    }

    /// Sends one request as a unary call. The caller checks whose answer came back.
    async fn single(
        &self,
        docarray: DocArray,
        headers: &HeaderMap,
        body: Bytes,
        terms: &Terms<'_>,
    ) -> Result<RawAnswer, AttemptError> {
        let Terms { began, is_alone, .. } = *terms;
        let mut time = terms.time();
        let (channel, from, _place) = match self.shared.channel_now(is_alone) {
            // Nearly every request of a call has the same time-out, which HTTP/2 sends as an index.
            Some(channel) => (channel, began, None),
            None => {
                let opening = Box::pin(async {
                    if !is_alone {
                        return Ok((self.shared.channel(&terms.trace).await?, None));
                    }
                    let (channel, place) = self.shared.open_alone(&terms.trace).await?;
                    Ok((channel, Some(place)))
                });
                let (channel, place) = time.opening(opening).await?;
                (channel, Instant::now(), place)
            }
        };
        let timeout = time.left(from);
        let trace = &terms.trace;
        let message = channel.single(SINGLE, headers, body, timeout, &mut time, trace).await?;
        read_proto_answer(docarray, &message).map_err(|what| {
            AttemptError::new(Event::Unreadable, format!("the answer cannot be read: {what}"))
        })
    }

    /// Returns the call's stream. If it is missing or lost, opens it.
    async fn stream(
        &self,
        request: &Request,
        terms: &Terms<'_>,
    ) -> Result<Arc<Handle>, AttemptError> {
        let mut slot = self.stream.lock().await;
        if let Some(stream) = slot.as_ref().filter(|stream| stream.is_open()) {
            return Ok(stream.clone());
        }
        let channel = self.shared.channel(&terms.trace).await?;
        // The hook is told what became of the stream before, whichever request opens the next one.
        let was_refused = slot.as_ref().is_some_and(|stream| stream.was_refused());
        let opening = self.open_stream(channel, request, terms, was_refused, None);
        let stream = Arc::new(opening.await?);
        *slot = Some(stream.clone());
        Ok(stream)
    }

    async fn open_stream(
        &self,
        channel: Channel,
        request: &Request,
        terms: &Terms<'_>,
        was_refused: bool,
        deadline: Option<Instant>,
    ) -> Result<Handle, AttemptError> {
        let docarray = request.route.docarray;
        let mut headers = HeaderMap::clone(terms.headers(request));
        if self.prefetch > 0 {
            headers.insert(PREFETCH, self.prefetch.into());
        }
        let progress = channel.progress.of_stream();
        let in_flight = InFlight::new(request.id.nonce, progress, self.shared.tally.clone());
        let read = Box::new(move |message: &Bytes| read_proto_answer(docarray, message));
        let own = channel.completed(CALL, &headers, &Bytes::new(), was_refused).await?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        Ok(stream::open(channel, own.as_ref().unwrap_or(&headers), left, in_flight, read))
    }
}

impl Shared {
    /// Returns the connection of all calls. If it is missing or lost, opens it.
    async fn channel(self: &Arc<Self>, trace: &AttemptTrace) -> Result<Channel, AttemptError> {
        self.register.check()?;
        if let Some(channel) = self.channel_now(false) {
            return Ok(channel);
        }
        // A task holds the lock and waits for it, because other calls must not wait until this call
        // polls.
        let (shared, slot) = (self.clone(), self.channel.here(Slot::default)?);
        let trace = trace.clone();
        runtime::driven(async move { shared.open_in(&slot, &trace).await }).await
    }

    async fn open_in(&self, slot: &Slot, trace: &AttemptTrace) -> Result<Channel, AttemptError> {
        let mut slot = slot.lock().await;
        self.register.check()?;
        if let Some(channel) = slot.as_ref().filter(|channel| channel.is_open()) {
            return Ok(channel.clone());
        }
        let channel = self.open(slot.is_some(), trace).await?;
        *slot = Some(channel.clone());
        Ok(channel)
    }

    /// Returns the shared connection if it is open. Nearly every request finds it open.
    fn channel_now(&self, is_alone: bool) -> Option<Channel> {
        let slot = if is_alone { None } else { self.channel.here(Slot::default).ok() }?;
        let slot = slot.try_lock().ok()?;
        slot.as_ref().filter(|channel| channel.is_open()).cloned()
    }

    /// Opens a connection; `again` if it replaces another.
    async fn open(&self, again: bool, trace: &AttemptTrace) -> Result<Channel, AttemptError> {
        let uri = self.uri()?;
        // The future is boxed, because it is rare and large. Otherwise the future of every attempt
        // would be as large.
        let opening = Channel::open(&self.connector, &uri, &self.register, self.settings.clone());
        let channel = Box::pin(opening).await?;
        self.tally.opened(again);
        if again {
            trace.reconnected();
        }
        Ok(channel)
    }

    /// Opens a connection for one request, and takes the permit for it.
    async fn open_alone(
        &self,
        trace: &AttemptTrace,
    ) -> Result<(Channel, SemaphorePermit<'_>), AttemptError> {
        let place = self.alone.acquire().await.expect("the semaphore is never closed");
        Ok((self.open(true, trace).await?, place))
    }

    fn uri(&self) -> Result<Uri, AttemptError> {
        self.facts
            .address
            .at("/")
            .map_err(|error| AttemptError::new(Event::EncodeFailed, error.message()))
    }

    /// Asks one question, for which no executor runs.
    async fn ask(
        self: &Arc<Self>,
        method: &'static str,
        question: Bytes,
        ask: Ask<'_>,
    ) -> Result<Bytes, AttemptError> {
        let answer = self.ask_once(method, question, ask).await;
        answer.map_err(|error| error.before_sending(method.rsplit('/').next().unwrap_or(method)))
    }

    async fn ask_once(
        self: &Arc<Self>,
        method: &'static str,
        question: Bytes,
        Ask { headers, deadline, trace }: Ask<'_>,
    ) -> Result<Bytes, AttemptError> {
        trace.calls(method);
        let mut time = Time::until(deadline).or_idle(self.settings.idle_timeout);
        let channel = time.opening(pin!(self.channel(trace))).await?;
        let timeout = time.left(Instant::now());
        let trace = &AttemptTrace::default();
        channel.single(method, headers, question, timeout, &mut time, trace).await
    }
}

/// Returns the error for an answer to another request than the one that was sent.
fn of_another(answer: &RawAnswer) -> AttemptError {
    let shown = shorten(&answer.request_id);
    let what = format!("the gateway answered another request: id {shown:?}");
    AttemptError::new(Event::Unreadable, what)
}

impl Transport for GrpcTransport {
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        body: Bytes,
        terms: Terms<'a>,
    ) -> Answer<'a, RawAnswer> {
        Box::pin(async move {
            match self.shared.is_unary {
                true => self.unary_attempt(request, body, terms).await,
                false => self.stream_attempt(request, body, terms).await,
            }
        })
    }

    fn lane(&self, _: &Request) -> Option<Arc<Handle>> {
        if self.shared.is_unary { None } else { self.stream_now(false) }
    }

    fn open_call(&self, prefetch: usize) -> Option<Arc<dyn Transport>> {
        Some(Arc::new(GrpcTransport::of(self.shared.clone(), prefetch)))
    }

    fn facts(&self) -> &Facts {
        &self.shared.facts
    }

    fn questions(&self) -> &dyn Questions {
        self
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }

    fn connections(&self) -> Connections {
        self.shared.tally.connections()
    }
}

impl Questions for GrpcTransport {
    fn status<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, GatewayStatus> {
        Box::pin(async move {
            let answer = self.shared.ask(STATUS, Bytes::new(), ask).await?;
            let JinaInfoProto { jina, envs } = decode(answer, STATUS)?;
            Ok(GatewayStatus { jina: jina.into_iter().collect(), envs: envs.into_iter().collect() })
        })
    }

    fn paths<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            let answer = self.shared.ask(ENDPOINTS, Bytes::new(), ask).await?;
            let (endpoints, streams) = documents::read_endpoints(&answer)?;
            let (endpoints, streams) = (Some(endpoints), Some(streams));
            Ok(Listing { endpoints, streams, ..Listing::default() })
        })
    }

    fn dry_run<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, Status> {
        Box::pin(async move {
            let answer = self.shared.ask(DRY_RUN, Bytes::new(), ask).await?;
            read_proto_status(&answer)
                .map_err(|what| AttemptError::new(Event::Unreadable, format!("dry_run: {what}")))
        })
    }

    fn health<'a>(&'a self, service: &'a str, ask: Ask<'a>) -> Answer<'a, Health> {
        Box::pin(async move {
            let question = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
            match self.shared.ask(HEALTH, question.into(), ask).await {
                Ok(answer) => {
                    let answer = decode::<HealthCheckResponse>(answer, HEALTH)?;
                    Ok(match ServingStatus::try_from(answer.status) {
                        Ok(ServingStatus::Serving) => Health::Serving,
                        Ok(ServingStatus::NotServing) => Health::NotServing,
                        Ok(ServingStatus::ServiceUnknown) => Health::ServiceUnknown,
                        Ok(ServingStatus::Unknown) | Err(_) => Health::Unknown,
                    })
                }
                // The health service reports an unknown service as NOT_FOUND. A gateway without the
                // health service differs only in the message, and knows no services either.
                Err(error) if error.event == Event::GrpcUnimplemented => Ok(Health::ServiceUnknown),
                Err(error) => Err(error),
            }
        })
    }
}

fn decode<M: Message + Default>(bytes: Bytes, method: &str) -> Result<M, AttemptError> {
    M::decode(bytes).map_err(|error| {
        let method = method.rsplit('/').next().unwrap_or(method);
        AttemptError::new(Event::Unreadable, told(&error)).before_sending(method)
    })
}

impl fmt::Debug for GrpcTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcTransport")
            .field("address", &self.shared.facts.address)
            .finish_non_exhaustive()
    }
}

//! Exporters for the SDK: they make messages of OTLP, and have them delivered.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::queue::Tally;
use super::settings::Destination;
use super::wire::{self, Refusal};

/// The wait before the second attempt, and the longest wait.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Delivers messages to a receiver. The runtime is one that goes on while the command is busy.
#[derive(Clone)]
pub(super) struct Courier {
    pub(super) to: Arc<Destination>,
    pub(super) runtime: Handle,
    pub(super) warning: Warning,
    /// True when the command ends; then nothing is tried again.
    pub(super) is_ending: watch::Receiver<bool>,
}

impl Courier {
    /// Delivers a message, and warns if the receiver does not take it.
    ///
    /// # Errors
    /// When the receiver does not take it.
    async fn deliver(&self, message: Vec<u8>) -> OTelSdkResult {
        let courier = self.clone();
        let delivered = self.runtime.spawn(async move {
            courier.attempts(message).await.map_err(|refusal| {
                courier.warning.tell(&courier.to, &refusal.reason);
                refusal.reason
            })
        });
        let delivered = delivered.await.unwrap_or_else(|error| Err(error.to_string()));
        delivered.map_err(OTelSdkError::InternalFailure)
    }

    async fn attempts(&self, message: Vec<u8>) -> Result<(), Refusal> {
        let message = if self.to.gzip { compressed(&message) } else { message.into() };
        let end = Instant::now() + self.to.timeout;
        let mut is_ending = self.is_ending.clone();
        let mut wait = WAITS.0;
        loop {
            let late = || Refusal::last("it does not answer");
            let sent = timeout_at(end, wire::send(&self.to, message.clone())).await;
            let Err(refusal) = sent.unwrap_or_else(|_| Err(late())) else { return Ok(()) };
            let pause = wait.max(refusal.wait);
            if !refusal.may_pass || Instant::now() + pause >= end {
                return Err(refusal);
            }
            tokio::select! {
                _ = is_ending.wait_for(|is_ending| *is_ending) => return Err(refusal),
                () = sleep(pause) => {}
            }
            wait = WAITS.1.min(wait * 2);
        }
    }
}

fn compressed(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(message).and_then(|()| encoder.finish());
    written.expect("memory takes everything").into()
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Courier({})", self.to.endpoint)
    }
}

/// Warns once in a run, whichever signal is lost first.
#[derive(Clone, Default)]
pub(super) struct Warning(Arc<AtomicBool>);

impl Warning {
    pub(super) fn tell(&self, to: &Destination, reason: &str) {
        if self.0.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            name: "clientlet.otlp.lost",
            target: "clientlet",
            receiver = to.endpoint.to_string(),
            reason,
            "traces or metrics are lost on the way to the OTLP receiver"
        );
    }
}

/// Exports traces.
#[derive(Debug)]
pub(super) struct Spans {
    courier: Courier,
    tally: Tally,
    resource: ResourceAttributesWithSchema,
}

impl Spans {
    pub(super) fn new(courier: Courier, tally: Tally) -> Spans {
        Spans { courier, tally, resource: ResourceAttributesWithSchema::default() }
    }
}

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.tally.exported(batch.len());
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let message = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        self.courier.deliver(message).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

/// Exports metrics.
pub(super) struct Metrics {
    courier: Courier,
    temporality: Temporality,
}

impl Metrics {
    pub(super) fn new(courier: Courier, temporality: Temporality) -> Metrics {
        Metrics { courier, temporality }
    }
}

impl PushMetricExporter for Metrics {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let message = ExportMetricsServiceRequest::from(metrics).encode_to_vec();
        self.courier.deliver(message).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}

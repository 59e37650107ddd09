//! Counts the spans that the SDK's queue drops because it is full, which the SDK does not tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanProcessor};

use super::exporter::Spans;

/// The queue of spans.
#[derive(Debug)]
pub(super) struct Queue {
    spans: BatchSpanProcessor,
    tally: Tally,
}

/// How many spans went into the queue, and how many came out.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<[AtomicU64; 2]>);

impl Tally {
    /// Counts spans that come out.
    pub(super) fn exported(&self, spans: usize) {
        self.0[1].fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The spans that were dropped, once the queue is closed.
    pub(super) fn dropped(&self) -> u64 {
        let [ended, exported] = &*self.0;
        ended.load(Ordering::Relaxed).saturating_sub(exported.load(Ordering::Relaxed))
    }
}

impl Queue {
    /// `tally` is the one that the exporter counts with.
    pub(super) fn new(exporter: Spans, tally: Tally) -> Queue {
        Queue { spans: BatchSpanProcessor::builder(exporter).build(), tally }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.spans.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        // No sampler of the command's records what is not exported.
        self.tally.0[0].fetch_add(1, Ordering::Relaxed);
        self.spans.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.spans.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.spans.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.spans.set_resource(resource);
    }
}

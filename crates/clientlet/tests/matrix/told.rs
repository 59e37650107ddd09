//! What a cell's client told OpenTelemetry, kept as sums.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clientlet::ClientBuilder;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};

/// The spans of one request's attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Attempts {
    pub(crate) spans: u32,
    pub(crate) failed: u32,
}

/// What was told, as sums.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) attempts: HashMap<String, Attempts>,
    /// How many events of each name there were.
    pub(crate) events: HashMap<String, u64>,
    /// The attributes of the span of the call.
    pub(crate) call: HashMap<String, i64>,
    /// The spans of attempts by the span that is their parent.
    pub(crate) parents: HashMap<SpanId, u64>,
    /// The span of the call.
    pub(crate) root: Option<SpanId>,
    /// The sum of each metric, or how many measurements there were, by name and, after a slash, by the
    /// attributes that tell them apart.
    pub(crate) metrics: HashMap<String, u64>,
}

/// Listens to a client.
pub(crate) struct Listener {
    spans: Arc<Spans>,
    tracer: SdkTracerProvider,
    meter: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

/// Sums up spans, since a cell has tens of thousands.
#[derive(Debug, Default)]
struct Spans(Mutex<(Told, Vec<SpanData>)>);

#[derive(Debug)]
struct Processor(Arc<Spans>);

impl SpanProcessor for Processor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    attributes.iter().find(|own| own.key.as_str() == key).map(|own| own.value.to_string())
}

impl Spans {
    fn end(&self, span: SpanData) {
        let mut told = self.0.lock().unwrap();
        let (told, roots) = &mut *told;
        let id = text(&span.attributes, "clientlet.request.id");
        for event in &span.events.events {
            // Questions are sent again as well, but their attempts are no attempts of requests.
            if id.is_some() || event.name != "clientlet.retry" {
                *told.events.entry(event.name.to_string()).or_default() += 1;
            }
        }
        if span.span_kind == SpanKind::Internal {
            roots.push(span);
            return;
        }
        let Some(id) = id else { return };
        let attempts = told.attempts.entry(id).or_default();
        attempts.spans += 1;
        attempts.failed += u32::from(matches!(span.status, Status::Error { .. }));
        *told.parents.entry(span.parent_span_id).or_default() += 1;
    }
}

impl Listener {
    pub(crate) fn new() -> Listener {
        let spans = Arc::<Spans>::default();
        let processor = Processor(spans.clone());
        let tracer = SdkTracerProvider::builder().with_span_processor(processor).build();
        let exporter = InMemoryMetricExporter::default();
        let meter = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
        Listener { spans, tracer, meter, exporter }
    }

    pub(crate) fn listen(&self, client: ClientBuilder) -> ClientBuilder {
        client.tracer_provider(self.tracer.clone()).meter_provider(self.meter.clone())
    }

    /// Returns what was told; the call has ended.
    pub(crate) fn told(self) -> Told {
        self.meter.force_flush().unwrap();
        let mut all = self.spans.0.lock().unwrap();
        let (mut told, roots) = std::mem::take(&mut *all);
        let [call] = &roots[..] else { panic!("{} calls ended", roots.len()) };
        told.root = Some(call.span_context.span_id());
        let number = |own: &KeyValue| own.value.to_string().parse().ok();
        let numbers = call.attributes.iter();
        told.call = numbers.filter_map(|own| Some((own.key.to_string(), number(own)?))).collect();
        for export in self.exporter.get_finished_metrics().unwrap() {
            for metric in export.scope_metrics().flat_map(ScopeMetrics::metrics) {
                let name = metric.name();
                let mut set = |attributes: Vec<&KeyValue>, value: u64| {
                    *told.metrics.entry(key(name, &attributes)).or_default() = value;
                };
                match metric.data() {
                    AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                        histogram.data_points().for_each(|point| {
                            set(point.attributes().collect(), point.count());
                        });
                    }
                    AggregatedMetrics::U64(MetricData::Sum(sum)) => sum
                        .data_points()
                        .for_each(|point| set(point.attributes().collect(), point.value())),
                    AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                        sum.data_points().for_each(|point| {
                            let value = point.value().try_into().expect("no request ended twice");
                            set(point.attributes().collect(), value);
                        });
                    }
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
        told
    }
}

/// `name`, or `name/what` if an attribute tells the metric's values apart.
fn key(name: &str, attributes: &[&KeyValue]) -> String {
    let apart = ["clientlet.outcome", "error.type", "network.io.direction"];
    let own = attributes.iter().find(|own| apart.contains(&own.key.as_str()));
    own.map_or_else(|| name.to_owned(), |own| format!("{name}/{}", own.value))
}

impl Told {
    /// The sum of a metric over all attributes.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let is_it = |key: &str| key.split('/').next() == Some(name);
        self.metrics.iter().filter(|(key, _)| is_it(key)).map(|(_, value)| value).sum()
    }

    pub(crate) fn metric(&self, key: &str) -> u64 {
        self.metrics.get(key).copied().unwrap_or(0)
    }

    /// The number of spans of attempts that are not children of the call's span.
    pub(crate) fn strays(&self) -> u64 {
        let others = self.parents.iter().filter(|(parent, _)| Some(**parent) != self.root);
        others.map(|(_, count)| count).sum()
    }

    pub(crate) fn events(&self, name: &str) -> u64 {
        self.events.get(name).copied().unwrap_or(0)
    }
}

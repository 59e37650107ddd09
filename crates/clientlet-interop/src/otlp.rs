//! A receiver of traces and metrics: `interop/otlp.py` as a child process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::environment::Environment;
use crate::error::StartError;
use crate::script::Script;

/// The longest time to wait for spans and metrics. Senders keep them for seconds by default.
const RECEIVED_WITHIN: Duration = Duration::from_secs(30);

/// A receiver of OTLP on 127.0.0.1, made of Python's own OpenTelemetry packages. Dropping this value ends it.
#[derive(Debug)]
pub struct OtlpReceiver {
    script: Script,
    ports: Ports,
    spans: Vec<Span>,
    metrics: Vec<Metric>,
}

impl OtlpReceiver {
    /// Starts a receiver in the environment of Jina 3.33.1, and waits until it can be reached.
    ///
    /// # Errors
    /// [`StartError::NotInstalled`] if the environment is missing or left out; another kind if the
    /// receiver does not get ready.
    pub fn start() -> Result<OtlpReceiver, StartError> {
        OtlpReceiver::start_with(&Environment::Current.python_or_missing()?)
    }

    /// Starts a receiver like [`start`](Self::start). Returns `None` if the test may be skipped, and
    /// writes that to standard error, past the test harness. The crate's page says when a test may be
    /// skipped.
    ///
    /// # Errors
    /// The errors of [`start`](Self::start), unless the test is skipped.
    pub fn start_or_skip() -> Result<Option<OtlpReceiver>, StartError> {
        let python = Environment::Current.python_or_skip("OTLP receiver")?;
        python.map(|python| OtlpReceiver::start_with(&python)).transpose()
    }

    fn start_with(python: &std::path::Path) -> Result<OtlpReceiver, StartError> {
        let mut script = Script::start(python, "otlp.py", |_| ())?;
        let ReadyLine { ports } = script.ready()?;
        Ok(OtlpReceiver { script, ports, spans: Vec::new(), metrics: Vec::new() })
    }

    /// The port of 127.0.0.1 for OTLP over gRPC.
    #[must_use]
    pub fn grpc_port(&self) -> u16 {
        self.ports.grpc
    }

    /// The port of 127.0.0.1 for OTLP over HTTP with binary protobuf, at `/v1/traces` and `/v1/metrics`.
    #[must_use]
    pub fn http_port(&self) -> u16 {
        self.ports.http
    }

    /// All spans that have come, in that order. Waits until they are enough, for at most 30 s.
    pub fn spans_until(&mut self, are_enough: impl Fn(&[Span]) -> bool) -> &[Span] {
        self.receive_until(|receiver| are_enough(&receiver.spans));
        &self.spans
    }

    /// All metrics that have come, in that order: one for each time that it was sent. Waits until they
    /// are enough, for at most 30 s.
    pub fn metrics_until(&mut self, are_enough: impl Fn(&[Metric]) -> bool) -> &[Metric] {
        self.receive_until(|receiver| are_enough(&receiver.metrics));
        &self.metrics
    }

    /// The end of the receiver's standard error.
    #[must_use]
    pub fn log(&self) -> String {
        self.script.log()
    }

    fn receive_until(&mut self, is_enough: impl Fn(&OtlpReceiver) -> bool) {
        let began = Instant::now();
        // What has come already is taken, even if the time is over.
        while let Some(line) = self.script.line(Duration::ZERO) {
            self.take(&line);
        }
        while !is_enough(self) {
            let left = RECEIVED_WITHIN.saturating_sub(began.elapsed());
            let Some(line) = self.script.line(left) else { return };
            self.take(&line);
        }
    }

    fn take(&mut self, line: &str) {
        match serde_json::from_str(line).expect("a line of otlp.py") {
            Line::Span(span) => self.spans.push(span),
            Line::Metric(metric) => self.metrics.push(metric),
        }
    }
}

/// A span as it was received. Ids are hexadecimal.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Span {
    /// The sender: `gateway/rep-0`, `executor0/rep-0`, or another program's `service.name`.
    pub service: String,
    /// The name of the sender's instrumentation scope.
    pub scope: String,
    /// The span's name.
    pub name: String,
    /// `INTERNAL`, `SERVER`, `CLIENT`, `PRODUCER` or `CONSUMER`.
    pub kind: String,
    /// The trace's id.
    pub trace_id: String,
    /// The span's id.
    pub span_id: String,
    /// The parent's id; empty for a root.
    pub parent_span_id: String,
    /// The `tracestate` that the span was started with.
    pub trace_state: String,
    /// The begin, in nanoseconds since 1970.
    pub start: u64,
    /// The end, in nanoseconds since 1970.
    pub end: u64,
    /// The attributes. Bytes are hexadecimal.
    pub attributes: BTreeMap<String, Value>,
    /// The events, in order.
    pub events: Vec<SpanEvent>,
    /// `UNSET`, `OK` or `ERROR`.
    pub status: String,
    /// The status's message.
    pub message: String,
}

/// An event of a span.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SpanEvent {
    /// The event's name.
    pub name: String,
    /// The time, in nanoseconds since 1970.
    pub time: u64,
    /// The attributes.
    pub attributes: BTreeMap<String, Value>,
}

/// A metric as it was received.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Metric {
    /// The sender's `service.name`.
    pub service: String,
    /// The name of the sender's instrumentation scope.
    pub scope: String,
    /// The metric's name.
    pub name: String,
    /// The unit, such as `s` or `By`.
    pub unit: String,
    /// `sum`, `gauge`, `histogram`, `exponential_histogram` or `summary`.
    pub kind: String,
    /// The values, one for each set of attributes.
    pub points: Vec<Point>,
}

/// A value of a metric.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Point {
    /// The attributes.
    pub attributes: BTreeMap<String, Value>,
    /// The value of a sum or a gauge.
    #[serde(default)]
    pub value: Option<f64>,
    /// The number of values in a histogram.
    #[serde(default)]
    pub count: Option<u64>,
    /// The sum of the values in a histogram.
    #[serde(default)]
    pub sum: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct ReadyLine {
    ports: Ports,
}

#[derive(Debug, Deserialize)]
struct Ports {
    grpc: u16,
    http: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Span(Span),
    Metric(Metric),
}

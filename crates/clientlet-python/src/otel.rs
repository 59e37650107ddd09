//! Python's providers of OpenTelemetry, as the library's.
//!
//! Spans are begun on Python's threads, so that the provider's sampler decides and its ids are sent.
//! What follows, and measurements, come from any thread and wait in the queue.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use opentelemetry::baggage::BaggageExt;
use opentelemetry::metrics::{
    Counter, Histogram, HistogramBuilder, InstrumentBuilder, InstrumentProvider, Meter,
    SyncInstrument, UpDownCounter,
};
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, Value};
use pyo3::prelude::*;

use crate::telling::{
    self, EndedSpan, Field, Fields, Instrument, Told, dict, is_attached, module, nanoseconds,
};

/// Python's context of a call.
struct PythonContext(Py<PyAny>);

/// Returns the context that is current for the caller, from Python's `contextvars`.
///
/// # Errors
/// What OpenTelemetry raises.
pub(crate) fn current(py: Python<'_>) -> PyResult<Context> {
    let (context, span, baggage): (Py<PyAny>, Ids, Vec<(String, String)>) =
        module(py)?.call_method0("current")?.extract()?;
    let mut current = Context::new().with_value(PythonContext(context));
    if !baggage.is_empty() {
        current = current
            .with_baggage(baggage.into_iter().map(|(name, value)| KeyValue::new(name, value)));
    }
    let span = Ids::span_context(span);
    Ok(if span.is_valid() { current.with_remote_span_context(span) } else { current })
}

/// A span's context in parts: trace, span, flags, state, and whether it is another program's.
#[derive(FromPyObject)]
struct Ids(u128, u64, u8, Vec<(String, String)>, bool);

impl Ids {
    fn span_context(Ids(trace, span, flags, state, is_remote): Ids) -> SpanContext {
        let state = TraceState::from_key_value(state).unwrap_or_default();
        let (trace, span) = (TraceId::from(trace), SpanId::from(span));
        SpanContext::new(trace, span, TraceFlags::new(flags), is_remote, state)
    }
}

fn field(value: Value) -> Field {
    match value {
        Value::Bool(b) => Field::Bool(b),
        Value::I64(n) => Field::Integer(n),
        Value::F64(n) => Field::Real(n),
        Value::String(text) => Field::Text(text.into()),
        // The library has no other values.
        other => Field::Text(other.to_string()),
    }
}

fn fields(attributes: impl IntoIterator<Item = KeyValue>) -> Fields {
    let pair = |of: KeyValue| (Cow::Owned(of.key.to_string()), field(of.value));
    attributes.into_iter().map(pair).collect()
}

/// The library's name and version, and its attributes' conventions, as Python's providers take them.
fn scoped(
    py: Python<'_>,
    provider: &Py<PyAny>,
    method: &str,
    scope: &InstrumentationScope,
) -> PyResult<Py<PyAny>> {
    let (name, version, schema) = (scope.name(), scope.version(), scope.schema_url());
    Ok(module(py)?.call_method1("scoped", (provider, method, name, version, schema))?.unbind())
}

/// A provider of tracers, made by an attached thread.
pub(crate) struct PythonTracers(pub(crate) Py<PyAny>);

/// A tracer; `None` if the provider raised.
pub(crate) struct PythonTracer(Option<Py<PyAny>>);

impl TracerProvider for PythonTracers {
    type Tracer = PythonTracer;

    fn tracer_with_scope(&self, scope: InstrumentationScope) -> PythonTracer {
        // A client is built by a thread of Python.
        PythonTracer(Python::attach(|py| reported(py, scoped(py, &self.0, "get_tracer", &scope))))
    }
}

fn reported<T>(py: Python<'_>, result: PyResult<T>) -> Option<T> {
    result.map_err(|error| error.write_unraisable(py, None)).ok()
}

impl Tracer for PythonTracer {
    type Span = PythonSpan;

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> PythonSpan {
        let begun = match (&self.0, is_attached()) {
            (Some(tracer), true) => {
                Python::attach(|py| reported(py, begin(py, tracer, builder, parent)))
            }
            // A span that was not begun here cannot be begun there, and its children are its parent's.
            _ => None,
        };
        begun.unwrap_or_else(|| PythonSpan {
            context: parent.span().span_context().clone(),
            recorded: None,
        })
    }
}

fn begin(
    py: Python<'_>,
    tracer: &Py<PyAny>,
    builder: SpanBuilder,
    parent: &Context,
) -> PyResult<PythonSpan> {
    let kind = match builder.span_kind {
        Some(SpanKind::Client) => "CLIENT",
        _ => "INTERNAL",
    };
    let context = parent.get::<PythonContext>().map(|context| &context.0);
    let span = parent.span();
    let of = span.span_context();
    let state = of.trace_state().header();
    let parent = of.is_valid().then(|| {
        let (trace, span) = (u128::from_be_bytes(of.trace_id().to_bytes()), of.span_id());
        (trace, u64::from_be_bytes(span.to_bytes()), of.trace_flags().to_u8(), state)
    });
    let attributes = dict(py, fields(builder.attributes.unwrap_or_default()))?;
    let begin = nanoseconds(builder.start_time.unwrap_or_else(SystemTime::now));
    let arguments = (tracer, &*builder.name, kind, context, parent, attributes, begin);
    let (span, is_recording, ids): (Py<PyAny>, bool, Ids) =
        module(py)?.call_method1("begin", arguments)?.extract()?;
    let recorded = is_recording.then(|| Recorded {
        span,
        attributes: Vec::new(),
        events: Vec::new(),
        failed: None,
    });
    Ok(PythonSpan { context: Ids::span_context(ids), recorded })
}

/// A span of Python's provider. What it is told waits until its end.
pub(crate) struct PythonSpan {
    context: SpanContext,
    /// `None` if the span is not recorded, or has ended.
    recorded: Option<Recorded>,
}

struct Recorded {
    span: Py<PyAny>,
    attributes: Fields,
    events: Vec<(Cow<'static, str>, SystemTime, Fields)>,
    failed: Option<String>,
}

impl Span for PythonSpan {
    fn add_event_with_timestamp<T>(&mut self, name: T, time: SystemTime, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        if let Some(recorded) = &mut self.recorded {
            recorded.events.push((name.into(), time, fields(attributes)));
        }
    }

    fn span_context(&self) -> &SpanContext {
        &self.context
    }

    fn is_recording(&self) -> bool {
        self.recorded.is_some()
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        if let Some(recorded) = &mut self.recorded {
            recorded.attributes.extend(fields([attribute]));
        }
    }

    fn set_status(&mut self, status: Status) {
        if let (Some(recorded), Status::Error { description }) = (&mut self.recorded, status) {
            recorded.failed = Some(description.into_owned());
        }
    }

    // The library does neither.
    fn update_name<T>(&mut self, _: T)
    where
        T: Into<Cow<'static, str>>,
    {
    }

    fn add_link(&mut self, _: SpanContext, _: Vec<KeyValue>) {}

    fn end_with_timestamp(&mut self, end: SystemTime) {
        if let Some(Recorded { span, attributes, events, failed }) = self.recorded.take() {
            let ended = EndedSpan { span, attributes, events, failed, end };
            telling::tell(Told::Span(Box::new(ended)));
        }
    }
}

impl Drop for PythonSpan {
    fn drop(&mut self) {
        self.end();
    }
}

/// A provider of meters, made by an attached thread.
pub(crate) struct PythonMeters(pub(crate) Py<PyAny>);

impl opentelemetry::metrics::MeterProvider for PythonMeters {
    fn meter_with_scope(&self, scope: InstrumentationScope) -> Meter {
        let meter = Python::attach(|py| reported(py, scoped(py, &self.0, "get_meter", &scope)));
        Meter::new(Arc::new(PythonMeter { meter, known: Mutex::default() }))
    }
}

struct PythonMeter {
    /// `None` if the provider raised.
    meter: Option<Py<PyAny>>,
    /// The instruments by their names. A child that was forked makes a client of its own with them.
    known: Mutex<HashMap<String, Arc<Instrument>>>,
}

impl PythonMeter {
    /// Returns an instrument's method by which it is told numbers.
    fn instrument(
        &self,
        kind: &str,
        name: &str,
        unit: Option<&str>,
        description: Option<&str>,
        bounds: Option<Vec<f64>>,
    ) -> Option<Arc<Instrument>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instrument) = known().get(name) {
            return Some(instrument.clone());
        }
        let meter = self.meter.as_ref()?;
        let made = Python::attach(|py| {
            let arguments = (meter, kind, name, unit, description, bounds);
            let made = module(py).and_then(|it| it.call_method1("instrument", arguments));
            reported(py, made.map(Bound::unbind))
        });
        let made = Arc::new(Instrument(made?));
        known().insert(name.to_owned(), made.clone());
        Some(made)
    }
}

impl InstrumentProvider for PythonMeter {
    fn u64_counter(&self, of: InstrumentBuilder<'_, Counter<u64>>) -> Counter<u64> {
        let (unit, description) = (of.unit.as_deref(), of.description.as_deref());
        Counter::new(Arc::new(Sum(self.instrument("counter", &of.name, unit, description, None))))
    }

    fn i64_up_down_counter(
        &self,
        of: InstrumentBuilder<'_, UpDownCounter<i64>>,
    ) -> UpDownCounter<i64> {
        let (unit, description) = (of.unit.as_deref(), of.description.as_deref());
        let instrument = self.instrument("up_down_counter", &of.name, unit, description, None);
        UpDownCounter::new(Arc::new(Sum(instrument)))
    }

    fn f64_histogram(&self, of: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        let (unit, description) = (of.unit.as_deref(), of.description.as_deref());
        let instrument = self.instrument("histogram", &of.name, unit, description, of.boundaries);
        Histogram::new(Arc::new(Each(instrument)))
    }
}

/// An instrument whose numbers are added up while they wait.
struct Sum(Option<Arc<Instrument>>);

/// An instrument that is told each number.
struct Each(Option<Arc<Instrument>>);

impl Sum {
    fn add(&self, number: i64, attributes: &[KeyValue]) {
        if let Some(instrument) = &self.0 {
            telling::add(instrument, number, || fields(attributes.iter().cloned()));
        }
    }
}

impl SyncInstrument<u64> for Sum {
    fn measure(&self, number: u64, attributes: &[KeyValue]) {
        self.add(i64::try_from(number).unwrap_or(i64::MAX), attributes);
    }
}

impl SyncInstrument<i64> for Sum {
    fn measure(&self, number: i64, attributes: &[KeyValue]) {
        self.add(number, attributes);
    }
}

impl SyncInstrument<f64> for Each {
    fn measure(&self, number: f64, attributes: &[KeyValue]) {
        if let Some(instrument) = &self.0 {
            let (instrument, value) = (instrument.clone(), Field::Real(number));
            let attributes = fields(attributes.iter().cloned());
            telling::tell(Told::Measured { instrument, value, attributes });
        }
    }
}

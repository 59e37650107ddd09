//! The tracing half through OpenTelemetry's API. Which SDK takes what is told here, if any, is the
//! program's choice.

mod metrics;
mod propagation;
mod spans;

use std::fmt;
use std::mem::size_of_val;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::{Span as _, SpanBuilder, TraceContextExt, Tracer as _, TracerProvider};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, InstrumentationScope};

pub(super) use self::metrics::{Labels, Metrics};
pub(crate) use self::spans::AttemptTrace;
pub(super) use self::spans::{Span, Tracer};
use crate::address::Address;

/// Whom a client tells, as far as it was set by hand.
#[derive(Clone, Default)]
pub(crate) struct Providers {
    tracer: Option<Arc<BoxedTracer>>,
    meter: Option<Meter>,
}

impl Providers {
    pub(crate) fn trace<P>(&mut self, provider: &P)
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
    {
        let tracer = Box::new(provider.tracer_with_scope(scope()));
        self.tracer = Some(Arc::new(BoxedTracer::new(tracer)));
    }

    pub(crate) fn measure(&mut self, provider: &impl MeterProvider) {
        self.meter = Some(provider.meter_with_scope(scope()));
    }

    /// Opens what was set by hand, otherwise what is global now.
    pub(in crate::telemetry) fn open(&self, address: &Address) -> (Metrics, Tracer) {
        let tracer = self.tracer.clone().or_else(global_tracer);
        let meter = self.meter.clone().or_else(global_meter);
        (Metrics::new(meter.as_ref(), address), Tracer::new(tracer, address))
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Providers { tracer, meter } = self;
        let mut shown = f.debug_struct("Providers");
        shown.field("tracer", &tracer.is_some()).field("meter", &meter.is_some()).finish()
    }
}

/// The context in which a call is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parent(pub(crate) Option<Context>);

impl Parent {
    pub(crate) fn current() -> Parent {
        Parent::default()
    }

    fn context(self) -> Context {
        self.0.unwrap_or_else(Context::current)
    }
}

/// Runs code of the program's provider or propagator, and keeps a panic of it from the request, which must
/// not fail for its trace. Spans are ended in destructors as well, and a second panic in one of these would
/// end the process.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The name of the library in traces and metrics, and the release of the conventions for the names of
/// attributes.
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("clientlet")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url("https://opentelemetry.io/schemas/1.42.0")
        .build()
}

/// Returns the global tracer, if there is one.
///
/// Without one the API gives a tracer that does nothing, and does not say so. But that tracer alone
/// hands the parent's span on as it is: in a context in which telemetry is suppressed an SDK gives an
/// empty span, and exports nothing.
fn global_tracer() -> Option<Arc<BoxedTracer>> {
    let tracer = global::tracer_provider().tracer_with_scope(scope());
    let (trace, span) = (TraceId::from(1), SpanId::from(1));
    let parent = SpanContext::new(trace, span, TraceFlags::default(), true, TraceState::default());
    let parent = Context::new().with_remote_span_context(parent).with_telemetry_suppressed();
    let probe = tracer.build_with_context(SpanBuilder::from_name("clientlet"), &parent);
    if probe.span_context() == parent.span().span_context() {
        return None;
    }
    Some(Arc::new(tracer))
}

/// Returns the global meter, if there is one: a provider of no size keeps nothing, as the API's that
/// does nothing.
fn global_meter() -> Option<Meter> {
    let provider = global::meter_provider();
    (size_of_val(&*provider) > 0).then(|| provider.meter_with_scope(scope()))
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::noop::NoopMeterProvider;
    use opentelemetry::trace::noop::NoopTracerProvider;
    use opentelemetry_sdk::metrics::SdkMeterProvider;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};

    use super::*;

    /// One test, because the providers are global.
    #[test]
    fn a_global_provider_that_does_nothing_is_known_and_another_is_used_without_a_trace_of_the_question()
     {
        global::set_tracer_provider(NoopTracerProvider::new());
        global::set_meter_provider(NoopMeterProvider::new());
        assert!(global_tracer().is_none() && global_meter().is_none());
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        global::set_tracer_provider(provider.clone());
        global::set_meter_provider(SdkMeterProvider::default());
        let found = (global_tracer().is_some(), global_meter().is_some());
        global::set_tracer_provider(NoopTracerProvider::new());
        global::set_meter_provider(NoopMeterProvider::new());
        assert_eq!(found, (true, true));
        provider.force_flush().unwrap();
        assert_eq!(exporter.get_finished_spans().unwrap().len(), 0);
    }
}

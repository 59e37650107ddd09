//! `--otlp`: traces and metrics over OTLP, from the start of the command to its last export.

mod endpoint;
mod exporter;
mod queue;
mod settings;
mod tls;
mod variables;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{
    Extractor, Injector, TextMapCompositePropagator, TextMapPropagator,
};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, ContextGuard, KeyValue, global};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use self::exporter::{Courier, Metrics, Spans, Warning};
use self::queue::{Queue, Tally};
use self::settings::{Destination, Propagator, Settings};
use self::variables::Variables;
use crate::report::{Exit, Failure, count};

/// How long the end of the command waits for the last exports.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The exports of a run, and the span of the command, which is the parent of the spans of its calls.
pub(crate) struct Telemetry {
    is_ending: watch::Sender<bool>,
    warning: Warning,
    tally: Tally,
    closings: Vec<Closing>,
    span: Context,
    /// Makes the command's span the current one of this thread, on which all calls are made.
    _current: ContextGuard,
}

/// The last export of a signal, which blocks.
struct Closing {
    to: Arc<Destination>,
    close: Box<dyn FnOnce() + Send>,
}

impl Telemetry {
    /// Exports traces and metrics from now on, by the value of `--otlp` and the environment. Returns `None`
    /// if nothing is to be exported. `command` is the name of the subcommand.
    ///
    /// # Errors
    /// When the option or a variable is malformed, or the system allows no more threads.
    pub(crate) fn start(option: Option<&str>, command: &str) -> Result<Option<Telemetry>, Failure> {
        let variables = Variables(&|name| std::env::var_os(name));
        let Some(settings) = Settings::read(option, &variables)? else { return Ok(None) };
        let (is_ending, ends) = watch::channel(false);
        let (runtime, warning) = (runtime()?, Warning::default());
        let courier = |to: &Arc<Destination>| Courier {
            to: Arc::clone(to),
            runtime: runtime.clone(),
            warning: warning.clone(),
            is_ending: ends.clone(),
        };
        let tally = Tally::default();
        let mut closings = Vec::new();
        if let Some(to) = settings.traces.map(Arc::new) {
            let provider = SdkTracerProvider::builder()
                .with_span_processor(Queue::new(
                    Spans::new(courier(&to), tally.clone()),
                    tally.clone(),
                ))
                .with_sampler(settings.sampler)
                .with_resource(settings.resource.clone())
                .build();
            global::set_tracer_provider(provider.clone());
            // The wait is bounded elsewhere.
            closings.push(Closing { to, close: Box::new(move || drop(provider.shutdown())) });
        }
        if let Some(to) = settings.metrics.map(Arc::new) {
            let exporter = Metrics::new(courier(&to), settings.temporality);
            let provider = SdkMeterProvider::builder()
                .with_reader(PeriodicReader::builder(exporter).build())
                .with_resource(settings.resource)
                .build();
            global::set_meter_provider(provider.clone());
            closings.push(Closing { to, close: Box::new(move || drop(provider.shutdown())) });
        }
        let parent = parent(settings.propagators.as_deref());
        let span = span(command, &parent);
        let current = span.clone().attach();
        Ok(Some(Telemetry { is_ending, warning, tally, closings, span, _current: current }))
    }

    /// Ends the command's span, and waits for the last exports, at most [`PATIENCE`].
    pub(crate) async fn finish(self, exit: Exit) {
        let span = self.span.span();
        let code = exit.code();
        span.set_attribute(KeyValue::new("process.exit.code", i64::from(code)));
        if exit != Exit::Success {
            span.set_attribute(KeyValue::new("error.type", code.to_string()));
            span.set_status(Status::error(""));
        }
        span.end();
        self.is_ending.send_replace(true);
        // The traces come first, if there are any.
        let first = self.closings.first().map(|closing| Arc::clone(&closing.to));
        match (close(self.closings).await, self.tally.dropped()) {
            (Some(to), _) => self.warning.tell(&to, "it has not answered when the command ended"),
            (None, 0) => {}
            (None, dropped) => {
                let what = count(dropped, "span");
                let reason = format!("{what} did not fit in the queue (OTEL_BSP_MAX_QUEUE_SIZE)");
                first.iter().for_each(|to| self.warning.tell(to, &reason));
            }
        }
    }
}

/// Makes the last exports, all at the same time. Returns a receiver that has not taken its export within
/// [`PATIENCE`], if there is one.
async fn close(closings: Vec<Closing>) -> Option<Arc<Destination>> {
    let end = Instant::now() + PATIENCE;
    let started: Vec<_> = closings
        .into_iter()
        .map(|Closing { to, close }| {
            let (sender, closed) = oneshot::channel::<()>();
            let work = move || {
                close();
                drop(sender);
            };
            // Without a thread the export is lost.
            (to, thread::Builder::new().spawn(work).map(|_| closed))
        })
        .collect();
    for (to, closed) in started {
        let Ok(closed) = closed else { return Some(to) };
        // The sender is dropped in the end.
        if timeout_at(end, closed).await.is_err() {
            return Some(to);
        }
    }
    None
}

/// A runtime on a thread of its own, which runs until the process ends.
///
/// # Errors
/// When the system allows no more threads, also those that the SDK starts for each signal: it would panic.
fn runtime() -> Result<Handle, Failure> {
    let started = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let handle = runtime.handle().clone();
        let run = move || runtime.block_on(std::future::pending::<()>());
        thread::Builder::new().name("otlp".to_owned()).spawn(run)?;
        let tried = [(); 2].map(|()| thread::Builder::new().spawn(thread::park));
        for thread in tried {
            let thread = thread?;
            thread.thread().unpark();
            // It has nothing to return, and cannot panic.
            let _ = thread.join();
        }
        Ok(handle)
    });
    started.map_err(|error| {
        Failure::failed(format!("the system does not let traces and metrics be exported: {error}"))
    })
}

/// The span of the command, by OpenTelemetry's conventions for command lines.
fn span(command: &str, parent: &Context) -> Context {
    let tracer = global::tracer("clientlet-cli");
    let span = tracer
        .span_builder(format!("clientlet {command}"))
        .with_kind(SpanKind::Internal)
        .with_attributes([
            KeyValue::new("process.executable.name", "clientlet"),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .start_with_context(&tracer, parent);
    parent.with_span(span)
}

/// The parent of the command's span, from the variables TRACEPARENT, TRACESTATE and BAGGAGE, which a program
/// that is traced sets for the programs that it starts. Values that are malformed are ignored, as the
/// specification wants it. Propagators that were chosen also write the headers of requests.
fn parent(propagators: Option<&[Propagator]>) -> Context {
    let chosen = propagators.unwrap_or(&[Propagator::TraceContext, Propagator::Baggage]);
    let made = chosen.iter().map(|propagator| match propagator {
        Propagator::TraceContext => {
            Box::new(TraceContextPropagator::new()) as Box<dyn TextMapPropagator + Send + Sync>
        }
        Propagator::Baggage => Box::new(BaggagePropagator::new()),
    });
    let chosen = Chosen(TextMapCompositePropagator::new(made.collect()));
    let header = |name: &str| Some((name.to_owned(), std::env::var(name.to_uppercase()).ok()?));
    let headers: HashMap<_, _> =
        ["traceparent", "tracestate", "baggage"].into_iter().filter_map(header).collect();
    let parent = chosen.extract_with_context(&Context::new(), &headers);
    if propagators.is_some() {
        global::set_text_map_propagator(chosen);
    }
    parent
}

/// The propagators that were chosen, perhaps none. The library writes W3C's headers if the global propagator
/// has no fields, because that is the one that exists when none was set; so this one always has a field.
#[derive(Debug)]
struct Chosen(TextMapCompositePropagator);

impl TextMapPropagator for Chosen {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        self.0.inject_context(cx, injector);
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        self.0.extract_with_context(cx, extractor)
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: LazyLock<[String; 1]> = LazyLock::new(|| ["traceparent".to_owned()]);
        FieldIter::new(&*FIELDS)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn closing(close: impl FnOnce() + Send + 'static) -> Closing {
        let url = Variables(&|name| {
            (name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").then(|| "http://localhost:1".into())
        });
        let settings = Settings::read(None, &url).unwrap().unwrap();
        Closing { to: settings.traces.unwrap().into(), close: Box::new(close) }
    }

    /// The clock is paused: it goes on when nothing but time can happen.
    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_the_last_exports_together_and_at_most_as_long_as_its_patience() {
        let begun = Instant::now();
        let (_stalls, stalled) = mpsc::channel::<()>();
        let (_stalls_too, stalled_too) = mpsc::channel::<()>();
        let stall = |stalled: mpsc::Receiver<()>| closing(move || stalled.recv().unwrap_or(()));
        let late = close(vec![stall(stalled), stall(stalled_too)]).await;
        assert_eq!(late.unwrap().endpoint.to_string(), "http://localhost:1");
        assert_eq!(begun.elapsed(), PATIENCE);
        assert!(PATIENCE < Duration::from_secs(2));
    }
}

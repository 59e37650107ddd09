//! What is exported and where to, by `--otlp` and the `OTEL_*` variables.

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::Sampler;
use tokio_rustls::TlsConnector;

use super::endpoint::{Endpoint, Protocol};
use super::tls;
use super::variables::{Named, Signal, Variables};
use crate::report::Failure;

/// What is exported. The SDK itself reads the variables for the queue of spans, for their limits, and for the
/// interval of metrics.
pub(super) struct Settings {
    pub(super) traces: Option<Destination>,
    pub(super) metrics: Option<Destination>,
    pub(super) sampler: Sampler,
    pub(super) temporality: Temporality,
    pub(super) resource: Resource,
    /// `None` if the variable is not set.
    pub(super) propagators: Option<Vec<Propagator>>,
}

/// Where a signal is sent to, and how.
pub(super) struct Destination {
    pub(super) endpoint: Endpoint,
    pub(super) headers: HeaderMap,
    /// The time for a batch, with all its attempts.
    pub(super) timeout: Duration,
    pub(super) gzip: bool,
    /// `None` without TLS.
    pub(super) tls: Option<TlsConnector>,
}

/// A form of headers by which a trace is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagator {
    TraceContext,
    Baggage,
}

/// The variables that the SDK reads itself, with their ranges; it ignores what it cannot read. The queue is
/// allocated at once, so its size has a bound.
const NUMBERS: [(&str, u32, u32); 7] = [
    ("OTEL_BSP_SCHEDULE_DELAY", 1, u32::MAX),
    ("OTEL_BSP_MAX_QUEUE_SIZE", 1, 1_000_000),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, 1_000_000),
    ("OTEL_METRIC_EXPORT_INTERVAL", 1, u32::MAX),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 0, u32::MAX),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", 0, u32::MAX),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", 0, u32::MAX),
];

/// OpenTelemetry's default.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Settings {
    /// Reads the value of `--otlp` and the environment. Returns `None` if nothing is to be exported. If no
    /// endpoint is given, the other variables are not read.
    ///
    /// # Errors
    /// When the option or a variable is malformed.
    pub(super) fn read(
        option: Option<&str>,
        variables: &Variables<'_>,
    ) -> Result<Option<Settings>, Failure> {
        let option = option.map(|url| Named { name: "--otlp".to_owned(), value: url.to_owned() });
        let url = |signal| match &option {
            None => variables.of_exporter(signal, "ENDPOINT"),
            option => Ok(option.clone()),
        };
        let (traces, metrics) = (url(Signal::Traces)?, url(Signal::Metrics)?);
        if traces.is_none() && metrics.is_none() || is_disabled(variables)? {
            return Ok(None);
        }
        for (name, least, most) in NUMBERS {
            if let Some(number) = variables.read(name)? {
                number.whole(least, most)?;
            }
        }
        let traces = Destination::read(Signal::Traces, traces, variables)?;
        let metrics = Destination::read(Signal::Metrics, metrics, variables)?;
        let settings = Settings {
            sampler: sampler(variables)?,
            temporality: temporality(variables)?,
            resource: resource(variables)?,
            propagators: propagators(variables)?,
            traces,
            metrics,
        };
        Ok(Some(settings).filter(|it| it.traces.is_some() || it.metrics.is_some()))
    }
}

impl Destination {
    /// Returns `None` if the signal is not to be exported.
    ///
    /// # Errors
    /// When a variable is malformed, or a file that it names cannot be used.
    fn read(
        signal: Signal,
        url: Option<Named>,
        variables: &Variables<'_>,
    ) -> Result<Option<Destination>, Failure> {
        let (exporter, limit) = match signal {
            Signal::Traces => ("OTEL_TRACES_EXPORTER", "OTEL_BSP_EXPORT_TIMEOUT"),
            Signal::Metrics => ("OTEL_METRICS_EXPORTER", "OTEL_METRIC_EXPORT_TIMEOUT"),
        };
        let is_wanted = match variables.read(exporter)? {
            Some(exporter) => exporter.one_of(&[("otlp", true), ("none", false)])?,
            None => true,
        };
        let of_exporter = |what| variables.of_exporter(signal, what);
        let protocol = of_exporter("PROTOCOL")?
            .map(|it| it.one_of(&[("grpc", Protocol::Grpc), ("http/protobuf", Protocol::Http)]))
            .transpose()?;
        let headers = of_exporter("HEADERS")?.map(|it| it.headers()).transpose()?;
        let timeout = of_exporter("TIMEOUT")?.map(|it| it.limit()).transpose()?;
        let limit = variables.read(limit)?.map(|it| it.limit()).transpose()?;
        let gzip = of_exporter("COMPRESSION")?
            .map(|it| it.one_of(&[("gzip", true), ("none", false)]))
            .transpose()?;
        let Some(url) = url.filter(|_| is_wanted) else { return Ok(None) };
        let endpoint = Endpoint::new(&url, signal, protocol)?;
        let tls = match endpoint.is_tls {
            true => Some(tls::connector(
                endpoint.protocol,
                of_exporter("CERTIFICATE")?.as_ref(),
                of_exporter("CLIENT_CERTIFICATE")?.as_ref(),
                of_exporter("CLIENT_KEY")?.as_ref(),
            )?),
            false => None,
        };
        let timeout = timeout.unwrap_or(TIMEOUT);
        Ok(Some(Destination {
            endpoint,
            headers: headers.unwrap_or_default(),
            timeout: limit.map_or(timeout, |limit| limit.min(timeout)),
            gzip: gzip.unwrap_or(false),
            tls,
        }))
    }
}

fn is_disabled(variables: &Variables<'_>) -> Result<bool, Failure> {
    let disabled = variables.read("OTEL_SDK_DISABLED")?;
    disabled.map_or(Ok(false), |it| it.one_of(&[("true", true), ("false", false)]))
}

fn sampler(variables: &Variables<'_>) -> Result<Sampler, Failure> {
    #[derive(Clone, Copy)]
    enum Kind {
        On,
        Off,
        Ratio,
    }
    let kinds = [
        ("always_on", (false, Kind::On)),
        ("always_off", (false, Kind::Off)),
        ("traceidratio", (false, Kind::Ratio)),
        ("parentbased_always_on", (true, Kind::On)),
        ("parentbased_always_off", (true, Kind::Off)),
        ("parentbased_traceidratio", (true, Kind::Ratio)),
    ];
    let (by_parent, kind) = match variables.read("OTEL_TRACES_SAMPLER")? {
        Some(sampler) => sampler.one_of(&kinds)?,
        None => (true, Kind::On),
    };
    let sampler = match kind {
        Kind::On => Sampler::AlwaysOn,
        Kind::Off => Sampler::AlwaysOff,
        Kind::Ratio => Sampler::TraceIdRatioBased(ratio(variables)?),
    };
    Ok(if by_parent { Sampler::ParentBased(Box::new(sampler)) } else { sampler })
}

fn ratio(variables: &Variables<'_>) -> Result<f64, Failure> {
    let Some(ratio) = variables.read("OTEL_TRACES_SAMPLER_ARG")? else { return Ok(1.0) };
    let number = ratio.value.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| ratio.malformed("it must be a number from 0 to 1"))
}

fn temporality(variables: &Variables<'_>) -> Result<Temporality, Failure> {
    let preference = variables.read("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE")?;
    let words = [
        ("cumulative", Temporality::Cumulative),
        ("delta", Temporality::Delta),
        ("lowmemory", Temporality::LowMemory),
    ];
    preference.map_or(Ok(Temporality::Cumulative), |it| it.one_of(&words))
}

fn resource(variables: &Variables<'_>) -> Result<Resource, Failure> {
    let mut attributes = vec![KeyValue::new("service.name", "clientlet")];
    if let Some(list) = variables.read("OTEL_RESOURCE_ATTRIBUTES")? {
        attributes.extend(list.pairs()?.into_iter().map(|(key, value)| KeyValue::new(key, value)));
    }
    if let Some(name) = variables.read("OTEL_SERVICE_NAME")? {
        attributes.push(KeyValue::new("service.name", name.value));
    }
    let builder = Resource::builder_empty().with_detector(Box::new(TelemetryResourceDetector));
    // A later attribute replaces an earlier one of the same name.
    Ok(attributes.into_iter().fold(builder, |builder, it| builder.with_attribute(it)).build())
}

fn propagators(variables: &Variables<'_>) -> Result<Option<Vec<Propagator>>, Failure> {
    let Some(list) = variables.read("OTEL_PROPAGATORS")? else { return Ok(None) };
    let words = [
        ("tracecontext", Some(Propagator::TraceContext)),
        ("baggage", Some(Propagator::Baggage)),
        ("none", None),
    ];
    let named = |word: &str| Named { name: list.name.clone(), value: word.trim().to_owned() };
    let each = list.value.split(',').map(|word| named(word).one_of(&words));
    let propagators = each.collect::<Result<Vec<_>, _>>()?;
    Ok(Some(propagators.into_iter().flatten().collect()))
}

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
    let mut builder = Resource::builder_empty().with_detector(Box::new(TelemetryResourceDetector));
    // A later attribute replaces an earlier one of the same name.
    for attribute in attributes {
        builder = builder.with_attribute(attribute);
    }
    Ok(builder.build())
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};
    use std::ffi::OsString;

    use super::*;

    fn read(option: Option<&str>, variables: &[(&str, &str)]) -> Option<Settings> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let look = |name: &str| variables.get(name).map(OsString::from);
        Settings::read(option, &Variables(&look)).unwrap()
    }

    /// The names of variables in the table of the page.
    fn listed() -> BTreeSet<String> {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/telemetry.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, table) = page.split_once("<!-- table of variables -->").unwrap();
        let (table, _) = table.split_once("<!-- end of the table -->").unwrap();
        let words = table.split('`').filter(|word| word.starts_with("OTEL_"));
        words.map(str::to_owned).collect()
    }

    #[test]
    fn the_page_lists_the_variables_that_are_read() {
        let asked = RefCell::new(BTreeSet::new());
        let look = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("https://localhost".into()),
                "OTEL_TRACES_SAMPLER" => Some("traceidratio".into()),
                _ => None,
            }
        };
        assert!(Settings::read(None, &Variables(&look)).unwrap().is_some());
        let asked = asked.into_inner();
        let general = |name: &String| {
            let name = name.replace("_OTLP_TRACES_", "_OTLP_").replace("_OTLP_METRICS_", "_OTLP_");
            asked.get(&name)
        };
        let names = asked.iter().map(|name| general(name).unwrap_or(name).clone());
        assert_eq!(names.collect::<BTreeSet<_>>(), listed());
    }

    #[test]
    fn the_url_and_the_variables_choose_protocol_host_port_and_path() {
        let (grpc, http) = (Protocol::Grpc, Protocol::Http);
        let call = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        for (url, protocol, expected) in [
            ("http://127.0.0.1:4317", None, (grpc, "127.0.0.1", 4317, call)),
            ("http://127.0.0.1:4317/", None, (grpc, "127.0.0.1", 4317, call)),
            ("http://h:4317/otlp", None, (http, "h", 4317, "/otlp/v1/traces")),
            ("http://h:4317", Some("http/protobuf"), (http, "h", 4317, "/v1/traces")),
            ("http://h:4318", None, (http, "h", 4318, "/v1/traces")),
            ("http://h:4318", Some("GRPC"), (grpc, "h", 4318, call)),
            ("http://h", None, (http, "h", 80, "/v1/traces")),
            ("HTTPS://h/otlp/", None, (http, "h", 443, "/otlp/v1/traces")),
            ("https://h:4317", None, (grpc, "h", 4317, call)),
            ("http://h/a?key=1", None, (http, "h", 80, "/a/v1/traces?key=1")),
            ("grpc://h:9", Some("http/protobuf"), (grpc, "h", 9, call)),
            ("grpcs://[::1]:9", None, (grpc, "::1", 9, call)),
        ] {
            let protocol: Vec<_> =
                protocol.map(|it| ("OTEL_EXPORTER_OTLP_PROTOCOL", it)).into_iter().collect();
            let endpoint = read(Some(url), &protocol).unwrap().traces.unwrap().endpoint;
            let got = (endpoint.protocol, &*endpoint.host, endpoint.port, &*endpoint.path);
            assert_eq!(got, expected, "{url} {protocol:?}");
            let is_tls =
                url.starts_with("HTTPS") || url.starts_with("https") || url.starts_with("grpcs");
            assert_eq!(endpoint.is_tls, is_tls, "{url}");
        }
    }

    #[test]
    fn a_receiver_is_shown_without_path_and_query() {
        let traces = read(Some("https://h:1/key?key=2"), &[]).unwrap().traces.unwrap();
        assert_eq!(traces.endpoint.to_string(), "https://h:1");
    }

    #[test]
    fn the_variable_of_a_signal_counts_before_the_general_one_and_the_option_before_both() {
        let (general, own) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT");
        let hosts = |option, variables: &[(&str, &str)]| {
            let settings = read(option, variables)?;
            let host = |it: Option<Destination>| it.map(|it| it.endpoint.host);
            Some((host(settings.traces), host(settings.metrics)))
        };
        let some = |host: &str| Some(host.to_owned());
        assert_eq!(hosts(None, &[]), None);
        assert_eq!(hosts(None, &[(general, "http://g")]), Some((some("g"), some("g"))));
        assert_eq!(hosts(None, &[(own, "http://o")]), Some((None, some("o"))));
        let both = [(general, "http://g"), (own, "http://o")];
        assert_eq!(hosts(None, &both), Some((some("g"), some("o"))));
        assert_eq!(hosts(Some("http://c"), &both), Some((some("c"), some("c"))));
    }

    #[test]
    fn the_shorter_of_two_limits_counts_and_0_is_none() {
        let (all, batch) = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_BSP_EXPORT_TIMEOUT");
        for (variables, expected) in [
            (&[][..], 10_000),
            (&[(all, "0")], u64::from(u32::MAX)),
            (&[(all, "20000"), (batch, "500")], 500),
            (&[(all, "200"), (batch, "0")], 200),
        ] {
            let settings = read(Some("http://h"), variables).unwrap();
            let timeout = settings.traces.unwrap().timeout;
            assert_eq!(timeout, Duration::from_millis(expected), "{variables:?}");
        }
    }

    #[test]
    fn samplers_have_the_names_of_the_specification() {
        let (name, arg) = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
        for (variables, expected) in [
            (&[][..], "ParentBased(AlwaysOn)"),
            (&[(name, "always_on")], "AlwaysOn"),
            (&[(name, "always_off")], "AlwaysOff"),
            (&[(name, "traceidratio")], "TraceIdRatioBased(1.0)"),
            (&[(name, "traceidratio"), (arg, "0.25")], "TraceIdRatioBased(0.25)"),
            (&[(name, "parentbased_always_off")], "ParentBased(AlwaysOff)"),
            (
                &[(name, "parentbased_traceidratio"), (arg, "0")],
                "ParentBased(TraceIdRatioBased(0.0))",
            ),
        ] {
            let sampler = read(Some("http://h"), variables).unwrap().sampler;
            assert_eq!(format!("{sampler:?}"), expected, "{variables:?}");
        }
    }
}

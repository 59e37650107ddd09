//! Metrics through OpenTelemetry. `docs/telemetry.md` lists them.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};

use super::super::counts::bounds;
use super::super::outcome;
use crate::address::Address;
use crate::error::ErrorKind;

/// The instruments of a client; `None` if there is no meter.
pub(in crate::telemetry) struct Metrics(Option<Box<Instruments>>);

struct Instruments {
    requests: Histogram<f64>,
    in_flight: UpDownCounter<i64>,
    attempt_times: Histogram<f64>,
    attempts: Counter<u64>,
    retries: Counter<u64>,
    reconnects: Counter<u64>,
    duplicates: Counter<u64>,
    bytes: Counter<u64>,
    waits: Histogram<f64>,
    server: Vec<KeyValue>,
    sent: Vec<KeyValue>,
    received: Vec<KeyValue>,
}

/// The attributes of a call's numbers.
pub(in crate::telemetry) struct Labels {
    call: Vec<KeyValue>,
    /// Those of attempts that were answered, which are nearly all.
    answered: Vec<KeyValue>,
}

impl Metrics {
    pub(super) fn new(meter: Option<&Meter>, address: &Address) -> Metrics {
        Metrics(meter.map(|meter| Box::new(Instruments::new(meter, address))))
    }

    /// Whether there is a meter.
    pub(in crate::telemetry) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    pub(in crate::telemetry) fn labels(&self, endpoint: Option<&str>) -> Labels {
        let Some(Instruments { server, .. }) = self.0.as_deref() else {
            return Labels { call: Vec::new(), answered: Vec::new() };
        };
        let endpoint = endpoint.map(|name| KeyValue::new("clientlet.endpoint", name.to_owned()));
        let call: Vec<_> = server.iter().cloned().chain(endpoint).collect();
        let answered = with(&call, KeyValue::new("clientlet.outcome", outcome(None)));
        Labels { call, answered }
    }

    fn tell(&self, tell: impl FnOnce(&Instruments)) {
        if let Some(instruments) = &self.0 {
            tell(instruments);
        }
    }

    pub(in crate::telemetry) fn in_flight(&self, more: i64, labels: &Labels) {
        self.tell(|to| to.in_flight.add(more, &labels.call));
    }

    pub(in crate::telemetry) fn request(
        &self,
        failed: Option<ErrorKind>,
        elapsed: Duration,
        labels: &Labels,
    ) {
        self.tell(|to| match failed {
            None => to.requests.record(elapsed.as_secs_f64(), &labels.call),
            Some(kind) => to.requests.record(elapsed.as_secs_f64(), &failure(labels, kind)),
        });
    }

    pub(in crate::telemetry) fn attempt(
        &self,
        failed: Option<ErrorKind>,
        took: Duration,
        labels: &Labels,
    ) {
        self.tell(|to| match failed {
            None => {
                to.attempt_times.record(took.as_secs_f64(), &labels.call);
                to.attempts.add(1, &labels.answered);
            }
            Some(kind) => {
                to.attempt_times.record(took.as_secs_f64(), &failure(labels, kind));
                let outcome = KeyValue::new("clientlet.outcome", outcome(failed));
                to.attempts.add(1, &with(&labels.call, outcome));
            }
        });
    }

    pub(in crate::telemetry) fn retried(&self, labels: &Labels) {
        self.tell(|to| to.retries.add(1, &labels.call));
    }

    pub(in crate::telemetry) fn reconnected(&self) {
        self.tell(|to| to.reconnects.add(1, &to.server));
    }

    pub(in crate::telemetry) fn duplicate_dropped(&self) {
        self.tell(|to| to.duplicates.add(1, &to.server));
    }

    pub(in crate::telemetry) fn transmitted(&self, bytes: usize) {
        self.tell(|to| to.bytes.add(bytes as u64, &to.sent));
    }

    pub(in crate::telemetry) fn received(&self, bytes: usize) {
        self.tell(|to| to.bytes.add(bytes as u64, &to.received));
    }

    pub(in crate::telemetry) fn waited(&self, time: Duration) {
        self.tell(|to| to.waits.record(time.as_secs_f64(), &to.server));
    }
}

fn with(labels: &[KeyValue], one: KeyValue) -> Vec<KeyValue> {
    labels.iter().cloned().chain([one]).collect()
}

fn failure(labels: &Labels, kind: ErrorKind) -> Vec<KeyValue> {
    with(&labels.call, KeyValue::new("error.type", kind.name()))
}

impl Instruments {
    fn new(meter: &Meter, address: &Address) -> Instruments {
        let mut server = super::spans::server(address);
        server.push(super::spans::protocol(address));
        let direction = |direction| with(&server, KeyValue::new("network.io.direction", direction));
        let times = |name, what| {
            let histogram = meter.f64_histogram(name).with_description(what).with_unit("s");
            histogram.with_boundaries(bounds()).build()
        };
        let counter = |name, what, unit| {
            meter.u64_counter(name).with_description(what).with_unit(unit).build()
        };
        Instruments {
            requests: times(
                "clientlet.request.duration",
                "Time from the beginning of a request to its end, all attempts and waits included",
            ),
            in_flight: meter
                .i64_up_down_counter("clientlet.request.in_flight")
                .with_description("Requests that have begun and not ended yet")
                .with_unit("{request}")
                .build(),
            attempt_times: times("clientlet.attempt.duration", "Time of an attempt of a request"),
            attempts: counter(
                "clientlet.attempts",
                "Attempts of requests that have ended, by their outcome",
                "{attempt}",
            ),
            retries: counter(
                "clientlet.retries",
                "Attempts that followed on another, after a wait",
                "{attempt}",
            ),
            reconnects: counter(
                "clientlet.reconnects",
                "Connections that took the place of a lost one",
                "{connection}",
            ),
            duplicates: counter(
                "clientlet.duplicates",
                "Answers that no request waited for, and that were dropped",
                "{answer}",
            ),
            bytes: counter("clientlet.io", "Bytes on connections, without TLS", "By"),
            waits: times(
                "clientlet.place.wait",
                "Time for which a call read no documents, because all of its places were taken",
            ),
            sent: direction("transmit"),
            received: direction("receive"),
            server,
        }
    }
}

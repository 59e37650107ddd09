//! Spans of one trace from several programs, put together.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Array, KeyValue};
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Number, Value};

use crate::otlp::{Span, SpanEvent};

/// The spans of one trace. Its `Display` is a tree with times, a line for each span.
#[derive(Clone, Debug)]
pub struct Trace {
    spans: Vec<Span>,
}

impl Trace {
    /// Picks the spans of the trace with this id from the spans of several traces.
    pub fn of(trace_id: &str, spans: impl IntoIterator<Item = Span>) -> Trace {
        let mut spans: Vec<_> =
            spans.into_iter().filter(|span| span.trace_id == trace_id).collect();
        spans.sort_by_key(|span| span.start);
        Trace { spans }
    }

    /// All spans, in the order in which they began.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The spans without a parent among these, in the order in which they began.
    #[must_use]
    pub fn roots(&self) -> Vec<&Span> {
        let ids: HashSet<_> = self.spans.iter().map(|span| &span.span_id).collect();
        self.spans.iter().filter(|span| !ids.contains(&span.parent_span_id)).collect()
    }

    /// The children of a span, in the order in which they began.
    #[must_use]
    pub fn children(&self, parent: &Span) -> Vec<&Span> {
        let is_child = |span: &&Span| span.parent_span_id == parent.span_id;
        self.spans.iter().filter(is_child).collect()
    }

    fn write_below(&self, f: &mut fmt::Formatter<'_>, parent: &Span, line: &str) -> fmt::Result {
        let children = self.children(parent);
        for (n, child) in children.iter().enumerate() {
            let is_last = n + 1 == children.len();
            let (branch, below) = if is_last { ("└ ", "  ") } else { ("├ ", "│ ") };
            self.write_span(f, child, &format!("{line}{branch}"))?;
            self.write_below(f, child, &format!("{line}{below}"))?;
        }
        Ok(())
    }

    fn write_span(&self, f: &mut fmt::Formatter<'_>, span: &Span, branch: &str) -> fmt::Result {
        let Span { service, name, start, end, status, message, .. } = span;
        let from = milliseconds(self.spans[0].start, *start);
        let took = milliseconds(*start, *end);
        let kind = span.kind.to_lowercase();
        write!(f, "{from:>9.2} {took:>9.2}  {branch}{name}  ({service}, {kind})")?;
        if status == "ERROR" {
            write!(f, " {status} {}", message.lines().next().unwrap_or_default())?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.spans.first() else { return writeln!(f, "no spans") };
        writeln!(f, "trace {}: {} spans", first.trace_id, self.spans.len())?;
        writeln!(f, "{:>9} {:>9}  span", "from ms", "took ms")?;
        for root in self.roots() {
            self.write_span(f, root, "")?;
            self.write_below(f, root, "")?;
        }
        Ok(())
    }
}

impl Span {
    /// The span of a program's own exporter, as a receiver would have it. `service` is the program's name.
    #[must_use]
    pub fn of_program(service: &str, data: SpanData) -> Span {
        let (status, message) = match data.status {
            Status::Unset => ("UNSET", String::new()),
            Status::Ok => ("OK", String::new()),
            Status::Error { description } => ("ERROR", description.into_owned()),
        };
        let kind = match data.span_kind {
            SpanKind::Client => "CLIENT",
            SpanKind::Server => "SERVER",
            SpanKind::Producer => "PRODUCER",
            SpanKind::Consumer => "CONSUMER",
            SpanKind::Internal => "INTERNAL",
        };
        let has_parent = data.parent_span_id != opentelemetry::trace::SpanId::INVALID;
        let parent = has_parent.then(|| data.parent_span_id.to_string());
        let events = data.events.events.into_iter().map(|event| SpanEvent {
            name: event.name.into_owned(),
            time: nanoseconds(event.timestamp),
            attributes: attributes(event.attributes),
        });
        Span {
            service: service.to_owned(),
            scope: data.instrumentation_scope.name().to_owned(),
            name: data.name.into_owned(),
            kind: kind.to_owned(),
            trace_id: data.span_context.trace_id().to_string(),
            span_id: data.span_context.span_id().to_string(),
            parent_span_id: parent.unwrap_or_default(),
            trace_state: data.span_context.trace_state().header(),
            start: nanoseconds(data.start_time),
            end: nanoseconds(data.end_time),
            attributes: attributes(data.attributes),
            events: events.collect(),
            status: status.to_owned(),
            message,
        }
    }
}

fn attributes<C: FromIterator<(String, Value)>>(pairs: Vec<KeyValue>) -> C {
    pairs.into_iter().map(|pair| (pair.key.to_string(), value(pair.value))).collect()
}

fn value(value: opentelemetry::Value) -> Value {
    match value {
        opentelemetry::Value::Bool(value) => value.into(),
        opentelemetry::Value::I64(value) => value.into(),
        opentelemetry::Value::F64(value) => Number::from_f64(value).into(),
        opentelemetry::Value::String(value) => value.as_str().into(),
        opentelemetry::Value::Array(Array::Bool(values)) => values.into(),
        opentelemetry::Value::Array(Array::I64(values)) => values.into(),
        opentelemetry::Value::Array(Array::F64(values)) => values.into(),
        opentelemetry::Value::Array(Array::String(values)) => {
            values.iter().map(opentelemetry::StringValue::as_str).collect()
        }
        other => other.to_string().into(),
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(from: u64, to: u64) -> f64 {
    Duration::from_nanos(to.saturating_sub(from)).as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, name: &str, start: u64, end: u64) -> Span {
        let span = serde_json::json!({
            "service": "a", "scope": "", "name": name, "kind": "SERVER", "trace_id": "t",
            "span_id": id, "parent_span_id": parent, "trace_state": "", "start": start, "end": end,
            "attributes": {}, "events": [], "status": "UNSET", "message": "",
        });
        serde_json::from_value(span).unwrap()
    }

    #[test]
    fn a_trace_is_printed_as_a_tree_with_times() {
        let other = Span { trace_id: "u".to_owned(), ..span("6", "1", "other", 0, 0) };
        let failed = ("ERROR".to_owned(), "no\nmore".to_owned());
        let failed = Span {
            status: failed.0,
            message: failed.1,
            ..span("3", "2", "leaf", 3_000_000, 4_000_000)
        };
        let spans = [
            failed,
            span("4", "1", "last", 7_250_000, 8_000_000),
            span("1", "0", "root", 1_000_000, 9_500_000),
            other,
            span("2", "1", "first", 2_000_000, 5_000_000),
        ];
        let trace = Trace::of("t", spans);
        let expected = "\
trace t: 4 spans
  from ms   took ms  span
     0.00      8.50  root  (a, server)
     1.00      3.00  ├ first  (a, server)
     2.00      1.00  │ └ leaf  (a, server) ERROR no
     6.25      0.75  └ last  (a, server)
";
        assert_eq!(trace.to_string(), expected);
        assert_eq!(Trace::of("v", []).to_string(), "no spans\n");
    }
}

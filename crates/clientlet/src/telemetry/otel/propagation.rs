//! Writes a trace's context into headers, as W3C's recommendations Trace Context and Baggage say,
//! unless the program has set a propagator of its own.

use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::{Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceState};
use opentelemetry::{Context, global};
use percent::encoded;

use super::quietly;
use crate::message::is_own_header;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The most bytes of the trace's state. A caller of the program may have sent more, for which a gateway
/// would refuse each request. Recipients of more than 512 bytes may cut it themselves.
const MOST_STATE: usize = 4096;

/// The most bytes of baggage, and the most entries (W3C Baggage, 3.3.2). What is beyond is left out.
const MOST_BAGGAGE: usize = 8192;
const MOST_ENTRIES: usize = 64;

/// Writes the contexts of a call and of its attempts into headers. What they have in common is prepared
/// once, since over HTTP each sampled request has a context of its own.
pub(super) struct Writer {
    /// The headers of the call.
    headers: Arc<HeaderMap>,
    /// The context of the call.
    context: Context,
    /// Whether the program has set a propagator, which writes instead.
    is_global: bool,
    baggage: Option<HeaderValue>,
}

impl Writer {
    pub(super) fn new(headers: &Arc<HeaderMap>, context: Context) -> Writer {
        let is_set = |it: &dyn TextMapPropagator| it.fields().next().is_some();
        let baggage = match context.baggage().is_empty() {
            true => None,
            // Other values than those of headers were encoded.
            false => HeaderValue::from_str(&baggage(&context)).ok(),
        };
        let is_global = quietly(|| global::get_text_map_propagator(is_set)).unwrap_or(false);
        Writer { headers: headers.clone(), context, is_global, baggage }
    }

    /// The headers of the call, without a context.
    pub(super) fn headers(&self) -> &Arc<HeaderMap> {
        &self.headers
    }

    /// Returns the call's headers with the context of the call.
    pub(super) fn of_call(&self) -> Arc<HeaderMap> {
        self.of(self.context.span().span_context())
    }

    /// Returns the call's headers with the context of this span.
    pub(super) fn of(&self, span: &SpanContext) -> Arc<HeaderMap> {
        let mut headers = HeaderMap::clone(&self.headers);
        self.add(&mut headers, span);
        Arc::new(headers)
    }

    /// Adds the headers of a span below the call. Headers that the caller set win.
    pub(super) fn add(&self, headers: &mut HeaderMap, span: &SpanContext) {
        let mut absent = Absent(headers);
        if self.is_global {
            let context = self.context.with_remote_span_context(span.clone());
            let inject = |it: &dyn TextMapPropagator| it.inject_context(&context, &mut absent);
            quietly(|| global::get_text_map_propagator(inject));
            return;
        }
        if span.is_valid() {
            absent.add(TRACEPARENT, HeaderValue::from_bytes(&parent(span)));
            if *span.trace_state() != TraceState::NONE {
                absent.set(TRACESTATE.as_str(), beginning(span.trace_state().header()));
            }
        }
        if let Some(baggage) = &self.baggage {
            absent.0.entry(BAGGAGE).or_insert_with(|| baggage.clone());
        }
    }
}

/// `00-TRACE-SPAN-FLAGS` in lower-case hexadecimal digits; written by hand, since each sampled request
/// has one.
fn parent(span: &SpanContext) -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    digits(&mut text[3..35], &span.trace_id().to_bytes());
    digits(&mut text[36..52], &span.span_id().to_bytes());
    digits(&mut text[53..55], &[u8::from(span.is_sampled())]);
    text
}

fn digits(text: &mut [u8], bytes: &[u8]) {
    let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        (pair[0], pair[1]) = (digit(byte >> 4), digit(byte & 15));
    }
}

/// Returns as many of the state's entries as fit. The last entries go first, as W3C wants it: they are the
/// oldest.
fn beginning(mut state: String) -> String {
    if let Some(most) = state.get(..=MOST_STATE) {
        state.truncate(most.rfind(',').unwrap_or(0));
    }
    state
}

/// `key=value;metadata,key=value`, with values percent-encoded.
fn baggage(context: &Context) -> String {
    let mut text = String::new();
    for (key, (value, metadata)) in context.baggage().iter().take(MOST_ENTRIES) {
        let mut entry = format!("{}={}", key.as_str().trim(), encoded(value.as_str().trim()));
        // Metadata may be any text, and are for hints only. Those that would break the header are left out.
        let metadata = metadata.as_str();
        if !metadata.is_empty()
            && metadata.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b',')
        {
            entry = format!("{entry};{metadata}");
        }
        if text.len() + 1 + entry.len() > MOST_BAGGAGE {
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text += &entry;
    }
    text
}

/// Percent-encoding as W3C's Baggage wants it.
mod percent {
    use std::fmt::Write;

    /// Leaves what a value of baggage may hold: visible ASCII but `"`, `,`, `;`, `\` and `%`. It may
    /// hold `=`, too, at which readers were seen to cut it off.
    pub(super) fn encoded(value: &str) -> String {
        let mut text = String::with_capacity(value.len());
        for byte in value.bytes() {
            match byte {
                b'"' | b',' | b';' | b'\\' | b'%' | b'=' => {}
                0x21..=0x7e => {
                    text.push(byte.into());
                    continue;
                }
                _ => {}
            }
            // Writing to a text cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    }
}

/// Adds headers that are not there yet. What is no header is left out, and so is what belongs to the
/// request and its connection, such as `content-length`.
struct Absent<'a>(&'a mut HeaderMap);

impl Absent<'_> {
    fn add<E>(&mut self, name: HeaderName, value: Result<HeaderValue, E>) {
        if let Ok(value) = value {
            self.0.entry(name).or_insert(value);
        }
    }
}

impl Injector for Absent<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let Ok(name) = HeaderName::from_bytes(key.as_bytes())
            && !(value.is_empty() || is_own_header(&name) || name == HOST)
        {
            self.add(name, HeaderValue::try_from(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::str::FromStr;

    use opentelemetry::KeyValue;
    use opentelemetry::baggage::KeyValueMetadata;
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
    use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

    use super::*;

    fn context(state: &str, baggage: &[(&'static str, &'static str)]) -> Context {
        let span = SpanContext::new(
            TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
            SpanId::from(0x00f0_67aa_0ba9_02b7),
            TraceFlags::SAMPLED,
            true,
            TraceState::from_str(state).unwrap(),
        );
        let baggage = baggage.iter().map(|(key, value)| KeyValue::new(*key, *value));
        Context::new().with_remote_span_context(span).with_baggage(baggage)
    }

    fn written(context: &Context) -> HashMap<String, String> {
        let headers = Writer::new(&Arc::default(), context.clone()).of_call();
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    #[test]
    fn the_sdk_reads_what_is_written() {
        let baggage = [("tenant", "blue"), ("odd", "a b,c;d=\"e\"%\\ä"), ("empty", "")];
        for state in ["", "vendor=1", "a=1,b=2"] {
            let context = context(state, &baggage);
            let headers = written(&context);
            let read = TraceContextPropagator::new().extract(&headers);
            let (read_span, span) = (read.span(), context.span());
            assert_eq!(read_span.span_context(), span.span_context());
            let read = BaggagePropagator::new().extract(&headers);
            for (key, value) in baggage {
                assert_eq!(read.baggage().get(key).unwrap().as_str(), value, "{key}: {headers:?}");
            }
        }
    }

    #[test]
    fn the_sdk_writes_the_same_for_a_plain_context() {
        let context = context("vendor=1", &[("tenant", "blue")]);
        let mut theirs = HashMap::new();
        TraceContextPropagator::new().inject_context(&context, &mut theirs);
        BaggagePropagator::new().inject_context(&context, &mut theirs);
        assert_eq!(written(&context), theirs);
    }

    #[test]
    fn without_a_span_and_baggage_there_is_no_header() {
        assert_eq!(written(&Context::new()).len(), 0);
    }

    #[test]
    fn headers_of_the_caller_win() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static("own"));
        let headers = Writer::new(&Arc::new(headers), context("", &[])).of_call();
        assert_eq!(headers.get_all(TRACEPARENT).iter().collect::<Vec<_>>(), ["own"]);
    }

    #[test]
    fn metadata_that_would_break_the_header_are_left_out_without_their_entry() {
        for (metadata, expected) in [
            ("ttl=1;own", "a=1;ttl=1;own"),
            ("ttl=1,b=2", "a=1"),
            ("x\r\ny", "a=1"),
            ("\u{e4}", "a=1"),
        ] {
            let entry = KeyValueMetadata::new("a", "1", metadata);
            let headers = written(&Context::new().with_baggage([entry]));
            assert_eq!(headers["baggage"], expected, "{metadata:?}");
        }
    }

    #[test]
    fn of_a_long_state_whole_entries_are_left() {
        let entries = (0..30).map(|n| format!("key{n}={}", "x".repeat(200)));
        let state = entries.collect::<Vec<_>>().join(",");
        let sent = written(&context(&state, &[]))["tracestate"].clone();
        assert!((3800..=MOST_STATE).contains(&sent.len()), "{}", sent.len());
        assert!(state.starts_with(&sent) && state[sent.len()..].starts_with(",key"), "{sent}");
    }

    #[test]
    fn a_propagator_cannot_break_the_request() {
        let mut headers = HeaderMap::new();
        for name in [
            "Content-Length",
            "te",
            "host",
            "connection",
            "upgrade",
            "grpc-timeout",
            "a b",
            ":path",
        ] {
            Absent(&mut headers).set(name, "1".to_owned());
        }
        Absent(&mut headers).set("x-empty", String::new());
        Absent(&mut headers).set("x-lines", "a\r\nb: c".to_owned());
        assert_eq!(headers, HeaderMap::new());
        Absent(&mut headers).set("B3", "1-2".to_owned());
        assert_eq!(headers["b3"], "1-2");
    }

    #[test]
    fn baggage_beyond_the_limits_is_left_out() {
        let entries = (0..100).map(|n| KeyValue::new(format!("key{n}"), "x".repeat(1000)));
        let headers = written(&Context::new().with_baggage(entries));
        let length = headers["baggage"].len();
        assert!((7_000..=MOST_BAGGAGE).contains(&length), "{length}");
    }
}

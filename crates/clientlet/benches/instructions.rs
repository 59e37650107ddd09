//! The instructions for a request, counted by valgrind: the same number in every run.
//!
//! `cargo bench -p clientlet --bench instructions` needs valgrind, and gungraun-runner in the
//! release of gungraun that Cargo.lock names: `cargo install gungraun-runner --version 0.20.0`.
//! With `RUSTFLAGS="--cfg clientlet_bench"` a whole call without the network is counted as well.
#![allow(missing_docs, reason = "gungraun's macros make public items without any")]
#![allow(unused_qualifications, reason = "gungraun's macros write them")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run must say so")]

use std::hint::black_box;

use bytes::Bytes;
use clientlet::clientlets::{DataRequest, HttpAnswer};
use clientlet::{DocArray, Document, Response};
use gungraun::{library_benchmark, library_benchmark_group, main};

mod data;
use data::{Article, articles};

type Plain = Article<Vec<f32>>;

fn large() -> Vec<Plain> {
    articles(|numbers| numbers)
}

fn small() -> Vec<Document> {
    (0..data::DOCUMENTS).map(|n| Document::text("hello").with_id(n.to_string())).collect()
}

fn large_request(docarray: DocArray) -> Bytes {
    DataRequest::new(docarray, "/").documents(large()).unwrap().to_bytes()
}

fn small_request(docarray: DocArray) -> Bytes {
    DataRequest::new(docarray, "/").documents(small()).unwrap().to_bytes()
}

/// Builds an answer from a request, because both have the same form.
fn open(docarray: DocArray, body: Bytes) -> Response {
    HttpAnswer::from(http::Response::new(body)).response(docarray).unwrap()
}

fn large_response(docarray: DocArray) -> Response {
    open(docarray, large_request(docarray))
}

fn small_response(docarray: DocArray) -> Response {
    open(docarray, small_request(docarray))
}

#[library_benchmark]
#[bench::v1(DocArray::V1, large())]
#[bench::v2(DocArray::V2, large())]
fn encode_embeddings(docarray: DocArray, documents: Vec<Plain>) -> (Vec<Plain>, DataRequest) {
    let request = DataRequest::new(docarray, "/").documents(black_box(&documents)).unwrap();
    (documents, request)
}

#[library_benchmark]
#[bench::v1(DocArray::V1, small())]
#[bench::v2(DocArray::V2, small())]
fn encode_small(docarray: DocArray, documents: Vec<Document>) -> (Vec<Document>, DataRequest) {
    let request = DataRequest::new(docarray, "/").documents(black_box(&documents)).unwrap();
    (documents, request)
}

// Writes a request's envelope around encoded documents.
#[library_benchmark]
#[bench::v1(DataRequest::new(DocArray::V1, "/").documents(small()).unwrap())]
#[bench::v2(DataRequest::new(DocArray::V2, "/").documents(small()).unwrap())]
fn write_envelope(request: DataRequest) -> (DataRequest, Bytes) {
    let json = black_box(&request).to_bytes();
    (request, json)
}

#[library_benchmark]
#[bench::v1_small(DocArray::V1, small_request(DocArray::V1))]
#[bench::v2_small(DocArray::V2, small_request(DocArray::V2))]
#[bench::v1_embeddings(DocArray::V1, large_request(DocArray::V1))]
#[bench::v2_embeddings(DocArray::V2, large_request(DocArray::V2))]
fn read_envelope(docarray: DocArray, body: Bytes) -> Response {
    open(docarray, black_box(body))
}

#[library_benchmark]
#[bench::v1(large_response(DocArray::V1))]
#[bench::v2(large_response(DocArray::V2))]
fn decode_embeddings(response: Response) -> (Response, Vec<Plain>) {
    let documents = black_box(&response).documents().unwrap();
    (response, documents)
}

#[library_benchmark]
#[bench::v1(small_response(DocArray::V1))]
#[bench::v2(small_response(DocArray::V2))]
fn decode_small(response: Response) -> (Response, Vec<Document>) {
    let documents = black_box(&response).documents().unwrap();
    (response, documents)
}

library_benchmark_group!(
    name = requests,
    benchmarks = [encode_embeddings, encode_small, write_envelope]
);
library_benchmark_group!(
    name = answers,
    benchmarks = [read_envelope, decode_embeddings, decode_small]
);

// Counts a call without the network: batches, retry loop, order.
#[cfg(clientlet_bench)]
#[library_benchmark]
#[bench::one_a_request(small(), 1, false)]
#[bench::one_a_request_in_order(small(), 1, true)]
#[bench::hundred_a_request(small(), 100, false)]
fn whole_call(documents: Vec<Document>, size: usize, is_in_order: bool) -> (Vec<Document>, usize) {
    let requests = clientlet::counted::call(black_box(&documents), size, is_in_order);
    (documents, requests)
}

/// Providers that take every span and every number, and drop them.
#[cfg(all(clientlet_bench, feature = "otel"))]
mod dropping {
    use std::borrow::Cow;
    use std::time::{Duration, SystemTime};

    use clientlet::clientlets::ClientletOptions;
    use opentelemetry::trace::{
        SpanBuilder, SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState, Tracer,
        TracerProvider,
    };
    use opentelemetry::{Context, InstrumentationScope, KeyValue};
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};

    #[derive(Debug)]
    struct Drops;

    impl SpanProcessor for Drops {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, _: SpanData) {}

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    /// A tracer of spans that are recorded nowhere, to count what is ours.
    #[derive(Debug)]
    struct Bare;

    #[derive(Debug)]
    struct BareSpan(SpanContext);

    impl TracerProvider for Bare {
        type Tracer = Bare;

        fn tracer_with_scope(&self, _: InstrumentationScope) -> Bare {
            Bare
        }
    }

    impl Tracer for Bare {
        type Span = BareSpan;

        fn build_with_context(&self, _: SpanBuilder, _: &Context) -> BareSpan {
            let (trace, span) = (TraceId::from(1), SpanId::from(1));
            let state = TraceState::default();
            BareSpan(SpanContext::new(trace, span, TraceFlags::SAMPLED, false, state))
        }
    }

    impl opentelemetry::trace::Span for BareSpan {
        fn add_event_with_timestamp<T>(&mut self, _: T, _: SystemTime, _: Vec<KeyValue>)
        where
            T: Into<Cow<'static, str>>,
        {
        }

        fn span_context(&self) -> &SpanContext {
            &self.0
        }

        fn is_recording(&self) -> bool {
            true
        }

        fn set_attribute(&mut self, _: KeyValue) {}

        fn set_status(&mut self, _: Status) {}

        fn update_name<T>(&mut self, _: T)
        where
            T: Into<Cow<'static, str>>,
        {
        }

        fn add_link(&mut self, _: SpanContext, _: Vec<KeyValue>) {}

        fn end_with_timestamp(&mut self, _: SystemTime) {}
    }

    pub(super) fn sdk() -> ClientletOptions {
        let provider = SdkTracerProvider::builder().with_span_processor(Drops).build();
        ClientletOptions::new().tracer_provider(provider)
    }

    pub(super) fn bare() -> ClientletOptions {
        ClientletOptions::new().tracer_provider(Bare)
    }
}

// The same call without headers of each request.
#[cfg(clientlet_bench)]
#[library_benchmark]
#[bench::one_on_a_connection(small(), 1)]
#[bench::hundred_on_a_connection(small(), 100)]
fn shared_call(documents: Vec<Document>, size: usize) -> (Vec<Document>, usize) {
    let documents = black_box(documents);
    let options = clientlet::clientlets::ClientletOptions::new();
    let requests = clientlet::counted::call_with(options, &documents, size, false, false);
    (documents, requests)
}

// Each request is sampled.
#[cfg(all(clientlet_bench, feature = "otel"))]
#[library_benchmark]
#[bench::one_a_request(dropping::bare(), small(), 1, true)]
#[bench::hundred_a_request(dropping::bare(), small(), 100, true)]
#[bench::one_on_a_connection(dropping::bare(), small(), 1, false)]
#[bench::hundred_on_a_connection(dropping::bare(), small(), 100, false)]
#[bench::one_through_the_sdk(dropping::sdk(), small(), 1, true)]
#[bench::hundred_through_the_sdk(dropping::sdk(), small(), 100, true)]
fn sampled_call(
    options: clientlet::clientlets::ClientletOptions,
    documents: Vec<Document>,
    size: usize,
    has_headers: bool,
) -> (Vec<Document>, usize) {
    let documents = black_box(documents);
    let requests = clientlet::counted::call_with(options, &documents, size, false, has_headers);
    (documents, requests)
}

#[cfg(all(clientlet_bench, not(feature = "otel")))]
library_benchmark_group!(name = calls, benchmarks = [whole_call, shared_call]);
#[cfg(all(clientlet_bench, feature = "otel"))]
library_benchmark_group!(name = calls, benchmarks = [whole_call, shared_call, sampled_call]);

#[cfg(not(clientlet_bench))]
main!(library_benchmark_groups = [requests, answers]);
#[cfg(clientlet_bench)]
main!(library_benchmark_groups = [requests, answers, calls]);

//! Splits many documents into requests and sends them.
//!
//! `cargo bench -p clientlet --bench batching`
#![allow(missing_docs, reason = "criterion's macros make public functions without any")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run must say so")]

use std::hint::black_box;

use clientlet::clientlets::DataRequest;
use clientlet::{Client, DocArray, Document};
use clientlet_gateway::Gateway;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const SIZES: [usize; 3] = [1, 10, 100];
/// The number of documents of a call.
const DOCUMENTS: usize = 1000;

criterion_group!(benches, by_hand, through_a_gateway);
criterion_main!(benches);

fn documents(count: usize) -> Vec<Document> {
    (0..count).map(|n| Document::text("hello").with_id(n.to_string())).collect()
}

/// Builds a request by hand, including the envelope.
fn by_hand(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    for size in SIZES {
        let documents = documents(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let request = DataRequest::new(DocArray::V2, "/").documents(black_box(&documents));
                request.unwrap().to_bytes()
            });
        });
    }
    group.finish();
}

/// Makes a whole call over loopback: batching, window and order with everything below them. The
/// gateway has threads of its own.
fn through_a_gateway(criterion: &mut Criterion) {
    let served = Runtime::new().unwrap();
    let gateway = served.block_on(Gateway::builder().journal(false).start()).unwrap();
    let client = Client::new(&gateway.http_url()).unwrap();
    let caller = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let documents = documents(DOCUMENTS);
    let mut group = criterion.benchmark_group("call");
    group.throughput(Throughput::Elements(DOCUMENTS as u64));
    for size in SIZES {
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let call = client.post("/").documents(&documents).request_size(size).in_order(true);
                let answers = caller.block_on(async { call.send().await });
                assert!(answers.errors().next().is_none());
                answers
            });
        });
    }
    group.finish();
}

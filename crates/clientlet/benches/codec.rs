//! Encodes documents as JSON and decodes them, compared with serde_json on the same data.
//!
//! `cargo bench -p clientlet --bench codec`
#![allow(missing_docs, reason = "criterion's macros make public functions without any")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run must say so")]

use std::hint::black_box;

use bytes::Bytes;
use clientlet::clientlets::{DataRequest, HttpAnswer};
use clientlet::{DocArray, Document, Response, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Serialize;
use serde::de::DeserializeOwned;

mod data;
use data::{Article, articles};

const GENERATIONS: [DocArray; 2] = [DocArray::V1, DocArray::V2];

criterion_group!(benches, encode, decode, envelope, small_documents);
criterion_main!(benches);

fn request<D: Serialize>(docarray: DocArray, documents: &[D]) -> Bytes {
    DataRequest::new(docarray, "/").documents(documents).unwrap().to_bytes()
}

/// Builds an answer from a request, because both have the same form.
fn response(docarray: DocArray, body: &Bytes) -> Response {
    HttpAnswer::from(http::Response::new(body.clone())).response(docarray).unwrap()
}

fn encode(criterion: &mut Criterion) {
    encode_as(criterion, "encode/f32", &articles(|numbers| numbers));
    encode_as(criterion, "encode/f64", &articles(doubles));
    encode_as(criterion, "encode/tensor", &articles(Tensor::from));
}

fn encode_as<E: Serialize>(criterion: &mut Criterion, name: &str, documents: &[Article<E>]) {
    let mut group = criterion.benchmark_group(name);
    for docarray in GENERATIONS {
        let bytes = request(docarray, documents).len();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(docarray.to_string(), |bencher| {
            bencher.iter(|| request(docarray, black_box(documents)));
        });
    }
    group.bench_function("serde_json", |bencher| {
        bencher.iter(|| serde_json::to_vec(black_box(documents)).unwrap());
    });
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let singles = articles(|numbers| numbers);
    decode_as::<Article<Vec<f32>>>(criterion, "decode/f32", &singles);
    decode_as::<Article<Vec<f64>>>(criterion, "decode/f64", &articles(doubles));
    decode_as::<Article<Tensor>>(criterion, "decode/tensor", &singles);
    decode_as::<Document>(criterion, "decode/document", &singles);
}

fn decode_as<T: DeserializeOwned>(
    criterion: &mut Criterion,
    name: &str,
    documents: &[impl Serialize],
) {
    let mut group = criterion.benchmark_group(name);
    for docarray in GENERATIONS {
        let body = request(docarray, documents);
        let response = response(docarray, &body);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(docarray.to_string(), |bencher| {
            bencher.iter(|| black_box(&response).documents::<T>().unwrap());
        });
    }
    let json = serde_json::to_vec(documents).unwrap();
    group.bench_function("serde_json", |bencher| {
        bencher.iter(|| serde_json::from_slice::<Vec<T>>(black_box(&json)).unwrap());
    });
    group.finish();
}

/// Opens an answer without reading its documents.
fn envelope(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("envelope");
    for docarray in GENERATIONS {
        let body = request(docarray, &articles(|numbers| numbers));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(docarray.to_string(), |bencher| {
            bencher.iter(|| response(docarray, black_box(&body)));
        });
    }
    group.finish();
}

/// Documents in which the fields weigh more than the numbers.
fn small_documents(criterion: &mut Criterion) {
    let documents: Vec<Document> =
        (0..data::DOCUMENTS).map(|n| Document::text("hello").with_id(n.to_string())).collect();
    encode_small(criterion, &documents);
    decode_as::<Document>(criterion, "small/decode", &documents);
}

fn encode_small(criterion: &mut Criterion, documents: &[Document]) {
    let mut group = criterion.benchmark_group("small/encode");
    for docarray in GENERATIONS {
        let bytes = request(docarray, documents).len();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(docarray.to_string(), |bencher| {
            bencher.iter(|| request(docarray, black_box(documents)));
        });
    }
    group.bench_function("serde_json", |bencher| {
        bencher.iter(|| serde_json::to_vec(black_box(documents)).unwrap());
    });
    group.finish();
}

/// Returns the same numbers with all the digits of a double.
fn doubles(singles: Vec<f32>) -> Vec<f64> {
    singles.into_iter().map(|n| f64::from(n) * std::f64::consts::FRAC_1_SQRT_2).collect()
}

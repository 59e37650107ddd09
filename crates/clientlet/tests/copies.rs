//! Decoding does not copy the buffers of tensors, and encoding copies them only once. These tests
//! have a binary of their own, because the counting allocator applies to the whole process.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use allocation_counter::measure;
use bytes::Bytes;
use clientlet::clientlets::DataRequest;
use clientlet::{Blob, DocArray, Response, Tensor};
use serde::{Deserialize, Serialize};

const DOCUMENTS: usize = 100;
const DIMENSIONS: usize = 768;
/// The bytes of all tensors.
const BUFFERS: usize = DOCUMENTS * DIMENSIONS * size_of::<f32>();
/// The memory of a document apart from its buffer: its strings, its shape, and its place in the
/// list, which moves when the list grows.
const BESIDE: usize = 640;

#[derive(Deserialize, Serialize)]
struct Embedded {
    id: String,
    embedding: Tensor,
}

#[derive(Deserialize, Serialize)]
struct Image {
    id: String,
    blob: Blob,
}

fn tensor(number: usize) -> Tensor {
    Tensor::from((0..DIMENSIONS).map(|n| (number + n) as f32).collect::<Vec<f32>>())
}

/// Builds an answer from a request, because both have the same form.
fn answer<D: Serialize>(docarray: DocArray, documents: &[D]) -> Response {
    let request = DataRequest::proto(docarray, "/").documents(documents).unwrap();
    Response::from_proto(docarray, &request.to_bytes()).unwrap()
}

/// Returns the number of bytes that were allocated, including bytes that were freed again.
fn taken(work: impl FnOnce()) -> usize {
    usize::try_from(measure(work).bytes_total).unwrap()
}

#[test]
fn decoding_shares_the_buffers_of_tensors_with_the_message() {
    let documents: Vec<_> =
        (0..DOCUMENTS).map(|n| Embedded { id: n.to_string(), embedding: tensor(n) }).collect();
    for docarray in [DocArray::V1, DocArray::V2] {
        let response = answer(docarray, &documents);
        let mut decoded = Vec::new();
        let taken = taken(|| decoded = response.documents::<Embedded>().unwrap());
        assert!(taken <= DOCUMENTS * BESIDE, "{docarray}: {taken} bytes besides {BUFFERS}");
        assert_eq!(decoded.len(), DOCUMENTS);
        assert!(decoded.iter().zip(&documents).all(|(a, b)| a.embedding == b.embedding));
    }
}

#[test]
fn decoding_shares_blobs_with_the_message() {
    let image = |n: usize| Blob::from(vec![n as u8; DIMENSIONS * size_of::<f32>()]);
    let documents: Vec<_> =
        (0..DOCUMENTS).map(|n| Image { id: n.to_string(), blob: image(n) }).collect();
    for docarray in [DocArray::V1, DocArray::V2] {
        let response = answer(docarray, &documents);
        let mut decoded = Vec::new();
        let taken = taken(|| decoded = response.documents::<Image>().unwrap());
        assert!(taken <= DOCUMENTS * BESIDE, "{docarray}: {taken} bytes besides {BUFFERS}");
        assert!(decoded.iter().zip(&documents).all(|(a, b)| a.blob == b.blob));
    }
}

#[test]
fn opening_an_answer_copies_no_documents() {
    let documents: Vec<_> =
        (0..DOCUMENTS).map(|n| Embedded { id: n.to_string(), embedding: tensor(n) }).collect();
    for docarray in [DocArray::V1, DocArray::V2] {
        let request = DataRequest::proto(docarray, "/").documents(&documents).unwrap();
        let message: Bytes = request.to_bytes();
        let taken = taken(|| drop(Response::from_proto(docarray, &message).unwrap()));
        assert!(taken <= 1024, "{docarray}: {taken} bytes besides {BUFFERS}");
    }
}

#[test]
fn this_measurement_notices_a_copy() {
    let taken = taken(|| drop(tensor(0)));
    assert!(taken >= DIMENSIONS * size_of::<f32>());
}

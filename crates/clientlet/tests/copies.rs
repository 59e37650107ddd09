//! Decoding does not copy the buffers of tensors, and encoding copies them once. A binary of its own,
//! since the allocator that counts is the whole process's.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use allocation_counter::measure;
use bytes::Bytes;
use clientlet::clientlets::DataRequest;
use clientlet::{Blob, DocArray, Response, Tensor};
use serde::{Deserialize, Serialize};

const DOCUMENTS: usize = 100;
const DIMENSIONS: usize = 768;
/// Of all tensors together.
const BUFFERS: usize = DOCUMENTS * DIMENSIONS * size_of::<f32>();
/// What a document takes beside them: its strings, its shape, its place in the list, which moves when
/// the list grows.
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

/// A request has the form of an answer.
fn answer<D: Serialize>(docarray: DocArray, documents: &[D]) -> Response {
    let request = DataRequest::proto(docarray, "/").documents(documents).unwrap();
    Response::from_proto(docarray, &request.to_bytes()).unwrap()
}

/// How many bytes were taken in all, whether or not they were given back.
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
        assert!(taken <= DOCUMENTS * BESIDE, "{docarray}: {taken} bytes beside {BUFFERS}");
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
        assert!(taken <= DOCUMENTS * BESIDE, "{docarray}: {taken} bytes beside {BUFFERS}");
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
        assert!(taken <= 1024, "{docarray}: {taken} bytes beside {BUFFERS}");
    }
}

#[test]
fn a_copy_would_be_noticed() {
    let taken = taken(|| drop(tensor(0)));
    assert!(taken >= DIMENSIONS * size_of::<f32>());
}

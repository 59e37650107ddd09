//! The checks of the targets, besides that nothing panics.

pub mod protobuf;
pub mod server;

use bytes::Bytes;
use clientlet::clientlets::{DataRequest, HttpAnswer};
use clientlet::{Blob, DocArray, Document, Error, Response, Tensor};
use serde::Deserialize;

/// A document with a field of each type that has a reader of its own.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(crate) struct Typed {
    _text: String,
    embedding: Vec<f32>,
    blob: Option<Blob>,
    tensor: Option<Tensor>,
}

/// Reads `body` as a successful answer, in every way there is. Documents that can be read and sent
/// again must come back unchanged.
pub fn check_answer(docarray: DocArray, body: &[u8]) {
    match answer(body).response(docarray) {
        Ok(response) => check_response(docarray, &response),
        Err(error) => check_error(&error),
    }
}

/// Checks that the error stays on one line, whatever the gateway put into its answer.
pub fn check_error(error: &Error) {
    let shown = error.to_string();
    assert!(!shown.contains(char::is_control), "{shown:?}");
    let _ = format!("{error:?}");
}

fn answer(body: &[u8]) -> HttpAnswer {
    HttpAnswer::from(http::Response::new(Bytes::copy_from_slice(body)))
}

pub(crate) fn check_response(docarray: DocArray, response: &Response) {
    let _ = format!("{response:?} {:?} {:?}", response.routes(), response.status());
    checked(response.parameters::<clientlet::Value>());
    checked(response.parameters::<serde_json::Value>());
    checked(response.documents::<serde_json::Value>());
    for typed in checked(response.documents::<Typed>()).into_iter().flatten() {
        if let Some(tensor) = typed.tensor {
            assert_eq!(tensor.to_vec::<f64>().len(), tensor.len());
        }
        assert!(typed.blob.is_none_or(|blob| blob.as_ref().len() < 1 << 30));
        assert!(typed.embedding.iter().all(|n| !n.is_nan()));
    }
    if let Some(documents) = checked(response.documents::<Document>()) {
        check_documents(docarray, &documents);
    }
}

/// Checks that documents survive encoding and decoding. A request has the form of an answer, so it can
/// be read back as one.
fn check_documents(docarray: DocArray, documents: &[Document]) {
    match DataRequest::new(docarray, "/").documents(documents) {
        Ok(request) => {
            let back = answer(&request.to_bytes()).response(docarray).expect("our own request");
            let back = back.documents::<Document>().expect("our own documents");
            assert_eq!(back, documents);
        }
        // Some documents can be read and not sent, such as text beside a tensor, or numbers beyond f32.
        Err(error) => check_error(&error),
    }
}

pub(crate) fn checked<T>(result: Result<T, Error>) -> Option<T> {
    result.map_err(|error| check_error(&error)).ok()
}

//! Encoding a call's documents on other threads than the call's.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use crate::discovery::Discovery;
use crate::document::EncodedDocument;
use crate::error::Error;
use crate::message::{DocArray, Encoding};

/// Encodes documents for the gateway of a call, on any thread: see [`Post::encoder`](crate::Post::encoder).
#[derive(Clone)]
pub struct DocumentEncoder {
    discovery: Arc<Discovery>,
    encoding: Encoding,
    /// The length of the last document, a good estimate for the next one.
    last_length: Arc<AtomicUsize>,
}

/// The longest room that is made for a document before its length is known.
const MOST_ROOM: usize = 1 << 20;

impl DocumentEncoder {
    pub(crate) fn new(discovery: Arc<Discovery>, encoding: Encoding) -> DocumentEncoder {
        DocumentEncoder { discovery, encoding, last_length: Arc::default() }
    }

    /// Whether the gateway takes JSON; otherwise it takes protobuf.
    pub fn is_json(&self) -> bool {
        self.encoding == Encoding::Json
    }

    /// Returns the generation of the documents that the gateway takes; `None` as long as the client
    /// is not [set to it](crate::ClientBuilder::docarray) and has not asked the gateway, which a client's first
    /// request does.
    pub fn docarray(&self) -> Option<DocArray> {
        self.discovery.docarray()
    }

    /// Encodes a document as the gateway takes it; `None` as long as that is
    /// [not known](DocumentEncoder::docarray).
    ///
    /// # Errors
    /// [`ErrorKind::Encode`](crate::ErrorKind::Encode), naming the field that the gateway cannot take.
    pub fn encode<T: Serialize + ?Sized>(
        &self,
        document: &T,
    ) -> Option<Result<EncodedDocument, Error>> {
        let last = self.last_length.load(Relaxed);
        let room = (last + last / 8).min(MOST_ROOM);
        let encoded = EncodedDocument::encode(self.docarray()?, self.encoding, document, room);
        if let Ok(encoded) = &encoded {
            self.last_length.store(encoded.as_bytes().len(), Relaxed);
        }
        Some(encoded)
    }
}

impl fmt::Debug for DocumentEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentEncoder")
            .field("docarray", &self.docarray())
            .field("is_json", &self.is_json())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use clientlet_gateway::Gateway;

    use super::*;
    use crate::{Client, Document, ErrorKind};

    #[tokio::test]
    async fn what_the_gateway_takes_is_known_after_the_first_request() {
        let gateway = Gateway::builder().websocket(true).start().await.unwrap();
        for (url, is_json) in [(gateway.http_url(), true), (gateway.websocket_url(), false)] {
            let client = Client::new(&url).unwrap();
            let encoder = client.post("/upper").encoder().unwrap();
            let document = Document::text("a");
            assert!(encoder.docarray().is_none() && encoder.encode(&document).is_none());
            client.post("/upper").document(&document).send().await.into_result().unwrap();
            let encoded = encoder.encode(&document).unwrap().unwrap();
            assert_eq!((encoded.docarray(), encoded.is_json()), (DocArray::V1, is_json));
            let call = client.post("/upper").documents([encoded]);
            let upper: Vec<Document> = call.send().await.documents().unwrap();
            assert_eq!(upper[0].text.as_deref(), Some("A"));
            let refused = encoder.encode(&serde_json::json!({"unknown": 1})).unwrap();
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Encode);
        }
    }
}

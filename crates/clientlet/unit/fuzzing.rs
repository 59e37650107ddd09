//! Entry points of the fuzzer for readers that otherwise only an exchange with a gateway reaches.

use std::fmt::Debug;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::builder::transport;
use crate::clientlets::ClientletOptions;
use crate::connect::Connector;
use crate::connect::memory::Memory;
use crate::document::proto;
use crate::{Client, DocArray, Response};

/// Connects a client to the gateway at the other end of the connections that `dial` makes.
pub fn client<T: AsyncRead + AsyncWrite + Send + Unpin + Debug + 'static>(
    url: &str,
    options: &ClientletOptions,
    dial: impl Fn() -> T + Send + Sync + 'static,
) -> Client {
    let config = options.check(url).expect("the fuzzer's own settings");
    let connector = Connector::over(Memory(dial), config.connect_timeout);
    let transport = transport(connector, &config, false).expect("all protocols are built");
    Client::over(config, transport)
}

/// Reads the paths in an openapi.json that documents can be posted to.
pub fn read_paths(openapi: &[u8]) -> Option<Vec<String>> {
    crate::transport::openapi::OpenApi::read(openapi).ok().map(|openapi| openapi.paths())
}

/// Decompresses content that comes in these pieces, up to a MiB of it, in one of the four codings. Returns
/// `None` if that fails.
pub fn decompress<'a>(coding: u8, pieces: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    use crate::compression::{Coding, Decoder};
    let all = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
    let mut decoder = Decoder::new(all[usize::from(coding) % all.len()]);
    let mut out = bytes::BytesMut::new();
    for piece in pieces {
        decoder.add(Bytes::copy_from_slice(piece));
        while decoder.step(&mut out).ok()? {
            if out.len() > 1 << 20 {
                return None;
            }
        }
    }
    decoder.finish().ok()?;
    Some(out.to_vec())
}

pub use crate::transport::sse::read_events;
pub use crate::transport::websocket::answered_with as read_upgrade;

/// Reads a message of a WebSocket as an answer.
pub fn read_message(docarray: DocArray, frame: &[u8]) -> Option<Response> {
    let frame = Bytes::copy_from_slice(frame);
    crate::envelope::read_proto_answer(docarray, &frame).ok().map(Response::alone)
}

/// Reads the documents of a list in protobuf.
pub fn read_documents<T: DeserializeOwned>(
    docarray: DocArray,
    list: &[u8],
) -> Result<Vec<T>, String> {
    let list = Bytes::copy_from_slice(list);
    proto::decode_documents(docarray, &list).map_err(|error| error.to_string())
}

/// Writes a list of documents in protobuf.
pub fn write_documents<T: Serialize>(
    docarray: DocArray,
    documents: &[T],
) -> Result<Vec<u8>, String> {
    let mut list = Vec::new();
    for document in documents {
        let written = proto::Encoder::new(docarray).document(document, &mut list);
        written.map_err(|error| error.to_string())?;
    }
    Ok(list)
}

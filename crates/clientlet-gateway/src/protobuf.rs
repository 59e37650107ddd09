//! Requests and answers in protobuf, for WebSocket and gRPC. Documents that only pass through the
//! sample executor stay encoded as far as possible.

mod answer;
pub(crate) mod service;
mod shape;
pub(crate) mod single;
mod structs;
mod v1;
mod v2;

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message as _;

pub(crate) use self::answer::Verdict;
use self::shape::{Field, Fields, REQUEST_V1, REQUEST_V2, Wire, varint};
use crate::docarray::DocArray;
use crate::request::Content;
use crate::value::Array;
use crate::world::World;

/// A `jina.DataRequestProto`, the message in both directions.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    /// A Struct, still encoded.
    #[prost(bytes = "bytes", optional, tag = "2")]
    parameters: Option<Bytes>,
    #[prost(message, repeated, tag = "3")]
    routes: Vec<Route>,
    #[prost(message, optional, tag = "4")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(message, optional, tag = "2")]
    status: Option<Status>,
    #[prost(string, optional, tag = "3")]
    exec_endpoint: Option<String>,
    #[prost(string, optional, tag = "4")]
    target_executor: Option<String>,
    #[prost(uint32, optional, tag = "5")]
    timeout: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    /// 0 is success, 1 an error.
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(message, optional, tag = "3")]
    exception: Option<Raised>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Raised {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "2")]
    args: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    stacks: Vec<String>,
    #[prost(string, tag = "4")]
    executor: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Route {
    #[prost(string, tag = "1")]
    executor: String,
    #[prost(message, optional, tag = "2")]
    start_time: Option<Timestamp>,
    #[prost(message, optional, tag = "3")]
    end_time: Option<Timestamp>,
    #[prost(message, optional, tag = "4")]
    status: Option<Status>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Timestamp {
    fn now() -> Self {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Timestamp {
    /// In microseconds, as Python has it.
    fn from(time: SystemTime) -> Self {
        // A clock before 1970 counts as 1970.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: since.as_secs().cast_signed(),
            nanos: (since.subsec_micros() * 1_000).cast_signed(),
        }
    }
}

/// A `jina.DataRequestProto.DataContentProto`, with the documents still encoded.
#[derive(Clone, PartialEq, prost::Message)]
struct Data {
    #[prost(bytes = "bytes", optional, tag = "1")]
    docs: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    docs_bytes: Option<Bytes>,
}

/// What a message carries.
pub(crate) fn content(docarray: DocArray, message: &Bytes) -> Option<Content> {
    let request = Request::read(docarray, message.clone())?;
    let read = match docarray {
        DocArray::V1 => v1::read,
        DocArray::V2 => v2::read,
    };
    let header = request.message.header.as_ref();
    Some(Content {
        documents: request.each_document().map(read).collect(),
        parameters: structs::read(request.message.parameters.as_deref().unwrap_or_default()),
        target_executor: header.and_then(|header| header.target_executor.clone()),
    })
}

/// A request that was read.
#[derive(Debug)]
pub(crate) struct Request {
    docarray: DocArray,
    message: Message,
    began: Timestamp,
}

impl Request {
    /// Reads a request. Returns `None` if the bytes are no such message, documents included.
    pub(crate) fn read(docarray: DocArray, bytes: Bytes) -> Option<Self> {
        let shape = match docarray {
            DocArray::V1 => &REQUEST_V1,
            DocArray::V2 => &REQUEST_V2,
        };
        if bytes.is_empty() || !shape.fits(&bytes) {
            return None;
        }
        let message = Message::decode(bytes).ok()?;
        Some(Self { docarray, message, began: Timestamp::now() })
    }

    /// An answer that has only the id of the request. A real gateway sends it before it ends a gRPC
    /// stream with the status of an outage, and it looks like a success.
    pub(crate) fn bare_answer(&self) -> Bytes {
        let request_id = self.id().unwrap_or_default().to_owned();
        let header = Header { request_id, ..Header::default() };
        Message { header: Some(header), ..Message::default() }.encode_to_vec().into()
    }

    pub(crate) fn id(&self) -> Option<&str> {
        let id = self.message.header.as_ref()?.request_id.as_str();
        Some(id).filter(|id| !id.is_empty())
    }

    /// Gives the request another id, for a fault.
    pub(crate) fn rename(&mut self, id: String) {
        self.message.header.get_or_insert_default().request_id = id;
    }

    /// The endpoint of the request; the empty text if it was left out.
    pub(crate) fn endpoint(&self) -> &str {
        self.message.header.as_ref().and_then(|h| h.exec_endpoint.as_deref()).unwrap_or_default()
    }

    /// Whether it does not run at once.
    pub(crate) fn takes_time(&self, world: &World) -> bool {
        world.takes_time(self.endpoint())
    }

    pub(crate) fn documents(&self) -> usize {
        self.each_document().count()
    }

    /// The ids of the documents that have one.
    pub(crate) fn document_ids(&self) -> Vec<String> {
        let id = match self.docarray {
            DocArray::V1 => v1::id,
            DocArray::V2 => v2::id,
        };
        let ids = self.each_document().filter_map(id);
        ids.map(|id| String::from_utf8_lossy(id).into_owned()).collect()
    }

    fn each_document(&self) -> impl Iterator<Item = &[u8]> {
        let docs = self.message.data.as_ref().and_then(|data| data.docs.as_deref());
        documents(docs.unwrap_or_default())
    }
}

/// The documents of a `DocumentArrayProto` or `DocListProto`.
fn documents(docs: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_document = |field: &Field<'_>| field.number == 1 && field.wire == Wire::Bytes;
    Fields::new(docs).filter(is_document).map(|field| field.content)
}

/// A `DenseNdArrayProto`.
fn read_dense(dense: &[u8]) -> Array {
    let (mut dtype, mut shape, mut buffer) = (String::new(), Vec::new(), Bytes::new());
    for field in Fields::new(dense) {
        match field.number {
            1 => buffer = Bytes::copy_from_slice(field.content),
            // The dimensions are packed or one by one.
            2 => {
                let mut rest = field.content;
                while let Some((dimension, after)) = varint(rest) {
                    shape.push(usize::try_from(dimension).unwrap_or_default());
                    rest = after;
                }
            }
            3 => dtype = String::from_utf8_lossy(field.content).into_owned(),
            _ => {}
        }
    }
    Array { dtype, shape, buffer }
}

fn write_dense(array: &Array) -> Vec<u8> {
    let mut dense = Vec::with_capacity(array.buffer.len() + 32);
    write_bytes(&mut dense, 1, &array.buffer);
    let mut shape = Vec::new();
    for &dimension in &array.shape {
        prost::encoding::encode_varint(dimension as u64, &mut shape);
    }
    write_bytes(&mut dense, 2, &shape);
    write_bytes(&mut dense, 3, array.dtype.as_bytes());
    dense
}

/// Appends a field that holds bytes.
fn write_bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    write_head(out, number, content.len());
    out.extend_from_slice(content);
}

/// Appends the beginning of a field of `length` bytes.
fn write_head(out: &mut Vec<u8>, number: u32, length: usize) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint(length as u64, out);
}

/// Reads a message as a request and runs every kind of endpoint on its documents. The results can
/// be read again.
#[cfg(fuzzing)]
pub fn answer_message(docarray: DocArray, frame: &[u8]) {
    use crate::sample::Change;

    let Some(request) = Request::read(docarray, Bytes::copy_from_slice(frame)) else { return };
    assert!(request.document_ids().len() <= request.documents());
    structs::read(request.message.parameters.as_deref().unwrap_or_default());
    let Ok(docs) = request.docs() else { return };
    let ids = crate::identity::Ids::new(1);
    for change in [Change::None, Change::Upper, Change::Tag("crud")] {
        let changed = match docarray {
            DocArray::V1 => v1::change(&docs, change, &ids),
            DocArray::V2 => match v2::change(&docs, &crate::schema::ITEM, change, &ids) {
                Ok(changed) => changed,
                Err(_) => continue,
            },
        };
        let data = Some(Data { docs: Some(changed), docs_bytes: None });
        let answer = Message { data, ..Message::default() }.encode_to_vec();
        assert!(Request::read(docarray, answer.into()).is_some(), "{change:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::scramble;
    use crate::identity::Ids;
    use crate::sample::Change;

    /// A request with documents of every kind.
    fn rich(docs: &'static [u8]) -> Vec<u8> {
        let mut parameters = Vec::new();
        structs::write_entry(&mut parameters, "seconds", b"\x11\0\0\0\0\0\0\xf0\x3f");
        Message {
            header: Some(Header { request_id: "r".into(), ..Header::default() }),
            parameters: Some(parameters.into()),
            data: Some(Data { docs: Some(Bytes::from_static(docs)), docs_bytes: None }),
            ..Message::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn broken_requests_are_refused_or_read_but_break_nothing() {
        let ids = Ids::new(1);
        let (mut read, mut refused) = (0, 0);
        for (docarray, docs) in [
            (DocArray::V1, &include_bytes!("protobuf/rich_v1.bin")[..]),
            (DocArray::V2, &include_bytes!("protobuf/rich_v2.bin")[..]),
        ] {
            let whole = rich(docs);
            for seed in 0..20_000 {
                let mut bytes = whole.clone();
                for change in 0..=seed % 3 {
                    let draw = scramble(seed ^ scramble(change)) as usize;
                    let place = draw % bytes.len();
                    bytes[place] = (draw >> 32) as u8;
                }
                if seed % 10 == 0 {
                    bytes.truncate(scramble(seed) as usize % bytes.len());
                }
                let Some(request) = Request::read(docarray, bytes.into()) else {
                    refused += 1;
                    continue;
                };
                read += 1;
                assert!(request.document_ids().len() <= request.documents());
                structs::read(request.message.parameters.as_deref().unwrap_or_default());
                let Ok(docs) = request.docs() else { continue };
                for change in [Change::None, Change::Upper, Change::Tag("crud")] {
                    let changed = match docarray {
                        DocArray::V1 => v1::change(&docs, change, &ids),
                        DocArray::V2 => match v2::change(&docs, &crate::schema::ITEM, change, &ids)
                        {
                            Ok(changed) => changed,
                            Err(_) => continue,
                        },
                    };
                    // What comes out could be read again.
                    let data = Some(Data { docs: Some(changed), docs_bytes: None });
                    let answer = Message { data, ..Message::default() }.encode_to_vec();
                    assert!(Request::read(docarray, answer.into()).is_some(), "{seed}");
                }
            }
        }
        assert!(read > 1_000 && refused > 1_000, "{read} {refused}");
    }
}

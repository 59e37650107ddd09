//! Reading an answer in protobuf, whatever it is, takes no more memory than a stated multiple of it.
//! A binary of its own, since the allocator that counts is the whole process's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::path::Path;

use bytes::{Bytes, BytesMut};
use clientlet::{Client, DocArray, Document, Response, Value};
use clientlet_proto::prost::Message as _;
use clientlet_proto::prost::encoding::{WireType, encode_key, encode_varint};
use clientlet_proto::v1::jina::DataRequestProto;
use futures_util::{SinkExt, StreamExt};
use peak_alloc::PeakAlloc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_websockets::{Message, ServerBuilder};

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// Taking an answer from its connection, the sending side in the same process among it.
const EXCHANGE: usize = 16;
/// Reading documents into `Document` or `Value`: the shortest takes two bytes on the wire, far more
/// than that in memory, and a list that grows is copied.
const DOCUMENTS: usize = 512;
/// What is needed however short the answer is.
const LEAST: usize = 1 << 20;

/// The most memory that was taken since `before`.
fn peak_since(before: usize) -> usize {
    PEAK.peak_usage().saturating_sub(before)
}

/// The most memory that `read` takes beyond what was taken before.
fn peak_of<T>(read: impl FnOnce() -> T) -> usize {
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    let result = read();
    let peak = peak_since(before);
    drop(result);
    peak
}

/// A field that holds bytes.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 16);
    encode_key(number, WireType::LengthDelimited, &mut out);
    encode_varint(content.len() as u64, &mut out);
    out.extend_from_slice(content);
    out
}

/// A gateway that answers every request with the documents that it is told.
async fn gateway() -> (String, watch::Sender<Bytes>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (tell, documents) = watch::channel(Bytes::new());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let documents = documents.clone();
            tokio::spawn(async move {
                let (_, mut socket) = ServerBuilder::new().accept(stream).await.ok()?;
                while let Some(Ok(message)) = socket.next().await {
                    let request = DataRequestProto::decode(&message.as_payload()[..]).ok()?;
                    let id = request.header.unwrap_or_default().request_id;
                    let documents = documents.borrow().clone();
                    let mut answer = BytesMut::from(&field(1, &field(1, id.as_bytes()))[..]);
                    answer.extend_from_slice(&field(4, &field(1, &documents)));
                    socket.send(Message::binary(answer.freeze())).await.ok()?;
                }
                Some(())
            });
        }
    });
    (url, tell)
}

async fn check(client: &Client, tell: &watch::Sender<Bytes>, documents: &Bytes) {
    tell.send_replace(documents.clone());
    let shown =
        || format!("{:?} ({} bytes)", &documents[..documents.len().min(40)], documents.len());
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    let answers = client.post("/").send().await;
    let peak = peak_since(before);
    let most = documents.len() * EXCHANGE + LEAST;
    assert!(peak <= most, "taking {} took {peak} bytes", shown());
    let Some(Ok(response)) = answers.into_iter().next() else { return };
    let most = documents.len() * DOCUMENTS + LEAST;
    for (what, peak) in readings(&response) {
        assert!(peak <= most, "{what} of {} took {peak} bytes", shown());
    }
}

fn readings(response: &Response) -> [(&'static str, usize); 2] {
    [
        ("documents", peak_of(|| response.documents::<Document>())),
        ("values", peak_of(|| response.documents::<Value>())),
    ]
}

/// Documents that take much memory for their length, in either generation.
fn greedy() -> Vec<Vec<u8>> {
    let many = |part: Vec<u8>| part.repeat(50_000);
    let entry =
        |name: &str, node: &[u8]| field(1, &[field(1, name.as_bytes()), field(2, node)].concat());
    let document = |fields: &[u8]| field(1, fields);
    let deep = |number: u32| (0..90).fold(Vec::new(), |inside: Vec<u8>, _| field(number, &inside));
    // A tensor of booleans in rows of one.
    let shape = [0x10, 0xd0, 0x86, 0x03, 0x10, 0x01];
    let dense = [field(1, &[1; 50_000]), shape.to_vec(), field(3, b"|b1")].concat();
    vec![
        many(document(&[])),
        document(&many(field(14, &[]))),
        document(&many(field(18, &[]))),
        document(&many(field(17, &field(1, &[])))),
        document(&many(entry("a", &[]))),
        document(&(0..50_000).flat_map(|n| entry(&n.to_string(), &[])).collect::<Vec<_>>()),
        document(&entry("chunks", &field(8, &many(document(&[]))))),
        document(&entry("tags", &field(9, &many(field(1, &[]))))),
        document(&entry("tags", &field(12, &many(entry("", &[]))))),
        document(&entry("tensor", &field(6, &field(1, &dense)))),
        document(&field(3, &field(1, &dense))),
        document(&many(field(3, &[]))),
        document(&deep(14)),
        document(&entry("a", &deep(7))),
    ]
}

#[tokio::test]
async fn no_answer_in_protobuf_takes_more_memory_than_a_multiple_of_itself() {
    let (url, tell) = gateway().await;
    for docarray in [DocArray::V1, DocArray::V2] {
        let client = Client::builder(&url).docarray(docarray).build().unwrap();
        for documents in greedy() {
            check(&client, &tell, &Bytes::from(documents)).await;
        }
        let mut random = fastrand::Rng::with_seed(7);
        for recorded in recorded() {
            check(&client, &tell, &recorded).await;
            for _ in 0..40 {
                let mut bytes = recorded.to_vec();
                for _ in 0..random.usize(1..6) {
                    if bytes.is_empty() {
                        break;
                    }
                    let at = random.usize(..bytes.len());
                    match random.u8(..4) {
                        0 => bytes[at] = random.u8(..),
                        1 => bytes.truncate(at),
                        2 => bytes.insert(at, random.u8(..)),
                        _ => bytes.extend(bytes[at..].to_vec()),
                    }
                }
                check(&client, &tell, &Bytes::from(bytes)).await;
            }
        }
        for _ in 0..200 {
            let length = random.usize(..300);
            let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            check(&client, &tell, &Bytes::from(bytes)).await;
        }
    }
}

/// The documents of the recorded answers.
fn recorded() -> Vec<Bytes> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures");
    let mut recorded = Vec::new();
    for environment in ["seed-era", "current-v1", "current"] {
        for entry in std::fs::read_dir(fixtures.join(environment)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("response_") && name.ends_with(".bin") {
                let frame = std::fs::read(&path).unwrap();
                // The documents of either generation stand at the same place.
                recorded.extend(
                    part(&frame, 4).and_then(|data| part(data, 1)).map(Bytes::copy_from_slice),
                );
            }
        }
    }
    assert!(recorded.len() > 15, "{}", recorded.len());
    recorded
}

/// The last field of this number, of a message in which every field holds bytes.
fn part(message: &[u8], number: u32) -> Option<&[u8]> {
    use clientlet_proto::prost::encoding::{decode_key, decode_varint};
    let mut rest = message;
    let mut found = None;
    while !rest.is_empty() {
        let (field, _) = decode_key(&mut rest).ok()?;
        let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        let (content, behind) = rest.split_at_checked(length)?;
        rest = behind;
        found = if field == number { Some(content) } else { found };
    }
    found
}

//! Reading any protobuf answer takes at most a fixed multiple of its length in memory. These tests
//! have a binary of their own, because the counting allocator applies to the whole process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "search/typed.rs"]
mod typed;

use std::path::Path;

use bytes::{Bytes, BytesMut};
use clientlet::{Client, DocArray, Document, Response, Value};
use clientlet_proto::prost::Message as _;
use clientlet_proto::prost::encoding::{WireType, encode_key, encode_varint};
use clientlet_proto::v1::jina::DataRequestProto;
use futures_util::{SinkExt, StreamExt};
use peak_alloc::PeakAlloc;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_websockets::{Message, ServerBuilder};

use crate::typed::Typed;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// The multiple for receiving an answer. It includes the sending side, which runs in this process.
const EXCHANGE: usize = 16;
/// The multiple for reading documents into `Document` or `Value`. The shortest document takes two
/// bytes on the wire and far more in memory, and a growing list is copied.
const DOCUMENTS: usize = 512;
/// The multiple for opening an answer that was received.
const OPENING: usize = 64;
/// The memory that any answer may take, however short it is.
const LEAST: usize = 1 << 20;

/// Returns the peak memory since `before`.
fn peak_since(before: usize) -> usize {
    PEAK.peak_usage().saturating_sub(before)
}

/// Returns the peak memory of `read`, beyond the memory that was already allocated.
fn peak_of<T>(read: impl FnOnce() -> T) -> usize {
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    let result = read();
    let peak = peak_since(before);
    drop(result);
    peak
}

/// Writes a field that holds bytes.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 16);
    encode_key(number, WireType::LengthDelimited, &mut out);
    encode_varint(content.len() as u64, &mut out);
    out.extend_from_slice(content);
    out
}

/// Starts a gateway that answers every request with the documents that a test gives it.
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

fn readings(response: &Response) -> [(&'static str, usize); 6] {
    [
        ("documents", peak_of(|| response.documents::<Document>())),
        ("values", peak_of(|| response.documents::<Value>())),
        ("own types", peak_of(|| response.documents::<Typed>())),
        ("texts", peak_of(|| response.documents::<Box<RawValue>>())),
        ("parameters", peak_of(|| response.parameters::<Value>())),
        ("routes", peak_of(|| response.routes())),
    ]
}

/// Returns documents of either generation that take much memory for their length.
fn greedy() -> Vec<Vec<u8>> {
    let many = |part: Vec<u8>| part.repeat(50_000);
    let entry =
        |name: &str, node: &[u8]| field(1, &[field(1, name.as_bytes()), field(2, node)].concat());
    let document = |fields: &[u8]| field(1, fields);
    let deep = |number: u32| (0..90).fold(Vec::new(), |inside: Vec<u8>, _| field(number, &inside));
    // A tensor of booleans in rows of one element.
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
    search();
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

const CLIMBS: usize = 16;
const STEPS: usize = 40;

/// Searches for cases that are in no list, by hill climbing from several starting points.
fn search() {
    let mut random = fastrand::Rng::with_seed(11);
    for climb in 0..CLIMBS {
        let docarray = if climb % 2 == 0 { DocArray::V1 } else { DocArray::V2 };
        let mut best = Answer::any(docarray, &mut random);
        let mut most = best.nearness(docarray);
        for _ in 0..STEPS {
            let next = best.changed(docarray, &mut random);
            let much = next.nearness(docarray);
            if much >= most {
                (best, most) = (next, much);
            }
        }
    }
}

/// The kinds of messages, as far as the generator needs them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    DocumentV1,
    DocumentV2,
    Node,
    NodeEntry,
    ListOfNodes,
    ListOfDocuments,
    Score,
    ScoreEntry,
    Struct,
    ValueEntry,
    Value,
    ListOfValues,
    Array,
    Dense,
    Status,
    Exception,
    Route,
    Text,
    Count,
    Double,
    Single,
    Singles,
}

/// The fields of each kind of message.
fn grammar(kind: Kind) -> &'static [(u32, Kind)] {
    use Kind::*;
    match kind {
        DocumentV1 => &[
            (1, Text),
            (2, Text),
            (3, Array),
            (4, Text),
            (5, Count),
            (8, Single),
            (13, Singles),
            (14, DocumentV1),
            (15, DocumentV1),
            (16, Array),
            (17, Struct),
            (18, ScoreEntry),
        ],
        DocumentV2 => &[(1, NodeEntry)],
        NodeEntry => &[(1, Text), (2, Node)],
        Node => &[
            (1, Text),
            (2, Count),
            (3, Double),
            (4, Count),
            (5, Text),
            (6, Array),
            (7, DocumentV2),
            (8, ListOfDocuments),
            (9, ListOfNodes),
            (12, DocumentV2),
        ],
        ListOfNodes => &[(1, Node)],
        ListOfDocuments => &[(1, DocumentV2)],
        Score => &[(1, Single), (2, Text)],
        ScoreEntry => &[(1, Text), (2, Score)],
        Struct => &[(1, ValueEntry)],
        ValueEntry => &[(1, Text), (2, Value)],
        Value => &[(1, Count), (2, Double), (3, Text), (4, Count), (5, Struct), (6, ListOfValues)],
        ListOfValues => &[(1, Value)],
        Array => &[(1, Dense)],
        Status => &[(1, Count), (2, Text), (3, Exception)],
        Exception => &[(1, Text), (2, Text), (3, Text), (4, Text)],
        Route => &[(1, Text), (4, Status)],
        Dense | Text | Count | Double | Single | Singles => &[],
    }
}

/// A message, or the content of a field.
#[derive(Clone, Debug)]
struct Tree {
    kind: Kind,
    fields: Vec<(u32, Tree)>,
    /// The content on the wire, for kinds without fields.
    content: Vec<u8>,
}

impl Tree {
    fn any(kind: Kind, random: &mut fastrand::Rng, depth: usize) -> Tree {
        let known = grammar(kind);
        let few = if depth == 0 || known.is_empty() { 0 } else { random.usize(..3) };
        let field = |random: &mut fastrand::Rng| {
            let (number, kind) = *random.choice(known).unwrap();
            (number, Tree::any(kind, random, depth - 1))
        };
        let fields = (0..few).map(|_| field(random)).collect();
        let content = match kind {
            Kind::Text => vec![b'a'; random.usize(..3)],
            Kind::Count => vec![random.u8(..2)],
            Kind::Double => vec![0; 8],
            Kind::Single => vec![0; 4],
            Kind::Singles => vec![0; 4 * random.usize(..3)],
            Kind::Dense => dense(random),
            _ => Vec::new(),
        };
        Tree { kind, fields, content }
    }

    /// Changes something in this part or below it.
    fn change(&mut self, random: &mut fastrand::Rng, depth: usize) {
        let below = depth.saturating_sub(1);
        if !self.fields.is_empty() && random.u8(..4) > 0 {
            let at = random.usize(..self.fields.len());
            match random.u8(..6) {
                0 => drop(self.fields.remove(at)),
                1 => self.fields.push(self.fields[at].clone()),
                _ => self.fields[at].1.change(random, below),
            }
            return;
        }
        *self = Tree::any(self.kind, random, depth);
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.content.clone();
        for (number, tree) in &self.fields {
            let content = tree.bytes();
            let wire = match tree.kind {
                Kind::Count => WireType::Varint,
                Kind::Double => WireType::SixtyFourBit,
                Kind::Single => WireType::ThirtyTwoBit,
                _ => WireType::LengthDelimited,
            };
            encode_key(*number, wire, &mut out);
            if wire == WireType::LengthDelimited {
                encode_varint(content.len() as u64, &mut out);
            }
            out.extend_from_slice(&content);
        }
        out
    }
}

/// Writes an array whose shape fits its elements, which are few or none.
fn dense(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut elements = 1_u64;
    let mut shape = Vec::new();
    for _ in 0..random.usize(..8) {
        let dimension = *random.choice(&[0, 1, 1, 2, 16, 255, 4096]).unwrap();
        if elements * dimension <= 300 || elements == 0 {
            elements *= dimension;
            encode_varint(dimension, &mut shape);
        }
    }
    // Many dimensions of size 1 become many lists.
    shape.extend(std::iter::repeat_n(1, if random.bool() { 0 } else { random.usize(..50) }));
    let buffer = vec![1; usize::try_from(elements).unwrap()];
    [field(1, &buffer), field(2, &shape), field(3, b"|u1")].concat()
}

/// An answer that repeats one part, because many small parts take the most memory for their size.
#[derive(Clone, Debug)]
struct Answer {
    around: usize,
    part: Tree,
    power: u32,
}

/// The places for a part: its kind, and the numbers of the fields around it, the innermost last.
const AROUND_V1: &[(Kind, &[u32])] = &[
    (Kind::DocumentV1, &[4, 1, 1]),
    (Kind::DocumentV1, &[4, 1, 1, 14]),
    (Kind::ScoreEntry, &[4, 1, 1, 18]),
    (Kind::ValueEntry, &[4, 1, 1, 17, 1]),
    (Kind::ValueEntry, &[2, 1]),
    (Kind::Route, &[3]),
    (Kind::Text, &[3, 4, 3, 3]),
];
const AROUND_V2: &[(Kind, &[u32])] = &[
    (Kind::DocumentV2, &[4, 1, 1]),
    (Kind::NodeEntry, &[4, 1, 1, 1]),
    (Kind::Node, &[4, 1, 1, 1, 2, 9, 1]),
    (Kind::DocumentV2, &[4, 1, 1, 1, 2, 8, 1]),
    (Kind::NodeEntry, &[4, 1, 1, 1, 2, 12, 1]),
    (Kind::ValueEntry, &[2, 1]),
];

fn around(docarray: DocArray) -> &'static [(Kind, &'static [u32])] {
    if docarray == DocArray::V1 { AROUND_V1 } else { AROUND_V2 }
}

impl Answer {
    fn any(docarray: DocArray, random: &mut fastrand::Rng) -> Answer {
        let places = around(docarray);
        let around = random.usize(..places.len());
        let part = Tree::any(places[around].0, random, 5);
        Answer { around, part, power: random.u32(6..14) }
    }

    fn changed(&self, docarray: DocArray, random: &mut fastrand::Rng) -> Answer {
        let mut next = self.clone();
        match random.u8(..10) {
            0 => return Answer::any(docarray, random),
            1 => next.power = random.u32(6..14),
            _ => next.part.change(random, 5),
        }
        next
    }

    fn bytes(&self, docarray: DocArray) -> Bytes {
        let (_, numbers) = around(docarray)[self.around];
        let [outer @ .., last] = numbers else { panic!("a part is somewhere") };
        let part = field(*last, &self.part.bytes());
        // A growing list takes the most memory just beyond a power of two.
        let count = ((1_usize << self.power) + 1).min(1 + (32 << 10) / part.len());
        let parts = part.repeat(count);
        outer.iter().rev().fold(parts, |inside, number| field(*number, &inside)).into()
    }

    /// Returns how near the answer comes to the limit, in thousandths. The answer must not exceed
    /// the limit.
    fn nearness(&self, docarray: DocArray) -> usize {
        let bytes = self.bytes(docarray);
        let most = bytes.len() * OPENING + LEAST;
        let opening = peak_of(|| Response::from_proto(docarray, &bytes));
        assert!(opening <= most, "opening {self:?} ({} bytes) took {opening}", bytes.len());
        let Ok(response) = Response::from_proto(docarray, &bytes) else { return 0 };
        let most = bytes.len() * DOCUMENTS + LEAST;
        let mut nearest = 0;
        for (what, peak) in readings(&response) {
            assert!(peak <= most, "{what} of {self:?} ({} bytes) took {peak}", bytes.len());
            nearest = nearest.max(peak * 1000 / most);
        }
        nearest
    }
}

/// Returns the documents of the recorded answers.
fn recorded() -> Vec<Bytes> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures");
    let mut recorded = Vec::new();
    for environment in ["seed-era", "current-v1", "current"] {
        for entry in std::fs::read_dir(fixtures.join(environment)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("response_") && name.ends_with(".bin") {
                let frame = std::fs::read(&path).unwrap();
                // Both generations have the documents in the same field.
                recorded.extend(
                    part(&frame, 4).and_then(|data| part(data, 1)).map(Bytes::copy_from_slice),
                );
            }
        }
    }
    assert!(recorded.len() > 15, "{}", recorded.len());
    recorded
}

/// Returns the last field with this number in a message whose fields all hold bytes.
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

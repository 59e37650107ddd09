//! The answers of discovery, and streams of documents, take at most a fixed multiple of their
//! length in memory, whatever the gateway sends. These tests have a binary of their own, because
//! the counting allocator applies to the whole process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "search/json.rs"]
mod json;
#[path = "search/typed.rs"]
mod typed;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use clientlet::{Client, DocArray, Document, Value};
use clientlet_proto::prost::encoding::{WireType, encode_key, encode_varint};
use http::{HeaderMap, Response};
use peak_alloc::PeakAlloc;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::json::Climb;
use crate::typed::Typed;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// The multiple for reading a list of endpoints, or the events of a stream.
const OPENING: usize = 64;
/// The multiple for reading a stream's documents.
const DOCUMENTS: usize = 512;
/// The memory that any answer may take. It includes the sending side, which runs in this process.
const LEAST: usize = 1 << 20;

const CLIMBS: usize = 4;
const STEPS: usize = 30;

/// The number of documents that were read. A search that only produced errors would find nothing.
static GIVEN: AtomicU64 = AtomicU64::new(0);

/// Servers over HTTP and gRPC that answer with the bytes that a test gives them, and hide their
/// status.
struct Servers {
    http: Client,
    grpc: Client,
    told: Arc<watch::Sender<Bytes>>,
}

impl Servers {
    async fn start() -> Servers {
        let told = Arc::new(watch::Sender::new(Bytes::new()));
        let mut urls = Vec::new();
        for is_grpc in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.push(listener.local_addr().unwrap());
            let told = told.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    match is_grpc {
                        true => drop(tokio::spawn(serve_grpc(stream, told.clone()))),
                        false => drop(tokio::spawn(serve_http(stream, told.clone()))),
                    }
                }
            });
        }
        let client = |url: String| Client::builder(&url).docarray(DocArray::V2).build().unwrap();
        let http = client(format!("http://{}", urls[0]));
        Servers { http, grpc: client(format!("grpc://{}", urls[1])), told }
    }

    fn tell(&self, answer: &Bytes) {
        self.told.send_replace(answer.clone());
    }
}

async fn serve_http(mut stream: TcpStream, told: Arc<watch::Sender<Bytes>>) -> Option<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let text = String::from_utf8_lossy(&head).to_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let mut request = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut request).await.ok()?;
        let (status, kind, body) = match text.split([' ', '?']).nth(1)? {
            "/openapi.json" => ("200 OK", "application/json", told.borrow().clone()),
            "/stream" => ("200 OK", "text/event-stream", told.borrow().clone()),
            _ => ("404 Not Found", "text/plain", Bytes::new()),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.write_all(&body).await.ok()?;
        head.clear();
    }
}

async fn serve_grpc(stream: TcpStream, told: Arc<watch::Sender<Bytes>>) -> Option<()> {
    let mut connection = h2::server::handshake(stream).await.ok()?;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        // A document of a stream cannot be a list of endpoints.
        let is_document = told.borrow().first() == Some(&DOCUMENT_TAG);
        let is_told = match request.uri().path().rsplit('/').next() {
            Some("endpoint_discovery") => !is_document,
            name => name != Some("_status"),
        };
        let head = Response::builder().header("content-type", "application/grpc").body(());
        let mut answer = respond.send_response(head.unwrap(), false).ok()?;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", if is_told { "0" } else { "12" }.parse().unwrap());
        if is_told {
            let message = told.borrow().clone();
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            answer.send_data([&[0][..], &length].concat().into(), false).ok()?;
            answer.send_data(message, false).ok()?;
        }
        answer.send_trailers(trailers).ok()?;
    }
    Some(())
}

/// The tag of the document in an answer of `stream_doc`.
const DOCUMENT_TAG: u8 = 4 << 3 | 2;

/// Returns how near the memory of `read` comes to the limit, in thousandths. It must not exceed the
/// limit.
async fn nearness<T>(answer: &Bytes, times: usize, read: impl Future<Output = T>) -> usize {
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    read.await;
    let peak = PEAK.peak_usage().saturating_sub(before);
    let most = answer.len() * times + LEAST;
    let shown = || String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
    assert!(peak <= most, "{peak} bytes for {} of {:?}", answer.len(), shown());
    peak * 1000 / most
}

async fn stream<T: DeserializeOwned>(client: &Client) {
    let mut documents = client.stream_document("/stream", &Document::text("x")).stream::<T>();
    while let Some(Ok(_)) = documents.next().await {}
    GIVEN.fetch_add(documents.documents_given(), Ordering::Relaxed);
}

const KEYS: &[&str] = &[
    "",
    "a",
    "paths",
    "components",
    "schemas",
    "post",
    "get",
    "requestBody",
    "content",
    "application/json",
    "schema",
    "$ref",
    "PydanticDocument",
    "properties",
    "granularity",
    "chunks",
];
const DESCRIPTIONS: &[&str] = &[
    r#"{"paths":{#}}"#,
    r#"{"paths":{"/a":{#}}}"#,
    r#"{"paths":{"/a":{"post":{#}}}}"#,
    r#"{"paths":{"/a":{"get":{"requestBody":[@]}}}}"#,
    r#"{"paths":{"/a":{"post":{"requestBody":{"content":{#}}}}}}"#,
    r#"{"paths":{},"components":{"schemas":{#}}}"#,
    r#"{"paths":{},"components":{"schemas":{"PydanticDocument":{"properties":{#}}}}}"#,
    r#"{"paths":{},"components":{"schemas":{"PydanticDocument":[@]}}}"#,
    r#"{"paths":{},"x":[@]}"#,
];

// There is only one test, because another test at the same time would allocate memory, too.
#[tokio::test]
async fn answers_of_discovery_and_streams_take_at_most_a_multiple_of_their_length_in_memory() {
    let servers = Servers::start().await;
    search_lists(&servers).await;
    search_streams(&servers).await;
}

async fn search_lists(servers: &Servers) {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..CLIMBS {
        let mut climb = Climb::new(DESCRIPTIONS, KEYS, &mut random);
        for _ in 0..STEPS {
            let page = climb.bytes();
            servers.tell(&page);
            let nearness = nearness(&page, OPENING, servers.http.endpoints()).await;
            climb.measured(nearness, &mut random);
        }
    }
    for _ in 0..CLIMBS {
        let mut best = Fields::any(&mut random);
        let mut most = 0;
        for _ in 0..STEPS {
            let next = best.changed(&mut random);
            let message = next.message();
            servers.tell(&message);
            let much = nearness(&message, OPENING, servers.grpc.endpoints()).await;
            if much >= most {
                (best, most) = (next, much);
            }
        }
    }
}

const EVENTS: &[&str] = &[r#"{"data":[@]}"#, r#"{"tags":{#}}"#, r#"{"chunks":[@]}"#, r#"[@]"#];
const FIELDS: &[&str] = &["", "a", "text", "chunks", "tags", "data", "embedding", "tensor"];
/// The text around the data of an event; `@` is the data.
const FRAMES: [&str; 6] = [
    "event: update\ndata: @\n\n",
    "data: @\ndata:\nevent: update\n\n",
    "event: @\ndata: @\n\n",
    ": @\nevent: update\ndata: @\n\n",
    "id: @\nevent: update\ndata: 0\n\n",
    "@: @\n\n",
];
/// Lines of which a parser may keep some bytes.
const LINES: [&str; 7] =
    ["data:\n", "data\n", ":\n", "\n", "event: update\ndata: 0\n\n", "id:1\n", "event:a\n"];

async fn search_streams(servers: &Servers) {
    let mut random = fastrand::Rng::with_seed(4);
    // The endpoint would have to be listed if it gave no document.
    for _ in 0..CLIMBS {
        let mut climb = Climb::new(EVENTS, FIELDS, &mut random);
        for step in 0..STEPS {
            let data = String::from_utf8(climb.bytes().to_vec()).unwrap();
            let frame = FRAMES[step % FRAMES.len()].replace('@', &data);
            let body = Bytes::from(frame + "event: end\n\n");
            servers.tell(&body);
            let mut much = nearness(&body, DOCUMENTS, stream::<Document>(&servers.http)).await;
            much = much.max(nearness(&body, DOCUMENTS, stream::<Value>(&servers.http)).await);
            much = much.max(nearness(&body, DOCUMENTS, stream::<Typed>(&servers.http)).await);
            climb.measured(much, &mut random);
        }
    }
    assert!(GIVEN.swap(0, Ordering::Relaxed) > 0, "no document was read over HTTP");
    for _ in 0..CLIMBS {
        let mut best = Fields::any(&mut random);
        let mut most = 0;
        for _ in 0..STEPS {
            let next = best.changed(&mut random);
            let document = next.message();
            let mut message = vec![DOCUMENT_TAG];
            encode_varint(document.len() as u64, &mut message);
            message.extend_from_slice(&document);
            let message = Bytes::from(message);
            servers.tell(&message);
            let mut much = nearness(&message, DOCUMENTS, stream::<Document>(&servers.grpc)).await;
            much = much.max(nearness(&message, DOCUMENTS, stream::<Value>(&servers.grpc)).await);
            if much >= most {
                (best, most) = (next, much);
            }
        }
    }
    let given = GIVEN.swap(0, Ordering::Relaxed);
    assert!(given > 0, "no document was read over gRPC");
    for line in LINES {
        for count in [1 << 10, (1 << 13) + 1] {
            for end in ["", "\n", "event: update\n\n"] {
                let body = Bytes::from(format!("event: update\n{}{end}", line.repeat(count)));
                servers.tell(&body);
                // Only the events are measured, because their documents are not kept.
                let read = stream::<serde::de::IgnoredAny>(&servers.http);
                nearness(&body, OPENING, read).await;
            }
        }
    }
}

/// A protobuf message without a schema: fields with a few numbers, nested and repeated.
#[derive(Clone)]
struct Fields {
    part: Vec<(u32, Fields)>,
    power: u32,
}

/// The fields of lists of endpoints, of a Struct's entries and values, and of documents.
const NUMBERS: &[u32] = &[1, 1, 1, 2, 2, 2, 3, 5, 6, 7, 8, 9, 12];

impl Fields {
    fn any(random: &mut fastrand::Rng) -> Fields {
        Fields { part: Fields::parts(random, 7), power: random.u32(6..14) }
    }

    fn parts(random: &mut fastrand::Rng, depth: usize) -> Vec<(u32, Fields)> {
        let few = if depth == 0 { 0 } else { random.usize(..3) };
        let field = |random: &mut fastrand::Rng| {
            let number = *random.choice(NUMBERS).unwrap();
            (number, Fields { part: Fields::parts(random, depth - 1), power: 0 })
        };
        (0..few).map(|_| field(random)).collect()
    }

    fn changed(&self, random: &mut fastrand::Rng) -> Fields {
        let mut next = self.clone();
        match random.u8(..8) {
            0 => return Fields::any(random),
            1 => next.power = random.u32(6..14),
            _ => next.change(random, 7),
        }
        next
    }

    fn change(&mut self, random: &mut fastrand::Rng, depth: usize) {
        if !self.part.is_empty() && random.u8(..4) > 0 {
            let at = random.usize(..self.part.len());
            return self.part[at].1.change(random, depth.saturating_sub(1));
        }
        self.part = Fields::parts(random, depth);
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, fields) in &self.part {
            let content = fields.bytes();
            encode_key(*number, WireType::LengthDelimited, &mut out);
            encode_varint(content.len() as u64, &mut out);
            out.extend_from_slice(&content);
        }
        out
    }

    /// Builds a message that repeats this part in one of the places of a list of endpoints.
    fn message(&self) -> Bytes {
        let part = self.bytes();
        let count = ((1_usize << self.power) + 1).min(1 + (32 << 10) / part.len().max(1));
        part.repeat(count).into()
    }
}

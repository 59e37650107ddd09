//! Compressed answers take memory in proportion to the limit, whatever they are when they are decompressed. These
//! tests have a binary of their own, because the counting allocator applies to the whole process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[allow(dead_code, reason = "other tests use the rest")]
mod codings;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use clientlet::{Client, ClientBuilder, DocArray as Docs, Document, Error, ErrorKind};
use clientlet_gateway::{DocArray, Gateway};
use peak_alloc::PeakAlloc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
const LIMIT: usize = MIB;
/// The size of a bomb without its compression.
const LARGE: usize = 128 * MIB;
/// The part of an answer that has come, twice while its buffer grows, and what else a request takes.
const AROUND: usize = 4 * LIMIT;
/// The window of br, up to 22 bits here, is copied when it grows.
const WINDOW: usize = 10 * MIB;

/// A body that is sent as it is, and then again and again.
#[derive(Clone)]
struct Body {
    kind: &'static str,
    coding: &'static str,
    begin: Bytes,
    again: Bytes,
}

impl Body {
    fn whole(way: &'static str, bytes: Vec<u8>) -> Body {
        let (begin, again) = (bytes.into(), Bytes::new());
        Body { kind: "application/json", coding: codings::coding(way), begin, again }
    }
}

/// Answers each request with the body, and counts the bytes of it that were taken.
async fn serve(body: Body) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::<AtomicUsize>::default();
    let count = taken.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            if request.starts_with(b"GET /openapi.json") {
                let none =
                    b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                let _ = socket.write_all(none).await;
                continue;
            }
            let Body { kind, coding, begin, again } = &body;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: {coding}\r\nconnection: close\r\n\r\n"
            );
            let _ = socket.write_all(&[head.as_bytes(), begin].concat()).await;
            count.fetch_add(begin.len(), Ordering::Relaxed);
            while !again.is_empty() && socket.write_all(again).await.is_ok() {
                count.fetch_add(again.len(), Ordering::Relaxed);
            }
        }
    });
    (url, taken)
}

fn client(url: &str) -> ClientBuilder {
    Client::builder(url).docarray(Docs::V1).answer_limit(LIMIT)
}

async fn post(client: &Client) -> Error {
    let document = Document::text("a");
    client.post("/upper").document(&document).send().await.into_result().unwrap_err()
}

/// The peak of the memory that the call takes beyond what was taken before: by Rust's allocator, and of the
/// whole process if the system tells, as zstd takes its memory from C.
async fn peak_of(call: impl AsyncFnOnce() -> Error) -> (Error, usize, Option<usize>) {
    // This resets the peak that the system keeps.
    let resident = fs::write("/proc/self/clear_refs", "5").ok().and_then(|()| resident());
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    let error = call().await;
    let peak = PEAK.peak_usage().saturating_sub(before);
    let now = self::resident();
    (error, peak, resident.and_then(|resident| Some(now?.saturating_sub(resident))))
}

/// The peak of the process's resident memory, in bytes.
fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()? << 10)
}

#[tokio::test]
async fn compressed_answers_take_memory_in_proportion_to_the_limit() {
    bombs().await;
    bombs_over_grpc().await;
    events_without_an_end().await;
    blocks_without_content().await;
    large_windows().await;
}

async fn bombs() {
    let zeros = vec![b' '; LARGE];
    for (way, _) in codings::all() {
        let (url, _) = serve(Body::whole(way, codings::compressed(way, &zeros))).await;
        let client = client(&url).build().unwrap();
        let (error, peak, resident) = peak_of(async || post(&client).await).await;
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{way}: {error}");
        let most = AROUND + if way == "br" { WINDOW } else { 0 };
        assert!(peak <= most, "{way}: {peak}");
        assert!(resident.is_none_or(|resident| resident <= AROUND + WINDOW), "{way}: {resident:?}");
    }
}

async fn bombs_over_grpc() {
    for is_unary in [false, true] {
        let builder = Gateway::builder().docarray(DocArray::V1).http(false).grpc(true);
        let fault = format!("bomb:{LARGE}@1");
        let gateway = builder.fault(fault.parse().unwrap()).start().await.unwrap();
        let client = client(&gateway.grpc_url()).unary(is_unary).build().unwrap();
        let (error, peak, _) = peak_of(async || post(&client).await).await;
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        // The gateway makes the bomb of pieces of 1 MiB.
        assert!(peak <= AROUND + 4 * MIB, "{peak}");
    }
}

/// Comments, which are no events, without an end.
async fn events_without_an_end() {
    let block = |bytes: &[u8]| {
        // A part that may be repeated: it ends at a byte and refers to nothing before it.
        let mut encoder = flate2::Compress::new(flate2::Compression::best(), false);
        let mut block = Vec::with_capacity(bytes.len());
        encoder.compress_vec(bytes, &mut block, flate2::FlushCompress::Full).unwrap();
        Bytes::from(block)
    };
    let again = block(&[&b":"[..], &[b'x'; 100_000], b"\n"].concat());
    let body = Body { kind: "text/event-stream", coding: "deflate", begin: Bytes::new(), again };
    let (url, taken) = serve(body).await;
    let client = client(&url).docarray(Docs::V2).build().unwrap();
    let document = Document::text("a");
    let call = async || {
        let mut documents = client.stream_document("/stream", &document).stream::<Document>();
        documents.next().await.unwrap().unwrap_err()
    };
    let (error, peak, _) = peak_of(call).await;
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(peak <= AROUND, "{peak}");
    // The sockets' buffers hold the rest.
    assert!(taken.load(Ordering::Relaxed) <= 16 * MIB, "{taken:?}");
}

/// Blocks that give nothing, without an end.
async fn blocks_without_content() {
    let gzip = codings::compressed("gzip", b"");
    let skip = [0x50, 0x2a, 0x4d, 0x18, 255, 255, 255, 255];
    for (coding, begin, block) in [
        ("gzip", &gzip[..10], &[0, 0, 0, 0xff, 0xff][..]),
        ("gzip", &[], &gzip),
        ("deflate", &[], &[0, 0, 0, 0xff, 0xff]),
        ("br", &[0x0c], &[0x06]),
        ("zstd", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0], &[0, 0, 0]),
        ("zstd", &skip, &[0; 16]),
    ] {
        let (begin, again) = (Bytes::copy_from_slice(begin), block.repeat(1000).into());
        let body = Body { kind: "application/json", coding, begin, again };
        let (url, taken) = serve(body).await;
        let client = client(&url).build().unwrap();
        let (error, peak, _) = peak_of(async || post(&client).await).await;
        assert_eq!(error.kind(), ErrorKind::Decode, "{coding}: {error}");
        let told = format!("its {coding} data are much longer than what they give");
        assert!(error.message().ends_with(&told), "{error}");
        assert!(peak <= AROUND, "{coding}: {peak}");
        // The sockets' buffers hold the rest.
        assert!(taken.load(Ordering::Relaxed) <= 16 * MIB, "{coding}: {taken:?}");
    }
}

/// Short content that asks for the largest window there is.
async fn large_windows() {
    let params = BrotliEncoderParams { lgwin: 24, ..BrotliEncoderParams::default() };
    let mut br = Vec::new();
    brotli::BrotliCompress(&mut &b"{}"[..], &mut br, &params).unwrap();
    // A window of 128 MiB, and a block that says that another one follows.
    let zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 0x10, 0, 0, b'{', b'}'];
    for (way, body, kind) in [("br", br, ErrorKind::Decode), ("zstd", zstd, ErrorKind::Decode)] {
        let (url, _) = serve(Body::whole(way, body)).await;
        let client = client(&url).build().unwrap();
        let (error, peak, resident) = peak_of(async || post(&client).await).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(way != "zstd" || error.message().contains("too much memory"), "{error}");
        assert!(peak <= 17 * MIB + AROUND, "{way}: {peak}");
        assert!(
            resident.is_none_or(|resident| resident <= 17 * MIB + AROUND),
            "{way}: {resident:?}"
        );
    }
}

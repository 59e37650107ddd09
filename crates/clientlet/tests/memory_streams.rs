//! A longer stream of documents takes no more memory. This test has a binary of its own, because
//! the counting allocator applies to the whole process, including the embedded gateway.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use clientlet::{Client, Document};
use clientlet_gateway::{DocArray, Gateway, StreamScript};
use peak_alloc::PeakAlloc;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

const SHORT: u64 = 100_000;
const LONG: u64 = 500_000;
/// The allowed difference between runs: the part of a full HTTP/2 window that is waiting. It is 1
/// MiB of small frames, which take several times as much memory. The limit would still reveal 16
/// bytes kept for each document.
const SPREAD: usize = 6 << 20;

/// Returns the peak memory while `documents` come from this URL.
async fn peak_of(url: &str, endpoint: &str, documents: u64) -> usize {
    let client = Client::new(url).unwrap();
    PEAK.reset_peak_usage();
    let mut given = client.stream_document(endpoint, &Document::text("hey")).stream::<Document>();
    while let Some(document) = given.next().await {
        document.unwrap();
    }
    assert_eq!(given.documents_given(), documents);
    PEAK.peak_usage()
}

#[tokio::test]
async fn five_times_the_documents_take_no_more_memory() {
    let gateway = Gateway::builder()
        .docarray(DocArray::V2)
        .grpc(true)
        .journal(false)
        .stream_endpoint("/short", StreamScript::new(SHORT))
        .stream_endpoint("/long", StreamScript::new(LONG));
    let gateway = gateway.start().await.unwrap();
    for url in [gateway.http_url(), gateway.grpc_url()] {
        let short = peak_of(&url, "/short", SHORT).await;
        let long = peak_of(&url, "/long", LONG).await;
        println!("{url}: {short} bytes for {SHORT} documents, {long} for {LONG}");
        assert!(long <= short + SPREAD, "{url}: {short} bytes, then {long}");
    }
}

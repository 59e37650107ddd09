//! What is compressed badly is an error that says so, and a success only if nothing is lost.

use clientlet::{Delivery, ErrorKind};
use clientlet_gateway::{Compression, DocArray, Gateway};

use super::{client, codings, events, post};

/// A change to a compressed answer.
type Change = fn(Vec<u8>) -> Vec<u8>;

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 2);
    bytes
}

fn with_more(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(b"<!-- more -->");
    bytes
}

/// In the checksum of gzip, zlib and zstd.
fn with_another_sum(mut bytes: Vec<u8>) -> Vec<u8> {
    let last = bytes.len() - 1;
    let at = if bytes.starts_with(b"\x1f\x8b") { last - 7 } else { last };
    bytes[at] ^= 0x80;
    bytes
}

fn in_the_middle(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xff);
    bytes
}

const CHANGES: [(Change, &str); 4] = [
    (cut, " data end too early"),
    (with_more, " data cannot be decompressed: "),
    (with_another_sum, " data cannot be decompressed: "),
    // Bits that are all set may still be valid, as far as they go.
    (in_the_middle, " data "),
];

#[tokio::test]
async fn damaged_answers_are_errors_after_which_an_executor_may_have_run() {
    events::watch();
    for (way, _) in codings::all() {
        for (index, (change, told)) in CHANGES.into_iter().enumerate() {
            if index == 2 && matches!(way, "br" | "bare deflate") {
                // These have no checksum.
                continue;
            }
            let compression = codings::damaged(way, change);
            let builder = Gateway::builder().docarray(DocArray::V1).compress(compression);
            let gateway = builder.start().await.unwrap();
            let url = gateway.http_url();
            let client = client(&url).docarray(clientlet::DocArray::V1).build().unwrap();
            let error = post(&client, "a").await.unwrap_err();
            let what = format!("{way}, change {index}: {error}");
            assert_eq!(
                (error.kind(), error.delivery()),
                (ErrorKind::Decode, Delivery::Answered),
                "{what}"
            );
            assert!(error.may_have_run(), "{what}");
            assert!(error.message().contains(told), "{what}");
            assert_eq!(error.http_status().unwrap(), 200, "{what}");
            assert_eq!(gateway.journal().len(), 1, "{what}");
        }
    }
}

#[tokio::test]
async fn a_status_that_is_an_error_counts_although_its_body_cannot_be_read() {
    for (way, _) in codings::all() {
        for (change, _) in CHANGES {
            let builder = Gateway::builder().docarray(DocArray::V1);
            let builder = builder.fault("status:503@1".parse().unwrap());
            let gateway = builder.compress(codings::damaged(way, change)).start().await.unwrap();
            let url = gateway.http_url();
            let client = client(&url).docarray(clientlet::DocArray::V1).build().unwrap();
            let error = post(&client, "a").await.unwrap_err();
            assert_eq!(
                (error.kind(), error.http_status().unwrap().as_u16()),
                (ErrorKind::Gateway, 503)
            );
        }
    }
}

#[tokio::test]
async fn an_answer_in_several_members_or_frames_is_whole() {
    for way in ["gzip", "zstd"] {
        let compression = Compression::new(way, move |bytes| {
            let parts = bytes.chunks(7).map(|part| codings::compressed(way, part));
            parts.collect::<Vec<_>>().concat()
        });
        let builder = Gateway::builder().docarray(DocArray::V1).compress(compression);
        let gateway = builder.start().await.unwrap();
        let client = client(&gateway.http_url()).build().unwrap();
        assert_eq!(post(&client, "abc").await.unwrap(), "ABC");
    }
}

#[tokio::test]
async fn damaged_messages_over_grpc_are_errors() {
    events::watch();
    for (index, (change, told)) in CHANGES.into_iter().enumerate() {
        let compression = codings::damaged("gzip", change);
        let builder = Gateway::builder().docarray(DocArray::V1).http(false).grpc(true);
        let gateway = builder.compress(compression).start().await.unwrap();
        for is_unary in [false, true] {
            let url = gateway.grpc_url();
            let client = client(&url).docarray(clientlet::DocArray::V1).unary(is_unary);
            let error = post(&client.build().unwrap(), "a").await.unwrap_err();
            let what = format!("change {index}, unary: {is_unary}: {error}");
            assert_eq!(error.kind(), ErrorKind::Decode, "{what}");
            assert!(error.may_have_run() && error.message().contains(told), "{what}");
        }
    }
}

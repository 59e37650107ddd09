//! Limits count bytes without compression.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clientlet::{Delivery, DocArray as Docs, Document, Error, ErrorKind, Hint};
use clientlet_gateway::{Compression, DocArray, Endpoint, Gateway, Reply};
use futures_util::stream;

use super::{client, codings, events, post};

const MIB: usize = 1 << 20;

fn is_too_large(error: &Error) {
    assert_eq!(
        (error.kind(), error.hint()),
        (ErrorKind::TooLarge, Some(Hint::AnswerTooLarge)),
        "{error}"
    );
    assert!(error.may_have_run(), "{error}");
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_the_limit_and_no_larger() {
    events::watch();
    for (name, _) in codings::all() {
        let length = Arc::<AtomicUsize>::default();
        let seen = length.clone();
        // Padded with spaces, which do not change JSON.
        let compression = Compression::new(codings::coding(name), move |bytes| {
            let padded = [&vec![b' '; MIB][..], bytes].concat();
            seen.store(padded.len(), Ordering::Relaxed);
            codings::compressed(name, &padded)
        });
        let builder = Gateway::builder().docarray(DocArray::V1).compress(compression);
        let gateway = builder.start().await.unwrap();
        let of = |limit| client(&gateway.http_url()).docarray(Docs::V1).answer_limit(limit);
        let is_read = async |limit| post(&of(limit).build().unwrap(), "a").await;
        assert_eq!(is_read(2 * MIB).await.unwrap(), "A", "{name}");
        // Answers differ in length by their times, so the limits leave some room.
        let exact = length.load(Ordering::Relaxed);
        assert_eq!(is_read(exact + 100).await.unwrap(), "A", "{name}");
        let error = is_read(exact - 100).await.unwrap_err();
        is_too_large(&error);
        assert_eq!(error.delivery(), Delivery::Answered, "{error}");
    }
}

#[tokio::test]
async fn the_body_of_a_failure_has_the_same_limit() {
    for (name, _) in codings::all() {
        let bomb = codings::damaged(name, move |_| codings::compressed(name, &vec![b'x'; 4 * MIB]));
        let builder = Gateway::builder().docarray(DocArray::V1).compress(bomb);
        let gateway = builder.fault("status:500@1".parse().unwrap()).start().await.unwrap();
        let client = client(&gateway.http_url()).docarray(Docs::V1).answer_limit(MIB);
        let error = post(&client.build().unwrap(), "a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{name}: {error}");
    }
}

#[tokio::test]
async fn events_have_the_same_limit() {
    for (name, compression) in codings::all() {
        let texts = |_| {
            let sizes = [1, MIB / 2, 1, MIB / 2, 3 * MIB];
            Reply::stream(stream::iter(sizes.map(|size| Document::text("x".repeat(size)))))
        };
        let builder =
            Gateway::builder().docarray(DocArray::V2).on("/texts", Endpoint::stream(texts));
        let gateway = builder.compress(compression).start().await.unwrap();
        let client = client(&gateway.http_url()).answer_limit(MIB).build().unwrap();
        let document = Document::text("a");
        let mut documents = client.stream_document("/texts", &document).stream::<Document>();
        for _ in 0..4 {
            documents.next().await.unwrap().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        is_too_large(&documents.next().await.unwrap().unwrap_err());
    }
}

#[tokio::test]
async fn messages_over_grpc_have_the_same_limit() {
    events::watch();
    for is_unary in [false, true] {
        let builder = Gateway::builder().docarray(DocArray::V1).http(false).grpc(true);
        let builder = builder.fault("bomb:3000000000@1".parse().unwrap());
        let builder = builder.compress(Compression::gzip());
        let gateway = builder.start().await.unwrap();
        let client = client(&gateway.grpc_url()).docarray(Docs::V1).unary(is_unary);
        let client = client.answer_limit(MIB).build().unwrap();
        // The compressed message is itself larger than the limit, or else ends at the limit.
        is_too_large(&post(&client, "a").await.unwrap_err());
        assert_eq!(post(&client, "b").await.unwrap(), "B", "the next request is answered");
    }
    let fault = "bomb:100000000@1";
    for is_unary in [false, true] {
        let builder = Gateway::builder().docarray(DocArray::V1).http(false).grpc(true);
        let gateway = builder.fault(fault.parse().unwrap()).start().await.unwrap();
        let client = client(&gateway.grpc_url()).docarray(Docs::V1).unary(is_unary);
        let client = client.answer_limit(MIB).build().unwrap();
        let error = post(&client, "a").await.unwrap_err();
        is_too_large(&error);
        assert!(error.message().contains("a compressed answer is larger"), "{error}");
    }
}

/// A task that only counts its turns while an answer of this length comes.
async fn turns(name: &'static str, length: usize) -> usize {
    let bomb = codings::compressed(name, &vec![b' '; length]);
    let compression = codings::damaged_answers(name, move |_| bomb.clone());
    let builder = Gateway::builder().docarray(DocArray::V1).compress(compression);
    let gateway = builder.start().await.unwrap();
    let turns = Arc::<AtomicUsize>::default();
    let counted = turns.clone();
    let counter = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let client = client(&gateway.http_url()).docarray(Docs::V1).answer_limit(length);
    let error = post(&client.build().unwrap(), "a").await.unwrap_err();
    counter.abort();
    assert_eq!(error.kind(), ErrorKind::Decode, "{name}: {error}");
    turns.load(Ordering::Relaxed)
}

#[tokio::test]
async fn other_tasks_have_their_turn_while_an_answer_is_decompressed() {
    const LARGE: usize = 100 * MIB;
    // A turn after at most 128 steps of 16 KiB.
    const MORE: usize = LARGE / (128 * (16 << 10));
    for (name, _) in codings::all() {
        let (few, many) = (turns(name, 2 * MIB).await, turns(name, LARGE).await);
        assert!(many >= few + MORE - 5, "{name}: {few} turns, then {many}");
    }
}

//! Recorded messages of real gateways parse completely, and their JSON view is the view that Jina's own
//! protobuf library printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::path::{Path, PathBuf};

use clientlet_proto::prost::Message;
use clientlet_proto::{v1, v2};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

/// Every recorded message of an environment, with its name, bytes and JSON view.
fn recorded(environment: &str) -> Vec<(String, Vec<u8>, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder.join(environment))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    files.sort();
    assert!(files.len() > 20, "{environment}: {} files", files.len());
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let view = std::fs::read(path.with_extension("decoded.json")).unwrap();
        (name, std::fs::read(&path).unwrap(), serde_json::from_slice(&view).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// The type of the message in a file with this name.
fn message_of(name: &str) -> &'static str {
    match name {
        "info" => "jina.JinaInfoProto",
        "endpoints" => "jina.EndpointsProto",
        _ if name.starts_with("status_") => "jina.StatusProto",
        _ if name.starts_with("stream_") => "jina.SingleDocumentRequestProto",
        _ => "jina.DataRequestProto",
    }
}

fn pool(generation: &str) -> DescriptorPool {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = protox::compile(["single.proto"], [proto.join(generation), proto]).unwrap();
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

#[test]
fn the_json_view_of_a_message_is_the_recorded_one() {
    let options = SerializeOptions::new().use_proto_field_name(true);
    for (environment, generation) in [("seed-era", "v1"), ("current-v1", "v1"), ("current", "v2")] {
        let pool = pool(generation);
        for (name, bytes, expected) in recorded(environment) {
            let descriptor = pool.get_message_by_name(message_of(&name)).unwrap();
            let message = DynamicMessage::decode(descriptor, bytes.as_slice()).unwrap();
            let view =
                message.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
            assert_eq!(view, expected, "{environment}/{name}");
        }
    }
}

macro_rules! every_message_is_equal_after_writing {
    ($($test:ident($($environment:literal),*) uses $generation:ident;)*) => {
        $(#[test]
        fn $test() {
            fn check<M: Message + Default + PartialEq>(name: &str, bytes: &[u8]) {
                let message = M::decode(bytes).unwrap();
                let again = M::decode(message.encode_to_vec().as_slice()).unwrap();
                assert!(message == again, "{name}");
            }
            for environment in [$($environment),*] {
                for (name, bytes, _) in recorded(environment) {
                    let check = match message_of(&name) {
                        "jina.JinaInfoProto" => check::<$generation::jina::JinaInfoProto>,
                        "jina.EndpointsProto" => check::<$generation::jina::EndpointsProto>,
                        "jina.StatusProto" => check::<$generation::jina::StatusProto>,
                        "jina.DataRequestProto" => check::<$generation::jina::DataRequestProto>,
                        _ => check::<$generation::jina::SingleDocumentRequestProto>,
                    };
                    check(&name, &bytes);
                }
            }
        })*
    };
}

every_message_is_equal_after_writing! {
    v1_messages_are_equal_after_writing("seed-era", "current-v1") uses v1;
    v2_messages_are_equal_after_writing("current") uses v2;
}

#[test]
fn bytes_of_a_message_share_its_memory() {
    use clientlet_proto::v1::docarray::{DocumentProto, document_proto::Content};
    let content = Some(Content::Blob(vec![7; 1000].into()));
    let written = DocumentProto { content, ..Default::default() }.encode_to_vec();
    let written = bytes::Bytes::from(written);
    let Some(Content::Blob(blob)) = DocumentProto::decode(written.clone()).unwrap().content else {
        panic!("a blob was written");
    };
    assert!(written.as_ptr_range().contains(&blob.as_ptr()));
}

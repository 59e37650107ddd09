//! The types in `src/generated` are those that prost generates from the files in `proto`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::path::{Path, PathBuf};
use std::{env, fs};

/// If this variable is set, the test writes the types instead of comparing them.
const BLESS: &str = "CLIENTLET_BLESS";

/// Generates all types. Returns the name of each checked-in file and the path of its new version: for
/// each generation documents and messages, and gRPC's own health service.
fn made(out: &Path) -> Vec<(&'static str, PathBuf)> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    for generation in ["v1", "v2"] {
        let out = out.join(generation);
        fs::create_dir_all(&out).unwrap();
        let files = protox::compile(["single.proto"], [&proto.join(generation), &proto]).unwrap();
        // Fields of bytes share the memory of their message.
        prost_build::Config::new().bytes(["."]).out_dir(out).compile_fds(files).unwrap();
    }
    let files = protox::compile(["health.proto"], [&proto]).unwrap();
    prost_build::Config::new().out_dir(out).compile_fds(files).unwrap();
    vec![
        ("v1/jina.rs", out.join("v1/jina.rs")),
        ("v1/docarray.rs", out.join("v1/docarray.rs")),
        ("v2/jina.rs", out.join("v2/jina.rs")),
        ("v2/docarray.rs", out.join("v2/docarray.rs")),
        ("health.rs", out.join("grpc.health.v1.rs")),
    ]
}

#[test]
fn the_checked_in_types_are_those_of_the_proto_files() {
    let out = tempfile::tempdir().unwrap();
    let generated = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated");
    for (name, made) in made(out.path()) {
        let (file, made) = (generated.join(name), fs::read_to_string(made).unwrap());
        if env::var_os(BLESS).is_some() {
            fs::write(&file, made).unwrap();
        } else {
            let hint = format!("{BLESS}=1 cargo test -p clientlet-proto --test generated");
            assert!(
                fs::read_to_string(&file).unwrap() == made,
                "{name} is out of date; `{hint}` writes it"
            );
        }
    }
}

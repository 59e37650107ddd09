//! Compiles the messages twice, once with each generation of documents, and those of other origin once.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for generation in ["v1", "v2"] {
        let dir = out.join(generation);
        std::fs::create_dir_all(&dir)?;
        let files = protox::compile(["single.proto"], [&format!("proto/{generation}"), "proto"])?;
        prost_build::Config::new().bytes(["."]).out_dir(dir).compile_fds(files)?;
    }
    let files = protox::compile(["health.proto"], ["proto"])?;
    prost_build::Config::new().out_dir(out).compile_fds(files)?;
    Ok(())
}

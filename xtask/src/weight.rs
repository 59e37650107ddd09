//! Checks the crates that a program gets with the library.

use std::collections::BTreeSet;

use crate::command::{self, cargo};

/// The maximum number of crates with default features, the library included.
const MOST: usize = 110;
/// Compilers of `.proto` files, which users do not need because the generated types are checked in.
const COMPILERS: [&str; 2] = ["protox", "prost-build"];
/// Crates that only WebSocket, gRPC, TLS and compression need.
const OPTIONAL: [&str; 6] =
    ["brotli-decompressor", "flate2", "h2", "rustls", "tokio-websockets", "zstd-safe"];

/// Counts the crates of the library's dependency tree, and looks for crates that must not be in it.
///
/// # Errors
/// Says in a sentence what is wrong.
pub(crate) fn check() -> Result<String, String> {
    let by_default = tree(&[])?;
    absent("the library", &by_default, &COMPILERS)?;
    if by_default.len() > MOST {
        return Err(format!(
            "the library brings {} crates by default, more than {MOST}",
            by_default.len()
        ));
    }
    let http_alone = tree(&["--no-default-features"])?;
    absent("the library without default features", &http_alone, &OPTIONAL)?;
    Ok(format!("{} crates by default, {} with HTTP only", by_default.len(), http_alone.len()))
}

/// The names of the crates that a user of the library compiles.
fn tree(features: &[&str]) -> Result<BTreeSet<String>, String> {
    let line =
        ["tree", "-p", "clientlet", "-e", "normal,build", "--prefix", "none", "--format", "{p}"];
    let listed = command::output(cargo().args(line).args(features)).ok_or("`cargo tree` failed")?;
    Ok(names(&listed))
}

/// The first word of each line.
fn names(listed: &str) -> BTreeSet<String> {
    listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn absent(who: &str, crates: &BTreeSet<String>, unwanted: &[&str]) -> Result<(), String> {
    let found: Vec<&str> = unwanted.iter().copied().filter(|name| crates.contains(*name)).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{who} brings {}; `cargo tree -p clientlet -i NAME` shows why",
        found.join(" and ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unwanted_crate_is_found_in_a_tree_and_named() {
        let crates = names("clientlet v0.1.0 (/clientlet)\nh2 v0.4.12\nbytes v1.12.0 (*)\n");
        assert_eq!(crates.len(), 3);
        assert_eq!(absent("it", &crates, &COMPILERS), Ok(()));
        assert!(absent("it", &crates, &OPTIONAL).unwrap_err().starts_with("it brings h2;"));
    }
}

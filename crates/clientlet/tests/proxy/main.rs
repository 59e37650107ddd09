//! Calls through a proxy that breaks connections at any byte, before embedded and real gateways.
//!
//! `CLIENTLET_SEED=N` runs one seed alone. What a seed makes of a connection is always the same;
//! which request is on which connection when it breaks is not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod call;
mod embedded;
mod proxy;
mod real;

use std::io::Write;

/// The seeds to run: `default`, or the one that is asked for.
fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    match std::env::var("CLIENTLET_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("CLIENTLET_SEED is a whole number");
            seed..seed + 1
        }
        Err(_) => default,
    }
}

/// Says something in the log of the run.
fn say(line: &str) {
    // Straight to stderr: the harness would keep what a passing test prints.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Fails if anything is wrong with a seed; tells which one, and how to run it alone.
fn report(complaints: &[(u64, String)]) {
    let Some((first, _)) = complaints.first() else { return };
    let lines: Vec<String> =
        complaints.iter().take(10).map(|(seed, what)| format!("seed {seed}: {what}")).collect();
    panic!(
        "{} complaints\n{}\nalone: CLIENTLET_SEED={first} cargo test -p clientlet --test proxy",
        complaints.len(),
        lines.join("\n")
    );
}

//! Calls through a proxy that breaks connections at any byte, to embedded and real gateways.
//!
//! `CLIENTLET_SEED=N` runs only this seed. A seed always breaks the same connections in the same
//! way. Which request is on a connection when it breaks may differ between runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod call;
mod embedded;
mod proxy;
mod real;

use std::io::Write;

/// Returns the seeds to run: `default`, or the seed that the environment variable names.
fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    match std::env::var("CLIENTLET_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("CLIENTLET_SEED is a whole number");
            seed..seed + 1
        }
        Err(_) => default,
    }
}

/// Writes a line to the log of the run.
fn say(line: &str) {
    // Written directly to stderr, because the harness would hide the output of a passing test.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Fails if any seed has complaints. The message names the seed and how to run it alone.
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

//! Outputs that are closed or full.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::process::{Invocation, clientlet, documents, ids, lines};

#[test]
fn a_closed_stdout_ends_the_run_with_one_line() {
    let mut running = clientlet(["post", "--input", "-", "--quiet", "--in-order"]).start();
    let mut stdin = running.stdin.take().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        // The command ends before it has read everything.
        drop(stdin.write_all(lines(100_000).as_bytes()));
    });
    assert!(running.line().contains("\"id\":\"0\""));
    running.stdout = None;
    let run = running.finish().exits(1);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.starts_with("error: stdout: Broken pipe"), "{}", run.stderr);
    assert!(run.stderr.contains("; answered, not written: lines "), "{}", run.stderr);
    assert!(run.stderr.contains(" on was not read"), "{}", run.stderr);
}

#[test]
fn a_full_device_ends_the_run_and_the_lines_are_listed() {
    let run = clientlet(["post", "--input", "-", "--output", "/dev/full", "--quiet"])
        .args(["--request-size", "10"])
        .stdin(lines(30))
        .run()
        .exits(1);
    let told =
        "error: /dev/full: No space left on device (os error 28); answered, not written: lines ";
    assert!(run.stderr.starts_with(told), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

#[test]
fn a_full_device_does_not_hide_bad_input() {
    let input = format!("bad\n{}", lines(30));
    clientlet(["post", "--input", "-", "--output", "/dev/full"]).stdin(input).run().exits(2);
}

/// A file that may not grow stands for a full disk: a write is cut short, and the next one fails.
#[test]
fn a_file_on_a_full_disk_is_cut_back_to_its_last_whole_line() {
    let directory = tempfile::tempdir().unwrap();
    let [output, summary] = ["out.jsonl", "summary.json"].map(|name| directory.path().join(name));
    let mut shell = Command::new("sh");
    // 25 is SIGXFSZ, which would end the process; the limit's unit is 512 bytes or 1024.
    shell.args(["-c", "trap '' 25; ulimit -f 40; exec \"$0\" \"$@\""]);
    shell.arg(env!("CARGO_BIN_EXE_clientlet"));
    shell.args(["post", "--input", "-", "--quiet", "--in-order", "--request-size", "10"]);
    let run = Invocation::new(shell)
        .args(["--output", output.to_str().unwrap(), "--summary", summary.to_str().unwrap()])
        .stdin(lines(1000))
        .run()
        .exits(1);
    assert!(run.stderr.contains("out.jsonl: File too large"), "{}", run.stderr);
    let written = fs::read_to_string(&output).unwrap();
    let written = documents(&written);
    assert!(!written.is_empty() && written.len() < 1000);
    let expected: Vec<_> = (0..written.len()).map(|n| n.to_string()).collect();
    assert_eq!(ids(&written), expected);
    // The error names the lines of the first answer that is missing, in whole or in part.
    let first_missing = written.len() / 10 * 10 + 1;
    let told = format!("; answered, not written: lines {first_missing}-");
    assert!(run.stderr.contains(&told), "{told} {}", run.stderr);
    // So are all others, those included that were answered after the output had failed.
    let summary: Value = serde_json::from_str(&fs::read_to_string(&summary).unwrap()).unwrap();
    let count = |name: &str| summary[name].as_u64().unwrap();
    let whole = u64::try_from(first_missing - 1).unwrap();
    assert_eq!(whole + count("not_written"), 10 * count("answered"), "{summary}");
    assert_eq!(10 * count("answered") + count("not_answered"), count("documents"), "{summary}");
}

#[test]
fn a_summary_that_cannot_be_written_is_a_failure() {
    let run = clientlet(["post", "--text", "a", "--summary", "/dev/full"]).run().exits(1);
    assert!(run.stderr.contains("error: /dev/full: No space left"), "{}", run.stderr);
}

#[test]
fn a_short_answer_to_a_full_stdout_is_a_failure() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" gateway > /dev/full", env!("CARGO_BIN_EXE_clientlet")]);
    let run = Invocation::new(shell).run().exits(1);
    assert_eq!(run.stderr, "error: stdout: No space left on device (os error 28)\n");
}

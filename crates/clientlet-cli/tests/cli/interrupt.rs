//! Ctrl-C, SIGTERM and SIGHUP while documents are in flight.

use std::fs;
use std::io::Write;
use std::process::Command;

use clientlet_gateway::DocArray;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::process::{Invocation, clientlet, documents, lines};
use crate::served::{serve, v1};

#[test]
fn answers_so_far_are_written_and_other_documents_are_counted() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        if signal == Signal::SIGHUP && is_hangup_ignored() {
            eprintln!("SIGHUP is left out: these tests run under nohup, so the command ignores it");
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("in.jsonl"), lines(1000)).unwrap();
        let gateway = serve(DocArray::V1, &["stall@3-1000"]);
        let running = clientlet(["post", &gateway.url(), "--request-size", "10"])
            .args(["--prefetch", "4", "--input", &path("in.jsonl")])
            .args(["--output", &path("out.jsonl"), "--summary", &path("summary.json")])
            .start();
        // Two requests that are answered, and four that are not.
        gateway.wait_for(6);
        running.signal(signal);
        let run = running.finish().exits(130);
        assert_eq!(documents(&fs::read_to_string(path("out.jsonl")).unwrap()).len(), 20);
        let told = "interrupted: 40 documents not answered, 4 requests in flight (line";
        assert!(run.stderr.starts_with(told), "{}", run.stderr);
        assert!(
            run.stderr.contains("; the input from line 61 on was not read\n"),
            "{}",
            run.stderr
        );
        let summary: Value =
            serde_json::from_str(&fs::read_to_string(path("summary.json")).unwrap()).unwrap();
        assert_eq!(summary["interrupted"], true);
        assert_eq!(summary["answered"], 2);
        assert_eq!((&summary["documents"], &summary["not_answered"]), (&json!(60), &json!(40)));
    }
}

/// Whether this process ignores SIGHUP; its children do so as well.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
}

/// `nohup` ignores SIGHUP, and a shell script ignores SIGINT for background jobs. A SIGINT that is
/// sent to such a job is meant for the job.
#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored_and_an_interrupt_does_not() {
    for (name, ends) in [("HUP", Signal::SIGTERM), ("INT", Signal::SIGINT)] {
        let mut shell = Command::new("sh");
        let line = format!("trap '' {name}; exec \"$0\" post --input - --request-size 1");
        shell.args(["-c", &line, env!("CARGO_BIN_EXE_clientlet")]);
        let mut running = Invocation::new(shell).start();
        running.stdin.as_mut().unwrap().write_all(lines(1).as_bytes()).unwrap();
        running.line();
        if name == "HUP" {
            running.signal(Signal::SIGHUP);
            running.stdin.as_mut().unwrap().write_all(lines(1).as_bytes()).unwrap();
            running.line();
        }
        running.signal(ends);
        let run = running.finish_with_open_stdin().exits(130);
        assert!(run.stderr.contains("interrupted: 0 documents not answered"), "{}", run.stderr);
    }
}

#[test]
fn a_signal_ends_the_run_while_stdin_is_silent() {
    let mut running = clientlet(["post", "--input", "-", "--request-size", "1"]).start();
    running.stdin.as_mut().unwrap().write_all(lines(2).as_bytes()).unwrap();
    for _ in 0..2 {
        running.line();
    }
    running.signal(Signal::SIGINT);
    let run = running.finish_with_open_stdin().exits(130);
    let told = "interrupted: 0 documents not answered, 0 requests in flight; \
                the input from line 3 on was not read\n";
    assert!(run.stderr.contains(told), "{}", run.stderr);
}

#[test]
fn before_the_first_document_nothing_is_sent() {
    let gateway = v1();
    let mut running = clientlet(["post", &gateway.url(), "--input", "-"]).start();
    // When the bad line is reported, the command listens for signals.
    running.stdin.as_mut().unwrap().write_all(b"bad\n").unwrap();
    assert_eq!(running.error_line(), "stdin:1:1: expected value\n");
    running.signal(Signal::SIGINT);
    let run = running.finish_with_open_stdin().exits(130);
    assert!(run.stderr.contains("interrupted: 0 documents not answered"), "{}", run.stderr);
    assert!(gateway.is_untouched());
}

#[test]
fn a_signal_ends_the_run_while_stdout_is_not_read() {
    let gateway = v1();
    let mut running = clientlet(["post", &gateway.url(), "--input", "-", "--quiet"])
        .args(["--request-size", "1000"])
        .start();
    let mut stdin = running.stdin.take().unwrap();
    std::thread::spawn(move || drop(stdin.write_all(lines(100_000).as_bytes())));
    // An answer of 1,000 documents is more than a pipe holds, so writing it gets stuck.
    running.line();
    running.signal(Signal::SIGINT);
    let run = running.finish_unread().exits(130);
    assert!(
        run.stderr.starts_with(
            "error: stdout: it does not accept the remaining lines; answered, not written: lines "
        ),
        "{}",
        run.stderr
    );
}

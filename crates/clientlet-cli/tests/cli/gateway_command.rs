//! `clientlet gateway`.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::process::{Running, clientlet, ids, lines};

/// Starts a gateway and returns its port, which is the first line that it prints.
fn start(args: &[&str]) -> (Running, u64) {
    let mut running = clientlet(["gateway"]).args(args).start();
    let line: Value = serde_json::from_str(&running.line()).unwrap();
    let port = line["ports"]["http"].as_u64().unwrap();
    (running, port)
}

#[test]
fn it_serves_until_a_signal_comes_and_ends_well() {
    for (signal, generation) in [(Signal::SIGTERM, "v1"), (Signal::SIGINT, "v2")] {
        let (running, port) = start(&["--docarray", generation]);
        let url = format!("http://127.0.0.1:{port}");
        let run = clientlet(["post", &url, "--input", "-", "--in-order", "--on", "/upper"])
            .stdin(lines(250))
            .run()
            .exits(0);
        assert_eq!(ids(&run.documents()), (0..250).map(|n| n.to_string()).collect::<Vec<_>>());
        running.signal(signal);
        let run = running.finish().exits(0);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    }
}

#[test]
fn each_protocol_has_a_port_unless_all_share_one() {
    let ports = |args: &[&str]| {
        let mut running = clientlet(["gateway"]).args(args).start();
        let line: Value = serde_json::from_str(&running.line()).unwrap();
        let ports: BTreeMap<String, u16> = serde_json::from_value(line["ports"].clone()).unwrap();
        (running, ports)
    };
    let (_running, each) = ports(&[]);
    assert_eq!(each.keys().collect::<Vec<_>>(), ["grpc", "http", "websocket"]);
    assert_eq!(each.values().collect::<BTreeSet<_>>().len(), 3);
    let (_running, alone) = ports(&["--grpc", "0"]);
    assert_eq!(alone.keys().collect::<Vec<_>>(), ["grpc"]);
    let (_running, shared) = ports(&["--port", "0"]);
    assert_eq!(shared.keys().collect::<Vec<_>>(), ["grpc", "http", "websocket"]);
    assert_eq!(shared.values().collect::<BTreeSet<_>>().len(), 1);
    for scheme in ["http", "ws"] {
        let url = format!("{scheme}://127.0.0.1:{}", shared["http"]);
        clientlet(["ready", &url]).run().exits(0);
    }
}

#[test]
fn its_faults_have_their_effect() {
    let (gateway, port) = start(&["--fault", "reset-after@20%,seed=7", "--fault", "status:503@9"]);
    let url = format!("http://127.0.0.1:{port}");
    let run = clientlet(["post", &url, "--input", "-", "--request-size", "10"])
        .args(["--max-attempts", "8", "--initial-backoff", "0.01"])
        .stdin(lines(500))
        .run()
        .exits(0);
    assert_eq!(run.documents().len(), 500);
    assert!(!run.stderr.contains(" 0 retried"), "{}", run.stderr);
    drop(gateway);
}

#[test]
fn a_port_in_use_is_an_error() {
    let (_gateway, port) = start(&[]);
    let run = clientlet(["gateway", "--http", &port.to_string()]).run().exits(1);
    let told = format!("error: cannot listen on 127.0.0.1:{port}: Address already in use");
    assert!(run.stderr.starts_with(&told), "{}", run.stderr);
}

#[test]
fn wrong_usage_is_named() {
    let table: [(&[&str], &str); 5] = [
        (&["--port", "0", "--grpc", "0"], "cannot be used with"),
        (&["--http", "70000"], "--http"),
        (&["--docarray", "v3"], "documents are v1 or v2, not `v3`"),
        (&["--fault", "stall"], "fault `stall`: it has no `@WHEN`"),
        (&["--seed", "x"], "--seed"),
    ];
    for (args, expected) in table {
        let run = clientlet(["gateway"]).args(args).run().exits(2);
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}

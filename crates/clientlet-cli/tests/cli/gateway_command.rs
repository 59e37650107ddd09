//! `clientlet gateway`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

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

/// Runs openssl with these arguments; `None` if it is not installed, which it says.
fn openssl(arguments: &[&str]) -> Option<()> {
    match Command::new("openssl").args(arguments).stdin(Stdio::null()).output() {
        Ok(made) => {
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            Some(())
        }
        Err(_) => {
            // The harness would hide the output of `eprintln` when the test passes.
            let _ = writeln!(std::io::stderr(), "skipped: openssl is not installed");
            None
        }
    }
}

#[test]
fn a_self_signed_gateway_names_its_ca_until_it_ends() {
    let mut running = clientlet(["gateway", "--tls-self-signed"]).start();
    let line: Value = serde_json::from_str(&running.line()).unwrap();
    let ca = line["ca"].as_str().unwrap();
    for (scheme, place) in [("https", "http"), ("wss", "websocket"), ("grpcs", "grpc")] {
        for host in ["localhost", "127.0.0.1"] {
            let url = format!("{scheme}://{host}:{}", line["ports"][place]);
            let post = ["post", &url, "--text", "x"];
            clientlet(post).args(["--ca", ca]).run().exits(0);
            clientlet(post).run().exits(1);
        }
    }
    running.signal(Signal::SIGTERM);
    running.finish().exits(0);
    assert!(!Path::new(ca).parent().unwrap().exists(), "{ca}");
}

#[test]
fn certificates_of_ones_own_are_served_and_demanded() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = ["c.pem", "k.pem"].map(|it| folder.path().join(it).display().to_string());
    let made = openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        &key,
        "-out",
        &cert,
    ]);
    let Some(()) = made else { return };
    let (_gateway, port) = start(&["--tls-cert", &cert, "--tls-key", &key]);
    let url = format!("https://localhost:{port}");
    clientlet(["ready", &url, "--insecure"]).run().exits(0);
    let all = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &cert];
    let (_gateway, port) = start(&all);
    let url = format!("https://localhost:{port}");
    clientlet(["ready", &url, "--insecure"]).run().exits(1);
}

#[test]
fn a_file_that_is_no_certificate_or_key_is_named_with_its_option() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.pem").display().to_string();
    let missing = folder.path().join("missing.pem").display().to_string();
    std::fs::write(&file, "rubbish").unwrap();
    let ca = ["--tls-self-signed", "--tls-client-ca"];
    let expired = ["--fault", "expired@1,on=handshake"];
    for (args, told) in [
        (vec!["--tls-cert", &file, "--tls-key", &file], format!("--tls-cert {file}: it holds no")),
        (
            vec!["--tls-cert", &missing, "--tls-key", &file],
            format!("--tls-cert {missing}: No such"),
        ),
        (vec!["--tls-cert", &file, "--tls-key", &missing], format!("--tls-key {missing}: No such")),
        ([&ca[..], &[&file]].concat(), format!("--tls-client-ca {file}: ")),
        ([&ca[..], &[&missing]].concat(), format!("--tls-client-ca {missing}: No such")),
        (vec!["--tls-client-ca", &file], "--tls-client-ca needs --tls-cert".to_owned()),
        (expired.to_vec(), "fault `expired@1,on=handshake` needs a gateway that speaks".to_owned()),
    ] {
        let run = clientlet(["gateway"]).args(&args).run().exits(2);
        assert!(run.stderr.starts_with(&format!("error: {told}")), "{}", run.stderr);
        assert_eq!((run.stderr.lines().count(), &*run.stdout), (1, ""), "{}", run.stderr);
    }
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
    let table: [(&[&str], &str); 7] = [
        (&["--port", "0", "--grpc", "0"], "cannot be used with"),
        (&["--http", "70000"], "--http"),
        (&["--docarray", "v3"], "documents are v1 or v2, not `v3`"),
        (&["--fault", "stall"], "fault `stall`: it has no `@WHEN`"),
        (&["--seed", "x"], "--seed"),
        (&["--tls-cert", "c.pem"], "--tls-key"),
        (&["--tls-self-signed", "--tls-cert", "c", "--tls-key", "k"], "cannot be used with"),
    ];
    for (args, expected) in table {
        let run = clientlet(["gateway"]).args(args).run().exits(2);
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}

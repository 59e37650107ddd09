//! The library's log on stderr.

use clientlet_gateway::{DocArray, Gateway, Tls};
use serde_json::Value;

use crate::process::clientlet;
use crate::served::{Served, serve};

/// Posts to a gateway that refuses the first request. Returns the lines on stderr.
fn told(options: &[&str]) -> Vec<String> {
    let gateway = serve(DocArray::V1, &["status:503@1"]);
    let url = gateway.url();
    let call = ["post", &url, "--text", "x", "--max-attempts", "2", "--quiet"];
    let run = clientlet(call.iter().chain(options)).run().exits(0);
    run.stderr.lines().map(str::to_owned).collect()
}

#[test]
fn nothing_but_warnings_is_printed_without_being_asked_for() {
    assert_eq!(told(&[]), Vec::<String>::new());
    assert_eq!(told(&["--log", "json"]), Vec::<String>::new());
}

#[test]
fn once_verbose_prints_retries_and_twice_each_request() {
    let mut once = told(&["-v"]);
    // The questions before the request may need more than one.
    let opened = once.extract_if(.., |line| line.starts_with("debug: a connection is open ("));
    let opened: Vec<String> = opened.collect();
    assert!(opened[0].contains("(address 127.0.0.1:"), "{opened:?}");
    assert!(!opened[0].contains("proxy") && !opened[0].contains("tls"), "{opened:?}");
    let [known, again] = &*once else { panic!("{once:?}") };
    assert!(known.starts_with("debug: the gateway told what it speaks (gateway http"), "{known}");
    assert!(again.starts_with("debug: another attempt follows (attempt 1, "), "{again}");
    assert!(again.contains("503") && again.contains("wait_seconds 0."), "{again}");
    let twice = told(&["-vv"]);
    for begin in [
        "trace: a request begins (",
        "trace: an attempt failed (",
        "trace: a request is answered (",
    ] {
        assert_eq!(twice.iter().filter(|line| line.starts_with(begin)).count(), 1, "{twice:?}");
    }
}

#[test]
fn a_connection_is_told_with_its_version_of_tls() {
    let tls = Tls::self_signed();
    let gateway = Served::start(Gateway::builder().tls(tls.clone()));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, tls.ca_pem()).unwrap();
    let url = gateway.url();
    let run = clientlet(["ready", &url, "--cacert", ca.to_str().unwrap(), "-v"]).run().exits(0);
    assert!(run.stderr.starts_with("debug: a connection is open (address 127.0.0.1:"), "{run:?}");
    assert!(run.stderr.contains(", tls 1.3, elapsed_seconds 0."), "{run:?}");
}

#[test]
fn a_log_in_json_has_an_object_on_each_line() {
    let lines = told(&["-vv", "--log", "json"]);
    let objects: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let again = objects.iter().find(|object| object["name"] == "clientlet.attempt.again").unwrap();
    assert_eq!((&again["level"], &again["attempt"]), (&"DEBUG".into(), &1.into()));
    assert!(again["wait_seconds"].is_f64() && again["time"].as_str().unwrap().ends_with('Z'));
    let begun = objects.iter().find(|object| object["name"] == "clientlet.request.begun").unwrap();
    assert_eq!((&begun["first_document"], &begun["documents"]), (&0.into(), &1.into()));
}

#[test]
fn an_unknown_form_is_refused() {
    let run = clientlet(["ready", "http://localhost:1", "--log", "xml"]).run().exits(2);
    assert!(run.stderr.contains("--log") && run.stderr.contains("text, json"), "{}", run.stderr);
}

//! `--tensor` and `--blob`: lists of numbers become tensors, and text becomes bytes.

use clientlet_gateway::{DocArray, Gateway};
use serde_json::{Value, json};

use crate::process::{Finished, clientlet, ids};
use crate::served::{Served, serve, v1};

/// Posts these documents in order.
fn post(url: &str, options: &[&str], documents: &[Value]) -> Finished {
    let input: String = documents.iter().map(|document| format!("{document}\n")).collect();
    clientlet(["post", url, "--input", "-", "--in-order"]).args(options).stdin(input).run()
}

#[test]
fn elements_have_the_given_type_over_either_protocol() {
    let gateway = serve(DocArray::V2, &[]);
    let document = json!({
        "id": "a",
        "tensor": [[0.1], [1]],
        "embedding": [0.123456789],
        "part": {"tensor": [1, 2.0]},
        "parts": [{"tensor": [1]}],
    });
    let options = ["tensor:float16", "embedding:f4", "part.tensor:|u1", "parts.tensor"];
    let options: Vec<_> = options.iter().flat_map(|field| ["--tensor", field]).collect();
    for url in [gateway.websocket_url(), gateway.url()] {
        let run = post(&url, &options, std::slice::from_ref(&document)).exits(0);
        let answer = &run.documents()[0];
        let (half, single): (f32, f32) = (0.099_975_586, 0.123_456_79);
        assert_eq!(answer["tensor"][0][0].as_f64().map(|n| n as f32), Some(half), "{answer}");
        assert_eq!(answer["tensor"][1][0].to_string(), "1.0", "{answer}");
        assert_eq!(answer["embedding"][0].to_string(), single.to_string(), "{answer}");
        assert_eq!(answer["part"]["tensor"].to_string(), "[1,2]", "{answer}");
        assert_eq!(answer["parts"][0]["tensor"].to_string(), "[1.0]", "{answer}");
        assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    }
}

#[test]
fn bytes_are_sent_in_the_form_of_each_gateway() {
    let document = json!({"id": "a", "text": "t", "tags": {}, "blob": "aGk="});
    let gateway = serve(DocArray::V2, &[]);
    for (url, comes_back) in [(gateway.websocket_url(), "aGk="), (gateway.url(), "hi")] {
        let run = post(&url, &["--blob", "blob"], std::slice::from_ref(&document)).exits(0);
        assert_eq!(run.documents()[0]["blob"], comes_back);
    }
    // v2 as JSON has no bytes: only UTF-8 text can be sent.
    let documents = [json!({"id": "a", "blob": "/w=="}), json!({"id": "b", "text": "t"})];
    let run = post(&gateway.url(), &["--blob", "blob"], &documents).exits(2);
    let told = "stdin:1: blob: bytes that are not UTF-8 cannot be sent as JSON to a v2 gateway";
    assert!(run.stderr.starts_with(told), "{}", run.stderr);
    assert_eq!(ids(&run.documents()), ["b"]);
}

#[test]
fn v1_knows_its_own_tensors_and_bytes_and_takes_the_options_too() {
    let gateway = v1();
    let documents = [
        json!({"id": "a", "embedding": [0.5, 1], "blob": "aGk="}),
        json!({"id": "b", "chunks": [{"id": "c", "tensor": [0.123456789]}]}),
    ];
    let options =
        ["--tensor", "embedding:float32", "--tensor", "chunks.tensor:float32", "--blob", "blob"];
    for url in [gateway.websocket_url(), gateway.url()] {
        for (options, told) in [(&options[..], "0.12345679"), (&[], "0.123456789")] {
            let answers = post(&url, options, &documents).exits(0).documents();
            assert_eq!(answers[0]["embedding"].to_string(), "[0.5,1.0]", "{answers:?}");
            assert_eq!(answers[0]["blob"], "aGk=");
            assert_eq!(answers[1]["chunks"][0]["tensor"][0].to_string(), told, "{answers:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named_by_line_and_field_and_the_other_lines_are_posted() {
    let gateway = serve(DocArray::V2, &[]);
    let options = ["--tensor", "t:int8", "--tensor", "c.t", "--blob", "b"];
    for (wrong, told) in [
        (json!({"t": [[1, 2], [3]]}), "t: the lists of a tensor differ in length: 2 and 1, at [1]"),
        (json!({"t": [1, "x"]}), "t: a tensor is made of numbers, not text, at [1]"),
        (json!({"t": [300]}), "t: 300 does not fit int8, at [0]"),
        (json!({"t": [1.5]}), "t: 1.5 does not fit int8, at [0]"),
        (
            json!({"c": [{"t": [1]}, {"t": {}}]}),
            "c[1].t: a tensor is made of numbers, not an object",
        ),
        (json!({"b": "aGk"}), "b: invalid base64"),
        (json!({"b": ["aGk=", 1]}), "b[1]: a blob is base64 text, not a number"),
    ] {
        let good = |id: &str| json!({"id": id, "t": [1], "c": [{"t": [1]}], "b": ""});
        for url in [gateway.websocket_url(), gateway.url()] {
            let run = post(&url, &options, &[good("a"), wrong.clone(), good("b")]).exits(2);
            assert_eq!(ids(&run.documents()), ["a", "b"], "{wrong}");
            let lines: Vec<_> = run.stderr.lines().collect();
            assert!(lines[0].starts_with(&format!("stdin:2: {told}")), "{wrong}: {lines:?}");
            assert!(lines[1].contains(" 1 line of bad input"), "{wrong}: {lines:?}");
            assert_eq!(lines.len(), 2, "{wrong}: {lines:?}");
        }
    }
}

#[test]
fn wrong_options_are_named_before_anything_is_sent() {
    let gateway = v1();
    let table: &[(&[&str], &str)] = &[
        (
            &["--tensor", "a:complex64"],
            "the types are bool, int8, int16, int32, int64, uint8, uint16,",
        ),
        (&["--tensor", ""], "\"\" names no field"),
        (&["--blob", "a."], "\"a.\" names no field"),
        (&["--tensor", "a", "--blob", "a"], "the same field is given as --tensor a and --blob a"),
        (&["--tensor", "a", "--tensor", "a.b"], "--tensor a.b lies within --tensor a"),
    ];
    for (options, told) in table {
        let run = post(&gateway.url(), options, &[json!({})]).exits(2);
        let errors: Vec<_> = run.stderr.lines().filter(|it| it.starts_with("error: ")).collect();
        assert!(matches!(errors[..], [line] if line.contains(told)), "{}", run.stderr);
    }
    assert!(gateway.is_untouched());
}

#[test]
fn a_field_that_no_document_has_is_warned_of_once() {
    let gateway = serve(DocArray::V2, &[]);
    let documents: Vec<_> = (0..300).map(|n| json!({"id": n.to_string(), "vector": [n]})).collect();
    let options = ["--tensor", "vektor", "--tensor", "vector", "--blob", "part.image"];
    let run = post(&gateway.websocket_url(), &options, &documents).exits(0);
    assert_eq!(run.documents().len(), 300);
    let warnings: Vec<_> = run.stderr.lines().filter(|it| it.starts_with("warning: ")).collect();
    assert_eq!(
        warnings,
        [
            "warning: no document has the field of --blob part.image",
            "warning: no document has the field of --tensor vektor"
        ]
    );
}

#[test]
fn no_field_is_called_missing_if_a_document_was_rejected() {
    let gateway = Served::start(Gateway::builder().docarray(DocArray::V2).grpc(true));
    let options = ["--blob", "image", "--tensor", "vector"];
    let rejected = json!({"id": "a", "image": "%%%", "vector": [1]});
    let plain = json!({"id": "b"});
    for documents in [vec![rejected.clone()], vec![rejected.clone(), plain]] {
        for url in [gateway.websocket_url(), gateway.grpc_url(), gateway.url()] {
            let run = post(&url, &options, &documents).exits(2);
            assert!(run.stderr.starts_with("stdin:1: image: "), "{}", run.stderr);
            assert!(!run.stderr.contains("warning: "), "{}", run.stderr);
        }
    }
    let document = rejected.to_string();
    let run = clientlet(["stream", &gateway.url(), "--on", "/stream", "--document", &document])
        .args(options)
        .run()
        .exits(2);
    assert!(!run.stderr.contains("warning: "), "{}", run.stderr);
}

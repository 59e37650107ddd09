//! Bad input and wrong usage are reported in one line, with their place, and nothing panics.

use std::fs;

use clientlet_gateway::{DocArray, Gateway};

use crate::process::{clientlet, ids, lines};
use crate::served::{Served, serve, v1};

#[test]
fn a_bad_line_is_named_and_the_other_lines_are_posted() {
    let table: &[(&[u8], &str)] = &[
        (b"{\"id\": }", "stdin:2:8: expected value"),
        (b"{\"id\": \"x\"", "stdin:2:10: EOF while parsing an object"),
        (b"[1, 2]", "stdin:2:1: a document must be an object, not a list"),
        (b"  \"text\"", "stdin:2:3: a document must be an object, not text"),
        (b"{\"text\": \"\xff\"}", "stdin:2:11: invalid UTF-8"),
        (b"{\"weight\": NaN}", "stdin:2:12: JSON has neither NaN nor infinity"),
        (b"{\"embedding\": [1, -Infinity]}", "stdin:2:20: JSON has neither NaN nor infinity"),
        (b"{\"weight\": 1e999}", "stdin:2:16: number out of range"),
        (b"{\"blob\": \"%%%\"}", "stdin:2: blob: invalid base64"),
        (
            b"{\"tensor\": [[1, 2], [3]]}",
            "stdin:2: tensor[1]: the lists of a tensor differ in length",
        ),
        (b"{\"embedding\": [1, [2]]}", "stdin:2: embedding[1]: the lists of a tensor are not all"),
        (b"{\"txt\": \"typo\"}", "stdin:2: a v1 document has no field \"txt\""),
        (
            b"{\"chunks\": [{\"nope\": 1}]}",
            "stdin:2: chunks[0]: a v1 document has no field \"nope\"",
        ),
    ];
    for (bad, expected) in table {
        let shown = bad.escape_ascii();
        let input = [b"{\"id\": \"a\"}\n", *bad, b"\n{\"id\": \"b\"}\n"].concat();
        let run = clientlet(["post", "--input", "-", "--in-order"]).stdin(input).run().exits(2);
        assert_eq!(ids(&run.documents()), ["a", "b"], "{shown}");
        let told: Vec<_> = run.stderr.lines().filter(|line| line.starts_with("stdin:2")).collect();
        assert_eq!(told.len(), 1, "{shown}: {}", run.stderr);
        assert!(told[0].starts_with(expected), "{shown}: {}", told[0]);
        assert!(run.stderr.contains(" 0 failed, 0 retried, 1 line of bad input"), "{}", run.stderr);
    }
}

#[test]
fn wrong_usage_is_named_before_anything_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing").to_str().unwrap().to_owned();
    let below_missing = format!("{missing}/out");
    let directory = directory.path().to_str().unwrap();
    let table: &[(&[&str], &str)] = &[
        (&["--initial-backoff", "-1"], "--initial-backoff"),
        (&["--max-backoff", "NaN"], "--max-backoff"),
        (&["--max-backoff", "inf"], "--max-backoff"),
        (&["--backoff-multiplier", "nan"], "--backoff-multiplier"),
        (&["--backoff-multiplier", "-2"], "--backoff-multiplier"),
        (&["--timeout", "-0.5"], "--timeout"),
        (&["--timeout", "0"], "--timeout"),
        (&["--attempt-timeout", "infinity"], "--attempt-timeout"),
        (&["--max-attempts", "0"], "--max-attempts"),
        (&["--prefetch", "0"], "--prefetch"),
        (&["--request-size", "-1"], "-1"),
        (&["--request-size", "abc"], "'--request-size <N>': it must be a whole number, at least 0"),
        (&["--parameters", "[1]"], "--parameters"),
        (&["--parameters", "{\"a\": NaN}"], "line 1 column 7"),
        (&["--header", "no colon"], "error: --header has no ':'"),
        (&["--header", "a: b", "--header", "c"], "error: --header (number 2) has no ':'"),
        (
            &["--header", "b\u{e4}d: x"],
            "error: --header: the text before its ':' is not a header's name",
        ),
        (&["--header", "te: x"], "the header te is set by the client itself"),
        (
            &["--header", "x-a: \u{e4}"],
            "the value of the header x-a cannot be sent: it is not ASCII",
        ),
        (
            &["--target-executor", "exec("],
            "is not a regular expression: unclosed group (at byte 4)",
        ),
        (&["--auth", "nobody"], "error: --auth has no ':'; write USER:PASS"),
        (&["--cookie", "crumb"], "error: --cookie has no '='"),
        (&["--bearer", "@/no/such/file"], "error: --bearer: cannot read /no/such/file"),
        (&["--auth", "a:b", "--bearer", "t"], "--bearer"),
        (&["--on", ""], "the endpoint has no name"),
        (&["--docarray", "v3"], "--docarray"),
        (&["--input", &missing], "/missing: No such file"),
        (&["--input", directory], ": it is a directory"),
        (&["--output", directory], ": Is a directory"),
        (&["--output", &below_missing], "/missing/out: No such file"),
        (&["--summary", &below_missing], "/missing/out: No such file"),
        (&["--no-documents"], "--no-documents"),
    ];
    let gateway = v1();
    for (args, expected) in table {
        let run = clientlet(["post", &gateway.url(), "--text", "hello"]).args(*args).run().exits(2);
        assert_eq!(run.stdout, "", "{args:?}");
        let told: Vec<_> = run.stderr.lines().filter(|line| line.starts_with("error:")).collect();
        assert_eq!(told.len(), 1, "{args:?}: {}", run.stderr);
        assert!(told[0].contains(expected), "{args:?}: {}", told[0]);
    }
    assert!(gateway.is_untouched());
}

#[test]
fn options_that_only_grpc_has_are_refused_over_other_protocols() {
    let gateway = Served::start(Gateway::builder().grpc(true));
    let text = ["--text", "hello"];
    for (option, name) in
        [(&["--unary"][..], "--unary"), (&["--compression", "gzip"], "--compression")]
    {
        let websocket = gateway.websocket_url();
        for (url, spoken) in [
            (gateway.url(), "the address begins with http://"),
            (websocket.clone(), "the address begins with ws://"),
            (websocket.replace("ws://", "WebSocket://"), "the address begins with websocket://"),
        ] {
            let run = clientlet(["post", &url]).args(text).args(option).run().exits(2);
            let told = format!("error: {name} is only for gRPC, but {spoken}; use grpc://\n");
            assert_eq!((run.stderr, run.stdout), (told, String::new()));
        }
        let run = clientlet(["post"]).args(text).args(option).run().exits(2);
        assert!(run.stderr.contains("the embedded gateway is used over HTTP"), "{}", run.stderr);
        let run = clientlet(["post", "ftp://h"]).args(text).args(option).run().exits(2);
        assert!(run.stderr.contains("unknown scheme"), "{}", run.stderr);
    }
    assert!(gateway.is_untouched());
    let both = ["--unary", "--compression", "gzip"];
    clientlet(["post", &gateway.grpc_url()]).args(text).args(both).run().exits(0);
}

#[test]
fn an_input_of_another_form_has_a_hint_once_a_run() {
    let gateway = v1();
    let pretty = "{\n  \"text\": \"a\"\n}\n";
    for (input, hint) in [
        (pretty.repeat(3), "each line must be one JSON object; jq -c . FILE makes it so"),
        (
            format!("[\n{pretty},\n{pretty}]\n"),
            "each line must be one JSON object; jq -c '.[]' FILE makes it so",
        ),
        (
            "a line of text\nanother\n".to_owned(),
            "each line must be one JSON object, such as {\"text\": \"hello\"}; jq -cR '{text: .}' FILE makes \
             one of each line of text",
        ),
    ] {
        let run = clientlet(["post", &gateway.url(), "--input", "-", "--quiet"]).stdin(&input);
        let run = run.run().exits(2);
        let told: Vec<_> = run.stderr.lines().collect();
        assert!(told[0].starts_with("stdin:1:"), "{told:?}");
        assert_eq!(told[1], format!("  hint: {hint}"));
        assert_eq!(run.stderr.matches("hint: ").count(), 1, "{told:?}");
    }
    assert!(gateway.is_untouched());
    let typo = clientlet(["post", "--input", "-", "--quiet"]).stdin("{\"id\": }\n").run().exits(2);
    assert_eq!(typo.stderr, "stdin:1:8: expected value\n");
}

#[test]
fn a_table_is_recognized_and_its_lines_are_not_told_one_by_one() {
    let gateway = v1();
    for (separator, name, reader) in
        [(",", "(CSV)", "(sys.stdin)"), (";", "semicolons", "\";\""), ("\t", "(TSV)", "\"\\t\"")]
    {
        let rows: String = (0..1000).map(|row| format!("{row}{separator}text {row}\n")).collect();
        let run = clientlet(["post", &gateway.url(), "--input", "-"])
            .stdin(format!("id{separator}text\n{rows}"))
            .run()
            .exits(2);
        let told: Vec<_> = run.stderr.lines().collect();
        assert!(told[1].starts_with("  hint: this looks like a table ("), "{told:?}");
        assert!(told[1].contains(name) && told[1].contains(reader), "{told:?}");
        assert_eq!(told[21], "stdin:21-1001: these lines are not documents either");
        assert_eq!(told[22].split(", ").nth(1), Some("no request ended"), "{told:?}");
        assert_eq!((told.len(), told[22].contains("1001 lines of bad input")), (23, true));
    }
    assert!(gateway.is_untouched());
}

#[test]
fn after_the_first_document_each_bad_line_is_told() {
    let (before, after) = ("bad\n".repeat(30), "bad\n".repeat(30));
    let input = format!("{before}{{\"id\": \"a\"}}\n{after}");
    let run = clientlet(["post", "--input", "-"]).stdin(input).run().exits(2);
    assert_eq!(run.stderr.matches(": expected value").count(), 20 + 30, "{}", run.stderr);
    assert!(run.stderr.contains("stdin:21-30: these lines are not documents"), "{}", run.stderr);
    assert!(run.stderr.contains(" 60 lines of bad input"), "{}", run.stderr);
}

#[test]
fn a_bad_url_is_named_by_every_command() {
    let table = [
        ("ftp://h", "has an unknown scheme; use http, ws or grpc"),
        ("localhost:8080", "has no scheme; write http://localhost:8080"),
        ("http://h:70000", "has port 70000, which is out of range"),
        ("http://h:1:2", "has more than one port"),
        ("http://h/?a=b", "a gateway's URL has no query"),
    ];
    for (url, expected) in table {
        for command in ["post", "ready", "status", "endpoints"] {
            let text: &[&str] = if command == "post" { &["--text", "hello"] } else { &[] };
            let run = clientlet([command, url]).args(text).run().exits(2);
            assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
            assert!(run.stderr.contains(expected), "{command} {url}: {}", run.stderr);
            assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        }
    }
}

#[test]
fn an_unwritable_output_leaves_its_input_unread_and_the_gateway_alone() {
    let gateway = v1();
    let run = clientlet(["post", &gateway.url(), "--input", "-", "--output", "/"])
        .stdin(lines(10))
        .run()
        .exits(2);
    assert_eq!(run.stderr, "error: /: Is a directory (os error 21)\n");
    assert!(gateway.is_untouched());
}

#[test]
fn an_input_without_documents_is_an_error_and_leaves_the_old_output() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out.jsonl");
    fs::write(&output, "old\n").unwrap();
    let gateway = v1();
    for (input, told) in [
        ("", "error: no documents in stdin\n"),
        ("\n  \n", "error: no documents in stdin\n"),
        ("{\"id\": }\n", "stdin:1:8: expected value\n"),
    ] {
        let run = clientlet(["post", &gateway.url(), "--input", "-", "--quiet"])
            .args(["--output", output.to_str().unwrap()])
            .stdin(input)
            .run()
            .exits(2);
        assert_eq!(run.stderr, told);
    }
    assert!(gateway.is_untouched());
    assert_eq!(fs::read_to_string(output).unwrap(), "old\n");
}

#[test]
fn a_call_with_nothing_to_post_is_an_error_with_an_example() {
    let run = clientlet(["post"]).run().exits(2);
    assert!(run.stderr.contains("`clientlet post --on /upper --text hello`"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1);
}

#[test]
fn the_output_must_not_be_the_input() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), lines(3)).unwrap();
    let path = file.path().to_str().unwrap();
    for (option, told) in [
        ("--output", "error: --output and --input are one file\n"),
        ("--summary", "error: --summary and --input are one file\n"),
    ] {
        let run = clientlet(["post", "--input", path, option, path]).run().exits(2);
        assert_eq!(run.stderr, told);
        assert_eq!(fs::read_to_string(path).unwrap(), lines(3));
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_errors() {
    let run = clientlet(["post", "--input", "-"])
        .stdin(b"\xEF\xBB\xBF{\"id\": \"a\"}\r\n\r\n")
        .run()
        .exits(0);
    assert_eq!(ids(&run.documents()), ["a"]);
}

#[test]
fn stop_on_error_reads_no_further_than_the_first_bad_line() {
    let run = clientlet(["post", "--input", "-", "--stop-on-error", "--in-order"])
        .stdin("{\"id\": \"a\"}\nbad\n{\"id\": \"b\"}\nworse\n")
        .run()
        .exits(2);
    assert_eq!(ids(&run.documents()), ["a"]);
    assert!(run.stderr.contains("stdin:2:1: expected value\n"), "{}", run.stderr);
    assert!(!run.stderr.contains("stdin:4"), "{}", run.stderr);
    assert!(
        run.stderr.contains("stopped: the input from line 2 on was not read\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_error_of_an_unknown_endpoint_lists_the_known_ones() {
    let gateway = serve(DocArray::V2, &[]);
    let run =
        clientlet(["post", &gateway.url(), "--on", "/uper", "--text", "hello"]).run().exits(1);
    assert!(run.stderr.contains("kind not_found, delivery not_sent"), "{}", run.stderr);
    assert!(run.stderr.contains("the gateway has no endpoint /uper; it has "), "{}", run.stderr);
    let hint = "  hint: `clientlet endpoints URL` lists the endpoints\n";
    assert!(run.stderr.contains(hint), "{}", run.stderr);
}

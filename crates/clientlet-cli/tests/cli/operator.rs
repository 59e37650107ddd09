//! Accidents that the command must prevent: a destroyed file, lost output, a password that is shown, a
//! terminal sequence that is passed on.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::thread;

use clientlet_gateway::{DocArray, Gateway};
use serde_json::json;

use crate::process::{Invocation, clientlet, documents, lines};
use crate::served::{Served, gone, serve, v1};

/// Runs `clientlet` in a shell; `line` contains its arguments and redirections.
fn shell(line: &str) -> Invocation {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" {line}"), env!("CARGO_BIN_EXE_clientlet")]);
    Invocation::new(shell)
}

#[test]
fn a_file_that_is_read_is_never_written_under_any_name() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("f");
    let content = lines(3);
    let gateway = v1();
    let url = gateway.url();
    std::os::unix::fs::symlink(&input, directory.path().join("link")).unwrap();
    let refused = [
        "post URL --input - --output f < f",
        "post URL --input f --output f",
        "post URL --input f --output ./f",
        "post URL --input f --output link",
        "post URL --input link --output f",
        "post URL --input f --output hard",
        "post URL --input - --output link < hard",
        "post URL --input /dev/stdin --output f < f",
        "post URL --input /proc/self/fd/0 --output f < f",
        "post URL --input /dev/fd/3 --output f 3< f",
        "post URL --input - --output /proc/self/fd/1 < f >> f",
        "post URL --input - --output /dev/stdout < f >> f",
        "post URL --input - < f >> f",
        "post URL --input - < f 1<> f",
        "post URL --input f >> f",
        "post URL --input - --summary f < f",
        "post URL --input f --summary link",
        "post URL --input - < f 2>> f",
        "post URL --text a --output f --summary f",
        "post URL --text a --output f --summary hard",
        "post URL --text a --summary f >> f",
        "post URL --text a --summary /dev/stdout >> f",
        "post URL --text a --bearer @f --output f",
        "post URL --text a --header @f --summary link",
        "post URL --text a --auth @f >> f",
        "post URL --text a --cookie @hard --output f",
        "stream URL --on /stream --text a --output f --summary f",
        "stream URL --on /stream --text a --bearer @f --output link",
        "stream URL --on /stream --text a --summary f >> f",
    ];
    for line in refused {
        let content = if line.contains("@") { "k:v=1" } else { &content };
        fs::write(&input, content).unwrap();
        let hard = directory.path().join("hard");
        let _ = fs::remove_file(&hard);
        fs::hard_link(&input, &hard).unwrap();
        let line = line.replace("URL", &url);
        let run = in_directory(&line, directory.path()).run().exits(2);
        let kept = fs::read_to_string(&input).unwrap();
        let told = format!("{}{}", run.stderr, kept.strip_prefix(content).unwrap_or(&kept));
        assert!(kept.starts_with(content), "{line}: {kept}");
        assert!(told.ends_with(" are one file\n") && told.lines().count() == 1, "{line}: {told}");
        assert!(line.contains("2>>") || kept == content, "{line}: {kept}");
    }
    assert!(gateway.is_untouched());
}

#[test]
fn different_files_and_devices_may_be_read_and_written() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("f"), lines(3)).unwrap();
    let gateway = v1();
    for line in [
        "post URL --input - --output g < f",
        "post URL --input f --output g --summary s",
        "post URL --input f >> g 2>&1",
        "post URL --text a --output /dev/null --summary /dev/null < /dev/null",
        "post URL --text a > /dev/null",
        "post URL --text a 1<> /dev/null",
        "post URL --text a --output g >&-",
    ] {
        in_directory(&line.replace("URL", &gateway.url()), directory.path()).run().exits(0);
    }
    assert_eq!(fs::read_to_string(directory.path().join("f")).unwrap(), lines(3));
}

fn in_directory(line: &str, directory: &std::path::Path) -> Invocation {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" {line}"), env!("CARGO_BIN_EXE_clientlet")]);
    shell.current_dir(directory);
    Invocation::new(shell)
}

/// A gateway that serves all protocols.
fn on_all(docarray: DocArray) -> Served {
    Served::start(Gateway::builder().docarray(docarray).grpc(true))
}

/// Every command that prints to stdout, with the arguments that make it do so.
fn printing(gateway: &Served) -> Vec<String> {
    let url = gateway.url();
    vec![
        format!("post {url} --text a --quiet"),
        format!("post {url} --text a --quiet --output /dev/stdout"),
        format!("post {url} --text a --quiet --responses"),
        format!("stream {} --on /stream --text a --quiet", gateway.grpc_url()),
        format!("ready {url}"),
        format!("ready {url} --json"),
        format!("status {url}"),
        format!("status {url} --json"),
        format!("endpoints {url}"),
        format!("endpoints {url} --json"),
        "gateway".to_owned(),
        "--help".to_owned(),
        "post --help".to_owned(),
        "help post".to_owned(),
        "--version".to_owned(),
    ]
}

#[test]
fn an_output_that_is_closed_or_full_is_a_failure_of_every_command() {
    let gateway = on_all(DocArray::V2);
    for line in printing(&gateway) {
        let run = shell(&format!("{line} > /dev/full")).run().exits(1);
        assert!(run.stderr.contains("No space left on device"), "{line}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{line}: {}", run.stderr);
        if line.contains("/dev/stdout") {
            continue;
        }
        let run = shell(&format!("{line} >&-")).run().exits(1);
        assert_eq!(run.stderr, "error: stdout: Bad file descriptor (os error 9)\n", "{line}");
    }
}

#[test]
fn a_closed_stdin_is_an_error_and_not_an_empty_input() {
    let gateway = v1();
    let run = shell(&format!("post {} --input - <&-", gateway.url())).run().exits(2);
    assert_eq!(run.stderr, "error: stdin: Bad file descriptor (os error 9)\n");
    assert!(gateway.is_untouched());
}

/// Starts a server that answers GETs by path, unlike any real gateway.
fn odd_gateway(pages: &[(&'static str, String)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let pages = pages.to_vec();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            if reader.read_line(&mut request).is_err() {
                continue;
            }
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let path = request.split(' ').nth(1).unwrap_or_default();
            let page = pages.iter().find(|(page, _)| *page == path);
            let (status, body) = page.map_or(("404 Not Found", "{}"), |(_, body)| ("200 OK", body));
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    url
}

#[test]
fn terminal_sequences_are_escaped_in_text_and_exact_in_json() {
    let nasty = "a\u{1b}[2Jb\nc\r\u{9b}31m\u{202e}d\u{7f}";
    let status = json!({
        "jina": {"jina": "3.33.1", "docarray": "0.40.1", nasty: nasty},
        "envs": {"JINA_X": nasty},
    });
    let paths = json!({"paths": {format!("/{nasty}"): {"post": {}}, "/ok": {"post": {}}}});
    let url = odd_gateway(&[
        ("/status", status.to_string()),
        ("/openapi.json", paths.to_string()),
        ("/dry_run", json!({"code": 1, "description": nasty, "exception": null}).to_string()),
    ]);
    for command in ["status", "endpoints", "ready"] {
        let run = clientlet([command, &url]).run();
        let shown = format!("{}{}", run.stdout, run.stderr);
        assert!(shown.contains("\\u{1b}[2J"), "{command}: {shown}");
        let is_plain = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(shown.chars().all(is_plain), "{command}: {shown:?}");
        let begins_anew = shown.lines().any(|line| line.starts_with('c'));
        assert!(!begins_anew, "{command}: a line's end is passed through: {shown:?}");
    }
    let run = clientlet(["status", &url, "--json"]).run().exits(0);
    assert_eq!(run.documents(), [status]);
    let run = clientlet(["endpoints", &url, "--json"]).run().exits(0);
    let listed = run.documents()[0]["paths"].as_array().unwrap().clone();
    assert!(listed.contains(&json!(format!("/{nasty}"))), "{listed:?}");
}

#[test]
fn the_output_is_emptied_with_the_first_answer_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("keep.jsonl");
    let path = output.to_str().unwrap();
    let failing = serve(DocArray::V1, &["status:400@1-9"]);
    let v2 = on_all(DocArray::V2);
    let (gone, failing_url) = (gone(), failing.url());
    let input = directory.path().join("bad.jsonl");
    fs::write(&input, "bad\n").unwrap();
    let bad = input.to_str().unwrap();
    let no_stream = v2.grpc_url();
    let kept: &[(&[&str], i32)] = &[
        (&["post", &gone, "--text", "a"], 1),
        (&["post", &gone, "--text", "a", "--wait-ready", "0.1"], 1),
        (&["post", &failing_url, "--text", "a"], 1),
        (&["post", &failing_url, "--input", bad], 2),
        (&["post", "http://h:70000", "--text", "a"], 2),
        (&["stream", &gone, "--on", "/stream", "--text", "a"], 1),
        (&["stream", &no_stream, "--on", "/none", "--text", "a"], 1),
    ];
    for (args, code) in kept {
        fs::write(&output, "precious\n").unwrap();
        clientlet(*args).args(["--output", path]).run().exits(*code);
        assert_eq!(fs::read_to_string(&output).unwrap(), "precious\n", "{args:?}");
    }
    let gateway = v1();
    clientlet(["post", &gateway.url(), "--text", "a", "--output", path]).run().exits(0);
    assert_eq!(documents(&fs::read_to_string(&output).unwrap()).len(), 1);
    // An answer without documents is an answer, too.
    clientlet(["post", &gateway.url(), "--no-documents", "--output", path]).run().exits(0);
    assert_eq!(fs::read_to_string(&output).unwrap(), "");
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused_and_not_ignored() {
    let gateway = v1();
    for name in ["CLIENTLET_AUTH", "CLIENTLET_BEARER", "CLIENTLET_COOKIE"] {
        for command in [&["post", "--text", "a"][..], &["ready"], &["status"], &["endpoints"]] {
            let run = clientlet(command)
                .args([&gateway.url()])
                .env(name, OsStr::from_bytes(b"u:s3cr3t\xff"))
                .run()
                .exits(2);
            assert_eq!(run.stderr, format!("error: the variable {name} is not UTF-8\n"));
        }
    }
    assert!(gateway.is_untouched());
}

#[test]
fn no_message_shows_a_password_whatever_is_wrong_with_its_url() {
    let urls = [
        "http://user:s3c/r3t@h",
        "http://user:s3c#r3t@h",
        "http://user:s3c?r3t@h",
        "http://user:s3c@r3t/x@h",
        "http://user:s3cr3t",
        "user:s3cr3t",
        "user:s3cr3t@h",
        "ftp://user:s3cr3t@h",
        "http://user:s3cr3t@h:x",
        "http://user:12/s3cr3t@h",
    ];
    let commands: [&[&str]; 5] = [
        &["post", "--text", "a"],
        &["stream", "--on", "/s", "--text", "a"],
        &["ready"],
        &["status"],
        &["endpoints"],
    ];
    let hidden = |run: &crate::process::Finished| {
        let shown = format!("{}{}", run.stdout, run.stderr);
        assert!(!shown.contains("s3c") && !shown.contains("r3t"), "{shown}");
    };
    for command in commands {
        for url in urls {
            hidden(&clientlet(command).args([url]).run().exits(2));
            // clap refuses a second URL and names it.
            hidden(&clientlet(command).args(["http://h", url]).run().exits(2));
        }
        hidden(&clientlet(command).args(["--timeout", "http://user:s3cr3t@h"]).run().exits(2));
    }
    // The errors of an option's parser and of the system may repeat the value.
    for option in ["--tensor", "--blob", "--parameters", "--docarray", "--prefetch", "--input"] {
        let post = clientlet(["post", "http://h"]).args([option, "http://user:s3cr3t@h/x"]);
        hidden(&post.run().exits(2));
    }
    for option in ["--fault", "--docarray", "--http", "--seed"] {
        for url in urls {
            hidden(&clientlet(["gateway", option, url]).run().exits(2));
        }
    }
    hidden(&clientlet(["post", "http://h", "--parameters", "{\"key\": s3cr3t}"]).run().exits(2));
}

#[test]
fn a_refused_value_that_is_no_secret_is_shown_with_the_reason() {
    let told: &[(&[&str], &[&str])] = &[
        (&["post", "http://h", "/index", "--text", "a"], &["'/index'"]),
        (&["post", "--tensor", "vector:float99"], &["'vector:float99'", "is not an element type"]),
        (&["post", "--blob", "a..b"], &["'a..b'", "names no field"]),
        (&["post", "--timeout", "1:30"], &["'1:30'", "a number of seconds"]),
        (
            &["post", "--parameters", "x"],
            &[
                "'--parameters <JSON>'",
                "expected value at line 1 column 1; write {\"name\": value}",
            ],
        ),
        (&["post", "--timeout", "5s"], &["'5s'", "write 5\n"]),
        (&["gateway", "--fault", "status:401@1-"], &["a number is missing; write 1-3"]),
        (&["gateway", "--fault", "nonsense@x"], &["'nonsense@x'", "unknown kind `nonsense`"]),
        (&["gateway", "--fault", "stall@x"], &["'stall@x'", "`x` is no whole number"]),
        (&["gateway", "--fault", "close:7e4@1"], &["'close:7e4@1'", "not `7e4`"]),
    ];
    for (arguments, words) in told {
        let run = clientlet(*arguments).run().exits(2);
        assert!(words.iter().all(|word| run.stderr.contains(word)), "{words:?}: {}", run.stderr);
    }
}

/// The command runs as another user, since limits on processes do not apply to root.
#[test]
fn a_thread_that_cannot_be_started_is_an_error() {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout != b"0\n" {
        eprintln!(
            "skipped: the limit counts all processes of a user, and only root may be another one"
        );
        return;
    }
    // Another user may not be allowed to read the build directory.
    let directory = tempfile::Builder::new().permissions(permissions()).tempdir().unwrap();
    let program = directory.path().join("clientlet");
    fs::copy(env!("CARGO_BIN_EXE_clientlet"), &program).unwrap();
    let input = directory.path().join("in.jsonl");
    fs::write(&input, lines(3)).unwrap();
    let gateway = v1();
    let url = gateway.url();
    let by_name = url.replace("127.0.0.1", "localhost");
    let input = input.to_str().unwrap();
    for arguments in [
        &["post", &url, "--input", input][..],
        &["post", &url, "--text", "a"],
        &["post", &by_name, "--text", "a"],
        &["ready", &by_name],
        &["status", &url],
        &["post", "--text", "a"],
        #[cfg(feature = "otel")]
        &["post", &url, "--text", "a", "--otlp", "http://127.0.0.1:9"],
    ] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--clear-groups", "prlimit", "--nproc=1"]);
        command.arg(&program);
        let run = Invocation::new(command).args(arguments).run();
        assert!(!run.stderr.contains("panicked"), "{arguments:?}: {}", run.stderr);
        match run.code {
            Some(0) => assert!(!arguments.contains(&"--input"), "{arguments:?}: {run:?}"),
            code => {
                assert_eq!(code, Some(1), "{arguments:?}: {run:?}");
                assert!(!run.stderr.is_empty(), "{arguments:?}");
            }
        }
    }
}

fn permissions() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

#[test]
fn parameters_that_cannot_be_sent_are_reported_once_and_nothing_is_sent() {
    let gateway = on_all(DocArray::V1);
    for url in [gateway.websocket_url(), gateway.grpc_url()] {
        for unary in [&[][..], &["--unary"]] {
            if !unary.is_empty() && !url.starts_with("grpc") {
                continue;
            }
            let run = clientlet(["post", &url, "--input", "-", "--request-size", "1"])
                .args(unary)
                .args(["--parameters", r#"{"a": {"user_id": 9007199254740993}}"#])
                .stdin(lines(5))
                .run()
                .exits(2);
            assert!(
                run.stderr.starts_with("error: the parameters cannot be sent: "),
                "{}",
                run.stderr
            );
            assert!(run.stderr.contains("user_id"), "{}", run.stderr);
            assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        }
    }
    assert!(gateway.journal().is_empty());
}

#[test]
fn a_larger_answer_is_accepted_with_a_higher_limit_and_the_hint_says_so() {
    let gateway = on_all(DocArray::V1);
    let big = ["--on", "/big", "--parameters", r#"{"bytes": 50000}"#];
    for url in [gateway.url(), gateway.websocket_url(), gateway.grpc_url()] {
        let post = |limit| {
            clientlet(["post", &url, "--text", "a", "--answer-limit", limit, "--docarray", "v1"])
                .args(big)
        };
        let run = post("10K").run().exits(1);
        assert!(run.stderr.contains("kind too_large"), "{}", run.stderr);
        assert!(run.stderr.contains("hint: --answer-limit takes larger answers"), "{}", run.stderr);
        post("1M").run().exits(0);
    }
    for command in ["status", "endpoints"] {
        let run = clientlet([command, &gateway.url(), "--answer-limit", "10"]).run().exits(1);
        assert!(run.stderr.contains("hint: --answer-limit"), "{}", run.stderr);
        assert!(!run.stderr.contains("--request-size"), "{}", run.stderr);
    }
}

#[test]
fn an_input_that_is_not_text_is_reported_once_and_nothing_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("in");
    let path = file.to_str().unwrap();
    let utf_16: Vec<u8> = lines(200).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let table = [
        ([&b"\x1f\x8b\x08\x00"[..], &[10; 5000]].concat(), "gzip"),
        ([&b"\x28\xb5\x2f\xfd"[..], &[10; 5000]].concat(), "zstd"),
        ([&b"PK\x03\x04"[..], &[10; 5000]].concat(), "zip archive"),
        ([&b"PAR1"[..], &[10; 5000]].concat(), "Parquet"),
        ([&b"\xff\xfe"[..], &utf_16].concat(), "UTF-16"),
        (utf_16, "UTF-16"),
        ([&b"\x01\x02"[..], &[0; 5000], &[10; 100]].concat(), "zero bytes"),
    ];
    let gateway = v1();
    for (content, what) in table {
        fs::write(&file, &content).unwrap();
        let runs = [
            clientlet(["post", &gateway.url(), "--quiet", "--input", path]),
            clientlet(["post", &gateway.url(), "--quiet", "--input", path, "--text", "a"]),
            clientlet(["post", &gateway.url(), "--quiet", "--input", "-"]).stdin(&content),
        ];
        for run in runs {
            let run = run.run().exits(2);
            assert!(run.stderr.contains(what), "{what}: {}", run.stderr);
            assert_eq!(run.stderr.lines().count(), 1, "{what}: {}", run.stderr);
        }
    }
    assert!(gateway.is_untouched());
}

#[test]
fn a_byte_order_mark_between_joined_files_is_reported_with_its_line() {
    let run = clientlet(["post", "--input", "-", "--quiet"])
        .stdin("\u{feff}{\"id\": \"a\"}\n\u{feff}{\"id\": \"b\"}\n{\"id\": \"c\"}\n")
        .run()
        .exits(2);
    assert_eq!(run.documents().len(), 2);
    assert!(run.stderr.starts_with("stdin:2:1: a byte order mark"), "{}", run.stderr);
}

#[test]
fn no_hint_names_an_option_that_the_command_does_not_have() {
    let silent = serve(DocArray::V1, &["stall@1-9,path=/dry_run", "stall@1-9,path=/status"]);
    let failing =
        serve(DocArray::V1, &["status:503@1-9,path=/dry_run", "status:503@1-9,path=/status"]);
    let html = odd_gateway(&[("/status", "<html>".to_owned()), ("/dry_run", "<html>".to_owned())]);
    let empty = odd_gateway(&[]);
    let down = Served::start(Gateway::builder().executor_down(true));
    let urls = [silent.url(), failing.url(), html, empty, down.url(), gone()];
    for command in ["ready", "status", "endpoints"] {
        let help = clientlet([command, "--help"]).run().exits(0).stdout;
        for url in &urls {
            let run = clientlet([command, url, "--timeout", "0.3"]).run();
            for word in run.stderr.split_whitespace().filter(|word| word.starts_with("--")) {
                let option = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
                assert!(help.contains(option), "{command} {url}: {}", run.stderr);
            }
        }
    }
}

/// A server that closes each connection as soon as it has received something, as TLS servers do.
fn wordless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = std::io::Read::read(&mut stream, &mut [0; 16]);
        }
    });
    address.to_string()
}

#[test]
fn hints_fit_the_failure() {
    let served = |fault: &str| {
        let builder = Gateway::builder().fault(fault.parse().unwrap());
        Served::start(builder.grpc(true))
    };
    let unauthorized = served("status:401@1-9");
    let forbidden = served("grpc-status:16:who are you@1-9");
    let denied = served("grpc-status:7:not you@1-9");
    let too_large = served("status:413@1-9");
    let exhausted = served("grpc-status:8:Received message larger than max (9 vs. 4)@1-9");
    let tls = wordless();
    let (credentials, size) = ("hint: credentials are given with", "limits the size of requests");
    for (url, arguments, hint) in [
        (unauthorized.url(), &[][..], credentials),
        (forbidden.grpc_url(), &[], credentials),
        (denied.grpc_url(), &["--unary"], credentials),
        (too_large.url(), &[], size),
        (exhausted.grpc_url(), &[], size),
        (exhausted.grpc_url(), &["--unary"], size),
        (format!("http://{tls}"), &["--docarray", "v1"], "A port for TLS"),
        (format!("ws://{tls}"), &["--docarray", "v1"], "A port for TLS"),
        (format!("grpc://{tls}"), &["--docarray", "v1"], "A port for TLS"),
    ] {
        let run =
            clientlet(["post", &url, "--text", "a", "--quiet"]).args(arguments).run().exits(1);
        assert!(run.stderr.contains(hint), "{url} {arguments:?}: {}", run.stderr);
        assert_eq!(run.stderr.matches("hint: ").count(), 1, "{}", run.stderr);
    }
    for scheme in ["http", "ws", "grpc"] {
        let run = clientlet(["ready", &format!("{scheme}://{tls}")]).run().exits(1);
        assert!(run.stderr.contains("A port for TLS"), "{scheme}: {}", run.stderr);
        assert!(!run.stderr.contains("--max-attempts"), "{scheme}: {}", run.stderr);
    }
}

#[test]
fn lines_that_a_slow_reader_has_not_taken_are_written_whole_later() {
    let gateway = v1();
    let mut running =
        clientlet(["post", &gateway.url(), "--input", "-", "--quiet", "--in-order"]).start();
    let mut stdin = running.stdin.take().unwrap();
    // More lines than a pipe and the command together can hold.
    let writer = thread::spawn(move || stdin.write_all(lines(20_000).as_bytes()));
    for n in 0..20_000 {
        let line = running.line();
        assert!(line.contains(&format!("\"id\":\"{n}\"")), "{n}: {line}");
    }
    writer.join().unwrap().unwrap();
    assert_eq!(running.finish().exits(0).stdout, "");
}

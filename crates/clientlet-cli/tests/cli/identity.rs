//! Credentials: where they come from, and that they are never shown.

use std::fs;

use clientlet_gateway::DocArray;

use crate::process::{Finished, clientlet};
use crate::served::{Served, serve, v1};

const SECRET: &str = "s3cr3t";

/// The value of a header, which all requests that arrived have in common, including discovery.
fn header(gateway: &Served, name: &str) -> Option<String> {
    let journal = gateway.journal();
    let all = journal.entries().into_iter().chain(journal.gets());
    let mut values: Vec<_> = all
        .map(|entry| entry.headers.get(name).map(|value| value.to_str().unwrap().to_owned()))
        .collect();
    values.dedup();
    assert_eq!(values.len(), 1, "{values:?}");
    values.remove(0)
}

#[track_caller]
fn assert_hidden(run: &Finished) {
    for secret in [SECRET, "dTpzM2NyM3Q="] {
        assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "{run:?}");
    }
}

#[test]
fn credentials_from_a_file_reach_the_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        format!("@{}", path.display())
    };
    let table = [
        ("--auth", file("auth", "u:s3cr3t\n"), "authorization", "Basic dTpzM2NyM3Q="),
        ("--bearer", file("bearer", "s3cr3t\r\n"), "authorization", "Bearer s3cr3t"),
        ("--cookie", file("cookie", "a=s3cr3t; b=2\n"), "cookie", "a=s3cr3t; b=2"),
        ("--header", file("header", "X-Key: s3cr3t\n"), "x-key", "s3cr3t"),
    ];
    for (option, value, name, expected) in table {
        let gateway = v1();
        let url = gateway.url();
        let run = clientlet(["post", &url, "--text", "a", option, &value]).run().exits(0);
        assert_eq!(header(&gateway, name).as_deref(), Some(expected));
        assert_hidden(&run);
    }
}

#[test]
fn credentials_from_the_environment_reach_the_gateway() {
    let table = [
        ("CLIENTLET_AUTH", "u:s3cr3t", "authorization", "Basic dTpzM2NyM3Q="),
        ("CLIENTLET_BEARER", "s3cr3t", "authorization", "Bearer s3cr3t"),
        ("CLIENTLET_COOKIE", "a=s3cr3t;b=2", "cookie", "a=s3cr3t; b=2"),
    ];
    for (variable, value, name, expected) in table {
        let gateway = v1();
        for command in ["ready", "status", "endpoints"] {
            clientlet([command, &gateway.url()]).env(variable, value).run().exits(0);
        }
        assert_eq!(header(&gateway, name).as_deref(), Some(expected));
    }
}

#[test]
fn curls_names_of_options_are_known() {
    let table = [
        (&["-u", "u:s3cr3t"], "authorization", "Basic dTpzM2NyM3Q="),
        (&["--user", "u:s3cr3t"], "authorization", "Basic dTpzM2NyM3Q="),
        (&["-H", "x-tenant: blue"], "x-tenant", "blue"),
    ];
    for (options, name, expected) in table {
        let gateway = v1();
        clientlet(["ready", &gateway.url(), "-x", "none"]).args(options).run().exits(0);
        assert_eq!(header(&gateway, name).as_deref(), Some(expected));
    }
}

#[test]
fn the_connect_time_out_names_the_part_that_was_slow() {
    // The system accepts the connection; nothing answers on it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://u:s3cr3t@{}", silent.local_addr().unwrap());
    let call = ["ready", "https://flow.example", "--proxy", &proxy, "--connect-timeout", "0.2"];
    let run = clientlet(call).run().exits(1);
    let told = "within the connect time-out of 200ms; the proxy http://127.0.0.1:";
    assert!(run.stderr.contains(told), "{run:?}");
    assert!(run.stderr.contains("had not answered by then"), "{run:?}");
    assert_hidden(&run);
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let gateway = v1();
    clientlet(["ready", &gateway.url(), "--bearer", "mine", "--cookie", "c=1"])
        .env("CLIENTLET_AUTH", "u:s3cr3t")
        .env("CLIENTLET_COOKIE", "c=2")
        .run()
        .exits(0);
    assert_eq!(header(&gateway, "authorization").as_deref(), Some("Bearer mine"));
    assert_eq!(header(&gateway, "cookie").as_deref(), Some("c=1"));
}

#[test]
fn no_error_shows_a_credential() {
    let gateway = serve(DocArray::V1, &["status:401@1-9", "status:403@1-9,path=/status"]);
    let url = gateway.url();
    let with_user = url.replace("http://", "http://u:s3cr3t@");
    let bad_port = "http://u:s3cr3t@h:70000";
    let table: [(&[&str], i32); 11] = [
        (&[&url, "--auth", "u:s3cr3t"], 1),
        (&[&url, "--bearer", SECRET], 1),
        (&[&url, "--docarray", "v1", "--cookie", "a=s3cr3t"], 1),
        (&[&with_user], 1),
        (&[bad_port], 2),
        (&[&url, "--auth", SECRET], 2),
        (&[&url, "--cookie", SECRET], 2),
        (&[&url, "--header", SECRET], 2),
        (&[&url, "--header", "Bearer s3cr3t:x"], 2),
        (&[&url, "--header", "k: s3cr3t\u{1}"], 2),
        (&[&with_user, "--bearer", SECRET], 2),
    ];
    for (args, code) in table {
        let run = clientlet(["post", "--text", "a"]).args(args).run().exits(code);
        assert_hidden(&run);
        if code == 1 {
            assert!(run.stderr.contains("hint: credentials are given with"), "{}", run.stderr);
        }
    }
    let run = clientlet(["post", "--help"]).env("CLIENTLET_BEARER", SECRET).run().exits(0);
    assert_hidden(&run);
}

#[test]
fn what_a_server_repeats_is_hidden_in_text_and_in_json() {
    let to = "https://flow.example/s3cr3t/x";
    let faults = ["", ",path=/status", ",path=/dry_run", ",path=/openapi.json"];
    let faults = faults.map(|at| format!("redirect:302:{to}@100%{at}"));
    let gateway = serve(DocArray::V1, &faults.each_ref().map(String::as_str));
    let url = gateway.url();
    let commands: [&[&str]; 5] = [
        &["post", &url, "--text", "a", "--docarray", "v1"],
        &["ready", &url],
        &["ready", &url, "--json"],
        &["status", &url, "--json"],
        &["endpoints", &url],
    ];
    for command in commands {
        for (option, value) in
            [("--bearer", SECRET), ("--auth", "u:s3cr3t"), ("--header", "x-key: s3cr3t")]
        {
            let run = clientlet(command).args([option, value]).run().exits(1);
            assert_hidden(&run);
            let is_told = |text: &str| text.contains("https://flow.example/[secret]/x");
            assert!(is_told(&run.stdout) || is_told(&run.stderr), "{run:?}");
        }
    }
}

#[test]
fn a_gateway_that_sends_nothing_is_left_after_the_idle_time_out() {
    let gateway = serve(DocArray::V1, &["stall@100%", "stall@100%,path=/dry_run"]);
    let url = gateway.url();
    let commands: [&[&str]; 2] =
        [&["post", &url, "--text", "a", "--docarray", "v1"], &["ready", &url]];
    for command in commands {
        let run = clientlet(command).args(["--idle-timeout", "0.2"]).run().exits(1);
        let told = "nothing came for 200 ms, the idle time-out";
        assert!(run.stderr.contains(told) || run.stdout.contains(told), "{run:?}");
    }
}

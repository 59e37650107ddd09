//! `--compressed`, on every command that connects.

use clientlet_gateway::{Compression, DocArray, Gateway};

use crate::process::clientlet;
use crate::served::Served;

const ASKED: Option<&str> = Some("gzip, deflate, br, zstd");

fn served() -> Served {
    let builder = Gateway::builder().docarray(DocArray::V2).grpc(true);
    Served::start(builder.compress(Compression::gzip()))
}

#[test]
fn every_command_asks_for_compressed_answers_only_if_it_is_told_to() {
    let commands: [&[&str]; 5] = [
        &["post", "--on", "/upper", "--text", "hey"],
        &["stream", "--on", "/stream", "--text", "hey"],
        &["ready"],
        &["status"],
        &["endpoints"],
    ];
    for command in commands {
        for (more, expected) in [(None, None), (Some("--compressed"), ASKED)] {
            let gateway = served();
            let url = gateway.url();
            let [name, options @ ..] = command else { panic!("a command has a name") };
            clientlet([*name, &url].iter().chain(options).copied().chain(more)).run().exits(0);
            let gets = gateway.journal().gets();
            let entries = gateway.journal().entries();
            let all = gets.iter().chain(&entries);
            let asked: Vec<_> = all.map(|entry| entry.header("accept-encoding")).collect();
            assert!(!asked.is_empty(), "{command:?}");
            assert!(asked.iter().all(|asked| *asked == expected), "{command:?}: {asked:?}");
        }
    }
}

#[test]
fn what_comes_back_is_the_same_whether_it_was_compressed_or_not() {
    let gateway = served();
    for url in [gateway.url(), gateway.grpc_url()] {
        let post = ["post", &url, "--on", "/upper", "--text", "hey"];
        let plain = clientlet(post).run().exits(0).stdout;
        let compressed = clientlet(post.iter().copied().chain(["--compressed"])).run().exits(0);
        let text =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].clone();
        assert_eq!(text(&compressed.stdout), text(&plain));
        assert_eq!(text(&plain), "HEY");
    }
    let entries = gateway.journal().entries();
    let asked = entries.iter().map(|entry| entry.header("grpc-accept-encoding"));
    assert_eq!(asked.collect::<Vec<_>>(), [None, None, None, Some("gzip")]);
}

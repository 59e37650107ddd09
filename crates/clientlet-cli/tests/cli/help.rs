//! The help and the version.

use crate::process::clientlet;

#[test]
fn help_is_as_reviewed() {
    for command in ["", "post", "stream", "ready", "status", "endpoints", "gateway"] {
        let args: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        let run = clientlet(args).run().exits(0);
        let name = if command.is_empty() { "clientlet" } else { command };
        insta::assert_snapshot!(name, run.stdout);
        assert!(run.stdout.contains("Examples:\n"), "{command} has examples");
    }
}

#[test]
fn without_a_command_the_help_is_shown() {
    let run = clientlet([] as [&str; 0]).run().exits(2);
    assert!(run.stderr.contains("Usage: clientlet"), "{}", run.stderr);
}

#[test]
fn the_version_is_that_of_the_package() {
    let run = clientlet(["--version"]).run().exits(0);
    assert_eq!(run.stdout, format!("clientlet {}\n", env!("CARGO_PKG_VERSION")));
}

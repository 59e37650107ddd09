//! The README's commands run as they are written.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The lines of the README's `sh` blocks.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_readme_works() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(
        root().join("examples").canonicalize().unwrap(),
        folder.path().join("examples"),
    )
    .unwrap();
    let commands = commands();
    let mut ran = 0;
    for command in &commands {
        // `cargo xtask test` runs this test.
        if command == "cargo xtask test" {
            continue;
        }
        let arguments = command
            .strip_prefix("cargo run --release -- ")
            .unwrap_or_else(|| panic!("the README has a command that nothing runs: {command}"));
        // A shell interprets the quotes, as the reader's shell does.
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("\"$CLIENTLET\" {arguments}"))
            .env("CLIENTLET", env!("CARGO_BIN_EXE_clientlet"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}");
        assert!(!output.stdout.is_empty() || command.contains("--output"), "{command}");
        if command.contains("airports") {
            assert!(
                errors.contains("3376 documents in 34 requests: 34 answered, 0 failed"),
                "{errors}"
            );
        }
        ran += 1;
    }
    assert!(ran >= 4, "{commands:?}");
    let summary = std::fs::read_to_string(folder.path().join("summary.json")).unwrap();
    assert!(summary.contains("\"failed\":0"), "{summary}");
    let lines = std::fs::read_to_string(folder.path().join("airports.out.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 3376);
}

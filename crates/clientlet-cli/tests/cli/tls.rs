//! The command against the TLS port of a real server, openssl's.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::process::clientlet;

/// `openssl s_server`, which closes a connection that begins in plain text without an alert.
/// Dropping this ends the server.
struct TlsServer {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl TlsServer {
    /// Starts the server. Without openssl it returns `None` and says so on standard error.
    fn start_or_skip(more: &[&str]) -> Option<TlsServer> {
        let directory = tempfile::tempdir().unwrap();
        let (key, certificate) =
            (directory.path().join("key"), directory.path().join("certificate"));
        if !make_certificate(&key, &certificate) {
            // The harness would hide the output of `eprintln` when the test passes.
            let _ = writeln!(std::io::stderr(), "skipped: openssl is not installed");
            return None;
        }
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-key"])
            .arg(&key)
            .arg("-cert")
            .arg(&certificate)
            .args(more)
            // The server ends when its input ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("it says where it listens").unwrap();
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.rsplit(':').next().unwrap().trim().parse().unwrap();
            }
        };
        // The server's further output must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(TlsServer { child, port, _directory: directory })
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        // An error means that the server has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_certificate(key: &Path, certificate: &Path) -> bool {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-days", "1", "-subj", "/CN=localhost", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .stdin(Stdio::null())
        .output();
    match made {
        Ok(made) => {
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            true
        }
        Err(_) => false,
    }
}

#[test]
fn a_port_for_tls_is_named_on_every_protocol_and_by_every_command() {
    for more in [&[][..], &["-alpn", "h2,http/1.1"], &["-tls1_2"]] {
        let Some(server) = TlsServer::start_or_skip(more) else { return };
        for scheme in ["http", "ws", "grpc"] {
            let url = format!("{scheme}://127.0.0.1:{}", server.port);
            for (command, options) in [
                ("post", &["--text", "x"][..]),
                ("post", &["--text", "x", "--docarray", "v2"]),
                ("post", &["--text", "x", "--max-attempts", "3", "--initial-backoff", "0.01"]),
                ("stream", &["--text", "x", "--on", "/stream"]),
                ("ready", &[]),
                ("status", &[]),
                ("endpoints", &[]),
            ] {
                if (scheme, command) == ("ws", "stream") {
                    continue;
                }
                let run = clientlet([command, &url]).args(options).run().exits(1);
                let told = &run.stderr;
                let case = format!("{command} {options:?} {url} {more:?}: {told}");
                assert!(told.contains("TLS") && told.contains("https://"), "{case}");
                assert_eq!(told.matches("  hint: ").count(), 1, "{case}");
                let names = |option: &str| told.contains(option);
                let has_attempts = matches!(command, "post" | "stream");
                assert!(!names("--max-attempts") || has_attempts, "{case}");
                assert!(!names("--wait-ready") || !has_attempts, "{case}");
            }
        }
    }
}

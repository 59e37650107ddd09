//! Runs the command for a bounded time.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The time limit of a run, which no test needs even on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A command line before it runs.
pub(crate) struct Invocation {
    command: Command,
    /// Whether requests may be sent before they are full.
    may_linger: bool,
    stdin: Vec<u8>,
}

/// `clientlet` with these arguments, in an environment without credentials, proxies or receivers.
pub(crate) fn clientlet<I>(args: I) -> Invocation
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut command = Command::new(env!("CARGO_BIN_EXE_clientlet"));
    command.args(args);
    Invocation::new(command)
}

impl Invocation {
    pub(crate) fn new(mut command: Command) -> Invocation {
        for name in ["CLIENTLET_AUTH", "CLIENTLET_BEARER", "CLIENTLET_COOKIE"] {
            command.env_remove(name);
        }
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        let variables = std::env::vars_os().map(|(name, _)| name);
        let is_otel = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with("OTEL_"));
        for name in variables.filter(is_otel) {
            command.env_remove(name);
        }
        for name in ["TRACEPARENT", "TRACESTATE", "BAGGAGE"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Invocation { command, may_linger: false, stdin: Vec::new() }
    }

    pub(crate) fn args<I>(mut self, args: I) -> Invocation
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Invocation {
        self.command.env(name, value);
        self
    }

    /// Leaves the default of `--linger`. Everywhere else requests from stdin are full, however busy the
    /// machine is.
    pub(crate) fn lingering(mut self) -> Invocation {
        self.may_linger = true;
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Invocation {
        self.stdin = bytes.as_ref().to_vec();
        self
    }

    /// Runs the command to its end.
    pub(crate) fn run(self) -> Finished {
        let bytes = self.stdin.clone();
        let mut running = self.start();
        let mut stdin = running.stdin.take().unwrap();
        // The command may end before it has read everything.
        thread::spawn(move || drop(stdin.write_all(&bytes)));
        running.finish()
    }

    /// Starts the command. The caller gets its open stdin.
    pub(crate) fn start(mut self) -> Running {
        let reads_stdin = self.command.get_args().any(|argument| argument == "-");
        let is_post = self.command.get_args().next().is_some_and(|command| command == "post");
        if is_post && reads_stdin && !self.may_linger {
            self.command.args(["--linger", "60"]);
        }
        let mut child = self.command.spawn().unwrap();
        Running {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(BufReader::new),
            stderr: child.stderr.take().map(BufReader::new),
            child: Some(child),
        }
    }
}

/// A running process, which is killed when this value is dropped.
pub(crate) struct Running {
    child: Option<Child>,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    /// Reads the next line of stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Reads the next line of stderr.
    pub(crate) fn error_line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Waits for the end of the process. Reads the rest of stdout, unless stdout was taken.
    pub(crate) fn finish(mut self) -> Finished {
        let stdout = self.stdout.take().map(|pipe| thread::spawn(move || read(pipe)));
        self.end(stdout)
    }

    /// Waits for the end of the process with stdin open.
    pub(crate) fn finish_with_open_stdin(mut self) -> Finished {
        let stdin = self.stdin.take();
        let finished = self.finish();
        drop(stdin);
        finished
    }

    /// Waits for the end of the process with stdout open and not read.
    pub(crate) fn finish_unread(mut self) -> Finished {
        let unread = self.stdout.take();
        let finished = self.end(None);
        drop(unread);
        finished
    }

    fn end(mut self, stdout: Option<thread::JoinHandle<String>>) -> Finished {
        let stderr = self.stderr.take().map(|pipe| thread::spawn(move || read(pipe)));
        let mut child = self.child.take().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait()));
        let Ok(status) = receiver.recv_timeout(LIMIT) else {
            let _ = kill(pid, Signal::SIGKILL);
            panic!("the command did not end within {LIMIT:?}");
        };
        let text = |thread: Option<thread::JoinHandle<String>>| {
            thread.map(|thread| thread.join().unwrap()).unwrap_or_default()
        };
        Finished { code: status.unwrap().code(), stdout: text(stdout), stderr: text(stderr) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[derive(Debug)]
pub(crate) struct Finished {
    /// `None` if a signal ended the process.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Checks the exit code, and that no thread panicked.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Finished {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// The documents on stdout.
    pub(crate) fn documents(&self) -> Vec<serde_json::Value> {
        documents(&self.stdout)
    }
}

/// Parses the documents of JSON Lines, and checks that the last line is complete.
#[track_caller]
pub(crate) fn documents(lines: &str) -> Vec<serde_json::Value> {
    assert!(lines.is_empty() || lines.ends_with('\n'), "the last line is cut: {lines:?}");
    lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

pub(crate) fn ids(documents: &[serde_json::Value]) -> Vec<&str> {
    documents.iter().map(|document| document["id"].as_str().unwrap()).collect()
}

/// `count` documents with the ids `0`, `1`, ... as JSON Lines.
pub(crate) fn lines(count: usize) -> String {
    (0..count).map(|n| format!("{{\"id\": \"{n}\", \"text\": \"t{n}\"}}\n")).collect()
}

/// Replaces the parts of a text that differ from run to run: ids, ports, times.
pub(crate) fn redact(text: &str) -> String {
    text.split_inclusive([' ', '\n', ',']).map(redact_word).collect()
}

fn redact_word(word: &str) -> String {
    let (core, end) = word.split_at(word.trim_end_matches([' ', '\n', ',']).len());
    let is_nonce = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if core.split_once('-').is_some_and(|(nonce, _)| is_nonce(nonce)) {
        return format!("ID{end}");
    }
    if let Some((before, address)) = core.split_once("127.0.0.") {
        let after = address.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':');
        return format!("{before}127.0.0.1:PORT{after}{end}");
    }
    if core.contains('.') && core.parse::<f64>().is_ok() {
        return format!("N.NN{end}");
    }
    word.to_owned()
}

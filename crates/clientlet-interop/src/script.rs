//! A Python script of `interop/` as a child process, which tells in lines of JSON what happens.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::environment::workspace;
use crate::error::StartError;
use crate::log::LogTail;

/// The time limit of a start. A gateway's start takes about 2 s, on a busy machine many times as long.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// The time limit of a stop. `gateway.py` needs up to 10 s if an executor was killed or connections are
/// open.
const STOPPED_WITHIN: Duration = Duration::from_secs(12);
const POLL: Duration = Duration::from_millis(10);

/// A running script. Dropping this value ends it.
#[derive(Debug)]
pub(crate) struct Script {
    child: Child,
    lines: Receiver<String>,
    log: LogTail,
}

impl Script {
    /// Starts the script with the arguments that `configure` adds.
    pub(crate) fn start(
        python: &Path,
        name: &str,
        configure: impl FnOnce(&mut Command),
    ) -> io::Result<Script> {
        let mut command = Command::new(python);
        command.arg(workspace().join("interop").join(name)).arg("--die-with-parent");
        configure(&mut command);
        // These variables would add other packages to the pinned ones.
        command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().expect("piped above");
        let stderr = child.stderr.take().expect("piped above");
        Ok(Script { child, lines: follow_lines(stdout), log: LogTail::follow(stderr) })
    }

    /// Waits for the next line, in which the script says that it is ready.
    pub(crate) fn ready<T: DeserializeOwned>(&mut self) -> Result<T, StartError> {
        let reason = match self.lines.recv_timeout(READY_WITHIN) {
            Err(RecvTimeoutError::Timeout) => return Err(StartError::TimedOut { log: self.log() }),
            Err(RecvTimeoutError::Disconnected) => {
                format!("it ended before it was ready: {}", self.child.wait()?)
            }
            Ok(line) => match serde_json::from_str(&line) {
                Ok(Line::Failed { error }) => error,
                Ok(Line::Ready(ready)) => return Ok(ready),
                Err(error) => format!("it printed {line:?}: {error}"),
            },
        };
        Err(StartError::Failed { reason, log: self.log() })
    }

    /// The next line, if it comes within this time.
    pub(crate) fn line(&self, within: Duration) -> Option<String> {
        self.lines.recv_timeout(within).ok()
    }

    /// The end of the script's standard error.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Signals the process, unless it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        send(signal, &mut self.child)
    }
}

/// Signals a process, unless it has ended: then its id may belong to another process by now.
pub(crate) fn send(signal: Signal, to: &mut Child) -> io::Result<()> {
    if to.try_wait()?.is_none() {
        let pid = i32::try_from(to.id()).expect("pids are positive i32 on Unix");
        kill(Pid::from_raw(pid), signal)?;
    }
    Ok(())
}

impl Drop for Script {
    /// Sends SIGTERM, and kills the process if it does not end. Its children then end by themselves.
    fn drop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.signal(Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < STOPPED_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line that a script prints when it is ready or has failed.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line<T> {
    Failed { error: String },
    Ready(T),
}

fn follow_lines(pipe: impl io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_line_are_understood() {
        #[derive(Debug, Deserialize)]
        struct Ready {
            port: u16,
        }
        let understand = |line: &str| serde_json::from_str::<Line<Ready>>(line).unwrap();

        let ready = r#"{"ready": true, "port": 41001}"#;
        let Line::Ready(Ready { port }) = understand(ready) else { panic!("{ready}") };
        assert_eq!(port, 41001);
        let failed = r#"{"ready": false, "error": "OSError: no"}"#;
        let Line::Failed { error } = understand(failed) else { panic!("{failed}") };
        assert_eq!(error, "OSError: no");
    }
}

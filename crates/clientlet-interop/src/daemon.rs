//! A program of the system that serves a port of 127.0.0.1 in front of gateways.

use std::env;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::error::StartError;
use crate::log::LogTail;
use crate::script::send;

/// If this is set and `CLIENTLET_INTEROP` is not, tests with foreign programs are skipped.
const LEFT_OUT: &str = "CLIENTLET_NO_INTEROP";
const DIRECTORY: &str = "CLIENTLET_INTEROP";

const READY_WITHIN: Duration = Duration::from_secs(30);
/// The longest time that a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(10);
/// The number of ports that are tried, since a free port may be taken before the program opens it.
const TRIES: usize = 5;

/// A program that may be installed.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// The variable that names the program. If it is set and the program is missing, tests fail.
    pub(crate) variable: &'static str,
    /// The Debian package.
    pub(crate) package: &'static str,
}

/// A running program. Dropping this value ends it.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    port: u16,
    directory: TempDir,
    log: LogTail,
}

impl Program {
    /// Starts the program and waits for at most 30 s until it listens. `command` gets the program's
    /// path, a directory for its files, which every user may write, and its port. Returns `None` if the
    /// program is missing or foreign programs are skipped, and says so on standard error, past the test
    /// harness.
    ///
    /// # Errors
    /// If the program does not listen in time, or the variable names no program.
    pub(crate) fn start_or_skip(
        &self,
        command: impl Fn(&Path, &Path, u16) -> io::Result<Command>,
    ) -> Result<Option<Daemon>, StartError> {
        let Some(program) = self.find() else {
            let reason = match is_left_out() {
                true => format!("{LEFT_OUT} is set"),
                false => format!("it is not installed; `apt-get install {}`", self.package),
            };
            // The harness would hide the output of `eprintln` when the test passes.
            let _ = writeln!(io::stderr(), "skipped: {}: {reason}", self.name);
            return Ok(None);
        };
        let mut tries = 1;
        loop {
            match self.start(&program, &command) {
                Err(StartError::Failed { .. }) if tries < TRIES => tries += 1,
                result => return result.map(Some),
            }
        }
    }

    /// Finds the program, unless foreign programs are skipped.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        if let Some(named) = env::var_os(self.variable) {
            return Some(named.into());
        }
        if is_left_out() {
            return None;
        }
        let paths = env::var_os("PATH").unwrap_or_default();
        // Debian installs servers where only root's PATH leads.
        let sbin = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
        let mut candidates = env::split_paths(&paths).chain(sbin).map(|path| path.join(self.name));
        candidates.find(|candidate| candidate.is_file())
    }

    fn start(
        &self,
        program: &Path,
        command: impl Fn(&Path, &Path, u16) -> io::Result<Command>,
    ) -> Result<Daemon, StartError> {
        let prefix = format!("clientlet-{}-", self.name);
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        // A program that root starts may go on as another user.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777))?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = command(program, directory.path(), port)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", program.display()))
        })?;
        let log = LogTail::follow(child.stderr.take().expect("piped above"));
        // From here on a drop ends the process.
        let mut daemon = Daemon { child, port, directory, log };
        daemon.wait(self.name)?;
        Ok(daemon)
    }
}

impl Daemon {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the program's files. It is removed when the program has ended.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The end of the program's standard error.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Signals the process, unless it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        send(signal, &mut self.child)
    }

    /// Asks the program to end, and waits for it at most 3 s. Errors mean that it has ended already.
    pub(crate) fn end(&mut self) {
        let _ = self.signal(Signal::SIGTERM);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < GRACE {
            thread::sleep(POLL);
        }
    }

    fn wait(&mut self, name: &str) -> Result<(), StartError> {
        let began = Instant::now();
        while began.elapsed() < READY_WITHIN {
            if let Some(status) = self.child.try_wait()? {
                self.log.wait_for_end(READY_WITHIN);
                let reason = format!("{name} ended before it was ready: {status}");
                return Err(StartError::Failed { reason, log: self.log() });
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        Err(StartError::TimedOut { log: self.log() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_left_out() -> bool {
    env::var_os(LEFT_OUT).is_some() && env::var_os(DIRECTORY).is_none()
}

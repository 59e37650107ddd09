//! nginx as a proxy before a gateway.

use std::env;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, process};

use crate::error::StartError;
use crate::log::LogTail;

/// The variable that names the program. If it is set and the program is missing, tests fail.
const PROGRAM: &str = "CLIENTLET_NGINX";
/// If this is set and `CLIENTLET_INTEROP` is not, tests with foreign programs are skipped.
const LEFT_OUT: &str = "CLIENTLET_NO_INTEROP";
const DIRECTORY: &str = "CLIENTLET_INTEROP";

const READY_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
/// The number of ports that are tried, since a free port may be taken before nginx opens it.
const TRIES: usize = 5;

/// An nginx on 127.0.0.1 with one server. Dropping this value ends nginx.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    port: u16,
    directory: PathBuf,
    log: LogTail,
}

impl Nginx {
    /// Starts nginx and waits for at most 30 s until it listens. `listen` follows the address in
    /// the server's `listen` directive (`http2`, or nothing); `server` contains the server's other
    /// directives. Returns `None` if nginx is missing or foreign programs are skipped, and says so
    /// on standard error, past the test harness.
    ///
    /// # Errors
    /// If nginx does not listen in time, or `CLIENTLET_NGINX` names no program.
    pub fn start_or_skip(listen: &str, server: &str) -> Result<Option<Nginx>, StartError> {
        let Some(program) = program() else {
            let reason = match is_left_out() {
                true => "CLIENTLET_NO_INTEROP is set",
                false => "it is not installed; `apt-get install nginx-light`",
            };
            // The harness would hide the output of `eprintln` when the test passes.
            let _ = writeln!(io::stderr(), "skipped: nginx: {reason}");
            return Ok(None);
        };
        let mut tries = 1;
        loop {
            match Nginx::start(&program, listen, server) {
                Err(StartError::Failed { .. }) if tries < TRIES => tries += 1,
                result => return result.map(Some),
            }
        }
    }

    /// nginx's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The end of nginx's error log, from level `warn` on.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    fn start(program: &Path, listen: &str, server: &str) -> Result<Nginx, StartError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("clientlet-nginx-{}-{number}", process::id()));
        fs::create_dir_all(&directory)?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        fs::write(directory.join("nginx.conf"), configuration(&directory, port, listen, server))?;
        let child = Command::new(program)
            .arg("-p")
            .arg(&directory)
            .args(["-e", "stderr", "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                let _ = fs::remove_dir_all(&directory);
                let text = format!("{}: {error}", program.display());
                return Err(io::Error::new(error.kind(), text).into());
            }
        };
        let log = LogTail::follow(child.stderr.take().expect("piped above"));
        // From here on a drop ends the process.
        let mut nginx = Nginx { child, port, directory, log };
        nginx.wait()?;
        Ok(nginx)
    }

    fn wait(&mut self) -> Result<(), StartError> {
        let began = Instant::now();
        while began.elapsed() < READY_WITHIN {
            if let Some(status) = self.child.try_wait()? {
                self.log.wait_for_end(READY_WITHIN);
                let reason = format!("nginx ended before it was ready: {status}");
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

impl Drop for Nginx {
    fn drop(&mut self) {
        // nginx runs as one process. An error means that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Finds nginx, unless foreign programs are skipped.
fn program() -> Option<PathBuf> {
    if let Some(named) = env::var_os(PROGRAM) {
        return Some(named.into());
    }
    if is_left_out() {
        return None;
    }
    let paths = env::var_os("PATH").unwrap_or_default();
    // Debian installs nginx where only root's PATH leads.
    let sbin = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut candidates = env::split_paths(&paths).chain(sbin).map(|path| path.join("nginx"));
    candidates.find(|candidate| candidate.is_file())
}

fn is_left_out() -> bool {
    env::var_os(LEFT_OUT).is_some() && env::var_os(DIRECTORY).is_none()
}

fn configuration(directory: &Path, port: u16, listen: &str, server: &str) -> String {
    let at = directory.display();
    format!(
        "daemon off;
master_process off;
error_log stderr warn;
pid {at}/pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    # For servers that say `limit_req zone=twenty;`: a request in 50 ms.
    limit_req_zone $server_port zone=twenty:1m rate=20r/s;
    server {{
        listen 127.0.0.1:{port} {listen};
        {server}
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn it_serves_until_it_is_dropped_and_leaves_nothing_behind() {
        let server = "location / { return 200 'hello'; }";
        let Some(nginx) = Nginx::start_or_skip("", server).unwrap() else { return };
        let mut stream = TcpStream::connect(("127.0.0.1", nginx.port())).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
        let (port, directory) = (nginx.port(), nginx.directory.clone());
        drop(nginx);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err() && !directory.exists());
    }

    #[test]
    fn unreadable_configuration_is_an_error() {
        if program().is_none() {
            return;
        }
        let error = Nginx::start_or_skip("", "no such thing;").unwrap_err();
        assert!(error.to_string().contains("unknown directive"), "{error}");
    }
}

//! squid as an HTTP proxy on the way to a gateway.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::daemon::{Daemon, Program};
use crate::error::StartError;

const SQUID: Program = Program { name: "squid", variable: "CLIENTLET_SQUID", package: "squid" };

/// Where Debian and others have squid's helpers.
const HELPERS: [&str; 3] = ["/usr/lib/squid", "/usr/lib64/squid", "/usr/libexec/squid"];
/// The helper that reads the file of users.
const HELPER: &str = "basic_ncsa_auth";
/// [`Squid::USER`] with the hash of [`Squid::PASSWORD`], as `openssl passwd -apr1` prints it.
const USERS: &str = "user:$apr1$clientlt$/mzWdR.vnfjgfpJZnWmuz1\n";

const LOGGED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// A squid on 127.0.0.1 that wants credentials, caches nothing, and connects to every host but
/// those of [`Squid::FORBIDDEN`]. It finds no names besides those of `/etc/hosts`. Dropping this value ends squid.
#[derive(Debug)]
pub struct Squid(Daemon);

impl Squid {
    /// The user that squid knows.
    pub const USER: &str = "user";
    /// The user's password.
    pub const PASSWORD: &str = "proxy-secret";
    /// The domain that squid's rules do not allow, whatever the credentials are.
    pub const FORBIDDEN: &str = "forbidden.example";

    /// Starts squid and waits for at most 30 s until it listens. Returns `None` if squid is missing or
    /// foreign programs are skipped, and says so on standard error, past the test harness.
    ///
    /// # Errors
    /// If squid does not listen in time, or `CLIENTLET_SQUID` names no program.
    pub fn start_or_skip() -> Result<Option<Squid>, StartError> {
        let start = |program: &Path, directory: &Path, port: u16| {
            fs::write(directory.join("users"), USERS)?;
            let path = directory.join("squid.conf");
            fs::write(&path, configuration(directory, port))?;
            let mut command = Command::new(program);
            command.arg("-N").arg("-f").arg(path);
            Ok(command)
        };
        Ok(SQUID.start_or_skip(start)?.map(Squid))
    }

    /// squid's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// The end of squid's own log.
    #[must_use]
    pub fn log(&self) -> String {
        self.0.log()
    }

    /// The lines of the access log: method, target as the client wrote it, status and user. Connections
    /// without a request are left out. squid writes a line when a request or a tunnel has ended; this waits
    /// until the lines are enough, for at most 30 s.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn accesses(&self, are_enough: impl Fn(&[String]) -> bool) -> io::Result<Vec<String>> {
        let began = Instant::now();
        loop {
            let log = fs::read_to_string(self.0.directory().join("access"))?;
            let requests = log.lines().filter(|line| !line.starts_with("- error:"));
            let lines: Vec<String> = requests.map(str::to_owned).collect();
            if are_enough(&lines) || began.elapsed() > LOGGED_WITHIN {
                return Ok(lines);
            }
            thread::sleep(POLL);
        }
    }
}

fn configuration(directory: &Path, port: u16) -> String {
    let (at, forbidden) = (directory.display(), Squid::FORBIDDEN);
    let mut helpers = HELPERS.iter().map(|helpers| Path::new(helpers).join(HELPER));
    // Without the helper squid says that it does not find it.
    let helper = helpers.find(|helper| helper.is_file()).unwrap_or_else(|| HELPER.into());
    let helper = helper.display();
    format!(
        "http_port 127.0.0.1:{port}
pid_filename none
pinger_enable off
auth_param basic program {helper} {at}/users
auth_param basic realm proxy
acl known proxy_auth REQUIRED
acl forbidden dstdomain .{forbidden}
http_access deny forbidden
http_access allow known
http_access deny all
cache deny all
# No name is looked up in a network.
dns_nameservers 127.0.0.1
dns_timeout 1 second
dns_retransmit_interval 1 second
logformat short %rm %ru %>Hs %un
access_log stdio:{at}/access short
cache_log /dev/null
coredump_dir {at}
max_filedescriptors 1024
"
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn it_wants_credentials_and_logs_each_request() {
        let Some(squid) = Squid::start_or_skip().unwrap() else { return };
        let mut stream = TcpStream::connect(("127.0.0.1", squid.port())).unwrap();
        stream.write_all(b"GET http://127.0.0.1:1/ HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
        assert_eq!(
            squid.accesses(|lines| !lines.is_empty()).unwrap(),
            ["GET http://127.0.0.1:1/ 407 -"]
        );
    }
}

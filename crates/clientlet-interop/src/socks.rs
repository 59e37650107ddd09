//! microsocks as a SOCKS5 proxy on the way to a gateway.

use std::path::Path;
use std::process::Command;

use crate::daemon::{Daemon, Program};
use crate::error::StartError;

const MICROSOCKS: Program =
    Program { name: "microsocks", variable: "CLIENTLET_MICROSOCKS", package: "microsocks" };

/// A microsocks on 127.0.0.1. Dropping this value ends it.
#[derive(Debug)]
pub struct Socks(Daemon);

impl Socks {
    /// Starts microsocks, which wants this user and password if they are given, and waits for at most
    /// 30 s until it listens. Returns `None` if microsocks is missing or foreign programs are skipped,
    /// and says so on standard error, past the test harness.
    ///
    /// # Errors
    /// If microsocks does not listen in time, or `CLIENTLET_MICROSOCKS` names no program.
    pub fn start_or_skip(credentials: Option<(&str, &str)>) -> Result<Option<Socks>, StartError> {
        let start = |program: &Path, _: &Path, port: u16| {
            let mut command = Command::new(program);
            command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
            if let Some((user, password)) = credentials {
                command.args(["-u", user, "-P", password]);
            }
            Ok(command)
        };
        Ok(MICROSOCKS.start_or_skip(start)?.map(Socks))
    }

    /// The proxy's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// The hosts and ports to which the proxy has connected, as the clients named them. They are read
    /// from the end of the proxy's log.
    #[must_use]
    pub fn connected(&self) -> Vec<String> {
        let log = self.0.log();
        let to = log.lines().filter_map(|line| line.split_once(": connected to "));
        to.map(|(_, to)| to.to_owned()).collect()
    }
}

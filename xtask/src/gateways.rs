//! Installs the real Jina gateways that tests run against, and the servers that tests put before them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Beside, workspace};
use crate::python;
use crate::servers::{self, SERVERS, Server};
use crate::steps::{Steps, Stopped};

pub(crate) const LEFT_OUT: &str = "--no-interop was given";

/// The places of the gateways and of the servers before them.
#[derive(Debug)]
pub(crate) struct Gateways {
    /// `None` if real gateways are left out.
    environments: Option<PathBuf>,
    /// The installation in the background; `None` after [`wait`](Gateways::wait).
    installing: Option<Beside>,
    /// The servers that tests may use.
    servers: Vec<(&'static Server, PathBuf)>,
}

/// Starts to install the gateways below the target directory, or records that they are left out.
/// Everything else that their tests need is installed when this function returns.
pub(crate) fn prepare(
    steps: &mut Steps,
    target: &Path,
    interop: bool,
) -> Result<Gateways, Stopped> {
    if !interop {
        steps.leave_out("Python", LEFT_OUT);
        steps.leave_out("real gateways", LEFT_OUT);
        for server in &SERVERS {
            steps.leave_out(server.name, LEFT_OUT);
        }
        return Ok(Gateways { environments: None, installing: None, servers: Vec::new() });
    }
    let python = steps.run("Python", &python::hint(), python::find_or_install)?;
    let mut found = Vec::new();
    for server in &SERVERS {
        if server.is_in_reach() {
            let path = steps.run(server.name, servers::HINT, || server.find_or_install())?;
            found.push((server, path));
        } else {
            steps.leave_out(server.name, server.missing);
        }
    }
    let environments = target.join("interop");
    let mut install = Command::new(workspace().join("interop/install"));
    install.arg(&environments).env("INTEROP_PYTHON", python);
    // In the background, because the installation mostly waits for the network.
    let installing = Some(Beside::start(install));
    Ok(Gateways { environments: Some(environments), installing, servers: found })
}

impl Gateways {
    /// Waits until the gateways are installed.
    pub(crate) fn wait(&mut self, steps: &mut Steps) -> Result<(), Stopped> {
        let Some(installing) = self.installing.take() else { return Ok(()) };
        let hint = "is the Python package index in reach? `--no-interop` leaves this step out";
        steps.run("real gateways", hint, || installing.finish())
    }

    /// Where the real gateways are installed; `None` if they are left out.
    pub(crate) fn environments(&self) -> Option<&Path> {
        self.environments.as_deref()
    }

    /// Tells the tests where the gateways are, so that a missing gateway is a failure. If gateways are
    /// left out, tells the tests not to look for any.
    pub(crate) fn tell(&self, test: &mut Command) {
        match &self.environments {
            Some(directory) => {
                test.env("CLIENTLET_INTEROP", directory).env_remove("CLIENTLET_NO_INTEROP")
            }
            None => test.env("CLIENTLET_NO_INTEROP", "1").env_remove("CLIENTLET_INTEROP"),
        };
        for server in &SERVERS {
            test.env_remove(server.variable);
        }
        for (server, path) in &self.servers {
            test.env(server.variable, path);
        }
    }
}

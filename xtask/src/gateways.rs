//! Installs the real Jina gateways that tests run against, and nginx as a proxy before them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Beside, workspace};
use crate::steps::{Steps, Stopped};
use crate::{nginx, python};

pub(crate) const LEFT_OUT: &str = "--no-interop was given";

/// The places of the gateways and of nginx.
#[derive(Debug)]
pub(crate) struct Gateways {
    /// `None` if real gateways are left out.
    environments: Option<PathBuf>,
    /// The installation in the background; `None` after [`wait`](Gateways::wait).
    installing: Option<Beside>,
    nginx: Option<PathBuf>,
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
        steps.leave_out("nginx", LEFT_OUT);
        return Ok(Gateways { environments: None, installing: None, nginx: None });
    }
    let python = steps.run("Python", &python::hint(), python::find_or_install)?;
    let nginx = match nginx::is_in_reach() {
        true => Some(steps.run("nginx", nginx::HINT, nginx::find_or_install)?),
        false => {
            steps.leave_out("nginx", "it is not installed; on Debian it is nginx-light");
            None
        }
    };
    let environments = target.join("interop");
    let mut install = Command::new(workspace().join("interop/install"));
    install.arg(&environments).env("INTEROP_PYTHON", python);
    // In the background, because the installation mostly waits for the network.
    let installing = Some(Beside::start(install));
    Ok(Gateways { environments: Some(environments), installing, nginx })
}

impl Gateways {
    /// Waits until the gateways are installed.
    pub(crate) fn wait(&mut self, steps: &mut Steps) -> Result<(), Stopped> {
        let Some(installing) = self.installing.take() else { return Ok(()) };
        let hint = "is the Python package index in reach? `--no-interop` leaves this step out";
        steps.run("real gateways", hint, || installing.finish())
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
        match &self.nginx {
            Some(nginx) => test.env("CLIENTLET_NGINX", nginx),
            None => test.env_remove("CLIENTLET_NGINX"),
        };
    }
}

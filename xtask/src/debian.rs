//! Installs Debian packages that tests need.

use std::path::Path;
use std::process::Command;

use crate::command;

/// Whether packages may be installed: only in CI, on Debian and as root, so that no developer's
/// machine is changed.
pub(crate) fn may_install() -> bool {
    command::is_ci()
        && Path::new("/etc/debian_version").exists()
        && command::output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}

pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    command::run(apt().arg("update"))?;
    command::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

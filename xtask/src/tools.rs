//! Subcommands of cargo that do not come with it: pinned, and installed below the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, cargo, workspace};

/// A package of crates.io that is a subcommand of cargo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// Of the package and of its program: `cargo-` and the subcommand.
    name: &'static str,
    version: &'static str,
}

// Each of these is built by the Rust that we state as the oldest.
pub(crate) const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
pub(crate) const HACK: Tool = Tool { name: "cargo-hack", version: "0.6.46" };
pub(crate) const LLVM_COV: Tool = Tool { name: "cargo-llvm-cov", version: "0.9.1" };
pub(crate) const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

/// A tool that is there.
#[derive(Debug)]
pub(crate) struct Installed {
    tool: Tool,
    program: PathBuf,
}

/// Where tools are installed.
pub(crate) fn directory(target: &Path) -> PathBuf {
    target.join("tools")
}

impl Tool {
    /// Builds it, unless it is there already in this version; then no network is needed.
    pub(crate) fn install(self, target: &Path) -> Result<Installed, String> {
        let Tool { name, version } = self;
        // A directory a version: what is in it is what was asked for.
        let root = directory(target).join(format!("{name}-{version}"));
        let program = root.join("bin").join(name);
        let installed = Installed { tool: self, program };
        if installed.program.exists() {
            eprintln!("{name} {version} is there");
            return Ok(installed);
        }
        let build = root.join("build");
        let mut install = cargo();
        install
            .args(["install", name, "--version", version, "--locked", "--root"])
            .arg(&root)
            // Compiling is most of what they cost; what they do is soon done.
            .arg("--debug")
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_TARGET_DIR", &build)
            // Flags meant for this repository's code may not suit that of others.
            .env_remove("RUSTFLAGS");
        command::run(&mut install)?;
        // It is of no further use, and large; if some of it stays, nothing breaks.
        let _ = fs::remove_dir_all(build);
        Ok(installed)
    }
}

impl Installed {
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A command line that begins with the subcommand, in the workspace's top directory.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Cargo tells its subcommands their own name first.
        command.arg(self.tool.name.trim_start_matches("cargo-"));
        command.current_dir(workspace());
        command
    }
}

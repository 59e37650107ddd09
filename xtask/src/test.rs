//! `cargo xtask test`: everything that has to pass, in order of what is cheap to know first.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::arguments::TestOptions;
use crate::command::{self, cargo, workspace};
use crate::metadata::Metadata;
use crate::steps::{Steps, Stopped};
use crate::tools::{self, Installed};
use crate::{gateways, links, msrv, packages, structure, suite, weight};

const NO_TOOLS: &str = "--quick was given";

/// Runs all steps up to the first that fails, and prints the table.
pub(crate) fn run(options: TestOptions) -> ExitCode {
    let mut steps = Steps::default();
    let result = run_steps(&mut steps, options);
    eprintln!("\n{}", steps.table());
    for missed in missed(options) {
        eprintln!("LEFT OUT: {missed}");
    }
    match result {
        Ok(()) => {
            eprintln!("all steps passed");
            ExitCode::SUCCESS
        }
        Err(Stopped) => ExitCode::FAILURE,
    }
}

/// What was not looked at, as asked, and how it would be.
fn missed(options: TestOptions) -> Vec<&'static str> {
    let mut missed = Vec::new();
    if !options.interop {
        missed.push(
            "nothing was tested against a real Jina gateway.\n\
             `cargo xtask test` does it; it needs Python 3.11.",
        );
    }
    if !options.tools {
        missed.push(
            "licences and sources were not looked at, nor crates built alone.\n\
             `cargo xtask test --no-interop` does it; it installs cargo-deny and cargo-hack first.",
        );
    }
    missed
}

fn run_steps(steps: &mut Steps, options: TestOptions) -> Result<(), Stopped> {
    steps.run("Rust tools", "`rustup component add rustfmt clippy`", check_tools)?;
    let metadata =
        steps.run("dependencies", "is the package registry in reach?", Metadata::read)?;
    let target = &metadata.target_directory;
    let mut gateways = gateways::prepare(steps, target, options.interop)?;
    let tools = Tools::prepare(steps, target, options.tools)?;

    steps.run("format", "`cargo fmt --all` puts it right", || {
        command::run(cargo().args(["fmt", "--all", "--check"]))
    })?;
    steps.run("links", "a heading's anchor is its words in small letters, joined by -", || {
        links::check(workspace()).map(|said| eprintln!("{said}"))
    })?;
    steps.run("structure", "ARCHITECTURE.md says which module may use which", || {
        structure::check(workspace()).map(|said| eprintln!("{said}"))
    })?;
    steps.run(
        "oldest Rust",
        "pin an older release, or raise rust-version in Cargo.toml",
        || msrv::check(&metadata).map(|said| eprintln!("{said}")),
    )?;
    steps.run("weight", "a feature of the library may take the dependency along", || {
        weight::check().map(|said| eprintln!("{said}"))
    })?;
    match &tools {
        Some(Tools { deny, .. }) => steps.run(
            "licences, bans, sources",
            "deny.toml says what is allowed, and why",
            // The fourth check, of advisories, needs a database that deny.toml tells about.
            || command::run(deny.command().args(["check", "licenses", "bans", "sources"])),
        )?,
        None => steps.leave_out("licences, bans, sources", NO_TOOLS),
    }
    steps.run("clippy", "an exception needs `#[expect(.., reason = \"..\")]`", || {
        let line =
            ["clippy", "--workspace", "--all-features", "--all-targets", "--", "-D", "warnings"];
        command::run(cargo().args(line))
    })?;
    match &tools {
        Some(Tools { hack, .. }) => steps.run(
            "each crate and feature alone",
            "a dependency's feature that the crate uses is missing from its own Cargo.toml",
            || check_features(hack),
        )?,
        None => steps.leave_out("each crate and feature alone", NO_TOOLS),
    }
    steps.run("packages", "a package holds the files below its crate's folder alone", || {
        packages::check(&metadata)
    })?;
    let jobs = steps.run("build", "the compiler's message is above", || suite::build(&metadata))?;
    gateways.wait(steps)?;
    steps.run("tests", "each of these lines runs one alone; what it said is above", || {
        suite::run(jobs, &gateways)
    })?;
    steps.run("what ran on which gateway", "a test writes the page anew", || {
        show_contract(options.interop)
    })?;
    steps.run("documentation", "rustdoc's message is above", || {
        let line = ["doc", "--workspace", "--all-features", "--no-deps"];
        command::run(cargo().args(line).env("RUSTDOCFLAGS", "-D warnings"))
    })
}

/// Prints which cases of the contract have run on which gateway, which were skipped and why: a page
/// that the contract's tests hold to its word.
fn show_contract(with_real_gateways: bool) -> Result<(), String> {
    let path = workspace().join("interop/expected/contract.md");
    let page = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    eprintln!("{page}");
    if !with_real_gateways {
        eprintln!("Nothing ran on the gateways of Jina: --no-interop was given.");
    }
    Ok(())
}

/// Programs that check what cargo does not.
#[derive(Debug)]
struct Tools {
    deny: Installed,
    hack: Installed,
}

impl Tools {
    fn prepare(steps: &mut Steps, target: &Path, wanted: bool) -> Result<Option<Tools>, Stopped> {
        if !wanted {
            steps.leave_out("cargo-deny", NO_TOOLS);
            steps.leave_out("cargo-hack", NO_TOOLS);
            return Ok(None);
        }
        let hint = "is crates.io in reach? `--quick` goes on without";
        let deny = steps.run("cargo-deny", hint, || tools::DENY.install(target))?;
        let hack = steps.run("cargo-hack", hint, || tools::HACK.install(target))?;
        Ok(Some(Tools { deny, hack }))
    }
}

fn check_tools() -> Result<(), String> {
    for tool in ["fmt", "clippy"] {
        let version = command::output(cargo().args([tool, "--version"]))
            .ok_or_else(|| format!("`cargo {tool}` is not installed"))?;
        eprintln!("{}", version.trim());
    }
    Ok(())
}

/// A crate that is built with the others has the features that they ask for; a stranger's has not.
fn check_features(hack: &Installed) -> Result<(), String> {
    // Not `--no-dev-deps`, which rewrites every Cargo.toml while it runs: libraries and programs
    // alone do not get the features of what their tests depend on.
    // All other steps build with the default features.
    let line = ["check", "--workspace", "--feature-powerset", "--depth", "2"];
    let fewer = ["--exclude-features", "default", "--group-features", "half,ndarray"];
    let other_crates = ["--ignore-unknown-features"];
    command::run(hack.command().args(line).args(fewer).args(other_crates))?;
    let line = ["test", "-p", "clientlet", "--no-default-features", "--test", "http_alone"];
    command::run(cargo().args(line))
}

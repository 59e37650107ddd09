//! `cargo xtask test`: all checks that must pass, the cheapest first.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::arguments::TestOptions;
use crate::command::{self, cargo, workspace};
use crate::metadata::Metadata;
use crate::steps::{Steps, Stopped};
use crate::tools::{self, Installed};
use crate::{gateways, links, msrv, packages, python, structure, suite, weight, wheel};

const NO_TOOLS: &str = "--quick was given";

/// Runs the steps until one fails, and prints the table.
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

/// The checks that were left out on request, and how to run them.
fn missed(options: TestOptions) -> Vec<&'static str> {
    let mut missed = Vec::new();
    if !options.interop {
        missed.push(
            "tests against real Jina gateways.\n\
             `cargo xtask test` runs them; it needs Python 3.11.",
        );
    }
    if !options.tools {
        missed.push(
            "checks of licences and sources, and of each crate alone.\n\
             `cargo xtask test --no-interop` runs them; it first installs cargo-deny and cargo-hack.",
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

    steps.run("format", "`cargo fmt --all` formats the code", || {
        command::run(cargo().args(["fmt", "--all", "--check"]))
    })?;
    steps.run("links", "a heading's anchor is its words in lower case, joined by `-`", || {
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
            // The fourth check, advisories, needs a database; see deny.toml.
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
    steps.run("packages", "a package contains only the files below its crate's folder", || {
        packages::check(&metadata)
    })?;
    let jobs = steps.run("build", "the compiler's message is above", || suite::build(&metadata))?;
    gateways.wait(steps)?;
    steps.run(
        "tests",
        "each of these lines runs one program alone; its output is above",
        || suite::run(jobs, &gateways),
    )?;
    if !options.tools {
        steps.leave_out(wheel::STEP, NO_TOOLS);
    } else if !options.interop && python::find().is_err() {
        steps.leave_out(wheel::STEP, "there is no Python 3.11");
    } else {
        steps.run(wheel::STEP, wheel::HINT, || wheel::check(target, gateways.environments()))?;
    }
    steps.run("what ran on which gateway", "a test writes this page", || {
        show_contract(options.interop)
    })?;
    steps.run("documentation", "rustdoc's message is above", || {
        let line = ["doc", "--workspace", "--all-features", "--no-deps"];
        command::run(cargo().args(line).env("RUSTDOCFLAGS", "-D warnings"))
    })
}

/// Prints the page that says which cases of the contract ran on which gateway, which were skipped, and
/// why. The contract's tests keep this page true.
fn show_contract(with_real_gateways: bool) -> Result<(), String> {
    let path = workspace().join("interop/expected/contract.md");
    let page = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    eprintln!("{page}");
    if !with_real_gateways {
        eprintln!("No case ran on a real Jina gateway: --no-interop was given.");
    }
    Ok(())
}

/// The programs for checks that cargo does not have.
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
        let hint = "is crates.io in reach? `--quick` leaves this step out";
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

/// Builds each crate alone. Built with the others, a crate's dependencies also have the features that
/// the other crates ask for; in a user's build they do not.
fn check_features(hack: &Installed) -> Result<(), String> {
    // `--no-dev-deps` is not needed and would rewrite every Cargo.toml while it runs: libraries and
    // programs built alone do not get the features of dev-dependencies.
    // All other steps build with the default features, so these builds leave out `default`.
    let line = ["check", "--workspace", "--feature-powerset", "--depth", "2"];
    let fewer = ["--exclude-features", "default", "--group-features", "half,ndarray"];
    let other_crates = ["--ignore-unknown-features"];
    command::run(hack.command().args(line).args(fewer).args(other_crates))?;
    let line = ["test", "-p", "clientlet", "--no-default-features", "--test", "http_alone"];
    command::run(cargo().args(line))
}

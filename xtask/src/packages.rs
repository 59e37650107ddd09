//! The crates that are published, built from their packages alone.

use crate::command::{self, cargo};
use crate::metadata::Metadata;

/// Packs each crate that is published and builds it from its package: a package must not need a file
/// or a feature that only this repository has.
///
/// # Errors
/// When a crate cannot be packed or built; cargo has said why.
pub(crate) fn check(metadata: &Metadata) -> Result<(), String> {
    let members = &metadata.workspace_members;
    let published = metadata.packages.iter().filter(|package| members.contains(&package.id));
    let published: Vec<_> = published.filter(|package| package.is_published()).collect();
    let options = published.iter().flat_map(|package| ["-p", &package.name]);
    // Work in progress may be checked too.
    let mut package = cargo();
    package.args(["package", "--quiet", "--allow-dirty"]).args(options);
    // Nothing of what is built is run.
    package.env("CARGO_PROFILE_DEV_DEBUG", "false").env("CARGO_INCREMENTAL", "0");
    command::run(&mut package)
}

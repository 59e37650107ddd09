//! Builds each published crate from its package alone.

use crate::command::{self, cargo};
use crate::metadata::Metadata;

/// Packs each published crate and builds it from its package, because a package must not need a file or
/// a feature that only this repository has.
///
/// # Errors
/// If a crate cannot be packed or built. Cargo has printed the reason.
pub(crate) fn check(metadata: &Metadata) -> Result<(), String> {
    let members = &metadata.workspace_members;
    let published = metadata.packages.iter().filter(|package| members.contains(&package.id));
    let published: Vec<_> = published.filter(|package| package.is_published()).collect();
    let options = published.iter().flat_map(|package| ["-p", &package.name]);
    // Uncommitted work may be checked too.
    let mut package = cargo();
    package.args(["package", "--quiet", "--allow-dirty"]).args(options);
    // The result is never run, so debug information and incremental data are useless.
    package.env("CARGO_PROFILE_DEV_DEBUG", "false").env("CARGO_INCREMENTAL", "0");
    command::run(&mut package)
}

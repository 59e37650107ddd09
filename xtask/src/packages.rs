//! Builds each published crate from its package alone.

use std::path::PathBuf;
use std::{env, fs};

use crate::command::{self, cargo};
use crate::metadata::{Metadata, Package};

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
    forget(&published);
    // Uncommitted work may be checked too.
    let mut package = cargo();
    package.args(["package", "--quiet", "--allow-dirty"]).args(options);
    // The result is never run, so debug information and incremental data are useless.
    package.env("CARGO_PROFILE_DEV_DEBUG", "false").env("CARGO_INCREMENTAL", "0");
    command::run(&mut package)
}

/// Removes the copies of the packages that cargo has unpacked in an earlier run. Cargo unpacks a release once,
/// since it takes releases for unchangeable, and would build the old code again.
fn forget(published: &[&Package]) {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let sources = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    for registry in sources.into_iter().flatten().flatten() {
        for Package { name, version, .. } in published {
            // Nearly always there is none.
            let _ = fs::remove_dir_all(registry.path().join(format!("{name}-{version}")));
        }
    }
}

//! The facts that cargo knows about the workspace and its dependencies.

use std::path::PathBuf;

use serde::Deserialize;

use crate::command::{self, cargo};

/// The part of the output of `cargo metadata` that is used here.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// Every package of the resolved graph, for every kind of dependency and every platform.
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    /// Respects `CARGO_TARGET_DIR` and cargo's configuration.
    pub(crate) target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rust_version: Option<String>,
    /// The registries to which the package may be published; `None` means any.
    pub(crate) publish: Option<Vec<String>>,
}

impl Package {
    pub(crate) fn is_published(&self) -> bool {
        self.publish.is_none()
    }
}

impl Metadata {
    pub(crate) fn read() -> Result<Self, String> {
        let json = command::output(cargo().args(["metadata", "--format-version", "1"]))
            .ok_or("`cargo metadata` failed; run it to see why")?;
        serde_json::from_str(&json).map_err(|error| format!("`cargo metadata`: {error}"))
    }
}

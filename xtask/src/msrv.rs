//! Compares our `rust-version` with those of our dependencies.

use crate::metadata::{Metadata, Package};

type Version = [u32; 3];

/// Returns a line that says what was compared.
///
/// # Errors
/// Names each dependency that needs a newer Rust than a workspace member does.
pub(crate) fn check(metadata: &Metadata) -> Result<String, String> {
    let is_ours = |package: &&Package| metadata.workspace_members.contains(&package.id);
    let (ours, theirs): (Vec<&Package>, Vec<&Package>) =
        metadata.packages.iter().partition(is_ours);

    let oldest = demands(&ours)?
        .into_iter()
        .map(|(version, _)| version)
        .min()
        .ok_or("no workspace member states its rust-version")?;
    let demands = demands(&theirs)?;

    let excessive: Vec<String> = demands
        .iter()
        .filter(|(version, _)| *version > oldest)
        .map(|(version, package)| {
            format!("{} {} needs {}", package.name, package.version, show(*version))
        })
        .collect();
    if !excessive.is_empty() {
        let excessive = excessive.join(", ");
        return Err(format!("we state rust-version {}, but {excessive}", show(oldest)));
    }

    let newest = match demands.iter().max_by_key(|(version, _)| *version) {
        Some((version, package)) => {
            format!("{} needs the newest, {}", package.name, show(*version))
        }
        None => "none states one".to_owned(),
    };
    Ok(format!("rust-version {}; of {} dependencies {newest}", show(oldest), theirs.len()))
}

/// The packages that state a `rust-version`, with this version.
fn demands<'a>(packages: &[&'a Package]) -> Result<Vec<(Version, &'a Package)>, String> {
    let mut demands = Vec::new();
    for package in packages {
        if let Some(text) = &package.rust_version {
            let version = parse(text).ok_or_else(|| {
                format!("{}: rust-version `{text}` is not understood", package.name)
            })?;
            demands.push((version, *package));
        }
    }
    Ok(demands)
}

/// Parses a version such as `1.88` or `1.88.0`, which are equal. Cargo allows no other form.
fn parse(text: &str) -> Option<Version> {
    let mut version = [0; 3];
    let mut parts = text.split('.');
    for place in &mut version {
        match parts.next() {
            Some(part) => *place = part.parse().ok()?,
            None => break,
        }
    }
    parts.next().is_none().then_some(version)
}

fn show([major, minor, patch]: Version) -> String {
    if patch == 0 { format!("{major}.{minor}") } else { format!("{major}.{minor}.{patch}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(ours: &str, theirs: &[(&str, Option<&str>)]) -> Metadata {
        let package = |name: &str, rust_version: Option<&str>| Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            rust_version: rust_version.map(str::to_owned),
            publish: None,
        };
        let mut packages = vec![package("ours", Some(ours))];
        packages.extend(theirs.iter().map(|(name, version)| package(name, *version)));
        Metadata {
            packages,
            workspace_members: vec!["ours".to_owned()],
            target_directory: "target".into(),
        }
    }

    #[test]
    fn dependencies_as_old_as_we_are_pass() {
        let metadata = metadata("1.88", &[("a", Some("1.88.0")), ("b", Some("1.9")), ("c", None)]);
        let said = check(&metadata).unwrap();
        assert!(said.contains("a needs the newest, 1.88"), "{said}");
    }

    #[test]
    fn dependency_that_needs_a_newer_rust_fails_by_name() {
        let metadata = metadata("1.88", &[("a", Some("1.88.1")), ("b", Some("1.100"))]);
        let error = check(&metadata).unwrap_err();
        assert!(error.contains("a 0.1.0 needs 1.88.1"), "{error}");
        assert!(error.contains("b 0.1.0 needs 1.100"), "{error}");
    }

    #[test]
    fn unreadable_version_fails() {
        assert!(check(&metadata("1.88", &[("a", Some("1.x"))])).is_err());
        assert!(check(&metadata("1.88", &[("a", Some("1.2.3.4"))])).is_err());
    }

    #[test]
    fn cargos_own_output_is_understood() {
        let json = r#"{
            "packages": [
                {"id": "p#0.1.0", "name": "p", "version": "0.1.0", "rust_version": "1.88", "edition": "2024"},
                {"id": "q#2.0.0", "name": "q", "version": "2.0.0", "rust_version": null}
            ],
            "workspace_members": ["p#0.1.0"],
            "target_directory": "/somewhere/target"
        }"#;
        let metadata: Metadata = serde_json::from_str(json).unwrap();
        assert_eq!(
            check(&metadata).unwrap(),
            "rust-version 1.88; of 1 dependencies none states one"
        );
    }
}

//! Checks the links in the repository's Markdown files. The network is not used: only the form of an
//! address outside the repository is checked.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::markdown::{self, Document, Target};

/// Returns a line with the number of links.
///
/// # Errors
/// Lists every link whose target does not exist.
pub(crate) fn check(repository: &Path) -> Result<String, String> {
    let documents = read_all(repository)?;
    let mut broken = Vec::new();
    for (path, document) in &documents {
        for link in &document.links {
            let verdict = match &link.target {
                Target::Address(address) => check_address(repository, path, address, &documents),
                Target::Undefined { label } => Err(format!("[{label}] is defined nowhere")),
            };
            if let Err(reason) = verdict {
                broken.push(format!("{}:{}: {reason}", path.display(), link.line));
            }
        }
    }
    if !broken.is_empty() {
        broken.sort();
        return Err(format!("{} links lead nowhere\n  {}", broken.len(), broken.join("\n  ")));
    }
    let links: usize = documents.values().map(|document| document.links.len()).sum();
    Ok(format!("{links} links in {} Markdown files", documents.len()))
}

/// The Markdown files by their paths below the repository.
type Documents = HashMap<PathBuf, Document>;

fn read_all(repository: &Path) -> Result<Documents, String> {
    let mut documents = Documents::new();
    let mut directories = vec![repository.to_owned()];
    while let Some(directory) = directories.pop() {
        let failed = |error| format!("{} cannot be read: {error}", directory.display());
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() && is_ours(&path) {
                directories.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|end| end == "md") {
                let text = fs::read_to_string(&path)
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                let name = path.strip_prefix(repository).unwrap_or(&path).to_owned();
                documents.insert(name, markdown::read(&text));
            }
        }
    }
    Ok(documents)
}

/// Whether a folder belongs to the repository's sources. Git's folder does not, nor do build output
/// and virtual environments, which cargo and Python mark with a file.
fn is_ours(directory: &Path) -> bool {
    !directory.ends_with(".git")
        && !directory.join("CACHEDIR.TAG").exists()
        && !directory.join("pyvenv.cfg").exists()
}

fn check_address(
    repository: &Path,
    from: &Path,
    address: &str,
    documents: &Documents,
) -> Result<(), String> {
    if let Some((scheme, rest)) = scheme(address) {
        return check_foreign(scheme, rest).map_err(|reason| format!("`{address}`: {reason}"));
    }
    let (path, fragment) = match address.split_once('#') {
        Some((path, fragment)) => (path, Some(fragment)),
        None => (address, None),
    };
    let path = percent_decoded(path).ok_or_else(|| format!("`{address}` is badly encoded"))?;
    let target =
        resolve(from, &path).ok_or_else(|| format!("`{address}` leads out of the repository"))?;
    let place = repository.join(&target);
    if !place.exists() {
        return Err(format!("`{address}`: there is no {}", target.display()));
    }
    match (fragment, documents.get(&target)) {
        (None, _) => Ok(()),
        (Some(anchor), Some(document)) if document.anchors.contains(anchor) => Ok(()),
        (Some(anchor), Some(_)) => {
            Err(format!("`{address}`: no heading of {} is #{anchor}", target.display()))
        }
        (Some(lines), None) => check_lines(&place, lines)
            .ok_or_else(|| format!("`{address}`: {} has no #{lines}", target.display())),
    }
}

/// Splits an address at its first colon, if the text before the colon can be a scheme.
fn scheme(address: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = address.split_once(':')?;
    let is_one = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_one.then_some((scheme, rest))
}

fn check_foreign(scheme: &str, rest: &str) -> Result<(), String> {
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it contains a space".to_owned());
    }
    match scheme {
        "http" | "https" => {
            let host = rest.strip_prefix("//").unwrap_or_default();
            let host = host.split(['/', '?', '#']).next().unwrap_or_default();
            let is_host = host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
            if is_host { Ok(()) } else { Err("it names no host".to_owned()) }
        }
        "mailto" if rest.contains('@') => Ok(()),
        "mailto" => Err("it names no mailbox".to_owned()),
        other => Err(format!("readers cannot follow `{other}:`")),
    }
}

/// The target of a link in `from`, as a path below the repository. Returns `None` if the target is
/// outside the repository.
fn resolve(from: &Path, path: &str) -> Option<PathBuf> {
    let mut place = match path {
        // The link's own page.
        "" => return Some(from.to_owned()),
        // Forges resolve `/` to the top of the repository.
        rooted if rooted.starts_with('/') => PathBuf::new(),
        _ => from.parent()?.to_owned(),
    };
    for component in Path::new(path.trim_start_matches('/')).components() {
        match component {
            Component::Normal(name) => place.push(name),
            Component::CurDir => {}
            Component::ParentDir if place.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(place)
}

/// Checks an anchor like `L3` or `L3-L7`. Returns `None` if the file has no such lines.
fn check_lines(file: &Path, lines: &str) -> Option<()> {
    let (first, last) = lines.split_once('-').unwrap_or((lines, lines));
    let number = |line: &str| line.strip_prefix('L')?.parse::<usize>().ok();
    let (first, last) = (number(first)?, number(last)?);
    let count = fs::read_to_string(file).ok()?.lines().count();
    (1 <= first && first <= last && last <= count).then_some(())
}

/// Returns `None` if the text is not percent-encoded UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Makes a repository with these files.
    fn repository(files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    /// Checks a link in `docs/page.md` of a repository with a few other files.
    fn check_link(address: &str) -> Result<String, String> {
        let page = format!("# The page\n\n[link](<{address}>)\n");
        let files = [
            ("README.md", "# Top\n"),
            ("docs/page.md", &*page),
            ("docs/other page.md", "## Part two\n"),
            ("src/lib.rs", "one\ntwo\n"),
        ];
        check(repository(&files).path())
    }

    #[test]
    fn links_to_existing_targets_pass() {
        for address in [
            "other page.md",
            "other%20page.md#part-two",
            "#the-page",
            "../README.md",
            "../README.md#top",
            "/README.md",
            "./../src/",
            "../src/lib.rs#L2",
            "../src/lib.rs#L1-L2",
            "https://example.org/x?y#z",
            "http://[::1]:8080",
            "mailto:someone@example.org",
        ] {
            let said = check_link(address).unwrap_or_else(|error| panic!("{address}: {error}"));
            assert_eq!(said, "1 links in 3 Markdown files");
        }
    }

    #[test]
    fn broken_links_are_named_with_place_and_reason() {
        for (address, reason) in [
            ("gone.md", "there is no docs/gone.md"),
            ("README.md", "there is no docs/README.md"),
            ("other page.md#part-three", "#part-three"),
            ("#page", "#page"),
            ("../../elsewhere.md", "leads out"),
            ("../src/lib.rs#L3", "has no #L3"),
            ("../src/lib.rs#main", "has no #main"),
            ("bad%2.md", "badly encoded"),
            ("https://", "names no host"),
            ("https:example.org", "names no host"),
            ("https://example.org/a b", "a space"),
            ("mailto:nobody", "no mailbox"),
            ("file:///etc/hosts", "`file:`"),
        ] {
            let error = check_link(address).unwrap_err();
            assert!(error.contains("docs/page.md:3: "), "{address}: {error}");
            assert!(error.contains(reason), "{address}: {error}");
        }
    }

    #[test]
    fn all_broken_links_are_reported_at_once() {
        let text = "[a](a.md)\n[b](b.md)\n[c][c]\n";
        let error = check(repository(&[("README.md", text)]).path()).unwrap_err();
        for part in ["3 links", "README.md:1: `a.md`", "README.md:2: `b.md`", "README.md:3: [c]"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn build_output_and_virtual_environments_are_not_read() {
        let broken = "[a](nowhere.md)";
        let repository = repository(&[
            ("target/CACHEDIR.TAG", ""),
            ("target/doc/README.md", broken),
            ("venv/pyvenv.cfg", ""),
            ("venv/lib/README.md", broken),
            (".git/description.md", broken),
            (".hidden/README.md", "# Ours\n"),
        ]);
        assert_eq!(check(repository.path()), Ok("0 links in 1 Markdown files".to_owned()));
    }
}

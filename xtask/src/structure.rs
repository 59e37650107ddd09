//! Checks the structure of the library against ARCHITECTURE.md: which modules a module may use, and how
//! long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::rust;

/// The first line of the block on the page that has the rules.
const BLOCK: &str = "```text layers";
/// The maximum number of lines of code in a file, without tests and comments.
const MOST_LINES: usize = 500;
/// The maximum of the median over all files.
const MOST_MEDIAN: usize = 150;

/// Returns a line that says how much was checked.
///
/// # Errors
/// Lists each `crate::` edge that the page does not allow, or the files' lengths if they are too long.
pub(crate) fn check(workspace: &Path) -> Result<String, String> {
    let page = workspace.join("ARCHITECTURE.md");
    let page = fs::read_to_string(&page).map_err(|e| format!("{}: {e}", page.display()))?;
    let rules = Rules::read(&page)?;
    let folder = workspace.join("crates/clientlet/src");
    let mut sources = BTreeMap::new();
    collect(&folder, &folder, &mut sources)?;
    let edges = rules.check(&sources)?;
    let lines = check_lengths(&sources)?;
    Ok(format!("{edges} edges between modules keep to the rules; {lines}"))
}

/// Collects the sources below a folder by their paths within the folder.
fn collect(
    root: &Path,
    folder: &Path,
    sources: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let wrong = |e: std::io::Error| format!("{}: {e}", folder.display());
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.is_dir() {
            collect(root, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
            let text = fs::read_to_string(&path).map_err(wrong)?;
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            sources.insert(name.replace('\\', "/"), text);
        }
    }
    Ok(())
}

/// Whether a file contains only tests. Its parent module declares it for tests.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let is_below = path.parent().is_some_and(|folder| folder.ends_with("tests"));
    is_below || ["tests", "properties"].contains(&name)
}

/// The rules of the page.
#[derive(Debug, Default)]
struct Rules {
    /// The layer of each module, counted from the top.
    layers: BTreeMap<String, usize>,
    /// The layers whose modules may use each other.
    joined: BTreeSet<usize>,
    /// Single edges that point upwards.
    exceptions: BTreeSet<(String, String)>,
    /// Modules below a module, such as `transport::grpc`, and the only modules that may name them from
    /// outside.
    reserved: BTreeMap<String, BTreeSet<String>>,
}

impl Rules {
    /// Reads the block. A line is a layer, with `(together)` at its end if its modules may use each
    /// other; or an exception, `a -> b`; or a reservation, `a::b <- c d`.
    fn read(page: &str) -> Result<Rules, String> {
        let block = page.lines().skip_while(|line| *line != BLOCK).skip(1);
        let block = block.take_while(|line| *line != "```").filter(|line| !line.trim().is_empty());
        let mut rules = Rules::default();
        for (number, line) in block.enumerate() {
            if let Some((from, to)) = line.split_once("->") {
                rules.exceptions.insert((from.trim().to_owned(), to.trim().to_owned()));
            } else if let Some((what, by)) = line.split_once("<-") {
                let by = by.split_whitespace().map(str::to_owned).collect();
                rules.reserved.insert(what.trim().to_owned(), by);
            } else {
                let modules = line.trim_end().strip_suffix("(together)");
                if modules.is_some() {
                    rules.joined.insert(number);
                }
                for module in modules.unwrap_or(line).split_whitespace() {
                    rules.layers.insert(module.to_owned(), number);
                }
            }
        }
        match rules.layers.is_empty() {
            true => Err(format!("ARCHITECTURE.md has no block {BLOCK}")),
            false => Ok(rules),
        }
    }

    /// Checks all edges and returns their number.
    fn check(&self, sources: &BTreeMap<String, String>) -> Result<usize, String> {
        let mut wrong = String::new();
        let mut edges = BTreeSet::new();
        let modules: BTreeSet<&str> = sources.keys().map(|file| module_of(file)).collect();
        for module in modules.iter().filter(|module| !self.layers.contains_key(**module)) {
            let _ = write!(wrong, "\nmodule {module} is in no layer of the page");
        }
        for module in self.layers.keys().filter(|module| !modules.contains(module.as_str())) {
            let _ = write!(wrong, "\nthe page has a module {module} that does not exist");
        }
        for (file, text) in sources {
            let from = module_of(file);
            for path in rust::crate_paths(&rust::code(text)) {
                let to = path.split("::").next().unwrap_or_default();
                if to == from || !self.layers.contains_key(to) {
                    continue;
                }
                edges.insert((from.to_owned(), to.to_owned()));
                if !self.allows(from, to) {
                    let _ = write!(wrong, "\n{file}: {from} may not use {to}");
                }
                if let Some(by) = self.reserved.get(&path).filter(|by| !by.contains(from)) {
                    let by = by.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                    let _ = write!(wrong, "\n{file}: only {by} may name {path}");
                }
            }
        }
        if wrong.is_empty() { Ok(edges.len()) } else { Err(wrong) }
    }

    fn allows(&self, from: &str, to: &str) -> bool {
        let (Some(from_layer), Some(to_layer)) = (self.layers.get(from), self.layers.get(to))
        else {
            // The missing module was reported already.
            return true;
        };
        from_layer < to_layer
            || (from_layer == to_layer && self.joined.contains(from_layer))
            || self.exceptions.contains(&(from.to_owned(), to.to_owned()))
    }
}

/// The top-level module to which a file belongs. For `lib.rs` this is the root itself, which may use
/// everything.
fn module_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn check_lengths(sources: &BTreeMap<String, String>) -> Result<String, String> {
    let mut lengths: Vec<(usize, &str)> =
        sources.iter().map(|(file, text)| (rust::lines(text), file.as_str())).collect();
    lengths.retain(|(lines, _)| *lines > 0);
    lengths.sort_unstable();
    let total: usize = lengths.iter().map(|(lines, _)| lines).sum();
    let (median, _) = lengths[lengths.len() / 2];
    let (most, longest) = lengths[lengths.len() - 1];
    let files = lengths.len();
    let said = format!(
        "{total} lines of code in {files} files, without tests and comments: {median} in the median, \
         {most} in the longest, {longest}"
    );
    if most > MOST_LINES || median > MOST_MEDIAN {
        return Err(format!("{said}; at most {MOST_MEDIAN} and {MOST_LINES} are allowed"));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
words
```text layers
lib
face post (together)
engine
error
base

error -> engine
engine::pump <- face
```
more";

    fn sources(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        let all = [
            ("lib.rs", "use crate::base;"),
            ("face.rs", "use crate::post::Post;"),
            ("post/mod.rs", "use crate::face::Face;"),
            ("engine/mod.rs", "mod pump;"),
            ("error.rs", ""),
            ("base.rs", ""),
        ];
        let all = all.iter().chain(files);
        all.map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
    }

    fn checked(files: &[(&str, &str)]) -> Result<usize, String> {
        Rules::read(PAGE).unwrap().check(&sources(files))
    }

    #[test]
    fn the_library_keeps_to_the_page() {
        if let Err(error) = check(crate::command::workspace()) {
            panic!("{error}");
        }
    }

    #[test]
    fn edges_that_the_page_allows_pass() {
        let downwards = [
            ("engine/pump.rs", "use crate::{base::Base, error};"),
            ("error.rs", "use crate::engine::Answer;"),
            ("face.rs", "use crate::engine::{pump::Pump, Engine};"),
        ];
        // Here face does not use post, and uses of the root do not count.
        assert_eq!(checked(&downwards), Ok(6));
    }

    #[test]
    fn a_planted_edge_upwards_fails_by_file_and_name() {
        for planted in ["use crate::engine::Engine;", "fn f() -> crate::engine::Engine {}"] {
            let error = checked(&[("base.rs", planted)]).unwrap_err();
            assert_eq!(error, "\nbase.rs: base may not use engine");
        }
        let error = checked(&[("engine/deep/down.rs", "use crate::{base, face};")]).unwrap_err();
        assert_eq!(error, "\nengine/deep/down.rs: engine may not use face");
    }

    #[test]
    fn only_the_modules_that_the_page_lists_may_name_a_reserved_module() {
        let error = checked(&[("post/mod.rs", "use crate::engine::pump::Pump;")]).unwrap_err();
        assert_eq!(error, "\npost/mod.rs: only face may name engine::pump");
    }

    #[test]
    fn tests_and_comments_have_no_edges() {
        let text = "/// See [`crate::face`].\n#[cfg(test)]\nmod tests {\n    use crate::face;\n}\n";
        assert!(checked(&[("base.rs", text)]).is_ok());
        for (path, is_tests) in [("a/tests.rs", true), ("a/tests/b.rs", true), ("a/b.rs", false)] {
            assert_eq!(is_test(Path::new(path)), is_tests, "{path}");
        }
    }

    #[test]
    fn a_module_missing_on_the_page_or_in_the_code_fails() {
        let error = checked(&[("new.rs", "")]).unwrap_err();
        assert_eq!(error, "\nmodule new is in no layer of the page");
        let mut files = sources(&[]);
        files.remove("base.rs");
        let error = Rules::read(PAGE).unwrap().check(&files).unwrap_err();
        assert_eq!(error, "\nthe page has a module base that does not exist");
        assert!(Rules::read("no block").is_err());
    }

    #[test]
    fn a_file_that_is_too_long_fails_by_name() {
        let long = "fn f() {}\n".repeat(MOST_LINES + 1);
        let error = check_lengths(&sources(&[("engine/long.rs", &long)])).unwrap_err();
        assert!(error.contains("501 in the longest, engine/long.rs"), "{error}");
        let commented = "/// f\n\n".repeat(MOST_LINES) + "fn f() {}\n";
        assert!(check_lengths(&sources(&[("engine/long.rs", &commented)])).is_ok());
    }
}

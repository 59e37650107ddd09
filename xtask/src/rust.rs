//! Reads a little of Rust's syntax: the lines of a source that are code, and the paths of its own crate
//! that a source names.

/// The code of a source: its lines without comments, blank lines and items for tests. The caller leaves
/// out files that contain only tests.
pub(crate) fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let bare = line.trim_start();
        if bare.starts_with("#[cfg(test)]") || bare.starts_with("#[cfg(any(test") {
            skip_item(&mut lines);
        } else if !bare.is_empty() && !bare.starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The number of lines of a source that are code.
pub(crate) fn lines(text: &str) -> usize {
    code(text).lines().count()
}

/// Skips the item after an attribute: up to its closing brace, found by rustfmt's indentation, or to the
/// end of its line.
fn skip_item<'t>(lines: &mut impl Iterator<Item = &'t str>) {
    let Some(first) = lines.by_ref().find(|line| !line.trim_start().starts_with("#[")) else {
        return;
    };
    if first.trim_end().ends_with([';', '}', ',']) {
        return;
    }
    let indent = &first[..first.len() - first.trim_start().len()];
    let is_end =
        |line: &str| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with(['}', ')']));
    for line in lines {
        if is_end(line) {
            return;
        }
    }
}

/// The paths after each `crate::`, cut to two names. `crate::{a, b::{c, d}}` gives `a`, `b::c` and
/// `b::d`.
pub(crate) fn crate_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("crate::") {
        let before = rest[..at].chars().next_back();
        rest = &rest[at + "crate::".len()..];
        if !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            tree(rest, "", &mut paths);
        }
    }
    paths
}

/// Reads a tree of names and returns the text after it.
fn tree<'t>(text: &'t str, prefix: &str, paths: &mut Vec<String>) -> &'t str {
    let mut text = text.trim_start();
    if let Some(inner) = text.strip_prefix('{') {
        text = inner;
        loop {
            text = tree(text, prefix, paths).trim_start();
            match text.strip_prefix(',') {
                Some(behind) => text = behind,
                None => return text.strip_prefix('}').unwrap_or(text),
            }
        }
    }
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let (name, behind) = text.split_at(end.unwrap_or(text.len()));
    if name.is_empty() {
        return behind;
    }
    let is_second = !prefix.is_empty();
    let path = if is_second { format!("{prefix}::{name}") } else { name.to_owned() };
    match behind.strip_prefix("::") {
        Some(below) if !is_second => tree(below, &path, paths),
        Some(below) => {
            paths.push(path);
            // Deeper names do not count, but must be skipped.
            tree(below, "", &mut Vec::new())
        }
        None => {
            paths.push(path);
            let behind = behind.trim_start();
            match behind.strip_prefix("as ") {
                Some(alias) => tree(alias, "", &mut Vec::new()),
                None => behind,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_uses_and_from_code() {
        let code = "use crate::{a, b::{C, d::{self, E}, F as G}, h::I};\n\
                    fn f(_: crate::j::K) -> super::L { subcrate::m() }";
        assert_eq!(crate_paths(code), ["a", "b::C", "b::d", "b::F", "h::I", "j::K"]);
    }

    #[test]
    fn tests_comments_and_blank_lines_are_no_code() {
        let text = "\
//! Doc.

use a;
#[cfg(test)]
use b;
#[cfg(test)]
#[path = \"x.rs\"]
mod c;

#[cfg(test)]
pub(crate) fn d() {
    e();
}

fn f() {
    #[cfg(test)]
    if true {
        g();
    }
    // Why.
    h();
}
#[cfg(test)]
mod tests {
    fn i() {}
}
";
        assert_eq!(code(text), "use a;\nfn f() {\n    h();\n}\n");
        assert_eq!(lines(text), 4);
    }
}

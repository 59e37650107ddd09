//! Turns a coverage report in lcov's format into a table of files and the lines that never ran.

use std::fmt::Write;
use std::path::Path;

/// The coverage of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct File {
    /// The path below the repository.
    name: String,
    /// The number of lines that can run.
    lines: usize,
    /// The first and last line of each range that never ran. Lines that cannot run do not split a
    /// range.
    missed: Vec<(usize, usize)>,
    missed_lines: usize,
}

/// Reads the files of a report, the file with the least coverage first.
pub(crate) fn read(lcov: &str, repository: &Path) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    let mut file = File::default();
    let mut was_missed = false;
    for record in lcov.lines() {
        if let Some(path) = record.strip_prefix("SF:") {
            let path = Path::new(path);
            let name = path.strip_prefix(repository).unwrap_or(path).display().to_string();
            file = File { name, ..File::default() };
            was_missed = false;
        } else if let Some(data) = record.strip_prefix("DA:") {
            let (line, runs) =
                parse(data).ok_or_else(|| format!("`{record}` is not understood"))?;
            file.lines += 1;
            if runs == 0 {
                file.missed_lines += 1;
                match file.missed.last_mut() {
                    Some((_, last)) if was_missed => *last = line,
                    _ => file.missed.push((line, line)),
                }
            }
            was_missed = runs == 0;
        } else if record == "end_of_record" {
            files.push(std::mem::take(&mut file));
        }
    }
    files.sort_by(|a, b| a.percent().total_cmp(&b.percent()).then_with(|| a.name.cmp(&b.name)));
    Ok(files)
}

/// Parses a line's number and how often the line ran.
fn parse(data: &str) -> Option<(usize, u64)> {
    let mut parts = data.split(',');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Prints one row for each file, and a row for all files together.
pub(crate) fn table(files: &[File]) -> String {
    let width = files.iter().map(|file| file.name.len()).max().unwrap_or(0).max("total".len());
    let mut table = format!("{:width$}  lines  reached  not reached\n", "file");
    let mut total = File { name: "total".to_owned(), ..File::default() };
    for file in files {
        total.lines += file.lines;
        total.missed_lines += file.missed_lines;
    }
    for file in files.iter().chain([&total]) {
        let File { name, lines, missed, .. } = file;
        let missed: Vec<String> = missed.iter().copied().map(show).collect();
        let line =
            format!("{name:width$}  {lines:>5}  {:>5.1} %  {}", file.percent(), missed.join(" "));
        writeln!(table, "{}", line.trim_end()).expect("a String takes everything");
    }
    table
}

fn show((first, last): (usize, usize)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

impl File {
    fn percent(&self) -> f64 {
        match self.lines {
            0 => 100.0,
            lines => 100.0 * (lines - self.missed_lines) as f64 / lines as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LCOV: &str = "\
SF:/repository/src/all.rs
FN:1,name
DA:1,7
DA:2,1
BRF:0
LF:2
LH:2
end_of_record
SF:/repository/src/some.rs
DA:3,1
DA:4,0
DA:6,0
DA:7,5
DA:9,0
DA:10,18446744073709551615
end_of_record
";

    #[test]
    fn missed_lines_are_shown_as_ranges_and_the_least_reached_file_first() {
        let files = read(LCOV, Path::new("/repository")).unwrap();
        assert_eq!(
            table(&files),
            "file         lines  reached  not reached\n\
             src/some.rs      6   50.0 %  4-6 9\n\
             src/all.rs       2  100.0 %\n\
             total            8   62.5 %\n",
        );
    }

    #[test]
    fn unreadable_report_fails() {
        let error = read("SF:a.rs\nDA:x,1\n", Path::new("/")).unwrap_err();
        assert!(error.contains("`DA:x,1`"), "{error}");
    }
}

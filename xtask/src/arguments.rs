//! The command line.

/// The benchmarks that `clientlet-bench` knows.
const BENCHMARKS: [&str; 1] = ["http"];

pub(crate) const HELP: &str = "\
The tasks of this repository.

Usage: cargo xtask <TASK>

Tasks:
  test [--no-interop]   Everything that has to pass: format, clippy, the stated rust-version,
                        unit, doc, contract, CLI and interop tests, documentation.
                        Installs the pinned Jina releases under the target directory,
                        for which it needs Python 3.11.
      --no-interop      Leave out what runs against real Jina gateways; needs no Python.
  bench http [ARGS]...  Build in release mode and measure, beside the bare transport in the
                        same run. ARGS go to the benchmark, --help too.

Environment:
  INTEROP_PYTHON        The Python 3.11 to use; python3.11 from PATH otherwise.
  CARGO_TARGET_DIR      Where everything is built and installed, as for cargo.
  CI=true               `test` may install a missing Python by apt-get, on Debian as root.

Exit codes: 0 all well, 1 a step failed, 2 wrong usage.

Examples:
  cargo xtask test
  INTEROP_PYTHON=/opt/python3.11/bin/python3 cargo xtask test
  cargo xtask test --no-interop
  cargo xtask bench http
";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Test { interop: bool },
    Bench { arguments: Vec<String> },
}

pub(crate) fn parse(given: &[String]) -> Result<Task, String> {
    let Some((task, rest)) = given.split_first() else {
        return Err("no task given".to_owned());
    };
    match task.as_str() {
        "help" | "--help" | "-h" => Ok(Task::Help),
        "test" => parse_test(rest),
        "bench" => parse_bench(rest),
        other => Err(format!("no task is called `{other}`")),
    }
}

fn parse_test(rest: &[String]) -> Result<Task, String> {
    let mut interop = true;
    for option in rest {
        match option.as_str() {
            "--no-interop" => interop = false,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`test` does not take `{other}`")),
        }
    }
    Ok(Task::Test { interop })
}

fn parse_bench(rest: &[String]) -> Result<Task, String> {
    match rest.first().map(String::as_str) {
        // Whatever follows the name is the benchmark's own, its --help too.
        Some(name) if BENCHMARKS.contains(&name) => Ok(Task::Bench { arguments: rest.to_vec() }),
        Some("--help" | "-h") => Ok(Task::Help),
        Some(other) => Err(format!("no benchmark is called `{other}`; {}", known_benchmarks())),
        None => Err(format!("no benchmark given; {}", known_benchmarks())),
    }
}

fn known_benchmarks() -> String {
    format!("there is: {}", BENCHMARKS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Task, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn test_includes_interop_unless_told() {
        assert_eq!(parse_line("test"), Ok(Task::Test { interop: true }));
        assert_eq!(parse_line("test --no-interop"), Ok(Task::Test { interop: false }));
    }

    #[test]
    fn bench_hands_on_its_arguments() {
        let arguments = ["http", "--seconds", "3", "--help"].map(str::to_owned).to_vec();
        assert_eq!(parse_line("bench http --seconds 3 --help"), Ok(Task::Bench { arguments }));
    }

    #[test]
    fn help_is_found_in_all_usual_places() {
        for line in ["help", "--help", "-h", "test --help", "bench -h"] {
            assert_eq!(parse_line(line), Ok(Task::Help), "{line}");
        }
    }

    #[test]
    fn errors_name_the_word_at_fault() {
        for (line, word) in [
            ("", "task"),
            ("tets", "`tets`"),
            ("test --no-interrop", "`--no-interrop`"),
            ("bench", "http"),
            ("bench https", "`https`"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}

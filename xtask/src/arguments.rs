//! The command line.

/// The benchmarks that `clientlet-bench` knows.
const BENCHMARKS: [&str; 8] =
    ["http", "websocket", "grpc", "codec", "memory", "pace", "peers", "start"];

/// Long enough to get through the corpora and some way beyond, short enough to wait for.
const FUZZ_SECONDS: u64 = 30;

pub(crate) const HELP: &str = "\
The tasks of this repository.

Usage: cargo xtask <TASK>

Tasks:
  test [--no-interop] [--quick]
                        Everything that has to pass: format, links, clippy, the stated
                        rust-version, licences and sources of dependencies, each crate alone
                        with its features, unit, doc, contract, CLI and interop tests,
                        documentation. Installs the pinned Jina releases, for which it needs
                        Python 3.11, and cargo-deny and cargo-hack. Programs of tests run several
                        at a time; each one's output is shown when it ends.
      --no-interop      Leave out what runs against real Jina gateways; needs no Python.
      --quick           Leave out all that has to be installed first: --no-interop, and no
                        cargo-deny, no cargo-hack.
  coverage [--no-interop]
                        Run the tests and list, file by file, how many lines they reached, and
                        which they did not. Installs cargo-llvm-cov and, where neither the
                        toolchain nor the system has it, the LLVM to match.
  fuzz [SECONDS] [TARGET]...
                        Run each target of fuzz/, or those given, for so many seconds (30);
                        installs cargo-fuzz, needs a C++ compiler.
  bench http|websocket|grpc [ARGS]...
                        The client beside the bare transport, in the same run. As for codec,
                        glibc is told to keep freed memory, or chance decides who pays for pages.
  bench codec [ARGS]... The protobuf codec beside prost's own types.
  bench memory [ARGS]...
                        What the command needs for 100,000 documents and for 1,000,000.
  bench pace [ARGS]...  What the command takes for a request while 200 a second are answered; needs
                        strace.
  bench peers [ARGS]... Jina's own Python clients beside ours; needs the pinned releases, as `test`
                        installs them, or CLIENTLET_INTEROP for where they are.
  bench start [ARGS]... How soon the command has sent its first byte.
                        All are built in release mode. ARGS go to the benchmark: --check fails
                        it beyond its limits, --help tells the rest.

All that is installed lands under the target directory, and stays there.

Environment:
  INTEROP_PYTHON        The Python 3.11 to use; python3.11 from PATH otherwise.
  LLVM_COV, LLVM_PROFDATA
                        The programs for `coverage`; looked for otherwise.
  CARGO_TARGET_DIR      Where everything is built and installed, as for cargo.
  CI=true               A missing Python (`test`) or strace (`bench pace`) may be installed by apt-get,
                        on Debian as root. Nothing is kept for a second, incremental build.

Exit codes: 0 all well, 1 a step failed, 2 wrong usage.

Examples:
  cargo xtask test
  INTEROP_PYTHON=/opt/python3.11/bin/python3 cargo xtask test
  cargo xtask test --quick
  cargo xtask coverage --no-interop
  cargo xtask fuzz 300
  cargo xtask bench http --check
  cargo xtask bench memory --json
";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Test(TestOptions),
    Coverage {
        interop: bool,
    },
    Fuzz {
        seconds: u64,
        /// All, if none is named.
        targets: Vec<String>,
    },
    Bench {
        arguments: Vec<String>,
    },
}

/// What `test` includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TestOptions {
    /// Real gateways, for which Python and packages are installed.
    pub(crate) interop: bool,
    /// What is checked by other programs, which are installed.
    pub(crate) tools: bool,
}

pub(crate) fn parse(given: &[String]) -> Result<Task, String> {
    let Some((task, rest)) = given.split_first() else {
        return Err("no task given".to_owned());
    };
    match task.as_str() {
        "help" | "--help" | "-h" => Ok(Task::Help),
        "test" => parse_test(rest),
        "coverage" => parse_coverage(rest),
        "fuzz" => parse_fuzz(rest),
        "bench" => parse_bench(rest),
        other => Err(format!("no task is called `{other}`")),
    }
}

fn parse_test(rest: &[String]) -> Result<Task, String> {
    let mut options = TestOptions { interop: true, tools: true };
    for option in rest {
        match option.as_str() {
            "--no-interop" => options.interop = false,
            "--quick" => options = TestOptions { interop: false, tools: false },
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`test` does not take `{other}`")),
        }
    }
    Ok(Task::Test(options))
}

fn parse_coverage(rest: &[String]) -> Result<Task, String> {
    let mut interop = true;
    for option in rest {
        match option.as_str() {
            "--no-interop" => interop = false,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`coverage` does not take `{other}`")),
        }
    }
    Ok(Task::Coverage { interop })
}

fn parse_fuzz(rest: &[String]) -> Result<Task, String> {
    let mut seconds = FUZZ_SECONDS;
    let mut targets = Vec::new();
    for (place, word) in rest.iter().enumerate() {
        match word.as_str() {
            "--help" | "-h" => return Ok(Task::Help),
            option if option.starts_with('-') => {
                return Err(format!("`fuzz` does not take `{option}`"));
            }
            number if number.starts_with(|first: char| first.is_ascii_digit()) => {
                // To libFuzzer, 0 means for ever.
                seconds = match number.parse() {
                    Ok(seconds @ 1..) if place == 0 => seconds,
                    _ => {
                        return Err(format!("`fuzz` takes whole seconds first, not `{number}`"));
                    }
                };
            }
            target => targets.push(target.to_owned()),
        }
    }
    Ok(Task::Fuzz { seconds, targets })
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
    format!("there are: {}", BENCHMARKS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Task, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn test_includes_everything_unless_told() {
        for (line, interop, tools) in [
            ("test", true, true),
            ("test --no-interop", false, true),
            ("test --quick", false, false),
            ("test --quick --no-interop", false, false),
        ] {
            let options = TestOptions { interop, tools };
            assert_eq!(parse_line(line), Ok(Task::Test(options)), "{line}");
        }
    }

    #[test]
    fn coverage_includes_interop_unless_told() {
        assert_eq!(parse_line("coverage"), Ok(Task::Coverage { interop: true }));
        assert_eq!(parse_line("coverage --no-interop"), Ok(Task::Coverage { interop: false }));
    }

    #[test]
    fn fuzz_takes_seconds_and_then_targets() {
        for (line, seconds, targets) in [
            ("fuzz", FUZZ_SECONDS, &[][..]),
            ("fuzz 5", 5, &[]),
            ("fuzz 5 urls errors", 5, &["urls", "errors"]),
            ("fuzz urls", FUZZ_SECONDS, &["urls"]),
        ] {
            let targets = targets.iter().copied().map(str::to_owned).collect();
            assert_eq!(parse_line(line), Ok(Task::Fuzz { seconds, targets }), "{line}");
        }
    }

    #[test]
    fn bench_hands_on_its_arguments() {
        let arguments = ["http", "--seconds", "3", "--help"].map(str::to_owned).to_vec();
        assert_eq!(parse_line("bench http --seconds 3 --help"), Ok(Task::Bench { arguments }));
        for name in BENCHMARKS {
            assert!(parse_line(&format!("bench {name}")).is_ok(), "{name}");
        }
    }

    #[test]
    fn help_is_found_in_all_usual_places() {
        for line in
            ["help", "--help", "-h", "test --help", "bench -h", "coverage -h", "fuzz 3 --help"]
        {
            assert_eq!(parse_line(line), Ok(Task::Help), "{line}");
        }
    }

    #[test]
    fn errors_name_the_word_at_fault() {
        for (line, word) in [
            ("", "task"),
            ("tets", "`tets`"),
            ("test --no-interrop", "`--no-interrop`"),
            ("coverage --html", "`--html`"),
            ("fuzz 0", "`0`"),
            ("fuzz 1e3", "`1e3`"),
            ("fuzz urls 5", "`5`"),
            ("fuzz -5", "`-5`"),
            ("bench", "http, websocket, grpc, codec, memory, pace, peers, start"),
            ("bench https", "`https`"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}

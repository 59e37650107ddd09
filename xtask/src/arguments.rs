//! The command line.

/// The names of the benchmarks.
const BENCHMARKS: [&str; 11] = [
    "http",
    "websocket",
    "grpc",
    "blocking",
    "codec",
    "instructions",
    "memory",
    "pace",
    "peers",
    "python",
    "start",
];

/// Long enough to run all seeds and some new inputs, short enough to wait for.
const FUZZ_SECONDS: u64 = 30;

pub(crate) const HELP: &str = "\
The tasks of this repository.

Usage: cargo xtask <TASK>

Tasks:
  test [--no-interop] [--quick]
                        Run all checks: format, links, clippy, the stated rust-version,
                        licences and sources of dependencies, each crate alone with its
                        features, unit, doc, contract, command and interop tests, the Python
                        wheel's, and documentation. Installs the pinned Jina releases, which need Python
                        3.11, and cargo-deny and cargo-hack. Several test programs run at a
                        time; the output of each is shown when it ends.
      --no-interop      Leave out the tests against real Jina gateways. Without Python 3.11 the
                        wheel's tests are left out as well.
      --quick           Leave out everything that must be installed first: like --no-interop,
                        and also without the wheel's tests, cargo-deny and cargo-hack.
  wheel [--release]     Build the Python wheel and run its tests on the installed wheel: with
                        Python 3.11, with 3.10, 3.12 and 3.13 where they are found, and in the
                        environments of the real gateways where `test` has installed them. Also
                        install it from its sources, as a user does.
      --release         Build the files of a release into target/wheel/dist instead: wheels
                        for Linux with glibc 2.17 or newer, and the source distribution. Check
                        their size and contents, and try each in a fresh environment.
  coverage [--no-interop]
                        Run the tests and list, for each file, how many lines they reached and
                        which they missed. Installs cargo-llvm-cov and, if neither the
                        toolchain nor the system has it, the matching LLVM.
  fuzz [SECONDS] [TARGET]...
                        Run the given targets of fuzz/, by default all, for this many seconds
                        each, by default 30. Installs cargo-fuzz; needs a C++ compiler.
  bench http|websocket|grpc [ARGS]...
                        Compare the client with the bare transport, in the same run.
  bench blocking [ARGS] Compare blocking calls with async ones.
  bench codec [ARGS]... Compare the protobuf codec with prost's own types.
  bench instructions [ARGS]
                        Count what traces cost a request. Needs valgrind and gungraun-runner.
  bench memory [ARGS]...
                        Measure the command's memory for 100,000 and 1,000,000 documents.
  bench pace [ARGS]...  Measure the command's system calls and CPU for each request while 200
                        requests a second are answered; needs strace.
  bench peers [ARGS]... Compare Jina's own Python clients with ours. Needs the pinned releases
                        that `test` installs, or CLIENTLET_INTEROP with their place.
  bench python [ARGS]...
                        Build the wheel, and compare it with Jina's own Python clients. Needs what
                        `bench peers` needs, and Python 3.11.
  bench start [ARGS]... Measure how soon the command sends its first byte.

Benchmarks are built in release mode. ARGS go to the benchmark: with --check it fails if it exceeds
its limits; --help lists its other options. For http, websocket, grpc and codec glibc is told to
keep freed memory; otherwise chance decides which contestant pays for fresh pages.

Everything is installed below the target directory and stays there.

Environment:
  INTEROP_PYTHON        The Python 3.11 to use; by default python3.11 from PATH.
  LLVM_COV, LLVM_PROFDATA
                        The programs for `coverage`; by default they are searched for.
  CARGO_TARGET_DIR      The target directory for all builds and installations, as for cargo.
  CI=true               On Debian as root, a missing Python (`test`) or strace (`bench pace`) is
                        installed with apt-get. Builds are not incremental.

Exit codes: 0 success, 1 a step failed, 2 wrong usage.

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
        /// Empty for all targets.
        targets: Vec<String>,
    },
    Bench {
        arguments: Vec<String>,
    },
    Wheel {
        is_release: bool,
    },
}

/// What `test` includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TestOptions {
    /// Tests against real gateways, which need Python and its packages.
    pub(crate) interop: bool,
    /// Checks by other programs, which are installed first.
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
        "wheel" => parse_wheel(rest),
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

fn parse_wheel(rest: &[String]) -> Result<Task, String> {
    let mut is_release = false;
    for option in rest {
        match option.as_str() {
            "--release" => is_release = true,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`wheel` does not take `{other}`")),
        }
    }
    Ok(Task::Wheel { is_release })
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
                // libFuzzer takes 0 as no limit.
                seconds = match number.parse() {
                    Ok(seconds @ 1..) if place == 0 => seconds,
                    _ => {
                        return Err(format!(
                            "`fuzz` takes whole seconds, as its first argument, not `{number}`"
                        ));
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
        // All arguments after the name belong to the benchmark, `--help` included.
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
    fn wheel_is_for_tests_unless_told() {
        assert_eq!(parse_line("wheel"), Ok(Task::Wheel { is_release: false }));
        assert_eq!(parse_line("wheel --release"), Ok(Task::Wheel { is_release: true }));
    }

    #[test]
    fn help_is_recognised_in_all_usual_places() {
        for line in [
            "help",
            "--help",
            "-h",
            "test --help",
            "bench -h",
            "coverage -h",
            "fuzz 3 --help",
            "wheel -h",
        ] {
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
            (
                "bench",
                "http, websocket, grpc, blocking, codec, instructions, memory, pace, peers, python, start",
            ),
            ("bench https", "`https`"),
            ("wheel --fast", "`--fast`"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}

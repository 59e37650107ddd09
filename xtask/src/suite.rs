//! Runs all test programs, several at a time, because many of them mostly wait.

use std::collections::VecDeque;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use serde::Deserialize;

use crate::command::{self, Beside, cargo};
use crate::gateways::Gateways;
use crate::metadata::Metadata;

/// The programs that take longest. They start first, and the others run beside them.
const LONGEST: [&str; 2] = ["idle", "contract"];

/// A program whose cases mostly wait for real gateways to stop and start, and its number of threads.
/// It may run more cases at a time than there are cores, but not many more, because the cases' requests
/// have deadlines.
const WAITING: (&str, &str) = ("contract", "3");

/// A program that runs alone: its attempts time out after half a second, and on a busy machine real
/// gateways do not answer within that time.
const PUNCTUAL: &str = "proxy";

/// A program that runs alone: it sends millions of requests and keeps all cores busy, so that tests
/// beside it would miss their deadlines. It is built with an optimised client, which halves its time.
/// The other tests are built without, because each compiles the client's generic code again.
const BUSY: &str = "matrix";

/// Builds all programs and tests, and returns the jobs to run.
pub(crate) fn build(metadata: &Metadata) -> Result<Vec<Job>, String> {
    // Programs and tests are built together. Built alone, the programs' dependencies would have other
    // features and be compiled again.
    let mut jobs = build_some(&["--bins", "--tests"], metadata)?;
    let optimised = ["--test", BUSY, "--config", "profile.dev.package.clientlet.opt-level=1"];
    jobs.retain(|job| job.name != BUSY);
    jobs.extend(build_some(&optimised, metadata)?);
    jobs.push(Job::documentation());
    Ok(jobs)
}

fn build_some(which: &[&str], metadata: &Metadata) -> Result<Vec<Job>, String> {
    let mut build = cargo();
    build
        .args([
            "build",
            "--workspace",
            "--all-features",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(which);
    let messages = command::printed_by(&mut build)?;
    messages.lines().filter_map(|line| job(line, metadata).transpose()).collect()
}

/// Runs the jobs. The output of each is shown when it ends.
pub(crate) fn run(mut jobs: Vec<Job>, gateways: &Gateways) -> Result<(), String> {
    let count = jobs.len();
    let place = |job: &Job| LONGEST.iter().position(|name| job.name == *name);
    jobs.sort_by_key(|job| place(job).unwrap_or(LONGEST.len()));
    let (alone, beside): (VecDeque<Job>, _) =
        jobs.into_iter().partition(|job| [BUSY, PUNCTUAL].contains(&&*job.name));
    let cores = thread::available_parallelism().map_or(2, NonZero::get);
    let mut failed = run_some(beside, cores + 1, gateways);
    failed.extend(run_some(alone, 1, gateways));
    match failed.len() {
        0 => Ok(()),
        some => Err(format!("{some} of {count} test programs failed:\n{}", failed.join("\n"))),
    }
}

/// Runs the jobs, at most `at_a_time` at once, and returns a line for each that failed.
fn run_some(jobs: VecDeque<Job>, at_a_time: usize, gateways: &Gateways) -> Vec<String> {
    let queue = Mutex::new(jobs);
    let next = || queue.lock().expect("no thread panics while it takes a job").pop_front();
    let worker = || {
        let jobs = std::iter::from_fn(next);
        jobs.filter_map(|job| job.run(gateways).err()).collect::<Vec<String>>()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no job panics")).collect()
    })
}

/// One test program, or the examples in the documentation.
#[derive(Debug, PartialEq)]
pub(crate) struct Job {
    name: String,
    /// The command line that runs this job alone.
    alone: String,
    /// The program to run; `None` if the job runs the command line of `alone`.
    program: Option<Program>,
}

#[derive(Debug, PartialEq)]
struct Program {
    file: PathBuf,
    /// The folder in which cargo would run the program.
    package: PathBuf,
}

impl Job {
    fn documentation() -> Job {
        let alone = format!("cargo {}", DOCUMENTATION.join(" "));
        Job { name: "documentation".to_owned(), alone, program: None }
    }

    fn run(&self, gateways: &Gateways) -> Result<(), String> {
        let mut command = match &self.program {
            Some(Program { file, package }) => {
                let mut command = Command::new(file);
                // Tests that take minutes are ignored by default. Beside the others they cost no time.
                command.arg("--include-ignored").current_dir(package);
                command.env("CARGO_MANIFEST_DIR", package);
                if self.name == WAITING.0 {
                    command.env("RUST_TEST_THREADS", WAITING.1);
                }
                command
            }
            None => {
                let mut command = cargo();
                command.args(DOCUMENTATION);
                command
            }
        };
        gateways.tell(&mut command);
        Beside::start_as(self.alone.clone(), command).finish()
    }
}

const DOCUMENTATION: [&str; 3] = ["test", "--workspace", "--doc"];

/// One of the messages that cargo prints while it builds, one on each line.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact(Artifact),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    /// One word, except for libraries with several crate types.
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// The job for a message of cargo. Returns `None` if the message is not about a test program.
fn job(message: &str, metadata: &Metadata) -> Result<Option<Job>, String> {
    let message: Message =
        serde_json::from_str(message).map_err(|error| format!("cargo said {message}: {error}"))?;
    let Message::CompilerArtifact(artifact) = message else { return Ok(None) };
    let Artifact { package_id, manifest_path, target, profile, executable } = artifact;
    let (true, Some(file)) = (profile.test, executable) else { return Ok(None) };
    let package = metadata.packages.iter().find(|package| package.id == package_id);
    let package = &package.ok_or_else(|| format!("{package_id} is not in `cargo metadata`"))?.name;
    let which = match &*target.kind.concat() {
        "lib" => "--lib".to_owned(),
        kind => format!("--{kind} {}", target.name),
    };
    let directory = manifest_path.parent().unwrap_or(&manifest_path).to_owned();
    Ok(Some(Job {
        name: target.name,
        alone: format!("cargo test --package {package} {which}"),
        program: Some(Program { file, package: directory }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Package;

    fn metadata() -> Metadata {
        let package = Package {
            id: "path+file:///r/bench#clientlet-bench@0.1.0".to_owned(),
            name: "clientlet-bench".to_owned(),
            version: "0.1.0".to_owned(),
            rust_version: None,
            publish: None,
        };
        Metadata {
            packages: vec![package],
            workspace_members: Vec::new(),
            target_directory: PathBuf::new(),
        }
    }

    fn artifact(kind: &str, is_test: bool) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"path+file:///r/bench#clientlet-bench@0.1.0",
            "manifest_path":"/r/bench/Cargo.toml","target":{{"kind":["{kind}"],"name":"pace"}},
            "profile":{{"test":{is_test}}},"executable":"/t/pace-0123"}}"#
        )
    }

    #[test]
    fn test_program_is_a_job_with_the_line_that_runs_it_alone() {
        for (kind, alone) in [
            ("test", "cargo test --package clientlet-bench --test pace"),
            ("bin", "cargo test --package clientlet-bench --bin pace"),
            ("lib", "cargo test --package clientlet-bench --lib"),
        ] {
            let job = job(&artifact(kind, true), &metadata()).unwrap().unwrap();
            assert_eq!(job.alone, alone);
            let expected = Program { file: "/t/pace-0123".into(), package: "/r/bench".into() };
            assert_eq!((job.name, job.program), ("pace".to_owned(), Some(expected)));
        }
    }

    #[test]
    fn other_messages_are_no_jobs() {
        let finished = r#"{"reason":"build-finished","success":true}"#;
        for message in [&artifact("bin", false), finished] {
            assert_eq!(job(message, &metadata()), Ok(None));
        }
    }

    #[test]
    fn unreadable_message_is_an_error_that_shows_it() {
        let error = job("no JSON", &metadata()).unwrap_err();
        assert!(error.contains("no JSON"), "{error}");
    }
}

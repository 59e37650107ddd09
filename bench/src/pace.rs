//! Measures the system calls and CPU time of the command for each request, while 200 answers a second
//! trickle in.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clientlet_interop::{Environment, Options as RealOptions, RealGateway};
use serde_json::{Value, json};

use crate::cpu::children_cpu_time;
use crate::documents::Document;
use crate::gate::{Bound, Gate};
use crate::peers;
use crate::program;
use crate::serve::{self, Addresses, GatewayProcess};
use crate::statistics::Spread;

/// The time between two documents or two answers.
const INTERVAL: Duration = Duration::from_millis(5);
/// The parameters that make the executor work for 4 ms. With the way there and back, a request then
/// takes one [`INTERVAL`].
const WORK: &str = r#"{"seconds": 0.004}"#;
const RELEASE: Environment = Environment::Current;

/// The options of this benchmark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The number of requests, of one document each.
    pub(crate) requests: usize,
    /// The number of measurements of CPU time, in turns.
    pub(crate) rounds: usize,
    /// Another build of the command to compare with.
    pub(crate) against: Option<PathBuf>,
    /// Whether to compare with Jina's own client too, against a real gateway.
    pub(crate) real: bool,
    pub(crate) check: bool,
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Options {
        let against = None;
        Options { requests: 600, rounds: 3, against, real: false, check: false, json: false }
    }
}

/// What sets the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// The gateway answers one request each [`INTERVAL`], one at a time; the input is a file.
    Answers,
    /// A pipe delivers one document each [`INTERVAL`].
    Documents,
    /// Only the gateway's speed, with the default number of requests in flight.
    Gateway,
}

impl Pace {
    fn name(self) -> &'static str {
        match self {
            Pace::Answers => "answers",
            Pace::Documents => "documents",
            Pace::Gateway => "gateway",
        }
    }
}

/// A protocol's name, further arguments for the command, and the gateway's address.
type Protocol = (&'static str, &'static [&'static str], fn(&Addresses) -> &str);

const PROTOCOLS: [Protocol; 4] = [
    ("HTTP", &[], |addresses| &addresses.http),
    ("WebSocket", &[], |addresses| &addresses.websocket),
    ("gRPC stream", &[], |addresses| &addresses.grpc),
    ("gRPC unary", &["--unary"], |addresses| &addresses.grpc),
];

/// The number of system calls for each request, of the most expensive kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Calls {
    /// `epoll_wait`.
    waits: f64,
    /// `read` and `write`: the input, the output, and the wake-ups between threads.
    reads: f64,
    writes: f64,
    futexes: f64,
    /// Reads from a socket, and writes to a socket.
    receives: f64,
    sends: f64,
}

/// The results of one protocol at one pace.
#[derive(Debug)]
struct Row {
    protocol: &'static str,
    pace: Pace,
    calls: Calls,
    /// CPU time for each request in microseconds, of this build and of the other one.
    ours: Spread,
    theirs: Option<Spread>,
}

/// The results of Jina's own client and the command against a real gateway.
#[derive(Debug)]
struct Peer {
    protocol: &'static str,
    /// CPU time for each request in microseconds.
    theirs: f64,
    ours: Spread,
    limit: f64,
}

#[derive(Debug)]
pub(crate) struct Report {
    requests: usize,
    rows: Vec<Row>,
    peers: Vec<Peer>,
}

/// The programs to run, and the files that they need.
struct Bench {
    ours: PathBuf,
    directory: tempfile::TempDir,
    requests: usize,
    rounds: usize,
}

pub(crate) fn run(options: &Options) -> Result<Report, Box<dyn Error>> {
    let bench = Bench {
        ours: program::find()?,
        directory: tempfile::tempdir()?,
        requests: options.requests.max(2),
        rounds: options.rounds,
    };
    bench.write_input("one.jsonl", 1)?;
    bench.write_input("all.jsonl", bench.requests)?;
    let gateway = GatewayProcess::start(serve::Options::default())?;
    let mut rows = Vec::new();
    for (protocol, arguments, address) in PROTOCOLS {
        for pace in [Pace::Answers, Pace::Documents] {
            let url = address(gateway.addresses());
            let calls = bench.calls(url, arguments, pace)?;
            let programs: Vec<&Path> = [Some(bench.ours.as_path()), options.against.as_deref()]
                .into_iter()
                .flatten()
                .collect();
            let mut spreads = bench.cpu(&programs, url, arguments, pace)?.into_iter();
            let ours = spreads.next().ok_or("nothing was measured")?;
            rows.push(Row { protocol, pace, calls, ours, theirs: spreads.next() });
        }
    }
    drop(gateway);
    let peers = if options.real { bench.peers()? } else { Vec::new() };
    Ok(Report { requests: bench.requests, rows, peers })
}

impl Bench {
    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_input(&self, name: &str, count: usize) -> io::Result<()> {
        let mut out = io::BufWriter::new(File::create(self.file(name))?);
        (0..count).try_for_each(|number| write_document(&mut out, number))?;
        out.flush()
    }

    /// Counts the system calls for each request. The calls of a run with one document are start and
    /// end, and are subtracted.
    fn calls(&self, url: &str, arguments: &[&str], pace: Pace) -> Result<Calls, Box<dyn Error>> {
        let count = |documents| {
            let table = self.file("calls.txt");
            let mut command = Command::new("strace");
            command.args(["-f", "-c", "-o"]).arg(&table).arg(&self.ours);
            self.run(command, url, arguments, pace, documents).map_err(|error| {
                format!("{error}; system calls are counted by strace, from the package `strace`")
            })?;
            Ok::<_, Box<dyn Error>>(fs::read_to_string(table)?)
        };
        Ok(Calls::between(&count(1)?, &count(self.requests)?, self.requests - 1))
    }

    /// Measures the CPU time for each request in microseconds, of each program, in turns.
    fn cpu(
        &self,
        programs: &[&Path],
        url: &str,
        arguments: &[&str],
        pace: Pace,
    ) -> Result<Vec<Spread>, Box<dyn Error>> {
        let mut times = vec![Vec::new(); programs.len()];
        for _ in 0..self.rounds {
            for (program, times) in programs.iter().zip(&mut times) {
                let time = |documents| {
                    let before = children_cpu_time()?;
                    self.run(Command::new(program), url, arguments, pace, documents)?;
                    Ok::<_, Box<dyn Error>>(children_cpu_time()?.saturating_sub(before))
                };
                let time = time(self.requests)?.saturating_sub(time(1)?);
                times.push(time.as_secs_f64() * 1e6 / (self.requests - 1) as f64);
            }
        }
        Ok(times.into_iter().map(Spread::of).collect())
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// If the command fails or not all documents come back.
    fn run(
        &self,
        mut command: Command,
        url: &str,
        arguments: &[&str],
        pace: Pace,
        documents: usize,
    ) -> Result<(), Box<dyn Error>> {
        let output = self.file("out.jsonl");
        command.args(["post", url, "--request-size", "1", "--quiet"]).args(arguments);
        command.arg("--output").arg(&output).stdin(Stdio::null());
        let input = self.file(if documents == 1 { "one.jsonl" } else { "all.jsonl" });
        match pace {
            Pace::Answers => {
                command.args(["--on", "/slow", "--parameters", WORK, "--prefetch", "1"]);
                command.arg("--input").arg(input);
            }
            Pace::Documents => {
                command.args(["--on", "/upper", "--input", "-"]).stdin(Stdio::piped());
            }
            Pace::Gateway => {
                command.args(["--on", "/upper"]).arg("--input").arg(input);
            }
        }
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let feeder = child.stdin.take().map(|stdin| thread::spawn(move || feed(stdin, documents)));
        let status = child.wait()?;
        if let Some(feeder) = feeder {
            feeder.join().map_err(|_| "the side that writes documents panicked")??;
        }
        let lines = fs::read(&output)?.iter().filter(|byte| **byte == b'\n').count();
        if !status.success() || lines != documents {
            return Err(format!("{command:?}: {status}, {lines} of {documents} lines").into());
        }
        Ok(())
    }

    /// Measures Jina's own client and then the command, against the same real gateway.
    fn peers(&self) -> Result<Vec<Peer>, Box<dyn Error>> {
        let python = peers::find_python(RELEASE)?;
        let protocols = &["http", "websocket", "grpc"];
        let gateway = RealGateway::start(RELEASE, RealOptions { protocols, ..Default::default() })?;
        let rows =
            [("HTTP", "http", 50.0), ("WebSocket", "websocket", 50.0), ("gRPC", "grpc", 20.0)];
        let measure = |(protocol, name, limit): (&'static str, &str, f64)| {
            let url = gateway.url(name);
            let theirs = peers::run_python(&python, name, &url, self.requests)?.cpu();
            let ours = self.cpu(&[&self.ours], &url, &[], Pace::Gateway)?;
            let ours = ours.into_iter().next().ok_or("nothing was measured")?;
            Ok(Peer { protocol, theirs, ours, limit })
        };
        rows.into_iter().map(measure).collect()
    }
}

/// Writes one document each [`INTERVAL`].
fn feed(mut stdin: ChildStdin, documents: usize) -> io::Result<()> {
    let began = Instant::now();
    for number in 0..documents {
        let due = INTERVAL * u32::try_from(number).unwrap_or(u32::MAX);
        thread::sleep(due.saturating_sub(began.elapsed()));
        let mut line = Vec::new();
        write_document(&mut line, number)?;
        stdin.write_all(&line)?;
    }
    Ok(())
}

fn write_document(mut out: impl Write, number: usize) -> io::Result<()> {
    serde_json::to_writer(&mut out, &Document::numbered(number))?;
    out.write_all(b"\n")
}

impl Calls {
    /// The calls for each request: the difference between two tables of strace, divided by `requests`.
    fn between(fewer: &str, more: &str, requests: usize) -> Calls {
        let count = |names: &[&str]| {
            let of = |table| names.iter().map(|name| calls_of(table, name)).sum::<f64>();
            (of(more) - of(fewer)) / requests as f64
        };
        Calls {
            waits: count(&["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"]),
            reads: count(&["read", "readv"]),
            writes: count(&["write"]),
            futexes: count(&["futex"]),
            receives: count(&["recvfrom", "recvmsg"]),
            sends: count(&["sendto", "sendmsg", "writev"]),
        }
    }
}

/// The count of a call in a table of `strace -c`. The fourth column is the number of calls, the last
/// column the call's name.
fn calls_of(table: &str, name: &str) -> f64 {
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut row = row.filter(|words| words.last() == Some(&name));
    row.next().and_then(|words| words.get(3)?.parse().ok()).unwrap_or(0.0)
}

impl Row {
    /// This build's CPU time, divided by the other build's.
    fn ratio(&self) -> Option<f64> {
        self.theirs.map(|theirs| self.ours.median / theirs.median)
    }

    fn gates(&self) -> Vec<Gate> {
        let Row { protocol, pace, calls, .. } = self;
        let gate = |what: &str, limit, measured| Gate {
            name: format!("{protocol}, {} at 200/s, {what}", pace.name()),
            bound: Bound::AtMost,
            limit,
            unit: "",
            measured: vec![measured],
        };
        // Handing a block of hundreds of documents to the parsing thread takes a few futex calls.
        let mut gates = vec![
            gate("waits per request", 2.0, calls.waits),
            gate("reads per request", 1.0, calls.reads),
            gate("writes per request", 1.0, calls.writes),
            gate("futex calls per request", 0.05, calls.futexes),
        ];
        gates
            .extend(self.ratio().map(|ratio| gate("CPU beside the other build", 1.0 / 3.0, ratio)));
        gates
    }
}

impl Peer {
    fn ratio(&self) -> f64 {
        self.theirs / self.ours.median
    }

    fn gate(&self) -> Gate {
        let Peer { protocol, limit, .. } = self;
        Gate {
            name: format!("CPU of jina {} for one of the command's, {protocol}", RELEASE.jina()),
            bound: Bound::AtLeast,
            limit: *limit,
            unit: "",
            measured: vec![self.ratio()],
        }
    }
}

impl Report {
    pub(crate) fn gates(&self) -> Vec<Gate> {
        let rows = self.rows.iter().flat_map(Row::gates);
        rows.chain(self.peers.iter().map(Peer::gate)).collect()
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!(
            "pace: clientlet post, {} requests of 1 document, 200 a second; calls and CPU per request, \
             without the first request\n\n\
             protocol      pace        waits  reads  writes  futex  receives  sends  CPU us  (min - max)\n",
            self.requests
        );
        for row in &self.rows {
            let Row { protocol, pace, calls, ours, theirs } = row;
            let Calls { waits, reads, writes, futexes, receives, sends } = calls;
            let Spread { min, median, max } = ours;
            write!(
                text,
                "{protocol:<12}  {:<9}  {waits:>6.2}  {reads:>5.2}  {writes:>6.2}  {futexes:>5.2}  \
                 {receives:>8.2}  {sends:>5.2}  {median:>6.1}  ({min:.1} - {max:.1})",
                pace.name()
            )
            .expect("writing to a string cannot fail");
            if let (Some(theirs), Some(ratio)) = (theirs, row.ratio()) {
                write!(text, ", the other build {:.1}: {ratio:.2} of it", theirs.median)
                    .expect("writing to a string cannot fail");
            }
            text.push('\n');
        }
        for Peer { protocol, theirs, ours, .. } in &self.peers {
            let times = theirs / ours.median;
            writeln!(
                text,
                "against a real {}, {protocol}: jina {theirs:.0} us, the command {:.1} us: {times:.1} times",
                RELEASE.jina(),
                ours.median
            )
            .expect("writing to a string cannot fail");
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let row = |row: &Row| {
            let Row { protocol, pace, calls, ours, theirs } = row;
            let Calls { waits, reads, writes, futexes, receives, sends } = calls;
            json!({
                "protocol": protocol,
                "pace": pace.name(),
                "calls": {
                    "waits": waits, "reads": reads, "writes": writes, "futexes": futexes,
                    "receives": receives, "sends": sends,
                },
                "cpu_us": ours.to_json(),
                "other_cpu_us": theirs.map(Spread::to_json),
                "ratio": row.ratio(),
            })
        };
        let peer = |peer: &Peer| {
            json!({
                "protocol": peer.protocol,
                "jina_cpu_us": peer.theirs,
                "cpu_us": peer.ours.to_json(),
                "ratio": peer.ratio(),
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        let peers: Vec<Value> = self.peers.iter().map(peer).collect();
        json!({"benchmark": "pace", "requests": self.requests, "rows": rows, "peers": peers})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 40.00    0.004000           3      1300           epoll_wait
 30.00    0.003000           3       700       400 read
 10.00    0.001000           3        10         2 futex
------ ----------- ----------- --------- --------- ----------------
100.00    0.010000           3      2010       402 total
";

    #[test]
    fn calls_of_one_request_are_subtracted() {
        let calls = Calls::between("", TABLE, 100);
        assert_eq!((calls.waits, calls.reads, calls.futexes, calls.writes), (13.0, 7.0, 0.1, 0.0));
        assert_eq!(Calls::between(TABLE, TABLE, 100), Calls::default());
    }

    #[test]
    fn every_number_has_a_limit() {
        let one = Spread { min: 1.0, median: 1.0, max: 1.0 };
        let calls =
            Calls { waits: 2.0, reads: 1.0, writes: 1.0, futexes: 0.05, ..Calls::default() };
        let row = |calls, theirs: f64| Row {
            protocol: "HTTP",
            pace: Pace::Answers,
            calls,
            ours: one,
            theirs: Some(Spread { min: theirs, median: theirs, max: theirs }),
        };
        assert!(row(calls, 3.0).gates().iter().all(Gate::is_passed));
        let worse = Calls { waits: 2.1, reads: 1.1, writes: 1.1, futexes: 0.1, ..calls };
        assert!(row(worse, 2.9).gates().iter().all(|gate| !gate.is_passed()));
        let peer = |theirs| Peer { protocol: "HTTP", theirs, ours: one, limit: 50.0 };
        assert!(peer(50.0).gate().is_passed() && !peer(49.0).gate().is_passed());
    }
}

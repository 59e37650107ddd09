//! Measures the command's memory while documents are piped through it.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cpu::children_peak_kib;
use crate::documents::Document;
use crate::gate::{Bound, Gate};
use crate::program;
use crate::serve::{self, GatewayProcess};
use crate::statistics::Spread;

/// The argument with which this program starts itself to pipe documents into the command.
pub(crate) const FEED: &str = "feed";

const MIB: f64 = 1024.0;
/// The limit of each peak, for any number of documents.
const LIMIT_MIB: f64 = 64.0;
/// The limit of the ratio of the peaks, by default for ten times as many documents.
const LIMIT_RATIO: f64 = 1.10;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The numbers of documents in the two runs of a round.
    pub(crate) documents: [usize; 2],
    /// The number of rounds.
    pub(crate) rounds: usize,
    pub(crate) check: bool,
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { documents: [100_000, 1_000_000], rounds: 5, check: false, json: false }
    }
}

/// A run to make: the gateway's address and the number of documents.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) url: String,
    pub(crate) documents: usize,
}

/// The result of one run of the command.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    documents: usize,
    seconds: f64,
    /// The peak of resident memory.
    peak_kib: i64,
}

/// The measurements of each protocol.
#[derive(Debug)]
pub(crate) struct Report {
    protocols: Vec<Runs>,
}

/// The runs with fewer and with more documents, in turns, because peaks vary from run to run.
#[derive(Debug)]
struct Runs {
    protocol: &'static str,
    rounds: Vec<[Run; 2]>,
}

pub(crate) fn run(options: &Options) -> Result<Report, Box<dyn Error>> {
    let gateway = GatewayProcess::start(serve::Options::default())?;
    let [fewer, more] = options.documents;
    let addresses = gateway.addresses();
    let urls = [("http", &addresses.http), ("ws", &addresses.websocket), ("grpc", &addresses.grpc)];
    let measure = |(protocol, url): (&'static str, &String)| {
        let round = |_| Ok([run_feed(url, fewer)?, run_feed(url, more)?]);
        let rounds: Result<_, Box<dyn Error>> = (0..options.rounds).map(round).collect();
        Ok(Runs { protocol, rounds: rounds? })
    };
    let protocols: Result<_, Box<dyn Error>> = urls.into_iter().map(measure).collect();
    Ok(Report { protocols: protocols? })
}

/// Feeds in a process of its own, because the system reports only the highest peak of all children.
fn run_feed(url: &str, documents: usize) -> Result<Run, Box<dyn Error>> {
    let output = Command::new(env::current_exe()?)
        .args([FEED, url, &documents.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the run of {documents} documents failed").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The feeding process: pipes documents into the command and prints the results.
pub(crate) fn feed(feed: &Feed) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let mut child = Command::new(program::find()?)
        .args(["post", &feed.url, "--input", "-", "--output", "/dev/null", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let written = match child.stdin.take() {
        Some(stdin) => write_documents(stdin, feed.documents),
        None => Ok(()),
    };
    let status = child.wait()?;
    // A command that ends too early has printed the reason itself.
    if !status.success() {
        return Err(format!("`clientlet post`: {status}").into());
    }
    written?;
    let seconds = began.elapsed().as_secs_f64();
    let run = Run { documents: feed.documents, seconds, peak_kib: children_peak_kib()? };
    writeln!(io::stdout().lock(), "{}", serde_json::to_string(&run)?)?;
    Ok(())
}

fn write_documents(stdin: ChildStdin, count: usize) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, stdin);
    for number in 0..count {
        serde_json::to_writer(&mut out, &Document::numbered(number))?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

impl Run {
    fn peak_mib(&self) -> f64 {
        self.peak_kib as f64 / MIB
    }

    fn rate(&self) -> f64 {
        self.documents as f64 / self.seconds
    }
}

impl Runs {
    /// The spread of a number over the runs with fewer (0) or more (1) documents.
    fn spread(&self, which: usize, number: impl Fn(&Run) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(|round| number(&round[which])))
    }

    /// The ratio of the peaks within each round.
    fn ratio(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|[fewer, more]| more.peak_mib() / fewer.peak_mib()))
    }

    fn documents(&self) -> [usize; 2] {
        self.rounds.first().map_or([0; 2], |round| round.map(|run| run.documents))
    }

    fn gates(&self) -> impl Iterator<Item = Gate> {
        let protocol = self.protocol;
        let greatest = move |(which, documents)| Gate {
            name: format!("{protocol}, highest peak of {documents} documents"),
            bound: Bound::Below,
            limit: LIMIT_MIB,
            unit: " MiB",
            measured: vec![self.spread(which, Run::peak_mib).max],
        };
        let ratio = Gate {
            name: format!("{protocol}, ratio of the peaks"),
            bound: Bound::AtMost,
            limit: LIMIT_RATIO,
            unit: "",
            measured: vec![self.ratio().median],
        };
        self.documents().into_iter().enumerate().map(greatest).chain([ratio])
    }

    fn to_json(&self) -> Value {
        let size = |(which, documents)| {
            json!({
                "documents": documents,
                "documents_per_s": self.spread(which, Run::rate).to_json(),
                "peak_mib": self.spread(which, Run::peak_mib).to_json(),
            })
        };
        let sizes: Vec<Value> = self.documents().into_iter().enumerate().map(size).collect();
        json!({"protocol": self.protocol, "sizes": sizes, "ratio": self.ratio().to_json()})
    }
}

impl Report {
    pub(crate) fn gates(&self) -> Vec<Gate> {
        self.protocols.iter().flat_map(Runs::gates).collect()
    }

    fn rounds(&self) -> usize {
        self.protocols.first().map_or(0, |runs| runs.rounds.len())
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!(
            "memory: clientlet post --input - --output /dev/null, medians of {} rounds\n\n\
             protocol   documents   documents/s   peak resident  (min - max)\n",
            self.rounds()
        );
        for runs in &self.protocols {
            let protocol = runs.protocol;
            for (which, documents) in runs.documents().into_iter().enumerate() {
                let rate = runs.spread(which, Run::rate).median;
                let Spread { min, median, max } = runs.spread(which, Run::peak_mib);
                writeln!(
                    text,
                    "{protocol:<8}   {documents:>9}   {rate:>11.0}   {median:>9.2} MiB  \
                     ({min:.2} - {max:.2})"
                )
                .expect("writing to a string cannot fail");
            }
        }
        text.push('\n');
        for runs in &self.protocols {
            let Spread { min, median, max } = runs.ratio();
            let protocol = runs.protocol;
            writeln!(text, "ratio of the peaks, {protocol:<4}: {median:.3}  ({min:.3} - {max:.3})")
                .expect("writing to a string cannot fail");
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let protocols: Vec<Value> = self.protocols.iter().map(Runs::to_json).collect();
        json!({"benchmark": "memory", "rounds": self.rounds(), "protocols": protocols})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report with these peaks in KiB, one pair for each round.
    fn report(peaks: &[[i64; 2]]) -> Report {
        let run = |documents, peak_kib| Run { documents, seconds: 2.0, peak_kib };
        let round = |[fewer, more]: &[i64; 2]| [run(100, *fewer), run(1000, *more)];
        let rounds = peaks.iter().map(round).collect();
        Report { protocols: vec![Runs { protocol: "ws", rounds }] }
    }

    #[test]
    fn every_peak_has_a_limit_and_the_middle_ratio() {
        for (peaks, passed) in [
            ([[10_240, 11_264], [10_240, 20_480], [10_240, 10_240]], [true, true, true]),
            ([[10_240, 11_300], [10_240, 20_480], [10_240, 10_240]], [true, true, false]),
            ([[10_240, 11_264], [61_440, 65_536], [10_240, 10_240]], [true, false, true]),
        ] {
            let gates = report(&peaks).gates();
            assert_eq!(gates.iter().map(Gate::is_passed).collect::<Vec<_>>(), passed, "{peaks:?}");
        }
    }

    #[test]
    fn table_and_json_say_the_same() {
        let report = report(&[[10_240, 11_264], [10_240, 12_288], [10_240, 10_240]]);
        assert_eq!(
            report.to_text(),
            "memory: clientlet post --input - --output /dev/null, medians of 3 rounds\n\n\
             protocol   documents   documents/s   peak resident  (min - max)\n\
             ws               100            50       10.00 MiB  (10.00 - 10.00)\n\
             ws              1000           500       11.00 MiB  (10.00 - 12.00)\n\n\
             ratio of the peaks, ws  : 1.100  (1.000 - 1.200)\n",
        );
        let json = report.to_json();
        assert_eq!(json["protocols"][0]["ratio"]["median"], 1.1);
        assert_eq!(json["protocols"][0]["sizes"][1]["documents_per_s"]["median"], 500.0);
        assert_eq!(json["protocols"][0]["sizes"][1]["peak_mib"]["max"], 12.0);
    }
}

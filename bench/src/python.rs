//! Compares Jina's own Python clients with the wheel, against the same gateway, and measures the wheel by
//! itself.

mod report;

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clientlet_interop::Environment;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::report::{Report, Row, Single};
use crate::gate;
use crate::peers::find_python;
use crate::serve::{self, Addresses, GatewayProcess};
use crate::statistics::Spread;

/// The variable with the folder in which the wheel is installed.
const WHEEL: &str = "CLIENTLET_WHEEL";

/// The oldest release, and the newest one with both generations of documents.
const ENVIRONMENTS: [Environment; 3] =
    [Environment::SeedEra, Environment::CurrentV1, Environment::Current];

/// The two numbers of documents whose peaks of memory are compared.
const DOCUMENTS: [usize; 2] = [100_000, 1_000_000];

/// The options of this benchmark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) check: bool,
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { rounds: 5, check: false, json: false }
    }
}

/// What the script measured beside Jina's client. Times are in microseconds.
#[derive(Deserialize)]
struct Compared {
    jina: String,
    rows: Vec<ComparedRow>,
}

#[derive(Deserialize)]
struct ComparedRow {
    work: String,
    protocol: String,
    theirs: Vec<f64>,
    ours: Vec<f64>,
}

#[derive(Deserialize)]
struct Encoded {
    theirs: Vec<f64>,
    ours: Vec<f64>,
    ours_as_json: Vec<f64>,
}

#[derive(Deserialize)]
struct Awaits {
    ready: Vec<f64>,
    waiting: Vec<f64>,
}

/// In MiB.
#[derive(Deserialize)]
struct Memory {
    interpreter: f64,
    peak: f64,
}

pub(crate) fn run(options: &Options) -> Result<Report, Box<dyn Error>> {
    let wheel = env::var_os(WHEEL).map(PathBuf::from).ok_or_else(|| {
        format!("{WHEEL} does not name the folder of the wheel: use `cargo xtask bench python`")
    })?;
    let rounds = options.rounds.to_string();
    let mut report = Report::default();
    for environment in ENVIRONMENTS {
        let script = Script { python: find_python(environment)?, wheel: &wheel };
        let is_v2 = environment.documents() == "v2";
        let gateway = GatewayProcess::start(serve::Options { is_v2, ..Default::default() })?;
        let addresses = gateway.addresses();
        // A clientlet does not know documents, so one environment of a release is enough.
        let has_helper = environment != Environment::CurrentV1;
        let compare = || script.compared(addresses, environment.documents(), has_helper, &rounds);
        let is_good = |rows: &Vec<Row>| !options.check || rows.iter().all(Row::is_reached);
        report.add(gate::attempt(compare, is_good)?);
        if is_v2 {
            let Encoded { theirs, ours, ours_as_json } = script.run(&["encode", &rounds])?;
            let (theirs, ours) = (Spread::of(theirs), Spread::of(ours));
            report.rows.push(Row {
                work: "encode".to_owned(),
                protocol: "none".to_owned(),
                jina: report.rows.last().map_or_else(String::new, |row| row.jina.clone()),
                theirs,
                ours,
                earlier: Vec::new(),
            });
            report.singles.push(Single {
                name: "encoding 100 documents with 768 floats as JSON, which holds the loop as long",
                value: Spread::of(ours_as_json).median,
                limit: 1500.0,
                unit: " us",
            });
            report.singles.extend(by_itself(&script, &addresses.http, &rounds)?);
        }
    }
    Ok(report)
}

/// Measures what has no counterpart in Jina's client.
fn by_itself(script: &Script<'_>, url: &str, rounds: &str) -> Result<[Single; 4], Box<dyn Error>> {
    let Awaits { ready, waiting } = script.run(&["await", rounds])?;
    let memory = |documents: usize| -> Result<f64, Box<dyn Error>> {
        let Memory { interpreter, peak } = script.run(&["memory", url, &documents.to_string()])?;
        Ok(peak - interpreter)
    };
    let [fewer, more] = [memory(DOCUMENTS[0])?, memory(DOCUMENTS[1])?];
    let single = |name, value, limit, unit| Single { name, value, limit, unit };
    Ok([
        single("an await that is ready", Spread::of(ready).median, 1.0, " us"),
        single("an await that waits, 16 tasks", Spread::of(waiting).median, 15.0, " us"),
        single("peak memory of 1,000,000 documents above the interpreter", more, 128.0, " MiB"),
        single("the same, above that of 100,000 documents", more - fewer, 4.0, " MiB"),
    ])
}

/// The script, for one environment of Python.
struct Script<'a> {
    python: PathBuf,
    wheel: &'a Path,
}

impl Script<'_> {
    /// Compares with Jina's client on each protocol, which speaks these documents.
    fn compared(
        &self,
        addresses: &Addresses,
        documents: &str,
        has_helper: bool,
        rounds: &str,
    ) -> Result<Vec<Row>, Box<dyn Error>> {
        let Addresses { http, websocket, grpc, .. } = addresses;
        let Compared { jina, mut rows } = self.run(&["compare", http, websocket, grpc, rounds])?;
        let hook: Compared = self.run(&["hook", http, websocket, grpc, rounds])?;
        rows.extend(hook.rows);
        if has_helper {
            let helper: Compared = self.run(&["helper", http, websocket, rounds])?;
            rows.extend(helper.rows);
        }
        let row = |ComparedRow { work, protocol, theirs, ours }| Row {
            work,
            protocol,
            jina: format!("{jina} {documents}"),
            theirs: Spread::of(theirs),
            ours: Spread::of(ours),
            earlier: Vec::new(),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Runs a task and reads the result, which is printed on one line.
    fn run<T: DeserializeOwned>(&self, task: &[&str]) -> Result<T, Box<dyn Error>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("wheel.py");
        let mut command = Command::new(&self.python);
        command.arg(script).args(task).env("PYTHONPATH", self.wheel);
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).stderr(Stdio::piped());
        let output = command.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{command:?}: {}\n{said}", output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

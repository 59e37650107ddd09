//! Compares Jina's own Python clients with ours, against the same gateway.

mod chart;
mod report;

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use clientlet::{Client, NoDocuments, Post};
use clientlet_interop::Environment;
use serde::{Deserialize, Serialize};

use self::report::{Report, Row};
use crate::contest::IN_FLIGHT;
use crate::cpu::{Stopwatch, own_peak_kib};
use crate::documents::{Document, TEXT_LENGTH};
use crate::serve::{self, Addresses, GatewayProcess};

/// The argument with which this program starts itself to post documents.
pub(crate) const CALL: &str = "call";

const ENDPOINT: &str = "/upper";
const WARM_UP: usize = 100;
/// The number of runs of our client. A run takes a tenth of a second, which other work on the machine
/// easily disturbs, so the median run counts.
const OUR_RUNS: usize = 7;

/// The options of this benchmark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The number of requests, of one document each.
    pub(crate) requests: usize,
    /// The number of requests of Python's clients; `None` for the same number.
    pub(crate) python_requests: Option<usize>,
    pub(crate) check: bool,
    /// Files that are written as well.
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        let (python_requests, json, svg) = (None, None, None);
        Options { requests: 10_000, python_requests, check: false, json, svg }
    }
}

/// A call to make with our client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) url: String,
    pub(crate) requests: usize,
}

/// The result of a client in either language.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    client: String,
    requests: usize,
    seconds: f64,
    cpu_seconds: f64,
    /// The peak of resident memory.
    peak_mib: f64,
}

/// A protocol's name, its name in Jina's client, and the gateway's address.
type Protocol = (&'static str, &'static str, fn(&Addresses) -> &str);

const PROTOCOLS: [Protocol; 3] = [
    ("HTTP", "http", |addresses| &addresses.http),
    ("WebSocket", "websocket", |addresses| &addresses.websocket),
    ("gRPC", "grpc", |addresses| &addresses.grpc),
];

/// The oldest and the newest release, each with its generation of documents.
const ENVIRONMENTS: [Environment; 2] = [Environment::SeedEra, Environment::Current];

pub(crate) fn run(options: &Options) -> Result<Report, Box<dyn Error>> {
    let pythons: Result<Vec<_>, _> = ENVIRONMENTS.map(find_python).into_iter().collect();
    let pythons = pythons?;
    let mut rows = Vec::new();
    for (environment, python) in ENVIRONMENTS.into_iter().zip(&pythons) {
        let is_v2 = environment.documents() == "v2";
        let gateway = GatewayProcess::start(serve::Options { is_v2, ..Default::default() })?;
        for (protocol, name, address) in PROTOCOLS {
            let url = address(gateway.addresses());
            let python_requests = options.python_requests.unwrap_or(options.requests);
            let theirs = run_python(python, name, url, python_requests)?;
            let ours = run_ours(url, options.requests)?;
            rows.push(Row { protocol, release: environment.jina(), theirs, ours });
        }
    }
    let report = Report { rows };
    if let Some(file) = &options.json {
        write(file, &format!("{:#}\n", report.to_json()))?;
    }
    if let Some(file) = &options.svg {
        write(file, &chart::draw(&report.rows))?;
    }
    Ok(report)
}

pub(crate) fn find_python(environment: Environment) -> Result<PathBuf, String> {
    environment.python().ok_or_else(|| {
        format!(
            "{environment} is not installed: run `interop/install target/interop`, or set \
             CLIENTLET_INTEROP to the directory that contains it"
        )
    })
}

pub(crate) fn run_python(
    python: &Path,
    protocol: &str,
    url: &str,
    requests: usize,
) -> Result<Run, Box<dyn Error>> {
    let uri: http::Uri = url.parse()?;
    let port = uri.port_u16().ok_or("the gateway's address has no port")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers.py");
    let numbers = [usize::from(port), requests, IN_FLIGHT, TEXT_LENGTH];
    let mut command = Command::new(python);
    command.arg(script).arg(protocol).args(numbers.map(|number| number.to_string()));
    finish(command)
}

/// Runs our client several times and returns the run with the median CPU time.
fn run_ours(url: &str, requests: usize) -> Result<Run, Box<dyn Error>> {
    let program = env::current_exe()?;
    let run = |_| {
        let mut command = Command::new(&program);
        command.args([CALL, url, &requests.to_string()]);
        finish(command)
    };
    let runs: Result<Vec<Run>, _> = (0..OUR_RUNS).map(run).collect();
    let mut runs = runs?;
    runs.sort_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds));
    Ok(runs.swap_remove(OUR_RUNS / 2))
}

/// Runs a client and reads the result that it prints on one line.
fn finish(mut command: Command) -> Result<Run, Box<dyn Error>> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?}: {}\n{said}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The process of our client: posts documents as the Python script does, and prints the result.
pub(crate) fn call(call: &Call) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cost = runtime.block_on(async {
        let client = Client::new(&call.url)?;
        post(&client, WARM_UP).await?;
        let stopwatch = Stopwatch::start()?;
        post(&client, call.requests).await?;
        Ok::<_, Box<dyn Error>>(stopwatch.stop()?)
    })?;
    let run = Run {
        client: format!("clientlet {}", env!("CARGO_PKG_VERSION")),
        requests: call.requests,
        seconds: cost.wall.as_secs_f64(),
        cpu_seconds: cost.cpu.as_secs_f64(),
        peak_mib: own_peak_kib()? as f64 / 1024.0,
    };
    writeln!(io::stdout().lock(), "{}", serde_json::to_string(&run)?)?;
    Ok(())
}

/// Posts documents as Python's client does: each document is made when it is needed, and each answer
/// is decoded into documents.
async fn post(client: &Client, requests: usize) -> Result<(), Box<dyn Error>> {
    let Document { text, .. } = Document::numbered(0);
    let documents = (0..requests).map(|number| Document {
        id: format!("document-{number}"),
        text: text.clone(),
        embedding: None,
    });
    let post: Post<NoDocuments> = client.post(ENDPOINT);
    let mut answers = post.documents(documents).request_size(1).prefetch(IN_FLIGHT).stream();
    let mut answered = 0;
    while let Some(answer) = answers.next().await {
        answered += answer?.documents::<Document>()?.len();
    }
    match answered == requests {
        true => Ok(()),
        false => Err(format!("{requests} requests got {answered} answers").into()),
    }
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_our_client_posts_are_answered_on_every_protocol() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for docarray in [clientlet_gateway::DocArray::V1, clientlet_gateway::DocArray::V2] {
                let builder = clientlet_gateway::Gateway::builder().docarray(docarray);
                let gateway = builder.websocket(true).grpc(true).start().await.unwrap();
                let addresses = Addresses::of(&gateway, None);
                for (_, _, address) in PROTOCOLS {
                    let client = Client::new(address(&addresses)).unwrap();
                    post(&client, 20).await.unwrap();
                }
            }
        });
    }
}

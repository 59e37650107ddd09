//! Measures how soon the command starts to work.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::gate::{self, Bound, Gate};
use crate::program;
use crate::statistics::Spread;

const FIRST_BYTE_LIMIT_MS: f64 = 20.0;
const HELP_LIMIT_MS: f64 = 5.0;
/// A command that sends nothing for this long does not work.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The number of measurements of each time.
    pub(crate) runs: usize,
    pub(crate) check: bool,
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { runs: 25, check: false, json: false }
    }
}

/// The times in milliseconds, one spread for each attempt.
#[derive(Debug)]
pub(crate) struct Report {
    runs: usize,
    first_byte: Vec<Spread>,
    help: Vec<Spread>,
}

pub(crate) fn run(options: &Options) -> Result<Report, Box<dyn Error>> {
    let program = program::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let first_byte = || runtime.block_on(time_to_first_byte(&program));
    let help = || time_of_help(&program);
    let runs = options.runs;
    Ok(Report {
        runs,
        first_byte: measure(options, first_byte, FIRST_BYTE_LIMIT_MS)?,
        help: measure(options, help, HELP_LIMIT_MS)?,
    })
}

fn measure(
    options: &Options,
    run: impl Fn() -> io::Result<Duration>,
    limit: f64,
) -> io::Result<Vec<Spread>> {
    // The first run reads the program from the disk and does not count.
    run()?;
    let spread = || {
        let times: io::Result<Vec<Duration>> = (0..options.runs).map(|_| run()).collect();
        Ok(Spread::of(times?.into_iter().map(|time| time.as_secs_f64() * 1e3)))
    };
    // Without a check the first attempt is taken.
    gate::attempt(spread, |spread| !options.check || Bound::Below.holds(spread.median, limit))
}

async fn time_to_first_byte(program: &Path) -> io::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let began = Instant::now();
    let _child = Ended(
        Command::new(program)
            .args(["post", &url, "--text", "x", "--quiet"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let first_byte = async {
        let (connection, _) = listener.accept().await?;
        loop {
            connection.readable().await?;
            let took = began.elapsed();
            // A connection is also readable if it was closed, and may be reported readable without data.
            match connection.try_read(&mut [0]) {
                Ok(0) => return Err(io::Error::other("`clientlet post` sent nothing")),
                Ok(_) => return Ok(took),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    match tokio::time::timeout(PATIENCE, first_byte).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::other(format!("`clientlet post` sent nothing for {PATIENCE:?}"))),
    }
}

fn time_of_help(program: &Path) -> io::Result<Duration> {
    let began = Instant::now();
    let status =
        Command::new(program).arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    let took = began.elapsed();
    if status.success() {
        Ok(took)
    } else {
        Err(io::Error::other(format!("`clientlet --help`: {status}")))
    }
}

/// A process that is killed when this value is dropped, because its answer will never come.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both calls fail only if the process was waited for before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Report {
    fn rows(&self) -> [(&'static str, &'static str, f64, &[Spread]); 2] {
        [
            ("first_byte", "clientlet post, first byte", FIRST_BYTE_LIMIT_MS, &self.first_byte),
            ("help", "clientlet --help", HELP_LIMIT_MS, &self.help),
        ]
    }

    pub(crate) fn gates(&self) -> Vec<Gate> {
        let gate = |(_, title, limit, attempts): (_, &str, f64, &[Spread])| Gate {
            name: title.to_owned(),
            bound: Bound::Below,
            limit,
            unit: " ms",
            measured: attempts.iter().map(|spread| spread.median).collect(),
        };
        self.rows().map(gate).to_vec()
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("start: medians of {} runs, by the clock\n\n", self.runs);
        for (_, title, _, attempts) in self.rows() {
            for Spread { min, median, max } in attempts {
                text.push_str(&format!("{title:<26}  {median:>6.2} ms  ({min:.2} - {max:.2})\n"));
            }
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut json = json!({"benchmark": "start", "runs": self.runs});
        for (key, _, _, attempts) in self.rows() {
            json[format!("{key}_ms")] = attempts.iter().copied().map(Spread::to_json).collect();
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let spread = |median| Spread { min: 1.0, median, max: 30.0 };
        Report { runs: 3, first_byte: vec![spread(21.0), spread(19.5)], help: vec![spread(5.0)] }
    }

    #[test]
    fn last_attempt_counts() {
        let passed: Vec<bool> = report().gates().iter().map(Gate::is_passed).collect();
        assert_eq!(passed, [true, false]);
    }

    #[test]
    fn table_and_json_say_the_same() {
        assert_eq!(
            report().to_text(),
            "start: medians of 3 runs, by the clock\n\n\
             clientlet post, first byte   21.00 ms  (1.00 - 30.00)\n\
             clientlet post, first byte   19.50 ms  (1.00 - 30.00)\n\
             clientlet --help              5.00 ms  (1.00 - 30.00)\n",
        );
        let json = report().to_json();
        assert_eq!(json["first_byte_ms"][1]["median"], 19.5);
        assert_eq!(json["help_ms"][0]["max"], 30.0);
    }

    #[tokio::test]
    async fn program_that_cannot_be_started_is_an_error() {
        assert!(time_to_first_byte(Path::new("no-such-program")).await.is_err());
    }
}

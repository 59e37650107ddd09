//! Measures what a call of the blocking client costs beyond one of the async client.

use std::error::Error;

use clientlet::{Answers, Client, blocking};
use serde_json::{Value, json};

use crate::cpu::Stopwatch;
use crate::documents::Document;
use crate::gate::{self, Bound, Gate};
use crate::serve::{self, GatewayProcess};
use crate::statistics::Spread;

/// The most CPU time that a blocking call may take beyond an async one.
const LIMIT_US: f64 = 10.0;
const ENDPOINT: &str = "/";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Calls in a measurement.
    pub(crate) calls: usize,
    pub(crate) rounds: usize,
    pub(crate) check: bool,
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { calls: 5000, rounds: 7, check: false, json: false }
    }
}

/// The CPU time of a call, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Round {
    asynchronous: f64,
    blocking: f64,
}

#[derive(Debug)]
pub(crate) struct Report {
    /// The attempts of each protocol. The last attempt counts.
    protocols: Vec<(&'static str, Vec<Vec<Round>>)>,
}

pub(crate) fn run(options: &Options) -> Result<Report, Box<dyn Error>> {
    let gateway = GatewayProcess::start(serve::Options::default())?;
    let addresses = gateway.addresses();
    let protocols = [
        ("HTTP", &addresses.http, false),
        ("WebSocket", &addresses.websocket, false),
        ("gRPC, a stream a call", &addresses.grpc, false),
        ("gRPC, unary", &addresses.grpc, true),
    ];
    let measure = |(name, url, is_unary): (_, &String, _)| {
        let compare = || compare(url, is_unary, options);
        let is_good = |rounds: &Vec<Round>| {
            !options.check || Bound::AtMost.holds(beyond(rounds).median, LIMIT_US)
        };
        Ok((name, gate::attempt(compare, is_good)?))
    };
    let protocols: Result<_, Box<dyn Error>> = protocols.into_iter().map(measure).collect();
    Ok(Report { protocols: protocols? })
}

/// Both make one call after the other, in turns.
fn compare(url: &str, is_unary: bool, options: &Options) -> Result<Vec<Round>, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = client(url, is_unary)?;
    let waiting = blocking::Client::over(self::client(url, is_unary)?)?;
    let document = Document::numbered(1);
    let mut rounds = Vec::with_capacity(options.rounds);
    // The first round connects and does not count.
    for _ in 0..=options.rounds {
        let asynchronous = time(options.calls, || {
            runtime.block_on(client.post(ENDPOINT).document(&document).send())
        })?;
        let blocking = time(options.calls, || waiting.post(ENDPOINT).document(&document).send())?;
        rounds.push(Round { asynchronous, blocking });
    }
    rounds.remove(0);
    Ok(rounds)
}

fn client(url: &str, is_unary: bool) -> Result<Client, clientlet::Error> {
    let builder = Client::builder(url);
    if is_unary { builder.unary(true).build() } else { builder.build() }
}

fn time(calls: usize, call: impl Fn() -> Answers) -> Result<f64, Box<dyn Error>> {
    let stopwatch = Stopwatch::start()?;
    for _ in 0..calls {
        call().into_result()?;
    }
    Ok(stopwatch.stop()?.cpu.as_secs_f64() * 1e6 / calls as f64)
}

/// The CPU time of a blocking call beyond that of an async one.
fn beyond(rounds: &[Round]) -> Spread {
    Spread::of(rounds.iter().map(|round| round.blocking - round.asynchronous))
}

impl Report {
    /// The rounds of each protocol's last attempt.
    fn last(&self) -> impl Iterator<Item = (&'static str, &Vec<Round>)> {
        self.protocols.iter().filter_map(|(name, attempts)| Some((*name, attempts.last()?)))
    }

    pub(crate) fn gates(&self) -> Vec<Gate> {
        let gate = |(name, attempts): &(&str, Vec<Vec<Round>>)| Gate {
            name: format!("CPU beyond an async call, {name}"),
            bound: Bound::AtMost,
            limit: LIMIT_US,
            unit: " us",
            measured: attempts.iter().map(|rounds| beyond(rounds).median).collect(),
        };
        self.protocols.iter().map(gate).collect()
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!(
            "CPU time of a call of 1 document, one call after the other\n\n{:<22}  {:>8}  {:>11}  {:>9}\n",
            "", "async us", "blocking us", "beyond us"
        );
        for (name, rounds) in self.last() {
            let median = |of: fn(&Round) -> f64| Spread::of(rounds.iter().map(of)).median;
            let (asynchronous, blocking) =
                (median(|round| round.asynchronous), median(|round| round.blocking));
            let Spread { min, median, max } = beyond(rounds);
            text.push_str(&format!(
                "{name:<22}  {asynchronous:>8.1}  {blocking:>11.1}  {median:>9.1}  ({min:.1} - {max:.1})\n"
            ));
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .last()
            .map(|(name, rounds)| json!({"protocol": name, "beyond_us": beyond(rounds).to_json()}))
            .collect();
        json!({"benchmark": "blocking", "protocols": rows})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let attempt = |beyond| vec![Round { asynchronous: 30.0, blocking: 30.0 + beyond }];
        Report { protocols: vec![("HTTP", vec![attempt(12.0), attempt(2.5)])] }
    }

    #[test]
    fn last_attempt_counts() {
        let gates = report().gates();
        assert_eq!(gates[0].measured, [12.0, 2.5]);
        assert!(gates[0].is_passed());
    }

    #[test]
    fn table_and_json_say_the_same() {
        let text = report().to_text();
        let row: Vec<&str> = text.lines().last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(row, ["HTTP", "30.0", "32.5", "2.5", "(2.5", "-", "2.5)"]);
        assert_eq!(report().to_json()["protocols"][0]["beyond_us"]["median"], 2.5);
    }
}

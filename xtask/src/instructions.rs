//! `cargo xtask bench instructions`: what traces cost a request, in instructions that valgrind counts.
//! They are the same in every run, so that no quiet machine is needed.

use std::process::{Command, ExitCode};

use crate::command::{self, cargo};
use crate::metadata::Metadata;

/// How much more a request may cost with the feature `otel` and no provider, as a share.
const MOST_UNHEARD: f64 = 0.01;
/// How many more instructions a request may cost if it is sampled into a provider that drops everything: on a
/// WebSocket or a gRPC stream, and over HTTP or unary gRPC, where each request has a context of its own in its
/// headers.
const MOST_SAMPLED: f64 = 2_500.0;
const MOST_WITH_HEADERS: f64 = 3_700.0;

/// A case of the benchmark: the same documents in a hundred requests, and in one.
type Case = [&'static str; 2];

const HTTP: Case = ["whole_call one_a_request:", "whole_call hundred_a_request:"];
const SHARED: Case = ["shared_call one_on_a_connection:", "shared_call hundred_on_a_connection:"];
const SAMPLED_HTTP: Case = ["sampled_call one_a_request:", "sampled_call hundred_a_request:"];
const SAMPLED_SHARED: Case =
    ["sampled_call one_on_a_connection:", "sampled_call hundred_on_a_connection:"];
const SDK: Case = ["sampled_call one_through_the_sdk:", "sampled_call hundred_through_the_sdk:"];
/// How many requests more the first of a pair has.
const REQUESTS: f64 = 99.0;

/// Measures, prints a table, and with `--check` compares with the limits.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let is_checked = match arguments {
        [] => false,
        [check] if check == "--check" => true,
        _ => {
            return Err(
                "`cargo xtask bench instructions` takes --check and nothing else".to_owned()
            );
        }
    };
    let (without, with) = (measure(false)?, measure(true)?);
    let request = |printed: &str, [many, one]: Case| {
        Ok::<f64, String>((instructions(printed, many)? - instructions(printed, one)?) / REQUESTS)
    };
    let (bare, unheard) = (request(&without, HTTP)?, request(&with, HTTP)?);
    let http = request(&with, SAMPLED_HTTP)? - unheard;
    let shared = request(&with, SAMPLED_SHARED)? - request(&with, SHARED)?;
    let sdk = request(&with, SDK)? - unheard;
    let share = unheard / bare - 1.0;
    println!("instructions of a request, without the network");
    println!("without the feature otel                                {bare:>6.0}");
    println!("with it, and no provider                                {:>+6.2} %", share * 100.0);
    println!("sampled into a provider that drops all, on a connection {shared:>+6.0}");
    println!("the same, with a context in its own headers             {http:>+6.0}");
    println!("the same, through OpenTelemetry's SDK                   {sdk:>+6.0}");
    let mut is_kept = true;
    for (holds, promise) in [
        (share <= MOST_UNHEARD, "without a provider at most 1 % more"),
        (shared <= MOST_SAMPLED, "sampled on a connection at most 2,500 more"),
        (http <= MOST_WITH_HEADERS, "sampled with headers at most 3,700 more"),
    ] {
        if is_checked {
            println!("{}: {promise}", if holds { "kept" } else { "BROKEN" });
            is_kept &= holds;
        }
    }
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the benchmark's whole calls, with or without the feature.
fn measure(is_traced: bool) -> Result<String, String> {
    if command::output(Command::new("gungraun-runner").arg("--version")).is_none() {
        let hint = "gungraun-runner was not found; `cargo install gungraun-runner --version 0.20.0` installs it, \
                    and it needs valgrind";
        return Err(hint.to_owned());
    }
    let (features, folder): (&[&str], _) = match is_traced {
        true => (&["--features", "otel"], "instructions-otel"),
        false => (&[], "instructions"),
    };
    // A folder for each, since the flags and features would make each build the other's anew.
    let target = Metadata::read()?.target_directory.join(folder);
    let mut bench = cargo();
    bench.args(["bench", "--package", "clientlet", "--bench", "instructions"]).args(features);
    bench.args(["--", "*calls*"]).env("RUSTFLAGS", "--cfg clientlet_bench");
    command::printed_by(bench.env("CARGO_TARGET_DIR", target))
}

/// Reads the instructions of a case: the number in the line after the one that names it.
fn instructions(printed: &str, case: &str) -> Result<f64, String> {
    let mut lines = printed.lines().skip_while(|line| !line.contains(case)).skip(1);
    let line = lines.find(|line| line.trim_start().starts_with("Instructions:"));
    let number =
        line.and_then(|line| line.split(':').nth(1)?.split('|').next()?.trim().parse().ok());
    number.ok_or_else(|| format!("the benchmark says nothing of {case}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_of_a_case_are_read() {
        let printed = "instructions::calls::whole_call one_a_request:(small(), 1, false)\n  \
                       Instructions:      608791|N/A  (*)\n\
                       instructions::calls::whole_call hundred_a_request:(small(), 100, false)\n  \
                       Instructions:      150784|150000  (+0.5%)\n";
        assert_eq!(HTTP.map(|case| instructions(printed, case)), [Ok(608_791.0), Ok(150_784.0)]);
        assert!(instructions(printed, SDK[0]).is_err());
    }
}

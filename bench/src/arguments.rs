//! The command line.

use crate::{http, serve};

pub(crate) const HELP: &str = "\
What the client costs beside the bare transport, measured in one run.

Usage: clientlet-bench http [--requests N] [--rounds R] [--awake] [--json]

At 1 and at 100 documents a request, with 16 requests in flight, against the embedded
gateway in a process of its own:
  (a) the bare transport: hyper-util posting bytes that are encoded already
  (b) the codec alone: encoding a request, reading the envelope of an answer
  (c) Client::post as a stream, its documents not decoded
They take turns, a, b, c, a, b, c. The ratio c / (a + b) is that of this process's CPU time a
request, taken in each round; its median counts.

Options:
  --requests N   Requests a measurement; 100000 of 1 document and 16000 of 100 by default
  --rounds R     How often each is measured; 7 by default
  --awake        A gateway that never sleeps. Otherwise whoever is slower than the gateway
                 pays for waking it at every request, which (a) hardly ever does
  --json         One JSON object instead of a table

Exit codes: 0 all well, 1 the measurement failed, 2 wrong usage.
";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Http(http::Options),
    /// The gateway's side; for this program alone to ask for.
    Serve(serve::Options),
}

pub(crate) fn parse(given: &[String]) -> Result<Task, String> {
    let Some((name, rest)) = given.split_first() else {
        return Err("no benchmark given; there is: http".to_owned());
    };
    match name.as_str() {
        "help" | "--help" | "-h" => Ok(Task::Help),
        "http" => parse_http(rest),
        "serve" => parse_serve(rest),
        other => Err(format!("no benchmark is called `{other}`; there is: http")),
    }
}

fn parse_http(rest: &[String]) -> Result<Task, String> {
    let mut options = http::Options::default();
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "--requests" => options.requests = Some(count("--requests", rest.next())?),
            "--rounds" => options.rounds = count("--rounds", rest.next())?,
            serve::AWAKE => options.gateway.awake = true,
            "--json" => options.json = true,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`http` does not take `{other}`")),
        }
    }
    Ok(Task::Http(options))
}

fn parse_serve(rest: &[String]) -> Result<Task, String> {
    let mut options = serve::Options::default();
    for option in rest {
        match option.as_str() {
            serve::AWAKE => options.awake = true,
            other => return Err(format!("`serve` does not take `{other}`")),
        }
    }
    Ok(Task::Serve(options))
}

fn count(option: &str, value: Option<&String>) -> Result<usize, String> {
    let value = value.ok_or_else(|| format!("`{option}` needs a number"))?;
    match value.parse() {
        Ok(0) | Err(_) => {
            Err(format!("`{option}` needs a whole number of at least 1, not `{value}`"))
        }
        Ok(count) => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Task, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn options_are_taken_in_any_order() {
        let gateway = serve::Options { awake: true };
        let options = http::Options { requests: Some(50), rounds: 3, gateway, json: true };
        let line = "http --json --rounds 3 --awake --requests 50";
        assert_eq!(parse_line(line), Ok(Task::Http(options)));
        assert_eq!(parse_line("http"), Ok(Task::Http(http::Options::default())));
    }

    #[test]
    fn gateway_is_served_as_it_is_asked_for() {
        assert_eq!(parse_line("serve"), Ok(Task::Serve(serve::Options { awake: false })));
        assert_eq!(parse_line("serve --awake"), Ok(Task::Serve(serve::Options { awake: true })));
    }

    #[test]
    fn help_is_found_before_and_behind_the_name() {
        for line in ["--help", "-h", "help", "http --help", "http --rounds 2 -h"] {
            assert_eq!(parse_line(line), Ok(Task::Help), "{line}");
        }
    }

    #[test]
    fn errors_name_the_word_at_fault() {
        for (line, word) in [
            ("", "http"),
            ("https", "`https`"),
            ("http --round 3", "`--round`"),
            ("http --rounds", "`--rounds` needs"),
            ("http --rounds 0", "not `0`"),
            ("http --requests 1e3", "not `1e3`"),
            ("http --requests -5", "not `-5`"),
            ("http extra", "`extra`"),
            ("serve extra", "`extra`"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}

//! The command line.

use crate::contest::{self, Benchmark};
use crate::{blocking, codec, memory, pace, peers, python, serve, start};

pub(crate) const HELP: &str = "\
Measures what the client and its command cost.

Usage: clientlet-bench http|websocket|grpc [--check] [--requests N] [--rounds R] [--only TEXT]
       [--tls] [--awake] [--json]
       clientlet-bench blocking [--check] [--calls N] [--rounds R] [--json]
       clientlet-bench codec [--check] [--messages N] [--rounds R] [--json]
       clientlet-bench memory [--check] [--documents N,M] [--rounds R] [--json]
       clientlet-bench pace [--check] [--against PROGRAM] [--real] [--requests N] [--rounds R] [--json]
       clientlet-bench peers [--check] [--requests N] [--python-requests N] [--json FILE] [--svg FILE]
       clientlet-bench python [--check] [--rounds R] [--json]
       clientlet-bench start [--check] [--runs N] [--json]

http, websocket, grpc: compare the client with the bare transport, with 16 requests in flight. The
embedded gateway runs in a process of its own. The contestants are:
  (a) the bare transport, which sends encoded bytes: hyper-util's pool, tokio-websockets with one
      flush for all messages that are ready, tonic with a stream and unary
  (b) the codec alone: it encodes a request and reads the envelope of an answer
  (c) Client::post as a stream, without decoding the documents
They take turns: a, b, c, a, b, c. Each round gives the ratio c / (a + b) of this process's CPU
time for each request; the median of the rounds is the result. Requests hold 1 or 100 short texts;
on WebSocket there are also requests with 1 or 100 embeddings of 768 floats.
  --requests N   Requests in a measurement; by default enough for about half a second
  --rounds R     Rounds; 7 by default
  --only TEXT    Only requests whose name in the table contains the text
  --tls          Put all of them on TLS: the bare transports on rustls, as hyper-rustls does it
  --awake        Use a gateway that never sleeps. Otherwise a contestant that is slower than the
                 gateway pays for waking the gateway at every request, which (a) hardly ever does
  --check        Fail if a ratio is above 1.25; for 1 document over gRPC above 1.2, or with --tls above
                 1.25; for 1 document on WebSocket with --tls above 1.4. Implies --awake, because only
                 then a, b and c pay for the same work. A measurement that fails is repeated, at most
                 three times in all

blocking: measure the CPU time of a call of `clientlet::blocking` beyond that of an async call, for
calls of 1 document, one after the other. The embedded gateway runs in a process of its own.
  --calls N      Calls in a measurement; 5000 by default
  --rounds R     Rounds, in turns; 7 by default. The median of the differences counts
  --check        Fail above 10 us

codec: decode and encode 100 documents with embeddings of 768 floats, from protobuf into a struct
with a Tensor and back, compared with prost's own types with `Bytes` for the same messages.
  --messages N   Messages in a measurement; 2000 by default
  --rounds R     Rounds, in turns; 15 by default
  --check        Fail if decoding takes more than 1.4 times the CPU time of prost's types

memory: measure the peak memory of `clientlet post --input - --output /dev/null` while documents are
piped in, over HTTP, one WebSocket and one gRPC stream. The embedded gateway runs in a process of
its own.
  --documents N,M  The two numbers of documents; 100000,1000000 by default
  --rounds R       Rounds, in turns; 5 by default. The median of the ratios counts
  --check          Fail at 64 MiB or more, or if M documents need more than 1.10 times the
                   memory of N

pace: measure what `clientlet post` needs for a request of 1 document while 200 requests a second are
answered, on each protocol: system calls, counted by strace, and CPU time, measured without strace.
In one case the gateway sets the pace, in the other case the input, a pipe. The first request does
not count.
  --requests N   Requests in a measurement; 600 by default
  --rounds R     Measurements of CPU time; 3 by default. The median counts
  --against PROGRAM  Another build of the command, measured in turns with this one
  --real         Also measure the CPU time of Jina's own 3.33.1 client and of the command against a
                 real gateway of that release; needs `interop/install`, as for peers
  --check        Fail above 2 waits, 1 read, 1 write or 0.05 futex calls for each request; above a
                 third of the other build's CPU time; or if Jina's client takes less than 50 times
                 the command's CPU time on HTTP or WebSocket, or less than 20 times on gRPC

start: measure the time from the start of `clientlet post` until its first byte has arrived, and the
time that `clientlet --help` takes, both by the clock.
  --runs N       Measurements of each; 25 by default. The median counts
  --check        Fail at 20 ms or more for the first byte, or 5 ms or more for the help

peers: compare Jina's own Python clients, 3.14.1 with documents v1 and 3.33.1 with documents v2,
with ours, each against the embedded gateway over HTTP, WebSocket and gRPC: the client's CPU time
without imports and connecting, requests a second, and peak memory. Needs the gateways that
`interop/install` installs, under target/interop or at CLIENTLET_INTEROP. Our client's run is
short, so it is measured seven times, and the run with the median CPU time counts.
  --requests N   Requests of 1 document; 10000 by default
  --python-requests N  Requests that Python's clients make, if fewer are enough
  --json FILE    Also write the results to this file
  --svg FILE     Also write a chart of the CPU times
  --check        Fail if 3.33.1 takes less than 100 times our CPU time on HTTP or WebSocket, or less
                 than 40 times on gRPC

python: compare the Python wheel with jina.Client, 3.14.1 with documents v1 and 3.33.1 with both, each
against the embedded gateway over HTTP, WebSocket and gRPC: the client's CPU time, user and system, for
calls of one request of 100 documents, one after the other, both clients in one process and in turns.
Jina's client connects for each call, so that counts, while ours keeps its connections. Also encodes
documents beside DocArray, and measures awaits by themselves and the peak of memory. Needs the
environments of peers, and the wheel, which `cargo xtask bench python` builds.
  --rounds R     Rounds, in turns; 5 by default. The medians count
  --check        Fail below the goals in the table. Measures up to three times until they are reached

memory, pace and start run the program `clientlet` in the same folder as this one.

  --json         Print a JSON object on one line instead of a table (except for peers)

Exit codes: 0 success, 1 the measurement failed or exceeds a limit, 2 wrong usage.

Examples:
  clientlet-bench http --check
  clientlet-bench grpc --rounds 3 --json
  clientlet-bench memory --documents 1000,10000
  clientlet-bench start --runs 100
";

/// The names of all benchmarks.
const BENCHMARKS: &str =
    "there are: http, websocket, grpc, blocking, codec, memory, pace, peers, python, start";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Contest(contest::Options),
    Blocking(blocking::Options),
    Codec(codec::Options),
    Memory(memory::Options),
    Pace(pace::Options),
    Peers(peers::Options),
    Python(python::Options),
    Start(start::Options),
    // Only this program itself starts the following.
    /// The gateway.
    Serve(serve::Options),
    /// The side that pipes documents into the command.
    Feed(memory::Feed),
    /// Our client's part of `peers`.
    Call(peers::Call),
}

pub(crate) fn parse(given: &[String]) -> Result<Task, String> {
    let Some((name, rest)) = given.split_first() else {
        return Err(format!("no benchmark given; {BENCHMARKS}"));
    };
    match name.as_str() {
        "help" | "--help" | "-h" => Ok(Task::Help),
        "http" => parse_contest(Benchmark::Http, rest),
        "websocket" => parse_contest(Benchmark::WebSocket, rest),
        "grpc" => parse_contest(Benchmark::Grpc, rest),
        "blocking" => parse_blocking(rest),
        "codec" => parse_codec(rest),
        "memory" => parse_memory(rest),
        "pace" => parse_pace(rest),
        "peers" => parse_peers(rest),
        "python" => parse_python(rest),
        "start" => parse_start(rest),
        "serve" => parse_serve(rest),
        memory::FEED => parse_feed(rest),
        peers::CALL => parse_call(rest),
        other => Err(format!("no benchmark is called `{other}`; {BENCHMARKS}")),
    }
}

fn parse_contest(benchmark: Benchmark, rest: &[String]) -> Result<Task, String> {
    let mut options = contest::Options::new(benchmark);
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "--requests" => options.requests = Some(count("--requests", rest.next())?),
            "--rounds" => options.rounds = count("--rounds", rest.next())?,
            "--only" => {
                options.only = Some(rest.next().ok_or("`--only` needs a text")?.clone());
            }
            serve::AWAKE => options.gateway.awake = true,
            serve::TLS => options.gateway.has_tls = true,
            "--check" => {
                options.check = true;
                options.gateway.awake = true;
            }
            "--json" => options.json = true,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`{}` does not take `{other}`", benchmark.name())),
        }
    }
    Ok(Task::Contest(options))
}

fn parse_blocking(rest: &[String]) -> Result<Task, String> {
    let mut options = blocking::Options::default();
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "--calls" => options.calls = count("--calls", rest.next())?,
            "--rounds" => options.rounds = count("--rounds", rest.next())?,
            "--check" => options.check = true,
            "--json" => options.json = true,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`blocking` does not take `{other}`")),
        }
    }
    Ok(Task::Blocking(options))
}

fn parse_codec(rest: &[String]) -> Result<Task, String> {
    let mut options = codec::Options::default();
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "--messages" => options.messages = count("--messages", rest.next())?,
            "--rounds" => options.rounds = count("--rounds", rest.next())?,
            "--check" => options.check = true,
            "--json" => options.json = true,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`codec` does not take `{other}`")),
        }
    }
    Ok(Task::Codec(options))
}

fn parse_memory(rest: &[String]) -> Result<Task, String> {
    let mut options = memory::Options::default();
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "--documents" => options.documents = two_counts("--documents", rest.next())?,
            "--rounds" => options.rounds = count("--rounds", rest.next())?,
            "--check" => options.check = true,
            "--json" => options.json = true,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`memory` does not take `{other}`")),
        }
    }
    Ok(Task::Memory(options))
}

fn parse_pace(rest: &[String]) -> Result<Task, String> {
    let mut options = pace::Options::default();
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "--requests" => options.requests = count("--requests", rest.next())?,
            "--rounds" => options.rounds = count("--rounds", rest.next())?,
            "--against" => {
                let program = rest.next().ok_or("`--against` needs a program")?;
                options.against = Some(program.into());
            }
            "--real" => options.real = true,
            "--check" => options.check = true,
            "--json" => options.json = true,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`pace` does not take `{other}`")),
        }
    }
    Ok(Task::Pace(options))
}

fn parse_peers(rest: &[String]) -> Result<Task, String> {
    let mut options = peers::Options::default();
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        let mut file = |option| {
            let file = rest.next().ok_or_else(|| format!("`{option}` needs a file"))?;
            Ok::<_, String>(Some(file.into()))
        };
        match option.as_str() {
            "--json" => options.json = file("--json")?,
            "--svg" => options.svg = file("--svg")?,
            "--requests" => options.requests = count("--requests", rest.next())?,
            "--python-requests" => {
                options.python_requests = Some(count("--python-requests", rest.next())?);
            }
            "--check" => options.check = true,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`peers` does not take `{other}`")),
        }
    }
    Ok(Task::Peers(options))
}

fn parse_python(rest: &[String]) -> Result<Task, String> {
    let mut options = python::Options::default();
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "--rounds" => options.rounds = count("--rounds", rest.next())?,
            "--check" => options.check = true,
            "--json" => options.json = true,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`python` does not take `{other}`")),
        }
    }
    Ok(Task::Python(options))
}

fn parse_start(rest: &[String]) -> Result<Task, String> {
    let mut options = start::Options::default();
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "--runs" => options.runs = count("--runs", rest.next())?,
            "--check" => options.check = true,
            "--json" => options.json = true,
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("`start` does not take `{other}`")),
        }
    }
    Ok(Task::Start(options))
}

fn parse_serve(rest: &[String]) -> Result<Task, String> {
    let mut options = serve::Options::default();
    for option in rest {
        match option.as_str() {
            serve::AWAKE => options.awake = true,
            serve::V2 => options.is_v2 = true,
            serve::TLS => options.has_tls = true,
            other => return Err(format!("`serve` does not take `{other}`")),
        }
    }
    Ok(Task::Serve(options))
}

fn parse_feed(rest: &[String]) -> Result<Task, String> {
    match rest {
        [url, documents] => {
            let documents = count(memory::FEED, Some(documents))?;
            Ok(Task::Feed(memory::Feed { url: url.clone(), documents }))
        }
        _ => Err(format!("`{}` takes a URL and a number", memory::FEED)),
    }
}

fn parse_call(rest: &[String]) -> Result<Task, String> {
    match rest {
        [url, requests] => {
            let requests = count(peers::CALL, Some(requests))?;
            Ok(Task::Call(peers::Call { url: url.clone(), requests }))
        }
        _ => Err(format!("`{}` takes a URL and a number", peers::CALL)),
    }
}

fn count(option: &str, value: Option<&String>) -> Result<usize, String> {
    let value = value.ok_or_else(|| format!("`{option}` needs a number"))?;
    at_least_one(value)
        .ok_or_else(|| format!("`{option}` needs a whole number of at least 1, not `{value}`"))
}

fn two_counts(option: &str, value: Option<&String>) -> Result<[usize; 2], String> {
    let value = value.ok_or_else(|| format!("`{option}` needs two numbers, N,M"))?;
    let counts = value.split_once(',').and_then(|(fewer, more)| {
        let counts = [at_least_one(fewer)?, at_least_one(more)?];
        (counts[0] < counts[1]).then_some(counts)
    });
    counts.ok_or_else(|| {
        format!("`{option}` needs two whole numbers, N,M, the smaller first, not `{value}`")
    })
}

fn at_least_one(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| *count > 0)
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
        for benchmark in [Benchmark::Http, Benchmark::WebSocket, Benchmark::Grpc] {
            let name = benchmark.name();
            let mut options = contest::Options::new(benchmark);
            assert_eq!(parse_line(name), Ok(Task::Contest(contest::Options::new(benchmark))));
            options.requests = Some(50);
            options.only = Some("text".to_owned());
            options.rounds = 3;
            options.gateway.awake = true;
            options.json = true;
            let line = format!("{name} --json --rounds 3 --awake --requests 50 --only text");
            assert_eq!(parse_line(&line), Ok(Task::Contest(options)));
        }

        let options = blocking::Options { calls: 9, rounds: 2, check: true, json: false };
        let line = "blocking --rounds 2 --check --calls 9";
        assert_eq!(parse_line(line), Ok(Task::Blocking(options)));

        let options = codec::Options { messages: 9, rounds: 2, check: true, json: false };
        assert_eq!(parse_line("codec --rounds 2 --check --messages 9"), Ok(Task::Codec(options)));

        let options = memory::Options { documents: [10, 200], rounds: 2, check: true, json: true };
        let line = "memory --json --documents 10,200 --check --rounds 2";
        assert_eq!(parse_line(line), Ok(Task::Memory(options)));

        let options = pace::Options {
            requests: 20,
            rounds: 2,
            against: Some("old".into()),
            real: true,
            check: true,
            json: true,
        };
        let line = "pace --json --real --against old --check --rounds 2 --requests 20";
        assert_eq!(parse_line(line), Ok(Task::Pace(options)));

        let options = peers::Options {
            requests: 50,
            python_requests: Some(7),
            check: true,
            json: Some("a.json".into()),
            svg: Some("b.svg".into()),
        };
        let line = "peers --svg b.svg --python-requests 7 --requests 50 --check --json a.json";
        assert_eq!(parse_line(line), Ok(Task::Peers(options)));

        let options = python::Options { rounds: 2, check: true, json: true };
        assert_eq!(parse_line("python --json --check --rounds 2"), Ok(Task::Python(options)));

        let options = start::Options { runs: 3, check: true, json: false };
        assert_eq!(parse_line("start --check --runs 3"), Ok(Task::Start(options)));
    }

    #[test]
    fn ratios_are_checked_against_a_gateway_that_is_awake() {
        let Ok(Task::Contest(options)) = parse_line("http --check") else {
            panic!("the line is valid");
        };
        assert!(options.check && options.gateway.awake);
    }

    #[test]
    fn gateway_has_the_options_that_were_given() {
        assert_eq!(parse_line("serve"), Ok(Task::Serve(serve::Options::default())));
        let options = serve::Options { awake: true, is_v2: true, has_tls: true };
        assert_eq!(parse_line("serve --awake --v2 --tls"), Ok(Task::Serve(options)));
    }

    #[test]
    fn help_is_recognised_before_and_after_the_name() {
        for line in
            ["--help", "-h", "help", "http --help", "http --rounds 2 -h", "memory -h", "start -h"]
        {
            assert_eq!(parse_line(line), Ok(Task::Help), "{line}");
        }
    }

    #[test]
    fn errors_name_the_word_at_fault() {
        for (line, word) in [
            ("", "http, websocket, grpc, blocking, codec, memory, pace, peers, python, start"),
            ("https", "`https`"),
            ("grpc --round 3", "`grpc`"),
            ("http --round 3", "`--round`"),
            ("http --rounds", "`--rounds` needs"),
            ("http --rounds 0", "not `0`"),
            ("http --requests 1e3", "not `1e3`"),
            ("http --requests -5", "not `-5`"),
            ("http extra", "`extra`"),
            ("blocking --calls 0", "not `0`"),
            ("memory --documents", "`--documents` needs"),
            ("memory --documents 100", "not `100`"),
            ("memory --documents 100,0", "not `100,0`"),
            ("memory --documents 100,100", "not `100,100`"),
            ("memory --runs 3", "`--runs`"),
            ("pace --against", "`--against` needs"),
            ("pace --runs 3", "`--runs`"),
            ("start --runs 0", "not `0`"),
            ("peers --json", "`--json` needs"),
            ("peers --rounds 3", "`--rounds`"),
            ("python --runs 3", "`--runs`"),
            ("call http://localhost", "`call`"),
            ("start --rounds 3", "`--rounds`"),
            ("serve extra", "`extra`"),
            ("feed http://localhost", "`feed`"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}

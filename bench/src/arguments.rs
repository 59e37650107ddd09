//! The command line.

use crate::contest::{self, Benchmark};
use crate::{codec, memory, pace, peers, serve, start};

pub(crate) const HELP: &str = "\
What the client and its command cost.

Usage: clientlet-bench http|websocket|grpc [--check] [--requests N] [--rounds R] [--only TEXT]
       [--awake] [--json]
       clientlet-bench codec [--check] [--messages N] [--rounds R] [--json]
       clientlet-bench memory [--check] [--documents N,M] [--rounds R] [--json]
       clientlet-bench pace [--check] [--against PROGRAM] [--real] [--requests N] [--rounds R] [--json]
       clientlet-bench peers [--check] [--requests N] [--python-requests N] [--json FILE] [--svg FILE]
       clientlet-bench start [--check] [--runs N] [--json]

http, websocket, grpc: the client beside the bare transport, with 16 requests in flight, against
the embedded gateway in a process of its own:
  (a) the bare transport, sending bytes that are encoded already: hyper-util's pool,
      tokio-websockets with one flush for all that is ready, tonic on a stream and unary
  (b) the codec alone: encoding a request, reading the envelope of an answer
  (c) Client::post as a stream, its documents not decoded
They take turns, a, b, c, a, b, c. The ratio c / (a + b) is that of this process's CPU time a
request, taken in each round; its median counts. Requests hold 1 or 100 short texts; on WebSocket
also as many embeddings of 768 floats.
  --requests N   Requests a measurement; by default enough for half a second or so
  --rounds R     How often each is measured; 7 by default
  --only TEXT    Only requests whose name in the table holds the text
  --awake        A gateway that never sleeps. Otherwise whoever is slower than the gateway
                 pays for waking it at every request, which (a) hardly ever does
  --check        Fail if a ratio is above 1.25, or 1.5 for 1 document on WebSocket; with
                 --awake, as only then a, b and c pay for the same things. What fails is
                 measured again, three times at most

codec: 100 documents with embeddings of 768 floats, from protobuf into a struct with a Tensor and
back, beside prost's own types with `Bytes` for the same messages.
  --messages N   Messages a measurement; 2000 by default
  --rounds R     How often, in turns; 15 by default
  --check        Fail if decoding takes over 1.5 times the CPU time of prost's

memory: what `clientlet post --input - --output /dev/null` holds at its peak while documents
are piped in, over HTTP, one WebSocket and one gRPC stream, against the embedded gateway in a
process of its own.
  --documents N,M  How many, twice; 100000,1000000 by default
  --rounds R       How often, in turns; 5 by default. The median of the ratios counts
  --check          Fail at 64 MiB or more, or if M documents need over 1.10 times what N do

pace: what `clientlet post` takes for a request of 1 document while 200 a second are answered: system
calls, counted by strace, and CPU time, measured without it. Once the gateway sets the pace and
once the input does, a pipe. What the first request takes does not count. On each protocol.
  --requests N   Requests a measurement; 600 by default
  --rounds R     How often CPU time is measured; 3 by default. The median counts
  --against PROGRAM  Another build of the command, measured in turns with this one
  --real         Also the CPU time of Jina's own 3.33.1 client and of the command before a real
                 gateway of that release; needs what `interop/install` makes, as for peers
  --check        Fail above 2 waits, 1 read, 1 write or 0.05 futex calls a request; above a third of
                 the other build's CPU time; if 3.33.1 takes less than 50 times the command's CPU time
                 on HTTP or WebSocket, or less than 20 times on gRPC

start: from the start of `clientlet post` until its first byte has come, and how long
`clientlet --help` takes, by the clock.
  --runs N       How often each is measured; 25 by default. The median counts
  --check        Fail at 20 ms or more for the first byte, or 5 ms or more for the help

peers: Jina's own Python clients, 3.14.1 with documents v1 and 3.33.1 with documents v2, and ours,
each against the embedded gateway over HTTP, WebSocket and gRPC: CPU time of the client without
imports and connecting, requests a second, peak memory. Needs what `interop/install` makes, under
target/interop or where CLIENTLET_INTEROP says. Ours is measured seven times, as it is so short:
the run of the middle CPU time counts.
  --requests N   Requests of 1 document; 10000 by default
  --python-requests N  How many of them Python's clients make, if fewer are enough
  --json FILE    Write what was measured there as well
  --svg FILE     And a chart of the CPU times
  --check        Fail if 3.33.1 takes less than 100 times our CPU time on HTTP or WebSocket, or less
                 than 40 times on gRPC

memory, pace and start run the program `clientlet` that lies beside this one.

  --json         One JSON object a line instead of a table, but for peers

Exit codes: 0 all well, 1 the measurement failed or a limit was passed, 2 wrong usage.

Examples:
  clientlet-bench http --check
  clientlet-bench grpc --rounds 3 --json
  clientlet-bench memory --documents 1000,10000
  clientlet-bench start --runs 100
";

/// What can be measured.
const BENCHMARKS: &str = "there are: http, websocket, grpc, codec, memory, pace, peers, start";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Contest(contest::Options),
    Codec(codec::Options),
    Memory(memory::Options),
    Pace(pace::Options),
    Peers(peers::Options),
    Start(start::Options),
    /// The gateway's side; for this program alone to ask for.
    Serve(serve::Options),
    /// The side that pipes documents in; for this program alone to ask for.
    Feed(memory::Feed),
    /// Our client's side of peers; for this program alone to ask for.
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
        "codec" => parse_codec(rest),
        "memory" => parse_memory(rest),
        "pace" => parse_pace(rest),
        "peers" => parse_peers(rest),
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

        let options = start::Options { runs: 3, check: true, json: false };
        assert_eq!(parse_line("start --check --runs 3"), Ok(Task::Start(options)));
    }

    #[test]
    fn ratios_are_checked_against_a_gateway_that_is_awake() {
        let Ok(Task::Contest(options)) = parse_line("http --check") else {
            panic!("it is understood");
        };
        assert!(options.check && options.gateway.awake);
    }

    #[test]
    fn gateway_is_served_as_it_is_asked_for() {
        assert_eq!(parse_line("serve"), Ok(Task::Serve(serve::Options::default())));
        let options = serve::Options { awake: true, is_v2: true };
        assert_eq!(parse_line("serve --awake --v2"), Ok(Task::Serve(options)));
    }

    #[test]
    fn help_is_found_before_and_behind_the_name() {
        for line in
            ["--help", "-h", "help", "http --help", "http --rounds 2 -h", "memory -h", "start -h"]
        {
            assert_eq!(parse_line(line), Ok(Task::Help), "{line}");
        }
    }

    #[test]
    fn errors_name_the_word_at_fault() {
        for (line, word) in [
            ("", "http, websocket, grpc, codec, memory, pace, peers, start"),
            ("https", "`https`"),
            ("grpc --round 3", "`grpc`"),
            ("http --round 3", "`--round`"),
            ("http --rounds", "`--rounds` needs"),
            ("http --rounds 0", "not `0`"),
            ("http --requests 1e3", "not `1e3`"),
            ("http --requests -5", "not `-5`"),
            ("http extra", "`extra`"),
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

//! Compares the client with the parts that it is made of, on each protocol.

use std::error::Error;
use std::hint::black_box;

use bytes::Bytes;
use clientlet::clientlets::{DataRequest, HttpAnswer};
use clientlet::{Client, ClientBuilder, DocArray, NoDocuments, Pem, Post, Response, Tls};

use crate::bare::Bare;
use crate::comparison::{Comparison, Round};
use crate::cpu::Stopwatch;
use crate::documents::Document;
use crate::gate::{self, Bound, Gate};
use crate::serve::{self, Addresses, GatewayProcess};

pub(crate) const IN_FLIGHT: usize = 16;
const ENDPOINT: &str = "/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Benchmark {
    Http,
    WebSocket,
    Grpc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    WebSocket,
    GrpcStream,
    GrpcUnary,
}

/// The documents of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Texts(usize),
    /// Documents with a text and an embedding each.
    Embeddings(usize),
}

/// A measurement, and the limit of the client's CPU time as a multiple of the CPU time of its parts.
#[derive(Clone, Copy, Debug)]
struct Case {
    protocol: Protocol,
    load: Load,
    /// Requests in a measurement: enough for about half a second.
    requests: usize,
    limit: Limit,
}

/// A limit without TLS and with TLS.
#[derive(Clone, Copy, Debug)]
struct Limit {
    plain: f64,
    tls: f64,
}

const USUAL: Limit = Limit { plain: 1.25, tls: 1.25 };
/// A message of one document over WebSocket costs so little that the account of it shows. TLS adds to
/// both sides.
const SMALL: Limit = Limit { plain: 1.25, tls: 1.4 };
/// A message of one document over gRPC, whose HTTP/2 costs more than the account.
const FRAMED: Limit = Limit { plain: 1.2, tls: 1.25 };

use Load::{Embeddings, Texts};
use Protocol::{GrpcStream, GrpcUnary, Http, WebSocket};

const HTTP: &[Case] =
    &[Case::new(Http, Texts(1), 100_000, USUAL), Case::new(Http, Texts(100), 16_000, USUAL)];
const WEBSOCKET: &[Case] = &[
    Case::new(WebSocket, Texts(1), 300_000, SMALL),
    Case::new(WebSocket, Texts(100), 30_000, USUAL),
    Case::new(WebSocket, Embeddings(1), 100_000, SMALL),
    Case::new(WebSocket, Embeddings(100), 4_000, USUAL),
];
const GRPC: &[Case] = &[
    Case::new(GrpcStream, Texts(1), 200_000, FRAMED),
    Case::new(GrpcStream, Texts(100), 30_000, USUAL),
    Case::new(GrpcUnary, Texts(1), 30_000, FRAMED),
    Case::new(GrpcUnary, Texts(100), 10_000, USUAL),
];

/// The options of this benchmark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) benchmark: Benchmark,
    /// Requests in a measurement; `None` for a number that fits their size.
    pub(crate) requests: Option<usize>,
    pub(crate) rounds: usize,
    /// Measure only the cases whose name contains this text.
    pub(crate) only: Option<String>,
    pub(crate) gateway: serve::Options,
    pub(crate) check: bool,
    pub(crate) json: bool,
}

impl Options {
    pub(crate) fn new(benchmark: Benchmark) -> Options {
        let gateway = serve::Options::default();
        Options {
            benchmark,
            requests: None,
            rounds: 7,
            only: None,
            gateway,
            check: false,
            json: false,
        }
    }
}

/// The measurements of one case. With a check a case is measured again until it passes, a few times at
/// most. The last measurement counts.
#[derive(Debug)]
pub(crate) struct Attempts {
    limit: f64,
    pub(crate) comparisons: Vec<Comparison>,
}

/// Measures every case.
pub(crate) fn run(options: &Options) -> Result<Vec<Attempts>, Box<dyn Error>> {
    let gateway = GatewayProcess::start(options.gateway)?;
    // One thread is enough. Its work is all the work of this process.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measure = |case: &Case| {
        let case = Case { requests: options.requests.unwrap_or(case.requests), ..*case };
        let limit = if options.gateway.has_tls { case.limit.tls } else { case.limit.plain };
        let compare = || runtime.block_on(compare(gateway.addresses(), case, options.rounds));
        let comparisons = gate::attempt(compare, |comparison| {
            !options.check || Bound::AtMost.holds(comparison.ratio().median, limit)
        })?;
        Ok(Attempts { limit, comparisons })
    };
    let is_wanted =
        |case: &&Case| options.only.as_ref().is_none_or(|only| case.name().contains(only.as_str()));
    options.benchmark.cases().iter().filter(is_wanted).map(measure).collect()
}

/// The limit of each case's ratio.
pub(crate) fn gates(cases: &[Attempts]) -> Vec<Gate> {
    let gate = |Attempts { limit, comparisons }: &Attempts| {
        let name = comparisons.first().map_or("", |comparison| &comparison.name);
        Gate {
            name: format!("CPU c / (a + b), {name}"),
            bound: Bound::AtMost,
            limit: *limit,
            unit: "",
            measured: comparisons.iter().map(|comparison| comparison.ratio().median).collect(),
        }
    };
    cases.iter().map(gate).collect()
}

async fn compare(
    addresses: &Addresses,
    case: Case,
    rounds: usize,
) -> Result<Comparison, Box<dyn Error>> {
    let mut contest = Contest::prepare(addresses, case).await?;
    // Warms up: makes connections, asks the gateway what it speaks, allocates memory.
    contest.round(case.requests.min(1000)).await?;
    let mut measured = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        measured.push(contest.round(case.requests).await?);
    }
    let (documents, requests) = (case.load.documents(), case.requests);
    Ok(Comparison { name: case.name(), documents, requests, rounds: measured })
}

/// Everything that is made before the clock starts.
#[derive(Debug)]
struct Contest {
    protocol: Protocol,
    documents: Vec<Document>,
    bare: Bare,
    /// An encoded request, and the gateway's answer to this request.
    body: Bytes,
    answer: Bytes,
    client: Client,
}

impl Contest {
    async fn prepare(addresses: &Addresses, case: Case) -> Result<Contest, Box<dyn Error>> {
        let Case { protocol, load, .. } = case;
        let documents = load.make();
        let body = protocol.encode(&documents)?;
        let mut bare = Bare::connect(protocol, addresses).await?;
        let answer = bare.post(&body, 1).await?;
        let client = protocol.client(addresses)?;
        Ok(Contest { protocol, documents, bare, body, answer, client })
    }

    async fn round(&mut self, requests: usize) -> Result<Round, Box<dyn Error>> {
        // (a) Sends and receives bytes.
        let stopwatch = Stopwatch::start()?;
        self.bare.post(&self.body, requests).await?;
        let bare = stopwatch.stop()?;

        let stopwatch = Stopwatch::start()?;
        self.run_codec(requests)?;
        let codec = stopwatch.stop()?;

        let stopwatch = Stopwatch::start()?;
        self.run_client(requests).await?;
        let client = stopwatch.stop()?;

        Ok(Round { bare, codec, client })
    }

    /// (b) Encodes requests and reads the envelopes of answers, without a transport.
    fn run_codec(&self, requests: usize) -> Result<(), Box<dyn Error>> {
        for _ in 0..requests {
            black_box(self.protocol.encode(&self.documents)?);
            black_box(self.protocol.open(&self.answer)?);
        }
        Ok(())
    }

    /// (c) Runs the client, from documents to answers whose envelopes are read.
    async fn run_client(&self, requests: usize) -> Result<(), Box<dyn Error>> {
        let size = self.documents.len();
        // Like the codec, the client gets the same few documents repeatedly. They are borrowed.
        let documents = self.documents.iter().cycle().take(requests.saturating_mul(size));
        let post: Post<NoDocuments> = self.client.post(ENDPOINT);
        let mut answers = post.documents(documents).request_size(size).prefetch(IN_FLIGHT).stream();
        let mut answered = 0;
        while let Some(answer) = answers.next().await {
            black_box(answer?);
            answered += 1;
        }
        if answered == requests {
            Ok(())
        } else {
            Err(format!("the client gave {answered} answers to {requests} requests").into())
        }
    }
}

impl Benchmark {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Benchmark::Http => "http",
            Benchmark::WebSocket => "websocket",
            Benchmark::Grpc => "grpc",
        }
    }

    const fn cases(self) -> &'static [Case] {
        match self {
            Benchmark::Http => HTTP,
            Benchmark::WebSocket => WEBSOCKET,
            Benchmark::Grpc => GRPC,
        }
    }
}

impl Protocol {
    fn client(self, addresses: &Addresses) -> Result<Client, clientlet::Error> {
        let builder = match self {
            Http => Client::builder(&addresses.http),
            WebSocket => Client::builder(&addresses.websocket),
            GrpcStream => Client::builder(&addresses.grpc),
            GrpcUnary => Client::builder(&addresses.grpc).unary(true),
        };
        let trust = |ca: &String| Tls::new().ca(Pem::text(ca.as_str())).without_system_roots(true);
        addresses.ca.iter().map(trust).fold(builder, ClientBuilder::tls).build()
    }

    fn encode(self, documents: &[Document]) -> Result<Bytes, clientlet::Error> {
        let request = match self {
            Http => DataRequest::new(DocArray::V1, ENDPOINT),
            WebSocket | GrpcStream | GrpcUnary => DataRequest::proto(DocArray::V1, ENDPOINT),
        };
        Ok(request.documents(documents)?.to_bytes())
    }

    /// Reads the envelope of an answer, without its documents.
    fn open(self, answer: &Bytes) -> Result<Response, clientlet::Error> {
        match self {
            Http => {
                let answer = HttpAnswer::from(http::Response::new(answer.clone()));
                answer.response(DocArray::V1)
            }
            WebSocket | GrpcStream | GrpcUnary => Response::from_proto(DocArray::V1, answer),
        }
    }
}

impl Load {
    fn documents(self) -> usize {
        let (Texts(count) | Embeddings(count)) = self;
        count
    }

    fn make(self) -> Vec<Document> {
        match self {
            Texts(count) => (0..count).map(Document::numbered).collect(),
            Embeddings(count) => (0..count).map(Document::embedded).collect(),
        }
    }
}

impl Case {
    const fn new(protocol: Protocol, load: Load, requests: usize, limit: Limit) -> Case {
        Case { protocol, load, requests, limit }
    }

    fn name(self) -> String {
        let mode = match self.protocol {
            Http | WebSocket => "",
            GrpcStream => "stream, ",
            GrpcUnary => "unary, ",
        };
        let (kind, count) = match self.load {
            Texts(count) => ("text", count),
            Embeddings(count) => ("embedding", count),
        };
        let plural = if count == 1 { "" } else { "s" };
        format!("{mode}{count} {kind}{plural}")
    }
}

#[cfg(test)]
mod tests {
    use clientlet_gateway::{Gateway, GatewayBuilder, Tls as Served};

    use super::*;
    use crate::comparison::tests::comparison;

    #[test]
    fn last_attempt_of_each_case_must_keep_to_the_limit() {
        // With ratio 1.2, and with a client that costs twice as much.
        let good = comparison(100);
        let mut bad = good.clone();
        for round in &mut bad.rounds {
            round.client.cpu *= 2;
        }
        let attempts = |limit, comparisons| Attempts { limit, comparisons };
        let passed = |cases: &[Attempts]| -> Vec<bool> {
            gates(cases).iter().map(Gate::is_passed).collect()
        };
        let cases = [attempts(1.25, vec![good.clone()]), attempts(1.25, vec![bad.clone(), good])];
        assert_eq!(passed(&cases), [true, true]);
        assert_eq!(passed(&[attempts(1.25, vec![bad.clone(), bad.clone()])]), [false]);
        assert_eq!(passed(&[attempts(2.5, vec![bad])]), [true], "each has a limit of its own");
    }

    #[tokio::test]
    async fn all_contestants_are_answered_and_counted_by_the_gateway() {
        for (case, has_tls) in [HTTP, WEBSOCKET, GRPC]
            .concat()
            .into_iter()
            .flat_map(|case| [(case, false), (case, true)])
        {
            let tls = has_tls.then(Served::self_signed);
            let builder = Gateway::builder().journal(false).websocket(true).grpc(true);
            let builder = tls.iter().cloned().fold(builder, GatewayBuilder::tls);
            let gateway = builder.start().await.unwrap();
            let addresses = Addresses::of(&gateway, tls.as_ref());
            let mut contest = Contest::prepare(&addresses, case).await.unwrap();
            contest.round(40).await.unwrap();
            // One request captured the answer; the codec sends no requests.
            assert_eq!(gateway.journal().len(), 1 + 40 + 40, "{:?}", case.protocol);
            let journal = gateway.journal();
            let secured = journal.full_handshakes() + journal.resumed_handshakes();
            assert_eq!(secured >= 2, has_tls, "{:?}: {secured} handshakes", case.protocol);
        }
    }
}

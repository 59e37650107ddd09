//! The HTTP client beside what it is made of.

use std::cell::Cell;
use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use clientlet::{Client, Clientlet, ClientletOptions, DataRequest, DocArray, HttpAnswer};
use clientlet::{HttpClientlet, NoDocuments, Post};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::comparison::{Comparison, Round};
use crate::cpu::Stopwatch;
use crate::documents::Document;
use crate::gate::{self, Bound, Gate};
use crate::serve::{self, GatewayProcess};

const IN_FLIGHT: usize = 16;
/// Documents a request, and how many requests a measurement: about two thirds of a second each.
const SIZES: [(usize, usize); 2] = [(1, 100_000), (100, 16_000)];
const ENDPOINT: &str = "/";
/// How much more CPU time the client may take than its parts, which it cannot do without.
const LIMIT_RATIO: f64 = 1.25;

/// How to measure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Requests a measurement, if not as many as fit their size.
    pub(crate) requests: Option<usize>,
    pub(crate) rounds: usize,
    pub(crate) gateway: serve::Options,
    pub(crate) check: bool,
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Options {
        let gateway = serve::Options::default();
        Options { requests: None, rounds: 7, gateway, check: false, json: false }
    }
}

/// One size, measured until it is good enough, if that is asked for; the last one counts.
pub(crate) type Attempts = Vec<Comparison>;

/// Measures every size.
pub(crate) fn run(options: &Options) -> Result<Vec<Attempts>, Box<dyn Error>> {
    let gateway = GatewayProcess::start(options.gateway)?;
    // One thread, as nothing here needs more; what it does is all that this process does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measure = |(size, requests)| {
        let requests = options.requests.unwrap_or(requests);
        let compare = || runtime.block_on(compare(gateway.url(), size, requests, options.rounds));
        gate::attempt(compare, |comparison| {
            !options.check || Bound::AtMost.holds(comparison.ratio().median, LIMIT_RATIO)
        })
    };
    SIZES.into_iter().map(measure).collect()
}

/// The limit of each size's ratio.
pub(crate) fn gates(sizes: &[Attempts]) -> Vec<Gate> {
    let gate = |attempts: &Attempts| {
        let documents = attempts.first().map_or(0, |comparison| comparison.documents);
        Gate {
            name: format!("CPU c / (a + b), documents a request: {documents}"),
            bound: Bound::AtMost,
            limit: LIMIT_RATIO,
            unit: "",
            measured: attempts.iter().map(|comparison| comparison.ratio().median).collect(),
        }
    };
    sizes.iter().map(gate).collect()
}

async fn compare(
    url: &str,
    size: usize,
    requests: usize,
    rounds: usize,
) -> Result<Comparison, Box<dyn Error>> {
    let contest = Contest::prepare(url, size).await?;
    // Connections are made, the gateway is known, memory is there.
    contest.round(requests.min(1000)).await?;
    let mut measured = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        measured.push(contest.round(requests).await?);
    }
    Ok(Comparison { documents: size, requests, rounds: measured })
}

/// All that is there before the clock runs.
struct Contest {
    documents: Vec<Document>,
    pool: Pool<HttpConnector, Full<Bytes>>,
    uri: Uri,
    /// A request, encoded, and the gateway's answer to it.
    body: Bytes,
    answer: HttpAnswer,
    client: Client,
}

impl Contest {
    async fn prepare(url: &str, size: usize) -> Result<Contest, Box<dyn Error>> {
        let documents: Vec<Document> = (0..size).map(Document::numbered).collect();
        let address = format!("{url}/post");
        let request = DataRequest::new(DocArray::V1, ENDPOINT).documents(&documents)?;
        let mut clientlet = HttpClientlet::new(&address, &ClientletOptions::new())?;
        clientlet.start().await?;
        let answer = clientlet.send_message(&request).await?;
        clientlet.close().await;
        Ok(Contest {
            documents,
            pool: pool(),
            uri: address.parse()?,
            body: request.to_bytes(),
            answer,
            client: Client::connect(url)?,
        })
    }

    async fn round(&self, requests: usize) -> Result<Round, Box<dyn Error>> {
        let stopwatch = Stopwatch::start()?;
        self.run_bare(requests).await?;
        let bare = stopwatch.stop()?;

        let stopwatch = Stopwatch::start()?;
        self.run_codec(requests)?;
        let codec = stopwatch.stop()?;

        let stopwatch = Stopwatch::start()?;
        self.run_client(requests).await?;
        let client = stopwatch.stop()?;

        Ok(Round { bare, codec, client })
    }

    /// (a) Nothing but bytes out and bytes in.
    async fn run_bare(&self, requests: usize) -> Result<(), Box<dyn Error>> {
        let left = Cell::new(requests);
        let mut loops: FuturesUnordered<_> =
            (0..IN_FLIGHT).map(|_| self.post_while_any_is_left(&left)).collect();
        while let Some(result) = loops.next().await {
            result?;
        }
        Ok(())
    }

    async fn post_while_any_is_left(&self, left: &Cell<usize>) -> Result<(), Box<dyn Error>> {
        while let Some(others) = left.get().checked_sub(1) {
            left.set(others);
            let mut request = Request::new(Full::new(self.body.clone()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = self.uri.clone();
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
            let answer = self.pool.request(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            if !status.is_success() || body.is_empty() {
                return Err(format!("the bare transport was answered with {status}").into());
            }
        }
        Ok(())
    }

    /// (b) What goes out and what comes in, without a way in between.
    fn run_codec(&self, requests: usize) -> Result<(), Box<dyn Error>> {
        for _ in 0..requests {
            let request = DataRequest::new(DocArray::V1, ENDPOINT).documents(&self.documents)?;
            black_box(request.to_bytes());
            black_box(self.answer.response(DocArray::V1)?);
        }
        Ok(())
    }

    /// (c) The client, from documents to answers with their envelopes open.
    async fn run_client(&self, requests: usize) -> Result<(), Box<dyn Error>> {
        let size = self.documents.len();
        // The same few documents again and again, as the codec has them; they are lent, not copied.
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

/// Connections and their pool with the client's settings.
fn pool() -> Pool<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(10)));
    Pool::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(4))
        .pool_max_idle_per_host(256)
        .http1_max_buf_size(256 << 10)
        .retry_canceled_requests(false)
        .build(connector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::tests::comparison;

    #[test]
    fn last_attempt_of_each_size_has_to_keep_to_the_limit() {
        // Of ratio 1.2, and a client twice as dear.
        let good = comparison(100);
        let mut bad = good.clone();
        for round in &mut bad.rounds {
            round.client.cpu *= 2;
        }
        let passed = |sizes: &[Attempts]| -> Vec<bool> {
            gates(sizes).iter().map(Gate::is_passed).collect()
        };
        assert_eq!(passed(&[vec![good.clone()], vec![bad.clone(), good]]), [true, true]);
        assert_eq!(passed(&[vec![bad.clone(), bad]]), [false]);
    }

    #[tokio::test]
    async fn all_contestants_are_answered_and_counted_by_the_gateway() {
        let gateway = clientlet_gateway::Gateway::builder().journal(false).start().await.unwrap();
        let contest = Contest::prepare(&gateway.http_url(), 3).await.unwrap();
        contest.round(40).await.unwrap();
        // One is the captured answer's; the codec sends none.
        assert_eq!(gateway.journal().len(), 1 + 40 + 40);
    }
}

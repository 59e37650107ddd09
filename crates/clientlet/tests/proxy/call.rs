//! One call through the proxy, and the checks of its results, whatever happened to connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use clientlet::{
    Client, ClientBuilder, Delivery, Document, Error, ErrorKind, Pem, Response, RetryPolicy, Tls,
};

use crate::proxy::Proxy;

/// Enough attempts for every request. Three connections in four are short-lived, so the chance of
/// no answer is 0.75 to this power, one in 30 million. Some of 12,000 requests do take 15 attempts.
pub(crate) const ATTEMPTS: u32 = 60;

/// The time limit of one request over all its attempts, far more than a request takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// How late a request may end after its deadline, even on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// The time limit of a call.
const LIMIT: Duration = Duration::from_secs(150);

/// The protocol of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protocol {
    Http,
    Websocket,
    /// A stream for each call.
    Grpc,
    /// Each request is a unary call.
    GrpcUnary,
}

impl Protocol {
    pub(crate) const ALL: [Protocol; 4] =
        [Protocol::Http, Protocol::Websocket, Protocol::Grpc, Protocol::GrpcUnary];

    /// Returns the name of the port in `clientlet-interop`, which is also the scheme of URLs without TLS.
    pub(crate) fn port(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Websocket => "websocket",
            Protocol::Grpc | Protocol::GrpcUnary => "grpc",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::GrpcUnary => "unary grpc",
            Protocol::Http | Protocol::Websocket | Protocol::Grpc => self.port(),
        }
    }

    fn client(self, proxy: &Proxy, authority: Option<&str>) -> Client {
        let secure = if authority.is_some() { "s" } else { "" };
        let url = format!("{}{secure}://{}", self.port(), proxy.address());
        let builder = Client::builder(&url).unary(self == Protocol::GrpcUnary);
        let trust = |ca: &str| Tls::new().ca(Pem::text(ca)).without_system_roots(true);
        authority.map(trust).into_iter().fold(builder, ClientBuilder::tls).build().unwrap()
    }
}

/// The gateway behind the proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upstream<'a> {
    pub(crate) address: SocketAddr,
    /// The CA of its certificate, in PEM, if it speaks TLS.
    pub(crate) authority: Option<&'a str>,
}

/// The settings of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) protocol: Protocol,
    pub(crate) documents: usize,
    pub(crate) request_size: usize,
    pub(crate) in_order: bool,
    pub(crate) at_most_once: bool,
    /// The time after which silent connections are given up.
    pub(crate) attempt_timeout: Duration,
    pub(crate) seed: u64,
}

/// The results of a call, in the order in which it gave them.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) results: Vec<Result<Response, Error>>,
    /// The number of connections that the call used.
    pub(crate) connections: u64,
}

/// A count of the results, for the log.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: usize,
    pub(crate) answered: usize,
    pub(crate) retried: usize,
    /// The maximum number of attempts of a request.
    pub(crate) attempts: usize,
    pub(crate) connections: u64,
    pub(crate) failed: BTreeMap<(ErrorKind, Delivery), usize>,
}

impl Plan {
    /// Makes the call through a proxy of its own before the gateway. When this returns, no request
    /// is in flight any more.
    pub(crate) async fn run(self, gateway: Upstream<'_>) -> Ended {
        let Upstream { address, authority } = gateway;
        let proxy = Proxy::start(address, authority.is_some(), self.seed).await.unwrap();
        let client = self.protocol.client(&proxy, authority);
        let ended = tokio::time::timeout(LIMIT, self.call(client)).await;
        let ended = ended.unwrap_or_else(|_| panic!("{self:?} has not ended after {LIMIT:?}"));
        proxy.end().await;
        ended
    }

    async fn call(self, client: Client) -> Ended {
        let policy = RetryPolicy::new()
            .max_attempts(ATTEMPTS)
            .initial_backoff(Duration::from_millis(2))
            .max_backoff(Duration::from_millis(20));
        let documents = (0..self.documents).map(|n| Document::text(text(n)).with_id(n.to_string()));
        let mut call = client
            .post("/upper")
            .documents(documents)
            .request_size(self.request_size)
            .retry(if self.at_most_once { policy.at_most_once(true) } else { policy })
            .timeout(DEADLINE)
            .attempt_timeout(self.attempt_timeout);
        if self.in_order {
            call = call.in_order(true);
        }
        let mut responses = call.stream();
        let mut results = Vec::new();
        while let Some(result) = responses.next().await {
            results.push(result);
        }
        Ended { results, connections: client.connections().opened }
    }

    /// Checks the results without the journal: each document ends once, unchanged, and in order.
    pub(crate) fn check(self, ended: &Ended, complaints: &mut Vec<String>) {
        let mut ends = vec![0; self.documents];
        let mut next = 0;
        for result in &ended.results {
            let (input, attempts, elapsed) = match result {
                Ok(response) => {
                    (response.input(), response.attempts() as usize, response.elapsed())
                }
                Err(error) => {
                    (error.input().unwrap_or_default(), error.attempts().len(), error.elapsed())
                }
            };
            let input = input.start as usize..input.end as usize;
            if input.is_empty() || input.end > self.documents {
                complaints.push(format!("documents {input:?} were never sent: {result:?}"));
                continue;
            }
            ends[input.clone()].iter_mut().for_each(|ends| *ends += 1);
            if self.in_order && input.start != next {
                complaints.push(format!("documents {input:?} came instead of {next}"));
            }
            next = input.end;
            if !(1..=ATTEMPTS as usize).contains(&attempts) || elapsed > DEADLINE + SLACK {
                complaints.push(format!("{attempts} attempts in {elapsed:?}: {result:?}"));
            }
            match result {
                Ok(response) => {
                    let documents: Vec<Document> = response.documents().unwrap();
                    let is_own = |(document, n): (&Document, usize)| {
                        document.id == Some(n.to_string())
                            && document.text == Some(text(n).to_uppercase())
                    };
                    if documents.len() != input.len() || !documents.iter().zip(input).all(is_own) {
                        complaints.push(format!("others came back: {response:?} {documents:?}"));
                    }
                }
                Err(error) if !self.at_most_once => {
                    complaints.push(format!("failed despite its attempts: {error:?}"));
                }
                Err(_) => {}
            }
        }
        for (document, ends) in ends.iter().enumerate().filter(|(_, ends)| **ends != 1) {
            complaints.push(format!("document {document} ended {ends} times"));
        }
    }
}

/// Returns a text that only this document has, with a length that varies.
fn text(n: usize) -> String {
    format!("document {n}{}", " and more of it".repeat(n % 13))
}

impl Tally {
    pub(crate) fn count(&mut self, ended: &Ended) {
        for result in &ended.results {
            self.requests += 1;
            let attempts = match result {
                Ok(response) => {
                    self.answered += 1;
                    response.attempts() as usize
                }
                Err(error) => {
                    *self.failed.entry((error.kind(), error.delivery())).or_default() += 1;
                    error.attempts().len()
                }
            };
            self.retried += usize::from(attempts > 1);
            self.attempts = self.attempts.max(attempts);
        }
        self.connections += ended.connections;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { requests, answered, retried, attempts, connections, failed } = self;
        write!(
            f,
            "{requests} requests, {answered} answered, {retried} retried, at most {attempts} attempts, \
             {connections} connections"
        )?;
        for ((kind, delivery), count) in failed {
            write!(f, ", {count} {kind} ({delivery})")?;
        }
        Ok(())
    }
}

//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use clientlet::DocArray;
use clientlet_gateway::{FAULT_HELP, Fault};

use crate::fields::{Path, TensorField};
use crate::secret::Secret;

/// A client for Jina gateways: posts documents, prints answers, and accounts for every request.
#[derive(Parser)]
#[command(name = "clientlet", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  clientlet post http://localhost:8080 --on /search --input queries.jsonl
  clientlet post --on /upper --text hello
  clientlet stream grpc://localhost:8082 --on /chat --text hello
  clientlet ready http://localhost:8080
  clientlet gateway --http 8080

Exit codes:
  0    success
  1    something failed
  2    wrong usage or bad input (takes precedence over 1)
  130  interrupted";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Post documents to an endpoint and print the documents that come back
    // Boxed, because it is many times larger than the others.
    Post(Box<PostArgs>),
    /// Send one document and print the documents that an executor's generator yields, as they come
    Stream(Box<StreamArgs>),
    /// Ask whether the gateway and its executors are ready
    #[command(visible_alias = "dry-run", after_help = READY_EXAMPLES)]
    Ready(AskArgs),
    /// Print the gateway's releases, machine and environment
    #[command(after_help = STATUS_EXAMPLES)]
    Status(AskArgs),
    /// List the gateway's endpoints
    #[command(after_help = ENDPOINTS_EXAMPLES)]
    Endpoints(AskArgs),
    /// Serve an embedded gateway for experiments and tests, with faults on demand
    #[command(after_help = gateway_help())]
    Gateway(GatewayArgs),
}

impl Command {
    /// What to print of the library's log.
    pub(crate) fn log(&self) -> LogArgs {
        self.identity().map(|identity| identity.log).unwrap_or_default()
    }

    /// The options that all commands with a client share. The embedded gateway has none.
    pub(crate) fn identity(&self) -> Option<&IdentityArgs> {
        match self {
            Command::Post(args) => Some(&args.identity),
            Command::Stream(args) => Some(&args.identity),
            Command::Ready(args) | Command::Status(args) | Command::Endpoints(args) => {
                Some(&args.identity)
            }
            Command::Gateway(_) => None,
        }
    }

    /// The name on the command line.
    #[cfg(feature = "otel")]
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Post(_) => "post",
            Command::Stream(_) => "stream",
            Command::Ready(_) => "ready",
            Command::Status(_) => "status",
            Command::Endpoints(_) => "endpoints",
            Command::Gateway(_) => "gateway",
        }
    }
}

// Each paragraph is one line, so that clap wraps it to the terminal's width.
const POST_EXAMPLES: &str = "\
Documents are read as a stream and sent in requests of --request-size documents, with --prefetch \
requests in flight. Documents that come back are printed as they come. Lines that are not documents \
are shown one by one; as long as no line was a document, only the first 20 are, and the others as a \
range.

With --summary the counts are one JSON object:
  documents           documents that were read
  bad_input           lines that are not documents, and documents that the gateway cannot take
  requests            requests that ended: answered and failed together
  answered, failed    requests
  failed_documents    documents of the failed requests
  not_sent            documents of requests that a wrong setting kept from being made
  not_answered        documents of requests that had not ended when the run ended early
  not_written         documents that were answered and whose answers could not be written
  retried             requests that took more than one attempt, answered or not
  reconnects          connections that replaced lost ones
  duplicates_dropped  answers that came twice or too late
  elapsed_s           seconds
  interrupted         true or false

JSON has only lists and text for tensors and bytes. The fields embedding, tensor and blob of a v1 \
document are known. For any other field, and for the element type of a tensor, use --tensor and \
--blob: over WebSocket and gRPC the executor cannot tell them otherwise. A dot leads to a field \
within another, also within each element of a list: chunks.embedding. A name that contains a dot \
cannot be given. Objects in a v2 document are sent as dictionaries, which executors also accept for \
nested documents. Over HTTP tensors are sent as lists, and bytes in the gateway's form: base64 in \
v1, text in v2, which must be UTF-8. Documents that come back over WebSocket or gRPC are printed \
with bytes as base64, and with null for NaN and infinity.

Examples:
  clientlet post --on /upper --text hello
      posts one document to an embedded gateway that is started for the call
  clientlet post http://localhost:8080 --on /index --input documents.jsonl --max-attempts 10
  zcat documents.jsonl.gz | clientlet post http://localhost:8080 --input - --output answers.jsonl
  clientlet post http://localhost:8080 --on /search --text cat --parameters '{\"limit\": 3}'
  clientlet post ws://localhost:8081 --input items.jsonl --tensor vector:float32 --blob image
  clientlet post grpc://localhost:8082 --input items.jsonl --wait-ready 30 --compression gzip
  clientlet post http://localhost:8080 --bearer @token.txt --no-documents --on /train --responses
  clientlet post https://flow.example --input items.jsonl --ca ca.pem --proxy @proxy.txt

Exit codes:
  0    success
  1    something failed; each failure is on stderr with its request, lines, kind and delivery
  2    wrong usage or bad input (takes precedence over 1); all other lines were posted
  130  interrupted; answers so far are written, all other documents are listed on stderr";

/// The options of `clientlet post`.
#[derive(clap::Args)]
#[command(after_help = POST_EXAMPLES)]
pub(crate) struct PostArgs {
    /// The gateway: http://, ws:// or grpc://HOST:PORT, or https://, wss:// or grpcs:// over TLS; by default
    /// an embedded one is started for the call
    pub(crate) url: Option<String>,

    /// The executors' endpoint; its leading slash is optional if the gateway lists the endpoint
    #[arg(long, value_name = "ENDPOINT", default_value = "/")]
    pub(crate) on: String,

    /// Documents as JSON Lines, one object on each line; - is stdin
    #[arg(long, value_name = "FILE|-", help_heading = "Documents")]
    pub(crate) input: Option<PathBuf>,

    /// A document with this text; may be repeated; sent before the documents of --input
    #[arg(long, value_name = "T", help_heading = "Documents")]
    pub(crate) text: Vec<String>,

    /// A field whose nested lists of numbers are a tensor with this element type (numpy's names; by
    /// default float64); may be repeated
    #[arg(long, value_name = "FIELD[:DTYPE]", help_heading = "Documents")]
    pub(crate) tensor: Vec<TensorField>,

    /// A field whose text is base64 of bytes; may be repeated
    #[arg(long, value_name = "FIELD", help_heading = "Documents")]
    pub(crate) blob: Vec<Path>,

    /// Make one request without documents
    #[arg(long, conflicts_with_all = ["input", "text"], help_heading = "Documents")]
    pub(crate) no_documents: bool,

    /// Parameters for the executors, a JSON object
    #[arg(long, value_name = "JSON", value_parser = object, help_heading = "Request")]
    pub(crate) parameters: Option<Object>,

    /// The executors that work: a regular expression that matches the beginning of their names
    #[arg(long, value_name = "RE", help_heading = "Request")]
    pub(crate) target_executor: Option<String>,

    /// Documents in a request; 0 puts all into one request (at most 100 over HTTP to a v2 gateway)
    /// [default: 100]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, help_heading = "Request")]
    pub(crate) request_size: Option<usize>,

    /// How long a request that is not full waits for more documents of an input that is not a file, in
    /// seconds [default: 0.05, and no limit with --request-size 0]
    #[arg(long, value_name = "S", value_parser = seconds, allow_hyphen_values = true, help_heading = "Request")]
    pub(crate) linger: Option<Duration>,

    /// Requests in flight at a time [default: 16]
    #[arg(long, value_name = "N", value_parser = at_least_one::<usize>, help_heading = "Request")]
    pub(crate) prefetch: Option<usize>,

    /// Connections at a time; over HTTP each request in flight has its own [default: 256]
    #[arg(long, value_name = "N", value_parser = at_least_one::<usize>, help_heading = "Request")]
    pub(crate) max_connections: Option<usize>,

    /// Connections that requests share in turns over WebSocket and gRPC [default: 1]
    #[arg(long, value_name = "N", value_parser = at_least_one::<usize>, help_heading = "Request")]
    pub(crate) channels: Option<usize>,

    /// Print answers in the order of the documents and not as they come
    #[arg(long, help_heading = "Request")]
    pub(crate) in_order: bool,

    /// Documents of docarray below 0.30 (v1) or 0.30 and above (v2); auto asks the gateway
    #[arg(long, value_enum, default_value = "auto", help_heading = "Request")]
    pub(crate) docarray: DocArrayChoice,

    /// The largest answer that is accepted, in bytes; K, M or G after the number mean KiB, MiB or GiB
    /// [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Request")]
    pub(crate) answer_limit: Option<usize>,

    #[command(flatten)]
    pub(crate) retry: RetryArgs,

    /// How long a request may take over all its attempts, in seconds [default: no limit]
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true, help_heading = "Retry")]
    pub(crate) timeout: Option<Duration>,

    /// How long an attempt may take, in seconds [default: 60, and at most half of --timeout if
    /// another attempt could follow]
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true, help_heading = "Retry")]
    pub(crate) attempt_timeout: Option<Duration>,

    /// How long nothing may come while a request waits for its answer, in seconds; longer than executors
    /// compute, because a gateway sends nothing meanwhile [default: no limit]
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true, help_heading = "Retry")]
    pub(crate) idle_timeout: Option<Duration>,

    /// Read no more documents after the first failure
    #[arg(long, help_heading = "Retry")]
    pub(crate) stop_on_error: bool,

    #[command(flatten)]
    pub(crate) grpc: GrpcArgs,

    /// How long to wait for the gateway to get ready before sending, in seconds
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true, help_heading = "Request")]
    pub(crate) wait_ready: Option<Duration>,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,

    /// The file for the documents that come back, one on each line; - is stdout
    #[arg(long, value_name = "FILE|-", default_value = "-", help_heading = "Output")]
    pub(crate) output: PathBuf,

    /// Write one JSON object for each response instead: request_id, input (its lines), status,
    /// routes, parameters, data
    #[arg(long, help_heading = "Output")]
    pub(crate) responses: bool,

    /// Write the counts as JSON to this file; its fields are listed below
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) summary: Option<PathBuf>,

    /// Print no progress bar and no closing line; failures are still printed
    #[arg(long, help_heading = "Output")]
    pub(crate) quiet: bool,
}

/// The number of attempts and the waits between them.
#[derive(clap::Args)]
pub(crate) struct RetryArgs {
    /// Attempts for each request, the first one included; with more than 1 a request may run more
    /// than once. With the default waits, 99 of 100 requests outlast an outage of 0.1 s with 4
    /// attempts, 0.9 s with 7, 4.5 s with 10 and 23 s with 20 [default: 1]
    #[arg(long, value_name = "N", value_parser = at_least_one::<u32>, help_heading = "Retry")]
    pub(crate) max_attempts: Option<u32>,

    /// The longest wait before the second attempt, in seconds [default: 0.1]
    #[arg(long, value_name = "S", value_parser = seconds, allow_hyphen_values = true, help_heading = "Retry")]
    pub(crate) initial_backoff: Option<Duration>,

    /// The longest wait before any attempt, in seconds [default: 5]
    #[arg(long, value_name = "S", value_parser = seconds, allow_hyphen_values = true, help_heading = "Retry")]
    pub(crate) max_backoff: Option<Duration>,

    /// The factor by which the longest wait grows from attempt to attempt [default: 2]
    #[arg(long, value_name = "X", value_parser = factor, allow_hyphen_values = true, help_heading = "Retry")]
    pub(crate) backoff_multiplier: Option<f64>,
}

const STREAM_EXAMPLES: &str = "\
Sends one document over HTTP or gRPC and prints the documents that the executor's generator yields, \
as they come. Gateways with v1 documents have no such endpoints, and WebSocket has none at all. If \
a generator raises, the gateway repeats its documents; the repeats are dropped if the documents' ids \
show them.

After the first document nothing is sent again. Over HTTP a gateway takes neither parameters nor a \
target executor.

Examples:
  clientlet stream --on /stream --text hello
      sends it to an embedded gateway that is started for the call
  clientlet stream grpc://localhost:8082 --on /chat --text 'Why?' --parameters '{\"tokens\": 50}'
  clientlet stream http://localhost:8080 --on /chat --document '{\"prompt\": \"Why?\"}' --idle-timeout 5

Exit codes:
  0    success
  1    something failed; documents so far are printed
  2    wrong usage or bad input
  130  interrupted; documents so far are printed";

/// The options of `clientlet stream`.
#[derive(clap::Args)]
#[command(after_help = STREAM_EXAMPLES)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["text", "document"]))]
pub(crate) struct StreamArgs {
    /// The gateway: http:// or grpc://HOST:PORT, or https:// or grpcs:// over TLS; by default an embedded one
    /// is started for the call
    pub(crate) url: Option<String>,

    /// The executor's endpoint, which must be a generator
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) on: String,

    /// A document with this text
    #[arg(long, value_name = "T", help_heading = "Document")]
    pub(crate) text: Option<String>,

    /// The document, a JSON object
    #[arg(long, value_name = "JSON", value_parser = object, help_heading = "Document")]
    pub(crate) document: Option<Object>,

    /// A field whose nested lists of numbers are a tensor with this element type (numpy's names; by
    /// default float64); may be repeated
    #[arg(long, value_name = "FIELD[:DTYPE]", help_heading = "Document")]
    pub(crate) tensor: Vec<TensorField>,

    /// A field whose text is base64 of bytes; may be repeated
    #[arg(long, value_name = "FIELD", help_heading = "Document")]
    pub(crate) blob: Vec<Path>,

    /// Parameters for the executor, a JSON object; only over gRPC
    #[arg(long, value_name = "JSON", value_parser = object, help_heading = "Request")]
    pub(crate) parameters: Option<Object>,

    /// The executors that work: a regular expression that matches the beginning of their names; only
    /// over gRPC, and ignored by Jina 3.33.1
    #[arg(long, value_name = "RE", help_heading = "Request")]
    pub(crate) target_executor: Option<String>,

    /// Documents of docarray 0.30 and above (v2); auto asks the gateway; v1 is always refused, because a
    /// gateway with documents v1 has no streams
    #[arg(long, value_enum, default_value = "auto", help_heading = "Request")]
    pub(crate) docarray: DocArrayChoice,

    /// The largest answer that is accepted, in bytes; K, M or G after the number mean KiB, MiB or GiB
    /// [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Request")]
    pub(crate) answer_limit: Option<usize>,

    #[command(flatten)]
    pub(crate) retry: RetryArgs,

    /// How long the whole stream may take, in seconds [default: no limit]
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true, help_heading = "Retry")]
    pub(crate) timeout: Option<Duration>,

    /// How long to wait for each document, in seconds [default: 60, and for the first at most half of
    /// --timeout if another attempt could follow]
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true, help_heading = "Retry")]
    pub(crate) idle_timeout: Option<Duration>,

    /// How long to wait for the gateway to get ready before sending, in seconds
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true, help_heading = "Request")]
    pub(crate) wait_ready: Option<Duration>,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,

    /// The file for the documents, one on each line; - is stdout
    #[arg(long, value_name = "FILE|-", default_value = "-", help_heading = "Output")]
    pub(crate) output: PathBuf,

    /// Write the counts as JSON to this file: documents and repeats_dropped (documents), failed and
    /// interrupted (true or false), elapsed_s (seconds)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) summary: Option<PathBuf>,

    /// Print no closing line; a failure is still printed
    #[arg(long, help_heading = "Output")]
    pub(crate) quiet: bool,
}

const READY_EXAMPLES: &str = "\
Over HTTP a v2 gateway reports that it is ready even if an executor is dead. Over WebSocket and gRPC \
it reports the dead executor.

With --json the answer is {\"ready\": BOOLEAN, \"reason\": TEXT, \"kind\": KIND}; the reason and the \
kind are null if the gateway is ready. KIND is the kind of the error: config, connect, tls, timeout, \
gateway, not_found and so on, as in docs/guarantees.md.

Examples:
  clientlet ready http://localhost:8080 --timeout 2 && echo up
  clientlet ready grpc://localhost:8082 --wait-ready 60
  clientlet ready https://flow.example --ca ca.pem --cert client.pem --key client.key
  clientlet ready http://localhost:8080 --json

Exit codes:
  0    ready
  1    not ready, or no answer
  2    wrong usage";

const STATUS_EXAMPLES: &str = "\
With --json the answer is {\"jina\": {NAME: TEXT}, \"envs\": {NAME: TEXT}}, or after a failure \
{\"kind\": KIND, \"reason\": TEXT}. KIND is the kind of the error: config, connect, tls, timeout, \
gateway, not_found and so on, as in docs/guarantees.md.

Examples:
  clientlet status http://localhost:8080
  clientlet status http://localhost:8080 --json

Exit codes:
  0    the status is on stdout
  1    no answer, or one that cannot be read
  2    wrong usage";

const ENDPOINTS_EXAMPLES: &str = "\
With --json the answer is {\"docarray\": \"v1\" or \"v2\", \"takes_any\": BOOLEAN, \"paths\": [TEXT]}, or \
after a failure {\"kind\": KIND, \"reason\": TEXT}. If takes_any is true, the gateway also takes \
endpoints that it does not list. KIND is the kind of the error: config, connect, tls, timeout, \
gateway, not_found and so on, as in docs/guarantees.md.

Examples:
  clientlet endpoints http://localhost:8080
  clientlet endpoints http://localhost:8080 --json

Exit codes:
  0    the list is on stdout
  1    no answer, or one that cannot be read
  2    wrong usage";

/// The options for gRPC.
#[derive(clap::Args, Clone, Copy, Default)]
#[command(next_help_heading = "gRPC (only for grpc://)")]
pub(crate) struct GrpcArgs {
    /// Send each request as a call of its own, with its deadline, instead of all on one stream
    #[arg(long)]
    pub(crate) unary: bool,

    /// Compress requests; --compressed asks for compressed answers
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) compression: Option<Compression>,
}

/// The compression of requests.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    Gzip,
}

/// The options of `ready`, `status` and `endpoints`.
#[derive(clap::Args)]
pub(crate) struct AskArgs {
    /// The gateway: http://, ws:// or grpc://HOST:PORT, or https://, wss:// or grpcs:// over TLS
    pub(crate) url: String,

    /// Print JSON, also for a failure: {"kind": KIND, "reason": TEXT}
    #[arg(long)]
    pub(crate) json: bool,

    /// How long the gateway may take to answer, in seconds [default: 60]
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,

    /// How long nothing may come while the gateway answers, in seconds [default: no limit]
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true)]
    pub(crate) idle_timeout: Option<Duration>,

    /// How long to wait for the gateway to get ready before asking, in seconds
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true)]
    pub(crate) wait_ready: Option<Duration>,

    /// The largest answer that is accepted, in bytes; K, M or G after the number mean KiB, MiB or GiB
    /// [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) answer_limit: Option<usize>,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

/// Headers and credentials. Each value may come from a file, and some from the environment, so that no
/// list of processes shows them.
#[derive(clap::Args, Default)]
#[command(
    next_help_heading = "Identity (@FILE or a variable keeps a value out of lists of processes)"
)]
pub(crate) struct IdentityArgs {
    /// A header for every request; may be repeated
    #[arg(short = 'H', long, value_name = "K: V")]
    pub(crate) header: Vec<Secret>,

    /// A user and a password [env: CLIENTLET_AUTH]
    #[arg(
        short = 'u',
        long,
        visible_alias = "user",
        value_name = "USER:PASS",
        conflicts_with = "bearer"
    )]
    pub(crate) auth: Option<Secret>,

    /// A bearer token [env: CLIENTLET_BEARER]
    #[arg(long, value_name = "T")]
    pub(crate) bearer: Option<Secret>,

    /// A cookie, or several, separated by semicolons; may be repeated [env: CLIENTLET_COOKIE]
    #[arg(long, value_name = "K=V")]
    pub(crate) cookie: Vec<Secret>,

    /// Ask for compressed answers, as a proxy before a gateway makes them: gzip, deflate, br or zstd, over
    /// gRPC gzip, over WebSocket none. This saves traffic and costs time. Answers that are compressed without
    /// being asked are read as well; limits count bytes without compression
    #[arg(long, help_heading = "Answers")]
    pub(crate) compressed: bool,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    #[command(flatten)]
    pub(crate) log: LogArgs,

    #[cfg(feature = "otel")]
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
}

/// What to print of the library's log, on stderr.
#[derive(clap::Args, Clone, Copy, Default)]
#[command(next_help_heading = "Log (on stderr)")]
pub(crate) struct LogArgs {
    /// Print retries, failed requests and what the gateway speaks; -vv prints each request and attempt
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// The form of the log: lines of text, or a JSON object on each line with time, level, name, message
    /// and fields (docs/logs.md lists the names)
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub(crate) log: LogForm,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum LogForm {
    #[default]
    Text,
    Json,
}

/// Where traces and metrics go.
#[cfg(feature = "otel")]
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Traces and metrics (OpenTelemetry)")]
pub(crate) struct TelemetryArgs {
    /// Send traces and metrics to this OTLP receiver: http://HOST:PORT, or https:// over TLS. Port 4317
    /// without a path means gRPC, every other URL HTTP; OTEL_EXPORTER_OTLP_PROTOCOL, grpc:// and grpcs://
    /// decide otherwise. Without this option traces and metrics are sent only if a variable has the
    /// receiver's URL [env: OTEL_EXPORTER_OTLP_ENDPOINT, or one for TRACES or METRICS alone]. The other
    /// OTEL_* variables count as docs/telemetry.md lists them, and TRACEPARENT names the parent. A receiver
    /// that fails costs one warning and at most 1.5 s at the end
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
}

/// The way to the gateway.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// How long making a connection may take, in seconds: looking up the name, TCP, the proxy and TLS
    /// together [default: 10]
    #[arg(long, value_name = "S", value_parser = positive_seconds, allow_hyphen_values = true)]
    pub(crate) connect_timeout: Option<Duration>,

    /// The proxy for every address: http://, https:// or socks5h://, with USER:PASS@ before its host if it
    /// wants them; or none. @FILE reads the URL from a file, which keeps a password out of lists of
    /// processes. Without this option the environment decides (http_proxy, https_proxy, all_proxy,
    /// no_proxy), except for loopback addresses
    #[arg(short = 'x', long, value_name = "URL|none")]
    pub(crate) proxy: Option<Secret>,
}

/// Whom to trust, and as whom to appear.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "TLS (URLs that begin with https://, wss:// or grpcs://)")]
pub(crate) struct TlsArgs {
    /// Certificates of authorities to trust beside the system's, in PEM; may be repeated
    #[arg(long, visible_alias = "cacert", value_name = "FILE")]
    pub(crate) ca: Vec<PathBuf>,

    /// The client's own certificate, with those between it and its root, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of --cert, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// The name that the server's certificate must be for, in place of the URL's host
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,

    /// Accept any certificate from anyone: others can then read and change what is sent
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
}

/// The options of `clientlet gateway`.
#[derive(clap::Args)]
pub(crate) struct GatewayArgs {
    /// The port on 127.0.0.1 for HTTP; 0 takes a free port. Without any port option all protocols are
    /// served, each on a free port
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub(crate) http: Option<u16>,

    /// The port for WebSocket
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub(crate) websocket: Option<u16>,

    /// The port for gRPC
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub(crate) grpc: Option<u16>,

    /// One port for all protocols
    #[arg(long, value_name = "PORT", value_parser = port, conflicts_with_all = ["http", "websocket", "grpc"])]
    pub(crate) port: Option<u16>,

    /// The documents to speak: v1, as Jina 3.14.1 does, or v2, as Jina 3.33.1 does
    #[arg(long, value_name = "v1|v2", default_value = "v1")]
    pub(crate) docarray: clientlet_gateway::DocArray,

    /// Speak TLS with this certificate, followed by those of its issuers, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Speak TLS with a certificate for localhost, 127.0.0.1 and ::1 that is made at the start. The line
    /// with the ports also has the file of its CA, for --ca; the file goes away with the gateway
    #[arg(long, conflicts_with = "tls_cert")]
    pub(crate) tls_self_signed: bool,

    /// Accept only clients with a certificate that a CA in this file has issued
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// A fault, and when it happens; may be repeated
    #[arg(long, value_name = "SPEC")]
    pub(crate) fault: Vec<Fault>,

    /// The seed for faults with a probability and without a seed of their own
    #[arg(long, value_name = "N", value_parser = whole::<u64>, default_value_t = 0)]
    pub(crate) seed: u64,
}

fn gateway_help() -> String {
    format!(
        "Prints {{\"ports\": {{\"http\": PORT, \"websocket\": PORT, \"grpc\": PORT}}}} with its ports when \
         it is ready, and runs until SIGTERM or Ctrl-C. With --tls-self-signed the line also has \
         \"ca\": FILE.\n\nFaults:\n{}\n\n\
         Examples:\n  \
         clientlet gateway --http 8080 --docarray v2\n  \
         clientlet gateway --port 8080\n  \
         clientlet gateway --fault reset-after@20%,seed=7 --fault status:503:1@1-3\n  \
         clientlet gateway --tls-self-signed --fault expired@1,on=handshake\n\n\
         Exit codes:\n  \
         0    stopped by SIGTERM or Ctrl-C\n  \
         1    cannot listen\n  \
         2    wrong usage, or a file that cannot be used",
        FAULT_HELP.trim_end()
    )
}

/// The generation of documents, or `auto` to ask the gateway.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocArrayChoice {
    Auto,
    V1,
    V2,
}

impl DocArrayChoice {
    /// The generation that was chosen; `None` for `auto`.
    pub(crate) fn chosen(self) -> Option<DocArray> {
        match self {
            DocArrayChoice::Auto => None,
            DocArrayChoice::V1 => Some(DocArray::V1),
            DocArrayChoice::V2 => Some(DocArray::V2),
        }
    }
}

/// A JSON object.
pub(crate) type Object = serde_json::Map<String, serde_json::Value>;

/// The end of the reason why a text is not a JSON object.
pub(crate) const OBJECT_FORM: &str = "; write {\"name\": value}";

fn object(text: &str) -> Result<Object, String> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(map)) => match crate::wide::find(text) {
            None => Ok(map),
            Some((_, number)) => Err(crate::wide::refusal(number)),
        },
        Ok(_) => Err(format!("it is not an object{OBJECT_FORM}")),
        Err(error) => Err(format!("{error}{OBJECT_FORM}")),
    }
}

fn whole<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "it must be a whole number, at least 0".to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "it must be a whole number from 0 to 65535".to_owned())
}

fn at_least_one<N: std::str::FromStr + PartialOrd + From<u8>>(text: &str) -> Result<N, String> {
    match text.parse::<N>() {
        Ok(number) if number >= N::from(1) => Ok(number),
        _ => Err("it must be a whole number, at least 1".to_owned()),
    }
}

/// A number of bytes, such as `1000`, `64M` or `2G`.
fn size(text: &str) -> Result<usize, String> {
    let units: [(&[&str], usize); 3] = [
        (&["K", "k", "KiB"], 1 << 10),
        (&["M", "m", "MiB"], 1 << 20),
        (&["G", "g", "GiB"], 1 << 30),
    ];
    let of_unit = |(names, unit): &(&[&str], usize)| {
        names.iter().find_map(|name| Some((text.strip_suffix(name)?, *unit)))
    };
    let (number, unit) = units.iter().find_map(of_unit).unwrap_or((text, 1));
    let size = number.parse().ok().and_then(|number: usize| number.checked_mul(unit));
    let size = size.filter(|size| *size > 0);
    size.ok_or_else(|| {
        "it must be a number of bytes above 0, such as 1000000, 64M or 2G".to_owned()
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    parse_seconds(text).ok_or_else(|| no_seconds(text, "not negative"))
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    let time = parse_seconds(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| no_seconds(text, "above 0"))
}

fn parse_seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Says that a text is no number of seconds, and which number is meant if the text has a unit.
fn no_seconds(text: &str, bound: &str) -> String {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let meant = units.iter().find_map(|(unit, seconds)| {
        parse_seconds(text.strip_suffix(unit)?.trim_end())
            .map(|number| number.as_secs_f64() * seconds)
    });
    match meant {
        Some(meant) => format!("it must be a number of seconds without a unit; write {meant}"),
        None => format!("it must be a number of seconds, {bound}"),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "it must be a number, not negative".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_are_bytes_or_multiples_of_1024() {
        for (text, bytes) in [("1", 1), ("2K", 2048), ("64M", 64 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["0", "", "M", "-1", "1.5M", "1T", "99999999999G", "64 M"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_are_finite_and_not_negative() {
        assert_eq!(seconds("0.25").unwrap(), Duration::from_millis(250));
        for wrong in ["-1", "NaN", "inf", "1e300", "x", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(positive_seconds("0").is_err());
        for (text, meant) in [("5s", "5"), ("500ms", "0.5"), ("1.5m", "90"), ("2 h", "7200")] {
            let told = positive_seconds(text).unwrap_err();
            assert!(told.ends_with(&format!("; write {meant}")), "{text}: {told}");
        }
    }
}

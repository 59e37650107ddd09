//! One trace from a program's own span through the client and a gateway to the executors, printed as a tree
//! with times: `cargo run --example trace`, or `cargo run --example trace grpc`.
//!
//! It starts Jina 3.33.1 with `tracing=True` and a receiver of its spans, both as `interop/install` has
//! installed them.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it did")]

use std::error::Error;
use std::process::ExitCode;

use clientlet::{Client, Document};
use clientlet_interop::{Environment, Options, OtlpReceiver, RealGateway, Span, Trace};
use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};

/// The executors, through which requests go one after the other.
const EXECUTORS: &[&str] = &["encoder", "indexer"];
const PROTOCOLS: &[&str] = &["http", "websocket", "grpc"];

fn main() -> ExitCode {
    let protocol = std::env::args().nth(1).unwrap_or_else(|| "http".to_owned());
    if !PROTOCOLS.contains(&&*protocol) {
        eprintln!("the argument is one of {}", PROTOCOLS.join(", "));
        return ExitCode::FAILURE;
    }
    match OtlpReceiver::start().map_err(Into::into).and_then(|receiver| run(&protocol, receiver)) {
        Ok(trace) => {
            print!("{trace}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts a gateway, calls it, and returns the trace of the call.
fn run(protocol: &str, mut receiver: OtlpReceiver) -> Result<Trace, Box<dyn Error>> {
    let options = Options {
        protocols: PROTOCOLS,
        executors: EXECUTORS,
        traces: Some(receiver.grpc_port()),
        ..Options::default()
    };
    let gateway = RealGateway::start(Environment::Current, options)?;

    // A program of production would send its spans with an exporter for OTLP. This one keeps them, to print
    // them beside those of the gateway and the executors.
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let handler = Context::new().with_span(provider.tracer("example").start("handle a query"));

    call(&gateway.url(protocol), provider, handler.clone())?;
    handler.span().end();

    // The gateway and its executors send what they still have when they end.
    drop(gateway);
    let id = handler.span().span_context().trace_id().to_string();
    let is_last = |span: &Span| span.service.starts_with("indexer/") && span.name == "/upper";
    let received = receiver.spans_until(|spans| spans.iter().any(is_last)).to_vec();
    let own = exporter.get_finished_spans()?.into_iter();
    Ok(Trace::of(&id, own.map(|span| Span::of_program("example", span)).chain(received)))
}

/// The part that a program would have, too: a client with a provider, and a call below the current span.
#[tokio::main(flavor = "current_thread")]
async fn call(
    url: &str,
    provider: SdkTracerProvider,
    handler: Context,
) -> Result<(), clientlet::Error> {
    // Without `tracer_provider` the client uses the global one, and without `parent_context` the context that
    // is current when the call is made.
    let client = Client::builder(url).tracer_provider(provider).build()?;
    let query = Document::text("hello");
    let answers = client.post("/upper").document(&query).parent_context(handler).send().await;
    answers.documents::<Document>()?;
    Ok(())
}

#[test]
fn the_spans_of_program_client_gateway_and_executors_are_one_tree() -> Result<(), Box<dyn Error>> {
    for protocol in PROTOCOLS {
        let Some(receiver) = OtlpReceiver::start_or_skip()? else { return Ok(()) };
        let trace = run(protocol, receiver)?;
        assert_eq!(trace.roots().len(), 1, "{trace}");
        let tree = trace.to_string();
        let parts = [
            "handle a query  (example",
            "post /upper  (example",
            "(gateway/rep-0",
            "(encoder/rep-0",
            "(indexer/rep-0",
        ];
        for part in parts {
            assert!(tree.contains(part), "{part} is missing over {protocol}:\n{tree}");
        }
    }
    Ok(())
}

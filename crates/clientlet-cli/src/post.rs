//! `clientlet post`: posts documents, writes answers, and accounts for every request.

use std::rc::Rc;

use clientlet::{Client, ErrorKind, Responses};
use clientlet_gateway::Gateway;
use futures_core::Stream;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::{Compression, PostArgs};
use crate::connection;
use crate::fields::Fields;
use crate::hint::Task;
use crate::input::{Documents, Input};
use crate::output::Pace;
use crate::report::{Exit, Failure};
use crate::run::{Format, Run};
use crate::session::{End, Options, Session};

/// Runs the command. It checks the options, then the input, then the outputs before it sends
/// anything.
pub(crate) async fn run(mut args: PostArgs) -> Result<Exit, Failure> {
    if args.input.is_none() && args.text.is_empty() && !args.no_documents {
        return Err(Failure::bad_input(
            "nothing to post: give --input FILE, --text T or --no-documents, \
             such as `clientlet post --on /upper --text hello`",
        ));
    }
    require_grpc(&args)?;
    let fields = Fields::new(&args.tensor, &args.blob)?.map(Rc::new);
    let embedded =
        if args.url.is_none() { Some(connection::embed(args.docarray).await?) } else { None };
    let secrets = args.identity.files()?;
    let client = client(&mut args, embedded.as_ref())?;

    let input = args.input.as_deref().map(Input::open).transpose()?;
    let options = Options {
        output: &args.output,
        pace: Pace::InBlocks,
        summary: args.summary.as_deref(),
        is_quiet: args.quiet,
    };
    let read: Vec<_> = input.iter().map(|input| (input.file(), "--input")).collect();
    let session = Session::open(&options, &read, &secrets)?;
    let format = Format {
        input_name: input.as_ref().map(|input| input.name().to_owned()),
        as_responses: args.responses,
    };
    let bad_lines = session.line.clone();
    let report = move |text: &str| bad_lines.print(text);
    let texts = std::mem::take(&mut args.text);
    let mut documents = Documents::new(texts, input, fields.clone(), args.stop_on_error, report)?;
    let mut run = Run::new(session, format, documents.progress(), fields, args.stop_on_error);
    let begun = async {
        if let Some(patience) = args.wait_ready {
            let ready = client.wait_ready(patience).await;
            ready.map_err(|error| Failure::of(&error, Task::Post))?;
        }
        Ok::<_, Failure>(documents.has_any().await || args.no_documents)
    };
    let has_any = tokio::select! {
        biased;
        () = run.session.interrupt.wait() => None,
        has_any = begun => Some(has_any?),
    };
    match has_any {
        None => run.end(End::Interrupted, 0, 0),
        Some(false) => run.is_without_documents(),
        Some(true) => {
            let is_file = documents.is_file();
            let responses = call(&args, &client, documents, is_file)?;
            run.session.begin(embedded.as_ref());
            exchange(&mut run, responses).await;
        }
    }
    Ok(run.close(client.connections()))
}

/// Writes answers as they come, until all requests have ended, the output takes no more, or a signal
/// comes.
async fn exchange<S>(run: &mut Run, mut responses: Responses<S>)
where
    S: Stream,
    S::Item: Serialize,
{
    let mut tick = interval(run.period());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        tokio::select! {
            biased;
            () = run.session.interrupt.wait() => break End::Interrupted,
            written = run.session.output.write_due() => {
                if let Err(unwritten) = written {
                    break End::Unwritten(unwritten);
                }
            }
            _ = tick.tick() => run.show(responses.documents_read(), responses.in_flight()),
            ended = responses.next(), if run.session.output.has_room() => match ended {
                None => break End::Complete,
                Some(Ok(response)) => run.answered(&response),
                Some(Err(error)) => run.failed(&error),
            },
        }
    };
    // Requests in flight stop here. Answers that waited for an earlier one, which is late, are kept.
    let mut in_flight = 0;
    for ended in responses.stop() {
        match ended {
            Ok(response) => run.answered(&response),
            // The request's documents are reported with all others that were not answered.
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                in_flight += usize::from(error.may_have_run());
            }
            Err(error) => run.failed(&error),
        }
    }
    let read = responses.documents_read();
    let end = run.session.flush(end).await;
    run.end(end, read, in_flight);
}

/// Refuses options for gRPC if the address has another protocol, which would ignore them.
fn require_grpc(args: &PostArgs) -> Result<(), Failure> {
    let option = match &args.grpc {
        grpc if grpc.unary => "--unary",
        grpc if grpc.compression.is_some() => "--compression",
        _ => return Ok(()),
    };
    let spoken = match args.url.as_deref().map(|url| url.split_once("://")) {
        None => "the embedded gateway is used over HTTP".to_owned(),
        Some(Some((scheme, _))) if is_other(scheme) => {
            format!("the address begins with {}://", scheme.to_ascii_lowercase())
        }
        // The client reports what is wrong with any other address.
        Some(_) => return Ok(()),
    };
    Err(Failure::bad_input(format!("{option} is only for gRPC, but {spoken}; use grpc://")))
}

/// Whether an address with this scheme asks for a protocol other than gRPC.
fn is_other(scheme: &str) -> bool {
    ["http", "ws", "websocket"].iter().any(|other| scheme.eq_ignore_ascii_case(other))
}

fn client(args: &mut PostArgs, embedded: Option<&Gateway>) -> Result<Client, Failure> {
    let url = match (&args.url, embedded) {
        (Some(url), _) => url.clone(),
        (None, embedded) => embedded.map(Gateway::http_url).unwrap_or_default(),
    };
    let mut builder = std::mem::take(&mut args.identity).add_to(Client::builder(&url))?;
    builder = builder.retry(connection::retry_policy(&args.retry));
    builder = builder.unary(args.grpc.unary).gzip(args.grpc.compression == Some(Compression::Gzip));
    if let Some(docarray) = args.docarray.chosen() {
        builder = builder.docarray(docarray);
    }
    if let Some(connections) = args.max_connections {
        builder = builder.max_connections(connections);
    }
    if let Some(channels) = args.channels {
        builder = builder.channels(channels);
    }
    if let Some(limit) = args.answer_limit {
        builder = builder.answer_limit(limit);
    }
    if let Some(timeout) = args.attempt_timeout {
        builder = builder.attempt_timeout(timeout);
    }
    if let Some(timeout) = args.idle_timeout {
        builder = builder.idle_timeout(timeout);
    }
    builder.build().map_err(|error| Failure::of(&error, Task::Post))
}

fn call<S>(
    args: &PostArgs,
    client: &Client,
    documents: S,
    is_file: bool,
) -> Result<Responses<S>, Failure>
where
    S: Stream,
    S::Item: Serialize,
{
    let mut post = client.post(&args.on).document_stream(documents);
    if let Some(parameters) = &args.parameters {
        post = post.parameters(parameters);
    }
    if let Some(pattern) = &args.target_executor {
        post = post.target_executor(pattern);
    }
    if let Some(documents) = args.request_size {
        post = post.request_size(documents);
    }
    if let Some(requests) = args.prefetch {
        post = post.prefetch(requests);
    }
    if is_file {
        // A file is complete: all requests but the last are full, even if its disk is slow.
        post = post.linger(None);
    } else if let Some(linger) = args.linger {
        post = post.linger(linger);
    }
    post = post.timeout(args.timeout).in_order(args.in_order).stop_on_error(args.stop_on_error);
    post.try_stream().map_err(|error| Failure::of(&error, Task::Post))
}

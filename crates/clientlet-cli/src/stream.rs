//! `clientlet stream`: sends one document and writes the documents that an executor's generator yields.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use clientlet::{Client, DocumentStream, Error};
use clientlet_gateway::Gateway;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::args::{DocArrayChoice, StreamArgs};
use crate::connection;
use crate::fields::Fields;
use crate::hint::{self, Task};
use crate::output::{Pace, Unwritten};
use crate::record::write_document;
use crate::report::{self, Exit, Failure, count};
use crate::session::{End, Options, Session};
use crate::summary::as_seconds;
use crate::typed;

/// The counts of a run.
#[derive(Default, Serialize)]
struct Summary {
    /// Documents that came.
    documents: u64,
    repeats_dropped: u64,
    failed: bool,
    #[serde(rename = "elapsed_s", serialize_with = "as_seconds")]
    elapsed: Duration,
    interrupted: bool,
}

/// Runs the command. It checks the options and the outputs before it sends anything.
pub(crate) async fn run(mut args: StreamArgs) -> Result<Exit, Failure> {
    let embedded = match &args.url {
        Some(_) => None,
        None => Some(connection::embed(v2_unless_v1(args.docarray)).await?),
    };
    let secrets = args.identity.files()?;
    let client = client(&mut args, embedded.as_ref())?;
    let documents = call(&args, &client)?;
    let options = Options {
        output: &args.output,
        pace: Pace::AtOnce,
        summary: args.summary.as_deref(),
        is_quiet: args.quiet,
    };
    let mut session = Session::open(&options, &[], &secrets)?;
    session.begin(embedded.as_ref());
    let mut summary = Summary::default();
    tokio::select! {
        biased;
        () = session.interrupt.wait() => session.exit_with(Exit::Interrupted),
        ready = wait_ready(&args, &client) => {
            ready.map_err(|error| Failure::of(&error, Task::Stream))?;
            exchange(documents, &mut session, &mut summary).await;
        }
    }
    summary.elapsed = session.elapsed();
    summary.interrupted = session.exit() == Exit::Interrupted;
    Ok(session.close(&summary))
}

async fn wait_ready(args: &StreamArgs, client: &Client) -> Result<(), Error> {
    match args.wait_ready {
        Some(patience) => client.wait_ready(patience).await,
        None => Ok(()),
    }
}

/// Writes documents as they come, each at once if the output accepts it.
async fn exchange(
    mut documents: DocumentStream<Box<RawValue>>,
    session: &mut Session,
    summary: &mut Summary,
) {
    let (mut number, mut failed) = (0, None);
    let end = loop {
        tokio::select! {
            biased;
            () = session.interrupt.wait() => break End::Interrupted,
            written = session.output.write_due() => {
                if let Err(unwritten) = written {
                    break End::Unwritten(unwritten);
                }
            }
            document = documents.next(), if session.output.has_room() => match document {
                None => break End::Complete,
                Some(Err(error)) => {
                    failed = Some(error);
                    break End::Complete;
                }
                Some(Ok(document)) => {
                    let add = |out: &mut Vec<u8>| {
                        write_document(&document, out);
                        Ok(())
                    };
                    let added = session.output.add(number..number + 1, add);
                    added.expect("text can be written to memory");
                    number += 1;
                }
            },
        }
    };
    (summary.documents, summary.repeats_dropped) = (number, documents.repeats_dropped());
    // This stops the executor before the output, which may be slow, is flushed.
    drop(documents);
    let end = session.flush(end).await;
    if let Some(error) = failed {
        print_failure(&error, number);
        session.exit_with(report::exit_of(&error));
    }
    match end {
        End::Complete => {}
        End::Interrupted => session.exit_with(Exit::Interrupted),
        End::Unwritten(Unwritten { reason, documents }) => {
            session.exit_with(Exit::Failed);
            let lost = documents.iter().map(|range| range.end - range.start).sum();
            let (name, lost) = (session.output.name(), count(lost, "document"));
            report::print(&format!("error: {name}: {reason}; not written: {lost}"));
        }
    }
    summary.failed = matches!(session.exit(), Exit::Failed | Exit::BadInput);
}

fn print_failure(error: &Error, documents: u64) {
    let attempts = u64::try_from(error.attempts().len()).unwrap_or(u64::MAX);
    let place = format!("after {}", count(documents, "document"));
    report::print(&report::failed(error, &place, attempts));
    // After a document nothing is retried.
    if documents == 0
        && let Some(advice) = hint::advice(error, Task::Stream, true)
    {
        report::print(&format!("  hint: {advice}"));
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", count(self.documents, "document"))?;
        if self.repeats_dropped > 0 {
            write!(f, "{} dropped, ", count(self.repeats_dropped, "repeat"))?;
        }
        if self.interrupted {
            f.write_str("interrupted, ")?;
        }
        write!(f, "{:.2} s", self.elapsed.as_secs_f64())
    }
}

/// The generation of an embedded gateway: v2 unless v1 is chosen, because only v2 has streams.
fn v2_unless_v1(choice: DocArrayChoice) -> DocArrayChoice {
    match choice {
        DocArrayChoice::V1 => DocArrayChoice::V1,
        DocArrayChoice::Auto | DocArrayChoice::V2 => DocArrayChoice::V2,
    }
}

fn client(args: &mut StreamArgs, embedded: Option<&Gateway>) -> Result<Client, Failure> {
    let embedded = embedded.map(Gateway::http_url);
    let url = args.url.clone().or(embedded).unwrap_or_default();
    let mut builder = std::mem::take(&mut args.identity).add_to(Client::builder(&url))?;
    builder = builder.retry(connection::retry_policy(&args.retry));
    if let Some(limit) = args.answer_limit {
        builder = builder.answer_limit(limit);
    }
    if let Some(docarray) = args.docarray.chosen() {
        builder = builder.docarray(docarray);
    }
    builder.build().map_err(|error| Failure::of(&error, Task::Stream))
}

fn call(args: &StreamArgs, client: &Client) -> Result<DocumentStream<Box<RawValue>>, Failure> {
    let fields = Fields::new(&args.tensor, &args.blob)?.map(Rc::new);
    let value = match (&args.document, &args.text) {
        (Some(document), _) => Value::Object(document.clone()),
        (None, text) => json!({ "text": text }),
    };
    let document = typed::Document { value, fields: fields.clone() };
    let mut call = client.stream_document(&args.on, &document);
    if let Some(parameters) = &args.parameters {
        call = call.parameters(parameters);
    }
    if let Some(pattern) = &args.target_executor {
        call = call.target_executor(pattern);
    }
    call = call.timeout(args.timeout);
    if let Some(timeout) = args.idle_timeout {
        call = call.idle_timeout(timeout);
    }
    let documents = call.try_stream().map_err(|error| Failure::of(&error, Task::Stream))?;
    // A rejected document may not have been read up to the field.
    for option in fields.iter().flat_map(|fields| fields.unmet()) {
        report::print(&format!("warning: the document has no field of {option}"));
    }
    Ok(documents)
}

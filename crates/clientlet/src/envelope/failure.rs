//! What an HTTP status other than success means, with whatever its body tells.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::read_answer;
use crate::error::{AttemptError, Event};
use crate::message::{DocArray, Exception};

/// The most characters of a foreign text that an error repeats.
const MOST_CHARACTERS: usize = 300;

#[derive(Deserialize)]
struct DetailJson {
    detail: Value,
}

/// The error that an answer with this status and body is.
///
/// The body of a failure is `{"detail": text}`, `{"detail": [..]}` of a validation, the request
/// with a status in its header, or plain text; JSON only where `is_json` says so.
pub(crate) fn read_failure(
    docarray: DocArray,
    status: u16,
    is_json: bool,
    body: &Bytes,
) -> AttemptError {
    let failure = if is_json { read_json(docarray, status, body) } else { None };
    failure.unwrap_or_else(|| read_text(docarray, status, is_json, body)).with_status(status)
}

fn read_json(docarray: DocArray, status: u16, body: &Bytes) -> Option<AttemptError> {
    if let Ok(DetailJson { detail }) = serde_json::from_slice(body) {
        return Some(match detail {
            Value::String(detail) if docarray == DocArray::V2 && status == 500 => {
                let message = format!("an executor raised {}", shorten(&detail));
                let mut error = AttemptError::new(Event::ExecutorFailed, message);
                error.exception = Some(exception_of(&detail));
                error
            }
            Value::String(detail) => of_status(status, &shorten(&detail)),
            Value::Array(faults) => of_status(status, &validation(&faults)),
            other => of_status(status, &shorten(&other.to_string())),
        });
    }
    let answer = read_answer(docarray, body).ok()?;
    let mut error = of_status(status, &shorten(&answer.status.description));
    error.exception = answer.status.exception.clone();
    error.answer = Some(answer);
    Some(error)
}

fn read_text(docarray: DocArray, status: u16, is_json: bool, body: &Bytes) -> AttemptError {
    let text = shorten(&String::from_utf8_lossy(body));
    // A v2 gateway says no more than this of an executor that is down or slow.
    if status == 500 && docarray == DocArray::V2 && !is_json {
        let message = format!("the gateway answered 500: {text} (its executor is down or slow)");
        return AttemptError::new(Event::PlainError500, message);
    }
    of_status(status, &text)
}

fn of_status(status: u16, what: &str) -> AttemptError {
    let message = match what {
        "" => format!("the gateway answered {status}"),
        what => format!("the gateway answered {status}: {what}"),
    };
    AttemptError::new(Event::of_status(status), message)
}

/// A validation's findings, `body.data.0.text: str type expected; ...`.
fn validation(faults: &[Value]) -> String {
    let fault = |fault: &Value| {
        let place: Vec<String> = fault["loc"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|step| step.as_str().map_or_else(|| step.to_string(), str::to_owned))
            .collect();
        format!("{}: {}", place.join("."), fault["msg"].as_str().unwrap_or_default())
    };
    shorten(&faults.iter().map(fault).collect::<Vec<_>>().join("; "))
}

/// v2 over HTTP gives an exception as its repr alone, `ValueError('boom')`.
fn exception_of(repr: &str) -> Exception {
    let (name, arguments) = match repr.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').unwrap_or(rest)),
        None => (repr, ""),
    };
    let args = if arguments.is_empty() { Vec::new() } else { vec![unquote(arguments).to_owned()] };
    Exception { name: name.to_owned(), args, stacks: Vec::new(), executor: String::new() }
}

/// The text in Python's quotes if it is one such text, and all of it otherwise.
fn unquote(repr: &str) -> &str {
    let inner = |quote: char| {
        let inner = repr.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains(quote) && !inner.contains('\\')).then_some(inner)
    };
    inner('\'').or_else(|| inner('"')).unwrap_or(repr)
}

/// A foreign text on one line of bounded length, without control characters.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text
        .trim()
        .chars()
        .take(MOST_CHARACTERS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.trim().chars().nth(MOST_CHARACTERS).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn failure(docarray: DocArray, status: u16, is_json: bool, body: &'static str) -> AttemptError {
        read_failure(docarray, status, is_json, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn an_exception_of_v2_is_read_from_its_repr() {
        let table = [
            ("ValueError('boom')", "ValueError", vec!["boom"]),
            ("KeyError(\"it's\")", "KeyError", vec!["it's"]),
            ("ValueError('a', 1)", "ValueError", vec!["'a', 1"]),
            ("KeyboardInterrupt()", "KeyboardInterrupt", vec![]),
            ("no repr", "no repr", vec![]),
        ];
        for (repr, name, args) in table {
            let exception = exception_of(repr);
            assert_eq!(
                (exception.name.as_str(), exception.args),
                (name, args.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn a_500_is_the_executors_only_from_v2_and_only_as_a_json_detail() {
        let body = r#"{"detail":"ValueError('boom')"}"#;
        assert_eq!(failure(DocArray::V2, 500, true, body).kind, ErrorKind::Executor);
        let v1 = failure(DocArray::V1, 500, true, body);
        assert_eq!((v1.kind, v1.retryable), (ErrorKind::Gateway, false));
        let plain = failure(DocArray::V2, 500, false, "Internal Server Error");
        assert_eq!((plain.kind, plain.retryable), (ErrorKind::Gateway, true));
        let v1 = failure(DocArray::V1, 500, false, "Internal Server Error");
        assert_eq!((v1.kind, v1.retryable), (ErrorKind::Gateway, false));
    }

    #[test]
    fn a_validation_names_each_place() {
        let body = r#"{"detail":[{"loc":["body","data",0,"text"],"msg":"str type expected"}]}"#;
        let error = failure(DocArray::V2, 422, true, body);
        assert_eq!(error.message, "the gateway answered 422: body.data.0.text: str type expected");
    }

    #[test]
    fn a_long_or_unruly_text_is_cut_and_kept_on_one_line() {
        let long: &'static str =
            Box::leak(format!("a\nb\u{1b}[31m{}", "x".repeat(5000)).into_boxed_str());
        let message = failure(DocArray::V1, 500, false, long).0.message;
        assert!(message.len() < 400 && !message.contains(char::is_control), "{message}");
    }
}

//! Turns an HTTP status other than success, with its body, into an error.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::read_answer;
use crate::error::{AttemptError, Event, Hint};
use crate::foreign::{MOST_CHARACTERS, shorten};
use crate::message::{DocArray, Exception, RawAnswer};

/// The JSON of a failure, read without building a tree: only the parts that are shown are kept.
#[derive(Deserialize)]
struct DetailJson<'a> {
    #[serde(borrow)]
    detail: &'a RawValue,
}

/// One finding of a validation.
#[derive(Default, Deserialize)]
#[serde(default)]
struct FindingJson<'a> {
    #[serde(borrow)]
    loc: Option<&'a RawValue>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
}

/// Returns the error for an answer with this status and body.
///
/// The body of a failure is `{"detail": text}`, `{"detail": [..]}` from a validation, the request
/// with a status in its header, or plain text. It is read as JSON only if `is_json`. A gateway with
/// a path for each endpoint has no status in its answers; it answers 500 instead.
pub(crate) fn read_failure(
    docarray: DocArray,
    is_by_name: bool,
    status: u16,
    is_json: bool,
    body: &Bytes,
) -> AttemptError {
    let failure = if is_json { read_json(docarray, is_by_name, status, body) } else { None };
    failure.unwrap_or_else(|| read_text(is_by_name, status, is_json, body))
}

fn read_json(
    docarray: DocArray,
    is_by_name: bool,
    status: u16,
    body: &Bytes,
) -> Option<AttemptError> {
    if let Ok(DetailJson { detail }) = serde_json::from_slice(body) {
        return Some(match serde_json::from_str::<String>(detail.get()) {
            Ok(detail) if !is_by_name && status == 500 => {
                let message = format!("an executor raised {}", shorten(&detail));
                let mut error = AttemptError::new(Event::ExecutorFailed, message);
                error.exception = Some(exception_of(&detail));
                error
            }
            Ok(detail) => of_status(status, &shorten(&detail)),
            Err(_) => of_status(status, &validation(detail)),
        });
    }
    let answer = read_answer(docarray, body).ok()?;
    let mut error = of_status(status, &shorten(&answer.status.description));
    error.exception = answer.status.exception.clone();
    error.answer = Some(answer);
    Some(error)
}

fn read_text(is_by_name: bool, status: u16, is_json: bool, body: &Bytes) -> AttemptError {
    let text = shorten(&String::from_utf8_lossy(body));
    if status == 500 && !is_json {
        // A v2 gateway says only this about an executor that is down or slow. A v1 gateway has a
        // status for each of the two cases.
        let why = match is_by_name {
            true => "",
            false => " (its executor is down or slow)",
        };
        let message = format!("the gateway answered 500: {text}{why}");
        return AttemptError::new(Event::PlainError500, message);
    }
    let mut error = of_status(status, &text);
    error.detail.hint = Hint::of_refusal(&text);
    error
}

fn of_status(status: u16, what: &str) -> AttemptError {
    let message = match what {
        "" => format!("the gateway answered {status}"),
        what => format!("the gateway answered {status}: {what}"),
    };
    AttemptError::new(Event::of_status(status), message)
}

/// Describes a validation's findings: `body.data.0.text: str type expected; ...`. Other JSON is
/// shown as it came.
fn validation(detail: &RawValue) -> String {
    let mut shown = String::new();
    let read = each(detail, |finding| {
        // serde would read a list as a finding, too.
        let is_object = finding.get().starts_with('{');
        let read = is_object.then(|| serde_json::from_str(finding.get()).ok()).flatten();
        let FindingJson { loc, msg } = read.unwrap_or_default();
        if !shown.is_empty() {
            shown.push_str("; ");
        }
        let mut is_first = true;
        // A location that is not a list of steps is left out.
        let _ = loc.map(|loc| {
            each(loc, |step| {
                if !is_first {
                    shown.push('.');
                }
                is_first = false;
                shown.push_str(&plain(step));
                shown.len() < MOST_SHOWN
            })
        });
        shown.push_str(": ");
        if let Some(text) = msg.and_then(|msg| serde_json::from_str::<String>(msg.get()).ok()) {
            shown.push_str(&shorten(&text));
        }
        shown.len() < MOST_SHOWN
    });
    shorten(if read.is_ok() { &shown } else { detail.get() })
}

/// The size at which a validation's text is complete, because no more of it is ever shown.
const MOST_SHOWN: usize = 4 * MOST_CHARACTERS;

/// Describes one step of a location: text without its quotes.
fn plain(step: &RawValue) -> String {
    serde_json::from_str::<String>(step.get())
        .map_or_else(|_| shorten(step.get()), |text| shorten(&text))
}

/// Passes the raw elements of a list to `take` until `take` returns `false`. No element is kept.
fn each<'a>(
    list: &'a RawValue,
    take: impl FnMut(&'a RawValue) -> bool,
) -> Result<(), serde_json::Error> {
    struct Each<F>(F);

    impl<'de, F: FnMut(&'de RawValue) -> bool> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
            while let Some(element) = elements.next_element()? {
                if !(self.0)(element) {
                    while elements.next_element::<IgnoredAny>()?.is_some() {}
                    break;
                }
            }
            Ok(())
        }
    }

    serde_json::Deserializer::from_str(list.get()).deserialize_seq(Each(take))
}

/// Reads the repr of an exception, `ValueError('boom')`, which is all that v2 gives over HTTP.
fn exception_of(repr: &str) -> Exception {
    let (name, arguments) = match repr.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').unwrap_or(rest)),
        None => (repr, ""),
    };
    let args = if arguments.is_empty() { Vec::new() } else { vec![unquote(arguments).to_owned()] };
    Exception { name: name.to_owned(), args, stacks: Vec::new(), executor: String::new() }
}

/// Returns the text inside Python's quotes, or the whole input if it is not one quoted text.
fn unquote(repr: &str) -> &str {
    let inner = |quote: char| {
        let inner = repr.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains(quote) && !inner.contains('\\')).then_some(inner)
    };
    inner('\'').or_else(|| inner('"')).unwrap_or(repr)
}

/// Turns an answer that reports an executor's exception into an error, although it came as a
/// success.
pub(crate) fn outcome(raw: RawAnswer) -> Result<RawAnswer, AttemptError> {
    if raw.status.is_success() {
        return Ok(raw);
    }
    let raised = shorten(&raw.status.description);
    let what = match &raw.status.exception {
        Some(exception) if !exception.executor.is_empty() => {
            format!("{} raised {raised}", shorten(&exception.executor))
        }
        _ => format!("an executor raised {raised}"),
    };
    let mut error = AttemptError::new(Event::ExecutorFailed, what);
    error.exception = raw.status.exception.clone();
    error.answer = Some(raw);
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn failure(docarray: DocArray, status: u16, is_json: bool, body: &'static str) -> AttemptError {
        let is_by_name = docarray == DocArray::V1;
        read_failure(docarray, is_by_name, status, is_json, &Bytes::from_static(body.as_bytes()))
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
    fn a_500_is_the_executors_only_from_v2_as_a_json_detail_and_in_plain_text_an_outage() {
        let body = r#"{"detail":"ValueError('boom')"}"#;
        assert_eq!(failure(DocArray::V2, 500, true, body).kind, ErrorKind::Executor);
        let v1 = failure(DocArray::V1, 500, true, body);
        assert_eq!((v1.kind, v1.retryable), (ErrorKind::Gateway, false));
        let plain = failure(DocArray::V2, 500, false, "Internal Server Error");
        assert_eq!((plain.kind, plain.retryable), (ErrorKind::Gateway, true));
        // The answer of a gateway that is shutting down.
        let v1 = failure(DocArray::V1, 500, false, "Internal Server Error");
        assert_eq!((v1.kind, v1.retryable, v1.may_have_run), (ErrorKind::Gateway, true, true));
        assert!(!v1.message.contains("executor"), "{}", v1.message);
    }

    #[test]
    fn a_validation_names_each_place() {
        let body = r#"{"detail":[{"loc":["body","data",0,"text"],"msg":"str type expected"}]}"#;
        let error = failure(DocArray::V2, 422, true, body);
        assert_eq!(error.message, "the gateway answered 422: body.data.0.text: str type expected");
    }

    #[test]
    fn a_detail_of_any_form_is_shown_as_far_as_possible() {
        let deep: &'static str = Box::leak(
            format!("{{\"detail\":{}1{}}}", "[".repeat(500), "]".repeat(500)).into_boxed_str(),
        );
        let table = [
            (r#"{"detail":[{"loc":["a",1,null],"msg":"x"},{"msg":"y"}]}"#, "a.1.null: x; : y"),
            (r#"{"detail":[{"loc":"a","msg":"x"},7,"text",{"msg":{"k":1}}]}"#, ": x; : ; : ; : "),
            (r#"{"detail":{"a":[1, 2]}}"#, r#"{"a":[1, 2]}"#),
            (r#"{"detail":null}"#, "null"),
            (r#"{"detail":"plain"}"#, "plain"),
            (r#"{"detail":[]}"#, ""),
            (deep, ": "),
        ];
        for (body, expected) in table {
            let error = failure(DocArray::V1, 422, true, body);
            let expected = match expected.trim() {
                "" => "the gateway answered 422".to_owned(),
                expected => format!("the gateway answered 422: {expected}"),
            };
            assert_eq!(error.message.trim_end(), expected, "{body}");
        }
    }

    #[test]
    fn the_text_of_a_validation_is_built_only_as_far_as_it_is_shown() {
        let finding = r#"{"loc":["body",0],"msg":"wrong"}"#;
        let body = format!("{{\"detail\":[{}]}}", [finding; 100_000].join(","));
        let error = read_failure(DocArray::V1, true, 422, true, &body.into());
        assert!(
            error.message.starts_with("the gateway answered 422: body.0: wrong; body.0: wrong")
        );
        assert!(error.message.ends_with('…') && error.message.len() < 400, "{}", error.message);
    }

    #[test]
    fn a_long_or_unruly_text_is_cut_and_kept_on_one_line() {
        let long: &'static str =
            Box::leak(format!("a\nb\u{1b}[31m{}", "x".repeat(5000)).into_boxed_str());
        let message = failure(DocArray::V1, 500, false, long).0.message;
        assert!(message.len() < 400 && !message.contains(char::is_control), "{message}");
    }
}

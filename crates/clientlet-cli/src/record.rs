//! Writes an answer as lines of text.

use std::time::SystemTime;

use clientlet::{Error, Exception, Response, RouteTimes, Status};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Appends each document of an answer as a line, as the gateway wrote it.
///
/// # Errors
/// When the documents cannot be read.
pub(crate) fn write_documents(response: &Response, out: &mut Vec<u8>) -> Result<(), Error> {
    for document in response.documents::<Box<RawValue>>()? {
        write_document(&document, out);
    }
    Ok(())
}

/// Appends a document as a line.
pub(crate) fn write_document(document: &RawValue, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(document.get().as_bytes());
    end_line(out, start);
}

/// Appends an answer as one object. `lines` are the first and the last line of its documents in the
/// input.
///
/// # Errors
/// When the answer's documents, routes or parameters cannot be read.
pub(crate) fn write_response(
    response: &Response,
    lines: Option<(u64, u64)>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let routes = response.routes()?;
    let record = Record {
        request_id: response.request_id(),
        input: lines,
        status: StatusRecord::new(response.status()),
        routes: routes.iter().map(RouteRecord::new).collect(),
        parameters: response.parameters()?,
        data: response.documents()?,
    };
    let start = out.len();
    serde_json::to_writer(&mut *out, &record).expect("text and JSON can be written to memory");
    end_line(out, start);
    Ok(())
}

/// Turns the text since `start` into one line. Line breaks can only be between JSON's tokens, since
/// they are escaped within text.
fn end_line(out: &mut Vec<u8>, start: usize) {
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    out.push(b'\n');
}

#[derive(Serialize)]
struct Record<'r> {
    request_id: &'r str,
    input: Option<(u64, u64)>,
    status: StatusRecord<'r>,
    routes: Vec<RouteRecord<'r>>,
    parameters: Box<RawValue>,
    data: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct StatusRecord<'r> {
    code: i32,
    description: &'r str,
    exception: Option<ExceptionRecord<'r>>,
}

impl StatusRecord<'_> {
    fn new(status: &Status) -> StatusRecord<'_> {
        let exception = status.exception.as_ref().map(ExceptionRecord::new);
        StatusRecord { code: status.code, description: &status.description, exception }
    }
}

#[derive(Serialize)]
struct ExceptionRecord<'r> {
    name: &'r str,
    args: &'r [String],
    stacks: &'r [String],
    executor: &'r str,
}

impl ExceptionRecord<'_> {
    fn new(exception: &Exception) -> ExceptionRecord<'_> {
        let Exception { name, args, stacks, executor, .. } = exception;
        ExceptionRecord { name, args, stacks, executor }
    }
}

#[derive(Serialize)]
struct RouteRecord<'r> {
    executor: &'r str,
    start_time: Option<String>,
    end_time: Option<String>,
    status: Option<StatusRecord<'r>>,
}

impl RouteRecord<'_> {
    fn new(route: &RouteTimes) -> RouteRecord<'_> {
        RouteRecord {
            executor: &route.executor,
            start_time: route.start_time.and_then(rfc_3339),
            end_time: route.end_time.and_then(rfc_3339),
            status: route.status.as_ref().map(StatusRecord::new),
        }
    }
}

/// Formats a time. Returns `None` outside of the years 0 to 9999, which the format cannot represent.
fn rfc_3339(time: SystemTime) -> Option<String> {
    // Converting a `SystemTime` directly panics if the time is out of range.
    let nanos = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()).ok()?,
        Err(before) => -i128::try_from(before.duration().as_nanos()).ok()?,
    };
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_the_format_cannot_represent_is_none() {
        use std::time::Duration;

        let epoch = SystemTime::UNIX_EPOCH;
        let last = epoch + Duration::new(253_402_300_799, 999_999_999);
        assert_eq!(rfc_3339(last).as_deref(), Some("9999-12-31T23:59:59.999999999Z"));
        let before = epoch - Duration::from_millis(500);
        assert_eq!(rfc_3339(before).as_deref(), Some("1969-12-31T23:59:59.5Z"));
        assert_eq!(rfc_3339(last + Duration::from_secs(1)), None);
        assert_eq!(rfc_3339(epoch - Duration::from_secs(8_000_000_000_000)), None);
        assert_eq!(rfc_3339(epoch + Duration::from_secs(8_000_000_000_000)), None);
    }

    #[test]
    fn a_document_with_line_breaks_between_its_tokens_is_one_line() {
        let mut out = b"before\n".to_vec();
        let start = out.len();
        out.extend_from_slice(b"{\n  \"text\": \"a\\nb\"\r\n}");
        end_line(&mut out, start);
        assert_eq!(out, b"before\n{   \"text\": \"a\\nb\"  }\n");
    }
}

//! The JSON of an answer around its documents. The documents themselves are left as they came.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::document::reader;
use crate::foreign::told;
use crate::message::{
    AnswerParts, DocArray, Encoding, Exception, MOST_ROUTES, RawAnswer, RouteTimes, Status,
    time_of, too_many_routes,
};

/// The names are camelCase on HTTP and snake_case in WebSocket JSON. In v2 the header has only
/// `requestId`.
#[derive(Deserialize)]
struct AnswerJson<'a> {
    header: Option<HeaderJson>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    routes: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct HeaderJson {
    #[serde(alias = "requestId")]
    request_id: Option<String>,
    status: Option<StatusJson>,
}

#[derive(Deserialize)]
struct RouteJson {
    #[serde(default)]
    executor: String,
    #[serde(alias = "startTime")]
    start_time: Option<String>,
    #[serde(alias = "endTime")]
    end_time: Option<String>,
    status: Option<StatusJson>,
}

#[derive(Deserialize)]
struct StatusJson {
    #[serde(default)]
    code: i32,
    description: Option<String>,
    exception: Option<ExceptionJson>,
}

#[derive(Deserialize)]
struct ExceptionJson {
    name: Option<String>,
    args: Option<Vec<String>>,
    stacks: Option<Vec<String>>,
    executor: Option<String>,
}

/// Opens the envelope of an answer.
///
/// # Errors
/// The fault in the JSON, in words.
pub(crate) fn read_answer(docarray: DocArray, body: &Bytes) -> Result<RawAnswer, String> {
    let json: AnswerJson<'_> = reader::from_slice(body).map_err(|error| told(&error))?;
    // Without this check an object with other keys, such as an error body, would read as an empty
    // answer.
    if json.header.is_none() && json.data.is_none() {
        return Err("it has neither header nor data".to_owned());
    }
    let documents = part_of(body, json.data);
    if documents.as_ref().is_some_and(|data| data.first() != Some(&b'[')) {
        return Err("its data is not a list".to_owned());
    }
    let header = json.header.unwrap_or(HeaderJson { request_id: None, status: None });
    Ok(RawAnswer::from(AnswerParts {
        docarray,
        encoding: Encoding::Json,
        request_id: header.request_id.unwrap_or_default(),
        status: header.status.map(Status::from).unwrap_or_default(),
        whole: body.clone(),
        routes: part_of(body, json.routes),
        parameters: part_of(body, json.parameters),
        documents,
    }))
}

/// Reads the stations of a request from a JSON list.
///
/// # Errors
/// The fault in the JSON, in words.
pub(crate) fn read_routes(json: &[u8]) -> Result<Vec<RouteTimes>, String> {
    let Routes(routes) = serde_json::from_slice(json).map_err(|error| told(&error))?;
    Ok(routes)
}

struct Routes(Vec<RouteTimes>);

impl<'de> Deserialize<'de> for Routes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Routes, D::Error> {
        deserializer.deserialize_seq(RoutesVisitor)
    }
}

struct RoutesVisitor;

impl<'de> Visitor<'de> for RoutesVisitor {
    type Value = Routes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of routes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Routes, A::Error> {
        let mut routes = Vec::new();
        while let Some(route) = list.next_element::<RouteJson>()? {
            if routes.len() == MOST_ROUTES {
                return Err(A::Error::custom(too_many_routes()));
            }
            routes.push(RouteTimes::from(route));
        }
        Ok(Routes(routes))
    }
}

/// Reads the answer to a dry run, which is only a status.
///
/// # Errors
/// The fault in the JSON, in words.
pub(crate) fn read_status(body: &[u8]) -> Result<Status, String> {
    serde_json::from_slice::<StatusJson>(body).map(Status::from).map_err(|error| told(&error))
}

/// Returns `part` as a share of the body's memory; `None` for null.
fn part_of(body: &Bytes, part: Option<&RawValue>) -> Option<Bytes> {
    let text = part?.get();
    (text != "null").then(|| body.slice_ref(text.as_bytes()))
}

impl From<StatusJson> for Status {
    fn from(json: StatusJson) -> Status {
        Status {
            code: json.code,
            description: json.description.unwrap_or_default(),
            exception: json.exception.map(Exception::from),
        }
    }
}

impl From<ExceptionJson> for Exception {
    fn from(json: ExceptionJson) -> Exception {
        Exception {
            name: json.name.unwrap_or_default(),
            args: json.args.unwrap_or_default(),
            stacks: json.stacks.unwrap_or_default(),
            executor: json.executor.unwrap_or_default(),
        }
    }
}

impl From<RouteJson> for RouteTimes {
    fn from(json: RouteJson) -> RouteTimes {
        RouteTimes {
            executor: json.executor,
            start_time: json.start_time.as_deref().and_then(read_time),
            end_time: json.end_time.as_deref().and_then(read_time),
            status: json.status.map(Status::from),
        }
    }
}

/// Reads a time of RFC 3339. Version 3.33.1 leaves out the offset for deployments that were
/// skipped, and means UTC. An unreadable time is `None`: it is no reason to lose the answer.
fn read_time(text: &str) -> Option<SystemTime> {
    // A longer text is not a time, and is not worth copying.
    let text = text.get(..text.len().min(64))?;
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
        .ok()?;
    time_of(time.unix_timestamp(), time.nanosecond())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_read_with_an_offset_with_z_and_without_both() {
        let expected = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_500_122_742_552);
        for text in [
            "2026-11-24T06:02:02.742552+00:00",
            "2026-11-24T06:02:02.742552Z",
            "2026-11-24T06:02:02.742552",
            "2026-11-24T07:02:02.742552+01:00",
        ] {
            assert_eq!(read_time(text), Some(expected), "{text}");
        }
        let before = [
            ("1969-12-31T23:59:59.5Z", SystemTime::UNIX_EPOCH - Duration::from_millis(500)),
            ("1970-01-01T00:00:00+00:01", SystemTime::UNIX_EPOCH - Duration::from_secs(60)),
        ];
        for (text, expected) in before {
            assert_eq!(read_time(text), Some(expected), "{text}");
        }
        // In UTC, the second one is in the year 10000 and the third in the year 0.
        for none in ["yesterday", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", ""] {
            assert_eq!(read_time(none), None, "{none}");
        }
        assert!(read_time("9999-12-31T23:59:59.999999999Z").is_some());
    }

    #[test]
    fn too_many_routes_are_refused() {
        let routes = |count| format!("[{}]", vec!["{}"; count].join(","));
        assert_eq!(read_routes(routes(MOST_ROUTES).as_bytes()).unwrap().len(), MOST_ROUTES);
        let error = read_routes(routes(MOST_ROUTES + 1).as_bytes()).unwrap_err();
        assert!(error.contains("more than 4096"), "{error}");
    }

    #[test]
    fn documents_share_the_memory_of_the_body() {
        let body = Bytes::from_static(br#"{"header":{"requestId":"r"},"data":[{"id":"a"}]}"#);
        let answer = read_answer(DocArray::V2, &body).unwrap();
        let documents = answer.documents.clone().unwrap();
        assert_eq!(documents, r#"[{"id":"a"}]"#);
        assert!(body.as_ptr_range().contains(&documents.as_ptr()));
    }

    #[test]
    fn json_that_is_not_an_answer_is_refused_in_words() {
        let cases: [(&'static [u8], &str); 5] = [
            (b"{\"data\": [", "EOF"),
            (b"[]", "invalid"),
            (b"{\"detail\":\"x\"}", "neither header nor data"),
            (b"{\"data\":{\"a\":1}}", "not a list"),
            (b"{\"data\":[\"\xff\"]}", "unicode"),
        ];
        for (body, expected) in cases {
            let message = read_answer(DocArray::V2, &Bytes::from_static(body)).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}

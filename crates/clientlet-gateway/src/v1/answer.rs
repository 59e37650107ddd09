//! Parts of an answer in JSON: status, header and routes.

use std::time::SystemTime;

use serde_json::json;

use crate::exception::Exception;
use crate::executor::Journey;
use crate::identity::written_time;
use crate::json::write;

/// How answers are written: over HTTP, or as JSON over WebSocket.
pub(super) struct Style {
    pub(super) request_id: &'static str,
    pub(super) endpoint: &'static str,
    pub(super) target: &'static str,
    pub(super) start: &'static str,
    pub(super) end: &'static str,
    pub(super) zone: &'static str,
    /// Missing values are null and not left out.
    pub(super) nulls: bool,
}

pub(super) const HTTP: Style = Style {
    request_id: "requestId",
    endpoint: "execEndpoint",
    target: "targetExecutor",
    start: "startTime",
    end: "endTime",
    zone: "+00:00",
    nulls: true,
};

pub(super) const WEBSOCKET: Style = Style {
    request_id: "request_id",
    endpoint: "exec_endpoint",
    target: "target_executor",
    start: "start_time",
    end: "end_time",
    zone: "Z",
    nulls: false,
};

/// The status of an executor's exception.
pub(super) fn raised(exception: &Exception, class: &str) -> String {
    json!({
        "code": 1,
        "description": exception.to_string(),
        "exception": {
            "name": exception.name(),
            "args": exception.arguments().collect::<Vec<_>>(),
            "stacks": ["Traceback (most recent call last):\n", exception.last_line()],
            "executor": class,
        },
    })
    .to_string()
}

pub(super) fn write_head(body: &mut Vec<u8>, status: Option<&str>, endpoint: &str, style: &Style) {
    write_field(body, "status", status, style);
    put(body, &[",\"", style.endpoint, "\":"]);
    write(body, endpoint);
    put(body, &[",\"", style.target, "\":\"\"}"]);
}

pub(super) fn write_routes(
    body: &mut Vec<u8>,
    began: SystemTime,
    journey: &Journey,
    style: &Style,
) {
    let written = |time| format!("\"{}\"", written_time(time, style.zone));
    let now = written(SystemTime::now());
    body.extend_from_slice(b",\"routes\":[");
    write_route(body, "gateway", &written(began), Some(&now), None, style);
    for stop in &journey.stops {
        body.push(b',');
        // A deployment that was skipped has no end.
        let (start, end) = match stop.ran {
            Some((began, ended)) => (began, Some(written(ended))),
            None => (began, None),
        };
        let status = stop.failure.as_ref().map(|exception| raised(exception, &stop.class));
        let (start, end) = (written(start), end.as_deref());
        write_route(body, &stop.executor, &start, end, status.as_deref(), style);
    }
    body.push(b']');
}

fn write_route(
    body: &mut Vec<u8>,
    name: &str,
    start: &str,
    end: Option<&str>,
    status: Option<&str>,
    style: &Style,
) {
    put(body, &["{\"executor\":"]);
    write(body, name);
    put(body, &[",\"", style.start, "\":", start]);
    write_field(body, style.end, end, style);
    write_field(body, "status", status, style);
    body.push(b'}');
}

/// Writes a field behind other fields. The field may have no value.
fn write_field(body: &mut Vec<u8>, name: &str, value: Option<&str>, style: &Style) {
    if value.is_some() || style.nulls {
        put(body, &[",\"", name, "\":", value.unwrap_or("null")]);
    }
}

pub(super) fn put(body: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        body.extend_from_slice(part.as_bytes());
    }
}

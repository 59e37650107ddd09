//! An answer before it is written as HTTP.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response, header};
use serde_json::json;

use crate::compression::{Compression, bomb};
use crate::streaming::Run;

/// Status, body and the few headers that differ between answers.
pub(crate) struct HttpReply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) is_json: bool,
    /// The methods that the path accepts, for a 405.
    pub(crate) allow: Option<&'static str>,
    pub(crate) retry_after: Option<String>,
    /// The target of a redirect.
    pub(crate) location: Option<String>,
    /// Documents that follow one by one, in place of the body.
    pub(crate) stream: Option<Box<Run>>,
    /// The connection ends after the answer.
    pub(crate) closes: bool,
    /// How the body is compressed.
    pub(crate) encoding: Option<Arc<str>>,
}

impl HttpReply {
    pub(crate) fn json(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            body,
            is_json: true,
            allow: None,
            retry_after: None,
            location: None,
            stream: None,
            closes: false,
            encoding: None,
        }
    }

    pub(crate) fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, json!({"detail": detail}).to_string().into_bytes())
    }

    /// A status that a fault or a handler wants, and the value of `Retry-After`.
    pub(crate) fn scripted(code: u16, retry_after: Option<String>) -> Self {
        let reply =
            if code == 500 { Self::internal_error() } else { Self::detail(code, "scripted") };
        Self { retry_after, ..reply }
    }

    /// The answer to a failure that a gateway did not foresee.
    pub(crate) fn internal_error() -> Self {
        Self { is_json: false, ..Self::json(500, b"Internal Server Error".to_vec()) }
    }

    /// Compresses the body, as a proxy does.
    pub(crate) fn compressed(self, compression: &Compression) -> Self {
        if self.body.is_empty() {
            return self;
        }
        let encoding = Some(Arc::clone(compression.name()));
        Self { body: compression.encode(&self.body), encoding, ..self }
    }

    /// Puts this number of spaces before the body, which do not change JSON, and compresses all of
    /// it with gzip.
    pub(crate) fn bomb(self, bytes: u64) -> Self {
        let encoding = Some("gzip".into());
        Self { body: bomb(b"", b' ', bytes, &self.body), encoding, ..self }
    }

    /// The refusal of a WebSocket: plain text, after which the connection ends.
    pub(crate) fn refusal(status: u16, text: String) -> Self {
        Self { is_json: false, closes: true, ..Self::json(status, text.into_bytes()) }
    }

    pub(crate) fn redirect(code: u16, location: String) -> Self {
        Self { location: Some(location), is_json: false, ..Self::json(code, Vec::new()) }
    }

    /// The answer to a request without the right `Authorization`.
    pub(crate) fn unauthorized() -> Self {
        Self::detail(401, "Not authenticated")
    }

    /// The documents that a streaming endpoint gives.
    pub(crate) fn stream(run: Box<Run>) -> Self {
        Self { stream: Some(run), is_json: false, ..Self::json(200, Vec::new()) }
    }

    pub(crate) fn not_found() -> Self {
        Self::detail(404, "Not Found")
    }

    pub(crate) fn not_allowed(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::detail(405, "Method Not Allowed") }
    }

    /// Status and headers of server-sent events.
    pub(crate) fn into_event_stream<B>(self, body: B) -> Response<B> {
        let mut response = self.into_response(|_| body);
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    /// Status and headers, around a body made from the bytes.
    pub(crate) fn into_response<B>(self, body: impl FnOnce(Vec<u8>) -> B) -> Response<B> {
        let mut response = Response::new(body(self.body));
        // Codes come from this crate or were checked when a fault was parsed.
        *response.status_mut() = http::StatusCode::from_u16(self.status).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(header::SERVER, HeaderValue::from_static("uvicorn"));
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let encoding = self.encoding.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(encoding)) = encoding {
            headers.insert(header::CONTENT_ENCODING, encoding);
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let location = self.location.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(location)) = location {
            headers.insert(header::LOCATION, location);
        } else {
            let kind = match self {
                Self { is_json: true, .. } => "application/json",
                Self { closes: true, .. } => "text/plain",
                _ => "text/plain; charset=utf-8",
            };
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(after) = self.retry_after.and_then(|after| HeaderValue::from_str(&after).ok()) {
            headers.insert(header::RETRY_AFTER, after);
        }
        response
    }
}

//! The request to become a WebSocket, and its answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, SERVER, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::Subprotocol;
use crate::fault::FaultKind;
use crate::http_reply::HttpReply;
use crate::world::Protocol;

/// The text that is hashed with the key (RFC 6455).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A WebSocket that was agreed on.
#[derive(Debug)]
pub(crate) struct Upgrade {
    pub(super) path: Path,
    pub(super) subprotocol: Subprotocol,
    pub(super) headers: HeaderMap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Data,
    DryRun,
}

impl Upgrade {
    pub(crate) fn is_for_data(&self) -> bool {
        self.path == Path::Data
    }
}

/// Whether a request asks to become a WebSocket.
pub(crate) fn is_upgrade(head: &Parts) -> bool {
    let lists = |name: &HeaderName, word: &str| {
        let values = head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    head.method == "GET" && lists(&CONNECTION, "upgrade") && lists(&UPGRADE, "websocket")
}

/// Reads a request to become a WebSocket.
///
/// # Errors
///
/// The refusal of a bad handshake, or of a path without WebSocket, such as every path of an HTTP
/// port.
pub(crate) fn agree(head: &Parts, protocol: Protocol) -> Result<Upgrade, HttpReply> {
    let bad = |what: String| {
        HttpReply::refusal(400, format!("Failed to open a WebSocket connection: {what}.\n"))
    };
    let Some(key) = text(&head.headers, &SEC_WEBSOCKET_KEY) else {
        return Err(bad("missing Sec-WebSocket-Key header".into()));
    };
    if STANDARD.decode(key).map_or(0, |nonce| nonce.len()) != 16 {
        return Err(bad(format!("invalid Sec-WebSocket-Key header: {key}")));
    }
    match text(&head.headers, &SEC_WEBSOCKET_VERSION) {
        Some("13") => {}
        Some(version) => {
            return Err(bad(format!("invalid Sec-WebSocket-Version header: {version}")));
        }
        None => return Err(bad("missing Sec-WebSocket-Version header".into())),
    }
    let path = match (protocol, head.uri.path()) {
        (Protocol::WebSocket | Protocol::All, "/") => Path::Data,
        (Protocol::WebSocket | Protocol::All, "/dry_run") => Path::DryRun,
        _ => return Err(HttpReply::refusal(403, String::new())),
    };
    // The whole value counts: a list with `bytes` in it is not `bytes`.
    let subprotocol = match text(&head.headers, &SEC_WEBSOCKET_PROTOCOL) {
        Some("bytes") => Subprotocol::Bytes,
        _ => Subprotocol::Json,
    };
    Ok(Upgrade { path, subprotocol, headers: head.headers.clone() })
}

/// The answer to an upgrade that is agreed on. It names a subprotocol only for a fault.
pub(crate) fn response<B>(upgrade: &Upgrade, fault: Option<&FaultKind>, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let key = upgrade.headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let mut accept = accept(key.unwrap_or_default());
    let headers = response.headers_mut();
    match fault {
        Some(FaultKind::Malformed) => accept = STANDARD.encode([0; 20]),
        Some(FaultKind::Subprotocol(name)) => {
            // It was checked when the fault was parsed.
            if let Ok(name) = HeaderValue::from_str(name) {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, name);
            }
        }
        _ => {}
    }
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    // Base64 is plain text.
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    headers.insert(SERVER, HeaderValue::from_static("uvicorn"));
    response
}

fn accept(key: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(GUID);
    STANDARD.encode(hash.digest().bytes())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_accepted_as_rfc_6455_says() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}

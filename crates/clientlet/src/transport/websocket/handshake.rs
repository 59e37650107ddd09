//! The upgrade of an HTTP/1.1 connection to WebSocket.
//!
//! Jina's gateways never name a subprotocol in their answer, whichever was asked for, and they
//! compare the requested subprotocols as one text. Ready-made handshakes refuse such an answer, or
//! cannot send such a request.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sha1_smol::Sha1;
use tokio::time::timeout;
use tokio_websockets::{ClientBuilder, Limits, WebSocketStream};

#[cfg(fuzzing)]
use futures_util::StreamExt as _;

use crate::config::{Credentials, Draft};
use crate::connect::{Connector, Heard, Spoken};
use crate::error::{AttemptError, Detail, Event, Hint};
use crate::foreign::shorten;
use crate::transport::content::Content;
use crate::transport::redirect::{Redirects, Unfollowed, describe};
use crate::transport::retry_after::retry_after;
use crate::transport::{HEAD_LIMIT, is_too_large_a_head, not_http, too_large_a_head};

/// A WebSocket over any kind of connection.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What both sides of a handshake append to the key (RFC 6455, 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The maximum number of bytes that are read of a refusal's body.
const REFUSAL_LIMIT: usize = 64 << 10;
/// The longest time for a refusal's body.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

/// Connects to `uri`, upgrades, and follows redirects. Also returns what the connection has brought. An upgrade that was refused for want of
/// credentials is tried once more with new ones, if there is a hook for them. No part of a request is
/// sent before that.
pub(super) async fn connect(
    connector: &Connector,
    credentials: &Credentials,
    uri: &Uri,
    headers: &HeaderMap,
    subprotocol: &'static str,
    answer_limit: usize,
) -> Result<(Socket, Heard), AttemptError> {
    let (mut redirects, mut target, mut was_refused) = (Redirects::default(), None, false);
    loop {
        let uri = target.as_ref().unwrap_or(uri);
        let (method, body) = (&Method::GET, &Bytes::new());
        let own = credentials.complete(Draft { method, uri, headers, body, was_refused }).await?;
        let headers = own.as_ref().unwrap_or(headers);
        let follow = |status, answer: &mut HeaderMap| {
            credentials.learn(uri, headers, answer);
            redirects.follow((status, answer), uri, headers)
        };
        match connect_once(connector, uri, headers, subprotocol, answer_limit, follow).await {
            Ok((Upgrade::Done(socket), heard)) => return Ok((*socket, heard)),
            Ok((Upgrade::Elsewhere(to), _)) => target = Some(to),
            Err(error) if credentials.renews(&error, &mut was_refused) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The answer to an upgrade.
enum Upgrade {
    // Boxed, because it is large.
    Done(Box<Socket>),
    /// The target of a redirect that is to be followed.
    Elsewhere(Uri),
}

/// Takes note of an answer, which may be a redirect.
trait Follow: FnOnce(StatusCode, &mut HeaderMap) -> Option<Result<Uri, Unfollowed>> {}

impl<F: FnOnce(StatusCode, &mut HeaderMap) -> Option<Result<Uri, Unfollowed>>> Follow for F {}

async fn connect_once(
    connector: &Connector,
    uri: &Uri,
    headers: &HeaderMap,
    subprotocol: &'static str,
    answer_limit: usize,
    follow: impl Follow,
) -> Result<(Upgrade, Heard), AttemptError> {
    let io = connector.open(uri).await?;
    let (spoken, heard) = (io.spoken(), io.heard());
    let key = STANDARD.encode(fastrand::u128(..).to_le_bytes());
    let request = request(uri, headers, subprotocol, &key);
    let upgraded = upgrade(io, &spoken, request, &key, subprotocol, answer_limit, follow).await;
    match upgraded {
        Err(error) if matches!(error.event, Event::ClosedFresh | Event::NotHttp) => {
            if let Some(refusal) = spoken.refusal() {
                return Err(refusal);
            }
            let instead = connector.instead(uri, &spoken, false).await;
            Err(instead.map_or(error, |seems| not_http(seems).before_sending("upgrade")))
        }
        upgraded => upgraded.map(|upgrade| (upgrade, heard)),
    }
}

/// Sends the upgrade and reads the answer. `spoken` is the protocol of the first bytes from the
/// other side.
async fn upgrade(
    io: impl Read + Write + Unpin + Send + 'static,
    spoken: &Spoken,
    request: Request<Empty<Bytes>>,
    key: &str,
    subprotocol: &'static str,
    answer_limit: usize,
    follow: impl Follow,
) -> Result<Upgrade, AttemptError> {
    let upgrading = async {
        let lost = |error| lost(error, spoken);
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(io).await.map_err(lost)?;
        // The task ends with the connection, which the upgrade takes over.
        tokio::spawn(connection.with_upgrades());
        let mut response = sender.send_request(request).await.map_err(lost)?;
        let followed = follow(response.status(), response.headers_mut());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return match followed {
                Some(Ok(to)) => Ok(Upgrade::Elsewhere(to)),
                unfollowed => Err(refused(response, unfollowed.and_then(Result::err)).await),
            };
        }
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if accepted != Some(accept(key).as_bytes()) {
            let what = "the gateway upgraded, but not to this connection's WebSocket";
            return Err(AttemptError::new(Event::NotWebSocket, what));
        }
        let chosen = response.headers().get(SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes);
        if chosen.is_some_and(|chosen| chosen != subprotocol.as_bytes()) {
            let what = format!("the gateway insists on another subprotocol than {subprotocol}");
            return Err(AttemptError::new(Event::NotWebSocket, what));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(lost)?;
        let limits = Limits::default().max_payload_len(Some(answer_limit));
        let socket = ClientBuilder::new().limits(limits).take_over(TokioIo::new(upgraded));
        Ok(Upgrade::Done(Box::new(socket)))
    };
    upgrading.await.map_err(|error: AttemptError| error.before_sending("upgrade"))
}

fn request(
    uri: &Uri,
    headers: &HeaderMap,
    subprotocol: &'static str,
    key: &str,
) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    // Only the path, because Jina answers an absolute URI with 403.
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    let map = request.headers_mut();
    map.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    let host = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host.filter(|_| !map.contains_key(HOST)) {
        map.insert(HOST, host);
    }
    map.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    map.insert(UPGRADE, HeaderValue::from_static("websocket"));
    map.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    map.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    let key = HeaderValue::from_str(key).expect("base64 is valid in a header");
    map.insert(SEC_WEBSOCKET_KEY, key);
    request
}

/// Returns the gateway's proper answer to `key`.
fn accept(key: &str) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(MAGIC);
    STANDARD.encode(sha1.digest().bytes())
}

fn lost(error: hyper::Error, spoken: &Spoken) -> AttemptError {
    if is_too_large_a_head(&error) && !spoken.is_http2() {
        return AttemptError::new(Event::TooLarge, too_large_a_head()).with_source(error);
    }
    if error.is_parse() || spoken.is_http2() {
        return not_http(Hint::PortForAnother).with_source(error);
    }
    let what = "the connection was lost before it was upgraded";
    AttemptError::new(Event::ClosedFresh, what).with_source(error)
}

/// Returns the error for an answer that is not an upgrade. A short body is shown.
async fn refused(
    response: http::Response<hyper::body::Incoming>,
    unfollowed: Option<Unfollowed>,
) -> AttemptError {
    let status = response.status();
    let detail = Detail::of_http(status, response.headers());
    let again = retry_after(response.headers(), SystemTime::now());
    let redirect = unfollowed.map(|why| describe(response.headers(), why));
    let (mut head, body) = response.into_parts();
    let body = match Content::of(&mut head.headers, body) {
        Ok(content) => timeout(REFUSAL_TIME, content.within(REFUSAL_LIMIT)).await.ok().flatten(),
        Err(_) => None,
    };
    let body = body.unwrap_or_default();
    let event = match status.as_u16() {
        // A gateway's HTTP port ignores the upgrade and answers an ordinary GET.
        200..=299 => Event::NotWebSocket,
        // The gateway itself failed, as over HTTP.
        500 => Event::PlainError500,
        status => Event::of_status(status),
    };
    let text = shorten(&String::from_utf8_lossy(&body));
    let mut what = format!("the gateway did not upgrade to WebSocket but answered {status}");
    if let Some(to) = redirect {
        what += &to;
    } else if !text.is_empty() {
        what += &format!(": {text}");
    }
    let mut error = AttemptError::new(event, what).with_detail(detail).asking(again.into());
    if event == Event::NotWebSocket {
        error = error.asking_whether(Hint::PortForHttp);
    } else if status == StatusCode::FORBIDDEN {
        // Some releases answer 403 where others do not understand the upgrade.
        error = error.asking_whether(Hint::UpgradeForbidden);
    } else if let Some(hint) = Hint::of_refusal(&text) {
        error = error.with_hint(hint);
    }
    error
}

/// Runs the upgrade for the fuzzer: the answer to an upgrade with the key of RFC 6455's example,
/// and the first message after it.
#[cfg(fuzzing)]
pub async fn answered_with(answer: impl Read + Write + Unpin + Send + 'static) -> bool {
    let (uri, key) = (Uri::from_static("http://h/"), "dGhlIHNhbXBsZSBub25jZQ==");
    let request = request(&uri, &HeaderMap::new(), "bytes", key);
    let follow = |_: StatusCode, _: &mut HeaderMap| None;
    match upgrade(answer, &Spoken::default(), request, key, "bytes", 1 << 16, follow).await {
        Ok(Upgrade::Done(mut socket)) => matches!(socket.next().await, Some(Ok(_))),
        Ok(Upgrade::Elsewhere(_)) => false,
        Err(error) => {
            assert!(!error.may_have_run, "nothing was sent yet");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accepted_key_matches_the_example_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_upgrade_has_only_the_path_and_one_subprotocol() {
        let uri = Uri::from_static("http://h:1/below?x");
        let request = request(&uri, &HeaderMap::new(), "bytes", "key");
        assert_eq!(request.uri(), "/below?x");
        assert_eq!(request.headers()["host"], "h:1");
        assert_eq!(request.headers()["sec-websocket-protocol"], "bytes");
    }
}

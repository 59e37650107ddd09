//! Reads the head of an answer.

use ::http::header::{CONTENT_TYPE, HeaderValue};
use ::http::{HeaderMap, HeaderName, StatusCode};

use super::super::multiplex::Ending;
use super::{failure, status};
#[cfg(feature = "compression")]
use crate::compression::Coding;
use crate::foreign::shorten;

/// The header that names the compression of messages.
pub(super) static ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The header that names the compressions that the client reads.
#[cfg(feature = "compression")]
pub(super) static ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// What the head tells about the messages after it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Head {
    /// Whether the head already contains the status.
    pub(super) is_told: bool,
    /// How messages may be compressed.
    #[cfg(feature = "compression")]
    pub(super) coding: Option<Coding>,
}

/// Reads the head before messages. Any other head is an error.
pub(super) fn read_head(status: StatusCode, headers: &HeaderMap) -> Result<Head, Ending> {
    let is_grpc = is_grpc(headers);
    let is_ok = status == StatusCode::OK;
    let told = if is_grpc { status::read(headers) } else { None };
    if let Some(Err(mut ending)) = told {
        ending.detail.http = (!is_ok).then_some(status);
        return Err(ending);
    }
    if !status.is_success() {
        return Err(failure::refused(status, headers));
    }
    let value = |name| headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let shown = |name| shorten(&String::from_utf8_lossy(value(name)));
    if !is_grpc || !is_ok {
        let and = if is_ok { String::new() } else { format!(" with {status}") };
        let kind = shown(&CONTENT_TYPE);
        return Err(failure::not_grpc(format!(
            "the answer is {kind:?}{and}, not application/grpc"
        )));
    }
    #[cfg_attr(not(feature = "compression"), allow(unused_mut))]
    let mut head = Head { is_told: told.is_some(), ..Head::default() };
    match value(&ENCODING) {
        b"" | b"identity" => Ok(head),
        #[cfg(feature = "compression")]
        b"gzip" => {
            head.coding = Some(Coding::Gzip);
            Ok(head)
        }
        // It is not asked for, but some gateways are told to use it for all clients.
        #[cfg(feature = "compression")]
        b"deflate" => {
            head.coding = Some(Coding::Deflate);
            Ok(head)
        }
        _ => {
            let encoding = shown(&ENCODING);
            Err(failure::not_grpc(format!(
                "the answer is compressed as {encoding:?}, which the client {UNREADABLE}"
            )))
        }
    }
}

/// What the client says of a compression that it does not read.
const UNREADABLE: &str = match cfg!(feature = "compression") {
    true => "cannot read; it reads gzip and deflate",
    false => {
        "did not ask for; it reads gzip with the feature \"compression\" of the crate clientlet"
    }
};

/// Whether the head belongs to a gRPC answer.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    match headers.get(CONTENT_TYPE) {
        // The name of gRPC-Web begins alike, but its framing differs.
        Some(kind) => kind
            .as_bytes()
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' '))),
        None => headers.contains_key(&status::STATUS),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{Again, Event, GrpcCode};

    #[test]
    fn a_head_announces_messages_or_gives_the_reason_why_there_are_none() {
        let read = |status: u16, headers: &[(&'static str, &'static str)]| {
            let header = |(name, value): &(&'static str, &'static str)| {
                (::http::HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            let headers = headers.iter().map(header).collect();
            read_head(StatusCode::from_u16(status).unwrap(), &headers)
        };
        let grpc = ("content-type", "application/grpc");
        let proto = ("content-type", "application/grpc+proto");
        let html = ("content-type", "text/html");
        let after = ("retry-after", "2");
        let plain = |is_told| Head { is_told, ..Head::default() };
        assert_eq!(read(200, &[grpc]).unwrap(), plain(false));
        assert_eq!(read(200, &[proto, ("grpc-encoding", "identity")]).unwrap(), plain(false));
        assert_eq!(read(200, &[grpc, ("grpc-status", "0")]).unwrap(), plain(true));
        let two = Again::After(Duration::from_secs(2));
        let busy = |error: Ending| error.event == Event::RateLimited429 && error.again == two;
        assert!(busy(read(429, &[html, after]).unwrap_err()));
        assert!(busy(read(429, &[grpc, after, ("grpc-status", "0")]).unwrap_err()));
        // A gRPC status counts even without a content type.
        for status in [204, 503] {
            let error = read(status, &[after, ("grpc-status", "8")]).unwrap_err();
            assert_eq!((error.event, error.again), (Event::GrpcExhausted, two));
            assert_eq!(error.detail.grpc, Some(GrpcCode::ResourceExhausted));
            assert_eq!(error.detail.http, StatusCode::from_u16(status).ok());
        }
        let not_grpc = |error: Ending| error.event == Event::NotGrpc;
        assert!(not_grpc(read(200, &[html, ("grpc-status", "8")]).unwrap_err()));
        assert!(not_grpc(read(200, &[]).unwrap_err()));
        assert!(not_grpc(read(204, &[grpc]).unwrap_err()));
        assert!(not_grpc(read(200, &[grpc, ("grpc-encoding", "snappy")]).unwrap_err()));
        for name in ["gzip", "deflate"] {
            match read(200, &[grpc, ("grpc-encoding", name)]) {
                #[cfg(feature = "compression")]
                Ok(head) => assert_eq!(head.coding.map(Coding::name), Some(name)),
                read => assert!(not_grpc(read.unwrap_err())),
            }
        }
        let details = ("grpc-status-details-bin", "!!!");
        let error = read(200, &[grpc, ("grpc-status", "3"), details]).unwrap_err();
        assert_eq!(error.event, Event::Unreadable);
    }
}

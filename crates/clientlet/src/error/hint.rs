//! What may help against an error: the one place that decides it, and that has its texts.

use std::fmt;

use http::StatusCode;

use super::{Detail, Event, GrpcCode};

/// What may help against an error, where the client can tell. `Display` says it in words.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// The address seems to be the gateway's port for HTTP.
    PortForHttp,
    /// The address seems to be the gateway's port for WebSocket.
    PortForWebsocket,
    /// The address seems to be the gateway's port for HTTP or for WebSocket.
    PortForHttpOrWebsocket,
    /// The address seems to be the gateway's port for gRPC.
    PortForGrpc,
    /// The address is a port of some other protocol.
    PortForAnother,
    /// The address seems to be a port for TLS.
    PortForTls,
    /// The address seems to be a port without TLS.
    PortWithoutTls,
    /// The server's certificate has expired or is not valid yet.
    CertificateDates,
    /// The server's certificate is for another name.
    CertificateName,
    /// The server's certificate was issued by an authority that is not trusted.
    CertificateIssuer,
    /// The server wants a client certificate, or another one.
    ClientCertificate,
    /// The connection goes through a proxy, which did not make it.
    Proxy,
    /// The proxy wants credentials, or other ones.
    ProxyCredentials,
    /// An upgrade to WebSocket is forbidden (403): the address is the gateway's port for HTTP, its
    /// path is wrong, or credentials are needed.
    UpgradeForbidden,
    /// Credentials are needed, or other ones.
    Credentials,
    /// The request is larger than the gateway, or a proxy before it, allows.
    RequestTooLarge,
    /// The answer is larger than [`answer_limit`](crate::ClientBuilder::answer_limit).
    AnswerTooLarge,
    /// The gateway does not show a status that names the documents it speaks. The URL's path may be
    /// wrong, or the server may be no Jina gateway; if it is one,
    /// [`docarray`](crate::ClientBuilder::docarray) sets the documents.
    NoStatus,
    /// The server has no such path or method: the URL's path is wrong, or the endpoint's name.
    Path,
    /// The gateway lists its endpoints, and the request's endpoint is not among them.
    UnknownEndpoint,
    /// The endpoint gives no stream of documents: it does not stream, or the gateway speaks
    /// documents v1. [`post`](crate::Client::post) may be meant.
    NoStreams,
}

impl Hint {
    /// The hint at what the status, code or event of a failure says by itself.
    pub(super) fn of(event: Event, detail: &Detail) -> Option<Hint> {
        if event == Event::SocketOversize || event == Event::StreamOversize {
            return Some(Hint::AnswerTooLarge);
        }
        match (detail.http, detail.grpc, detail.close) {
            (Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), ..)
            | (_, Some(GrpcCode::Unauthenticated | GrpcCode::PermissionDenied), _) => {
                Some(Hint::Credentials)
            }
            (Some(StatusCode::PAYLOAD_TOO_LARGE), ..) | (_, _, Some(MESSAGE_TOO_BIG)) => {
                Some(Hint::RequestTooLarge)
            }
            (Some(StatusCode::NOT_FOUND), ..)
            | (_, Some(GrpcCode::Unimplemented | GrpcCode::NotFound), _) => Some(Hint::Path),
            _ => None,
        }
    }

    /// The hint at what a refusal says in words: a server says so in the body of a 400.
    pub(crate) fn of_refusal(text: &str) -> Option<Hint> {
        let says = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
        match () {
            () if says(&TLS_SERVERS) => Some(Hint::PortForTls),
            () if says(&CERTIFICATE_WANTED) => Some(Hint::ClientCertificate),
            () => None,
        }
    }

    /// The hint at what a gateway says with a status of gRPC: grpcio refuses requests that are too
    /// large by one of two codes, which also have other meanings.
    pub(crate) fn of_grpc(code: GrpcCode, message: &str) -> Option<Hint> {
        let is_too_large = match code {
            GrpcCode::ResourceExhausted => message.contains("larger than max"),
            GrpcCode::OutOfRange => message.contains("too large"),
            _ => false,
        };
        is_too_large.then_some(Hint::RequestTooLarge)
    }

    /// Says what was found at an address, for the message of an error.
    pub(crate) fn found(self) -> String {
        let found = match self {
            Hint::PortForHttpOrWebsocket => "HTTP/1.1 is spoken there",
            Hint::PortForGrpc => "HTTP/2 is spoken there, not HTTP/1.1",
            Hint::PortForTls => "TLS seems to be spoken there",
            Hint::PortWithoutTls => "TLS is not spoken there",
            _ => "the answer is not HTTP/1.1",
        };
        format!("{found}; {self}")
    }
}

/// The code with which a WebSocket is closed for a message that is too large (RFC 6455, 7.4.1).
const MESSAGE_TOO_BIG: u16 = 1009;

/// How servers refuse a request without TLS at a port for TLS: nginx and Go.
const TLS_SERVERS: [&str; 2] =
    ["plain HTTP request was sent to HTTPS port", "HTTP request to an HTTPS server"];

/// How nginx refuses a request without a client certificate, or with one that it does not trust: the
/// handshake succeeds before.
const CERTIFICATE_WANTED: [&str; 2] =
    ["No required SSL certificate was sent", "The SSL certificate error"];

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hint::PortForHttp | Hint::UpgradeForbidden => "is it the gateway's port for HTTP?",
            Hint::PortForWebsocket => "is it the gateway's port for WebSocket?",
            Hint::PortForHttpOrWebsocket => "is it the gateway's port for HTTP or WebSocket?",
            Hint::PortForGrpc => "is it the gateway's port for gRPC?",
            Hint::PortForAnother => "is this another protocol's port?",
            Hint::PortForTls => "is it a port for TLS? then its URL begins with https, wss or grpcs",
            Hint::PortWithoutTls => {
                "is it a port without TLS? then its URL begins with http, ws or grpc"
            }
            Hint::CertificateDates => {
                "the server needs a new certificate, unless this machine's clock is wrong"
            }
            Hint::CertificateName => {
                "is the URL's host right? a server_name expects the certificate of another name"
            }
            Hint::CertificateIssuer => {
                "is it the right server? a CA that is given is trusted beside the system's"
            }
            Hint::ClientCertificate => "the server wants a client certificate, or another one",
            Hint::Proxy => "is the proxy right, and may it connect to the gateway?",
            Hint::ProxyCredentials => "the credentials of a proxy are part of the proxy's URL",
            Hint::Credentials => "the gateway, or a proxy before it, wants credentials, or other ones",
            Hint::RequestTooLarge => {
                "the gateway, or a proxy before it, limits the size of requests: send fewer documents in \
                 each, or raise the limit there"
            }
            Hint::AnswerTooLarge => "a larger answer_limit takes it",
            Hint::NoStatus => {
                "is the URL's path right, and is it a Jina gateway? if so, set whether it speaks documents v1 \
                 or v2"
            }
            Hint::Path => "are the URL's path and the endpoint's name right?",
            Hint::UnknownEndpoint => "is the endpoint's name right? the gateway lists its endpoints",
            Hint::NoStreams => "the endpoint gives no stream of documents: post to it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_in_words_gives_a_hint() {
        for (text, hint) in [
            (
                "<title>400 No required SSL certificate was sent</title>",
                Some(Hint::ClientCertificate),
            ),
            ("<center>The SSL certificate error</center>", Some(Hint::ClientCertificate)),
            ("The plain HTTP request was sent to HTTPS port", Some(Hint::PortForTls)),
            ("Client sent an HTTP request to an HTTPS server.", Some(Hint::PortForTls)),
            ("400 Bad Request", None),
        ] {
            assert_eq!(Hint::of_refusal(text), hint, "{text}");
        }
    }

    #[test]
    fn a_status_a_code_or_an_event_hints_at_what_it_says_by_itself() {
        let none = Detail::default;
        for (event, detail, hint) in [
            (
                Event::Refused,
                Detail { http: Some(StatusCode::UNAUTHORIZED), ..none() },
                Hint::Credentials,
            ),
            (
                Event::Refused,
                Detail { http: Some(StatusCode::FORBIDDEN), ..none() },
                Hint::Credentials,
            ),
            (
                Event::GrpcRefused,
                Detail { grpc: Some(GrpcCode::PermissionDenied), ..none() },
                Hint::Credentials,
            ),
            (
                Event::Refused,
                Detail { http: Some(StatusCode::PAYLOAD_TOO_LARGE), ..none() },
                Hint::RequestTooLarge,
            ),
            (Event::SocketDropped, Detail { close: Some(1009), ..none() }, Hint::RequestTooLarge),
            (
                Event::NotFound404,
                Detail { http: Some(StatusCode::NOT_FOUND), ..none() },
                Hint::Path,
            ),
            (
                Event::GrpcUnimplemented,
                Detail { grpc: Some(GrpcCode::Unimplemented), ..none() },
                Hint::Path,
            ),
            (Event::SocketOversize, none(), Hint::AnswerTooLarge),
            (Event::StreamOversize, none(), Hint::AnswerTooLarge),
        ] {
            assert_eq!(Hint::of(event, &detail), Some(hint), "{event:?} {detail:?}");
        }
        for (event, detail) in [
            (Event::Refused, Detail { http: Some(StatusCode::BAD_REQUEST), ..none() }),
            (Event::SocketDropped, Detail { close: Some(1011), ..none() }),
            (Event::GrpcExhausted, Detail { grpc: Some(GrpcCode::ResourceExhausted), ..none() }),
            (Event::ConnectFailed, none()),
        ] {
            assert_eq!(Hint::of(event, &detail), None, "{event:?} {detail:?}");
        }
    }

    #[test]
    fn a_refusal_of_nginx_is_told_by_its_page() {
        for (page, hint) in [
            ("The plain HTTP request was sent to HTTPS port", Some(Hint::PortForTls)),
            ("No required SSL certificate was sent", Some(Hint::ClientCertificate)),
            ("The SSL certificate error", Some(Hint::ClientCertificate)),
            ("Request Header Or Cookie Too Large", None),
        ] {
            let page = format!("<html> <head><title>400 {page}</title></head> ..");
            assert_eq!(Hint::of_refusal(&page), hint, "{page}");
        }
    }

    #[test]
    fn a_code_with_several_meanings_is_told_by_its_message() {
        let large = "Received message larger than max (9 vs. 4)";
        assert_eq!(Hint::of_grpc(GrpcCode::ResourceExhausted, large), Some(Hint::RequestTooLarge));
        assert_eq!(Hint::of_grpc(GrpcCode::ResourceExhausted, "slow down"), None);
        assert_eq!(Hint::of_grpc(GrpcCode::Internal, large), None);
    }
}

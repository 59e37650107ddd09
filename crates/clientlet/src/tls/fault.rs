//! Says why a handshake failed, in words.

use std::fmt;
use std::io;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
};
use time::OffsetDateTime;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::error::Hint;
use crate::foreign::{listed, shorten};

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Trying again does not help. The hint is what may help.
    Final(String, Option<Hint>),
    /// The other side does not speak TLS.
    NotTls,
    /// The other side speaks another protocol over TLS than the one that was asked for.
    OtherProtocol,
    /// The other side had a fault of its own.
    Passing(String),
}

/// Says why rustls ended a handshake.
pub(crate) fn told(error: &Error) -> Fault {
    let what = match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType)
        | Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion)
        | Error::InvalidMessage(InvalidMessage::MessageTooLarge) => return Fault::NotTls,
        Error::InvalidCertificate(error) => {
            let (why, hint) = of_certificate(error);
            return Fault::Final(format!("the server's certificate {why}"), hint);
        }
        Error::AlertReceived(alert) => return of_alert(*alert),
        Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => {
            "a message of the server's TLS handshake is larger than 64 KiB, such as a long chain of certificates"
                .into()
        }
        Error::PeerIncompatible(
            PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::ServerDoesNotSupportTls12Or13,
        ) => "the server speaks only versions of TLS that are older than the oldest one allowed"
            .into(),
        Error::PeerIncompatible(why) => format!("the server's TLS does not fit: {why:?}"),
        error => format!("the TLS handshake failed: {error}"),
    };
    Fault::Final(what, None)
}

/// Says what the server's alert means.
fn of_alert(alert: AlertDescription) -> Fault {
    use AlertDescription as A;
    let asks = Some(Hint::ClientCertificate);
    let (what, hint) = match alert {
        A::NoApplicationProtocol => return Fault::OtherProtocol,
        A::InternalError | A::UserCanceled | A::CloseNotify => {
            return Fault::Passing(format!(
                "the server gave up the TLS handshake (alert {alert:?})"
            ));
        }
        A::CertificateRequired | A::NoCertificate => {
            ("the server asks for a client certificate, and none was given".into(), asks)
        }
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied
        | A::DecryptError => (
            format!(
                "the server refuses the client certificate, or that none was given (alert {alert:?})"
            ),
            asks,
        ),
        A::ProtocolVersion => (
            "the server speaks none of the versions of TLS that are allowed (alert ProtocolVersion)"
                .into(),
            None,
        ),
        A::HandshakeFailure | A::InsufficientSecurity => (
            format!(
                "the server has no cipher in common with the client, or wants a client certificate (alert \
                 {alert:?})"
            ),
            None,
        ),
        A::UnrecognisedName => (
            "the server does not know the name that it was asked for (alert UnrecognisedName)"
                .into(),
            Some(Hint::CertificateName),
        ),
        alert => (format!("the server refused the TLS handshake (alert {alert:?})"), None),
    };
    Fault::Final(what, hint)
}

/// Says what is wrong with the server's certificate, and what may help.
fn of_certificate(error: &CertificateError) -> (String, Option<Hint>) {
    let (dates, name) = (Some(Hint::CertificateDates), Some(Hint::CertificateName));
    let issuer = Some(Hint::CertificateIssuer);
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            (format!("expired on {}", day(*not_after)), dates)
        }
        CertificateError::Expired => ("has expired".to_owned(), dates),
        CertificateError::NotValidYetContext { not_before, .. } => {
            let what = format!("is not valid before {}; is the clock right?", day(*not_before));
            (what, dates)
        }
        CertificateError::NotValidYet => {
            ("is not valid yet; is the clock right?".to_owned(), dates)
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let what = format!("is not for {:?} but for {}", expected.to_str(), names(presented));
            (what, name)
        }
        CertificateError::NotValidForName => ("is for another name".to_owned(), name),
        CertificateError::UnknownIssuer => ("has an issuer that is not trusted".to_owned(), issuer),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            (WRONG_USAGE.to_owned(), None)
        }
        CertificateError::Revoked => ("was revoked".to_owned(), None),
        CertificateError::Other(OtherError(other)) => match other.downcast_ref::<UnknownIssuer>() {
            Some(unknown) => (unknown.to_string(), issuer),
            // These types are not public.
            None if other.to_string() == "CaUsedAsEndEntity" => (CA_AS_SERVER.to_owned(), None),
            None if other.to_string().contains("invalid extensions") => {
                (WRONG_USAGE.to_owned(), None)
            }
            None => (format!("is not accepted: {}", shorten(&other.to_string())), None),
        },
        error => (format!("is not accepted: {}", shorten(&error.to_string())), None),
    }
}

/// `openssl req -x509` makes such certificates.
const CA_AS_SERVER: &str = "is a CA's own (CA:TRUE), which a server may not use even if the CA is trusted; \
                            give the server one with basicConstraints CA:FALSE";

const WRONG_USAGE: &str = "may not be used by servers (its extended key usage lacks serverAuth)";

/// The names in a certificate; rustls gives each with its kind, `DnsName("localhost")`.
fn names(presented: &[String]) -> String {
    let name = |shown: &String| {
        let inner = shown.split_once('(').map_or(shown.as_str(), |(_, inner)| inner);
        inner.trim_matches(['(', ')', '"']).to_owned()
    };
    match presented {
        [] => "no name at all".to_owned(),
        presented => listed(&presented.iter().map(name).collect::<Vec<_>>()),
    }
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(time) => time.date().to_string(),
        Err(_) => "a day beyond the calendar".to_owned(),
    }
}

/// The fault of a certificate whose chain leads to no trusted root.
#[derive(Clone, Debug)]
pub(super) struct UnknownIssuer {
    issuer: Option<String>,
    is_self_signed: bool,
}

impl UnknownIssuer {
    /// Of a server's chain of certificates, its own first: the issuer of the last one that is linked to it
    /// is the root that would have to be trusted.
    pub(super) fn of<'c>(chain: impl Iterator<Item = &'c CertificateDer<'c>>) -> UnknownIssuer {
        let mut last: Option<Certificate> = None;
        let mut length = 0;
        for certificate in chain {
            let Ok(certificate) = Certificate::from_der(certificate) else { break };
            let is_linked = last.as_ref().is_none_or(|last| {
                last.tbs_certificate().issuer() == certificate.tbs_certificate().subject()
            });
            if is_linked {
                last = Some(certificate);
                length += 1;
            }
        }
        let Some(last) = last else { return UnknownIssuer { issuer: None, is_self_signed: false } };
        let tbs = last.tbs_certificate();
        UnknownIssuer {
            issuer: Some(shorten(&tbs.issuer().to_string())),
            is_self_signed: length == 1 && tbs.issuer() == tbs.subject(),
        }
    }
}

impl fmt::Display for UnknownIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(issuer) = &self.issuer else {
            return f.write_str("has an issuer that is not trusted");
        };
        match self.is_self_signed {
            true => write!(f, "is self-signed by {issuer:?}, which is not trusted"),
            false => write!(f, "is issued by {issuer:?}, which is not trusted"),
        }
    }
}

impl std::error::Error for UnknownIssuer {}

/// Says what the alert means with which the server refused the client's certificate, if it did so. In
/// TLS 1.3 it does so only when the client may have sent something already, which it has not looked at.
/// Other alerts, and records that cannot be read, do not tell what the server has looked at.
pub(crate) fn of_end(error: &io::Error) -> Option<(String, Option<Hint>)> {
    match told(error.get_ref()?.downcast_ref()?) {
        Fault::Final(what, hint @ Some(Hint::ClientCertificate)) => Some((what, hint)),
        _ => None,
    }
}

//! Decides which documents a gateway speaks, and at which address it takes them.

use super::{Gateway, Kept};
use crate::error::{AttemptError, ErrorKind, Event, Hint};
use crate::foreign::shorten;
use crate::message::{DocArray, GatewayStatus};
use crate::transport::{Ask, Listing, Transport};

/// What a gateway has told.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) gateway: Gateway,
    /// Why it does not list its endpoints, if it was asked for them.
    pub(super) unlisted: Option<AttemptError>,
}

/// Asks for the gateway's status, and for its endpoints if they matter. `set` is the client's
/// setting. `kept` holds what an earlier try learned before it failed, and takes what this try
/// learns before it fails.
///
/// # Errors
/// If the gateway could not be asked, does not say which documents it speaks, or contradicts the
/// setting.
pub(super) async fn learn(
    transport: &dyn Transport,
    set: Option<DocArray>,
    kept: &Kept,
    ask: Ask<'_>,
) -> Result<Learned, AttemptError> {
    let (facts, questions) = (transport.facts(), transport.questions());
    let told = match kept.get() {
        Some(told) => Ok(told),
        None => settled(set, questions.status(ask).await),
    };
    let is_listed = match &told {
        // The endpoints do not matter if requests name them. Over gRPC 3.14.1 cannot list its
        // endpoints, and 3.33.1 fails at it. A bare Deployment has no status, but has paths.
        Ok(Told { docarray: DocArray::V1, is_by_status }) => facts.has_paths && !is_by_status,
        Ok(Told { docarray: DocArray::V2, .. }) => true,
        // The list may show which documents are spoken by a gateway that hides its status.
        Err(error) => facts.has_paths && !error.retryable && error.event != Event::SettingDenied,
    };
    let mut unlisted = None;
    let listing = match is_listed {
        false => None,
        true => match questions.paths(ask).await {
            Ok(listing) => Some(listing),
            // Some gateways hide the list. Whether an endpoint exists then shows when it is posted
            // to.
            Err(error) if !error.retryable => {
                unlisted = Some(error);
                None
            }
            Err(error) => {
                if let Ok(told) = told {
                    kept.keep(told);
                }
                return Err(error);
            }
        },
    };
    kept.forget();
    let shown = listing.as_ref().and_then(|listing| listing.docarray);
    let docarray = match (told, shown) {
        (Ok(Told { docarray, is_by_status: false }), Some(shown)) if docarray != shown => {
            return Err(denied(docarray, &format!("its /openapi.json shows documents {shown}")));
        }
        (Ok(Told { docarray, .. }), _) => docarray,
        (Err(_), Some(shown)) => shown,
        (Err(error), None) => return Err(error),
    };
    if let Some((_, what)) = facts.denied.filter(|(denied, _)| *denied == docarray) {
        return Err(AttemptError::new(Event::EncodeFailed, what));
    }
    let Listing { is_by_name, endpoints, streams, .. } = listing.unwrap_or_default();
    let is_known = docarray == DocArray::V2 || shown.is_some();
    let has_paths = facts.has_paths && !is_by_name && is_known;
    let gateway = match facts.has_paths && !has_paths {
        // The list has paths, but the gateway takes names.
        true => Gateway { docarray, endpoints: None, streams: None, is_by_name: true },
        false => Gateway { docarray, endpoints, streams, is_by_name: !has_paths },
    };
    Ok(Learned { gateway, unlisted })
}

/// The decision about a gateway's documents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) docarray: DocArray,
    /// Whether the gateway's status decides. Otherwise only the client's setting does.
    pub(super) is_by_status: bool,
}

/// Decides which documents a gateway speaks: by its status, or by the client's setting if the
/// status does not say.
///
/// # Errors
/// If the status contradicts the setting, or if there is neither.
fn settled(
    set: Option<DocArray>,
    status: Result<GatewayStatus, AttemptError>,
) -> Result<Told, AttemptError> {
    let by_setting = |docarray| Ok(Told { docarray, is_by_status: false });
    let status = match (status, set) {
        (Ok(status), _) => status,
        // If there is no connection for the question, there is none for documents either.
        (Err(error), Some(_)) if error.kind == ErrorKind::Connect => return Err(error),
        (Err(_), Some(set)) => return by_setting(set),
        (Err(error), None) => return Err(hidden(error)),
    };
    match (status.docarray(), set) {
        (Some(docarray), Some(set)) if docarray != set => {
            let release = shorten(status.docarray_release().unwrap_or_default());
            Err(denied(set, &format!("its status names docarray {release}, which is {docarray}")))
        }
        (Some(docarray), _) => Ok(Told { docarray, is_by_status: true }),
        (None, Some(set)) => by_setting(set),
        (None, None) => {
            let what = "the gateway's status does not name its docarray release, so whether it \
                        speaks documents v1 or v2 must be set by hand";
            let error = AttemptError::new(Event::Unreadable, what).with_hint(Hint::NoStatus);
            Err(error.before_sending("GET /status"))
        }
    }
}

fn denied(set: DocArray, by: &str) -> AttemptError {
    let what = format!("the client is set to documents {set}, but the gateway is not: {by}");
    AttemptError::new(Event::SettingDenied, what)
}

/// Adds advice to the error of a gateway that does not say which documents it speaks. The error
/// keeps what was asked and answered, because the path may be wrong.
fn hidden(mut error: AttemptError) -> AttemptError {
    if error.kind == ErrorKind::NotFound {
        error.message +=
            "; if this is a gateway that hides its status, documents v1 or v2 must be set by hand";
        error.detail.hint = Some(Hint::NoStatus);
    }
    error
}

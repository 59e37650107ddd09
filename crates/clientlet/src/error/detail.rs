//! What is known of a failure beside its event, in the protocol's own terms.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::{GrpcCode, Hint};
use crate::secret::Mask;

/// What the gateway, or a proxy before it, said with a failure, and what that hints at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Detail {
    pub(crate) http: Option<StatusCode>,
    pub(crate) grpc: Option<GrpcCode>,
    /// The code of the close frame that ended a WebSocket.
    pub(crate) close: Option<u16>,
    /// The headers, or gRPC's metadata.
    pub(crate) headers: Option<Arc<HeaderMap>>,
    pub(crate) hint: Option<Hint>,
}

impl Detail {
    /// An answer over HTTP with this status and these headers.
    pub(crate) fn of_http(status: StatusCode, headers: &HeaderMap) -> Detail {
        let headers = Some(Arc::new(headers.clone()));
        Detail { http: Some(status), headers, ..Detail::default() }
    }

    /// Whether this is 401 or UNAUTHENTICATED.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.http == Some(StatusCode::UNAUTHORIZED) || self.grpc == Some(GrpcCode::Unauthenticated)
    }

    /// Marks the headers as sensitive in which a secret is repeated.
    pub(crate) fn hide(&mut self, mask: &Mask) {
        let Some(headers) = &mut self.headers else { return };
        let repeats =
            |value: &HeaderValue| mask.hide(&String::from_utf8_lossy(value.as_bytes())).is_some();
        if headers.values().any(repeats) {
            let values = Arc::make_mut(headers).values_mut().filter(|value| repeats(value));
            values.for_each(|value| value.set_sensitive(true));
        }
    }

    pub(crate) fn of_hint(hint: Hint) -> Detail {
        Detail { hint: Some(hint), ..Detail::default() }
    }
}

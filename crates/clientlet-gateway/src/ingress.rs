//! What an ingress before a gateway does: it demands authorization, and sets cookies.

use std::sync::{PoisonError, RwLock};

use http::header::{AUTHORIZATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// What is demanded and set from now on.
#[derive(Debug, Default)]
pub(crate) struct Ingress(RwLock<Orders>);

#[derive(Debug, Default)]
struct Orders {
    /// The only `Authorization` that is accepted.
    authorization: Option<String>,
    cookies: Vec<HeaderValue>,
}

impl Ingress {
    pub(crate) fn require_authorization(&self, value: Option<&str>) {
        let mut orders = self.0.write().unwrap_or_else(PoisonError::into_inner);
        orders.authorization = value.map(str::to_owned);
    }

    pub(crate) fn set_cookies(&self, cookies: Vec<HeaderValue>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).cookies = cookies;
    }

    /// Whether a request with these headers may pass.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let orders = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(wanted) = &orders.authorization else { return true };
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        // Of two, an ingress cannot know which one is meant.
        shown.next().is_some_and(|value| value == wanted) && shown.next().is_none()
    }

    /// Sets the cookies in the headers of an answer.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) {
        let orders = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for cookie in &orders.cookies {
            headers.append(SET_COOKIE, cookie.clone());
        }
    }
}

/// The value of a `Set-Cookie` header.
///
/// # Panics
///
/// If the text cannot be sent in a header.
pub(crate) fn cookie(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a cookie has no control characters")
}

//! The tracing half without the feature `otel`: nothing.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri};

use super::{Medium, Subject};
use crate::address::Address;
use crate::error::{AttemptError, Error, ErrorKind};
use crate::response::Response;

#[derive(Clone, Debug, Default)]
pub(crate) struct Providers(());

impl Providers {
    pub(super) fn open(&self, _: &Address) -> (Metrics, Tracer) {
        (Metrics, Tracer)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Parent(());

impl Parent {
    pub(crate) fn current() -> Parent {
        Parent(())
    }
}

pub(super) struct Labels;

pub(super) struct Metrics;

impl Metrics {
    pub(super) fn is_heard(&self) -> bool {
        false
    }

    pub(super) fn labels(&self, _: Option<&str>) -> Labels {
        Labels
    }

    pub(super) fn in_flight(&self, _: i64, _: &Labels) {}

    pub(super) fn request(&self, _: Option<ErrorKind>, _: Duration, _: &Labels) {}

    pub(super) fn attempt(&self, _: Option<ErrorKind>, _: Duration, _: &Labels) {}

    pub(super) fn retried(&self, _: &Labels) {}

    pub(super) fn reconnected(&self) {}

    pub(super) fn duplicate_dropped(&self) {}

    pub(super) fn transmitted(&self, _: usize) {}

    pub(super) fn received(&self, _: usize) {}

    pub(super) fn waited(&self, _: Duration) {}
}

pub(super) struct Tracer;

impl Tracer {
    pub(super) fn call(
        &self,
        _: &'static str,
        _: Option<&str>,
        _: Medium,
        _: &Arc<HeaderMap>,
        _: Parent,
    ) -> Span {
        Span
    }
}

pub(super) struct Span;

impl Span {
    pub(super) fn is_heard(&self) -> bool {
        false
    }

    pub(super) fn attempt(&self, _: &Subject<'_>, _: u32) -> AttemptTrace {
        AttemptTrace(())
    }

    pub(super) fn event(&self, _: &'static str) {}

    pub(super) fn request_ended(&self, _: &Result<Response, Error>) {}

    pub(super) fn failed(&self, _: ErrorKind, _: &str) {}

    pub(super) fn end(&self) {}
}

#[derive(Clone, Debug, Default)]
pub(crate) struct AttemptTrace(());

impl AttemptTrace {
    pub(crate) fn headers(&self) -> Option<&Arc<HeaderMap>> {
        None
    }

    pub(crate) fn add_to(&self, _: &mut HeaderMap) {}

    pub(crate) fn gets(&self, _: &Uri) {}

    #[cfg(feature = "grpc")]
    pub(crate) fn calls(&self, _: &str) {}

    pub(crate) fn http_status(&self, _: StatusCode) {}

    #[cfg(any(feature = "grpc", feature = "websocket"))]
    pub(crate) fn reconnected(&self) {}

    pub(crate) fn isolated(&self) {}

    pub(crate) fn anew(&self, _: &AttemptError) {}

    pub(crate) fn again(&self, _: Duration, _: &AttemptError) {}

    pub(super) fn answered(&self) {}

    pub(super) fn failed(&self, _: &AttemptError) {}
}

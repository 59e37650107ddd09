//! Learns the facts about the gateway that are needed to encode documents for it.

use std::sync::Arc;

use tokio::time::Instant;

use super::Call;
use crate::batch::Format;
use crate::discovery::{Found, Gateway};
use crate::document::EncodeError;
use crate::envelope::Template;
use crate::error::{AttemptError, Event};
use crate::message::{DocArray, Route};
use crate::retry::{Failure, Retry, Turn};
use crate::telemetry::Subject;

/// A call's format, and the gateway for which it is made.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) gateway: Arc<Gateway>,
    pub(super) format: Arc<Format>,
}

/// Learns what the gateway speaks, under the call's policy, and makes the call's format. With
/// `again`, the gateway is asked once more for an endpoint that it is not known to have, because
/// the endpoint may have been deployed since.
pub(super) async fn prepare(call: Arc<Call>, again: bool) -> Result<Prepared, Failure> {
    let (times, address) = (call.times(Instant::now()), &call.transport.facts().address);
    let was_known = if again { call.discovery.known() } else { None };
    let retry = Retry::seeded(&call.retry, times, address, call.seed).hiding(&call.secrets);
    let subject = Subject::named("discover");
    let attempts = retry.traced(&call.trace, &subject).run(async |turn| {
        let Turn { deadline, trace, .. } = &turn;
        let ask = || call.discovery.ask(&call.transport, &call.headers, *deadline, trace);
        let gateway = ask().await?;
        match call.format(&gateway) {
            Err(error) if was_known.as_ref().is_some_and(|was| Arc::ptr_eq(was, &gateway)) => {
                call.discovery.forget(&gateway);
                let gateway = ask().await.map_err(|_| error)?;
                Ok(Prepared { format: call.format(&gateway)?, gateway })
            }
            format => Ok(Prepared { format: format?, gateway }),
        }
    });
    attempts.await.map(|(prepared, _)| prepared)
}

impl Call {
    fn format(&self, gateway: &Gateway) -> Result<Arc<Format>, AttemptError> {
        let Found { name, path } = gateway.find(&self.endpoint)?;
        let facts = self.transport.facts();
        let uri = facts
            .uri(&path)
            .map_err(|error| AttemptError::new(Event::EncodeFailed, error.message()))?;
        let (docarray, is_by_name) = (gateway.docarray, gateway.is_by_name);
        let headers = self.headers.clone();
        let route = Arc::new(Route { docarray, uri, is_by_name, headers });
        let template = Template::new(
            facts.encoding,
            docarray,
            &name,
            self.target_executor.as_deref(),
            self.parameters.as_deref(),
        )
        .map_err(|error| AttemptError::new(Event::EncodeFailed, unsendable(&error)))?;
        let most_documents = facts.most_v2_documents.filter(|_| docarray == DocArray::V2);
        Ok(Arc::new(Format { route, template, most_documents }))
    }
}

pub(super) fn unsendable(error: &EncodeError) -> String {
    format!("the parameters cannot be sent: {error}")
}

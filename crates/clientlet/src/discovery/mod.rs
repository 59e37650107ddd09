//! The facts about a gateway. They are asked for once, shared by all calls of a client, and asked
//! for again after a sign that the gateway has changed.

mod gateway;
mod generation;
mod kept;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use http::header::{HOST, HeaderMap, HeaderValue};
use tokio::time::Instant;
use tracing::field::display;

pub(crate) use self::gateway::{Found, Gateway};
use self::generation::{Learned, learn};
use self::kept::Kept;
use crate::address::Address;
use crate::config::Config;
use crate::error::{AttemptError, ErrorKind};
use crate::log;
use crate::message::{DocArray, Endpoints};
use crate::telemetry::AttemptTrace;
use crate::transport::{Ask, BoxFuture, Time, Transport};

/// The number of gateways, besides its own, whose facts a client remembers.
const MOST_GATEWAYS: usize = 16;

/// The key of a gateway: its address, and the `Host` header, by which a proxy chooses among several
/// gateways and which a call may set for itself.
type Key = (Address, Option<HeaderValue>);

/// The facts that a client knows about its gateways.
#[derive(Debug)]
pub(crate) struct Discoveries {
    /// The documents that the client is set to.
    set: Option<DocArray>,
    /// The client's own gateway.
    own: (Key, Arc<Discovery>),
    /// The other gateways. The one used most recently is at the end.
    others: Mutex<VecDeque<(Key, Arc<Discovery>)>>,
}

impl Discoveries {
    pub(crate) fn new(config: &Config) -> Discoveries {
        let (set, host) = (config.docarray, config.headers.get(HOST).cloned());
        let own = ((config.address.clone(), host), Arc::new(Discovery::new(set)));
        Discoveries { set, own, others: Mutex::default() }
    }

    /// Returns the facts about the gateway that a call with these headers reaches at this address.
    pub(crate) fn of(&self, address: &Address, headers: &HeaderMap) -> Arc<Discovery> {
        let host = headers.get(HOST);
        let is_it = |(known, with): &Key| known == address && with.as_ref() == host;
        let (own, discovery) = &self.own;
        if is_it(own) {
            return discovery.clone();
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let place = others.iter().position(|(other, _)| is_it(other));
        let known = place.and_then(|place| others.remove(place)).unwrap_or_else(|| {
            ((address.clone(), host.cloned()), Arc::new(Discovery::new(self.set)))
        });
        let discovery = known.1.clone();
        others.push_back(known);
        if others.len() > MOST_GATEWAYS {
            others.pop_front();
        }
        discovery
    }
}

/// The facts that a client knows about a gateway.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// The documents that the client is set to.
    set: Option<DocArray>,
    known: Mutex<Option<Arc<Gateway>>>,
    /// The answers that a question got before it failed.
    kept: Arc<Kept>,
    /// The question in flight, which continues as long as any task waits for its answer.
    asked: Mutex<Option<Asked>>,
}

/// A question that several calls share.
#[derive(Debug)]
struct Asked {
    /// The headers of the question. A gateway may answer differently with other credentials.
    headers: Arc<HeaderMap>,
    question: WeakShared<Question>,
}

type Question = BoxFuture<'static, Result<Arc<Gateway>, Arc<AttemptError>>>;

impl Discovery {
    fn new(set: Option<DocArray>) -> Discovery {
        Discovery { set, ..Discovery::default() }
    }

    /// Asks again for the endpoints that can be posted to.
    pub(crate) async fn endpoints(
        &self,
        transport: &dyn Transport,
        ask: Ask<'_>,
    ) -> Result<Endpoints, AttemptError> {
        let Learned { gateway, unlisted } = learn(transport, self.set, &self.kept, ask).await?;
        match unlisted {
            // Over gRPC the question is all that is asked for; over HTTP a page may be hidden.
            Some(error) if !transport.facts().has_paths => Err(error),
            _ => Ok(gateway.to_endpoints()),
        }
    }

    /// Returns the facts that are already known.
    pub(crate) fn known(&self) -> Option<Arc<Gateway>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the documents that the gateway speaks, if that is set or already known.
    pub(crate) fn docarray(&self) -> Option<DocArray> {
        self.set.or_else(|| self.known().map(|gateway| gateway.docarray))
    }

    /// Whether these facts are the ones that are known.
    pub(crate) fn is_known(&self, facts: &Arc<Gateway>) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|known| Arc::ptr_eq(known, facts))
    }

    /// Forgets facts that a request has shown to be outdated, unless newer facts are known.
    pub(crate) fn forget(&self, stale: &Arc<Gateway>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, stale)) {
            *known = None;
        }
    }

    /// Returns the facts about the gateway, and asks the gateway first if necessary. All tasks that
    /// wait share one question, and its answer or failure.
    pub(crate) async fn ask(
        &self,
        transport: &Arc<dyn Transport>,
        headers: &Arc<HeaderMap>,
        deadline: Option<Instant>,
        trace: &AttemptTrace,
    ) -> Result<Arc<Gateway>, AttemptError> {
        let began = Instant::now();
        let mut time = Time::until(deadline);
        loop {
            if let Some(known) = self.known() {
                return Ok(known);
            }
            let (question, is_own) = self.question(transport, headers, deadline, trace);
            let Some(answer) = time.shared(question).await else {
                return Err(time.missed("the gateway did not say what it speaks"));
            };
            match answer {
                Ok(gateway) => {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    return Ok(known.get_or_insert(gateway).clone());
                }
                Err(error) => {
                    // The question had the time limit of the call that asked it. This call may have
                    // more time.
                    let is_late = error.kind == ErrorKind::Timeout;
                    if is_own || !is_late || !has_more(began, deadline) {
                        return Err(AttemptError::clone(&error));
                    }
                }
            }
        }
    }

    /// Returns the question in flight, or a new one that has until `deadline`, and whether it is
    /// new.
    fn question(
        &self,
        transport: &Arc<dyn Transport>,
        headers: &Arc<HeaderMap>,
        deadline: Option<Instant>,
        trace: &AttemptTrace,
    ) -> (Shared<Question>, bool) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Asked { headers: with, question }) = &*asked
            && (Arc::ptr_eq(with, headers) || with == headers)
            && let Some(question) = question.upgrade()
            && question.peek().is_none()
        {
            return (question, false);
        }
        let transport = transport.clone();
        let (with, trace) = (trace.headers().unwrap_or(headers).clone(), trace.clone());
        let (set, kept) = (self.set, self.kept.clone());
        let question: Question = Box::pin(async move {
            let ask = Ask { headers: &with, deadline, trace: &trace };
            let learned = learn(&*transport, set, &kept, ask).await;
            let gateway = learned.map_err(Arc::new)?.gateway;
            log::gateway_known(display(&transport.facts().address), display(gateway.docarray));
            Ok(Arc::new(gateway))
        });
        let question = question.shared();
        *asked = question.downgrade().map(|question| Asked { headers: headers.clone(), question });
        (question, true)
    }
}

/// Whether more time is left than was already waited.
fn has_more(began: Instant, deadline: Option<Instant>) -> bool {
    let now = Instant::now();
    deadline.is_none_or(|deadline| deadline.saturating_duration_since(now) > now - began)
}

#[cfg(test)]
mod tests;

//! Several connections to a gateway, for protocols whose requests share one: requests take turns
//! between transports with the same settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::{BoxFuture, Facts, Handle, Questions, Streams, Terms, Transport};
use crate::error::AttemptError;
use crate::message::{Connections, RawAnswer, Request};

/// Transports to the same gateway, each with connections of its own.
pub(crate) struct Channels {
    members: Vec<Arc<dyn Transport>>,
    facts: Facts,
    next: AtomicUsize,
}

impl Channels {
    /// Makes a transport whose requests take turns between `members`, of which there must be at
    /// least one.
    pub(crate) fn new(members: Vec<Arc<dyn Transport>>) -> Channels {
        let facts = members[0].facts();
        let most_in_flight = facts.most_in_flight.map(|most| most.saturating_mul(members.len()));
        let facts = Facts { has_channels: true, most_in_flight, ..facts.clone() };
        Channels { members, facts, next: AtomicUsize::new(0) }
    }

    fn next(&self) -> &Arc<dyn Transport> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.members[turn % self.members.len()]
    }
}

impl Transport for Channels {
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        body: Bytes,
        terms: Terms<'a>,
    ) -> BoxFuture<'a, Result<RawAnswer, AttemptError>> {
        self.next().attempt(request, body, terms)
    }

    fn lane(&self, request: &Request) -> Option<Arc<Handle>> {
        self.next().lane(request)
    }

    fn open_call(&self, prefetch: usize) -> Option<Arc<dyn Transport>> {
        let calls: Option<Vec<_>> =
            self.members.iter().map(|member| member.open_call(prefetch)).collect();
        Some(Arc::new(Channels::new(calls?)))
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn questions(&self) -> &dyn Questions {
        self.members[0].questions()
    }

    fn streams(&self) -> Option<&dyn Streams> {
        self.next().streams()
    }

    fn connections(&self) -> Connections {
        let each = self.members.iter().map(|member| member.connections());
        each.fold(Connections::default(), |sum, each| Connections {
            opened: sum.opened + each.opened,
            reconnects: sum.reconnects + each.reconnects,
            duplicates_dropped: sum.duplicates_dropped + each.duplicates_dropped,
        })
    }
}

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
    /// The number of streams of documents, which take turns as well.
    streams: AtomicUsize,
}

impl Channels {
    /// Makes a transport whose requests take turns between `members`, of which there must be at
    /// least one.
    pub(crate) fn new(members: Vec<Arc<dyn Transport>>) -> Channels {
        let facts = members[0].facts();
        let most_in_flight = facts.most_in_flight.map(|most| most.saturating_mul(members.len()));
        let facts = Facts { has_channels: true, most_in_flight, ..facts.clone() };
        Channels { members, facts, streams: AtomicUsize::new(0) }
    }

    /// The transport of a request that failed `failed` times. The first attempt is made where the
    /// request's lane is looked for, because it opens the connection that the next requests of this
    /// transport find as their lane. Each further attempt goes to another transport, since only one of
    /// them may be out of order.
    fn of(&self, request: &Request, failed: u32) -> &Arc<dyn Transport> {
        let turn = request.id.sequence.wrapping_add(failed.into()) % self.members.len() as u64;
        &self.members[turn as usize]
    }
}

impl Transport for Channels {
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        body: Bytes,
        terms: Terms<'a>,
    ) -> BoxFuture<'a, Result<RawAnswer, AttemptError>> {
        self.of(request, terms.failed).attempt(request, body, terms)
    }

    fn lane(&self, request: &Request) -> Option<Arc<Handle>> {
        self.of(request, 0).lane(request)
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
        let turn = self.streams.fetch_add(1, Ordering::Relaxed);
        self.members[turn % self.members.len()].streams()
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

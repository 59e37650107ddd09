//! A stream of documents on its way to a client, as the journal notes it.

use std::sync::Arc;

use crate::journal::Place;
use crate::world::World;

/// A stream on its way to a client. If it is dropped before its end, the client has cancelled it.
pub(crate) struct Delivery {
    world: Arc<World>,
    place: Place,
    has_ended: bool,
}

impl Delivery {
    pub(crate) fn new(world: Arc<World>, place: Place) -> Self {
        Self { world, place, has_ended: false }
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// A document was sent.
    pub(crate) fn streamed(&self) {
        self.world.journal.streamed(&self.place);
    }

    /// The stream came to its end.
    pub(crate) fn end(mut self) {
        self.has_ended = true;
        self.world.journal.answered(&self.place, 200);
    }

    /// The stream broke off, but the client did not cancel it.
    pub(crate) fn break_off(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.has_ended {
            self.world.journal.cancel(&self.place);
        }
    }
}

//! Counts a transport's connections and late answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Config;
use crate::message::Connections;
use crate::telemetry::Telemetry;

/// The counts that all connections and streams of a transport share.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// `None` in tests.
    telemetry: Option<Telemetry>,
    opened: AtomicU64,
    reconnects: AtomicU64,
    duplicates_dropped: AtomicU64,
}

impl Tally {
    pub(super) fn new(config: &Config) -> Arc<Tally> {
        Arc::new(Tally { telemetry: Some(config.telemetry.clone()), ..Tally::default() })
    }

    /// Counts a connection that was made; `again` if it replaces another.
    pub(super) fn opened(&self, again: bool) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        if again {
            self.reconnects.fetch_add(1, Ordering::Relaxed);
            self.telemetry.iter().for_each(Telemetry::reconnected);
        }
    }

    pub(super) fn connections(&self) -> Connections {
        Connections {
            opened: self.opened.load(Ordering::Relaxed),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            duplicates_dropped: self.duplicates_dropped.load(Ordering::Relaxed),
        }
    }

    /// Counts an answer that no request waited for.
    pub(super) fn duplicate_dropped(&self) {
        self.duplicates_dropped.fetch_add(1, Ordering::Relaxed);
        self.telemetry.iter().for_each(Telemetry::duplicate_dropped);
    }
}

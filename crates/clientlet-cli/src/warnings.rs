//! Prints the library's warnings to stderr. The library emits them as `tracing` events.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, set_global_default};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::report;

/// Prints all warnings from now on.
pub(crate) fn print() {
    // Nothing else in this program sets a default, so this succeeds.
    let _ = set_global_default(Warnings);
}

struct Warnings;

/// Whether an event comes from the library. Warnings of other crates that matter become errors of the
/// library.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let is_library = metadata.target().split("::").next() == Some("clientlet");
    is_library && metadata.is_event() && *metadata.level() <= Level::WARN
}

impl Subscriber for Warnings {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match is_ours(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        report::print(&format!("warning: {}", text.0));
    }

    // Spans are disabled, so the id does not matter.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // The message's arguments are formatted already.
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

//! Receives the library's log.

use std::fmt;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::telling::{self, Told, is_wanted};

/// Puts the library's events into the queue for `logging`. Events of other crates may have headers in
/// them, and are left alone.
pub(crate) struct Log;

/// Levels as numbers of `logging`, which has none for TRACE.
fn number(level: Level) -> u8 {
    match level {
        Level::TRACE => 5,
        Level::DEBUG => 10,
        Level::INFO => 20,
        Level::WARN => 30,
        Level::ERROR => 40,
    }
}

impl Subscriber for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match metadata.target() == "clientlet" && metadata.is_event() {
            // Which levels are wanted changes.
            true => Interest::sometimes(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_wanted(number(*metadata.level())) && metadata.target() == "clientlet"
    }

    fn event(&self, event: &Event<'_>) {
        let mut read = Read::default();
        event.record(&mut read);
        let (name, level) = (event.metadata().name(), number(*event.metadata().level()));
        let Read { message, fields } = read;
        telling::tell(Told::Log { name, level, time: SystemTime::now(), message, fields });
    }

    // Spans are not enabled, so the id does not matter.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event and its other fields.
#[derive(Default)]
struct Read {
    message: String,
    fields: telling::Fields,
}

impl Read {
    fn put(&mut self, field: &Field, value: telling::Field) {
        self.fields.push((field.name().into(), value));
    }
}

impl Visit for Read {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, telling::Field::Unsigned(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, telling::Field::Integer(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, telling::Field::Real(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, telling::Field::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, telling::Field::Text(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // The message's arguments are formatted already.
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, telling::Field::Text(format!("{value:?}"))),
        }
    }
}

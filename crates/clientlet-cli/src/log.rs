//! Prints the library's log to stderr. The library emits it as `tracing` events.

use std::fmt;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, set_global_default};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::args::{LogArgs, LogForm};
use crate::report;

/// Prints what the options ask for from now on; without an option, warnings.
pub(crate) fn print(args: LogArgs) {
    let most = match args.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // Nothing else in this program sets a default, so this succeeds.
    let _ = set_global_default(Log { most, form: args.log });
}

struct Log {
    most: LevelFilter,
    form: LogForm,
}

impl Log {
    /// Whether an event is to be printed. The library's alone are: events of other crates may have
    /// headers in them.
    fn is_wanted(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "clientlet" && metadata.is_event() && *metadata.level() <= self.most
    }
}

impl Subscriber for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.is_wanted(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.is_wanted(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        report::print(&match self.form {
            LogForm::Text => fields.to_text(*event.metadata().level()),
            LogForm::Json => fields.to_json(event.metadata()),
        });
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

/// The message of an event and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    /// A line such as `debug: another attempt follows (attempt 1, kind connect)`.
    fn to_text(&self, level: Level) -> String {
        let level = match level {
            Level::WARN => "warning".to_owned(),
            level => level.as_str().to_lowercase(),
        };
        let shown = |(name, value): &(&str, Value)| match value {
            Value::String(text) => format!("{name} {text}"),
            value => format!("{name} {value}"),
        };
        let others: Vec<String> = self.others.iter().map(shown).collect();
        match others.is_empty() {
            true => format!("{level}: {}", self.message),
            false => format!("{level}: {} ({})", self.message, others.join(", ")),
        }
    }

    fn to_json(&self, metadata: &Metadata<'_>) -> String {
        let mut object = Map::new();
        if let Ok(now) = OffsetDateTime::now_utc().format(&Rfc3339) {
            object.insert("time".into(), now.into());
        }
        object.insert("level".into(), metadata.level().as_str().into());
        object.insert("name".into(), metadata.name().into());
        object.insert("message".into(), self.message.as_str().into());
        let others = self.others.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        object.extend(others);
        Value::Object(object).to_string()
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.push((field.name(), value.into()));
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // The message's arguments are formatted already.
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, format!("{value:?}")),
        }
    }
}

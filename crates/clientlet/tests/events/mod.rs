//! Watches which events happen over which protocols while tests run. `record.txt` holds what was seen,
//! and the page of guarantees is printed from it: an event that is not in it fails the test.
//! `CLIENTLET_BLESS=1` adds what is missing.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::set_global_default;
use tracing::{Event, Metadata, Subscriber};

/// The events and their protocols, `ConnectFailed over HTTP`.
static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// How the record and the page are brought up to date.
const HINT: &str = "CLIENTLET_BLESS=1 adds it to tests/events/record.txt, then `CLIENTLET_BLESS=1 cargo test \
                    -p clientlet --lib page_of` to the page";

/// What happens by chance, or where no watcher hears it.
const ELSEWHERE: &str = include_str!("elsewhere.txt");

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/events/record.txt");

/// Begins to watch; later calls change nothing.
pub(crate) fn watch() {
    // An error says that this has been done.
    let _ = set_global_default(Recorder);
}

fn record() -> BTreeSet<String> {
    let text = std::fs::read_to_string(PATH).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

struct Recorder;

/// The fields of an event of the library.
#[derive(Default)]
struct Fields {
    event: String,
    protocol: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "event" => self.event = format!("{value:?}"),
            "protocol" => self.protocol = format!("{value:?}"),
            _ => {}
        }
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() == "clientlet.attempt.failed"
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { event, protocol } = fields;
        let protocol = match protocol.as_str() {
            "http" => "HTTP",
            "ws" => "WebSocket",
            "grpc" => "gRPC",
            other => panic!("{event} over {other:?}"),
        };
        let line = format!("{event} over {protocol}");
        let mut seen = SEEN.lock().unwrap();
        if !seen.insert(line.clone()) {
            return;
        }
        let is_rare = ELSEWHERE.lines().any(|rare| rare.starts_with(&format!("{line}: ")));
        let mut record = record();
        if is_rare || !record.insert(line.clone()) {
            return;
        }
        if std::env::var_os("CLIENTLET_BLESS").is_some() {
            let text: String = record.iter().map(|line| format!("{line}\n")).collect();
            std::fs::write(PATH, text).unwrap();
        } else {
            // The lock must not be poisoned for the others.
            drop(seen);
            panic!("the page of guarantees does not know of {line}: {HINT}");
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

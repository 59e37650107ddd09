//! What the library tells `tracing`: the only place with its events. Their names and fields are stable;
//! `docs/logs.md` lists them.

use tracing::{Level, Value, event};

/// The target of all events.
const TARGET: &str = "clientlet";

macro_rules! events {
    ($($level:ident $name:literal $function:ident($($field:ident),*), $message:literal, $when:literal;)*) => {
        $(
            #[doc = $when]
            #[inline]
            pub(crate) fn $function($($field: impl Value),*) {
                event!(name: $name, target: TARGET, Level::$level, $($field,)* $message);
            }
        )*

        /// Emits each event once, and returns the rows of the page.
        #[cfg(test)]
        fn each() -> Vec<tests::Row> {
            $($function($(stringify!($field)),*);)*
            vec![$(tests::Row {
                level: Level::$level,
                name: $name,
                fields: &[$(stringify!($field)),*],
                message: $message,
                when: $when,
            }),*]
        }
    };
}

events! {
    TRACE "clientlet.request.begun" request_begun(index, first_document, documents),
        "a request begins", "A request begins. `index` counts the requests of the call, `first_document` is the number of its first document, `documents` how many it has.";
    TRACE "clientlet.request.answered" request_answered(index, attempts, elapsed_seconds),
        "a request is answered", "A request ends with an answer.";
    DEBUG "clientlet.request.failed" request_failed(index, kind, delivery, error),
        "a request failed", "A request, or a part of it whose documents ended by themselves, ends with an error.";
    TRACE "clientlet.attempt.failed" attempt_failed(event, protocol),
        "an attempt failed", "An attempt ends without an answer that counts. `event` is the first column of the table in guarantees.md.";
    DEBUG "clientlet.attempt.anew" attempt_anew(attempt, error),
        "an attempt begins anew", "An attempt that cannot have been sent begins anew, at no cost.";
    DEBUG "clientlet.attempt.again" attempt_again(attempt, kind, delivery, wait_seconds, error),
        "another attempt follows", "Another attempt follows after a wait.";
    DEBUG "clientlet.gateway.known" gateway_known(gateway, documents),
        "the gateway told what it speaks", "A gateway was asked what it speaks.";
    DEBUG "clientlet.connection.opened" connection_opened(address, proxy, tls, elapsed_seconds),
        "a connection is open", "A connection to `address` is made. `proxy` is the proxy that it goes through; `tls` is the version of TLS, followed by `, resumed` if a session was resumed. Either is absent where there is none.";
    DEBUG "clientlet.answer.unclaimed" answer_unclaimed(request),
        "an answer came that no request waits for", "An answer came a second time, or after its request was given up; it is dropped.";
    DEBUG "clientlet.stream.unknown_event" unknown_event(),
        "an event that is not a document", "A stream of documents has a server-sent event of an unknown name, which may be any text and is not told; it is dropped.";
    WARN "clientlet.stream.long_document" long_document(),
        "over HTTP, lists, objects and long texts of a document are only in the body of a GET, which some proxies drop; use grpc:// if a proxy does",
        "A document for a stream is too long for the query of its address.";
    WARN "clientlet.tls.unchecked" tls_unchecked(),
        "certificates are not checked (danger_accept_invalid_certs): anybody on the way can read and change what is sent",
        "A client is made that accepts any certificate.";
    INFO "clientlet.retry.capped" retry_capped(),
        "max_backoff is below initial_backoff, so every wait is at most max_backoff and never grows",
        "A client is made with a retry policy whose `max_backoff` is below its `initial_backoff`.";
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Write as _};
    use std::fs;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::page;

    /// A row of the page, as the macro has it.
    pub(super) struct Row {
        pub(super) level: Level,
        pub(super) name: &'static str,
        pub(super) fields: &'static [&'static str],
        pub(super) message: &'static str,
        pub(super) when: &'static str,
    }

    /// The level and name of an event, the names of its fields, and its message.
    type Line = (String, Vec<String>, String);

    /// Keeps what `tracing` was told.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<Line>>>);

    #[derive(Default)]
    struct Fields(Vec<String>, String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            match field.name() {
                "message" => self.1 = format!("{value:?}"),
                name => self.0.push(name.to_owned()),
            }
        }
    }

    impl Subscriber for Told {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == TARGET
        }

        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let name = format!("{} {}", event.metadata().level(), event.metadata().name());
            self.0.lock().unwrap().push((name, fields.0, fields.1));
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn the_page_of_logs_lists_what_tracing_is_told() {
        let told = Told::default();
        let rows = tracing::subscriber::with_default(told.clone(), each);
        let told = told.0.lock().unwrap();
        assert_eq!(told.len(), rows.len());
        let mut table = "| level | name | fields | when |\n| --- | --- | --- | --- |\n".to_owned();
        for ((name, fields, message), row) in told.iter().zip(&rows) {
            assert_eq!(*name, format!("{} {}", row.level, row.name));
            assert_eq!((fields.join(" "), &**message), (row.fields.join(" "), row.message));
            let fields: Vec<String> = row.fields.iter().map(|field| format!("`{field}`")).collect();
            let Row { level, name, when, .. } = row;
            writeln!(table, "| {level} | `{name}` | {} | {when} |", fields.join(", ")).unwrap();
        }
        page::check("logs.md", "events", &table);
    }

    #[test]
    fn the_filter_for_failed_requests_on_the_page_of_logs_passes_no_other_event() {
        let told = Told::default();
        let rows = tracing::subscriber::with_default(told, each);
        let passes = |row: &&Row| row.level != Level::TRACE && row.fields.contains(&"index");
        let passing: Vec<_> = rows.iter().filter(passes).map(|row| row.name).collect();
        assert_eq!(passing, ["clientlet.request.failed"]);
    }

    #[test]
    fn no_other_file_tells_tracing_anything() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path != root.join("log.rs") {
                    let text = fs::read_to_string(&path).unwrap();
                    let levels = ["trace", "debug", "info", "warn", "error", "event", "span"];
                    let tells = |level: &&str| text.contains(&format!("tracing::{level}!"));
                    assert_eq!(levels.iter().find(|level| tells(level)), None, "{path:?}");
                }
            }
        }
    }
}

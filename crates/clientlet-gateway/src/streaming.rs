//! Streaming endpoints: one document in, any number out, one after another.

use std::fmt::Write;
use std::time::Duration;

use tokio::time::sleep;

/// So often a gateway calls an executor that raises while it streams. What it gave before comes again
/// each time, and after the last call the stream ends as if all were well.
const CALLS: u32 = 4;

/// What a streaming endpoint gives: the documents `s0`, `s1` and so on, whose texts are the sent one and
/// the number.
#[derive(Clone, Debug)]
#[must_use]
pub struct StreamScript {
    documents: u64,
    pause: Duration,
    raises: bool,
}

impl StreamScript {
    /// So many documents, at once.
    pub fn new(documents: u64) -> Self {
        Self { documents, pause: Duration::ZERO, raises: false }
    }

    /// The time before each document; none unless set.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Whether the endpoint raises an exception behind its documents. As real gateways do, this one
    /// then calls it again, four times in all, so that the documents repeat, and ends the stream as if
    /// all were well.
    pub fn raises(mut self, raises: bool) -> Self {
        self.raises = raises;
        self
    }

    /// Begins a stream for a document with this text.
    pub(crate) fn start(&self, text: String) -> Run {
        Run { script: self.clone(), text, call: 1, next: 0 }
    }
}

/// A streaming endpoint that runs.
#[derive(Debug)]
pub(crate) struct Run {
    script: StreamScript,
    text: String,
    call: u32,
    next: u64,
}

/// A document that an endpoint gave.
#[derive(Debug, PartialEq)]
pub(crate) struct Given {
    pub(crate) id: String,
    pub(crate) text: String,
}

impl Run {
    /// The next document.
    pub(crate) async fn next(&mut self) -> Option<Given> {
        while self.next >= self.script.documents {
            if !self.script.raises || self.call == CALLS || self.script.documents == 0 {
                return None;
            }
            self.call += 1;
            self.next = 0;
        }
        if !self.script.pause.is_zero() {
            sleep(self.script.pause).await;
        }
        let n = self.next;
        self.next += 1;
        Some(Given { id: format!("s{n}"), text: format!("{} {n}", self.text) })
    }
}

impl Given {
    /// The document as an event of `text/event-stream`. Python writes its JSON, in ASCII.
    pub(crate) fn to_event(&self) -> String {
        let mut event = String::with_capacity(64 + self.text.len());
        event.push_str("event: update\r\ndata: {\"id\": ");
        write_ascii(&mut event, &self.id);
        event.push_str(", \"text\": ");
        write_ascii(&mut event, &self.text);
        event.push_str(", \"tensor\": null}\r\n\r\n");
        event
    }
}

/// The event behind the last document.
pub(crate) const END: &str = "event: end\r\n\r\n";

fn write_ascii(out: &mut String, text: &str) {
    for character in serde_json::Value::from(text).to_string().chars() {
        if character.is_ascii() {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endpoint_that_raises_is_called_four_times() {
        let mut run = StreamScript::new(2).raises(true).start("x".into());
        let mut ids = Vec::new();
        while let Some(given) = run.next().await {
            ids.push(given.id);
        }
        assert_eq!(ids, ["s0", "s1"].repeat(4));
        assert!(StreamScript::new(0).raises(true).start("x".into()).next().await.is_none());
    }

    #[test]
    fn events_are_ascii() {
        let given = Given { id: "s0".into(), text: "h\u{e9} \"\u{1f600}\"".into() };
        assert_eq!(
            given.to_event(),
            "event: update\r\ndata: {\"id\": \"s0\", \"text\": \"h\\u00e9 \\\"\\ud83d\\ude00\\\"\", \
             \"tensor\": null}\r\n\r\n"
        );
    }
}

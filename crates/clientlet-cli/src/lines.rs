//! JSON Lines, of bounded length: each line a document, or why it is none.

use std::io::{self, BufRead, BufReader, Read};

use serde_json::Value;

/// How much is read at a time.
const BUFFER: usize = 64 << 10;
/// A chunk is handed over when it holds this many lines or bytes, or when the input pauses.
const CHUNK_LINES: usize = 128;
const CHUNK_BYTES: usize = 256 << 10;

/// A line that is not blank.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) content: Result<Value, BadLine>,
}

/// Why a line is no document.
#[derive(Debug, PartialEq)]
pub(crate) struct BadLine {
    /// The byte in the line, from 1; nothing if it is no byte's fault.
    pub(crate) column: Option<usize>,
    pub(crate) what: String,
    /// Nothing more can be read after it.
    pub(crate) is_last: bool,
}

impl BadLine {
    fn at(column: usize, what: impl Into<String>) -> BadLine {
        BadLine { column: Some(column), what: what.into(), is_last: false }
    }
}

/// Splits an input into lines, of bounded length, and parses them.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    longest: usize,
    number: u64,
    bytes: Vec<u8>,
    has_ended: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R, longest: usize) -> Lines<R> {
        let reader = BufReader::with_capacity(BUFFER, reader);
        Lines { reader, longest, number: 0, bytes: Vec::new(), has_ended: false }
    }

    /// The next lines; nothing at the end. It does not wait for more while it has some.
    pub(crate) fn next_chunk(&mut self) -> Option<Vec<Line>> {
        let mut chunk = Vec::new();
        let mut size = 0;
        while !self.has_ended && chunk.len() < CHUNK_LINES && size < CHUNK_BYTES {
            if !chunk.is_empty() && self.reader.buffer().is_empty() {
                break;
            }
            chunk.extend(self.next_line());
            size += self.bytes.len();
        }
        (!chunk.is_empty() || !self.has_ended).then_some(chunk)
    }

    /// The next line; nothing if it is blank, or at the end.
    fn next_line(&mut self) -> Option<Line> {
        self.bytes.clear();
        // What one long line took is not kept for the many short ones.
        self.bytes.shrink_to(BUFFER);
        self.number += 1;
        let content = match self.read_line() {
            Err(error) => {
                self.has_ended = true;
                let what = format!("it cannot be read: {error}");
                Err(BadLine { column: None, what, is_last: true })
            }
            Ok(None) => {
                self.has_ended = true;
                return None;
            }
            Ok(Some(BeyondLimit)) => {
                let what = format!("the line is longer than {} bytes", self.longest);
                Err(BadLine { column: None, what, is_last: false })
            }
            Ok(Some(Within)) => parse(without_mark(&self.bytes, self.number)).transpose()?,
        };
        Some(Line { number: self.number, content })
    }

    /// Reads a line into `bytes`; nothing at the end.
    fn read_line(&mut self) -> io::Result<Option<Length>> {
        let limit = u64::try_from(self.longest).unwrap_or(u64::MAX).saturating_add(1);
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.bytes)?;
        if read == 0 {
            return Ok(None);
        }
        if self.bytes.last() != Some(&b'\n') && read > self.longest {
            self.skip_line()?;
            return Ok(Some(BeyondLimit));
        }
        Ok(Some(Within))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            let (used, is_done) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.reader.consume(used);
            if is_done {
                return Ok(());
            }
        }
    }
}

enum Length {
    Within,
    BeyondLimit,
}
use Length::{BeyondLimit, Within};

/// Windows editors begin UTF-8 files with a byte order mark.
fn without_mark(bytes: &[u8], line: u64) -> &[u8] {
    if line == 1 { bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes) } else { bytes }
}

/// The document of a line; nothing if it is blank.
fn parse(bytes: &[u8]) -> Result<Option<Value>, BadLine> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| BadLine::at(error.valid_up_to() + 1, "invalid UTF-8"))?;
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() {
        return Ok(None);
    }
    match serde_json::from_str(trimmed) {
        Ok(document @ Value::Object(_)) => Ok(Some(document)),
        Ok(other) => {
            let what = format!("a document must be an object, not {}", kind(&other));
            Err(BadLine::at(indent(text) + 1, what))
        }
        Err(error) => {
            let column = error.column();
            let what = describe(trimmed, column, &error);
            Err(BadLine::at(indent(text) + column.max(1), what))
        }
    }
}

/// What a value is, in words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::String(_) => "text",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a boolean",
        Value::Null => "null",
    }
}

fn indent(text: &str) -> usize {
    text.len() - text.trim_ascii_start().len()
}

fn describe(text: &str, column: usize, error: &serde_json::Error) -> String {
    // Python's json writes these names, and no JSON has them.
    let at = column.saturating_sub(1);
    let rest = text.get(at..).unwrap_or_default();
    if ["NaN", "Infinity", "-Infinity"].iter().any(|name| rest.starts_with(name))
        || text.get(at.saturating_sub(1)..).is_some_and(|rest| rest.starts_with("-Infinity"))
    {
        return "JSON has neither NaN nor infinity".to_owned();
    }
    let message = error.to_string();
    // The line is known better here, and the column stands in front.
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(bytes: &[u8], longest: usize) -> Vec<Line> {
        let mut lines = Lines::new(bytes, longest);
        std::iter::from_fn(|| lines.next_chunk()).flatten().collect()
    }

    #[test]
    fn blank_lines_count_and_hold_nothing() {
        let read = lines(b"\xEF\xBB\xBF{\"id\":\"a\"}\r\n\n \t\n{\"id\":\"b\"}", 100);
        let expected = [("a", 1), ("b", 4)]
            .map(|(id, number)| Line { number, content: Ok(json!({ "id": id })) });
        assert_eq!(read, expected);
        assert_eq!(lines(b"", 100), []);
        assert_eq!(lines(b"\n\n", 100), []);
    }

    #[test]
    fn a_line_that_is_no_document_is_named_by_column_and_the_next_one_read() {
        let table: [(&[u8], usize, &str); 10] = [
            (b"{\"a\": }", 7, "expected value"),
            (b"  {\"a\": 1", 9, "EOF while parsing an object"),
            (b"{\"a\": 1} x", 10, "trailing characters"),
            (b" [1]", 2, "a document must be an object, not a list"),
            (b"null", 1, "a document must be an object, not null"),
            (b"{\"a\": \"\xff\"}", 8, "invalid UTF-8"),
            (b"{\"a\": NaN}", 7, "JSON has neither NaN nor infinity"),
            (b"{\"a\": [1, Infinity]}", 11, "JSON has neither NaN nor infinity"),
            (b"{\"a\": -Infinity}", 8, "JSON has neither NaN nor infinity"),
            (b"{\"a\": 1e999}", 11, "number out of range"),
        ];
        for (bad, column, what) in table {
            let read = lines(&[bad, b"\n{}\n"].concat(), 100);
            assert_eq!(read[0].content, Err(BadLine::at(column, what)), "{}", bad.escape_ascii());
            assert_eq!(read[1], Line { number: 2, content: Ok(json!({})) });
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_skipped_whole() {
        let long = format!("{{}}\n{{\"a\": \"{}\"}}\n{{}}\n", "x".repeat(3 * BUFFER));
        let read = lines(long.as_bytes(), BUFFER);
        let numbers: Vec<_> = read.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(read[1].content.as_ref().unwrap_err().what.contains("longer than 65536 bytes"));
        assert!(read[2].content.is_ok());
    }

    #[test]
    fn a_document_as_long_as_the_limit_is_read() {
        assert!(lines(b"{\"a\": 1}\n{}", 9)[0].content.is_ok());
        assert!(lines(b"{\"a\": 1}", 8)[0].content.is_ok());
        assert!(lines(b"{\"a\": 1}", 7)[0].content.is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "{\"a\":".repeat(100_000);
        let read = lines(deep.as_bytes(), 1 << 20);
        assert!(read[0].content.as_ref().unwrap_err().what.contains("recursion limit"));
    }

    #[test]
    fn what_is_there_is_handed_over_although_more_may_come() {
        struct Pausing(Vec<&'static [u8]>);
        impl Read for Pausing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let part = if self.0.is_empty() { b"" } else { self.0.remove(0) };
                buffer[..part.len()].copy_from_slice(part);
                Ok(part.len())
            }
        }
        let mut lines = Lines::new(Pausing(vec![b"{}\n{}\n", b"{}\n"]), 100);
        let sizes: Vec<_> = std::iter::from_fn(|| Some(lines.next_chunk()?.len())).collect();
        assert_eq!(sizes[..2], [2, 1]);
    }
}

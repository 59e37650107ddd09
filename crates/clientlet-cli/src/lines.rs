//! Splits JSON Lines into lines of bounded length and parses each line as a document.

use std::io;

use memchr::memchr;
use serde_json::Value;
use serde_json::error::Category;

use crate::{foreign, wide};

/// The memory, in bytes, that is kept for lines that continue in the next block.
const KEPT: usize = 64 << 10;

/// A line that is not blank.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) content: Result<Value, BadLine>,
}

impl Line {
    /// Whether this line ends the input, because no more can be read.
    pub(crate) fn is_end(&self) -> bool {
        self.content.as_ref().is_err_and(|bad| bad.is_last)
    }
}

/// The reason why a line is not a document.
#[derive(Debug, PartialEq)]
pub(crate) struct BadLine {
    /// The byte of the line at fault, from 1; `None` if no single byte is at fault.
    pub(crate) column: Option<usize>,
    pub(crate) what: String,
    /// Advice if the whole input seems to have another form than JSON Lines.
    pub(crate) hint: Option<&'static str>,
    /// Whether no more can be read after this line.
    pub(crate) is_last: bool,
}

impl BadLine {
    fn at(column: usize, what: impl Into<String>) -> BadLine {
        BadLine { column: Some(column), ..BadLine::whole(what) }
    }

    /// A bad line without a single byte at fault.
    fn whole(what: impl Into<String>) -> BadLine {
        BadLine { column: None, what: what.into(), hint: None, is_last: false }
    }
}

/// Splits an input, which comes in blocks, into lines of bounded length, and parses them.
pub(crate) struct Lines {
    /// The maximum length of a line in bytes, without its line end.
    longest: usize,
    /// The number of the line that has begun or comes next.
    number: u64,
    /// The beginning of a line that ends in a later block.
    begun: Vec<u8>,
    /// Whether the current line is too long, so that the rest of it is not kept.
    is_skipping: bool,
    /// The beginning of the input, until it is known to be text.
    head: Option<Vec<u8>>,
}

impl Lines {
    pub(crate) fn new(longest: usize) -> Lines {
        let head = Some(Vec::new());
        Lines { longest, number: 1, begun: Vec::new(), is_skipping: false, head }
    }

    /// Takes the next block and returns the lines that end in it. An input that is not text becomes
    /// a single bad line, the last one.
    pub(crate) fn push(&mut self, block: &[u8]) -> Vec<Line> {
        let Some(mut head) = self.head.take() else { return self.split(block) };
        head.extend_from_slice(block);
        if head.len() < foreign::ENOUGH && memchr(b'\n', &head).is_none() {
            self.head = Some(head);
            return Vec::new();
        }
        self.begin(&head)
    }

    /// Returns the lines at the beginning of the input, if the input is text.
    fn begin(&mut self, head: &[u8]) -> Vec<Line> {
        match foreign::recognize(head) {
            Some(what) => {
                let content = Err(BadLine { is_last: true, ..BadLine::whole(what) });
                vec![Line { number: self.number, content }]
            }
            None => self.split(head),
        }
    }

    fn split(&mut self, mut block: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(end) = memchr(b'\n', block) {
            let (line, rest) = (&block[..end], &block[end + 1..]);
            if self.begun.is_empty() && !self.is_skipping {
                lines.extend(self.line(line));
            } else {
                self.keep(line);
                lines.extend(self.end_begun());
            }
            block = rest;
        }
        self.keep(block);
        lines
    }

    /// Returns the last line, if it had no line end.
    pub(crate) fn finish(&mut self) -> Vec<Line> {
        let mut lines = self.head.take().map(|head| self.begin(&head)).unwrap_or_default();
        let is_over = lines.iter().any(Line::is_end);
        if !is_over && (!self.begun.is_empty() || self.is_skipping) {
            lines.extend(self.end_begun());
        }
        lines
    }

    /// A bad line for the rest of an input that cannot be read.
    pub(crate) fn broken(&self, error: &io::Error) -> Line {
        let what = format!("it cannot be read: {error}");
        let content = Err(BadLine { is_last: true, ..BadLine::whole(what) });
        Line { number: self.number, content }
    }

    /// Keeps a part of a line. One byte beyond the limit is enough to know that the line is too
    /// long.
    fn keep(&mut self, part: &[u8]) {
        if self.begun.len() + part.len() > self.longest {
            self.begun = Vec::new();
            self.is_skipping = true;
        } else if !self.is_skipping {
            self.begun.extend_from_slice(part);
        }
    }

    /// Ends the line that has begun. Returns `None` if the line is blank.
    fn end_begun(&mut self) -> Option<Line> {
        if std::mem::take(&mut self.is_skipping) {
            return Some(self.too_long());
        }
        let mut begun = std::mem::take(&mut self.begun);
        let line = self.line(&begun);
        begun.clear();
        // The memory of one long line is not kept for the short lines after it.
        begun.shrink_to(KEPT);
        self.begun = begun;
        line
    }

    /// Parses a line. Returns `None` if the line is blank.
    fn line(&mut self, bytes: &[u8]) -> Option<Line> {
        if bytes.len() > self.longest {
            return Some(self.too_long());
        }
        let mut content = parse(without_mark(bytes, self.number)).transpose();
        if let (1, Some(Err(bad))) = (self.number, &mut content) {
            bad.hint = table(without_mark(bytes, 1)).or(bad.hint);
        }
        let line = content.map(|content| Line { number: self.number, content });
        self.number += 1;
        line
    }

    fn too_long(&mut self) -> Line {
        let what = format!("the line is longer than {} bytes", self.longest);
        let content = Err(BadLine::whole(what));
        let line = Line { number: self.number, content };
        self.number += 1;
        line
    }
}

/// The byte order mark.
const MARK: &str = "\u{feff}";

/// Removes the byte order mark with which Windows editors begin UTF-8 files.
fn without_mark(bytes: &[u8], line: u64) -> &[u8] {
    if line == 1 { bytes.strip_prefix(MARK.as_bytes()).unwrap_or(bytes) } else { bytes }
}

/// Parses the document of a line. Returns `None` if the line is blank.
fn parse(bytes: &[u8]) -> Result<Option<Value>, BadLine> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| BadLine::at(error.valid_up_to() + 1, "invalid UTF-8"))?;
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() {
        return Ok(None);
    }
    match serde_json::from_str(trimmed) {
        Ok(document @ Value::Object(_)) => match wide::find(trimmed) {
            None => Ok(Some(document)),
            Some((at, number)) => Err(BadLine::at(indent(text) + at + 1, wide::refusal(number))),
        },
        Ok(other) => {
            let what = format!("a document must be an object, not {}", kind(&other));
            let hint = hint(trimmed, None);
            Err(BadLine { hint, ..BadLine::at(indent(text) + 1, what) })
        }
        Err(error) => {
            let column = error.column();
            let what = describe(trimmed, column, &error);
            let hint = hint(trimmed, Some(error.classify()));
            Err(BadLine { hint, ..BadLine::at(indent(text) + column.max(1), what) })
        }
    }
}

/// The hint for a line that is not a JSON object, if the line looks like a part of another form: JSON
/// over several lines, a list of documents, or text without JSON. `error` is the parser's.
fn hint(line: &str, error: Option<Category>) -> Option<&'static str> {
    match (line.as_bytes().first(), error) {
        // A mistake within an object concerns only this line, except for an object that does not end.
        (Some(b'{'), Some(Category::Eof)) => {
            Some("each line must be one JSON object; jq -c . FILE makes it so")
        }
        (Some(b'['), None | Some(Category::Eof)) => {
            Some("each line must be one JSON object; jq -c '.[]' FILE makes it so")
        }
        (Some(b'{' | b'['), _) => None,
        _ => Some(
            "each line must be one JSON object, such as {\"text\": \"hello\"}; jq -cR '{text: .}' FILE makes \
             one of each line of text",
        ),
    }
}

/// The hint for a table whose fields are separated so. `$reader` is an argument of Python's `DictReader`.
macro_rules! table {
    ($name:literal, $reader:literal) => {
        concat!(
            "this looks like a table (",
            $name,
            "); each line must be one JSON object: python3 -c 'import csv, json, sys; \
             [print(json.dumps(row)) for row in csv.DictReader(sys.stdin",
            $reader,
            ")]' <FILE makes one of each row, with all values as text"
        )
    };
}

/// The hint for a first line that looks like the header of a table: several names with separators
/// between them. A sentence has a space after its commas.
fn table(line: &[u8]) -> Option<&'static str> {
    let line = std::str::from_utf8(line).ok()?.trim_end_matches(['\r', '\n']);
    let is_name = |name: &str| {
        // A number is no name: the table has no header.
        let begins_well =
            name.starts_with(|first: char| first.is_alphabetic() || "_\"'#".contains(first));
        begins_well && name.trim() == name && !name.contains(['{', '}', '[', ']', ':'])
    };
    let tables = [
        ('\t', table!("TSV", ", delimiter=\"\\t\"")),
        (';', table!("CSV with semicolons", ", delimiter=\";\"")),
        (',', table!("CSV", "")),
    ];
    let mut found = tables
        .iter()
        .filter(|(separator, _)| line.contains(*separator) && line.split(*separator).all(is_name));
    found.next().map(|(_, hint)| *hint)
}

/// Describes a value's kind in words.
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
    // Python's json module writes these names, which JSON does not have.
    let at = column.saturating_sub(1);
    let rest = text.get(at..).unwrap_or_default();
    if ["NaN", "Infinity", "-Infinity"].iter().any(|name| rest.starts_with(name))
        || text.get(at.saturating_sub(1)..).is_some_and(|rest| rest.starts_with("-Infinity"))
    {
        return "JSON has neither NaN nor infinity".to_owned();
    }
    if rest.starts_with(MARK) {
        return "a byte order mark (EF BB BF) is here, as after joining files; remove it"
            .to_owned();
    }
    let message = error.to_string();
    // The caller prints the line and the column before this text.
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reads the input in one block, in small blocks and byte by byte, and checks that the lines are
    /// the same.
    fn lines(bytes: &[u8], longest: usize) -> Vec<Line> {
        let read = |size: usize| {
            let mut lines = Lines::new(longest);
            let mut read: Vec<_> = bytes.chunks(size).flat_map(|block| lines.push(block)).collect();
            read.extend(lines.finish());
            // The caller stops at this line.
            let end = read.iter().position(Line::is_end).map_or(read.len(), |end| end + 1);
            read.truncate(end);
            read
        };
        let whole = read(bytes.len().max(1));
        assert_eq!(read(7), whole);
        if bytes.len() < 1 << 10 {
            assert_eq!(read(1), whole);
        }
        whole
    }

    #[test]
    fn blank_lines_are_counted_and_give_no_document() {
        let read = lines(b"\xEF\xBB\xBF{\"id\":\"a\"}\r\n\n \t\n{\"id\":\"b\"}", 100);
        let expected = [("a", 1), ("b", 4)]
            .map(|(id, number)| Line { number, content: Ok(json!({ "id": id })) });
        assert_eq!(read, expected);
        assert_eq!(lines(b"", 100), []);
        assert_eq!(lines(b"\n\n", 100), []);
    }

    #[test]
    fn a_bad_line_is_reported_with_its_column_and_the_next_line_is_read() {
        let mark = "a byte order mark (EF BB BF) is here, as after joining files; remove it";
        let table: [(&[u8], usize, &str); 12] = [
            ("\u{feff}{\"a\": 1}".as_bytes(), 1, mark),
            ("{\"a\":\u{feff}1}".as_bytes(), 6, mark),
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
            let read = lines(&[b"{}\n", bad, b"\n{}\n"].concat(), 100);
            let told = read[1].content.as_ref().unwrap_err();
            let shown = bad.escape_ascii();
            assert_eq!((told.column, &*told.what), (Some(column), what), "{shown}");
            assert_eq!(read[2], Line { number: 3, content: Ok(json!({})) });
        }
    }

    #[test]
    fn a_line_of_another_form_has_a_hint_and_a_mistake_in_an_object_has_none() {
        for (bad, hint) in [
            ("{", "jq -c . FILE"),
            ("{\"a\": [", "jq -c . FILE"),
            ("[", "jq -c '.[]' FILE"),
            ("[{\"a\": 1}, {}]", "jq -c '.[]' FILE"),
            ("id,text", "(CSV); each line must be"),
            ("\"id\";text", "(CSV with semicolons); each"),
            ("id\ttext", "(TSV); each line must be"),
            ("Hello, world", "one JSON object, such as {"),
            ("1,2", "one JSON object, such as {"),
            ("\"a\": 1,", "one JSON object, such as {"),
            ("{\"a\": }", ""),
            ("{\"a\": NaN}", ""),
            ("{\"a\": 1e999}", ""),
            ("{}{}", ""),
            ("[1, x]", ""),
        ] {
            let read = lines(bad.as_bytes(), 100);
            let told = read[0].content.as_ref().unwrap_err().hint;
            assert_eq!(told.is_none(), hint.is_empty(), "{bad}: {told:?}");
            assert!(told.unwrap_or_default().contains(hint), "{bad}: {told:?}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_skipped_as_a_whole() {
        let long = format!("{{}}\n{{\"a\": \"{}\"}}\n{{}}\n", "x".repeat(3 * KEPT));
        let read = lines(long.as_bytes(), KEPT);
        let numbers: Vec<_> = read.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(read[1].content.as_ref().unwrap_err().what.contains("longer than 65536 bytes"));
        assert!(read[2].content.is_ok());
    }

    #[test]
    fn a_document_as_long_as_the_limit_is_read() {
        assert!(lines(b"{\"a\": 1}\n{}", 8)[0].content.is_ok());
        assert!(lines(b"{\"a\": 1}", 8)[0].content.is_ok());
        assert!(lines(b"{\"a\": 1}", 7)[0].content.is_err());
    }

    #[test]
    fn an_input_that_is_not_text_is_one_bad_line_and_the_last() {
        let gzip = [b"\x1f\x8b\x08\x00\n\n".as_slice(), &[10; 10_000]].concat();
        for input in [gzip.as_slice(), b"\x1f\x8b", b"\xff\xfe{\x00}\x00\n\x00"] {
            let read = lines(input, 100);
            assert_eq!(read.len(), 1, "{read:?}");
            assert!(read[0].content.as_ref().unwrap_err().is_last);
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "{\"a\":".repeat(100_000);
        let read = lines(deep.as_bytes(), 1 << 20);
        assert!(read[0].content.as_ref().unwrap_err().what.contains("recursion limit"));
    }

    #[test]
    fn a_whole_number_that_would_be_rounded_is_refused_with_its_place() {
        let read =
            lines(b"  {\"id\": 18446744073709551616}\n{\"id\": 18446744073709551615}\n", 100);
        let bad = read[0].content.as_ref().unwrap_err();
        assert_eq!((bad.column, bad.what.contains("beyond 64 bits")), (Some(10), true), "{bad:?}");
        assert!(read[1].content.is_ok());
    }
}

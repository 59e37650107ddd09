//! A document v1 on its way through the gateway. It is written with all 19 fields; empty and zero
//! values become null.

use std::borrow::Cow;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine, alphabet};

use super::Data;
use crate::identity::Ids;
use crate::json::{
    Array, Entries, Raw, array, coerced_float, coerced_integer, coerced_text, record, write,
    write_floats,
};
use crate::sample::Change;
use crate::validation::{Complaint, Complaints, NO_DICT, NO_FLOAT, NO_INTEGER, NO_LIST, NO_TEXT};

record! {
    /// A document's fields as they were sent.
    Document {
        id: Raw<'a> = "id",
        parent_id: Raw<'a> = "parent_id",
        granularity: Raw<'a> = "granularity",
        adjacency: Raw<'a> = "adjacency",
        blob: Raw<'a> = "blob",
        tensor: Raw<'a> = "tensor",
        mime_type: Raw<'a> = "mime_type",
        text: Raw<'a> = "text",
        weight: Raw<'a> = "weight",
        uri: Raw<'a> = "uri",
        tags: Raw<'a> = "tags",
        offset: Raw<'a> = "offset",
        location: Raw<'a> = "location",
        embedding: Raw<'a> = "embedding",
        modality: Raw<'a> = "modality",
        evaluations: Raw<'a> = "evaluations",
        scores: Raw<'a> = "scores",
        chunks: Raw<'a> = "chunks",
        matches: Raw<'a> = "matches",
    }
}

record! {
    /// A named score.
    Score {
        value: Raw<'a> = "value",
        op_name: Raw<'a> = "op_name",
        description: Raw<'a> = "description",
        ref_id: Raw<'a> = "ref_id",
    }
}

/// A score without content, as it is written.
const EMPTY_SCORE: &[u8] = br#"{"value":null,"op_name":null,"description":null,"ref_id":null}"#;
/// The deepest chunks. Deeper ones break the gateway before they can exhaust its stack.
const DEEPEST: usize = 64;

/// Writes documents, and collects complaints about them.
pub(super) struct Writer<'w, 'c> {
    pub(super) out: Vec<u8>,
    pub(super) complaints: &'c mut Complaints,
    ids: &'w Ids,
    change: Change,
    depth: usize,
}

/// The place of a document within others, which determines some of its fields.
enum Place<'p> {
    Top,
    Chunk { parent: &'p str, granularity: i64 },
    Match { adjacency: i64 },
}

impl<'w, 'c> Writer<'w, 'c> {
    pub(super) fn new(ids: &'w Ids, change: Change, complaints: &'c mut Complaints) -> Self {
        Self { out: Vec::with_capacity(512), complaints, ids, change, depth: 0 }
    }

    /// Writes a list.
    pub(super) fn documents(&mut self, documents: &[Document<'_>]) {
        self.list(documents, || Place::Top);
    }

    fn list<'p>(&mut self, documents: &[Document<'_>], place: impl Fn() -> Place<'p>) {
        self.out.push(b'[');
        for (index, document) in documents.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.complaints.enter(index);
            if document.stray {
                self.complaints.here(&NO_DICT);
            } else {
                self.document(document, &place());
            }
            self.complaints.leave();
        }
        self.out.push(b']');
    }

    fn document(&mut self, document: &Document<'_>, place: &Place<'_>) {
        let id = self.id(document.id);
        let granularity = match *place {
            Place::Chunk { granularity, .. } => Some(granularity),
            _ => self.integer("granularity", document.granularity),
        };
        let adjacency = match *place {
            Place::Match { adjacency } => Some(adjacency),
            _ => self.integer("adjacency", document.adjacency),
        };
        self.out.push(b'{');
        self.value("id", &id);
        match place {
            Place::Chunk { parent, .. } => self.value("parent_id", &Some(parent)),
            _ => self.text("parent_id", document.parent_id),
        }
        self.value("granularity", &granularity.filter(|&level| level != 0));
        self.value("adjacency", &adjacency.filter(|&level| level != 0));
        self.content(document);
        self.text("mime_type", document.mime_type);
        self.float("weight", document.weight);
        self.text("uri", document.uri);
        self.tags(document.tags);
        self.float("offset", document.offset);
        self.location(document.location);
        self.array("embedding", document.embedding, false);
        self.text("modality", document.modality);
        self.scores("evaluations", document.evaluations);
        self.scores("scores", document.scores);
        self.nested("chunks", document.chunks, || Place::Chunk {
            parent: &id,
            granularity: granularity.unwrap_or_default().saturating_add(1),
        });
        self.nested("matches", document.matches, || Place::Match {
            adjacency: adjacency.unwrap_or_default().saturating_add(1),
        });
        self.out.push(b'}');
    }

    /// The document's id, or a new one.
    fn id<'a>(&mut self, id: Raw<'a>) -> Cow<'a, str> {
        match id.given().map(coerced_text) {
            Some(Some(id)) if !id.is_empty() => id,
            Some(None) => {
                self.complaints.at("id", &NO_TEXT);
                Cow::Borrowed("")
            }
            _ => Cow::Owned(self.ids.make()),
        }
    }

    fn key(&mut self, name: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn value(&mut self, name: &str, value: &impl serde::Serialize) {
        self.key(name);
        write(&mut self.out, value);
    }

    fn null(&mut self, name: &str) {
        self.key(name);
        self.out.extend_from_slice(b"null");
    }

    fn complain(&mut self, name: &str, complaint: &Complaint<'_>) {
        self.complaints.at(name, complaint);
        self.null(name);
    }

    fn text(&mut self, name: &str, text: Raw<'_>) {
        match text.given() {
            None | Some("\"\"") => self.null(name),
            // A string goes through as it was written, escapes and all.
            Some(text) if text.starts_with('"') => {
                self.key(name);
                self.out.extend_from_slice(text.as_bytes());
            }
            Some(text) => match coerced_text(text) {
                Some(text) => self.value(name, &text),
                None => self.complain(name, &NO_TEXT),
            },
        }
    }

    fn integer(&mut self, name: &str, number: Raw<'_>) -> Option<i64> {
        let integer = coerced_integer(number.given()?);
        if integer.is_none() {
            self.complaints.at(name, &NO_INTEGER);
        }
        integer
    }

    fn float(&mut self, name: &str, number: Raw<'_>) {
        match number.given().map(coerced_float) {
            None => self.null(name),
            Some(None) => self.complain(name, &NO_FLOAT),
            Some(Some(number)) => self.value(name, &Some(single(number)).filter(|&n| n != 0.0)),
        }
    }

    fn location(&mut self, location: Raw<'_>) {
        let Some(location) = location.given() else {
            return self.null("location");
        };
        let Ok(numbers) = serde_json::from_str::<Vec<Raw<'_>>>(location) else {
            return self.complain("location", &NO_LIST);
        };
        let numbers: Option<Vec<f64>> =
            numbers.iter().map(|n| n.given().and_then(coerced_float).map(single)).collect();
        match numbers {
            None => self.complain("location", &NO_FLOAT),
            Some(numbers) if numbers.is_empty() => self.null("location"),
            Some(numbers) => self.value("location", &numbers),
        }
    }

    /// Writes the content. A tensor hides a blob, and a blob hides a text. An executor that sets
    /// the text drops tensor and blob.
    fn content(&mut self, document: &Document<'_>) {
        let sets_text = self.change == Change::Upper && self.depth == 0;
        let has_tensor = document.tensor.given().is_some();
        let has_blob = !matches!(document.blob.given(), None | Some("\"\""));
        self.array("tensor", document.tensor, sets_text);
        self.blob(document.blob, has_tensor || sets_text);
        if sets_text && (has_tensor || has_blob) {
            self.null("text");
        } else if sets_text {
            self.upper_text(document.text);
        } else if has_tensor || has_blob {
            self.null("text");
        } else {
            self.text("text", document.text);
        }
    }

    fn upper_text(&mut self, text: Raw<'_>) {
        match text.given().map(coerced_text) {
            None => self.null("text"),
            Some(None) => self.complain("text", &NO_TEXT),
            Some(Some(text)) if text.is_empty() => self.null("text"),
            Some(Some(text)) => self.value("text", &text.to_uppercase()),
        }
    }

    fn blob(&mut self, blob: Raw<'_>, hidden: bool) {
        match blob.given() {
            None | Some("\"\"") => self.null("blob"),
            Some(blob) => {
                let read;
                let blob = if is_base64(blob) {
                    blob
                } else {
                    let text = serde_json::from_str::<String>(blob).ok();
                    match text.and_then(|text| python_base64(&text)) {
                        Some(bytes) if bytes.is_empty() => return self.null("blob"),
                        Some(bytes) => {
                            read = format!("\"{}\"", STANDARD.encode(bytes));
                            &read
                        }
                        None => {
                            self.complaints.broken = true;
                            blob
                        }
                    }
                };
                self.key("blob");
                let shown = if hidden { "null" } else { blob };
                self.out.extend_from_slice(shown.as_bytes());
            }
        }
    }

    fn array(&mut self, name: &str, numbers: Raw<'_>, hidden: bool) {
        let Some(numbers) = numbers.given() else {
            return self.null(name);
        };
        match array(numbers) {
            Array::Scalar => {
                let complaint = Complaint("can not determine the array type", "type_error");
                self.complain(name, &complaint);
            }
            Array::Ragged => {
                let complaint = Complaint(
                    "setting an array element with a sequence. The requested array has an \
                     inhomogeneous shape",
                    "value_error",
                );
                self.complain(name, &complaint);
            }
            Array::Even { mixed, holes } => {
                self.complaints.broken |= holes;
                self.key(name);
                if hidden {
                    self.out.extend_from_slice(b"null");
                } else if mixed {
                    write_floats(&mut self.out, numbers);
                } else {
                    self.out.extend_from_slice(numbers.as_bytes());
                }
            }
        }
    }

    fn tags(&mut self, tags: Raw<'_>) {
        let tag = match self.change {
            Change::Tag(tag) if self.depth == 0 => Some(tag),
            _ => None,
        };
        let entries: Entries<'_> = match tags.given().map(serde_json::from_str) {
            None => Entries::default(),
            Some(Ok(entries)) => entries,
            Some(Err(_)) => return self.complain("tags", &NO_DICT),
        };
        if entries.0.is_empty() && tag.is_none() {
            return self.null("tags");
        }
        self.key("tags");
        let mut separator = b'{';
        for (name, value) in entries.0.iter().filter(|(name, _)| Some(&**name) != tag) {
            self.out.push(separator);
            separator = b',';
            write(&mut self.out, &**name);
            self.out.push(b':');
            match value.given() {
                None => self.out.extend_from_slice(b"null"),
                // Real gateways read these two integers as booleans, at the top level only.
                Some("1") => self.out.extend_from_slice(b"true"),
                Some("0") => self.out.extend_from_slice(b"false"),
                Some(value) => write_floats(&mut self.out, value),
            }
        }
        if let Some(tag) = tag {
            self.out.push(separator);
            write(&mut self.out, tag);
            self.out.extend_from_slice(b":true");
        }
        self.out.push(b'}');
    }

    fn scores(&mut self, name: &str, scores: Raw<'_>) {
        let entries: Entries<'_> = match scores.given().map(serde_json::from_str) {
            None => return self.null(name),
            Some(Ok(entries)) => entries,
            Some(Err(_)) => return self.complain(name, &NO_DICT),
        };
        self.key(name);
        let start = self.out.len();
        let mut separator = b'{';
        self.complaints.enter(name);
        for (key, score) in &entries.0 {
            let before = self.out.len();
            self.out.push(separator);
            write(&mut self.out, &**key);
            self.out.push(b':');
            let score_start = self.out.len();
            self.score(key, *score);
            // A score without content is lost in protobuf.
            if self.out[score_start..] == *EMPTY_SCORE {
                self.out.truncate(before);
            } else {
                separator = b',';
            }
        }
        self.complaints.leave();
        if self.out.len() == start {
            self.out.extend_from_slice(b"null");
        } else {
            self.out.push(b'}');
        }
    }

    fn score(&mut self, key: &str, score: Raw<'_>) {
        // The JSON was read once already, so only its shape can be wrong.
        let score: Score<'_> =
            serde_json::from_str(score.given().unwrap_or("null")).unwrap_or_default();
        if score.stray {
            self.complaints.at(key, &NO_DICT);
        }
        self.out.push(b'{');
        self.float("value", score.value);
        self.text("op_name", score.op_name);
        self.text("description", score.description);
        self.text("ref_id", score.ref_id);
        self.out.push(b'}');
    }

    fn nested<'p>(&mut self, name: &str, documents: Raw<'_>, place: impl Fn() -> Place<'p>) {
        let Some(json) = documents.given() else {
            return self.null(name);
        };
        if self.depth == DEEPEST {
            self.complaints.broken = true;
            return self.null(name);
        }
        match serde_json::from_str(json) {
            Ok(Data::List(documents)) if documents.is_empty() => self.null(name),
            Ok(Data::List(documents)) => {
                self.key(name);
                self.depth += 1;
                self.complaints.enter(name);
                self.list(&documents, place);
                self.complaints.leave();
                self.depth -= 1;
            }
            _ => self.complain(name, &NO_LIST),
        }
    }
}

/// A number as the 32 bits of protobuf's `float` keep it.
fn single(number: f64) -> f64 {
    f64::from(number as f32)
}

/// Whether a JSON string holds standard base64, padded.
fn is_base64(json: &str) -> bool {
    let Some(text) = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')) else {
        return false;
    };
    // JSON may escape the slash.
    let text =
        if text.contains("\\/") { Cow::Owned(text.replace("\\/", "/")) } else { text.into() };
    let digits = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

/// The bytes that Python's `b64decode` finds in text that is not standard base64: characters that are no
/// digits are skipped, and what follows the padding is dropped. `None` if Python raises.
fn python_base64(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() {
        return None;
    }
    let (mut digits, mut padding) = (String::new(), 0);
    for character in text.chars() {
        let held = digits.len() % 4;
        match character {
            '=' if held >= 2 => {
                padding += 1;
                if held + padding == 4 {
                    break;
                }
            }
            c if c.is_ascii_alphanumeric() || matches!(c, '+' | '/') => {
                digits.push(c);
                padding = 0;
            }
            _ => {}
        }
    }
    let held = digits.len() % 4;
    if held > 0 && held + padding != 4 {
        return None;
    }
    // Python ignores bits behind the last whole byte.
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone);
    GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(digits).ok()
}

/// The base64 of `size` letters x.
pub(super) fn base64_of_x(size: usize) -> String {
    let mut text = "eHh4".repeat(size / 3);
    text.push_str(["", "eA==", "eHg="][size % 3]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_standard_and_padded() {
        for (json, expected) in [
            (r#""AAE=""#, true),
            (r#""+/\/A""#, true),
            (r#""""#, true),
            (r#""AAE""#, false),
            (r#""A-_=""#, false),
            (r#""A===""#, false),
            ("5", false),
        ] {
            assert_eq!(is_base64(json), expected, "{json}");
        }
        assert_eq!(base64_of_x(4), "eHh4eA==");
    }

    #[test]
    fn base64_that_is_not_standard_is_read_as_3_14_1_was_seen_to_read_it() {
        for (text, bytes) in [
            ("!!", Some("")),
            ("====", Some("")),
            ("Y Q = =", Some("a")),
            ("YWI=YWI=", Some("ab")),
            ("a", None),
            ("YQ", None),
            ("YQ!=", None),
            ("\u{e9}", None),
        ] {
            let bytes = bytes.map(|bytes| bytes.as_bytes().to_vec());
            assert_eq!(python_base64(text), bytes, "{text}");
        }
    }
}

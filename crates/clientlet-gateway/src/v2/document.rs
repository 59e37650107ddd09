//! A document v2 on its way through the gateway: an `Item`, the class that the executor declares,
//! every field of which is in the answer.

use std::borrow::Cow;

use crate::endpoint::Change;
use crate::identity::Ids;
use crate::json::{
    Array, Entries, Raw, array, coerced_boolean, coerced_float, coerced_integer, coerced_text,
    has_wide_integer, record, write, write_floats,
};
use crate::validation::{
    Complaint, Complaints, NO_BOOLEAN, NO_DICT, NO_FLOAT, NO_INTEGER, NO_LIST, NO_TEXT, NULL,
};

record! {
    /// An item's fields as they were sent.
    Item {
        id: Raw<'a> = "id",
        tags: Raw<'a> = "tags",
        ratio: Raw<'a> = "ratio",
        words: Raw<'a> = "words",
        url: Raw<'a> = "url",
        embedding: Raw<'a> = "embedding",
        tensor: Raw<'a> = "tensor",
        flag: Raw<'a> = "flag",
        number: Raw<'a> = "number",
        blob: Raw<'a> = "blob",
        text: Raw<'a> = "text",
        part: Raw<'a> = "part",
        parts: Raw<'a> = "parts",
        chunks: Raw<'a> = "chunks",
    }
}

record! {
    /// A document within an item.
    Part {
        id: Raw<'a> = "id",
        text: Raw<'a> = "text",
        tensor: Raw<'a> = "tensor",
    }
}

/// A gateway splits what comes over HTTP into requests of 100 documents and answers with the first.
pub(super) const MOST_DOCUMENTS: usize = 100;

/// Writes items, complaining about what they must not be.
pub(super) struct Writer<'w, 'c> {
    pub(super) out: Vec<u8>,
    pub(super) complaints: &'c mut Complaints,
    ids: &'w Ids,
    change: Change,
}

impl<'w, 'c> Writer<'w, 'c> {
    /// Begins an answer, which begins with its data.
    pub(super) fn new(ids: &'w Ids, change: Change, complaints: &'c mut Complaints) -> Self {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(b"{\"data\":");
        Self { out, complaints, ids, change }
    }

    /// Writes a list. All of it is looked at, but no more than the first 100 come back.
    pub(super) fn items(&mut self, items: &[Item<'_>]) {
        let mut left = MOST_DOCUMENTS;
        let mut end = None;
        self.list(items, |writer, item| {
            if item.stray {
                writer.complaints.here(&NO_DICT);
            } else {
                writer.item(item);
            }
            left = left.saturating_sub(1);
            if left == 0 {
                end.get_or_insert(writer.out.len());
            }
        });
        if let Some(end) = end {
            self.out.truncate(end);
            self.out.push(b']');
        }
    }

    /// Writes the list of the one item.
    pub(super) fn one(&mut self, item: &Item<'_>) {
        self.out.push(b'[');
        self.item(item);
        self.out.push(b']');
    }

    fn list<T>(&mut self, elements: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.out.push(b'[');
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.complaints.enter(index);
            write(self, element);
            self.complaints.leave();
        }
        self.out.push(b']');
    }

    fn item(&mut self, item: &Item<'_>) {
        self.out.push(b'{');
        self.text("id", item.id);
        self.tags(item.tags);
        self.scalar("ratio", item.ratio, coerced_float, &NO_FLOAT);
        self.words(item.words);
        self.text("url", item.url);
        self.array("embedding", item.embedding);
        self.array("tensor", item.tensor);
        self.scalar("flag", item.flag, coerced_boolean, &NO_BOOLEAN);
        self.number(item.number);
        self.text("blob", item.blob);
        if self.change == Change::Upper {
            self.upper_text(item.text);
        } else {
            self.text("text", item.text);
        }
        self.part(item.part);
        self.parts(item.parts);
        self.chunks(item.chunks);
        self.out.push(b'}');
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

    fn raw(&mut self, name: &str, json: &str) {
        self.key(name);
        self.out.extend_from_slice(json.as_bytes());
    }

    fn complain(&mut self, name: &str, complaint: &Complaint<'_>) {
        self.complaints.at(name, complaint);
        self.raw(name, "null");
    }

    fn text(&mut self, name: &str, text: Raw<'_>) {
        match text.given() {
            None => self.raw(name, "null"),
            // A string goes through as it was written, escapes and all.
            Some(text) if text.starts_with('"') => self.raw(name, text),
            Some(text) => match coerced_text(text) {
                Some(text) => self.value(name, &text),
                None => self.complain(name, &NO_TEXT),
            },
        }
    }

    /// The executor's `/upper` takes a missing text for an empty one.
    fn upper_text(&mut self, text: Raw<'_>) {
        match text.given().map_or(Some(Cow::Borrowed("")), coerced_text) {
            Some(text) => self.value("text", &text.to_uppercase()),
            None => self.complain("text", &NO_TEXT),
        }
    }

    fn scalar<T: serde::Serialize>(
        &mut self,
        name: &str,
        json: Raw<'_>,
        coerced: impl Fn(&str) -> Option<T>,
        complaint: &Complaint<'_>,
    ) {
        match json.given().map(coerced) {
            None => self.raw(name, "null"),
            Some(Some(value)) => self.value(name, &value),
            Some(None) => self.complain(name, complaint),
        }
    }

    fn number(&mut self, number: Raw<'_>) {
        let integer = number.given().and_then(coerced_integer);
        // Integers have 32 bits on the way to the executor, and a wider one breaks the gateway.
        self.complaints.broken |= integer.is_some_and(|n| i32::try_from(n).is_err());
        self.scalar("number", number, coerced_integer, &NO_INTEGER);
    }

    fn tags(&mut self, tags: Raw<'_>) {
        let entries: Entries<'_> = match tags.given().map(serde_json::from_str) {
            None if tags.is_null() => return self.refuse_tags(&NULL),
            None => Entries::default(),
            Some(Ok(entries)) => entries,
            Some(Err(_)) => return self.refuse_tags(&NO_DICT),
        };
        self.complaints.broken |= tags.given().is_some_and(has_wide_integer);
        let Change::Tag(tag) = self.change else {
            return self.raw("tags", tags.given().unwrap_or("{}"));
        };
        self.key("tags");
        self.out.push(b'{');
        for (name, value) in entries.0.iter().filter(|(name, _)| name != tag) {
            write(&mut self.out, &**name);
            self.out.push(b':');
            self.out.extend_from_slice(value.given().unwrap_or("null").as_bytes());
            self.out.push(b',');
        }
        write(&mut self.out, tag);
        self.out.extend_from_slice(b":true}");
    }

    /// Tags are checked not by the route but where the documents are made, and there a complaint
    /// is the gateway's own failure.
    fn refuse_tags(&mut self, complaint: &Complaint<'_>) {
        let Complaint(message, kind) = complaint;
        self.complaints.refused = Some(format!(
            "ValidationError(model='Item', errors=[{{'loc': ('tags',), 'msg': '{message}', \
             'type': '{kind}'}}])"
        ));
    }

    fn words(&mut self, words: Raw<'_>) {
        let Some(words) = self.elements::<Raw<'_>>("words", words) else {
            return;
        };
        self.list(&words, |writer, word| match word.given().map(coerced_text) {
            Some(Some(word)) => write(&mut writer.out, &word),
            Some(None) => writer.complaints.here(&NO_TEXT),
            None => writer.complaints.here(&NULL),
        });
        self.complaints.leave();
    }

    /// Writes the key of a list that may be left out but not be null, and reads its elements.
    /// Where the result is something, the place of complaints is in the list.
    fn elements<'a, T: serde::Deserialize<'a>>(
        &mut self,
        name: &str,
        list: Raw<'a>,
    ) -> Option<Vec<T>> {
        if list.is_null() {
            self.complain(name, &NULL);
            return None;
        }
        match serde_json::from_str(list.given().unwrap_or("[]")) {
            Ok(elements) => {
                self.key(name);
                self.complaints.enter(name);
                Some(elements)
            }
            Err(_) => {
                self.complain(name, &NO_LIST);
                None
            }
        }
    }

    fn array(&mut self, name: &str, numbers: Raw<'_>) {
        let Some(numbers) = numbers.given() else {
            return self.raw(name, "null");
        };
        match array(numbers) {
            Array::Scalar | Array::Ragged => {
                let complaint = Complaint(
                    "Expected one of [torch.Tensor, tensorflow.Tensor, numpy.ndarray] compatible \
                     type, got <class 'list'>",
                    "type_error",
                );
                self.complain(name, &complaint);
            }
            Array::Even { mixed, holes } => {
                self.complaints.broken |= holes;
                self.key(name);
                if mixed {
                    write_floats(&mut self.out, numbers);
                } else {
                    self.out.extend_from_slice(numbers.as_bytes());
                }
            }
        }
    }

    fn part(&mut self, part: Raw<'_>) {
        // The JSON was read once already, so only its shape can be wrong.
        match part.given().map(serde_json::from_str::<Part<'_>>) {
            None => self.raw("part", "null"),
            Some(Ok(part)) if !part.stray => {
                self.key("part");
                self.complaints.enter("part");
                self.write_part(&part);
                self.complaints.leave();
            }
            Some(_) => self.complain("part", &NO_DICT),
        }
    }

    fn parts(&mut self, parts: Raw<'_>) {
        let Some(parts) = self.elements::<Part<'_>>("parts", parts) else {
            return;
        };
        self.list(&parts, |writer, part| {
            if part.stray {
                writer.complaints.here(&NO_DICT);
            } else {
                writer.write_part(part);
            }
        });
        self.complaints.leave();
    }

    fn write_part(&mut self, part: &Part<'_>) {
        self.out.push(b'{');
        self.text("id", part.id);
        self.text("text", part.text);
        self.array("tensor", part.tensor);
        self.out.push(b'}');
    }

    /// An optional list of documents loses all but the ids on its way through a real gateway.
    fn chunks(&mut self, chunks: Raw<'_>) {
        if chunks.given().is_none() {
            return self.raw("chunks", "null");
        }
        let Some(chunks) = self.elements::<Part<'_>>("chunks", chunks) else {
            return;
        };
        self.list(&chunks, |writer, chunk| {
            if chunk.stray {
                writer.complaints.here(&NO_DICT);
            }
            let id = chunk.id.given().and_then(coerced_text);
            writer.out.push(b'{');
            writer.value("id", &id.unwrap_or_else(|| writer.ids.make().into()));
            writer.out.push(b'}');
        });
        self.complaints.leave();
    }
}

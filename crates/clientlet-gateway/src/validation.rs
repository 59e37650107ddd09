//! Complaints about requests that cannot be read: bodies of 422 in the form of FastAPI.

use serde_json::{Value, json};

use crate::http_reply::HttpReply;

/// The complaints about one request's data, collected while its documents are read.
#[derive(Debug)]
pub(crate) struct Complaints {
    path: Vec<Value>,
    found: Vec<Value>,
    /// The gateway itself broke: the answer is a plain 500 and not a list of complaints.
    pub(crate) broken: bool,
    /// The executor raised this exception when it read the documents: the answer is a 500 with this
    /// detail.
    pub(crate) refused: Option<String>,
}

impl Complaints {
    pub(crate) fn new() -> Self {
        Self { path: vec!["body".into()], found: Vec::new(), broken: false, refused: None }
    }

    /// Enters a key or an element; [`leave`](Self::leave) goes back.
    pub(crate) fn enter(&mut self, step: impl Into<Value>) {
        self.path.push(step.into());
    }

    pub(crate) fn leave(&mut self) {
        self.path.pop();
    }

    /// Complains about the current place.
    pub(crate) fn here(&mut self, complaint: &Complaint<'_>) {
        self.found.push(json!({"loc": self.path, "msg": complaint.0, "type": complaint.1}));
    }

    /// Complains about a field of the current place.
    pub(crate) fn at(&mut self, field: &str, complaint: &Complaint<'_>) {
        self.enter(field);
        self.here(complaint);
        self.leave();
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// The message and the type of the first complaint.
    pub(crate) fn first(&self) -> Option<(String, String)> {
        let text = |name: &str| self.found.first()?[name].as_str().map(str::to_owned);
        Some((text("msg")?, text("type")?))
    }

    /// The answer, if there is anything to complain about.
    pub(crate) fn reply(self) -> Option<HttpReply> {
        if !self.found.is_empty() {
            Some(unprocessable(&self.found))
        } else if self.broken {
            Some(HttpReply::internal_error())
        } else {
            self.refused.map(|refused| HttpReply::detail(500, &refused))
        }
    }
}

/// A message and its type, in pydantic's words.
#[derive(Debug)]
pub(crate) struct Complaint<'a>(pub(crate) &'a str, pub(crate) &'a str);

pub(crate) const MISSING: Complaint<'_> = Complaint("field required", "value_error.missing");
pub(crate) const NULL: Complaint<'_> =
    Complaint("none is not an allowed value", "type_error.none.not_allowed");
pub(crate) const NO_DICT: Complaint<'_> = Complaint("value is not a valid dict", "type_error.dict");
pub(crate) const NO_LIST: Complaint<'_> = Complaint("value is not a valid list", "type_error.list");
pub(crate) const NO_TEXT: Complaint<'_> = Complaint("str type expected", "type_error.str");
pub(crate) const NO_INTEGER: Complaint<'_> =
    Complaint("value is not a valid integer", "type_error.integer");
pub(crate) const NO_FLOAT: Complaint<'_> =
    Complaint("value is not a valid float", "type_error.float");
pub(crate) const NO_BOOLEAN: Complaint<'_> =
    Complaint("value could not be parsed to a boolean", "type_error.bool");

/// A 422 with one complaint.
pub(crate) fn complain(path: &[&str], complaint: &Complaint<'_>) -> HttpReply {
    unprocessable(&[json!({"loc": path, "msg": complaint.0, "type": complaint.1})])
}

pub(crate) fn unprocessable(details: &[Value]) -> HttpReply {
    HttpReply::json(422, json!({"detail": details}).to_string().into_bytes())
}

/// The place at which JSON is invalid: position in bytes from 0, line and column from 1.
#[derive(Debug)]
pub(crate) struct Break {
    pub(crate) message: &'static str,
    pub(crate) position: usize,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Break {
    pub(crate) fn new(body: &str, error: &serde_json::Error) -> Self {
        let line_start: usize =
            body.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        // serde_json gives the column of the last byte that it read. Within the text this is the
        // wrong byte; at the end of the text it is the byte before.
        let column = if error.is_eof() { error.column() + 1 } else { error.column().max(1) };
        let message = python_message(&error.to_string());
        Self { message, position: line_start + column - 1, line: error.line(), column }
    }
}

/// The message of Python's json for a message of serde_json.
fn python_message(message: &str) -> &'static str {
    if message.starts_with("trailing characters") {
        "Extra data"
    } else if message.starts_with("key must be a string") {
        "Expecting property name enclosed in double quotes"
    } else if message.starts_with("expected `,`") {
        "Expecting ',' delimiter"
    } else {
        "Expecting value"
    }
}

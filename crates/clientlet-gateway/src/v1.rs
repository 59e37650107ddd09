//! Requests and answers of a gateway with documents v1, as Jina 3.14.1 has them over HTTP: the body
//! names the endpoint, the keys of the envelope are camelCase, and an exception of the executor is
//! a 200.

mod answer;
mod document;

use std::borrow::Cow;
use std::mem;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::json;

use self::answer::{HTTP, Style, WEBSOCKET, put, raised, write_head, write_routes};
pub(crate) use self::document::Document;
use self::document::Writer;
use crate::docarray::DocArray;
use crate::executor::{Journey, travel};
use crate::http_reply::HttpReply;
use crate::json::{Key, Raw, coerced_text, record, string, visit_others, write};
use crate::outage::Outage;
use crate::parameters;
use crate::protobuf::Verdict;
use crate::request::{About, Content};
use crate::sample::{Bulk, Change, Outcome};
use crate::schema::V1;
use crate::target::Target;
use crate::validation::{
    Break, Complaints, NO_DICT, NO_LIST, NO_TEXT, NULL, complain, unprocessable,
};
use crate::value::{BytesAs, Value};
use crate::world::World;

record! {
    /// A request.
    Envelope {
        data: Data<'a> = "data",
        parameters: Raw<'a> = "parameters",
        endpoint: Raw<'a> = "execEndpoint",
        snake_endpoint: Raw<'a> = "exec_endpoint",
        target: Raw<'a> = "targetExecutor",
        snake_target: Raw<'a> = "target_executor",
        header: Header<'a> = "header",
    }
}

record! {
    /// The request id, which the gateway ignores and the journal shows.
    Header {
        request_id: Raw<'a> = "requestId",
        snake_request_id: Raw<'a> = "request_id",
    }
}

/// The documents, in any form that is accepted.
#[derive(Default)]
pub(crate) enum Data<'a> {
    #[default]
    None,
    List(Vec<Document<'a>>),
    Object(Vec<(Cow<'a, str>, Data<'a>)>),
    Wrong,
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Data<'de>;

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                let mut documents = Vec::new();
                while let Some(document) = list.next_element()? {
                    documents.push(document);
                }
                Ok(Data::List(documents))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    entries.push((key.0, map.next_value()?));
                }
                Ok(Data::Object(entries))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Data::None)
            }

            visit_others!(scalars Ok(Data::Wrong));
        }

        deserializer.deserialize_any(Read)
    }
}

/// Reads a request.
///
/// # Errors
///
/// The 422 of a body that is no JSON, or no object.
pub(crate) fn read(body: &str) -> Result<Envelope<'_>, HttpReply> {
    // Python makes a dictionary of anything without elements.
    let body = if matches!(body.trim(), "[]" | "\"\"") { "{}" } else { body };
    let envelope: Envelope<'_> =
        serde_json::from_str(body).map_err(|error| bad_json(body, &error))?;
    if envelope.stray {
        return Err(complain(&["body"], &NO_DICT));
    }
    Ok(envelope)
}

fn bad_json(body: &str, error: &serde_json::Error) -> HttpReply {
    let Break { message, position, line, column } = Break::new(body, error);
    unprocessable(&[json!({
        "loc": ["body", position],
        "msg": format!("{message}: line {line} column {column} (char {position})"),
        "type": "value_error.jsondecode",
        "ctx": {
            "msg": message,
            "doc": body,
            "pos": position,
            "lineno": line,
            "colno": column,
        },
    })])
}

/// What a request in JSON carries.
pub(crate) fn content(_: DocArray, body: &Bytes) -> Option<Content> {
    let request: Value = serde_json::from_slice(body).ok()?;
    let data = request.get("data").map(|data| data.get("docs").unwrap_or(data));
    let documents = match data {
        Some(Value::List(documents)) => documents.clone(),
        _ => Vec::new(),
    };
    let documents = documents.into_iter().map(|document| V1.of_json(document.without_nulls()));
    let target = request.get("targetExecutor").or_else(|| request.get("target_executor"));
    Some(Content {
        documents: documents.collect(),
        parameters: parameters::of(request.get("parameters")),
        target_executor: target.and_then(Value::as_text).map(str::to_owned),
    })
}

impl<'a> Envelope<'a> {
    /// The id that the client gave the request.
    pub(crate) fn request_id(&self) -> Option<Cow<'a, str>> {
        let Header { request_id, snake_request_id, .. } = &self.header;
        string(request_id.given().or(snake_request_id.given())?)
    }

    pub(crate) fn documents(&self) -> &[Document<'a>] {
        match &self.data {
            Data::List(documents) => documents,
            Data::Object(entries) => entries
                .iter()
                .find_map(|(key, data)| match data {
                    Data::List(documents) if key == "docs" => Some(documents.as_slice()),
                    _ => None,
                })
                .unwrap_or_default(),
            Data::None | Data::Wrong => &[],
        }
    }

    /// The endpoint of the request. As in real gateways, the camelCase key wins.
    pub(crate) fn endpoint(&self) -> Option<Cow<'a, str>> {
        match first(self.endpoint, self.snake_endpoint).given() {
            Some(endpoint) => coerced_text(endpoint),
            None => Some(Cow::Borrowed("/")),
        }
    }
}

impl Document<'_> {
    /// The id that the document was sent with.
    pub(crate) fn sent_id(&self) -> Option<String> {
        string(self.id.given()?).map(Cow::into_owned)
    }
}

fn first<'a>(camel: Raw<'a>, snake: Raw<'a>) -> Raw<'a> {
    if camel == Raw::default() { snake } else { camel }
}

/// How running a request ended.
enum Ended {
    Answered(Vec<u8>),
    /// The executor did not answer. Holds the beginning of the answer and the documents.
    Outage(Outage, Vec<u8>, Vec<u8>),
    Refused(HttpReply),
    /// A handler answered this status, and when to come again.
    Status(u16, Option<String>),
}

/// Runs a request that came over HTTP and answers it. `path` is the endpoint if the URL names it
/// (`/index` and so on) instead of the body.
pub(crate) async fn answer(
    world: &World,
    path: Option<&str>,
    envelope: &Envelope<'_>,
    headers: &HeaderMap,
) -> HttpReply {
    match run(world, path, envelope, headers, &HTTP).await {
        Ended::Answered(body) => HttpReply::json(200, body),
        // Only /post shows what went wrong.
        Ended::Outage(..) if path.is_some() => HttpReply::internal_error(),
        Ended::Outage(outage, body, documents) => {
            outage.reply(body, envelope.parameters.given(), &documents)
        }
        Ended::Refused(reply) => reply,
        Ended::Status(code, retry_after) => HttpReply::scripted(code, retry_after),
    }
}

/// Runs a request that came as JSON over WebSocket.
pub(crate) async fn answer_message(
    world: &World,
    envelope: &Envelope<'_>,
    headers: &HeaderMap,
) -> Verdict {
    match run(world, None, envelope, headers, &WEBSOCKET).await {
        Ended::Answered(body) => Verdict::Answer(body.into()),
        Ended::Outage(outage, ..) => Verdict::Outage(outage),
        Ended::Refused(_) => Verdict::Broken,
        Ended::Status(code, retry_after) => Verdict::Status(code, retry_after),
    }
}

async fn run(
    world: &World,
    path: Option<&str>,
    envelope: &Envelope<'_>,
    headers: &HeaderMap,
    style: &Style,
) -> Ended {
    let mut body = Vec::with_capacity(1024);
    put(&mut body, &["{\"header\":{\"", style.request_id, "\":"]);
    write(&mut body, &world.ids.make());
    let began = SystemTime::now();

    let mut complaints = Complaints::new();
    let endpoint = match path {
        Some(path) => Cow::Borrowed(path),
        None => read_endpoint(envelope, &mut complaints),
    };
    let target_executor = read_target(envelope, &mut complaints);
    let (target, unknown) = match world.target(&endpoint, &target_executor) {
        Ok(target) => (target, None),
        Err(None) => return Ended::Refused(HttpReply::internal_error()),
        Err(Some(exception)) => (Target::All, Some(exception)),
    };
    let sent = envelope.parameters.given();
    if sent.is_some_and(|sent| !sent.starts_with('{')) {
        complaints.at("parameters", &NO_DICT);
    }

    let sample = world.sample(&endpoint, DocArray::V1, &target);
    let runs = sample.is_some() || world.own(&endpoint, &target).is_some();
    let outage = if runs { Outage::now(&world.control) } else { None };
    let change = match (sample, &outage) {
        (Some(sample), None) => sample.change(),
        _ => Change::None,
    };
    let mut documents = write_documents(world, &envelope.data, change, &mut complaints);
    if let Some(reply) = complaints.reply() {
        return Ended::Refused(reply);
    }
    if let Some(outage) = outage {
        return Ended::Outage(outage, body, documents);
    }

    let mut journey = match (unknown, sample, &world.executors) {
        (Some(exception), ..) => world.fail(&endpoint, exception),
        (None, _, Some(executors)) => {
            let about = About {
                docarray: DocArray::V1,
                endpoint: endpoint.clone().into_owned(),
                parameters: parameters::read(sent),
                headers: headers.clone(),
                request_id: envelope.request_id().map(Cow::into_owned),
                target_executor: Some(target_executor.into_owned()),
            };
            travel(
                &world.ids,
                &world.mistakes,
                executors,
                about,
                &target,
                read_documents(&documents),
            )
            .await
        }
        (None, Some(sample), None) => {
            let executor_began = SystemTime::now();
            let outcome = sample.run(|| parameters::read(sent)).await;
            if let Outcome::Documents(bulk) = outcome {
                documents = write_bulk(world, bulk);
            }
            let count = envelope.documents().len();
            Journey::of_sample(outcome, executor_began, || parameters::read(sent), count)
        }
        (None, None, None) => Journey::skipped(),
    };
    if let Some((code, retry_after)) = journey.status {
        return Ended::Status(code, retry_after);
    }
    if let Some(given) = journey.documents.take() {
        documents = write_values(world, given);
    }
    let failure = journey.failure().map(|(exception, class)| raised(exception, class));
    write_head(&mut body, failure.as_deref(), &endpoint, style);
    body.extend_from_slice(b",\"parameters\":");
    parameters::write(&mut body, sent, mem::take(&mut journey.results));
    write_routes(&mut body, began, &journey, style);
    body.extend_from_slice(b",\"data\":");
    body.extend_from_slice(&documents);
    body.push(b'}');
    Ended::Answered(body)
}

/// Reads documents from a JSON list, without fields that are null.
fn read_documents(list: &[u8]) -> Vec<Value> {
    // The gateway has written the list itself.
    let documents: Vec<Value> = serde_json::from_slice(list).unwrap_or_default();
    documents.into_iter().map(|document| V1.of_json(document.without_nulls())).collect()
}

/// Writes documents that handlers gave. They fit the class.
fn write_values(world: &World, documents: Vec<Value>) -> Vec<u8> {
    let documents = documents.into_iter().map(Value::without_nulls).collect();
    let mut json = Vec::new();
    Value::List(documents).write_json(&mut json, BytesAs::Base64);
    let documents: Vec<Document<'_>> = serde_json::from_slice(&json).unwrap_or_default();
    let mut complaints = Complaints::new();
    let mut writer = Writer::new(&world.ids, Change::None, &mut complaints);
    writer.documents(&documents);
    mem::take(&mut writer.out)
}

fn read_endpoint<'a>(envelope: &Envelope<'a>, complaints: &mut Complaints) -> Cow<'a, str> {
    if first(envelope.endpoint, envelope.snake_endpoint).is_null() {
        complaints.at("execEndpoint", &NULL);
    }
    envelope.endpoint().unwrap_or_else(|| {
        complaints.at("execEndpoint", &NO_TEXT);
        Cow::Borrowed("/")
    })
}

fn read_target<'a>(envelope: &Envelope<'a>, complaints: &mut Complaints) -> Cow<'a, str> {
    match first(envelope.target, envelope.snake_target).given().map(coerced_text) {
        None => Cow::Borrowed(""),
        Some(Some(target)) => target,
        Some(None) => {
            complaints.at("targetExecutor", &NO_TEXT);
            Cow::Borrowed("")
        }
    }
}

/// Writes the request's documents, changed, as a JSON list.
fn write_documents(
    world: &World,
    data: &Data<'_>,
    change: Change,
    complaints: &mut Complaints,
) -> Vec<u8> {
    let mut writer = Writer::new(&world.ids, change, complaints);
    writer.complaints.enter("data");
    match data {
        Data::None => writer.out.extend_from_slice(b"[]"),
        Data::List(documents) => {
            let before = writer.complaints.len();
            writer.documents(documents);
            // A gateway reads data as a list and then as an object of lists, and both complain.
            if writer.complaints.len() > before {
                writer.complaints.here(&NO_DICT);
            }
        }
        Data::Object(entries) => write_entries(&mut writer, entries),
        Data::Wrong => {
            writer.complaints.here(&NO_LIST);
            writer.complaints.here(&NO_DICT);
        }
    }
    writer.complaints.leave();
    mem::take(&mut writer.out)
}

/// An object contains lists of documents by name. The list `docs` is read. An object without it
/// breaks the gateway, unless the object is empty.
fn write_entries(writer: &mut Writer<'_, '_>, entries: &[(Cow<'_, str>, Data<'_>)]) {
    let is_list =
        |data: &Data<'_>| matches!(data, Data::List(list) if list.iter().all(|d| !d.stray));
    if !entries.iter().all(|(_, data)| is_list(data)) {
        writer.complaints.here(&NO_LIST);
    }
    let mut found = entries.is_empty();
    for (name, data) in entries {
        writer.complaints.enter(&**name);
        match data {
            Data::List(documents) => {
                let start = writer.out.len();
                writer.documents(documents);
                if name == "docs" {
                    found = true;
                } else {
                    writer.out.truncate(start);
                }
            }
            Data::None => writer.complaints.here(&NULL),
            Data::Object(_) | Data::Wrong => writer.complaints.here(&NO_LIST),
        }
        writer.complaints.leave();
    }
    if entries.is_empty() {
        writer.out.extend_from_slice(b"[]");
    }
    writer.complaints.broken |= !found;
}

fn write_bulk(world: &World, bulk: Bulk) -> Vec<u8> {
    let blob;
    let documents = match bulk {
        Bulk::Nothing => Vec::new(),
        Bulk::Big(size) => {
            blob = format!("\"{}\"", document::base64_of_x(size));
            let id = Raw::new("\"big\"");
            vec![Document { id, blob: Raw::new(&blob), ..Document::default() }]
        }
        // A test reads them.
        Bulk::Rich => serde_json::from_str(include_str!("v1/rich.json")).unwrap_or_default(),
    };
    let mut complaints = Complaints::new();
    let mut writer = Writer::new(&world.ids, Change::None, &mut complaints);
    writer.documents(&documents);
    mem::take(&mut writer.out)
}

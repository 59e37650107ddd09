//! Requests and answers of a gateway with documents v2, as Jina 3.33.1 has them over HTTP: each
//! endpoint is a route, an answer has no status, and an exception of the executor is a 500.

mod document;

use std::borrow::Cow;
use std::mem;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

pub(crate) use self::document::Item;
use self::document::{MOST_DOCUMENTS, Writer};
use crate::docarray::DocArray;
use crate::executor::{Journey, travel};
use crate::http_reply::HttpReply;
use crate::json::{Raw, coerced_text, record, string, visit_others, write};
use crate::outage::Outage;
use crate::parameters;
use crate::request::{About, Content};
use crate::sample::{Bulk, Change, Outcome, Sample};
use crate::schema::{ITEM, Schema};
use crate::validation::{
    Break, Complaints, MISSING, NO_DICT, NO_LIST, NO_TEXT, NULL, complain, unprocessable,
};
use crate::value::{BytesAs, Value as Json};
use crate::world::World;

record! {
    /// A request.
    Envelope {
        data: Data<'a> = "data",
        parameters: Raw<'a> = "parameters",
        header: Option<Header<'a>> = "header",
    }
}

record! {
    /// The request's id and target.
    Header {
        request_id: Raw<'a> = "requestId",
        snake_request_id: Raw<'a> = "request_id",
        target: Raw<'a> = "targetExecutor",
        snake_target: Raw<'a> = "target_executor",
    }
}

/// The documents, in any form that is accepted.
#[derive(Default)]
pub(crate) enum Data<'a> {
    #[default]
    Absent,
    Null,
    List(Vec<Item<'a>>),
    One(Box<Item<'a>>),
    Wrong,
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Data<'de>;

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Data::List(items))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
                Item::from_map(map).map(Box::new).map(Data::One)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Data::Null)
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
    let envelope: Envelope<'_> = serde_json::from_str(body).map_err(|error| {
        let Break { message, position, .. } = Break::new(body, &error);
        unprocessable(&[json!({
            "type": "json_invalid",
            "loc": ["body", position],
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": message},
        })])
    })?;
    if envelope.stray {
        return Err(complain(&["body"], &NO_DICT));
    }
    Ok(envelope)
}

/// What a request carries.
pub(crate) fn content(_: DocArray, body: &Bytes) -> Option<Content> {
    let request: Json = serde_json::from_slice(body).ok()?;
    let documents = match request.get("data") {
        Some(Json::List(documents)) => documents.clone(),
        Some(one @ Json::Map(_)) => vec![one.clone()],
        _ => Vec::new(),
    };
    let documents = documents.into_iter().map(without_filler).collect();
    let header = request.get("header");
    let target = |name| header?.get(name)?.as_text().map(str::to_owned);
    Some(Content {
        documents,
        parameters: parameters::of(request.get("parameters")),
        target_executor: target("targetExecutor").or_else(|| target("target_executor")),
    })
}

/// A document without the field `_`, which clients add and no class of a real gateway can have.
fn without_filler(document: Json) -> Json {
    match document {
        Json::Map(entries) => {
            Json::Map(entries.into_iter().filter(|(name, _)| name != "_").collect())
        }
        other => other,
    }
}

impl<'a> Envelope<'a> {
    /// The id that the client gave the request, in the header or by a single document's id.
    pub(crate) fn request_id(&self) -> Option<Cow<'a, str>> {
        let id = match (&self.header, &self.data) {
            (Some(header), _) => header.request_id.given().or(header.snake_request_id.given()),
            (None, Data::One(item)) => item.get("id").given(),
            (None, _) => None,
        };
        coerced_text(id?)
    }

    pub(crate) fn documents(&self) -> &[Item<'a>] {
        match &self.data {
            Data::List(items) => items,
            Data::One(item) => std::slice::from_ref(item),
            Data::Absent | Data::Null | Data::Wrong => &[],
        }
    }
}

/// Reads the one document in `body` for a streaming endpoint. Returns `None` if the executor cannot
/// read the document.
///
/// # Errors
///
/// The 422 or 500 of a document with faults.
pub(crate) fn read_one(
    world: &World,
    class: &Schema,
    body: &str,
) -> Result<Option<Json>, HttpReply> {
    // It was read as an object before.
    let item: Item<'_> = serde_json::from_str(body).unwrap_or_default();
    let mut complaints = Complaints::new();
    let mut writer = Writer::new(&world.ids, class, Change::None, &mut complaints);
    writer.item(&item);
    let written = mem::take(&mut writer.out);
    let is_refused = complaints.refused.take().is_some();
    match complaints.reply() {
        Some(reply) => Err(reply),
        None if is_refused => Ok(None),
        None => Ok(Some(class.of_json(serde_json::from_slice(&written).unwrap_or_default()))),
    }
}

impl Item<'_> {
    /// The id that the document was sent with.
    pub(crate) fn sent_id(&self) -> Option<String> {
        string(self.get("id").given()?).map(Cow::into_owned)
    }
}

/// Runs the request in `body` for the endpoint of a path and answers it.
pub(crate) async fn answer(
    world: &World,
    path: &str,
    envelope: &Envelope<'_>,
    body: &str,
    headers: &HeaderMap,
) -> HttpReply {
    match run(world, path, envelope, headers).await {
        Ok(reply) => reply,
        Err(complaint) => match pairs_as_one(envelope, body).as_deref().map(read) {
            Some(Ok(one)) => run(world, path, &one, headers).await.unwrap_or(complaint),
            Some(Err(_)) | None => complaint,
        },
    }
}

/// Reads the list of documents as one document, which a gateway tries when the list has a fault.
/// Python makes a dictionary of any list of pairs, so the two field names of each document become
/// the name and the text of a field.
fn pairs_as_one(envelope: &Envelope<'_>, body: &str) -> Option<String> {
    let Data::List(_) = envelope.data else { return None };
    let mut request: Value = serde_json::from_str(body).ok()?;
    let pair = |document: &Value| {
        // The order of the fields is lost, but `id` leads wherever it matters.
        let mut names = document.as_object().filter(|fields| fields.len() == 2)?.keys().cloned();
        Some((names.next()?, Value::String(names.next()?)))
    };
    let one: Option<Map<String, Value>> = request["data"].as_array()?.iter().map(pair).collect();
    request["data"] = Value::Object(one?);
    Some(request.to_string())
}

/// # Errors
///
/// The 422 of a request with faults.
async fn run(
    world: &World,
    path: &str,
    envelope: &Envelope<'_>,
    headers: &HeaderMap,
) -> Result<HttpReply, HttpReply> {
    let mut complaints = Complaints::new();
    let target_executor = read_target(envelope, &mut complaints);
    let target = match world.target(path, &target_executor) {
        Ok(target) => target,
        Err(None) => return Ok(HttpReply::internal_error()),
        Err(Some(exception)) => return Ok(HttpReply::detail(500, &exception.to_string())),
    };
    let sent = envelope.parameters.given();
    if sent.is_some_and(|sent| !sent.starts_with('{')) {
        complaints.at("parameters", &NO_DICT);
    }
    let sample = world.sample(path, DocArray::V2, &target);
    let runs = sample.is_some() || world.own(path, &target).is_some();
    let outage = if runs { Outage::now(&world.control) } else { None };
    let change = match (sample, &outage) {
        (Some(sample), None) => sample.change(),
        _ => Change::None,
    };
    let shown = world.executors.as_ref().and_then(|executors| executors.find(path, false));
    let (takes, gives) = match &shown {
        Some(shown) => (shown.takes, shown.gives),
        None => (&*ITEM, &*ITEM),
    };
    let mut documents = write_documents(world, &envelope.data, takes, change, &mut complaints);
    // An executor that does not run refuses no documents.
    complaints.refused = complaints.refused.filter(|_| runs);
    if let Some(reply) = complaints.reply() {
        return Err(reply);
    }
    // The bytes of /rich are no text, and the gateway fails in writing them as JSON.
    if outage.is_some() || sample == Some(Sample::Rich) {
        return Ok(HttpReply::internal_error());
    }

    let mut journey = match (sample, &world.executors) {
        (_, Some(executors)) => {
            let about = About {
                docarray: DocArray::V2,
                endpoint: path.to_owned(),
                parameters: parameters::read(sent),
                headers: headers.clone(),
                request_id: envelope.request_id().map(Cow::into_owned),
                target_executor: Some(target_executor.into_owned()),
            };
            // The gateway has written the list itself.
            let read: Vec<Json> = serde_json::from_slice(&documents).unwrap_or_default();
            let read = read.into_iter().map(|document| takes.of_json(document)).collect();
            travel(&world.ids, &world.mistakes, executors, about, &target, read).await
        }
        (Some(sample), None) => {
            let began = SystemTime::now();
            let outcome = sample.run(|| parameters::read(sent)).await;
            if let Outcome::Documents(bulk) = outcome {
                documents = write_bulk(world, bulk);
            }
            let count = envelope.documents().len().min(MOST_DOCUMENTS);
            Journey::of_sample(outcome, began, || parameters::read(sent), count)
        }
        (None, None) => Journey::skipped(),
    };
    if let Some((code, retry_after)) = journey.status {
        return Ok(HttpReply::scripted(code, retry_after));
    }
    if let Some((exception, _)) = journey.failure() {
        return Ok(HttpReply::detail(500, &exception.to_string()));
    }
    if let Some(given) = journey.documents.take() {
        let given = Json::List(given.into_iter().map(|document| gives.shown(document)).collect());
        if !given.is_text() {
            return Ok(HttpReply::internal_error());
        }
        documents.clear();
        given.write_json(&mut documents, BytesAs::Text);
    }
    let mut body = Vec::with_capacity(documents.len() + 256);
    body.extend_from_slice(b"{\"data\":");
    body.extend_from_slice(&documents);
    body.extend_from_slice(b",\"parameters\":");
    parameters::write(&mut body, sent, journey.results);
    body.extend_from_slice(b",\"header\":{\"requestId\":");
    let id = envelope.request_id().unwrap_or_else(|| world.ids.make().into());
    write(&mut body, &*id);
    body.extend_from_slice(b",\"targetExecutor\":\"\"}}");
    Ok(HttpReply::json(200, body))
}

fn read_target<'a>(envelope: &Envelope<'a>, complaints: &mut Complaints) -> Cow<'a, str> {
    let Some(header) = &envelope.header else {
        return Cow::Borrowed("");
    };
    if header.stray {
        complaints.at("header", &NO_DICT);
    }
    match header.target.given().or(header.snake_target.given()).map(coerced_text) {
        None => Cow::Borrowed(""),
        Some(Some(target)) => target,
        Some(None) => {
            complaints.enter("header");
            complaints.at("targetExecutor", &NO_TEXT);
            complaints.leave();
            Cow::Borrowed("")
        }
    }
}

/// Writes the request's documents as a list of their class, changed.
fn write_documents(
    world: &World,
    data: &Data<'_>,
    class: &Schema,
    change: Change,
    complaints: &mut Complaints,
) -> Vec<u8> {
    let mut writer = Writer::new(&world.ids, class, change, complaints);
    writer.complaints.enter("data");
    match data {
        Data::Absent => writer.complaints.here(&MISSING),
        Data::Null => writer.complaints.here(&NULL),
        Data::Wrong => {
            writer.complaints.here(&NO_LIST);
            writer.complaints.here(&NO_DICT);
        }
        // A gateway reads data as a list and then as one document, and both complain.
        Data::List(items) => {
            let before = writer.complaints.len();
            writer.items(items);
            if writer.complaints.len() > before {
                writer.complaints.here(&NO_DICT);
            }
        }
        Data::One(item) => {
            let before = writer.complaints.len();
            writer.one(item);
            if writer.complaints.len() > before {
                writer.complaints.here(&NO_LIST);
            }
        }
    }
    writer.complaints.leave();
    mem::take(&mut writer.out)
}

fn write_bulk(world: &World, bulk: Bulk) -> Vec<u8> {
    let text;
    let items = match bulk {
        Bulk::Nothing => Vec::new(),
        Bulk::Big(size) => {
            text = format!("\"{}\"", "x".repeat(size));
            vec![Item::new(&[("id", "\"big\""), ("text", &text)])]
        }
        // A test reads them.
        Bulk::Rich => serde_json::from_str(include_str!("v2/rich.json")).unwrap_or_default(),
    };
    let mut complaints = Complaints::new();
    let mut writer = Writer::new(&world.ids, &ITEM, Change::None, &mut complaints);
    writer.items(&items);
    mem::take(&mut writer.out)
}

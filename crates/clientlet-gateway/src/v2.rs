//! Requests and answers of a gateway with documents v2, as Jina 3.33.1 speaks over HTTP: each
//! endpoint is a route, an answer has no status, and an executor's exception is a 500.

mod document;

use std::borrow::Cow;
use std::mem;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

pub(crate) use self::document::Item;
use self::document::{MOST_DOCUMENTS, Writer};
use crate::endpoint::{self, Bulk, Change, Endpoint, Outcome};
use crate::json::{Raw, coerced_text, record, string, visit_others, write};
use crate::outage::Outage;
use crate::parameters;
use crate::reply::Reply;
use crate::validation::{
    Break, Complaints, MISSING, NO_DICT, NO_LIST, NO_TEXT, NULL, complain, unprocessable,
};
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

/// The documents, in any of the forms in which they may come.
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
pub(crate) fn read(body: &str) -> Result<Envelope<'_>, Reply> {
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

impl<'a> Envelope<'a> {
    /// The id that the client gave the request, in the header or by a single document's id.
    pub(crate) fn request_id(&self) -> Option<Cow<'a, str>> {
        let id = match (&self.header, &self.data) {
            (Some(header), _) => header.request_id.given().or(header.snake_request_id.given()),
            (None, Data::One(item)) => item.id.given(),
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

impl Item<'_> {
    /// The id that the document was sent with.
    pub(crate) fn sent_id(&self) -> Option<String> {
        string(self.id.given()?).map(Cow::into_owned)
    }
}

/// Runs the request in `body` and answers it.
pub(crate) async fn answer(
    world: &World,
    endpoint: Endpoint,
    envelope: &Envelope<'_>,
    body: &str,
) -> Reply {
    match run(world, endpoint, envelope).await {
        Ok(reply) => reply,
        Err(complaint) => match pairs_as_one(envelope, body).as_deref().map(read) {
            Some(Ok(one)) => run(world, endpoint, &one).await.unwrap_or(complaint),
            Some(Err(_)) | None => complaint,
        },
    }
}

/// The request with its list of documents read as one document. That is what a gateway tries when
/// the list has a fault, and Python makes a dictionary of any list of pairs: the two field names of
/// each document become the name and the text of a field.
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
async fn run(world: &World, endpoint: Endpoint, envelope: &Envelope<'_>) -> Result<Reply, Reply> {
    let mut complaints = Complaints::new();
    let Ok(runs) = read_target(envelope, &mut complaints) else {
        return Ok(Reply::internal_error());
    };
    let sent = envelope.parameters.given();
    if sent.is_some_and(|sent| !sent.starts_with('{')) {
        complaints.at("parameters", &NO_DICT);
    }
    let outage = if runs { Outage::now(&world.control) } else { None };
    let change = if runs && outage.is_none() { endpoint.change() } else { Change::None };
    let mut body = write_documents(world, &envelope.data, change, &mut complaints);
    if let Some(reply) = complaints.reply() {
        return Err(reply);
    }
    // The bytes of /rich are no text, and the gateway fails in writing them as JSON.
    if outage.is_some() || (runs && endpoint == Endpoint::Rich) {
        return Ok(Reply::internal_error());
    }

    let outcome = if runs { endpoint.run(sent).await } else { Outcome::Changed };
    let mut results = None;
    match outcome {
        Outcome::Changed => {}
        Outcome::Results => {
            results = Some(envelope.documents().len().min(MOST_DOCUMENTS));
        }
        Outcome::Documents(bulk) => body = write_bulk(world, bulk),
        Outcome::Failed(exception) => {
            return Ok(Reply::detail(500, &exception.description()));
        }
    }
    body.extend_from_slice(b",\"parameters\":");
    parameters::write(&mut body, sent, results);
    body.extend_from_slice(b",\"header\":{\"requestId\":");
    let id = envelope.request_id().unwrap_or_else(|| world.ids.make().into());
    write(&mut body, &*id);
    body.extend_from_slice(b",\"targetExecutor\":\"\"}}");
    Ok(Reply::json(200, body))
}

fn read_target(
    envelope: &Envelope<'_>,
    complaints: &mut Complaints,
) -> Result<bool, regex_lite::Error> {
    let Some(header) = &envelope.header else {
        return Ok(true);
    };
    if header.stray {
        complaints.at("header", &NO_DICT);
    }
    match header.target.given().or(header.snake_target.given()).map(coerced_text) {
        None => Ok(true),
        Some(Some(target)) => endpoint::is_target(&target),
        Some(None) => {
            complaints.enter("header");
            complaints.at("targetExecutor", &NO_TEXT);
            complaints.leave();
            Ok(true)
        }
    }
}

/// Begins an answer with the request's documents, changed.
fn write_documents(
    world: &World,
    data: &Data<'_>,
    change: Change,
    complaints: &mut Complaints,
) -> Vec<u8> {
    let mut writer = Writer::new(&world.ids, change, complaints);
    writer.complaints.enter("data");
    match data {
        Data::Absent => writer.complaints.here(&MISSING),
        Data::Null => writer.complaints.here(&NULL),
        Data::Wrong => {
            writer.complaints.here(&NO_LIST);
            writer.complaints.here(&NO_DICT);
        }
        // Data are tried as a list and as one document, and both tries complain.
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
            let id = Raw::new("\"big\"");
            vec![Item { id, text: Raw::new(&text), ..Item::default() }]
        }
        // A test reads them.
        Bulk::Rich => serde_json::from_str(include_str!("v2/rich.json")).unwrap_or_default(),
    };
    let mut complaints = Complaints::new();
    let mut writer = Writer::new(&world.ids, Change::None, &mut complaints);
    writer.items(&items);
    mem::take(&mut writer.out)
}

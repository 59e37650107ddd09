//! Messages of the gateway's own services: dry run, status, endpoints, health and reflection.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use serde_json::json;

use super::structs;
use super::{Raised, Status};
use crate::docarray::DocArray;
use crate::outage::Outage;
use crate::schema::{self, Place, Schema, definitions};
use crate::status::{ENVS, versions};
use crate::value::Value;
use crate::world::World;

/// A `jina.JinaInfoProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Info {
    #[prost(btree_map = "string, string", tag = "1")]
    jina: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "2")]
    envs: BTreeMap<String, String>,
}

/// A `jina.EndpointsProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Endpoints {
    #[prost(string, repeated, tag = "1")]
    endpoints: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    write_endpoints: Vec<String>,
    /// A Struct, encoded.
    #[prost(bytes = "bytes", optional, tag = "3")]
    schemas: Option<Bytes>,
}

/// A `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheck {
    #[prost(string, tag = "1")]
    service: String,
}

/// A `grpc.reflection.v1alpha.ServerReflectionRequest`. Only the list of services is answered.
#[derive(Clone, PartialEq, prost::Message)]
struct Question {
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

/// A `grpc.reflection.v1alpha.ServerReflectionResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct Reflection {
    /// The question, as it came.
    #[prost(bytes = "bytes", tag = "2")]
    question: Bytes,
    #[prost(message, optional, tag = "6")]
    services: Option<Services>,
    #[prost(message, optional, tag = "7")]
    error: Option<ReflectionError>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<HealthCheck>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReflectionError {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// The status of a dry run, which has no bytes if all is well.
pub(crate) fn dry_run(outage: Option<Outage>) -> Bytes {
    let Some(outage) = outage else { return Bytes::new() };
    let description = outage.description();
    encode(&Status {
        code: 1,
        description: description.into(),
        exception: Some(Raised {
            name: "InternalNetworkError".into(),
            args: vec![description.into()],
            stacks: vec![
                "Traceback (most recent call last):\n".into(),
                format!("jina.excepts.InternalNetworkError: {description}\n"),
            ],
            executor: String::new(),
        }),
    })
}

/// The versions by which a client tells the generation of documents.
pub(crate) fn info(docarray: DocArray) -> Bytes {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    encode(&Info { jina: map(&versions(docarray)), envs: map(&ENVS) })
}

/// The executors' endpoints: the classes of their documents, and which of them are generators.
pub(crate) fn endpoints(world: &World) -> Bytes {
    const DRY_RUN: &str = "_jina_dry_run_";
    let mut shown = world.shown();
    shown.sort_by(|one, other| one.path.cmp(other.path));
    let mut endpoints: Vec<String> = shown.iter().map(|shown| shown.path.to_owned()).collect();
    endpoints.push(DRY_RUN.to_owned());
    endpoints.sort();
    let schemas: Vec<(String, Value)> = shown
        .iter()
        .map(|shown| {
            let schema = json!({
                "input": published(shown.takes),
                "output": published(shown.gives),
                "is_generator": shown.is_stream,
                "is_singleton_doc": shown.is_stream,
            });
            // Any JSON can be read as a value.
            (shown.path.to_owned(), serde_json::from_value(schema).unwrap_or_default())
        })
        .collect();
    let schemas = Some(structs::write(&schemas).into());
    encode(&Endpoints { endpoints, write_endpoints: Vec::new(), schemas })
}

/// A class with the classes of documents within it.
fn published(class: &Schema) -> serde_json::Value {
    let mut published = schema::class(class, Place::Definitions);
    let mut inner = Vec::new();
    definitions(class, &mut inner);
    if !inner.is_empty() {
        let inner = inner.iter();
        let inner = inner.map(|(name, class)| (name, schema::class(class, Place::Definitions)));
        published["definitions"] = inner.collect::<BTreeMap<_, _>>().into_iter().fold(
            json!({}),
            |mut all, (name, class)| {
                all[name] = class;
                all
            },
        );
    }
    published
}

/// The service whose health is asked for.
pub(crate) fn health_of(message: &Bytes) -> Option<String> {
    HealthCheck::decode(message.clone()).ok().map(|check| check.service)
}

/// The health of a known service, whatever its executors do.
pub(crate) fn serving() -> Bytes {
    Bytes::from_static(&[0x08, 0x01])
}

/// Answers a question of reflection; `None` if the message is no question.
pub(crate) fn reflect(
    message: &Bytes,
    services: impl Iterator<Item = &'static str>,
) -> Option<Bytes> {
    let question = Question::decode(message.clone()).ok()?;
    let mut reflection = Reflection { question: message.clone(), ..Reflection::default() };
    if question.list_services.is_some() {
        let services = services.map(|name| HealthCheck { service: name.into() }).collect();
        reflection.services = Some(Services { services });
    } else {
        let message = "only services are listed".to_owned();
        reflection.error = Some(ReflectionError { code: 12, message });
    }
    Some(encode(&reflection))
}

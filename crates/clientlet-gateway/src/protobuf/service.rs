//! Messages of the gateway's own services: dry run, status, endpoints, health and reflection.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::structs;
use super::{Raised, Status};
use crate::docarray::DocArray;
use crate::outage::Outage;
use crate::status::{ENVS, versions};
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

/// What a dry run finds; no bytes at all if all is well.
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

/// The executor's endpoints, and which of them are generators. Real gateways describe the documents as
/// well.
pub(crate) fn endpoints(world: &World) -> Bytes {
    const DRY_RUN: &str = "_jina_dry_run_";
    let mut endpoints: Vec<String> = world.bindings.paths().map(str::to_owned).collect();
    endpoints.extend(world.bindings.streams.iter().map(|(path, _)| path.clone()));
    endpoints.push(DRY_RUN.to_owned());
    endpoints.sort();
    endpoints.dedup();
    let mut schemas = Vec::new();
    for path in &endpoints {
        let is_generator = world.bindings.stream(path).is_some();
        let mut schema = Vec::new();
        for name in ["is_generator", "is_singleton_doc"] {
            structs::write_entry(&mut schema, name, &[0x20, u8::from(is_generator)]);
        }
        let mut value = Vec::new();
        super::write_bytes(&mut value, 5, &schema);
        structs::write_entry(&mut schemas, path, &value);
    }
    encode(&Endpoints { endpoints, write_endpoints: Vec::new(), schemas: Some(schemas.into()) })
}

/// The service whose health is asked for.
pub(crate) fn health_of(message: &Bytes) -> Option<String> {
    HealthCheck::decode(message.clone()).ok().map(|check| check.service)
}

/// The health of a service that is there, whatever its executors do.
pub(crate) fn serving() -> Bytes {
    Bytes::from_static(&[0x08, 0x01])
}

/// Answers a question of reflection; `None` if it is none.
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

//! The methods that a gateway serves, and the answers of those methods that run no executor.

use bytes::Bytes;
use http::HeaderMap;

use super::finish::Finish;
use super::status::Status;
use crate::docarray::DocArray;
use crate::outage::Outage;
use crate::protobuf::{self, Verdict, service};
use crate::world::World;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// A stream of requests.
    Call,
    /// One request.
    Single,
    StreamDocument,
    DryRun,
    Status,
    Endpoints,
    Health,
    Reflection,
}

const METHODS: [(&str, &str, Service); 8] = [
    ("jina.JinaRPC", "Call", Service::Call),
    ("jina.JinaSingleDataRequestRPC", "process_single_data", Service::Single),
    ("jina.JinaSingleDocumentRequestRPC", "stream_doc", Service::StreamDocument),
    ("jina.JinaGatewayDryRunRPC", "dry_run", Service::DryRun),
    ("jina.JinaInfoRPC", "_status", Service::Status),
    ("jina.JinaDiscoverEndpointsRPC", "endpoint_discovery", Service::Endpoints),
    ("grpc.health.v1.Health", "Check", Service::Health),
    ("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", Service::Reflection),
];

/// The services that 3.33.1 lists by reflection, including some that it does not serve.
const NAMED: [&str; 8] = [
    "grpc.reflection.v1alpha.ServerReflection",
    "jina.JinaDataRequestRPC",
    "jina.JinaDiscoverEndpointsRPC",
    "jina.JinaGatewayDryRunRPC",
    "jina.JinaInfoRPC",
    "jina.JinaRPC",
    "jina.JinaSingleDataRequestRPC",
    "jina.JinaSingleDocumentRequestRPC",
];
/// The services of this list that 3.14.1 does not have.
const NEWER: [&str; 3] = [
    "jina.JinaDataRequestRPC",
    "jina.JinaDiscoverEndpointsRPC",
    "jina.JinaSingleDocumentRequestRPC",
];

/// The method of a path, if the gateway has it.
pub(super) fn find(world: &World, path: &str) -> Option<Service> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let is_it = |(of, name, _): &&(&str, &str, _)| *of == service && *name == method;
    let (_, _, found) = METHODS.iter().find(is_it)?;
    let docarray = world.control.spoken();
    let is_there = match found {
        Service::StreamDocument | Service::Endpoints => docarray == DocArray::V2,
        Service::Status => !world.hides_status,
        _ => true,
    };
    is_there.then_some(*found)
}

fn named(docarray: DocArray) -> impl Iterator<Item = &'static str> {
    NAMED.into_iter().filter(move |name| docarray == DocArray::V2 || !NEWER.contains(name))
}

impl Service {
    pub(super) fn carries_data(self) -> bool {
        matches!(self, Self::Call | Self::Single | Self::StreamDocument)
    }

    /// Whether it takes one message and answers with one.
    pub(super) fn is_unary(self) -> bool {
        !matches!(self, Self::Call | Self::Reflection)
    }
}

/// What a message asks for.
pub(super) enum Asked {
    Data(Box<protobuf::Request>),
    Other(Service, Bytes),
}

impl Asked {
    /// # Errors
    ///
    /// The message is no request.
    pub(super) fn read(service: Service, world: &World, message: Bytes) -> Result<Self, Status> {
        if !service.carries_data() {
            return Ok(Self::Other(service, message));
        }
        if message.is_empty() {
            let details = "Unexpected <class 'ValueError'>: the buffer is already decompressed";
            return Err(Status::unknown(details));
        }
        match protobuf::Request::read(world.control.spoken(), message) {
            Some(request) => Ok(Self::Data(Box::new(request))),
            None => Err(Status::unknown(
                "Unexpected <class 'google.protobuf.message.DecodeError'>: Error parsing message \
                 with type 'jina.DataRequestProto'",
            )),
        }
    }

    pub(super) fn request(&self) -> Option<&protobuf::Request> {
        match self {
            Self::Data(request) => Some(request),
            Self::Other(..) => None,
        }
    }

    /// Gives a request another id, for a fault.
    pub(super) fn rename(&mut self, id: String) {
        if let Self::Data(request) = self {
            request.rename(id);
        }
    }

    pub(super) fn takes_time(&self, world: &World) -> bool {
        self.request().is_some_and(|request| request.takes_time(world))
    }

    /// # Errors
    ///
    /// How the stream ends that asked for it.
    pub(super) async fn answer(self, world: &World, headers: &HeaderMap) -> Result<Bytes, Finish> {
        match self {
            Self::Data(request) => match request.answer(world, headers).await {
                Verdict::Answer(answer) => Ok(answer),
                Verdict::Outage(outage) => Err(Finish::Status(outage_status(outage))),
                Verdict::Status(code, retry_after) => Err(Finish::http(code, retry_after)),
                Verdict::Broken => Err(Finish::Status(Status::unknown(
                    "Unexpected <class 're.error'>: the target is no regular expression",
                ))),
            },
            Self::Other(service, message) => {
                answer_other(service, world, &message).map_err(Finish::Status)
            }
        }
    }
}

fn outage_status(outage: Outage) -> Status {
    match outage {
        Outage::Down => Status::unavailable(outage.description()),
        Outage::Slow => Status::deadline_exceeded(outage.description()),
    }
}

fn answer_other(service: Service, world: &World, message: &Bytes) -> Result<Bytes, Status> {
    let docarray = world.control.spoken();
    match service {
        Service::DryRun => Ok(service::dry_run(Outage::now(&world.control))),
        Service::Status => Ok(service::info(docarray)),
        Service::Endpoints => Ok(service::endpoints(world)),
        Service::Health => match service::health_of(message).as_deref() {
            Some("") => Ok(service::serving()),
            Some(name) if named(docarray).any(|known| known == name) => Ok(service::serving()),
            Some(_) => Err(Status::not_found()),
            None => Err(Status::internal("the message cannot be read")),
        },
        Service::Reflection => service::reflect(message, named(docarray))
            .ok_or(Status::internal("the message cannot be read")),
        Service::Call | Service::Single | Service::StreamDocument => {
            Err(Status::internal("it carries data"))
        }
    }
}

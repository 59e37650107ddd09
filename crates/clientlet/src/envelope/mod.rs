//! Requests and answers except for their documents.

mod answer;
mod failure;
pub(crate) mod inner;
pub(crate) mod proto;
mod request;
mod template;

pub(crate) use answer::{read_answer, read_routes, read_status};
pub(crate) use failure::{outcome, read_failure};
#[cfg(feature = "clientlets")]
pub(crate) use proto::read_proto_target;
pub(crate) use proto::{
    ProtoTemplate, SINGLE_DOCUMENT, read_proto_answer, read_proto_document, read_proto_routes,
    read_proto_status,
};
pub(crate) use request::JsonTemplate;
pub(crate) use template::Template;

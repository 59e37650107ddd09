//! All of a request and an answer but the documents.

mod answer;
mod failure;
mod request;

pub(crate) use answer::{read_answer, read_routes, read_status};
pub(crate) use failure::{read_failure, shorten};
pub(crate) use request::Template;

//! Documents as protobuf: any serde type straight to bytes, and bytes straight into the caller's type.
//!
//! `encode` and `decode` follow serde's types, `write` and `wire` know the format. Neither builds a tree.

mod decode;
mod encode;
#[cfg(test)]
mod tests;
mod wire;
mod write;

pub(crate) use decode::{decode_document, decode_documents, decode_struct};
pub(crate) use encode::Encoder;
pub(crate) use wire::{Fault, Message, Run, add_part};
#[cfg(test)]
pub(crate) use write::put_varint;
pub(crate) use write::{put_bytes, put_length, varint_size};

/// How deep messages nest at most, the outermost not counted: what protobuf's readers accept, a
/// gateway's among them.
pub(crate) const MOST_DEPTH: usize = 100;

/// The name of the type tag that an executor wants with every tensor of v2.
const NDARRAY: &str = "ndarray";

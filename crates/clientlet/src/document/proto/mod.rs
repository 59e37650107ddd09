//! Documents as protobuf: any serde type directly to bytes, and bytes directly into the caller's
//! type.
//!
//! `encode` and `decode` follow serde's types; `write` and `wire` know the format. Neither
//! direction builds a tree.

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

/// The maximum depth of nested messages, not counting the outermost message. Readers of protobuf, a
/// gateway's among them, accept no more.
pub(crate) const MOST_DEPTH: usize = 100;

/// The type name that an executor requires with every tensor of v2.
const NDARRAY: &str = "ndarray";

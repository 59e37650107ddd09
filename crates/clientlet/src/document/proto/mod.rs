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

/// Passes the names and values of a map to `take`: of a `google.protobuf.Struct`, or a `DocProto`.
pub(crate) fn each_entry<'a>(
    map: &'a [u8],
    mut take: impl FnMut(&'a str, &'a [u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut entries = Message::new(map);
    while let Some((number, wire)) = entries.next()? {
        if number != 1 {
            continue;
        }
        let (mut name, mut value) = ("", &[][..]);
        let mut entry = Message::new(wire.bytes()?);
        while let Some((number, wire)) = entry.next()? {
            match number {
                1 => name = wire.text()?,
                2 => value = wire.bytes()?,
                _ => {}
            }
        }
        take(name, value)?;
    }
    Ok(())
}

/// The maximum depth of nested messages, not counting the outermost message. Readers of protobuf, a
/// gateway's among them, accept no more.
pub(crate) const MOST_DEPTH: usize = 100;

/// The type name that an executor requires with every tensor of v2.
const NDARRAY: &str = "ndarray";

//! Decodes protobuf directly into the caller's type.
//!
//! A message is opened when serde asks for it, one level at a time. Rare but valid protobuf is
//! understood as well: messages in several parts, fields in any order, and repeated map keys, of
//! which the last counts.

mod access;
mod array;
mod fields;
mod view;
mod visit;

use std::cell::Cell;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};

use super::MOST_DEPTH;
use super::wire::Fault;
use crate::document::blob::reading_from;
use crate::document::list::List;
use crate::foreign::told;
use crate::message::DocArray;
use fields::Fields;
use view::{Kind, Repeated, View};

/// serde's report, in words.
type Problem = serde::de::value::Error;

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        Problem::custom(fault.0)
    }
}

/// Decodes the documents in `frame`, a `DocumentArrayProto` (v1) or a `DocListProto` (v2). Blobs
/// and tensors share the memory of `frame`. Apart from the memory of `T`, reading takes at most 64
/// times the size of `frame`.
///
/// # Errors
/// A sentence that names the document and the field that does not fit `T`.
pub(crate) fn decode_documents<T: DeserializeOwned>(
    docarray: DocArray,
    frame: &Bytes,
) -> Result<Vec<T>, String> {
    let List(documents) = decode(frame, |bytes, context| {
        let of = match docarray {
            DocArray::V1 => Kind::DocumentV1,
            DocArray::V2 => Kind::DocumentV2,
        };
        View::List(Repeated { bytes: bytes.into(), number: 1, of, context })
    })?;
    Ok(documents)
}

/// Decodes `frame` as one document, a `DocumentProto` (v1) or a `DocProto` (v2).
///
/// # Errors
/// A sentence that names the field that does not fit `T`.
pub(crate) fn decode_document<T: DeserializeOwned>(
    docarray: DocArray,
    frame: &Bytes,
) -> Result<T, String> {
    decode(frame, |bytes, context| match docarray {
        DocArray::V1 => View::Fields(Fields { kind: Kind::DocumentV1, bytes, context }),
        DocArray::V2 => {
            View::Entries(Repeated { bytes: bytes.into(), number: 1, of: Kind::Node, context })
        }
    })
}

/// Decodes `frame` as parameters, a `google.protobuf.Struct`.
///
/// # Errors
/// A sentence that names the field that does not fit `T`.
pub(crate) fn decode_struct<T: DeserializeOwned>(frame: &Bytes) -> Result<T, String> {
    decode(frame, |bytes, context| {
        View::Entries(Repeated { bytes: bytes.into(), number: 1, of: Kind::Value, context })
    })
}

fn decode<T: DeserializeOwned>(
    frame: &Bytes,
    view: impl for<'a> Fn(&'a [u8], Context<'a>) -> View<'a>,
) -> Result<T, String> {
    if u32::try_from(frame.len()).is_err() {
        return Err("it is longer than 4 GiB, the maximum of a gateway's message".to_owned());
    }
    reading_from(frame, || {
        let shared = Shared::new(frame);
        let plain = match T::deserialize(view(frame, Context::new(&shared))) {
            Ok(value) => return Ok(value),
            Err(plain) => plain,
        };
        // Only a failure pays for tracking the path, which also takes twice the stack. The second
        // reading fails like the first, unless `T` itself decides differently.
        if shared.deepest.get() > MOST_DEPTH / 2 {
            return Err(told(&plain));
        }
        let shared = Shared::new(frame);
        Err(match serde_path_to_error::deserialize::<_, T>(view(frame, Context::new(&shared))) {
            Ok(_) => told(&plain),
            Err(error) if error.path().iter().next().is_none() => told(error.inner()),
            Err(error) => format!("{}: {}", told(error.path()), told(error.inner())),
        })
    })
}

/// The state that all readers of one frame share.
#[derive(Debug)]
struct Shared {
    /// The number of bytes that may still be copied to join messages that came in parts; most
    /// frames need none.
    budget: Cell<usize>,
    /// The number of lists that may still be made of arrays. Without this limit a shape of a few
    /// bytes could ask for any number of lists.
    lists: Cell<usize>,
    /// The greatest depth that was read so far.
    deepest: Cell<usize>,
}

/// The number of lists for each byte of input. An image with one channel, stored as bytes, needs
/// one list for each byte, and each further dimension of size 1 needs one more.
const LISTS_A_BYTE: usize = 4;

impl Shared {
    fn new(frame: &[u8]) -> Shared {
        Shared {
            budget: Cell::new(frame.len().saturating_mul(8)),
            lists: Cell::new(frame.len().saturating_mul(LISTS_A_BYTE)),
            deepest: Cell::new(0),
        }
    }
}

/// The place of one reader.
#[derive(Clone, Copy, Debug)]
struct Context<'a> {
    shared: &'a Shared,
    depth: usize,
}

impl<'a> Context<'a> {
    fn new(shared: &'a Shared) -> Context<'a> {
        Context { shared, depth: 0 }
    }

    fn budget(self) -> &'a Cell<usize> {
        &self.shared.budget
    }

    /// Takes `lists` from the lists that are left; `false` if fewer are left.
    fn spend_lists(self, lists: usize) -> bool {
        match self.shared.lists.get().checked_sub(lists) {
            Some(left) => {
                self.shared.lists.set(left);
                true
            }
            None => false,
        }
    }

    /// Returns the context that is deeper by this many messages.
    fn within(self, messages: usize) -> Result<Context<'a>, Fault> {
        let depth = self.depth + messages;
        if depth > MOST_DEPTH {
            return Err(Fault("messages are nested too deeply"));
        }
        self.shared.deepest.set(self.shared.deepest.get().max(depth));
        Ok(Context { depth, ..self })
    }
}

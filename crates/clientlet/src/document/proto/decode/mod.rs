//! From protobuf straight into the caller's type.
//!
//! A message is opened when serde asks for it, one level at a time. What protobuf allows and nobody does
//! is understood all the same: messages in several parts, fields in any order, repeated map keys of
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
use view::{Kind, Repeated, View};

/// What serde reports, in words.
type Problem = serde::de::value::Error;

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        Problem::custom(fault.0)
    }
}

/// The documents in `frame`, a `DocumentArrayProto` (v1) or a `DocListProto` (v2). Blobs and tensors
/// share its memory. Apart from what `T` takes, reading takes no more memory than 64 times `frame`.
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

/// The document that `frame` is, a `DocProto` (v2).
///
/// # Errors
/// A sentence that names the field that does not fit `T`.
pub(crate) fn decode_document<T: DeserializeOwned>(frame: &Bytes) -> Result<T, String> {
    decode(frame, |bytes, context| {
        View::Entries(Repeated { bytes: bytes.into(), number: 1, of: Kind::Node, context })
    })
}

/// A map from `frame`, a `google.protobuf.Struct`: parameters.
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
        return Err("it is longer than any gateway's message, 4 GiB".to_owned());
    }
    reading_from(frame, || {
        let shared = Shared::new(frame);
        let plain = match T::deserialize(view(frame, Context::new(&shared))) {
            Ok(value) => return Ok(value),
            Err(plain) => plain,
        };
        // Only a failure is worth the price of following the path, which is twice the stack as well;
        // the second reading fails as the first did, unless the type itself changes its mind.
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

/// What all readers of one frame share.
#[derive(Debug)]
struct Shared {
    /// How many bytes may be copied to put messages together that came in parts: none as a rule.
    budget: Cell<usize>,
    /// How many more lists arrays may be turned into. Without this limit a shape of a few bytes
    /// could ask for any number of lists.
    lists: Cell<usize>,
    /// How deep the reading went.
    deepest: Cell<usize>,
}

/// The number of lists that each byte of input may become. An image with one channel, stored as
/// bytes, needs one list a byte, and each further dimension of size 1 needs one more.
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

/// Where one reader is.
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

    /// Takes `lists` from the number of lists that are left; `false` if fewer are left.
    fn spend_lists(self, lists: usize) -> bool {
        match self.shared.lists.get().checked_sub(lists) {
            Some(left) => {
                self.shared.lists.set(left);
                true
            }
            None => false,
        }
    }

    /// Within this many more messages.
    fn within(self, messages: usize) -> Result<Context<'a>, Fault> {
        let depth = self.depth + messages;
        if depth > MOST_DEPTH {
            return Err(Fault("it is nested too deeply"));
        }
        self.shared.deepest.set(self.shared.deepest.get().max(depth));
        Ok(Context { depth, ..self })
    }
}

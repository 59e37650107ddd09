//! A value on the wire, opened one level deep.

use std::borrow::Cow;

use super::Context;
use super::array::Array;
use super::fields::{Default, Fields};
use crate::document::proto::wire::{Fault, Message, Run, Wire, add_part};

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    DocumentV1,
    Score,
    DocumentV2,
    /// A `NodeProto` of v2.
    Node,
    /// A `google.protobuf.Value`.
    Value,
}

/// Messages of one kind in a repeated field: a list, or the entries of a map. Other fields may lie
/// between them.
#[derive(Clone, Debug)]
pub(super) struct Repeated<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) number: u32,
    /// The kind of the elements, or of the values of the entries.
    pub(super) of: Kind,
    /// The context of the surrounding message.
    pub(super) context: Context<'a>,
}

#[derive(Clone, Debug)]
pub(super) enum View<'a> {
    Null,
    Boolean(bool),
    Integer(i32),
    Count(u32),
    Single(f32),
    Double(f64),
    /// A number from a format whose only numbers are doubles: a whole one may be read as an
    /// integer.
    Number(f64),
    Text(&'a str),
    /// Text from a format without bytes, such as JSON: a type that asks for bytes reads it as
    /// base64.
    JsonText(&'a str),
    Blob(&'a [u8]),
    Array(Array<'a>),
    /// Numbers in a repeated field, packed or one by one.
    Singles {
        bytes: &'a [u8],
        number: u32,
    },
    List(Repeated<'a>),
    Entries(Repeated<'a>),
    Fields(Fields<'a>),
    /// An absent field of a message whose fields have defaults.
    Unset(Default),
}

/// Opens a message.
pub(super) fn open<'a>(
    kind: Kind,
    bytes: &'a [u8],
    context: Context<'a>,
) -> Result<View<'a>, Fault> {
    match kind {
        Kind::DocumentV1 | Kind::Score => Ok(View::Fields(Fields { kind, bytes, context })),
        Kind::DocumentV2 => {
            Ok(View::Entries(Repeated { bytes: bytes.into(), number: 1, of: Kind::Node, context }))
        }
        Kind::Node => node(bytes, context),
        Kind::Value => value(bytes, context),
    }
}

/// The content of a message that has one of several fields: the field that was set last.
struct Content<'a> {
    view: View<'a>,
    /// The number and place of a nested message, which is opened once all its parts are known.
    message: Option<(u32, Run<'a>)>,
}

impl<'a> Content<'a> {
    fn set(&mut self, view: View<'a>) {
        *self = Content { view, message: None };
    }

    fn add(&mut self, number: u32, start: usize, end: usize, part: &'a [u8]) {
        match &mut self.message {
            Some((known, run)) if *known == number => run.extend(end, part),
            _ => self.message = Some((number, Run::new(start, end, part))),
        }
    }
}

fn node<'a>(bytes: &'a [u8], context: Context<'a>) -> Result<View<'a>, Fault> {
    let mut content = Content { view: View::Null, message: None };
    let mut message = Message::new(bytes);
    loop {
        let start = bytes.len() - message.left();
        let Some((number, wire)) = message.next()? else { break };
        match number {
            1 => content.set(View::Text(wire.text()?)),
            2 => content.set(View::Integer(wire.varint()? as i32)),
            3 => content.set(View::Double(wire.double()?)),
            4 => content.set(View::Boolean(wire.varint()? != 0)),
            5 => content.set(View::Blob(wire.bytes()?)),
            6..=12 => {
                content.add(number, start, bytes.len() - message.left(), wire.bytes()?);
            }
            // The content says enough, so the type name is not used.
            13 => drop(wire.text()?),
            _ => {}
        }
    }
    let Some((number, run)) = content.message else { return Ok(content.view) };
    let bytes = run.message(bytes, number, context.budget())?;
    let context = context.within(1)?;
    let repeated = |of| Repeated { bytes: bytes.clone(), number: 1, of, context };
    Ok(match number {
        6 => View::Array(Array::v2(bytes, context)),
        8 => View::List(repeated(Kind::DocumentV2)),
        9..=11 => View::List(repeated(Kind::Node)),
        _ => View::Entries(repeated(Kind::Node)),
    })
}

fn value<'a>(bytes: &'a [u8], context: Context<'a>) -> Result<View<'a>, Fault> {
    let mut content = Content { view: View::Null, message: None };
    let mut message = Message::new(bytes);
    loop {
        let start = bytes.len() - message.left();
        let Some((number, wire)) = message.next()? else { break };
        match number {
            1 => {
                wire.varint()?;
                content.set(View::Null);
            }
            2 => content.set(View::Number(wire.double()?)),
            3 => content.set(View::JsonText(wire.text()?)),
            4 => content.set(View::Boolean(wire.varint()? != 0)),
            5 | 6 => content.add(number, start, bytes.len() - message.left(), wire.bytes()?),
            _ => {}
        }
    }
    let Some((number, run)) = content.message else { return Ok(content.view) };
    let bytes = run.message(bytes, number, context.budget())?;
    let context = context.within(1)?;
    let repeated = Repeated { bytes, number: 1, of: Kind::Value, context };
    Ok(if number == 5 { View::Entries(repeated) } else { View::List(repeated) })
}

/// Returns the name of a map's entry. The value is checked only for its wire type.
pub(super) fn entry_name(entry: &[u8]) -> Result<&str, Fault> {
    let mut name = "";
    let mut message = Message::new(entry);
    while let Some((number, wire)) = message.next()? {
        match (number, wire) {
            (1, _) => name = wire.text()?,
            (2, Wire::Bytes(_)) => {}
            (2, _) => drop(wire.bytes()?),
            _ => {}
        }
    }
    Ok(name)
}

/// Returns the value of an entry. An entry without a value has an empty message.
pub(super) fn entry_value<'a>(
    entry: &'a [u8],
    context: Context<'_>,
) -> Result<Cow<'a, [u8]>, Fault> {
    let mut value = None;
    let mut message = Message::new(entry);
    loop {
        let start = entry.len() - message.left();
        let Some((number, wire)) = message.next()? else { break };
        if number == 2 {
            add_part(&mut value, start, entry.len() - message.left(), wire.bytes()?);
        }
    }
    match value {
        Some(run) => run.message(entry, 2, context.budget()),
        None => Ok(Cow::Borrowed(&[])),
    }
}

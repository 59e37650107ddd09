//! Documents v1 (`docarray.DocumentProto`) on their way through the executor.

use bytes::Bytes;

use super::shape::{Field, Fields, Wire};
use super::structs::{copy_without, write_entry};
use super::{documents, write_bytes, write_head};
use crate::endpoint::{Bulk, Change};
use crate::identity::Ids;

/// Documents for `/rich`, as a real executor makes them.
const RICH: &[u8] = include_bytes!("rich_v1.bin");
/// The encoded Value true.
const TRUE: &[u8] = &[0x20, 1];

const ID: u32 = 1;
const BLOB: u32 = 2;
const TENSOR: u32 = 3;
const TEXT: u32 = 4;
const TAGS: u32 = 17;

/// The id of a document, if it has one.
pub(super) fn id(document: &[u8]) -> Option<&[u8]> {
    content(document, ID)
}

/// Runs an endpoint on documents. Untouched they come back as they are, but each with an id, and
/// without a text that is empty.
pub(super) fn change(docs: &Bytes, change: Change, ids: &Ids) -> Bytes {
    let is_kept = |document| id(document).is_some() && !is_blank(document);
    if change == Change::None && documents(docs).all(is_kept) {
        return docs.clone();
    }
    let mut out = Vec::with_capacity(docs.len() + 64);
    for document in documents(docs) {
        write_document(&mut out, document, change, ids);
    }
    out.into()
}

pub(super) fn bulk(bulk: Bulk) -> Bytes {
    match bulk {
        Bulk::Nothing => Bytes::new(),
        Bulk::Rich => Bytes::from_static(RICH),
        Bulk::Big(size) => {
            let mut document = Vec::with_capacity(size + 16);
            write_bytes(&mut document, ID, b"big");
            write_head(&mut document, BLOB, size);
            document.resize(document.len() + size, b'x');
            let mut docs = Vec::with_capacity(document.len() + 8);
            write_bytes(&mut docs, 1, &document);
            docs.into()
        }
    }
}

fn write_document(out: &mut Vec<u8>, document: &[u8], change: Change, ids: &Ids) {
    let mut added = Vec::new();
    if id(document).is_none() {
        write_bytes(&mut added, ID, ids.make().as_bytes());
    }
    match change {
        Change::None => {}
        // Setting the text drops what else the content was; setting it to nothing leaves nothing.
        Change::Upper => {
            let text = Fields::new(document).filter(is_content).last();
            let text = text.filter(|field| field.number == TEXT).map(|field| field.content);
            let text = String::from_utf8_lossy(text.unwrap_or_default()).to_uppercase();
            if !text.is_empty() {
                write_bytes(&mut added, TEXT, text.as_bytes());
            }
        }
        Change::Tag(tag) => {
            let mut tags = Vec::new();
            for field in Fields::new(document).filter(|field| field.number == TAGS) {
                copy_without(&mut tags, field.content, tag);
            }
            write_entry(&mut tags, tag, TRUE);
            write_bytes(&mut added, TAGS, &tags);
        }
    }
    let is_blank = is_blank(document);
    let kept = |field: &Field<'_>| match change {
        Change::Upper => !is_content(field),
        Change::Tag(_) if field.number == TAGS => false,
        Change::None | Change::Tag(_) => !(is_blank && is_content(field)),
    };
    let length: usize = Fields::new(document).filter(kept).map(|field| field.whole.len()).sum();
    write_head(out, 1, length + added.len());
    for field in Fields::new(document).filter(kept) {
        out.extend_from_slice(field.whole);
    }
    out.extend_from_slice(&added);
}

/// Whether its content is an empty text, which an executor takes for none.
fn is_blank(document: &[u8]) -> bool {
    let content = Fields::new(document).filter(is_content).last();
    content.is_some_and(|field| field.number == TEXT && field.content.is_empty())
}

fn is_content(field: &Field<'_>) -> bool {
    matches!(field.number, BLOB | TENSOR | TEXT)
}

/// The bytes of a field that is not empty.
fn content(document: &[u8], number: u32) -> Option<&[u8]> {
    let is_it = |field: &Field<'_>| field.number == number && field.wire == Wire::Bytes;
    let field = Fields::new(document).filter(is_it).last()?;
    Some(field.content).filter(|content| !content.is_empty())
}

//! Documents that are already encoded.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::encode::THIRD_FIELD;
use super::one_kind::EncodedContent;
use super::proto::Message;
use super::refusal::{Refusal, refuse};
use super::serializer::To;
use super::{EncodeError, Encoder, decode, proto, reader};
use crate::error::{Error, ErrorKind};
use crate::foreign::told;
use crate::message::{DocArray, Encoding};

/// An encoded document, as a request or an answer contains it. It is shared and cheap to clone.
///
/// It is posted like any other document, and its bytes are copied into the request unchanged. So
/// documents can be encoded on other threads or long before they are sent, and passed on from one
/// gateway to another without being decoded.
///
/// A gateway takes only documents of its own generation: JSON over HTTP (and over WebSocket with
/// [`websocket_json`](crate::ClientBuilder::websocket_json)), protobuf over WebSocket and gRPC. For
/// any other gateway the document is an error of [`ErrorKind::Encode`], and is not sent.
///
/// ```
/// use clientlet::{Client, DocArray, Document, EncodedDocument};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let gateway = clientlet_gateway::Gateway::builder().start().await?;
/// let document = EncodedDocument::json(DocArray::V1, &Document::text("hello"))?;
/// let client = Client::new(&gateway.http_url())?;
/// let answers = client.post("/upper").documents([document]).send().await.into_result()?;
/// let came_back: &EncodedDocument = &answers[0].encoded_documents()?[0];
/// assert_eq!(came_back.decode::<Document>()?.text.unwrap(), "HELLO");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedDocument {
    docarray: DocArray,
    encoding: Encoding,
    /// Whether it is JSON of v2 with exactly two fields; see [`THIRD_FIELD`].
    is_pair: bool,
    bytes: Bytes,
}

impl EncodedDocument {
    fn new(docarray: DocArray, encoding: Encoding, bytes: Bytes) -> EncodedDocument {
        EncodedDocument { docarray, encoding, is_pair: false, bytes }
    }

    /// Encodes a document as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`], naming the field that a gateway of this generation cannot take.
    pub fn json<T: Serialize + ?Sized>(
        docarray: DocArray,
        document: &T,
    ) -> Result<EncodedDocument, Error> {
        EncodedDocument::encode(docarray, Encoding::Json, document, 0)
    }

    /// Encodes a document as protobuf.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`], naming the field that a gateway of this generation cannot take.
    pub fn protobuf<T: Serialize + ?Sized>(
        docarray: DocArray,
        document: &T,
    ) -> Result<EncodedDocument, Error> {
        EncodedDocument::encode(docarray, Encoding::Proto, document, 0)
    }

    /// Encodes a document whose length is likely to be `length`.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`], naming the field that a gateway of this generation cannot take.
    pub(crate) fn encode<T: Serialize + ?Sized>(
        docarray: DocArray,
        encoding: Encoding,
        document: &T,
        length: usize,
    ) -> Result<EncodedDocument, Error> {
        let mut bytes = Vec::with_capacity(length);
        let encoded = match encoding {
            Encoding::Json => Encoder::new(docarray).document(document, &mut bytes),
            Encoding::Proto => proto::Encoder::new(docarray).message(document, &mut bytes),
        };
        encoded.map_err(|error| refused(&error))?;
        let can_be_pair = (docarray, encoding) == (DocArray::V2, Encoding::Json);
        let is_pair = can_be_pair && take_third_field(&mut bytes);
        Ok(EncodedDocument { is_pair, ..EncodedDocument::new(docarray, encoding, bytes.into()) })
    }

    /// Returns the generation of the document.
    pub fn docarray(&self) -> DocArray {
        self.docarray
    }

    /// Whether the document is JSON; otherwise it is protobuf.
    pub fn is_json(&self) -> bool {
        self.encoding == Encoding::Json
    }

    /// Returns the encoded document: a JSON object, or a protobuf message (`DocumentProto` of v1,
    /// `DocProto` of v2).
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Decodes the document.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`], naming the field that does not fit `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let read = match self.encoding {
            Encoding::Json => decode::decode_document(self.docarray, &self.bytes),
            Encoding::Proto => proto::decode_document(self.docarray, &self.bytes),
        };
        read.map_err(|what| Error::decode(format!("the document does not fit: {what}")))
    }

    /// Splits a JSON list into its documents, each a share of the list's memory. A third field that the
    /// encoder added is no part of them.
    ///
    /// # Errors
    /// The fault in the list, in words.
    pub(crate) fn split_json(
        docarray: DocArray,
        list: &Bytes,
    ) -> Result<Vec<EncodedDocument>, String> {
        let documents: Vec<&RawValue> = reader::from_slice(list).map_err(|error| told(&error))?;
        let share = |document: &RawValue| {
            let text = document.get();
            let mut bytes = list.slice_ref(text.as_bytes());
            let mut is_pair = docarray == DocArray::V2 && has_two_fields(text);
            if docarray == DocArray::V2 && text.as_bytes().ends_with(ADDED) {
                let mut own = text.as_bytes().to_vec();
                is_pair = take_third_field(&mut own);
                bytes = own.into();
            }
            EncodedDocument { is_pair, ..EncodedDocument::new(docarray, Encoding::Json, bytes) }
        };
        Ok(documents.into_iter().map(share).collect())
    }

    /// Splits a `DocumentArrayProto` (v1) or `DocListProto` (v2) into its documents, each a share
    /// of its memory.
    ///
    /// # Errors
    /// The fault in the message, in words.
    pub(crate) fn split_proto(
        docarray: DocArray,
        list: &Bytes,
    ) -> Result<Vec<EncodedDocument>, String> {
        let mut documents = Vec::new();
        let mut message = Message::new(list);
        while let Some((number, field)) = message.next().map_err(|fault| fault.0.to_owned())? {
            if number == 1 {
                let document = field.bytes().map_err(|fault| fault.0.to_owned())?;
                let bytes = list.slice_ref(document);
                documents.push(EncodedDocument::new(docarray, Encoding::Proto, bytes));
            }
        }
        Ok(documents)
    }
}

/// How a document ends to which the encoder added [`THIRD_FIELD`].
const ADDED: &[u8] = b",\"_\":null}";

/// Removes the third field that the encoder added; `false` if there is none.
fn take_third_field(document: &mut Vec<u8>) -> bool {
    let is_added = document.ends_with(ADDED);
    if is_added {
        document.truncate(document.len() - ADDED.len());
        document.push(b'}');
    }
    is_added
}

fn has_two_fields(object: &str) -> bool {
    let fields = serde_json::from_str::<HashMap<Cow<'_, str>, IgnoredAny>>(object);
    fields.is_ok_and(|fields| fields.len() == 2)
}

fn refused(error: &EncodeError) -> Error {
    Error::new(ErrorKind::Encode, error.to_string())
}

/// Shows the form and the size, but not the bytes, which may be many.
impl fmt::Debug for EncodedDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = described(name(self.docarray, self.encoding));
        write!(f, "EncodedDocument({what}, {} bytes)", self.bytes.len())
    }
}

/// The beginning of the markers of all forms.
const NAME: &str = "clientlet::EncodedDocument::";

/// Returns the marker by which this crate's encoders recognize a document of this form.
fn name(docarray: DocArray, encoding: Encoding) -> &'static str {
    match (docarray, encoding) {
        (DocArray::V1, Encoding::Json) => "clientlet::EncodedDocument::JSON of v1",
        (DocArray::V2, Encoding::Json) => "clientlet::EncodedDocument::JSON of v2",
        (DocArray::V1, Encoding::Proto) => "clientlet::EncodedDocument::protobuf of v1",
        (DocArray::V2, Encoding::Proto) => "clientlet::EncodedDocument::protobuf of v2",
    }
}

fn described(name: &str) -> &str {
    name.strip_prefix(NAME).unwrap_or(name)
}

/// The marker of a document of v2 in JSON with exactly two fields.
const PAIR: &str = "clientlet::EncodedDocument::JSON of v2 with two fields";

/// The reason why an encoded document is refused inside a field.
pub(super) const WITHIN: &str = "an encoded document cannot be a part of another";

/// Whether this is the marker of an encoded document.
pub(super) fn is_encoded(name: &str) -> bool {
    name.starts_with(NAME)
}

/// Appends an encoded document to documents of one form.
///
/// # Errors
/// If the document, whose marker is `name`, has another form.
pub(super) fn write<T: Serialize + ?Sized>(
    name: &'static str,
    document: &T,
    docarray: DocArray,
    encoding: Encoding,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let wanted = self::name(docarray, encoding);
    if name == PAIR && wanted == self::name(DocArray::V2, Encoding::Json) {
        document.serialize(To(EncodedContent(out)))?;
        // An object ends with its bracket.
        out.pop();
        out.extend_from_slice(THIRD_FIELD);
        out.push(b'}');
        return Ok(());
    }
    if name != wanted {
        return refuse(format!(
            "the document is encoded as {}, but this gateway takes {}",
            described(name),
            described(wanted)
        ));
    }
    document.serialize(To(EncodedContent(out)))
}

/// In other formats an encoded document is bytes.
impl Serialize for EncodedDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = if self.is_pair { PAIR } else { name(self.docarray, self.encoding) };
        serializer.serialize_newtype_struct(name, &Content(&self.bytes))
    }
}

struct Content<'a>(&'a [u8]);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{Document, Tensor};

    fn document() -> Document {
        let tensor = Tensor::new(&[2], &[1.5_f32, 2.5]).unwrap();
        Document { id: Some("a".into()), tensor: Some(tensor), ..Document::default() }
    }

    #[test]
    fn a_document_is_written_as_it_was_encoded_and_is_decoded_unchanged() {
        for docarray in [DocArray::V1, DocArray::V2] {
            let json = EncodedDocument::json(docarray, &document()).unwrap();
            let (mut plain, mut again) = (Vec::new(), Vec::new());
            Encoder::new(docarray).document(&document(), &mut plain).unwrap();
            Encoder::new(docarray).document(&json, &mut again).unwrap();
            assert_eq!(again, plain);
            assert_eq!(json.decode::<Document>().unwrap().id.unwrap(), "a");

            let proto = EncodedDocument::protobuf(docarray, &document()).unwrap();
            let (mut plain, mut again) = (Vec::new(), Vec::new());
            let encoder = proto::Encoder::new(docarray);
            encoder.document(&document(), &mut plain).unwrap();
            encoder.document(&proto, &mut again).unwrap();
            assert_eq!(again, plain);
            assert_eq!(proto.decode::<Document>().unwrap(), document());

            // The list is split into its documents.
            encoder.document(&document(), &mut again).unwrap();
            let list = Bytes::from(again);
            let split = EncodedDocument::split_proto(docarray, &list).unwrap();
            assert_eq!(split, [proto.clone(), proto]);
            let list = Bytes::from([b"[", &json.bytes[..], b" , ", &json.bytes[..], b"]"].concat());
            let split = EncodedDocument::split_json(docarray, &list).unwrap();
            assert_eq!(split, [json.clone(), json]);
        }
    }

    #[test]
    fn a_document_of_another_form_or_within_another_is_refused() {
        let json = EncodedDocument::json(DocArray::V2, &json!({"a": 1})).unwrap();
        let mut out = b"before".to_vec();
        let error = Encoder::new(DocArray::V1).document(&json, &mut out).unwrap_err();
        let told = "the document is encoded as JSON of v2, but this gateway takes JSON of v1";
        assert_eq!((error.message.as_str(), &out[..]), (told, &b"before"[..]));
        let error = proto::Encoder::new(DocArray::V2).document(&json, &mut out).unwrap_err();
        let told = "the document is encoded as JSON of v2, but this gateway takes protobuf of v2";
        assert_eq!((error.message.as_str(), &out[..]), (told, &b"before"[..]));

        #[derive(Serialize)]
        struct Outer {
            inner: EncodedDocument,
        }
        let outer = Outer { inner: json };
        let error = Encoder::new(DocArray::V2).document(&outer, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "inner: an encoded document cannot be a part of another");
        let error = proto::Encoder::new(DocArray::V2).document(&outer, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "inner: an encoded document cannot be a part of another");
    }

    #[test]
    fn a_document_of_two_fields_from_a_v2_gateway_gets_a_third_when_it_is_sent() {
        let list = Bytes::from_static(br#"[{"id":"a","text":"b"},{"id":"a"}]"#);
        let mut out = Vec::new();
        for document in EncodedDocument::split_json(DocArray::V2, &list).unwrap() {
            Encoder::new(DocArray::V2).document(&document, &mut out).unwrap();
        }
        assert_eq!(out, br#"{"id":"a","text":"b","_":null}{"id":"a"}"#);
        let split = EncodedDocument::split_json(DocArray::V1, &list).unwrap();
        out.clear();
        Encoder::new(DocArray::V1).document(&split[0], &mut out).unwrap();
        assert_eq!(out, br#"{"id":"a","text":"b"}"#);
    }

    #[test]
    fn the_third_field_is_not_seen_by_those_who_read_an_encoded_document() {
        type Fields = std::collections::BTreeMap<String, String>;
        let given: Fields = [("id".into(), "a".into()), ("text".into(), "b".into())].into();
        let encoded = EncodedDocument::json(DocArray::V2, &given).unwrap();
        assert_eq!(encoded.decode::<Fields>().unwrap(), given);
        assert_eq!(&encoded.as_bytes()[..], br#"{"id":"a","text":"b"}"#);
        let mut sent = Vec::new();
        Encoder::new(DocArray::V2).document(&encoded, &mut sent).unwrap();
        assert_eq!(sent, br#"{"id":"a","text":"b","_":null}"#);
        let list = Bytes::from([b"[", &sent[..], b"]"].concat());
        assert_eq!(EncodedDocument::split_json(DocArray::V2, &list).unwrap(), [encoded]);
    }

    #[test]
    fn a_field_that_does_not_fit_the_type_is_named() {
        let refused = EncodedDocument::json(DocArray::V1, &json!({"tags": {"a": 1e300}, "x": 1}));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Encode);
        let encoded = EncodedDocument::json(DocArray::V2, &json!({"a": "text"})).unwrap();
        let error = encoded.decode::<HashMap<String, u8>>().unwrap_err();
        assert!(error.message().contains("the document does not fit: a: "), "{error}");
        assert_eq!(encoded.decode::<serde_json::Value>().unwrap(), json!({"a": "text"}));
        assert_eq!(format!("{encoded:?}"), "EncodedDocument(JSON of v2, 12 bytes)");
    }
}

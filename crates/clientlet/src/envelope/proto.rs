//! Requests and answers as protobuf, except for their documents.

use std::borrow::Cow;
use std::cell::Cell;
use std::time::SystemTime;

use bytes::Bytes;
use clientlet_proto::prost::Message as _;
use clientlet_proto::prost_types::Timestamp;
use clientlet_proto::v1::jina::{HeaderProto, RouteProto, StatusProto, status_proto};

use crate::document::EncodeError;
use crate::document::proto::{
    Encoder, Fault, Message, Run, add_part, put_bytes, put_length, varint_size,
};
use crate::foreign::told;
use crate::message::{
    AnswerParts, DocArray, Encoding, Exception, MOST_ROUTES, RawAnswer, RouteTimes, Status,
    time_of, too_many_routes,
};

/// A `DataRequestProto` around its documents. It is the same for every request of a call, except
/// for the id.
#[derive(Debug)]
pub(crate) struct ProtoTemplate {
    /// The fields of the header that follow the id.
    header: Vec<u8>,
    /// The field of the parameters; empty without parameters.
    parameters: Vec<u8>,
}

/// The bytes reserved before the documents, for two tags and two lengths.
const FRONT: usize = 2 * 11;

impl ProtoTemplate {
    /// Makes a template; `parameters` is a JSON object.
    pub(crate) fn new(
        docarray: DocArray,
        endpoint: &str,
        target_executor: Option<&str>,
        parameters: Option<&[u8]>,
    ) -> Result<ProtoTemplate, EncodeError> {
        let mut header = Vec::new();
        put_bytes(3, endpoint.as_bytes(), &mut header);
        if let Some(target) = target_executor {
            put_bytes(4, target.as_bytes(), &mut header);
        }
        let mut field = Vec::new();
        if let Some(json) = parameters {
            let mut entries = Vec::new();
            Encoder::new(docarray).parameters(json, &mut entries)?;
            put_bytes(2, &entries, &mut field);
        }
        Ok(ProtoTemplate { header, parameters: field })
    }

    /// Begins a request. The documents are appended next.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + FRONT, 0);
    }

    /// Ends a request that began at the start of `out`, and returns the offset at which the message
    /// begins. The reserved bytes before this offset are not part of the message, whose length is
    /// known only now.
    pub(crate) fn finish(&self, id: &str, out: &mut Vec<u8>) -> usize {
        let documents = out.len() - FRONT;
        let inner = 1 + varint_size(documents as u64) + documents;
        let mut front = Vec::with_capacity(FRONT);
        // Empty lists are left out, as protobuf's own writers do.
        if documents > 0 {
            put_length(4, inner, &mut front);
            put_length(1, documents, &mut front);
        }
        let start = FRONT - front.len();
        out[start..FRONT].copy_from_slice(&front);
        self.end(id, out);
        start
    }

    /// Builds a `SingleDocumentRequestProto`; `document` is its whole field, with tag and length.
    pub(crate) fn around(&self, id: &str, document: &[u8]) -> Bytes {
        let mut out = document.to_vec();
        self.end(id, &mut out);
        out.into()
    }

    /// Appends the fields that both kinds of requests have.
    fn end(&self, id: &str, out: &mut Vec<u8>) {
        let size = 1 + varint_size(id.len() as u64) + id.len();
        out.reserve(size + self.header.len() + self.parameters.len() + 8);
        put_length(1, size + self.header.len(), out);
        put_bytes(1, id.as_bytes(), out);
        out.extend_from_slice(&self.header);
        out.extend_from_slice(&self.parameters);
    }
}

/// Opens the envelope of an answer. Documents, parameters and routes are left as they came and
/// share the frame's memory.
///
/// # Errors
/// The fault in the bytes, in words.
pub(crate) fn read_proto_answer(docarray: DocArray, frame: &Bytes) -> Result<RawAnswer, String> {
    let fields = Fields::read(frame).map_err(|fault| in_words(&fault))?;
    let budget = Cell::new(frame.len().saturating_mul(8));
    let part = |run: Option<Run<'_>>, number| match run {
        Some(run) => run.message(frame, number, &budget).map(|bytes| Some(share(frame, bytes))),
        None => Ok(None),
    };
    let header = part(fields.header, 1).map_err(|fault| in_words(&fault))?;
    let (request_id, status) = header.map_or_else(|| Ok(Default::default()), read_header)?;
    let parameters = part(fields.parameters, 2).map_err(|fault| in_words(&fault))?;
    let data = part(fields.data, 4).map_err(|fault| in_words(&fault))?;
    Ok(RawAnswer::from(AnswerParts {
        docarray,
        encoding: Encoding::Proto,
        request_id,
        status,
        whole: frame.clone(),
        routes: fields.has_routes.then(|| frame.clone()),
        parameters,
        documents: data.map_or(Ok(None), |data| read_data(docarray, &data))?,
    }))
}

/// Reads the id and the status of a request. Nearly every header is without a status, and then the
/// other fields are not copied.
fn read_header(header: Bytes) -> Result<(String, Status), String> {
    let mut id: &[u8] = &[];
    let mut message = Message::new(&header);
    while let Some((number, wire)) = message.next().map_err(|fault| in_words(&fault))? {
        match number {
            1 => id = wire.bytes().map_err(|fault| in_words(&fault))?,
            2 => {
                let header = HeaderProto::decode(header).map_err(|error| told(&error))?;
                let status = header.status.map(Status::from).unwrap_or_default();
                return Ok((header.request_id, status));
            }
            _ => {}
        }
    }
    let id = std::str::from_utf8(id).map_err(|_| "its request id is not UTF-8".to_owned())?;
    Ok((id.to_owned(), Status::default()))
}

/// Reads the endpoint of a request, and the pattern of the executors that are to work on it.
///
/// # Errors
/// The fault in the bytes, in words.
#[cfg(feature = "clientlets")]
pub(crate) fn read_proto_target(frame: &Bytes) -> Result<(String, Option<String>), String> {
    let fields = Fields::read(frame).map_err(|fault| in_words(&fault))?;
    let Some(header) = fields.header else { return Ok(Default::default()) };
    let budget = Cell::new(frame.len().saturating_mul(8));
    let header = header.message(frame, 1, &budget).map_err(|fault| in_words(&fault))?;
    let header = HeaderProto::decode(&*header).map_err(|error| told(&error))?;
    // An empty pattern selects all executors, as none does.
    let target = header.target_executor.filter(|pattern| !pattern.is_empty());
    Ok((header.exec_endpoint.unwrap_or_default(), target))
}

/// The field number of the document in a `SingleDocumentRequestProto`.
pub(crate) const SINGLE_DOCUMENT: u32 = 4;

/// Opens the envelope of a stream's document, a `SingleDocumentRequestProto`. Returns the status of
/// the request so far, and the document, which shares the frame's memory.
///
/// # Errors
/// The fault in the bytes, in words.
pub(crate) fn read_proto_document(frame: &Bytes) -> Result<(Status, Option<Bytes>), String> {
    let read = || {
        // The fields have the same numbers as in a `DataRequestProto`.
        let fields = Fields::read(frame)?;
        let budget = Cell::new(frame.len().saturating_mul(8));
        let part = |run: Option<Run<'_>>, number| match run {
            Some(run) => run.message(frame, number, &budget).map(|part| Some(share(frame, part))),
            None => Ok(None),
        };
        Ok((part(fields.header, 1)?, part(fields.data, SINGLE_DOCUMENT)?))
    };
    let (header, document) = read().map_err(|fault: Fault| in_words(&fault))?;
    let header = header.map(HeaderProto::decode).transpose().map_err(|error| told(&error))?;
    let status = header.and_then(|header| header.status);
    Ok((status.map(Status::from).unwrap_or_default(), document))
}

/// The places of the fields of a `DataRequestProto`.
#[derive(Default)]
struct Fields<'a> {
    header: Option<Run<'a>>,
    parameters: Option<Run<'a>>,
    has_routes: bool,
    data: Option<Run<'a>>,
}

impl<'a> Fields<'a> {
    fn read(frame: &'a [u8]) -> Result<Fields<'a>, Fault> {
        let mut fields = Fields::default();
        let mut message = Message::new(frame);
        loop {
            let start = frame.len() - message.left();
            let Some((number, wire)) = message.next()? else { return Ok(fields) };
            let end = frame.len() - message.left();
            match number {
                1 => add_part(&mut fields.header, start, end, wire.bytes()?),
                2 => add_part(&mut fields.parameters, start, end, wire.bytes()?),
                3 => {
                    wire.bytes()?;
                    fields.has_routes = true;
                }
                4 => add_part(&mut fields.data, start, end, wire.bytes()?),
                _ => {}
            }
        }
    }
}

/// Reads the documents in a `DataContentProto`. It has two fields for them, and the last one set
/// counts.
fn read_data(docarray: DocArray, data: &Bytes) -> Result<Option<Bytes>, String> {
    let mut docs = None;
    let mut docs_bytes = None;
    let mut read = || {
        let mut message = Message::new(data);
        loop {
            let start = data.len() - message.left();
            let Some((number, wire)) = message.next()? else { break };
            match number {
                1 => {
                    docs_bytes = None;
                    add_part(&mut docs, start, data.len() - message.left(), wire.bytes()?);
                }
                2 => {
                    docs = None;
                    docs_bytes = Some(wire.bytes()?);
                }
                _ => {}
            }
        }
        let budget = Cell::new(data.len());
        let docs: Option<Run<'_>> = docs;
        docs.map(|run| run.message(data, 1, &budget)).transpose()
    };
    let docs = read().map_err(|fault: Fault| in_words(&fault))?;
    match (docs, docs_bytes, docarray) {
        (Some(docs), ..) => Ok(Some(share(data, docs))),
        (None, Some(bytes), DocArray::V2) => Ok(Some(data.slice_ref(bytes))),
        (None, Some(_), DocArray::V1) => {
            Err("its documents are a Python pickle, which is never opened".to_owned())
        }
        (None, None, _) => Ok(None),
    }
}

/// Returns `part` as a share of the frame's memory, unless it had to be joined.
fn share(frame: &Bytes, part: Cow<'_, [u8]>) -> Bytes {
    match part {
        Cow::Borrowed(part) => frame.slice_ref(part),
        Cow::Owned(part) => part.into(),
    }
}

fn in_words(fault: &Fault) -> String {
    format!("it is not a protobuf message: {}", fault.0)
}

/// Reads the stations of a request from an answer's frame.
///
/// # Errors
/// The fault in the bytes, in words.
pub(crate) fn read_proto_routes(frame: &Bytes) -> Result<Vec<RouteTimes>, String> {
    let mut routes = Vec::new();
    let mut message = Message::new(frame);
    while let Some((number, wire)) = message.next().map_err(|fault| in_words(&fault))? {
        if number == 3 {
            let bytes = wire.bytes().map_err(|fault| in_words(&fault))?;
            if routes.len() == MOST_ROUTES {
                return Err(too_many_routes());
            }
            let route = RouteProto::decode(bytes).map_err(|error| told(&error))?;
            routes.push(RouteTimes::from(route));
        }
    }
    Ok(routes)
}

/// Reads the answer to a dry run, which is only a status. An empty message is a success.
///
/// # Errors
/// The fault in the bytes, in words.
pub(crate) fn read_proto_status(bytes: &[u8]) -> Result<Status, String> {
    StatusProto::decode(bytes).map(Status::from).map_err(|error| told(&error))
}

impl From<StatusProto> for Status {
    fn from(proto: StatusProto) -> Status {
        Status {
            code: proto.code,
            description: proto.description,
            exception: proto.exception.map(Exception::from),
        }
    }
}

impl From<status_proto::ExceptionProto> for Exception {
    fn from(proto: status_proto::ExceptionProto) -> Exception {
        Exception {
            name: proto.name,
            args: proto.args,
            stacks: proto.stacks,
            executor: proto.executor,
        }
    }
}

impl From<RouteProto> for RouteTimes {
    fn from(proto: RouteProto) -> RouteTimes {
        RouteTimes {
            executor: proto.executor,
            start_time: proto.start_time.and_then(time),
            end_time: proto.end_time.and_then(time),
            status: proto.status.map(Status::from),
        }
    }
}

/// Returns the time; an invalid time is `None`, because it is no reason to lose the answer.
fn time(stamp: Timestamp) -> Option<SystemTime> {
    time_of(stamp.seconds, u32::try_from(stamp.nanos).ok()?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clientlet_proto::{v1, v2};
    use serde_json::{Value, json};

    use super::*;
    use crate::document::proto::{decode_documents, decode_struct, put_varint};
    use crate::message::RequestId;

    fn recorded(file: &str) -> Bytes {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures");
        std::fs::read(folder.join(file)).unwrap().into()
    }

    fn written(documents: &[Value], parameters: Option<&[u8]>) -> Bytes {
        let target = Some("first");
        let template = ProtoTemplate::new(DocArray::V2, "/up", target, parameters).unwrap();
        let mut out = Vec::new();
        template.begin(&mut out);
        for document in documents {
            Encoder::new(DocArray::V2).document(document, &mut out).unwrap();
        }
        let start = template.finish(&RequestId { nonce: 1, sequence: 2 }.to_string(), &mut out);
        Bytes::from(out).slice(start..)
    }

    #[test]
    fn a_request_is_valid_protobuf() {
        let documents = [json!({"id": "a", "n": 1}), json!({"text": "t".repeat(300)})];
        let bytes = written(&documents, Some(br#"{"k":1,"l":[null,true]}"#));
        let request = v2::jina::DataRequestProto::decode(bytes).unwrap();
        let header = request.header.unwrap();
        assert_eq!(header.request_id, "0000000000000001-2");
        assert_eq!(header.exec_endpoint.as_deref(), Some("/up"));
        assert_eq!(header.target_executor.as_deref(), Some("first"));
        assert_eq!(request.parameters.unwrap().fields.len(), 2);
        let Some(v2::jina::data_content_proto::Documents::Docs(docs)) =
            request.data.unwrap().documents
        else {
            panic!("documents were written");
        };
        assert_eq!(docs.docs.len(), 2);
    }

    #[test]
    fn documents_and_parameters_that_are_not_set_are_left_out() {
        let request = v1::jina::DataRequestProto::decode(written(&[], None)).unwrap();
        assert_eq!((request.data, request.parameters), (None, None));
    }

    #[test]
    fn a_request_reads_as_an_answer() {
        let answer = written(&[json!({"id": "a"})], Some(br#"{"k":1}"#));
        let answer = read_proto_answer(DocArray::V2, &answer).unwrap();
        assert_eq!(answer.request_id, "0000000000000001-2");
        assert!(answer.status.is_success() && answer.routes.is_none());
        let documents = decode_documents::<Value>(DocArray::V2, answer.documents.as_ref().unwrap());
        assert_eq!(documents.unwrap(), [json!({"id": "a"})]);
        let parameters = decode_struct::<Value>(answer.parameters.as_ref().unwrap()).unwrap();
        assert_eq!(parameters, json!({"k": 1}));
    }

    #[test]
    fn parameters_that_a_struct_cannot_hold_are_refused_by_name() {
        let parameters = Some(&br#"{"a":{"b":9007199254740993}}"#[..]);
        let error = ProtoTemplate::new(DocArray::V1, "/", None, parameters).unwrap_err();
        assert_eq!(error.path, "a.b");
    }

    #[test]
    fn recorded_answers_have_their_id_status_and_routes() {
        let folders =
            [("seed-era", DocArray::V1), ("current-v1", DocArray::V1), ("current", DocArray::V2)];
        for (folder, docarray) in folders {
            let frame = recorded(&format!("{folder}/response_fail.bin"));
            let answer = read_proto_answer(docarray, &frame).unwrap();
            assert_eq!(answer.request_id, "req-fail");
            assert_eq!(
                (answer.status.code, &*answer.status.description),
                (1, "ValueError('boom')")
            );
            let exception = answer.status.exception.clone().unwrap();
            assert_eq!((&*exception.name, &exception.args), ("ValueError", &vec!["boom".into()]));
            assert_eq!(exception.executor, "WireExecutor");
            let routes = read_proto_routes(answer.routes.as_ref().unwrap()).unwrap();
            assert_eq!((&*routes[0].executor, &*routes[1].executor), ("gateway", "executor0"));
            assert_eq!(routes[1].status.as_ref(), Some(&answer.status));
            assert!(routes[1].end_time > routes[1].start_time);

            let frame = recorded(&format!("{folder}/response_params.bin"));
            let answer = read_proto_answer(docarray, &frame).unwrap();
            let parameters: Value = decode_struct(answer.parameters.as_ref().unwrap()).unwrap();
            let results = &parameters["__results__"]["executor0/rep-0"];
            assert_eq!(results["got"]["l"], json!([1.5, null, true, "s"]));
            assert_eq!(parameters["a"], json!(1));

            let frame = recorded(&format!("{folder}/response_target.bin"));
            let answer = read_proto_answer(docarray, &frame).unwrap();
            let routes = read_proto_routes(answer.routes.as_ref().unwrap()).unwrap();
            assert_eq!(routes[1].end_time, None);
        }
    }

    #[test]
    fn invalid_times_are_none_and_too_many_routes_are_refused() {
        for seconds in [253_402_300_800, -8_000_000_000_000, i64::MAX, i64::MIN] {
            let time = Some(Timestamp { seconds, nanos: 0 });
            let route = RouteProto { start_time: time, end_time: time, ..RouteProto::default() };
            let mut frame = Vec::new();
            put_bytes(3, &route.encode_to_vec(), &mut frame);
            let routes = read_proto_routes(&frame.into()).unwrap();
            assert_eq!((routes[0].start_time, routes[0].end_time), (None, None), "{seconds}");
        }
        let routes = |count| read_proto_routes(&b"\x1a\x00".repeat(count).into());
        assert_eq!(routes(MOST_ROUTES).unwrap().len(), MOST_ROUTES);
        assert!(routes(MOST_ROUTES + 1).unwrap_err().contains("more than 4096"));
    }

    #[test]
    fn an_empty_answer_to_a_dry_run_is_a_success() {
        assert!(read_proto_status(b"").unwrap().is_success());
        let status = read_proto_status(&recorded("current/status_error.bin")).unwrap();
        assert_eq!((status.code, &*status.exception.unwrap().name), (1, "InternalNetworkError"));
        assert!(read_proto_status(b"\xff").is_err());
    }

    #[test]
    fn several_parts_of_a_message_are_one_message() {
        let mut out = Vec::new();
        for part in [&b"\x0a\x01a\x1a\x01x"[..], b"\x1a\x02/y", b"\x0a\x02id"] {
            put_bytes(1, part, &mut out);
            put_varint(6 << 3, &mut out);
            put_varint(1, &mut out);
        }
        // Two lists of documents count as one. Bytes between them would end the first list.
        put_bytes(4, b"\x0a\x02\x0a\x00", &mut out);
        put_bytes(4, b"\x0a\x02\x0a\x00", &mut out);
        let answer = read_proto_answer(DocArray::V1, &out.into()).unwrap();
        assert_eq!(answer.request_id, "id");
        assert_eq!(&answer.documents.as_ref().unwrap()[..], b"\x0a\x00\x0a\x00");
    }

    #[test]
    fn a_pickle_is_refused_and_a_list_as_bytes_is_read() {
        let frame = Bytes::from_static(b"\x22\x04\x12\x02\x0a\x00");
        let message = read_proto_answer(DocArray::V1, &frame).unwrap_err();
        assert!(message.contains("pickle"), "{message}");
        let answer = read_proto_answer(DocArray::V2, &frame).unwrap();
        let documents = answer.documents.clone().unwrap();
        assert!(frame.as_ptr_range().contains(&documents.as_ptr()));
        assert_eq!(decode_documents::<Value>(DocArray::V2, &documents).unwrap(), [json!({})]);
    }

    #[test]
    fn bytes_that_are_not_protobuf_are_refused_in_words() {
        for frame in [&b"\x0a\x05"[..], b"{\"data\":[]}", b"\x08\x01", b"\x22\x02\x08\x01"] {
            let message = read_proto_answer(DocArray::V2, &Bytes::from_static(frame)).unwrap_err();
            assert!(message.contains("not a protobuf message"), "{message}");
        }
        let header = Bytes::from_static(b"\x0a\x03\x0a\x01\xff");
        assert!(read_proto_answer(DocArray::V2, &header).unwrap_err().contains("UTF-8"));
    }
}

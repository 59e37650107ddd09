//! The tests' own types of the messages on the wire, written after the description of the protocol.

use std::collections::BTreeMap;

use prost::Message as _;

/// A short form for messages of prost.
macro_rules! messages {
    ($($name:ident { $($(#[$kind:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            #[derive(Clone, PartialEq, prost::Message)]
            pub(crate) struct $name {
                $($(#[$kind])* pub(crate) $field: $type,)*
            }
        )*
    };
}

messages! {
    Header {
        #[prost(string, tag = "1")] request_id: String,
        #[prost(message, optional, tag = "2")] status: Option<Status>,
        #[prost(string, optional, tag = "3")] exec_endpoint: Option<String>,
        #[prost(string, optional, tag = "4")] target_executor: Option<String>,
        #[prost(uint32, optional, tag = "5")] timeout: Option<u32>,
    }
    Status {
        #[prost(int32, tag = "1")] code: i32,
        #[prost(string, tag = "2")] description: String,
        #[prost(message, optional, tag = "3")] exception: Option<Exception>,
    }
    Exception {
        #[prost(string, tag = "1")] name: String,
        #[prost(string, repeated, tag = "2")] args: Vec<String>,
        #[prost(string, repeated, tag = "3")] stacks: Vec<String>,
        #[prost(string, tag = "4")] executor: String,
    }
    Route {
        #[prost(string, tag = "1")] executor: String,
        #[prost(message, optional, tag = "2")] start_time: Option<Timestamp>,
        #[prost(message, optional, tag = "3")] end_time: Option<Timestamp>,
        #[prost(message, optional, tag = "4")] status: Option<Status>,
    }
    Timestamp {
        #[prost(int64, tag = "1")] seconds: i64,
        #[prost(int32, tag = "2")] nanos: i32,
    }
    Struct {
        #[prost(btree_map = "string, message", tag = "1")] fields: BTreeMap<String, Value>,
    }
    Value {
        #[prost(oneof = "value::Kind", tags = "1, 2, 3, 4, 5, 6")] kind: Option<value::Kind>,
    }
    ListValue {
        #[prost(message, repeated, tag = "1")] values: Vec<Value>,
    }
    Dense {
        #[prost(bytes = "vec", tag = "1")] buffer: Vec<u8>,
        #[prost(uint32, repeated, tag = "2")] shape: Vec<u32>,
        #[prost(string, tag = "3")] dtype: String,
    }
}

pub(crate) mod value {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Kind {
        #[prost(int32, tag = "1")]
        Null(i32),
        #[prost(double, tag = "2")]
        Number(f64),
        #[prost(string, tag = "3")]
        String(String),
        #[prost(bool, tag = "4")]
        Bool(bool),
        #[prost(message, tag = "5")]
        Struct(super::Struct),
        #[prost(message, tag = "6")]
        List(super::ListValue),
    }
}

pub(crate) mod v1 {
    use super::{BTreeMap, Dense, Header, Route, Struct};

    messages! {
        DataRequest {
            #[prost(message, optional, tag = "1")] header: Option<Header>,
            #[prost(message, optional, tag = "2")] parameters: Option<Struct>,
            #[prost(message, repeated, tag = "3")] routes: Vec<Route>,
            #[prost(message, optional, tag = "4")] data: Option<Data>,
        }
        Data {
            #[prost(message, optional, tag = "1")] docs: Option<DocArray>,
            #[prost(bytes = "vec", optional, tag = "2")] docs_bytes: Option<Vec<u8>>,
        }
        DocArray {
            #[prost(message, repeated, tag = "1")] docs: Vec<Document>,
        }
        Document {
            #[prost(string, tag = "1")] id: String,
            #[prost(bytes = "vec", optional, tag = "2")] blob: Option<Vec<u8>>,
            #[prost(message, optional, tag = "3")] tensor: Option<Array>,
            #[prost(string, optional, tag = "4")] text: Option<String>,
            #[prost(uint32, tag = "5")] granularity: u32,
            #[prost(uint32, tag = "6")] adjacency: u32,
            #[prost(string, tag = "7")] parent_id: String,
            #[prost(float, tag = "8")] weight: f32,
            #[prost(string, tag = "9")] uri: String,
            #[prost(string, tag = "10")] modality: String,
            #[prost(string, tag = "11")] mime_type: String,
            #[prost(float, tag = "12")] offset: f32,
            #[prost(float, repeated, tag = "13")] location: Vec<f32>,
            #[prost(message, repeated, tag = "14")] chunks: Vec<Document>,
            #[prost(message, repeated, tag = "15")] matches: Vec<Document>,
            #[prost(message, optional, tag = "16")] embedding: Option<Array>,
            #[prost(message, optional, tag = "17")] tags: Option<Struct>,
            #[prost(btree_map = "string, message", tag = "18")] scores: BTreeMap<String, Score>,
            #[prost(btree_map = "string, message", tag = "19")] evaluations: BTreeMap<String, Score>,
        }
        Score {
            #[prost(float, tag = "1")] value: f32,
            #[prost(string, tag = "2")] op_name: String,
            #[prost(string, tag = "3")] description: String,
            #[prost(string, tag = "4")] ref_id: String,
        }
        Array {
            #[prost(message, optional, tag = "1")] dense: Option<Dense>,
            #[prost(string, tag = "3")] cls_name: String,
            #[prost(message, optional, tag = "4")] parameters: Option<Struct>,
        }
    }
}

pub(crate) mod v2 {
    use super::{BTreeMap, Dense, Header, Route, Struct};

    messages! {
        DataRequest {
            #[prost(message, optional, tag = "1")] header: Option<Header>,
            #[prost(message, optional, tag = "2")] parameters: Option<Struct>,
            #[prost(message, repeated, tag = "3")] routes: Vec<Route>,
            #[prost(message, optional, tag = "4")] data: Option<Data>,
        }
        Data {
            #[prost(message, optional, tag = "1")] docs: Option<DocArray>,
            #[prost(bytes = "vec", optional, tag = "2")] docs_bytes: Option<Vec<u8>>,
        }
        DocArray {
            #[prost(message, repeated, tag = "1")] docs: Vec<Document>,
        }
        Document {
            #[prost(btree_map = "string, message", tag = "1")] data: BTreeMap<String, Node>,
        }
        Node {
            #[prost(oneof = "node::Content", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
            content: Option<node::Content>,
            #[prost(string, optional, tag = "13")] r#type: Option<String>,
        }
        List {
            #[prost(message, repeated, tag = "1")] data: Vec<Node>,
        }
        Array {
            #[prost(message, optional, tag = "1")] dense: Option<Dense>,
            #[prost(message, optional, tag = "2")] parameters: Option<Struct>,
        }
    }

    pub(crate) mod node {
        #[derive(Clone, PartialEq, prost::Oneof)]
        pub(crate) enum Content {
            #[prost(string, tag = "1")]
            Text(String),
            #[prost(int32, tag = "2")]
            Integer(i32),
            #[prost(double, tag = "3")]
            Float(f64),
            #[prost(bool, tag = "4")]
            Boolean(bool),
            #[prost(bytes = "vec", tag = "5")]
            Blob(Vec<u8>),
            #[prost(message, tag = "6")]
            Array(super::Array),
            #[prost(message, tag = "7")]
            Document(super::Document),
            #[prost(message, tag = "8")]
            Documents(super::DocArray),
            #[prost(message, tag = "9")]
            List(super::List),
            #[prost(message, tag = "10")]
            Set(super::List),
            #[prost(message, tag = "11")]
            Tuple(super::List),
            #[prost(message, tag = "12")]
            Dictionary(super::Document),
        }
    }
}

/// Not compared: in this capture the skipped deployment has an end time.
pub(crate) const LEFT_OUT: &[(&str, &str)] = &[("current-v1", "target"), ("current-v1", "unknown")];

/// A message of a v1 gateway, without what differs from run to run.
pub(crate) fn read_v1(bytes: &[u8]) -> v1::DataRequest {
    let mut message = v1::DataRequest::decode(bytes).unwrap();
    level(&mut message.header, &mut message.routes);
    message
}

/// A message of a v2 gateway, without what differs from run to run.
pub(crate) fn read_v2(bytes: &[u8]) -> v2::DataRequest {
    let mut message = v2::DataRequest::decode(bytes).unwrap();
    level(&mut message.header, &mut message.routes);
    message
}

fn level(header: &mut Option<Header>, routes: &mut [Route]) {
    let status = header.as_mut().and_then(|header| header.status.as_mut());
    for status in status.into_iter().chain(routes.iter_mut().filter_map(|r| r.status.as_mut())) {
        status.exception.iter_mut().for_each(|Exception { stacks, .. }| {
            assert!(stacks.len() >= 2, "{stacks:?}");
            stacks.retain(|line| line.contains("Error"));
        });
    }
    for time in routes.iter_mut().flat_map(|r| [&mut r.start_time, &mut r.end_time]).flatten() {
        assert!(time.seconds > 1_700_000_000 && time.nanos % 1000 == 0);
        (time.seconds, time.nanos) = (0, 0);
    }
}

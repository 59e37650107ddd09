//! Headers, metadata and target executors that cannot be sent are named before anything is sent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use clientlet::clientlets::{
    ClientletOptions, DataRequest, GrpcClientlet, HttpClientlet, WebsocketClientlet,
};
use clientlet::{Client, Delivery, DocArray, Document, Error, ErrorKind};
use clientlet_gateway::Gateway;

const HEADERS: &[(&str, &str, &str)] = &[
    ("no good", "x", "\"no good\" is not a valid name of a header"),
    ("x-näme", "x", "\"x-näme\" is not a valid name of a header"),
    ("x-name", "välue", "header x-name cannot be sent: it is not ASCII"),
    ("x-name", "a\r\nb", "header x-name cannot be sent: it has control characters"),
    ("grpc-timeout", "1S", "header grpc-timeout is set by the client itself"),
    ("te", "trailers", "header te is set by the client itself"),
    ("Content-Type", "text/plain", "header content-type is set by the client itself"),
];

const TARGET: &str = "\"exec(\" is not a regular expression: unclosed group";

async fn gateway() -> Gateway {
    let builder = Gateway::builder().docarray(clientlet_gateway::DocArray::V2);
    builder.http(true).websocket(true).grpc(true).start().await.unwrap()
}

fn named(error: &Error, what: &str) {
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Config, Delivery::NotSent), "{error}");
    assert!(error.message().contains(what), "{error}");
}

#[tokio::test]
async fn a_call_of_a_client_refuses_them() {
    let gateway = gateway().await;
    for url in [gateway.http_url(), gateway.websocket_url(), gateway.grpc_url()] {
        let client = Client::new(&url).unwrap();
        for (name, value, what) in HEADERS {
            let call = client.post("/").header(*name, *value);
            named(&call.try_stream().unwrap_err(), what);
            let client = Client::builder(&url).header(*name, *value).build();
            named(&client.unwrap_err(), what);
        }
        named(&client.post("/").target_executor("exec(").try_stream().unwrap_err(), TARGET);
        drop(client.post("/").target_executor("(?!none)exec").try_stream().unwrap());
    }
    assert!(gateway.journal().is_empty());
}

#[tokio::test]
async fn a_stream_of_documents_refuses_them() {
    let gateway = gateway().await;
    let client = Client::new(&gateway.grpc_url()).unwrap();
    let call = || client.stream_document("/stream", &Document::text("x"));
    let error = call().target_executor("exec(").try_stream::<Document>().unwrap_err();
    named(&error, TARGET);
    for (name, value, what) in HEADERS {
        named(&call().header(*name, *value).try_stream::<Document>().unwrap_err(), what);
    }
    let error = call().header("x-trace-bin", "?").try_stream::<Document>().unwrap_err();
    named(&error, "header x-trace-bin cannot be sent: over gRPC");
    assert!(gateway.journal().is_empty());
}

#[tokio::test]
async fn the_clientlets_refuse_them() {
    let gateway = gateway().await;
    let options = ClientletOptions::new();
    let mut http = HttpClientlet::new(&gateway.http_url(), &options).unwrap();
    let mut websocket = WebsocketClientlet::new(&gateway.websocket_url(), &options).unwrap();
    let mut grpc = GrpcClientlet::new(&gateway.grpc_url(), &options).unwrap();
    http.start().await.unwrap();
    websocket.start().await.unwrap();
    grpc.start().await.unwrap();

    let json = DataRequest::new(DocArray::V2, "/").target_executor("exec(");
    let proto = DataRequest::proto(DocArray::V2, "/").target_executor("exec(");
    named(&http.send_message(&json).await.unwrap_err(), TARGET);
    named(&websocket.send_message(&proto).await.unwrap_err(), TARGET);
    named(&grpc.send_message(&proto).await.unwrap_err(), TARGET);
    let stream = grpc.open_stream().await.unwrap();
    named(&stream.send_message(&proto).await.unwrap_err(), TARGET);

    let (json, proto) =
        (DataRequest::new(DocArray::V2, "/"), DataRequest::proto(DocArray::V2, "/"));
    for (name, value, what) in HEADERS {
        named(&http.message(&json).header(*name, *value).send().await.unwrap_err(), what);
        named(&grpc.message(&proto).header(*name, *value).send().await.unwrap_err(), what);
    }
    assert!(gateway.journal().is_empty());
}

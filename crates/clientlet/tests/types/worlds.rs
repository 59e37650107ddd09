//! Gateways that speak all protocols.

use clientlet::{Client, DocArray};
use clientlet_gateway::Gateway;
use clientlet_interop::{Environment, Options, RealGateway};

/// A protocol of a gateway, and whether documents are JSON on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Protocol {
    pub(crate) name: &'static str,
    pub(crate) is_json: bool,
}

/// A running gateway with a client for each protocol.
pub(crate) struct World {
    pub(crate) docarray: DocArray,
    pub(crate) clients: Vec<(Protocol, Client)>,
    _gateway: Box<dyn std::any::Any + Send + Sync>,
}

impl World {
    pub(crate) async fn embedded(docarray: DocArray) -> Option<World> {
        let spoken = match docarray {
            DocArray::V1 => clientlet_gateway::DocArray::V1,
            DocArray::V2 => clientlet_gateway::DocArray::V2,
        };
        let builder = Gateway::builder().docarray(spoken).websocket(true).grpc(true);
        let gateway = builder.start().await.unwrap();
        let urls = [gateway.http_url(), gateway.websocket_url(), gateway.grpc_url()];
        Some(World::new(docarray, urls, Box::new(gateway)))
    }

    pub(crate) async fn real(environment: Environment) -> Option<World> {
        let options = Options { protocols: &["http", "websocket", "grpc"], ..Options::default() };
        let start = move || RealGateway::start_or_skip(environment, options);
        let started = tokio::task::spawn_blocking(start).await.unwrap();
        let gateway = started.unwrap_or_else(|error| panic!("{error}"))?;
        let urls = ["http", "websocket", "grpc"].map(|protocol| gateway.url(protocol));
        let docarray = match environment {
            Environment::SeedEra | Environment::CurrentV1 => DocArray::V1,
            Environment::Current => DocArray::V2,
        };
        Some(World::new(docarray, urls, Box::new(std::sync::Mutex::new(gateway))))
    }

    fn new(
        docarray: DocArray,
        [http, websocket, grpc]: [String; 3],
        gateway: Box<dyn std::any::Any + Send + Sync>,
    ) -> World {
        let client = |name, is_json, builder: clientlet::ClientBuilder| {
            (Protocol { name, is_json }, builder.build().unwrap())
        };
        let mut clients = vec![
            client("HTTP", true, Client::builder(&http)),
            client("WebSocket", false, Client::builder(&websocket)),
            client("gRPC", false, Client::builder(&grpc)),
            client("unary gRPC", false, Client::builder(&grpc).unary(true)),
        ];
        if docarray == DocArray::V1 {
            let builder = Client::builder(&websocket).websocket_json(true);
            clients.push(client("JSON over WebSocket", true, builder));
        }
        World { docarray, clients, _gateway: gateway }
    }
}

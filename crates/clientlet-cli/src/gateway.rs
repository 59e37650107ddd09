//! `clientlet gateway`: serves the embedded gateway.

use std::net::{Ipv4Addr, SocketAddr};

use clientlet_gateway::{Gateway, GatewayBuilder};
use serde_json::{Map, json};

use crate::args::GatewayArgs;
use crate::interrupt::Interrupt;
use crate::report::{Exit, Failure, answer};

pub(crate) async fn run(args: GatewayArgs) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::listen()?;
    // A journal would grow for as long as the gateway runs.
    let mut builder = Gateway::builder().docarray(args.docarray).seed(args.seed).journal(false);
    for fault in args.fault {
        builder = builder.fault(fault);
    }
    let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let each = match (args.http, args.websocket, args.grpc) {
        (None, None, None) => [Some(0); 3],
        (http, websocket, grpc) => [http, websocket, grpc],
    };
    let asked: Vec<u16> = match args.port {
        Some(port) => {
            builder = builder.one_port_address(address(port));
            vec![port]
        }
        None => {
            let [http, websocket, grpc] = each.map(|port| port.map(address));
            builder = builder.http(false);
            builder = set(builder, http, GatewayBuilder::http_address);
            builder = set(builder, websocket, GatewayBuilder::websocket_address);
            builder = set(builder, grpc, GatewayBuilder::grpc_address);
            each.into_iter().flatten().collect()
        }
    };
    let gateway = builder.start().await.map_err(|error| {
        let asked: Vec<_> = asked.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Failure::failed(format!("cannot listen on {}: {error}", asked.join(" and ")))
    })?;
    let serves = |place: usize| args.port.is_some() || each[place].is_some();
    let mut listening = Map::new();
    if serves(0) {
        listening.insert("http".to_owned(), gateway.http_address().port().into());
    }
    if serves(1) {
        listening.insert("websocket".to_owned(), gateway.websocket_address().port().into());
    }
    if serves(2) {
        listening.insert("grpc".to_owned(), gateway.grpc_address().port().into());
    }
    answer(&json!({ "ports": listening }).to_string())?;
    interrupt.wait().await;
    tokio::select! {
        () = gateway.stop() => {}
        // A second signal ends the gateway without waiting for running requests.
        () = interrupt.wait() => {}
    }
    Ok(Exit::Success)
}

fn set(
    builder: GatewayBuilder,
    address: Option<SocketAddr>,
    set: impl Fn(GatewayBuilder, SocketAddr) -> GatewayBuilder,
) -> GatewayBuilder {
    match address {
        Some(address) => set(builder, address),
        None => builder,
    }
}

//! `clientlet gateway`: serves the embedded gateway.

use std::net::{Ipv4Addr, SocketAddr};

use clientlet_gateway::Gateway;
use serde_json::{Map, json};

use crate::args::GatewayArgs;
use crate::command::answer;
use crate::interrupt::Interrupt;
use crate::report::{Exit, Failure};

pub(crate) async fn run(args: GatewayArgs) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::listen()?;
    // No journal: it would grow for as long as the gateway runs.
    let mut builder = Gateway::builder().documents(args.docarray).seed(args.seed).journal(false);
    for fault in args.fault {
        builder = builder.fault(fault);
    }
    let ports = match (args.http, args.websocket) {
        (None, None) => (Some(0), Some(0)),
        asked => asked,
    };
    let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    builder = builder.http(ports.0.is_some()).websocket(ports.1.is_some());
    if let Some(port) = ports.0 {
        builder = builder.http_address(address(port));
    }
    if let Some(port) = ports.1 {
        builder = builder.websocket_address(address(port));
    }
    let gateway = builder.start().await.map_err(|error| {
        let asked = ports.0.into_iter().chain(ports.1).map(|port| format!("127.0.0.1:{port}"));
        let asked = asked.collect::<Vec<_>>().join(" and ");
        Failure::failed(format!("cannot listen on {asked}: {error}"))
    })?;
    let mut listening = Map::new();
    if ports.0.is_some() {
        listening.insert("http".to_owned(), gateway.http_address().port().into());
    }
    if ports.1.is_some() {
        listening.insert("websocket".to_owned(), gateway.websocket_address().port().into());
    }
    answer(&json!({ "ports": listening }).to_string())?;
    interrupt.wait().await;
    tokio::select! {
        () = gateway.stop() => {}
        // Asked twice, it does not wait for requests that are running.
        () = interrupt.wait() => {}
    }
    Ok(Exit::Success)
}

//! `clientlet gateway`: serves the embedded gateway.

use std::net::Ipv4Addr;

use clientlet_gateway::Gateway;
use serde_json::json;

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
    let address = (Ipv4Addr::LOCALHOST, args.http);
    let gateway = builder.bind(address).await.map_err(|error| {
        Failure::failed(format!("cannot listen on 127.0.0.1:{}: {error}", args.http))
    })?;
    answer(&json!({ "ports": { "http": gateway.http_address().port() } }).to_string())?;
    interrupt.wait().await;
    tokio::select! {
        () = gateway.stop() => {}
        // Asked twice, it does not wait for requests that are running.
        () = interrupt.wait() => {}
    }
    Ok(Exit::Success)
}

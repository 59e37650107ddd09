//! `clientlet gateway`: serves the embedded gateway.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use clientlet_gateway::{Gateway, GatewayBuilder, Tls};
use serde_json::{Map, json};
use tempfile::TempDir;

use crate::args::GatewayArgs;
use crate::interrupt::Interrupt;
use crate::report::{Exit, Failure, answer};

pub(crate) async fn run(args: GatewayArgs) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::listen()?;
    let tls = tls(&args)?;
    // The folder with the CA's file goes away when this function returns.
    let folder = match &tls {
        Some(tls) if args.tls_self_signed => Some(publish(tls.ca_pem())?),
        _ => None,
    };
    // A journal would grow for as long as the gateway runs.
    let mut builder = Gateway::builder().docarray(args.docarray).seed(args.seed).journal(false);
    if let Some(tls) = tls {
        builder = builder.tls(tls);
    }
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
        if error.kind() == io::ErrorKind::InvalidInput {
            return Failure::bad_input(error.to_string());
        }
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
    let mut line = json!({ "ports": listening });
    if let Some(folder) = &folder {
        line["ca"] = ca_file(folder.path()).into();
    }
    answer(&line.to_string())?;
    interrupt.wait().await;
    tokio::select! {
        () = gateway.stop() => {}
        // A second signal ends the gateway without waiting for running requests.
        () = interrupt.wait() => {}
    }
    Ok(Exit::Success)
}

/// The settings of TLS, from the files that the options name.
///
/// # Errors
/// When a file cannot be used.
fn tls(args: &GatewayArgs) -> Result<Option<Tls>, Failure> {
    let bad = |option: &str, error: &dyn std::fmt::Display| {
        Failure::bad_input(format!("{option} {error}"))
    };
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Tls::from_files(certificate, key).map_err(|error| {
            bad(if error.is_about_key() { "--tls-key" } else { "--tls-cert" }, &error)
        })?,
        _ if args.tls_self_signed => Tls::self_signed(),
        _ if args.tls_client_ca.is_some() => {
            return Err(Failure::bad_input(
                "--tls-client-ca needs --tls-cert and --tls-key, or --tls-self-signed",
            ));
        }
        _ => return Ok(None),
    };
    let Some(file) = &args.tls_client_ca else { return Ok(Some(tls)) };
    let named = |error: &dyn std::fmt::Display| {
        bad("--tls-client-ca", &format!("{}: {error}", file.display()))
    };
    let issuers = std::fs::read(file).map_err(|error| named(&error))?;
    tls.require_client_certificate(issuers).map(Some).map_err(|error| named(&error))
}

/// Writes the CA's certificate to a folder of its own.
///
/// # Errors
/// When the folder for temporary files cannot be written to.
fn publish(ca: &str) -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("clientlet-gateway-").tempdir();
    let written = made.and_then(|folder| {
        std::fs::write(ca_file(folder.path()), ca)?;
        Ok(folder)
    });
    written.map_err(|error| Failure::failed(format!("--tls-self-signed: {error}")))
}

fn ca_file(folder: &Path) -> String {
    folder.join("ca.pem").display().to_string()
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

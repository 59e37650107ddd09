//! The life of a real gateway, in each environment that is installed.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use clientlet_interop::{Environment, Options, RealGateway};

#[test]
fn seed_era_is_started_broken_revived_and_stopped() -> io::Result<()> {
    whole_life(Environment::SeedEra)
}

#[test]
fn current_v1_is_started_broken_revived_and_stopped() -> io::Result<()> {
    whole_life(Environment::CurrentV1)
}

#[test]
fn current_is_started_broken_revived_and_stopped() -> io::Result<()> {
    whole_life(Environment::Current)
}

#[test]
fn every_protocol_and_replica_gets_its_place() -> io::Result<()> {
    let options = Options {
        protocols: &["http", "websocket", "grpc"],
        executors: &["first", "second"],
        replicas: 2,
        timeout_send: Some(Duration::from_secs(2)),
        with_default: true,
        retries: Some(1),
        ..Options::default()
    };
    let Some(mut gateway) = start(Environment::Current, options) else { return Ok(()) };
    assert!(gateway.url("websocket").starts_with("ws://127.0.0.1:"));
    assert!(gateway.url("grpc").starts_with("grpc://127.0.0.1:"));
    for protocol in options.protocols {
        TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port(protocol)))?;
    }
    gateway.kill_executor()?;
    gateway.revive_executor().map_err(io::Error::other)?;
    assert_eq!(post(&gateway)?, 200, "{}", gateway.log());
    Ok(())
}

fn whole_life(environment: Environment) -> io::Result<()> {
    let options = Options { timeout_send: Some(Duration::from_secs(5)), ..Options::default() };
    let Some(mut gateway) = start(environment, options) else { return Ok(()) };
    let port = gateway.port("http");

    let (status, body) = exchange(port, "GET", "/status", "")?;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(environment.jina()), "{body}");
    assert_eq!(post(&gateway)?, 200, "{}", gateway.log());

    // Twice, because the second time the executor that dies was forked after the first one died.
    for _ in 0..2 {
        gateway.kill_executor()?;
        // A v2 gateway answers a plain 500 if an executor is down.
        let down = if environment.documents() == "v1" { 503 } else { 500 };
        assert_eq!(post(&gateway)?, down);
        gateway.revive_executor().map_err(io::Error::other)?;
        assert_eq!(post(&gateway)?, 200, "{}", gateway.log());
    }

    gateway.stop_gateway()?;
    let refused = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop);
    assert_eq!(refused().map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionRefused));
    gateway.revive_gateway().map_err(io::Error::other)?;
    assert_eq!(post(&gateway)?, 200, "{}", gateway.log());

    // Workspaces, which 3.14.1 does not make, are in this folder and not in the system's temporary one.
    let folder = gateway.temporary_folder().to_owned();
    let has_workspaces = fs::read_dir(&folder)?.next().is_some();
    assert_eq!(has_workspaces, environment != Environment::SeedEra, "{folder:?}");
    drop(gateway);
    assert!(!folder.exists(), "{folder:?} still exists");
    assert_eq!(refused().map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionRefused));
    Ok(())
}

fn start(environment: Environment, options: Options) -> Option<RealGateway> {
    RealGateway::start_or_skip(environment, options).expect("an installed gateway starts")
}

/// Posts one document to `/upper` and returns the HTTP status.
fn post(gateway: &RealGateway) -> io::Result<u16> {
    let (path, body) = match gateway.environment().documents() {
        "v1" => ("/post", r#"{"data": [{"text": "a"}], "execEndpoint": "/upper"}"#),
        _ => ("/upper", r#"{"data": [{"text": "a"}]}"#),
    };
    let (status, answer) = exchange(gateway.port("http"), "POST", path, body)?;
    if status == 200 {
        assert!(answer.contains(r#""text":"A""#), "{answer}");
    }
    Ok(status)
}

/// Makes one HTTP request on a connection of its own and returns the status and the body.
fn exchange(port: u16, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len(),
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok((status.expect("a status line"), body.to_owned()))
}

//! The receiver of traces and metrics, with handmade messages and with the spans of real gateways.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use clientlet_interop::{Environment, Options, OtlpReceiver, RealGateway, Span};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[test]
fn spans_and_metrics_over_http_are_received() -> io::Result<()> {
    let Some(mut receiver) = receiver() else { return Ok(()) };
    let port = receiver.http_port();
    let head = "content-type: application/x-protobuf\r\n";

    let attribute = [field(1, b"service.name"), field(2, &field(1, b"by hand"))].concat();
    let resource = field(1, &field(1, &attribute));
    let ids = [field(1, &[0xab; 16]), field(2, &[0xcd; 8]), field(3, b"a=1")].concat();
    let event = field(11, &field(2, b"begun"));
    let span = [ids, field(5, b"a span"), event, field(15, &[0x18, 2])].concat();
    let spans = field(1, &[resource.clone(), field(2, &field(2, &span))].concat());
    assert_eq!(exchange(port, "/v1/traces", head, &spans)?, 200);
    let span = receiver.spans_until(|spans| !spans.is_empty())[0].clone();
    assert_eq!((span.service.as_str(), span.name.as_str()), ("by hand", "a span"));
    assert_eq!((span.trace_id, span.span_id), ("ab".repeat(16), "cd".repeat(8)));
    assert_eq!((span.parent_span_id.as_str(), span.trace_state.as_str()), ("", "a=1"));
    assert_eq!((span.kind.as_str(), span.status.as_str()), ("UNSPECIFIED", "ERROR"));
    assert_eq!(span.events[0].name, "begun");

    // A sum of one point, whose value is the integer 7.
    let point = [&[0x31][..], &7_u64.to_le_bytes()].concat();
    let metric = [field(1, b"clicks"), field(3, b"{click}"), field(7, &field(1, &point))].concat();
    let metrics = field(1, &[resource, field(2, &field(2, &metric))].concat());
    assert_eq!(exchange(port, "/v1/metrics", head, &metrics)?, 200);
    let metric = &receiver.metrics_until(|metrics| !metrics.is_empty())[0];
    assert_eq!((metric.name.as_str(), metric.kind.as_str()), ("clicks", "sum"));
    assert_eq!((metric.unit.as_str(), metric.points[0].value), ("{click}", Some(7.0)));

    assert_eq!(exchange(port, "/v1/traces", head, b"\xff")?, 400);
    assert_eq!(exchange(port, "/nothing", head, b"")?, 404);
    Ok(())
}

#[test]
fn a_gateway_that_traces_takes_the_trace_of_its_client() -> io::Result<()> {
    for environment in [Environment::Current, Environment::CurrentV1] {
        let Some(mut receiver) = receiver() else { return Ok(()) };
        let options = Options { traces: Some(receiver.grpc_port()), ..Options::default() };
        let gateway = RealGateway::start_or_skip(environment, options);
        let Some(gateway) = gateway.expect("an installed gateway starts") else { return Ok(()) };
        let (path, body) = match environment.documents() {
            "v1" => ("/post", r#"{"data": [{"text": "a"}], "execEndpoint": "/upper"}"#),
            _ => ("/upper", r#"{"data": [{"text": "a"}]}"#),
        };
        let head = format!(
            "content-type: application/json\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1\r\n"
        );
        assert_eq!(exchange(gateway.port("http"), path, &head, body.as_bytes())?, 200);

        let of_executor = |span: &Span| span.name == "/upper" && span.service == "executor0/rep-0";
        let of_gateway = |span: &Span| span.parent_span_id == PARENT;
        let both = |spans: &[Span]| spans.iter().any(of_executor) && spans.iter().any(of_gateway);
        let spans = receiver.spans_until(both);
        assert!(both(spans), "{environment}: {spans:?}");
        let ours: Vec<_> = spans.iter().filter(|span| span.trace_id == TRACE).collect();
        let services: BTreeSet<_> = ours.iter().map(|span| span.service.as_str()).collect();
        assert_eq!(services, BTreeSet::from(["executor0/rep-0", "gateway/rep-0"]), "{environment}");
        assert!(ours.iter().all(|span| span.trace_state == "a=1"), "{environment}: {ours:?}");
        let gateway = ours.iter().find(|span| of_gateway(span)).expect("found above");
        assert_eq!(
            (gateway.name.as_str(), gateway.kind.as_str()),
            (&*format!("POST {path}"), "SERVER")
        );
        assert!(gateway.start < gateway.end, "{gateway:?}");
        assert!(gateway.attributes.contains_key("http.method"), "{gateway:?}");
    }
    Ok(())
}

fn receiver() -> Option<OtlpReceiver> {
    OtlpReceiver::start_or_skip().expect("an installed receiver starts")
}

/// A field of a protobuf message that holds text, bytes or another message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80);
    [&[number << 3 | 2, length.expect("a short field")], content].concat()
}

/// Posts a body on a connection of its own and returns the HTTP status.
fn exchange(port: u16, path: &str, head: &str, body: &[u8]) -> io::Result<u16> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        connection,
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{head}content-length: {}\r\n\r\n",
        body.len(),
    )?;
    connection.write_all(body)?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(status.expect("a status line"))
}

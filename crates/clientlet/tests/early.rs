//! An answer counts even if the gateway closed before it had read the whole request, so that
//! writing the request failed meanwhile. These tests cover gRPC and WebSocket, with servers that
//! send bytes. `tests/connections.rs` covers HTTP.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::io;

use clientlet::{Client, ClientBuilder, Delivery, DocArray, Document, Error, ErrorKind, Response};
use clientlet_proto::prost::Message as _;
use clientlet_proto::v1::jina::{DataRequestProto, HeaderProto, RouteProto};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_websockets::ServerBuilder;

/// Far more than the sockets' buffers can hold.
const LARGE: usize = 12 << 20;

/// The frames of HTTP/2 that are used here.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// Encodes a block of headers in HPACK, as literals.
fn headers(headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let header = |(name, value): &(&str, &str)| [vec![0], text(name), text(value)].concat();
    headers.iter().flat_map(header).collect()
}

/// The answer of a server to the beginning of the large request.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// A gRPC status in a head without a body.
    Status(&'static str),
    /// A gRPC status in trailers after a head.
    Trailers(&'static str),
    /// A status of HTTP with a body, which may be empty.
    Http(&'static str, &'static [u8]),
}

impl Says {
    fn frames(self, stream: u32) -> Vec<u8> {
        let last = END_HEADERS | END_STREAM;
        let grpc = (":status", "200");
        let kind = ("content-type", "application/grpc");
        match self {
            Says::Status(status) => {
                let head = headers(&[grpc, kind, ("grpc-status", status)]);
                frame(HEADERS, last, stream, &head)
            }
            Says::Trailers(status) => {
                let head = frame(HEADERS, END_HEADERS, stream, &headers(&[grpc, kind]));
                let trailers = headers(&[("grpc-status", status)]);
                [head, frame(HEADERS, last, stream, &trailers)].concat()
            }
            Says::Http(status, b"") => {
                frame(HEADERS, last, stream, &headers(&[(":status", status)]))
            }
            Says::Http(status, body) => {
                let head = headers(&[(":status", status), ("content-type", "text/plain")]);
                let head = frame(HEADERS, END_HEADERS, stream, &head);
                [head, frame(DATA, END_STREAM, stream, body)].concat()
            }
        }
    }
}

/// Returns an answer with a route, as every real answer has.
fn answer(id: &str) -> Vec<u8> {
    let header = HeaderProto { request_id: id.into(), ..HeaderProto::default() };
    let route = RouteProto { executor: "gateway".into(), ..RouteProto::default() };
    let answer =
        DataRequestProto { header: Some(header), routes: vec![route], ..Default::default() };
    answer.encode_to_vec()
}

async fn read_frame(stream: &mut TcpStream) -> io::Result<(u8, u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await?;
    let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Ok((head[3], head[4], number))
}

/// Serves as a gateway over gRPC that hides its status. It answers the first message of the first
/// request with `says`, and closes with the rest unread, which is a reset.
async fn serve_grpc(mut stream: TcpStream, says: Says) -> io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    // The client may send the whole request at once.
    let window = [&[0, 4], &i32::MAX.to_be_bytes()[..]].concat();
    stream.write_all(&frame(SETTINGS, 0, 0, &window)).await?;
    let all = (i32::MAX - 65_535).to_be_bytes();
    stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &all)).await?;
    loop {
        let (kind, flags, number) = read_frame(&mut stream).await?;
        match kind {
            SETTINGS if flags & ACK == 0 => {
                stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
            }
            // The request for the status.
            DATA if number == 1 && flags & END_STREAM > 0 => {
                stream.write_all(&Says::Status("12").frames(1)).await?;
            }
            DATA if number > 1 => {
                stream.write_all(&says.frames(number)).await?;
                return Ok(());
            }
            _ => {}
        }
    }
}

async fn post(client: &Client, length: usize) -> Result<Response, Error> {
    let call = client.post("/").documents([Document::text("x".repeat(length))]);
    call.send().await.into_iter().next().unwrap()
}

// Server and client need threads of their own, or the gateway never closes while the client writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_grpc_status_counts_even_if_the_gateway_closed_before_reading_the_whole_request() {
    use Delivery::{Answered, Unknown};
    use Says::{Http, Status, Trailers};
    let ways: [fn(ClientBuilder) -> ClientBuilder; 2] =
        [|stream| stream, |client| client.unary(true)];
    type Told = (ErrorKind, Delivery, Option<u16>, &'static str);
    // The errors are the same as if the request was read: executors may answer RESOURCE_EXHAUSTED
    // as well.
    let table: [(Says, Told); 6] = [
        (Status("8"), (ErrorKind::RateLimited, Unknown, None, "RESOURCE_EXHAUSTED")),
        (Trailers("8"), (ErrorKind::RateLimited, Unknown, None, "RESOURCE_EXHAUSTED")),
        (Status("16"), (ErrorKind::Gateway, Answered, None, "UNAUTHENTICATED")),
        (Http("413", b""), (ErrorKind::Gateway, Answered, Some(413), "413")),
        (Http("413", b"too long"), (ErrorKind::Gateway, Answered, Some(413), "413")),
        (Http("429", b""), (ErrorKind::RateLimited, Answered, Some(429), "429")),
    ];
    for (says, expected) in table {
        for (number, way) in ways.iter().enumerate() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("grpc://{}", listener.local_addr().unwrap());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // An error here means that the client closed the connection early.
                    tokio::spawn(serve_grpc(stream, says));
                }
            });
            let client = way(Client::builder(&url)).docarray(DocArray::V1).build().unwrap();
            let error = post(&client, LARGE).await.unwrap_err();
            let place = format!("{says:?}, way {number}: {error:?}");
            let (kind, delivery, status, what) = expected;
            let told =
                (error.kind(), error.delivery(), error.http_status().map(|status| status.as_u16()));
            assert_eq!(told, (kind, delivery, status), "{place}");
            assert!(error.message().contains(what), "{place}");
            assert_eq!(client.connections().opened, 1, "{place}");
        }
    }
}

/// Serves as a gateway over WebSocket that hides its status. It reads one message and the beginning
/// of the next, answers the first, and closes with this code. The rest is left unread.
async fn serve_websocket(
    mut stream: TcpStream,
    code: u16,
    has_come: watch::Sender<bool>,
) -> io::Result<()> {
    let mut head = vec![0; 4];
    while stream.peek(&mut head).await? < 4 {}
    let mut asked = vec![0; 64];
    let length = stream.peek(&mut asked).await?;
    if !asked[..length].starts_with(b"GET / ") {
        let none = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(none).await?;
        return stream.read_to_end(&mut head).await.map(drop);
    }
    let (_, socket) = ServerBuilder::new().accept(stream).await.map_err(io::Error::other)?;
    let mut stream = socket.into_inner();
    // The small message is a masked frame of less than 126 bytes.
    let mut frame = [0; 2];
    stream.read_exact(&mut frame).await?;
    let mut masked = vec![0; 4 + usize::from(frame[1] & 0x7f)];
    stream.read_exact(&mut masked).await?;
    let (mask, content) = masked.split_at(4);
    let message: Vec<u8> = content.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
    has_come.send_replace(true);
    let mut beginning = vec![0; 1 << 16];
    stream.read_exact(&mut beginning).await?;
    let request = DataRequestProto::decode(&message[..]).map_err(io::Error::other)?;
    let answer = answer(&request.header.unwrap_or_default().request_id);
    let answer = [&[0x82, u8::try_from(answer.len()).unwrap()], &answer[..]].concat();
    let close = [&[0x88, 2 + 8][..], &code.to_be_bytes(), b"too long"].concat();
    stream.write_all(&[answer, close].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_and_a_close_frame_count_even_if_the_gateway_closed_while_a_message_was_written()
{
    for code in [1009, 4000] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (sender, mut has_come) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_websocket(stream, code, sender.clone()));
            }
        });
        let client = Client::builder(&url).docarray(DocArray::V1).build().unwrap();
        let small = tokio::spawn({
            let client = client.clone();
            async move { post(&client, 1).await }
        });
        has_come.wait_for(|has_come| *has_come).await.unwrap();
        let error = post(&client, LARGE).await.unwrap_err();
        small.await.unwrap().unwrap();
        assert_eq!(error.delivery(), Delivery::Unknown, "{error:?}");
        let told = format!("{code}");
        assert!(error.message().contains(&told), "{error:?}");
        assert!(error.message().contains("too long"), "{error:?}");
    }
}

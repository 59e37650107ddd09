//! A small WebSocket client for the tests, which sends and reads frames on a socket.

use std::io;

use clientlet_gateway::{DocArray, Fault, Gateway};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::proto::{Header, v1};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The end marker of the subprotocol `bytes`.
pub(crate) const END_MARKER: &[u8] = &[0];

pub(crate) async fn start(docarray: DocArray, faults: &[&str]) -> Gateway {
    let mut builder = Gateway::builder().docarray(docarray).http(false).websocket(true);
    for fault in faults {
        builder = builder.fault(fault.parse::<Fault>().unwrap());
    }
    builder.start().await.unwrap()
}

/// A request of one document v1.
pub(crate) fn request(id: &str, endpoint: &str) -> v1::DataRequest {
    v1::DataRequest {
        header: Some(Header {
            request_id: id.into(),
            exec_endpoint: Some(endpoint.into()),
            ..Header::default()
        }),
        data: Some(v1::Data {
            docs: Some(v1::DocArray {
                docs: vec![v1::Document {
                    id: "d0".into(),
                    text: Some("hi".into()),
                    ..v1::Document::default()
                }],
            }),
            ..v1::Data::default()
        }),
        ..v1::DataRequest::default()
    }
}

/// The same request without a document, so that it is the same in both generations.
pub(crate) fn empty_request(id: &str, endpoint: &str) -> v1::DataRequest {
    let mut request = request(id, endpoint);
    request.data = Some(v1::Data { docs: Some(v1::DocArray::default()), ..v1::Data::default() });
    request
}

pub(crate) struct Socket<S = TcpStream> {
    pub(crate) stream: S,
    /// Bytes read but not used yet.
    pub(crate) ahead: Vec<u8>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) is_final: bool,
    pub(crate) opcode: u8,
    pub(crate) content: Vec<u8>,
}

impl Frame {
    pub(crate) fn answer(&self) -> v1::DataRequest {
        assert_eq!((self.is_final, self.opcode), (true, BINARY), "{self:?}");
        v1::DataRequest::decode(&*self.content).unwrap()
    }

    pub(crate) fn id(&self) -> String {
        self.answer().header.unwrap().request_id
    }

    pub(crate) fn close(&self) -> (u16, &str) {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        let (code, reason) = self.content.split_at(2);
        (u16::from_be_bytes([code[0], code[1]]), std::str::from_utf8(reason).unwrap())
    }
}

impl Socket {
    /// Becomes a WebSocket for protobuf.
    pub(crate) async fn connect(gateway: &Gateway) -> Self {
        Self::open(gateway, "/", Some("bytes")).await.unwrap()
    }

    pub(crate) async fn open(
        gateway: &Gateway,
        path: &str,
        subprotocol: Option<&str>,
    ) -> Result<Self, String> {
        let stream = TcpStream::connect(gateway.websocket_address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut socket = Self { stream, ahead: Vec::new() };
        let answer = socket.upgrade(path, subprotocol).await.map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 101 ") { Ok(socket) } else { Err(answer) }
    }
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Socket<S> {
    /// Asks to become a WebSocket; returns the head of the answer.
    pub(crate) async fn upgrade(
        &mut self,
        path: &str,
        subprotocol: Option<&str>,
    ) -> io::Result<String> {
        let subprotocol = subprotocol
            .map(|name| format!("sec-websocket-protocol: {name}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: gateway\r\nupgrade: websocket\r\n\
             connection: keep-alive, Upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer t\r\n\
             {subprotocol}\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let end = loop {
            if let Some(end) = self.ahead.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            self.read_more().await?;
        };
        let head: Vec<u8> = self.ahead.drain(..end + 4).collect();
        Ok(String::from_utf8(head).unwrap())
    }

    pub(crate) async fn send(&mut self, message: &impl Message) {
        self.send_frame(BINARY, &message.encode_to_vec()).await.unwrap();
    }

    pub(crate) async fn send_frame(&mut self, opcode: u8, content: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame(0x80 | opcode, content)).await
    }

    /// The next frame; the end of the stream is an error, `UnexpectedEof`.
    pub(crate) async fn frame(&mut self) -> io::Result<Frame> {
        loop {
            if let Some((frame, used)) = parse(&self.ahead) {
                self.ahead.drain(..used);
                return Ok(frame);
            }
            self.read_more().await?;
        }
    }

    /// Whether no frame arrives for a moment.
    pub(crate) async fn is_silent(&mut self) -> bool {
        let moment = std::time::Duration::from_millis(30);
        tokio::time::timeout(moment, self.read_more()).await.is_err()
    }

    pub(crate) async fn read_more(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        match self.stream.read(&mut buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.ahead.extend_from_slice(&buffer[..n]);
                Ok(())
            }
        }
    }

    /// Reads until the connection ends, and returns how it ended.
    pub(crate) async fn end(&mut self) -> io::ErrorKind {
        loop {
            if let Err(error) = self.read_more().await {
                return error.kind();
            }
        }
    }

    /// Answers the gateway's close frame, behind which the connection ends.
    pub(crate) async fn is_closed(&mut self, code: u16, reason: &str) {
        let frame = self.frame().await.unwrap();
        assert_eq!(frame.close(), (code, reason));
        self.send_frame(CLOSE, &code.to_be_bytes()).await.unwrap();
        assert_eq!(self.end().await, io::ErrorKind::UnexpectedEof);
        assert!(self.ahead.is_empty());
    }
}

/// A frame as a client sends it: masked.
pub(crate) fn frame(first: u8, content: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match content.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(content.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The frame at the beginning of the bytes and its length, if the frame is complete.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, start) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
        length => (usize::from(length), 2),
    };
    let content = bytes.get(start..start + length)?.to_vec();
    let frame = Frame { is_final: first & 0x80 != 0, opcode: first & 0x0f, content };
    Some((frame, start + length))
}

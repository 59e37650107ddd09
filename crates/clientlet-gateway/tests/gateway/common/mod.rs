//! A small HTTP client for the tests, which sends and reads bytes on a socket.

pub(crate) mod grpc;
pub(crate) mod proto;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod websocket;

use std::collections::BTreeMap;
use std::io;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use clientlet_gateway::{DocArray, Fault, Gateway, Listener};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

pub(crate) async fn start(docarray: DocArray, faults: &[&str]) -> Gateway {
    let mut builder = Gateway::builder().docarray(docarray);
    for fault in faults {
        builder = builder.fault(fault.parse::<Fault>().unwrap());
    }
    builder.start().await.unwrap()
}

/// A request of one document, in both generations' forms at once.
pub(crate) fn request(id: &str, endpoint: &str) -> Value {
    json!({
        "data": [{"id": "d0", "text": "hi"}],
        "header": {"requestId": id},
        "execEndpoint": endpoint,
    })
}

pub(crate) struct Client<S = TcpStream> {
    stream: S,
    /// Bytes read but not used yet.
    pub(crate) ahead: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) async fn connect(gateway: &Gateway) -> Self {
        Self::connect_to(gateway.http_address()).await
    }

    pub(crate) async fn connect_to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    /// Continues as a WebSocket.
    pub(crate) fn into_socket(self) -> websocket::Socket<S> {
        websocket::Socket { stream: self.stream, ahead: self.ahead }
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> io::Result<Answer> {
        self.exchange("POST", path, Some(body)).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.exchange("GET", path, None).await
    }

    pub(crate) async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let headers = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        self.send(&message(method, path, headers, body.as_bytes())).await?;
        self.answer(method != "HEAD").await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub(crate) async fn answer(&mut self, has_body: bool) -> io::Result<Answer> {
        let (status, headers) = self.head().await?;
        let length = if has_body { headers["content-length"].parse().unwrap() } else { 0 };
        while self.ahead.len() < length {
            self.read_more().await?;
        }
        let body = self.ahead.drain(..length).collect();
        Ok(Answer { status, headers, body })
    }

    /// The chunks of a chunked body.
    pub(crate) async fn chunks(&mut self) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        loop {
            let Some(end) = self.ahead.windows(2).position(|two| two == b"\r\n") else {
                self.read_more().await.unwrap();
                continue;
            };
            let size = std::str::from_utf8(&self.ahead[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            while self.ahead.len() < end + 2 + size + 2 {
                self.read_more().await.unwrap();
            }
            let chunk: Vec<u8> = self.ahead.drain(..end + 2 + size + 2).collect();
            if size == 0 {
                return chunks;
            }
            chunks.push(chunk[end + 2..end + 2 + size].to_vec());
        }
    }

    pub(crate) async fn head(&mut self) -> io::Result<(u16, BTreeMap<String, String>)> {
        let end = loop {
            if let Some(end) = self.ahead.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            self.read_more().await?;
        };
        let head: Vec<u8> = self.ahead.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok((status, headers))
    }

    /// Reads once; the end of the stream is an error, `UnexpectedEof`.
    pub(crate) async fn read_more(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
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
}

pub(crate) fn message(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut message =
        format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\n{headers}").into_bytes();
    if !body.is_empty() {
        message.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(body);
    message
}

/// Runs a program to its end; `None` if the program is not installed, which it says on standard
/// error.
pub(crate) fn run_or_skip(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => {
            let [out, error] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
            Some((output.status.success(), format!("{out}{error}")))
        }
        Err(_) => {
            // The harness would hide the output of `eprintln` when the test passes.
            let _ = writeln!(io::stderr(), "skipped: {program} is not installed");
            None
        }
    }
}

/// Connections in memory.
pub(crate) struct Pipes(pub(crate) mpsc::Receiver<DuplexStream>);

impl Listener for Pipes {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<DuplexStream> {
        match self.0.recv().await {
            Some(pipe) => Ok(pipe),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 1).into())
    }
}
